"""Disks that are full, read-only or corrupt under real messaging: it says so, recovers by itself, loses nothing that
it does not name. The judge is the audit's own books, fed with what a subscriber got.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from appliance.config import OutboxSettings
from appliance.core.health import HealthState
from appliance.messaging.rows import Draft
from appliance.workbench.accounts import Account, Accounts, Runs
from tests.powercut import kernel
from tests.powercut.cuts import as_file
from tests.powercut.judge import open_outbox
from tests.powercut.recording import make_file_system, missing
from tests.simulators.broker import Mosquitto
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.subscriber import Subscriber

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
IMAGE_BYTES: Final = 16 << 20
PAGE: Final = 4096
MOST_SMALL: Final = 1000


class Disk:
    """A small ext4 file system of its own."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "disk"
        self.place.mkdir()
        image = directory / "image"
        make_file_system(image, IMAGE_BYTES)
        self._image = as_file(image.read_bytes())
        self._filler = self.place / "filler"
        self.mount()

    def mount(self) -> None:
        kernel.mount_image(self._image, self.place, "errors=remount-ro")

    def unmount(self, *, is_detached: bool = False) -> None:
        kernel.unmount(self.place, is_detached=is_detached)

    def fill(self, leave: int = 0) -> None:
        """Fill it up, but for so many bytes."""
        size = -1
        while size != (size := self._filler.stat().st_size if self._filler.exists() else 0):
            os.sync()  # what was deleted a moment ago, or was only set aside, is free once ext4 has committed that
            with suppress(OSError), self._filler.open("ab", buffering=0) as file:
                while file.write(b"\0" * PAGE):
                    pass
        with suppress(OSError):  # a small file finds a place where a large one does not grow any more
            for number in range(MOST_SMALL):
                with Path(self.place, f"filler-{number}").open("wb") as file:
                    file.write(b"\0")
                    os.fsync(file.fileno())
        if leave:
            os.truncate(self._filler, self._filler.stat().st_size - leave)
        os.sync()

    def free(self) -> None:
        for file in self.place.glob("filler*"):
            file.unlink()

    def fail(self) -> None:
        """Have the kernel find a fault in it: it becomes read-only, as after a broken sector."""
        number = os.minor(self.place.stat().st_dev)
        Path(f"/sys/fs/ext4/loop{number}/trigger_fs_error").write_text("tried by a test")

    def close(self) -> None:
        with suppress(OSError):
            self.unmount(is_detached=True)
        os.close(self._image)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.close()


