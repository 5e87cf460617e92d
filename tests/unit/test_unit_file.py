"""What the systemd unit promises fits what the daemon does."""

import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.core.witness import FRESH_NS, WITNESS
from appliance.daemon.main import RESTART
from appliance.daemon.supervisor import RESTARTS, STOP_WITHIN

UNITS = Path(__file__).resolve().parents[2] / "systemd"
UNIT = UNITS / "edgecam.service"
MOST_EXPOSED = 1.2  # of systemd-analyze security, where 10 is unprotected
RESTARTS_OF_A_PART = 5  # in a minute: supervisor.RESTARTS
NEWER = {"RestartSteps", "RestartMaxDelaySec"}  # of 254, where JetPack 6 has 249; systemd.service(5)


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    """Give the values of each key of the [Service] section, in order: a key may be given more than once."""
    section = UNIT.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    values: dict[str, list[str]] = {}
    for line in section.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(key, []).append(value)
    return values


def test_a_configuration_error_is_not_tried_again(service: dict[str, list[str]]) -> None:
    assert service["RestartPreventExitStatus"] == [str(ConfigError.exit_code)]
    assert service["Restart"] == ["on-failure"]


def test_a_commanded_restart_is_no_failure_and_systemd_does_it(service: dict[str, list[str]]) -> None:
    assert service["RestartForceExitStatus"] == service["SuccessExitStatus"] == [str(RESTART)]


def test_the_next_start_waits_for_the_record_of_why_the_last_one_ended_and_not_for_long() -> None:
    lines = (UNITS / "edgecam-failure@.service").read_text().splitlines()
    assert {"Before=edgecam.service", "Type=oneshot", "TimeoutStartSec=20"} <= set(lines)


def test_systemd_waits_longer_than_stopping_takes(service: dict[str, list[str]]) -> None:
    assert float(service["TimeoutStopSec"][-1]) > STOP_WITHIN + 2.0


def test_the_firmware_and_everything_but_cameras_and_a_hailo_is_out_of_reach(service: dict[str, list[str]]) -> None:
    assert service["DevicePolicy"] == ["closed"]
    cameras = ["char-video4linux rw", "char-media rw", "char-dma_heap rw"]
    assert service["DeviceAllow"] == [*cameras, "char-hailo rw", "char-hailo1x rw"]
    assert service["CapabilityBoundingSet"] == [""]


def test_the_clock_is_asked_beside_the_daemon_and_often_enough(service: dict[str, list[str]]) -> None:
    assert service["ProtectClock"] == ["yes"]  # it forbids adjtimex
    assert "Wants=edgecam-clock.timer" in UNIT.read_text().splitlines()
    asking = (UNITS / "edgecam-clock.service").read_text()
    assert str(WITNESS) in asking
    assert "RuntimeDirectoryPreserve=yes" in asking.splitlines()
    turn = int(re.findall(r"OnUnitActiveSec=(\d+)", (UNITS / "edgecam-clock.timer").read_text())[0])
    assert turn * 2e9 < FRESH_NS


def test_systemd_stops_starting_only_what_a_loop_starts(service: dict[str, list[str]]) -> None:
    limits = dict(re.findall(r"(StartLimit\w+)=(\d+)", UNIT.read_text()))
    burst, interval = int(limits["StartLimitBurst"]), int(limits["StartLimitIntervalSec"])
    assert burst > interval / float(service["RestartSec"][-1])  # with the pause alone it never gives up
    assert burst * 60 / interval > RESTARTS == RESTARTS_OF_A_PART


def test_what_is_newer_than_the_oldest_systemd_is_only_a_comfort(service: dict[str, list[str]]) -> None:
    assert service["Type"] == ["notify"]  # notify-reload is of 253
    assert any("HUP" in command for command in service["ExecReload"])
    assert service.keys() >= NEWER


def test_too_much_memory_ends_the_daemon_at_once_and_never_slows_it_down(service: dict[str, list[str]]) -> None:
    assert service["MemoryMax"] == ["60%"]
    assert "MemoryHigh" not in service


def test_a_setup_file_is_looked_at_wherever_it_lies_and_however_it_is_called() -> None:
    lines = (UNITS / "edgecam-setup.service").read_text()
    looked_for = re.findall(r"(?m)^ConditionPathExistsGlob=\|(.+)$", lines)
    # as Windows and browsers call it, and as a power cut leaves it
    for ending in (".toml", ".toml.txt", ".txt", " (1).toml", ".old"):
        for folder in ("/bootfs", "/boot/firmware", "/boot"):
            assert any(fnmatchcase(f"{folder}/edgecam-setup{ending}", glob) for glob in looked_for)
    assert not any(fnmatchcase("/boot/config.txt", glob) for glob in looked_for)


def test_no_core_file_holds_pictures_weights_or_secrets(service: dict[str, list[str]]) -> None:
    assert service["LimitCORE"] == ["0"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_a_model_may_have_a_process_of_its_own(service: dict[str, list[str]]) -> None:
    allowed: set[str] = set()
    for line in service["SystemCallFilter"]:
        named = _calls(line.removeprefix("~").split())
        allowed = allowed - named if line.startswith("~") else allowed | named
    starting = {"clone", "vfork", "execve", "wait4", "kill", "prctl"}
    talking = {"socketpair", "sendmsg", "recvmsg", "memfd_create", "ftruncate", "fcntl", "mmap", "dup2"}
    assert starting | talking <= allowed
    assert service["OOMPolicy"] == ["continue"]


def _calls(names: list[str]) -> set[str]:
    """Give the system calls that names stand for, where ``@`` begins a set of systemd's."""
    found: set[str] = set()
    for name in names:
        if name.startswith("@"):
            done = subprocess.run(
                ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True, timeout=60
            )
            found |= _calls([line.strip() for line in done.stdout.splitlines()[1:] if not line.strip().startswith("#")])
        else:
            found.add(name)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> list[str]:
    """Give the units in a folder, as they are installed; what they start is on this machine, or may be elsewhere."""
    there = shutil.which("true") or "/bin/true"
    units = [*UNITS.glob("*.service"), *UNITS.glob("*.timer")]
    for unit in units:
        text = re.sub(r"/usr/bin/(python3|edgecam)|/bin/kill", there, unit.read_text())
        (tmp_path / unit.name).write_text(text)
    return [str(tmp_path / unit.name) for unit in units]


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_systemd_finds_nothing_wrong(installed: list[str]) -> None:
    done = _analyze("verify", "--man=no", *installed)
    ours = [line for line in done.stderr.splitlines() if "edgecam" in line]
    assert (done.returncode, [line for line in ours if not any(f"'{key}'" in line for key in NEWER)]) == (0, [])


SANDBOXED = sorted(set(UNITS.glob("*.service")) - {UNITS / "edgecam-upgrade.service"})  # dpkg may write anywhere


@pytest.mark.parametrize("unit", SANDBOXED, ids=lambda unit: unit.name)
def test_a_service_is_as_little_exposed_as_promised(unit: Path) -> None:
    most = MOST_EXPOSED if unit == UNIT else MOST_EXPOSED + 0.2  # asking for the clock needs what sets it
    if unit.name == "edgecam-setup.service":
        most = 5.0  # it makes accounts, names and networks, as root; it ends, and nothing from a network reaches it
    done = _analyze("security", "--no-pager", "--offline=true", f"--threshold={most * 10:.0f}", str(unit))
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is older than 250: it cannot judge a file")
    assert done.returncode == 0, done.stdout.splitlines()[-1]
