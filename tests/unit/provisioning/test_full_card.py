"""A card that takes nothing more does not keep a device from being set up."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.simulators.new_device import NewDevice
from tests.simulators.owner import WHOLE, boot, check_set_up


@pytest.fixture
def card(device: NewDevice) -> Iterator[Path]:
    """A boot partition with little room, in place of a folder; kept in memory, for not every kernel knows FAT."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a partition")
    place = device.places.boot
    given = {path.name: path.read_bytes() for path in place.iterdir()}
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "edgecam-card", place], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        for name, content in given.items():
            (place / name).write_bytes(content)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(card: Path) -> Path:
    """Take all room there is."""
    ballast = card / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(512)):
            pass
    assert os.statvfs(card).f_bavail == 0
    return ballast


def test_on_a_card_that_is_full_the_device_is_set_up_and_no_report_says_what_is_not_so(
    device: NewDevice, card: Path
) -> None:
    stale = "This device is set up.\n"
    for name in ("edgecam-setup-report.txt", "edgecam-setup-report.json"):
        (card / name).write_text(stale * 90)  # a page, which is as much as a report takes
    ballast = fill(card)
    report = boot(device)
    assert report is not None
    assert [one.state for _, one in report.steps if one.state != "done"] == []
    assert report.verdict == "not done"
    (told,) = [note for note in report.notes if note.startswith("PASSWORDS ARE STILL ON THE CARD")]
    assert told.endswith("No space left on device; take files off it that you do not need, and start the device again")
    assert (card / "edgecam-setup.toml").read_text() == WHOLE
    assert told in (card / "edgecam-setup-report.txt").read_text()
    json_report = card / "edgecam-setup-report.json"
    assert not json_report.exists() or json_report.read_text() != stale * 90
    ballast.unlink()
    boot(device)
    check_set_up(device)


def test_on_a_card_that_is_read_only_the_device_is_set_up_and_the_journal_says_what_is_left(
    device: NewDevice, card: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", card], check=True)
    report = boot(device)
    assert report is not None
    assert [one.state for _, one in report.steps if one.state != "done"] == []
    assert report.verdict == "not done"
    assert "Read-only file system; a card that is damaged is made so: `journalctl -k` tells" in report.as_text()
    subprocess.run(["mount", "-o", "remount,rw", card], check=True)
    boot(device)
    check_set_up(device)
