"""What was collected outlives a kill at any point, and a file of another kind is not touched."""

import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError, StorageError
from appliance.workbench.collecting import book as module
from appliance.workbench.collecting.book import Book, read_book
from tests.simulators.reporting_fleet import Reporter

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SHA256 = "a" * 64


def filled(file: Path, count: int = 5) -> Book:
    book = Book(file)
    for number in range(count):
        cam = Reporter(f"cam-{number}")
        cam.begin(SHA256, "r1")
        cam.end()
        cam.health()
        for topic, payload, _ in cam.sent:
            book.devices.take(topic, payload, NOW)
    book.keep("2026-11-23T12:00:00Z", 60)
    return book


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "reports.jsonl"
    first = filled(file)
    again = Book(file)
    assert again.devices.all() == first.devices.all()
    with file.open("rb") as lines:
        head = read_book(lines, "it")[1]
    assert head is not None
    assert (head.taken, head.listened) == ("2026-11-23T12:00:00Z", 60)


def test_a_cut_at_any_byte_of_what_is_added_loses_that_alone(tmp_path: Path) -> None:
    file = tmp_path / "reports.jsonl"
    filled(file, 2)
    before = file.read_bytes()
    book = Book(file)
    base = file.read_bytes()
    cam = Reporter("cam-9")
    cam.tell()
    book.devices.take(*cam.sent[0][:2], NOW)
    book.keep("2026-11-23T12:01:00Z", 90)
    whole = file.read_bytes()
    assert whole.startswith(base)
    assert before
    for cut in range(len(base), len(whole), 7):
        file.write_bytes(whole[:cut])
        devices, _ = read_book(file.read_bytes().splitlines(keepends=True), "it")
        assert len(devices) >= 2
        assert len(Book(file).devices) >= 2


def test_a_disk_that_is_full_is_told_of_and_costs_no_more_than_what_was_added(tmp_path: Path) -> None:
    file = tmp_path / "reports.jsonl"
    book, cam = filled(file, 2), Reporter("cam-9")
    cam.tell()
    book.devices.take(*cam.sent[0][:2], NOW)
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 40, bounds[1]))
    try:
        with pytest.raises(StorageError, match=r"reports\.jsonl"):
            book.keep("2026-11-23T12:01:00Z", 90)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
    assert len(Book(file).devices) == 2


def test_the_file_stays_bounded_however_long_it_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAST_WASTE", 2000)
    file = tmp_path / "reports.jsonl"
    book, cam = filled(file, 3), Reporter("cam-0")
    for _ in range(200):
        cam.work(60, 10, 1)
        cam.health()
        book.devices.take(*cam.sent[-1][:2], NOW)
        book.keep("2026-11-23T12:00:00Z")
    filled(tmp_path / "other", 3)
    assert file.stat().st_size < 3 * (tmp_path / "other").stat().st_size + 4000
    assert Book(file).devices.all() == book.devices.all()


@pytest.mark.parametrize("content", [b"hello\n", b'{"schema":1,"rollout":"r"}\n', b'{"topic":"x","payload":"y"}\n'])
def test_a_file_of_another_kind_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.jsonl"
    for there in (content * 2, content.rstrip()):
        file.write_bytes(there)
        with pytest.raises(ConfigError, match="has no collected reports"):
            Book(file)
        assert file.read_bytes() == there