class Auditor(Subscriber):
    """A subscriber with the audit's books, brought up to date with what came since they were last looked into."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._accounts, self._read, self._events = Accounts(), 0, 0

    def books(self) -> list[Account]:
        new = self.messages[self._read :]
        self._read += len(new)
        for topic, payload, _ in new:
            self._events += self._accounts.take(topic, payload) is not None and not topic.endswith("/gap")
        assert self._accounts.unreadable == 0
        return list(self._accounts)

    def events(self) -> int:
        """Count the different events that arrived."""
        self.books()
        return self._events


@contextmanager
def listening(broker: Mosquitto) -> Iterator[Auditor]:
    broker.configure("max_queued_messages 0")  # else it drops what a slow subscriber has not fetched, and says nothing
    broker.start()
    with Auditor(broker.port) as subscriber:
        yield subscriber


def said(device: Device, *words: str) -> Callable[[], bool]:
    def is_so() -> bool:
        finding = device.finding("outbox")
        return finding is not None and all(word in f"{finding.what} {finding.fix}" for word in words)

    return is_so


def is_well(device: Device) -> bool:
    finding = device.finding("outbox")
    return finding is None or finding.state is HealthState.OK


def assert_complete(subscriber: Auditor, least: int) -> None:
    wait_until(lambda: subscriber.events() >= least, f"{least} events", 60.0)
    for account in subscriber.books():
        assert account.missing(is_whole=True) == []


def test_full_at_an_append_what_waits_in_memory_is_kept_and_numbered_once_there_is_room(
    mosquitto: Mosquitto, disk: Disk
) -> None:
    with (
        listening(mosquitto) as subscriber,
        Device(disk.place / "state", mosquitto.url, replay_rate=0, replay_spread=0) as device,
    ):
        device.send(10)
        device.wait_drained()
        disk.fill()
        device.send(600, pad="x" * 500)
        wait_until(said(device, "disk is full", "free some space"), "told")
        disk.free()
        wait_until(lambda: is_well(device), "well again", 60.0)
        device.wait_drained(60.0)
        assert_complete(subscriber, 610)
        assert device.figure("declared_lost") == 0


def test_full_at_an_acknowledgement_everything_is_delivered_and_numbers_go_on(mosquitto: Mosquitto, disk: Disk) -> None:
    with Device(disk.place / "state", mosquitto.url, replay_rate=0, replay_spread=0) as device:
        device.send(900, pad="x" * 300)
        wait_until(lambda: device.figure("rows") == 900, "on disk")
        disk.fill()
        with listening(mosquitto) as subscriber:
            wait_until(lambda: subscriber.events() == 900, "delivered from a full disk", 60.0)
            disk.free()
            device.send(50)
            wait_until(lambda: is_well(device), "well again", 60.0)
            device.wait_drained(60.0)
            device.close()
            with Device(disk.place / "state", mosquitto.url, replay_rate=0, replay_spread=0) as next_life:
                next_life.send(5)
                next_life.wait_drained(60.0)
            assert_complete(subscriber, 955)


def test_full_at_an_eviction_what_goes_is_named(mosquitto: Mosquitto, disk: Disk) -> None:
    with Device(
        disk.place / "state", mosquitto.url, outbox={"max_rows": 300}, replay_rate=0, replay_spread=0
    ) as device:
        device.send(300, pad="x" * 500)
        wait_until(lambda: device.figure("rows") >= 300, "on disk")
        disk.fill()
        device.send(700, pad="x" * 500)
        wait_until(said(device, "disk is full"), "told", 30.0)
        disk.free()
        wait_until(lambda: device.figure("appended") == 1000, "all numbered", 60.0)
        with listening(mosquitto) as subscriber:
            device.wait_drained(60.0)
            wait_until(
                lambda: subscriber.books() and subscriber.books()[0].came.last == device.figure("last_seq"), "all"
            )
            assert_complete(subscriber, 250)
            assert subscriber.books()[0].reasons["rows"] >= 690


def test_full_at_a_checkpoint_nothing_is_lost(mosquitto: Mosquitto, disk: Disk) -> None:
    with Device(disk.place / "state", mosquitto.url, replay_rate=0, replay_spread=0) as device:
        disk.fill(leave=1 << 20)
        for _ in range(20):  # some 2 MB: the log has room, the file it is worked into has not
            device.send(32, pad="x" * 3000)
        wait_until(said(device, "disk is full"), "told", 30.0)
        with listening(mosquitto) as subscriber:
            wait_until(lambda: subscriber.events() > 100, "what is on disk is delivered", 60.0)
            disk.free()
            wait_until(lambda: is_well(device), "well again", 60.0)
            device.wait_drained(60.0)
            assert_complete(subscriber, 640)


def test_a_file_system_that_becomes_read_only_is_told_and_outlived(mosquitto: Mosquitto, disk: Disk) -> None:
    with (
        listening(mosquitto) as subscriber,
        Device(disk.place / "state", mosquitto.url, replay_rate=0, replay_spread=0) as device,
    ):
        device.send(50)
        device.wait_drained()
        disk.fail()
        device.send(200)
        wait_until(said(device, "the disk gives errors", "dmesg"), "told", 30.0)
        disk.unmount(is_detached=True)
        disk.mount()
        wait_until(lambda: is_well(device), "well again", 60.0)
        device.wait_drained(60.0)
        assert_complete(subscriber, 250)


Damage = Callable[[bytearray], None]


def event(gen: str, seq: int) -> bytes:
    return json.dumps({"id": f"dev/{gen}/{seq}", "gen": gen, "seq": seq, "n": seq, "pad": "x" * 200}).encode()


def five_pages(content: bytearray) -> None:
    chance = random.Random(5)
    for page in chance.sample(range(1, len(content) // PAGE), 5):
        content[page * PAGE : (page + 1) * PAGE] = chance.randbytes(PAGE)


def flipped_bits(content: bytearray) -> None:
    chance = random.Random(5)
    for _ in range(20):
        content[chance.randrange(PAGE, len(content))] ^= 1 << chance.randrange(8)


def cut_short(content: bytearray) -> None:
    del content[len(content) * 7 // 10 :]


def first_page(content: bytearray) -> None:
    content[:PAGE] = random.Random(5).randbytes(PAGE)


@pytest.mark.parametrize(
    ("damage", "least"), [(five_pages, 0.98), (flipped_bits, 0.98), (cut_short, 0.65), (first_page, 1.0)]
)
def test_of_a_corrupt_outbox_what_can_be_read_is_delivered_and_the_rest_is_named(
    mosquitto: Mosquitto, tmp_path: Path, damage: Damage, least: float
) -> None:
    state = tmp_path / "state"
    count = 5000
    with closing(open_outbox(state, OutboxSettings())) as outbox:
        gen = outbox.gen
        for _ in range(0, count, 50):
            outbox.append([Draft("door/events", event, time.time_ns(), time.monotonic_ns())] * 50)
    content = bytearray((state / "outbox.db").read_bytes())
    damage(content)
    (state / "outbox.db").write_bytes(content)
    with listening(mosquitto) as subscriber, Device(state, mosquitto.url, replay_rate=0, replay_spread=0) as device:
        device.send(10)
        wait_until(lambda: said(device, "corrupt")() or said(device, "damaged")(), "told", 30.0)
        device.wait_drained(20.0)
        wait_until(lambda: not unaccounted(subscriber, gen, count), "every number came or is named", 30.0)
        by_gen = {account.gen: account for account in subscriber.books()}
        assert sum(last - first + 1 for first, last in by_gen[gen].came) >= least * count
        assert all(account.missing(is_whole=True) == [] for account in by_gen.values())
        if said(device, "is corrupt")():
            assert (state / "outbox.db.corrupt-1").read_bytes()[:PAGE] == content[:PAGE]


def unaccounted(subscriber: Auditor, gen: str, last: int) -> list[tuple[int, int]]:
    """Give the numbers up to the last that neither came nor were named."""
    known = Runs()
    for account in subscriber.books():
        if account.gen == gen:
            for run in (*account.came, *account.named):
                known.add(*run)
    return known.holes(1, last)
