"""What systemd says of the unit, and what the doctor makes of it. The answers are systemd 252's own."""

import json
from pathlib import Path

import pytest

from appliance.core.checkup import CheckState
from appliance.core.errors import UnavailableError
from appliance.diagnostics.doctor.unit import Unit, ended_for_memory, judge_unit, read_unit
from tests.simulators.programs import put_program

ACTIVE = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "Result": "success",
    "NRestarts": "0",
    "ExecMainCode": "0",
    "ExecMainStatus": "0",
    "ExecMainExitTimestamp": "",
    "ActiveEnterTimestamp": "Sun 2026-11-22 23:00:00 UTC",
    "StatusText": "door online 10.0 fps; broker connected; outbox 0 messages",
    "NeedDaemonReload": "no",
    "MainPID": "711",
}
FILES = """# /usr/lib/systemd/system/edgecam.service
[Service]
LoadCredential=gone:/etc/gone
# /etc/systemd/system/edgecam.service.d/override.conf
[Service]
LoadCredential=
LoadCredential=broker-password:edgecam.broker-password
"""
FAILED = {
    **ACTIVE,
    "ActiveState": "failed",
    "SubState": "failed",
    "Result": "exit-code",
    "ExecMainCode": "1",
    "ExecMainStatus": "78",
    "ExecMainExitTimestamp": "Sun 2026-11-22 23:10:00 UTC",
    "MainPID": "0",
}


def systemd(monkeypatch: pytest.MonkeyPatch, directory: Path, properties: dict[str, str], journal: str = "") -> Path:
    """Have `systemctl show` and `journalctl` answer so; give the folder by which a booted systemd is known."""
    shown = "".join(f"{name}={value}\n" for name, value in properties.items())
    # whether it is asked to show or to cat, it gives both: neither's lines mean anything to the other
    put_program(monkeypatch, directory, "systemctl", shown + FILES)
    put_program(monkeypatch, directory, "journalctl", journal)
    return directory


def test_without_systemd_nothing_is_said_against_it(tmp_path: Path) -> None:
    assert read_unit(tmp_path / "none") is None
    assert judge_unit(None, is_answering=False).state is CheckState.SKIPPED


def test_a_unit_that_runs_is_well_and_tells_where_its_credentials_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unit = read_unit(systemd(monkeypatch, tmp_path, ACTIVE))
    assert unit is not None
    assert unit.is_running
    assert unit.credentials == {"broker-password": "edgecam.broker-password"}
    told = judge_unit(unit, is_answering=True)
    assert told.state is CheckState.OK
    assert "2026-11-22 23:00:00" in told.seen


@pytest.mark.parametrize(
    ("changes", "state", "words", "fix"),
    [
        ({}, CheckState.FAILED, "exit status 78: the configuration is not accepted", "edgecam config check"),
        ({"ExecMainStatus": "70"}, CheckState.FAILED, "a defect", "edgecam logs"),
        ({"Result": "watchdog", "ExecMainCode": "3", "ExecMainStatus": "6"}, CheckState.FAILED, "watchdog", "logs"),
        ({"Result": "oom-kill"}, CheckState.FAILED, "out of memory", "smaller model"),
        ({"Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "11"}, CheckState.FAILED, "SIGSEGV", "logs"),
        ({"Result": "start-limit-hit"}, CheckState.FAILED, "too often", "reset-failed"),
        ({"ActiveState": "inactive", "Result": "success"}, CheckState.FAILED, "stopped", "systemctl start edgecam"),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "7"},
            CheckState.FAILED,
            "7 times",
            "config check",
        ),
        ({"ActiveState": "activating", "SubState": "start"}, CheckState.WARNING, "starting", "wait"),
        ({"LoadState": "not-found"}, CheckState.FAILED, "not installed", "install"),
        ({"LoadState": "masked"}, CheckState.FAILED, "masked", "unmask"),
    ],
)
def test_each_way_in_which_it_does_not_run_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    changes: dict[str, str],
    state: CheckState,
    words: str,
    fix: str,
) -> None:
    told = judge_unit(read_unit(systemd(monkeypatch, tmp_path, FAILED | changes)), is_answering=False)
    assert told.state is state
    assert words in told.seen
    assert fix in told.fix


def test_one_that_was_started_again_tells_how_it_ended_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    journal = '{"EXIT_CODE":"killed","EXIT_STATUS":"6","MESSAGE":"…"}\n'
    told = judge_unit(
        read_unit(systemd(monkeypatch, tmp_path, ACTIVE | {"NRestarts": "3"}, journal)), is_answering=True
    )
    assert told.state is CheckState.WARNING
    assert "3 times" in told.seen
    assert "SIGABRT" in told.seen


@pytest.mark.parametrize(
    ("after_us", "status", "words"),
    [(300_000, "9", "out of memory"), (60_000_000, "9", "SIGKILL"), (300_000, "11", "SIGSEGV")],
)
@pytest.mark.parametrize("runs_again", [True, False])
def test_an_end_for_want_of_memory_is_told_from_other_kills(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after_us: int, status: str, words: str, *, runs_again: bool
) -> None:
    # as systemd's catalogue has it: the MESSAGE_ID says that the kernel killed a process of the unit
    journal = '{"MESSAGE_ID":"fe6faa94e7774663a0da52717891d8ef","__MONOTONIC_TIMESTAMP":"50000000"}\n'
    ended = {"EXIT_CODE": "killed", "EXIT_STATUS": status, "__MONOTONIC_TIMESTAMP": str(50_000_000 + after_us)}
    gone = {"Result": "signal", "ExecMainCode": "2", "ExecMainStatus": status}
    properties = ACTIVE | {"NRestarts": "1"} if runs_again else FAILED | gone
    booted = systemd(monkeypatch, tmp_path, properties, journal + json.dumps(ended) + "\n")
    told = judge_unit(read_unit(booted), is_answering=runs_again)
    assert words in told.seen
    assert ("smaller model" in told.fix) == (words == "out of memory")
    assert ended_for_memory() == (words == "out of memory")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"NeedDaemonReload": "yes"}, "daemon-reload"), ({"UnitFileState": "disabled"}, "systemctl enable")],
)
def test_what_would_bite_later_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    told = judge_unit(read_unit(systemd(monkeypatch, tmp_path, ACTIVE | changes)), is_answering=True)
    assert told.state is CheckState.WARNING
    assert words in told.fix


def test_a_daemon_that_was_started_by_hand_needs_no_unit() -> None:
    assert judge_unit(Unit({"LoadState": "not-found"}), is_answering=True).state is CheckState.SKIPPED


def test_a_systemd_that_fails_or_hangs_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_program(monkeypatch, tmp_path, "systemctl", "", complaint="Failed to connect to bus: Host is down", status=1)
    with pytest.raises(UnavailableError, match="Host is down"):
        read_unit(tmp_path)
