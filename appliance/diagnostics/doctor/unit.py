"""The systemd unit: does it run, how often was it started again, how did it end and why."""

import json
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.core.checkup import CheckState, Outcome
from appliance.core.errors import UnavailableError
from appliance.diagnostics.doctor.programs import answer_of

UNIT: Final = "edgecam.service"
BOOTED: Final = Path("/run/systemd/system")  # sd_booted(3)
PROPERTIES: Final = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "NRestarts",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainExitTimestamp",
    "ActiveEnterTimestamp",
    "StatusText",
    "NeedDaemonReload",
    "MainPID",
    "MemoryCurrent",
    "FragmentPath",
    "DropInPaths",
)
"""What is asked of systemd: nothing with an environment, which may hold secrets."""

_EXITED: Final = "98e322203f7a4ed290d09fe03c09fe15"  # SD_MESSAGE_UNIT_PROCESS_EXIT, systemd's message catalogue
_OUT_OF_MEMORY: Final = "fe6faa94e7774663a0da52717891d8ef"  # SD_MESSAGE_UNIT_OUT_OF_MEMORY
_AT_ONCE_US: Final = 10_000_000  # from the kernel's kill to the end of the process
_LOOK: Final = "edgecam logs --level warning"
_START: Final = "sudo systemctl start edgecam"
_STATUSES: Final = {
    "65": ("no model works", "edgecam model list; then correct [model] use"),
    "69": ("something it needs was not there", _LOOK),
    "70": ("a defect, or nothing that this machine can run", f"{_LOOK}; then edgecam report"),
    "74": ("the disk is full, read-only or broken", "see disk below"),
    "75": ("a command asked for a restart", ""),
    "78": ("the configuration is not accepted", f"edgecam config check names each mistake; then {_START}"),
}
"""What the daemon's exit statuses say (docs/ARCHITECTURE.md, "Errors"), and what to do."""
_RESULTS: Final = {
    "watchdog": ("the watchdog ended it: frames, inference or delivery stood still", _LOOK),
    "oom-kill": ("the kernel ended it: out of memory", "fewer cameras or a smaller model; see memory below"),
    "timeout": ("it took too long to start or to stop", _LOOK),
    "start-limit-hit": (
        "it failed too often in a row",
        f"see why with {_LOOK}; then sudo systemctl reset-failed edgecam && {_START}",
    ),
    "protocol": ("it ended before it said that it was ready", _LOOK),
    "resources": ("systemd could not start it", "systemctl status edgecam"),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """What systemd says of the unit.

    Attributes:
        properties: Some of `PROPERTIES`, as ``systemctl show`` gives them.
        last_exit: How its main process ended last, as (code, status): ``("exited", "78")``, ``("killed", "SIGABRT")``;
            None: not known.
        is_out_of_memory: The kernel ended it so for want of memory; with OOMPolicy=continue `Result` says "signal".
        credentials: Where the credentials lie that it is handed, by name, as LoadCredential= has it.
    """

    properties: Mapping[str, str]
    last_exit: tuple[str, str] | None = None
    is_out_of_memory: bool = False
    credentials: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.properties.get(name, "")

    @property
    def is_running(self) -> bool:
        """Whether its main process is there, or about to be."""
        return self["ActiveState"] in {"active", "activating", "reloading", "deactivating"} and self["MainPID"] != "0"


def read_unit(booted: Path = BOOTED) -> Unit | None:
    """Ask systemd; None where it does not run this machine.

    Raises:
        UnavailableError: It does not answer.
    """
    if not booted.exists():
        return None
    shown = answer_of("systemctl", "show", UNIT, f"--property={','.join(PROPERTIES)}")
    properties: dict[str, str] = {}
    for line in shown.splitlines():
        name, _, value = line.partition("=")
        if name in PROPERTIES:  # a list has a line for each of its items
            properties[name] = f"{properties[name]} {value}" if properties.get(name) else value
    last_exit, is_out_of_memory = _last_exit(Unit(properties))
    return Unit(properties, last_exit, is_out_of_memory, _credentials())


def judge_unit(unit: Unit | None, *, is_answering: bool) -> Outcome:
    """Tell how the unit is.

    Args:
        unit: What systemd says; None: there is no systemd.
        is_answering: A daemon answers: then one that was started by hand is no trouble.
    """
    if unit is None:
        return _told(CheckState.SKIPPED, "systemd does not run this machine; the daemon is started by hand")
    if unit["LoadState"] != "loaded":
        what = "masked" if unit["LoadState"] == "masked" else "not installed"
        fix = "sudo systemctl unmask edgecam" if what == "masked" else "install the package edgecam"
        if is_answering:
            return _told(CheckState.SKIPPED, f"{UNIT} is {what}; the daemon that answers was started by hand")
        return _told(CheckState.FAILED, f"{UNIT} is {what}", fix)
    if unit["ActiveState"] in {"active", "reloading"}:
        return _judge_active(unit)
    return _judge_inactive(unit)


def _judge_active(unit: Unit) -> Outcome:
    since = f"active since {unit['ActiveEnterTimestamp'] or 'an unknown time'}"
    restarts = unit["NRestarts"]
    if restarts not in {"", "0"}:
        why, fix = _cause(unit)
        times = "once" if restarts == "1" else f"{restarts} times"
        return _told(CheckState.WARNING, f"{since}; systemd started it again {times}, last: {why}", fix or _LOOK)
    if unit["NeedDaemonReload"] == "yes":
        fix = "sudo systemctl daemon-reload && sudo systemctl restart edgecam"
        return _told(CheckState.WARNING, f"{since}; its file was changed since", fix)
    if unit["UnitFileState"] == "disabled":
        return _told(
            CheckState.WARNING, f"{since}; it does not start with the machine", "sudo systemctl enable edgecam"
        )
    return _told(CheckState.OK, since)


def _judge_inactive(unit: Unit) -> Outcome:
    why, fix = _cause(unit)
    when = f" at {unit['ExecMainExitTimestamp']}" if unit["ExecMainExitTimestamp"] else ""
    if unit["SubState"] == "auto-restart":
        what = f"ended{when} and is to be started again ({unit['NRestarts'] or '0'} times so far): {why}"
        return _told(CheckState.FAILED, what, fix or _LOOK)
    if unit["ActiveState"] == "activating":
        return _told(CheckState.WARNING, f"starting: {unit['StatusText'] or 'it is not ready yet'}", "wait; " + _LOOK)
    if unit["ActiveState"] == "failed":
        return _told(CheckState.FAILED, f"failed{when}: {why}", fix or _LOOK)
    return _told(CheckState.FAILED, f"{unit['ActiveState'] or 'inactive'}: stopped{when}", _START)


def _cause(unit: Unit) -> tuple[str, str]:
    """Give why it ended last, and what to do."""
    result = "oom-kill" if unit.is_out_of_memory else unit["Result"]
    if result in _RESULTS:
        return _RESULTS[result]
    code, status = unit.last_exit or ("", "")
    if code == "exited":
        what, fix = _STATUSES.get(status, ("", ""))
        return (f"exit status {status}: {what}" if what else f"exit status {status}"), fix
    if code in {"killed", "dumped"}:
        return f"ended by signal {status}", _LOOK
    return (f"result {result}" if result not in {"", "success"} else "the reason is not known"), _LOOK


def _credentials() -> dict[str, str]:
    """Read LoadCredential= in the unit's own files: `systemctl show` calls it unprintable (systemd 252)."""
    found: dict[str, str] = {}
    try:
        lines = answer_of("systemctl", "cat", UNIT).splitlines()
    except UnavailableError:
        return found  # it is not installed
    for line in lines:
        key, _, value = line.strip().partition("=")
        name, _, path = value.strip().partition(":")
        if key.strip() == "LoadCredential" and path:
            found[name] = path
        elif key.strip() == "LoadCredential" and not name:
            found.clear()  # systemd.syntax(7): an empty one takes back those before it
    return found


def _last_exit(unit: Unit) -> tuple[tuple[str, str] | None, bool]:
    """Give how its main process ended, by its properties or the journal, and whether that was for want of memory."""
    codes = {"1": "exited", "2": "killed", "3": "dumped"}  # CLD_… of <signal.h>
    known = _named(codes[unit["ExecMainCode"]], unit["ExecMainStatus"]) if unit["ExecMainCode"] in codes else None
    if known not in {None, ("killed", "SIGKILL")} or (known is None and unit["NRestarts"] in {"", "0"}):
        return known, False
    told, is_out_of_memory = _told_exit()
    last = known or told
    return last, is_out_of_memory and last == told


def ended_for_memory() -> bool:
    """Tell by the journal whether the kernel ended the process of the service that ended last for want of memory."""
    return _told_exit()[1]


def _told_exit() -> tuple[tuple[str, str] | None, bool]:
    """Give how a process of it ended last, and whether that was for want of memory; None: the journal does not tell."""
    entries = _last_entries()
    exits = [entry for entry in entries if "EXIT_CODE" in entry]
    if not exits:
        return None, False
    last = _named(str(exits[-1]["EXIT_CODE"]), str(exits[-1].get("EXIT_STATUS", "")))
    kills = [_moment(entry) for entry in entries if entry.get("MESSAGE_ID") == _OUT_OF_MEMORY]
    is_short = any(0 <= _moment(exits[-1]) - moment < _AT_ONCE_US for moment in kills)
    return last, is_short and last == ("killed", "SIGKILL")


def _last_entries() -> list[dict[str, Any]]:
    """Give the last ends of its processes, and the kernel's kills for want of memory, oldest first."""
    options = ("--boot", "--quiet", "--no-pager", "--lines=6", "--output=json", f"--unit={UNIT}")
    try:
        lines = answer_of("journalctl", *options, *(f"MESSAGE_ID={one}" for one in (_EXITED, _OUT_OF_MEMORY)))
        entries = [json.loads(line) for line in lines.splitlines()]
    except (UnavailableError, ValueError):
        return []  # who may not read the journal is told everything else
    return [entry for entry in entries if isinstance(entry, dict)]


def _moment(entry: dict[str, Any]) -> int:
    """Give when something was written down, in microseconds since the boot."""
    said = str(entry.get("__MONOTONIC_TIMESTAMP", ""))
    return int(said) if said.isdecimal() else 0


def _named(code: str, status: str) -> tuple[str, str]:
    """Give an exit with the signal's name in place of its number."""
    if code != "exited" and status.isdecimal():
        with suppress(ValueError):  # a signal that Python does not know keeps its number
            return code, signal.Signals(int(status)).name
    return code, status


def _told(state: CheckState, seen: str, fix: str = "") -> Outcome:
    return Outcome("unit", state, seen, fix)
