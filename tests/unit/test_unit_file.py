"""What the systemd unit promises fits what the daemon does."""

import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.daemon.main import RESTART
from appliance.daemon.supervisor import STOP_WITHIN

UNIT = Path(__file__).resolve().parents[2] / "systemd/edgecam.service"


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


def test_systemd_waits_longer_than_stopping_takes(service: dict[str, list[str]]) -> None:
    assert float(service["TimeoutStopSec"][-1]) > STOP_WITHIN + 2.0


def test_the_firmware_and_everything_but_cameras_and_a_hailo_is_out_of_reach(service: dict[str, list[str]]) -> None:
    assert service["DevicePolicy"] == ["closed"]
    cameras = ["char-video4linux rw", "char-media rw", "char-dma_heap rw"]
    assert service["DeviceAllow"] == [*cameras, "char-hailo rw", "char-hailo1x rw"]
    assert service["CapabilityBoundingSet"] == [""]


def test_the_daemon_may_ask_whether_the_clock_is_synchronised(service: dict[str, list[str]]) -> None:
    assert "ProtectClock" not in service  # it forbids adjtimex: every message would say `unsynced`
    assert {"adjtimex", "clock_adjtime"} <= set(service["SystemCallFilter"][-1].split())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_no_core_file_holds_pictures_weights_or_secrets(service: dict[str, list[str]]) -> None:
    assert service["LimitCORE"] == ["0"]


def test_a_model_may_have_a_process_of_its_own(service: dict[str, list[str]]) -> None:
    allowed: set[str] = set()
    for line in service["SystemCallFilter"]:
        named = _calls(line.removeprefix("~").split())
        allowed = allowed - named if line.startswith("~") else allowed | named
    starting = {"clone", "vfork", "execve", "wait4", "kill", "prctl"}
    talking = {"socketpair", "sendmsg", "recvmsg", "memfd_create", "ftruncate", "fcntl", "mmap", "dup2"}
    assert starting | talking <= allowed
    assert service["OOMPolicy"] == ["continue"]
    assert "MemoryDenyWriteExecute" not in service  # XNNPACK and others write code and run it


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


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # the user is made by the package, and this machine's Python may be elsewhere: neither is what is checked here
    unit.write_text(UNIT.read_text().replace("/usr/bin/python3", shutil.which("true") or "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, ours) == (0, [])
