"""A disk with Debian 13 for arm64 and the packages boots on an emulated board, and is what a device is to be.

The units are as they are shipped, their limits included: the board's time is what it has computed. How soon an image
is up on a Pi is therefore not shown. What waits here, for the board, waits long.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.board import HOST, Board
from tests.simulators.broker import Mosquitto
from tests.simulators.emulated import Emulated
from tests.simulators.guest import wait_for
from tests.simulators.subscriber import Subscriber

BUILD = Path(__file__).resolve().parents[2] / "image/emulated/build"
BOOT = os.environ.get("EDGECAM_ARM64_BOOT", "")
LOGIN_WITHIN = 1200.0  # seconds of ours
EVENT_WITHIN = 900.0
STREET = {"person", "bicycle", "car", "bus", "truck"}
# The street waits until a frame is taken, so that none is skipped. The broker's seconds are ours, and many for one of
# the board's: with a shorter keepalive it would take the board for dead.
CONFIGURATION = """
[messaging]
broker = "mqtt://{host}:{port}"
keepalive = 3600

[cameras.street]
kind = "synthetic"
width = 320
height = 240
fps = 4.0
pace = "fastest"
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
def board(
    image: Path, key: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Board]:
    """The board, booted; if a test fails, it is asked why before its power goes."""
    failed = request.session.testsfailed
    with Board(image, key, tmp_path_factory.mktemp("console") / "console") as board:
        print(f"\nlogin after {board.wait_for_login(LOGIN_WITHIN):.0f} s")
        yield board
        if request.session.testsfailed > failed:
            print("\n" + board.account())


def test_the_service_comes_up_by_itself_and_tells_what_it_sees(board: Board, subscriber: Subscriber) -> None:
    event = wait_for(lambda: subscriber.bodies("/street/events"), EVENT_WITHIN, "an event at the broker")[0]
    assert (event["type"], event["camera"], event["seq"] > 0) == ("start", "street", True)
    assert event["label"] in STREET
    shown = board.run("systemctl show edgecam -p ActiveState,Type,NRestarts").stdout.splitlines()
    assert set(shown) == {"ActiveState=active", "Type=notify", "NRestarts=0"}

    def text() -> bool:  # it is told every few seconds
        said = board.run("systemctl show edgecam -P StatusText").stdout
        return re.match("street online .*; broker connected; ", said) is not None

    wait_for(text, 300, "a camera that is online and a broker in the unit's status text", every=2)
    told = json.loads(board.run("edgecam status --json", check=False).stdout)
    assert told["cameras"]["street"]["frames_processed"] > 0
    assert told["messaging"]["connected"]
    memory = board.run("grep -E '^(VmHWM|VmRSS|RssAnon)' /proc/$(systemctl show edgecam -P MainPID)/status").stdout
    print("\n" + board.run("uname -srm; systemd-analyze time | head -1").stdout + memory)
    assert board.run("uname -m").stdout.strip() == "aarch64"


def test_the_doctor_finds_nothing_that_failed(board: Board) -> None:
    told = json.loads(board.run("edgecam doctor --json", check=False).stdout)
    checks = {check["id"]: check for check in told["checks"]}
    print("\n" + "\n".join(f"{name} {one['state']}: {one['seen']}" for name, one in checks.items()))
    assert [one for one in checks.values() if one["state"] == "failed"] == []
    well = {name for name, one in checks.items() if one["state"] == "ok"}
    assert {"unit", "config", "access", "camera.street", "model", "runtime", "broker.tcp", "broker.mqtt"} <= well


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
    assert board.run("systemctl show fake-hwclock-load -P Result").stdout.strip() == "success"
    kept = board.run('date -u -d "$(cat /etc/fake-hwclock.data)" +%s').stdout
    assert int(kept) > image.stat().st_ctime - 3600  # when it was built; the board's own clock begins in 2020
    assert int(board.run("date -u +%s").stdout) >= int(kept)


def test_the_hardware_watchdog_is_fed_by_systemd(board: Board) -> None:
    assert board.run("systemctl show -P RuntimeWatchdogUSec").stdout.strip() == "15s"
    watchdog = board.run("cd /sys/class/watchdog/watchdog0 && cat identity state timeout").stdout.splitlines()
    assert watchdog == ["i6300ESB timer", "active", "15"]


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


def test_after_a_power_cut_it_comes_back_as_the_same_device(board: Board, subscriber: Subscriber) -> None:
    same = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub /etc/edgecam/edgecam.toml"
    before, first = board.run(same).stdout, subscriber.bodies("/street/events")[-1]
    board.run("systemctl start fake-hwclock-save && sync")  # as once an hour
    board.cut_power()
    board.power_on()
    print(f"\nlogin after {board.wait_for_login(LOGIN_WITHIN):.0f} s")

    def told() -> list[dict[str, Any]]:
        return [event for event in subscriber.bodies("/street/events") if event["boot"] != first["boot"]]

    event = wait_for(told, EVENT_WITHIN, "an event of the second boot")[0]
    assert board.run(same).stdout == before
    assert event["gen"] == first["gen"]
    assert event["seq"] > first["seq"]
    assert event["time"] > first["time"]
    assert board.run("systemctl is-active edgecam").stdout.strip() == "active"
