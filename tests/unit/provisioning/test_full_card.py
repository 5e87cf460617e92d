"""A card that takes nothing more does not keep a device from being set up."""

from collections.abc import Iterator

import pytest

from tests.simulators.boot_partition import BootPartition, Failing, mounted
from tests.simulators.new_device import NewDevice
from tests.simulators.owner import WHOLE, boot, check_set_up


@pytest.fixture(params=["a folder that fails", "a real one"])
def card(device: NewDevice, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[BootPartition]:
    """Its boot partition; the real one is for root, and shows that the other fails as a kernel does."""
    if request.param == "a folder that fails":
        yield Failing(device.places.boot, monkeypatch)
        return
    with mounted(device.places.boot) as partition:
        yield partition


def test_on_a_card_that_is_full_the_device_is_set_up_and_no_report_says_what_is_not_so(
    device: NewDevice, card: BootPartition
) -> None:
    stale = "This device is set up.\n"
    for name in ("edgecam-setup-report.txt", "edgecam-setup-report.json"):
        (card.place / name).write_text(stale * 90)  # a page, which is as much as a report takes
    card.fill()
    report = boot(device)
    assert report is not None
    assert [one.state for _, one in report.steps if one.state != "done"] == []
    assert report.verdict == "not done"
    (told,) = [note for note in report.notes if note.startswith("PASSWORDS ARE STILL ON THE CARD")]
    assert told.endswith("No space left on device; take files off it that you do not need, and start the device again")
    assert (card.place / "edgecam-setup.toml").read_text() == WHOLE
    assert told in (card.place / "edgecam-setup-report.txt").read_text()
    json_report = card.place / "edgecam-setup-report.json"
    assert not json_report.exists() or json_report.read_text() != stale * 90
    card.clear()
    boot(device)
    check_set_up(device)


def test_on_a_card_that_is_read_only_the_device_is_set_up_and_the_journal_says_what_is_left(
    device: NewDevice, card: BootPartition
) -> None:
    card.protect()
    report = boot(device)
    assert report is not None
    assert [one.state for _, one in report.steps if one.state != "done"] == []
    assert report.verdict == "not done"
    assert "Read-only file system; a card that is damaged is made so: `journalctl -k` tells" in report.as_text()
    card.unprotect()
    boot(device)
    check_set_up(device)
