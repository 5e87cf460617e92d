"""What the outbox keeps, against a real mosquitto: over a kill, over its bounds, on a disk that is full or broken."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.health import HealthState
from tests.simulators.broker import REPOSITORY, Mosquitto
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.schemas import mistakes
from tests.simulators.subscriber import Subscriber

UNBOUNDED = "max_queued_messages 0"  # else it drops what a slow subscriber has not fetched, and says nothing


def publisher(broker: Mosquitto, directory: Path, count: int) -> "subprocess.Popen[str]":
    """Start a device as a process of its own."""
    command = [sys.executable, str(REPOSITORY / "tests" / "system" / "publisher.py"), str(directory / "state")]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen([*command, broker.url, str(count)], stdout=subprocess.PIPE, text=True, env=environment)


def test_killed_twice_while_the_broker_is_away_no_number_is_missing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.keep_sessions(tmp_path)
    mosquitto.start()

    def killed_after(number: int) -> None:
        with publisher(mosquitto, tmp_path, 1_000_000) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line.split()[1]) >= number:
                    break
            process.send_signal(signal.SIGKILL)

    with Subscriber(mosquitto.port) as subscriber:
        with publisher(mosquitto, tmp_path, 200) as process:
            assert process.stdout is not None
            assert "drained 200" in process.stdout.read()
        mosquitto.stop()
        killed_after(500)
        killed_after(900)
        with publisher(mosquitto, tmp_path, 100) as process:
            assert process.stdout is not None
            assert "last" in process.stdout.readline()
            mosquitto.start()
            last = int(process.stdout.read().split()[-1])
        assert last > 1000
        wait_until(lambda: len(subscriber.numbers()) == last, "all at the subscriber")
        assert set(subscriber.numbers()) == set(range(1, last + 1))
        assert [gap["reason"] for gap in subscriber.payloads("gap")] == ["restart"] * 2  # before all else
        assert len({fields["gen"] for fields in subscriber.numbered()}) == 1
        wait_until(lambda: subscriber.last("availability") == b"offline", "offline")


def test_a_killed_device_is_offline_by_its_last_will(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    command = [
        sys.executable,
        str(REPOSITORY / "tests" / "system" / "publisher.py"),
        str(tmp_path / "state"),
        mosquitto.url,
    ]
    with (
        Subscriber(mosquitto.port) as subscriber,
        subprocess.Popen([*command, "1000000"], env=os.environ | {"PYTHONPATH": str(REPOSITORY)}) as process,
    ):
        wait_until(lambda: subscriber.last("availability") == b"online", "online")
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: subscriber.last("availability") == b"offline", "offline")


def test_over_its_bounds_the_outbox_names_what_it_dropped(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.keep_sessions(tmp_path)
    mosquitto.start()
    with Subscriber(mosquitto.port) as subscriber:
        mosquitto.stop()
        with Device(tmp_path, mosquitto.url, outbox={"max_rows": 100}) as device:
            device.send(300)
            wait_until(lambda: device.figure("evicted") >= 200, "evicted")
            mosquitto.start()
            device.wait_drained(30.0)
        last = device.figure("last_seq")
        wait_until(lambda: max(subscriber.numbers(), default=0) == last, "the newest number")
        gaps = subscriber.payloads("gap")
        named = {number for gap in gaps for first, end in gap["ranges"] for number in range(first, end + 1)}
        arrived = set(subscriber.numbers())
        assert sum(gap["count"] for gap in gaps) == len(named) > 200
        assert not named & arrived
        assert named | arrived == set(range(1, last + 1))
        assert {gap["reason"] for gap in gaps} == {"rows"}
        assert [one for gap in gaps for one in mistakes("gap", gap)] == []


@contextlib.contextmanager
def small_disk(directory: Path, kilobytes: int) -> Iterator[None]:
    directory.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small disk needs root: mount -t tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_full_disk_is_told_and_what_found_no_room_is_named_once_there_is_some(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 4096):
        filler = disk / "filler"
        with Device(disk, mosquitto.url, outbox={"commit_interval": 0.01}) as device:
            device.send(10)
            wait_until(lambda: device.figure("rows") == 10, "on disk")
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(b"\0" * 4096):
                    pass
            sent = 10
            while device.figure("dropped_inlet") == 0:
                device.send(100, pad="x" * 500)
                sent += 100
                assert sent < 10_000
            wait_until(lambda: (found := device.finding("outbox")) and found.state is HealthState.FAILED, "told")
            finding = device.finding("outbox")
            assert finding is not None
            assert "disk is full" in finding.what
            assert "free some space" in finding.fix
            mosquitto.start()
            with Subscriber(mosquitto.port) as subscriber:
                wait_until(lambda: len(subscriber.numbers()) >= 10, "what is on disk is delivered all the same", 60.0)
            filler.unlink()
            wait_until(lambda: device.figure("declared_lost"), "the lost ones are declared", 60.0)
            assert device.figure("declared_lost") == device.figure("dropped_inlet")
            wait_until(lambda: (found := device.finding("outbox")) and found.state is HealthState.OK, "well again")


def test_a_disk_that_is_full_at_the_start_gives_no_number_out_twice(mosquitto: Mosquitto, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    mosquitto.start()
    with small_disk(disk, 1024), Subscriber(mosquitto.port) as subscriber:
        filler = disk / "filler"
        with Device(disk, mosquitto.url) as device:
            device.send(5)
            wait_until(lambda: len(subscriber.numbers()) == 5, "the first five arrive")
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass
        with Device(disk, mosquitto.url) as device:
            wait_until(lambda: (found := device.finding("outbox")) and found.state is HealthState.FAILED, "told")
            device.send(3)
            filler.unlink()
            wait_until(lambda: len(subscriber.numbers()) >= 8, "the other three arrive", 60.0)
        assert subscriber.numbers() == [1, 2, 3, 4, 5, 6, 7, 8]
        assert len({fields["gen"] for fields in subscriber.numbered()}) == 1


def test_an_unwritable_state_directory_is_told_and_nothing_is_raised(mosquitto: Mosquitto, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Device(tmp_path / "file" / "state", mosquitto.url) as device:
        device.send(1)
        wait_until(lambda: (found := device.finding("outbox")) and found.state is HealthState.FAILED, "told")
        finding = device.finding("outbox")
        assert finding is not None
        assert "state_dir" in finding.fix


def test_a_corrupt_outbox_is_put_aside_and_said_loudly(mosquitto: Mosquitto, tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"garbage" * 1000)
    mosquitto.start()
    with Subscriber(mosquitto.port) as subscriber, Device(tmp_path, mosquitto.url) as device:
        device.send(3)
        wait_until(lambda: len(subscriber.numbers()) == 3, "messages of the new generation")
        finding = device.finding("outbox")
        assert finding is not None
        assert finding.state is HealthState.DEGRADED
        assert "was corrupt" in finding.what
    assert (tmp_path / "outbox.db.corrupt-1").read_bytes() == b"garbage" * 1000


def test_what_a_corrupt_outbox_held_is_delivered_under_its_old_numbers(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with Device(tmp_path, mosquitto.url) as device:  # nobody is there yet
        device.send(1000, pad="x" * 200)
        wait_until(lambda: device.figure("rows") == 1000, "all are on disk")
        gen = device.figure("gen")
    with (tmp_path / "outbox.db").open("r+b") as file:
        file.write(b"\xa5" * 4096)  # its first page, without which SQLite knows nothing of it
        file.seek(4096 * 30)
        file.write(b"\xa5" * 4096)  # and one with messages
    mosquitto.configure(UNBOUNDED)
    mosquitto.start()
    at_once = {"replay_rate": 0, "replay_spread": 0}
    with Subscriber(mosquitto.port) as subscriber, Device(tmp_path, mosquitto.url, **at_once) as device:
        device.send(3)
        device.wait_drained(60.0)
        wait_until(lambda: (finding := device.finding("outbox")) and "were saved" in finding.what, "said so")
        wait_until(lambda: len(subscriber.numbered()) >= device.figure("saved") + 4, "they, the gap and the new ones")
        numbered = subscriber.numbered()
        came = {fields["seq"] for fields in numbered if fields["gen"] == gen and "n" in fields}
        assert len(came) == device.figure("saved") >= 980
        (gap,) = [fields for fields in numbered if fields.get("reason") == "corrupt"]
        assert gap["gen"] == gen
        lost = {number for first, last in gap["ranges"] for number in range(first, last + 1)}
        assert came | lost >= set(range(1, 1001))
        assert not came & lost
        new = [fields["seq"] for fields in numbered if fields["gen"] == device.figure("gen")]
        assert sorted(new) == list(range(1, 4))


def test_a_full_disk_is_drained_and_takes_new_messages_though_nobody_frees_anything(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    options = {"outbox": {"commit_interval": 0.01}, "replay_rate": 0}
    with small_disk(disk, 16384), Device(disk, mosquitto.url, **options) as device:
        device.send(1500, pad="x" * 500)
        wait_until(lambda: device.figure("rows") == 1500, "on disk")
        wait_until((disk / "outbox.ballast").exists, "room is kept")
        mosquitto.configure(UNBOUNDED)
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass
        mosquitto.start()
        with Subscriber(mosquitto.port) as subscriber:
            device.wait_drained(60.0)
            device.send(1000, pad="x" * 500)
            wait_until(lambda: len(subscriber.numbers()) >= 2500, "all of them", 60.0)
            device.wait_drained(60.0)
            assert set(subscriber.numbers()) == set(range(1, device.figure("last_seq") + 1))
        assert device.figure("dropped_inlet") == 0
        assert not (disk / "outbox.ballast").exists()
        (disk / "filler").unlink()
        wait_until((disk / "outbox.ballast").exists, "room is kept again")


def test_on_a_disk_that_is_read_only_it_says_so_and_goes_on_when_it_is_not(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    mosquitto.start()
    with small_disk(disk, 8192), Subscriber(mosquitto.port) as subscriber:
        with Device(disk, mosquitto.url) as device:
            device.send(5)
            device.wait_drained()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with Device(disk, mosquitto.url) as device:
            device.send(5)
            wait_until(lambda: (found := device.finding("outbox")) and found.state is HealthState.FAILED, "told")
            finding = device.finding("outbox")
            assert finding is not None
            assert "read-only" in finding.what + finding.fix or "cannot be written" in finding.what
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            wait_until(lambda: len(subscriber.numbers()) == 10, "the others arrive", 60.0)
            wait_until(lambda: (found := device.finding("outbox")) and found.state is HealthState.OK, "well again")
        assert subscriber.numbers() == list(range(1, 11))
