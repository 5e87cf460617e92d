"""A disk with Debian 13 for arm64 and the packages boots on an emulated board, and is what a device is to be.

Emulation is slow, so that its limits are wide, and the unit's own are widened here by a drop-in and settings: what is
shown is that the image works, not how soon it does on a Pi.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.board import HOST, Board
from tests.simulators.broker import Mosquitto
from tests.simulators.emulated import Emulated
from tests.simulators.guest import wait_for
from tests.simulators.subscriber import Subscriber

BUILD = Path(__file__).resolve().parents[2] / "image/emulated/build"
BOOT = os.environ.get("EDGECAM_ARM64_BOOT", "")
LOGIN_WITHIN = 900.0  # seconds; a minute on an idle machine
EVENT_WITHIN = 900.0
SLOWLY = {  # emulation only: the units have 120 and 30, and 20
    "edgecam.service": "[Service]\nTimeoutStartSec=900\nWatchdogSec=300\n",
    "edgecam-clock.service": "[Service]\nTimeoutStartSec=300\n",
}
WATCHDOG = 120  # seconds; the image has the 15 of a Pi, in which a starved emulator was reset
CONFIGURATION = """
[model]
timeout = 10.0
open_timeout = 600.0
threads = 1 # those that wait for each other in a loop take what the others need

[messaging]
broker = "mqtt://{host}:{port}"

[cameras.street]
kind = "synthetic"
width = 320
height = 240
fps = 1.0
"""

pytestmark = pytest.mark.timeout(4800)  # the first installs, builds and boots


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def image(installed: Emulated, key: Path, broker: Mosquitto) -> Iterator[Path]:
    """The disk, with a configuration as its owner would have written it."""
    configuration = CONFIGURATION.format(host=HOST, port=broker.port)
    installed.path("/etc/edgecam/edgecam.toml").write_text(configuration)
    for unit, lines in SLOWLY.items():
        drop_in = installed.path(f"/etc/systemd/system/{unit}.d/emulated.conf")
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        drop_in.write_text(lines)
    drop_in = installed.path("/etc/systemd/system.conf.d/zz-emulated.conf")
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text(f"[Manager]\nRuntimeWatchdogSec={WATCHDOG}\n")
    with tempfile.TemporaryDirectory(prefix="edgecam-image-") as folder:
        command = [BUILD, installed.root, BOOT, key.with_suffix(".pub"), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Path(folder)


@pytest.fixture(scope="module")
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    with Subscriber(broker.port) as subscriber:
        yield subscriber


@pytest.fixture(scope="module")
def board(image: Path, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """The board, booted."""
    with Board(image, key, tmp_path_factory.mktemp("console") / "console") as board:
        print(f"\nlogin after {board.wait_for_login(LOGIN_WITHIN):.0f} s")
        yield board


def test_the_service_comes_up_by_itself_and_tells_what_it_sees(board: Board, subscriber: Subscriber) -> None:
    wait_for(lambda: subscriber.bodies("/street/events"), EVENT_WITHIN, "an event at the broker")
    shown = board.run("systemctl show edgecam -P ActiveState -P Type -P StatusText -P NRestarts -P MainPID").stdout
    state, kind, *rest = shown.splitlines()
    assert (state, kind) == ("active", "notify"), shown
    assert re.search(r"street online", shown), rest
    told = json.loads(board.run("edgecam status --json", check=False).stdout)
    assert told["cameras"]["street"]["frames_processed"] > 0
    assert told["messaging"]["connected"]
    memory = board.run("grep -E '^(VmHWM|VmRSS|RssAnon)' /proc/$(systemctl show edgecam -P MainPID)/status").stdout
    print("\n" + board.run("uname -srm; systemd-analyze time | head -1").stdout + memory)
    assert board.run("uname -m").stdout.strip() == "aarch64"


def test_nothing_failed_while_it_booted(board: Board) -> None:
    assert board.run("systemctl --failed --no-legend --plain").stdout == ""


def test_the_system_is_read_only_and_what_the_device_keeps_is_not(board: Board) -> None:
    assert "ro" in board.run("findmnt -n -o OPTIONS /").stdout.strip().split(",")
    assert board.run("touch /usr/probe", check=False).returncode != 0
    assert board.run("touch /probe", check=False).returncode != 0
    board.run("touch /var/lib/edgecam/probe /etc/edgecam/probe && rm /var/lib/edgecam/probe /etc/edgecam/probe")
    assert board.run("findmnt -n -o SOURCE --target /var/lib/edgecam").stdout.strip() == "/dev/vda2"


def test_the_journal_is_in_memory(board: Board) -> None:
    assert board.run("ls /run/log/journal").stdout.strip()
    assert board.run("ls /var/log/journal 2>/dev/null", check=False).stdout.strip() == ""
    assert "edgecam" in board.run("journalctl --no-pager -u edgecam -n 5").stdout


def test_a_clock_that_nobody_has_set_does_not_go_back_behind_the_last_time_known(board: Board, image: Path) -> None:
    assert board.run("systemctl is-active fake-hwclock-save.timer").stdout.strip() == "active"
    assert board.run("systemctl show fake-hwclock-load -P Result -P ExecMainCode").stdout.split() == ["success", "1"]
    kept = board.run('date -u -d "$(cat /etc/fake-hwclock.data)" +%s').stdout
    assert int(kept) > image.stat().st_ctime - 3600  # when it was built; the board's own clock begins in 2020
    assert int(board.run("date -u +%s").stdout) >= int(kept)


def test_the_hardware_watchdog_is_fed_by_systemd(board: Board) -> None:
    assert "RuntimeWatchdogSec=15\n" in board.run("cat /etc/systemd/system.conf.d/edgecam.conf").stdout
    assert board.run("systemctl show -P RuntimeWatchdogUSec").stdout.strip() == "2min"
    watchdog = board.run("cd /sys/class/watchdog/watchdog0 && cat identity state timeout").stdout.splitlines()
    assert watchdog == ["i6300ESB timer", "active", str(WATCHDOG)]


def test_swap_is_compressed_memory(board: Board) -> None:
    swaps = board.run("cat /proc/swaps").stdout.splitlines()[1:]
    assert [line.split()[0] for line in swaps] == ["/dev/zram0"]


def test_nobody_gets_in_by_a_password_and_there_is_none(board: Board, tmp_path: Path) -> None:
    hashes = [line.split(":")[1] for line in board.run("cat /etc/shadow").stdout.splitlines()]
    assert len(hashes) > 10
    assert {field for field in hashes if field[:1] not in {"*", "!"}} == set()
    settings = board.run("sshd -T").stdout.splitlines()
    wanted = {"passwordauthentication no", "kbdinteractiveauthentication no", "permitrootlogin without-password"}
    assert wanted <= set(settings)
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    refused = board.log_in("true", "-i", str(other), "-o", "BatchMode=yes")
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_what_makes_it_this_device_was_made_on_it(board: Board, image: Path) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}\n", board.run("cat /etc/machine-id").stdout)
    assert board.run("ls /var/lib/etc/upper/ssh").stdout.count("_key.pub") >= 1
    listed = subprocess.run(
        ["debugfs", "-R", "ls -p /etc/ssh", f"{image / 'disk.img'}?offset={1 << 20}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sshd_config" in listed.stdout
    assert "ssh_host_" not in listed.stdout
