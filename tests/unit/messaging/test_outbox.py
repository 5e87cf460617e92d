import os
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.messaging import losses
from appliance.messaging import outbox as module
from appliance.messaging.outbox import Outbox
from appliance.messaging.rows import Draft
from appliance.messaging.stamping import Offset
from tests.unit.messaging.outbox_stage import BOOT, Hand, draft, gap_records, make, named, numbers

BOOTED = Offset(int(BOOT.timestamp()) * 10**9, 25_000_000, 0)


def test_messages_come_out_in_order_with_their_number_inside(outbox: Outbox) -> None:
    assert outbox.append([draft(), draft(), draft()]) == 3
    rows = outbox.pending(0, 10)
    assert [row.seq for row in rows] == [1, 2, 3]
    assert [row.payload[:18] for row in rows] == [f"{outbox.gen} {seq}".encode() for seq in (1, 2, 3)]
    assert [row.seq for row in outbox.pending(1, 1)] == [2]
    outbox.acknowledge({1, 3})
    assert numbers(outbox) == [2]
    assert outbox.rows == 1


def test_numbers_go_on_after_a_restart_even_when_all_rows_are_gone(tmp_path: Path) -> None:
    first = make(tmp_path)
    first.open()
    first.append([draft(), draft()])
    first.acknowledge({1, 2})
    first.close()
    second = make(tmp_path)
    second.open()
    second.append([draft()])
    assert numbers(second) == [3]
    assert second.gen == first.gen
    second.close()


def test_every_new_store_has_its_own_generation(tmp_path: Path) -> None:
    generations = set()
    for name in ("a", "b"):
        store = make(tmp_path / name)
        store.open()
        generations.add(store.gen)
        store.close()
    assert len(generations) == 2
    assert all(len(gen) == 16 and int(gen, 16) >= 0 for gen in generations)


def test_over_the_rows_the_oldest_go_and_one_gap_names_exactly_them(tmp_path: Path) -> None:
    store = make(tmp_path, max_rows=10)
    store.open()
    store.append([draft() for _ in range(10)])
    store.append([draft() for _ in range(5)])
    while store.evict():
        pass
    (record,) = gap_records(store)
    assert (record["reason"], record["count"]) == ("rows", len(named(record)))
    pending = set(numbers(store))
    assert named(record) | pending == set(range(1, 17))
    assert not named(record) & pending
    assert min(pending) == max(named(record)) + 1
    store.close()


def test_details_go_before_events_and_what_is_on_its_way_stays(tmp_path: Path) -> None:
    store = make(tmp_path, max_rows=4)
    store.open()
    store.append([draft(), draft(priority=2), draft(), draft(priority=2), draft(priority=2), draft()])
    assert store.evict(spare={2}) == 2
    assert named(gap_records(store)[0]) == {4, 5}
    store.close()


def test_adjacent_losses_are_one_record_until_it_is_sent(tmp_path: Path) -> None:
    store = make(tmp_path, max_rows=3)
    store.open()
    for _ in range(20):
        store.append([draft()])
        while store.evict():
            pass
    (record,) = gap_records(store)
    sent = record["seq"]
    assert isinstance(sent, int)
    store.seal([sent])
    store.append([draft(), draft()])
    while store.evict():
        pass
    first, second = gap_records(store)
    assert first == record
    assert not named(first) & named(second)
    store.close()


def test_too_old_messages_go_by_the_clock_that_never_steps(tmp_path: Path) -> None:
    hand = Hand()
    store = make(tmp_path, hand, max_age=60.0)
    store.open()
    store.append([draft(at=0.0), draft(at=50.0)])
    hand.seconds = 61.0
    assert store.evict() == 1
    assert named(gap_records(store)[0]) == {1}
    assert gap_records(store)[0]["reason"] == "age"
    store.close()


def test_of_an_earlier_boot_the_age_counts_only_when_utc_is_known_of_both(tmp_path: Path) -> None:
    store = make(tmp_path, max_age=60.0)
    store.open()
    store.append([draft(at=0.0)])
    store.keep_offset(BOOTED)
    store.close()
    again = make(tmp_path, Hand(10.0), boot_id="boot2", max_age=60.0)
    again.open()
    assert again.pending(0, 1)[0].mono_ns is None
    assert again.evict() == 0
    again.keep_offset(replace(BOOTED, utc_ns=BOOTED.utc_ns + 51 * 10**9))
    assert again.pending(0, 1)[0].mono_ns == -51 * 10**9
    assert again.evict() == 1
    again.close()


def test_what_an_earlier_boot_queued_at_1970_does_not_expire_when_the_clock_is_set(tmp_path: Path) -> None:
    store = make(tmp_path, max_age=60.0)
    store.open()
    store.append([replace(draft(at=5.0), time_ns=5)])
    store.close()
    hand = Hand(10.0)
    again = make(tmp_path, hand, boot_id="boot2", max_age=60.0)
    again.open()
    again.keep_offset(BOOTED)
    assert again.evict() == 0
    hand.seconds = 61.0
    assert again.evict() == 1, "it is as old as this boot at least"
    again.close()


def test_over_the_bytes_the_oldest_go_and_the_file_stays_within_them(tmp_path: Path) -> None:
    store = make(tmp_path, max_bytes=1 << 20)
    store.open()
    for _ in range(100):
        store.append([draft(size=1000) for _ in range(32)])
        while store.evict():
            pass
    assert (tmp_path / "outbox.db").stat().st_size <= 1 << 20
    (record,) = gap_records(store)
    assert record["reason"] == "bytes"
    assert named(record) | set(numbers(store)) == set(range(1, store.last_seq + 1))
    assert len(numbers(store)) > 500
    store.close()


def test_large_messages_in_one_batch_are_taken_in_parts(tmp_path: Path) -> None:
    store = make(tmp_path, max_bytes=1 << 20)
    store.open()
    drafts = [draft(size=100_000) for _ in range(20)]
    done = 0
    while done < 20:
        taken = store.append(drafts[done:])
        assert taken > 0
        done += taken
        while store.evict():
            pass
    lost = set().union(*(named(record) for record in gap_records(store)))
    assert lost | set(numbers(store)) == set(range(1, store.last_seq + 1))
    store.close()


def test_what_cannot_be_encoded_or_is_too_large_is_declared_lost(outbox: Outbox) -> None:
    def refuse(_gen: str, _seq: int) -> bytes:
        raise ValueError("NaN")

    bad = Draft("door/events", refuse, 0, 0)
    assert outbox.append([draft(), bad, draft(size=module.MOST_PAYLOAD_BYTES), draft()]) == 4
    reasons = {record["reason"]: named(record) for record in gap_records(outbox)}
    assert set(reasons) == {"invalid", "too_large"}
    assert all(len(lost) == 1 for lost in reasons.values())
    assert set(numbers(outbox)) | set().union(*reasons.values()) == set(range(1, outbox.last_seq + 1))


def test_messages_lost_before_they_had_a_number_are_named(outbox: Outbox) -> None:
    outbox.append([draft()])
    outbox.declare_lost(3, "inlet")
    outbox.declare_lost(2, "inlet")
    (record,) = gap_records(outbox)
    assert named(record) == {2, 3, 4, 6, 7}
    assert outbox.last_seq == 7


def test_numbers_of_lost_messages_are_not_given_out_again_after_a_restart(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.open()
    store.declare_lost(1, "inlet")
    store.declare_lost(5, "inlet")  # goes into the record that is there: no row is inserted
    last = store.last_seq
    store.close()
    again = make(tmp_path)
    again.open()
    assert again.last_seq == last
    again.append([draft()])
    assert max(numbers(again)) == last + 1
    again.close()


def test_gap_records_stay_bounded_when_losses_are_scattered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "MOST_RUNS", 4)
    monkeypatch.setattr(losses, "MOST_OPEN_GAPS", 3)
    store = make(tmp_path, max_rows=100_000)
    store.open()
    for _ in range(200):
        store.append([draft(), draft(priority=2)])
    details = [row.seq for row in store.pending(0, 1000) if row.seq % 2 == 0]
    with store.transaction():
        for seq in details:
            store._bounds.drop([seq], "rows")
    records = gap_records(store)
    assert len(records) <= 4
    counts = [record["count"] for record in records]
    total = sum(count for count in counts if isinstance(count, int))
    # every number is pending or counted in exactly one record, numbers of joined records included
    assert total + len(numbers(store)) == store.last_seq
    store.close()


def test_nothing_is_written_and_no_number_used_when_a_transaction_fails(outbox: Outbox) -> None:
    outbox.append([draft()])

    def append_and_fail() -> None:
        with outbox.transaction():
            outbox.append([draft(), draft()])
            raise StorageError("the disk is full")

    with pytest.raises(StorageError):
        append_and_fail()
    assert (numbers(outbox), outbox.last_seq, outbox.rows) == ([1], 1, 1)
    outbox.append([draft()])
    assert numbers(outbox) == [1, 2]


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_kept_aside_and_a_new_generation_begins(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "outbox.db").write_bytes(content)
    store = make(tmp_path)
    store.open()
    assert store.quarantined is not None
    assert store.quarantined.read_bytes() == content
    store.append([draft()])
    assert numbers(store) == [1]
    store.close()


def test_a_broken_page_is_found_and_the_file_kept_aside(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.open()
    for _ in range(20):
        store.append([draft(size=500) for _ in range(30)])
    store.close()
    path = tmp_path / "outbox.db"
    with path.open("r+b") as file:
        file.seek(4096 * 8)
        file.write(b"\xa5" * 4096 * 20)
    again = make(tmp_path)
    again.open()
    assert again.quarantined is not None
    assert again.gen != store.gen
    again.append([draft()])
    again.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.open()
    store.append([draft()])
    store.close()
    connection = sqlite3.connect(tmp_path / "outbox.db")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StorageError, match="newer Edgecam"):
        make(tmp_path).open()
    assert not list(tmp_path.glob("*corrupt*"))


def test_a_second_process_is_refused(tmp_path: Path, outbox: Outbox) -> None:
    outbox.append([draft()])
    script = (
        "import sys, sqlite3\n"
        "c = sqlite3.connect(sys.argv[1], timeout=0.1)\n"
        "try: c.execute('SELECT * FROM outbox').fetchall()\n"
        "except sqlite3.OperationalError as e: print(e)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "outbox.db")], capture_output=True, text=True, check=True
    ).stdout
    assert "locked" in said


def test_a_directory_that_cannot_be_made_is_told_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="state_dir"):
        make(tmp_path / "file" / "below").open()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_the_right_to_write_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StorageError, match="may write"):
        make(tmp_path).open()
