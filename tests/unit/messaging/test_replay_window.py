from pathlib import Path

from appliance.messaging import bounds
from appliance.messaging.outbox import Outbox
from tests.unit.messaging.outbox_stage import Hand, draft, gap_records, make, named, numbers


def fill(store: Outbox, count: int, **each: float) -> None:
    left = count
    while left:
        left -= store.append([draft(**each) for _ in range(min(left, 32))])  # type: ignore[arg-type]


def test_what_the_broker_has_is_kept_and_waits_again_when_it_is_recalled(outbox: Outbox) -> None:
    fill(outbox, 10)
    before = outbox.pending(0, 100)
    outbox.acknowledge(set(range(1, 9)))
    assert (numbers(outbox), outbox.rows, outbox.kept) == ([9, 10], 2, 8)
    assert outbox.recall(outbox.gen, 3, 5) == 3
    assert (numbers(outbox), outbox.rows, outbox.kept) == ([3, 4, 5, 9, 10], 5, 5)
    assert outbox.pending(0, 3) == before[2:5]
    outbox.acknowledge({3, 4, 5})
    assert outbox.kept == 8


def test_of_another_generation_or_beyond_what_is_kept_nothing_is_recalled(outbox: Outbox) -> None:
    fill(outbox, 4)
    outbox.acknowledge({1, 2})
    assert outbox.recall("0123456789abcdef", 1, 2) == 0
    assert outbox.recall(outbox.gen, 3, 1 << 39) == 0
    assert outbox.recall(outbox.gen, 2, 1) == 0
    assert outbox.recall(outbox.gen, 1, 1 << 39) == 2


def test_what_is_kept_and_what_was_recalled_are_so_after_a_restart(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.open()
    fill(store, 10)
    store.acknowledge({1, 2, 3, 4, 7, 8})
    store.recall(store.gen, 2, 2)
    store.close()
    again = make(tmp_path)
    again.open()
    assert (numbers(again), again.rows, again.kept) == ([2, 5, 6, 9, 10], 5, 5)
    again.close()


def test_a_gap_record_that_is_recalled_is_urgent_again(outbox: Outbox) -> None:
    fill(outbox, 3)
    outbox.declare_lost(2, "inlet")
    (record,) = outbox.urgent(10)
    outbox.seal([record.seq])
    outbox.acknowledge({1, 2, 3, record.seq})
    assert outbox.urgent(10) == []
    assert outbox.recall(outbox.gen, 1, 100) == 4
    assert outbox.urgent(10) == [record]


def test_after_the_window_it_goes_in_batches(tmp_path: Path) -> None:
    hand = Hand()
    store = make(tmp_path, hand, replay_window=1000.0)
    store.open()
    fill(store, bounds.PURGE_ROWS + 100)
    store.acknowledge(set(range(1, bounds.PURGE_ROWS + 1)))
    hand.seconds = 999.0
    assert store.evict() == 0
    store.acknowledge({bounds.PURGE_ROWS + 1})
    hand.seconds = 1100.0
    assert store.evict() == bounds.PURGE_ROWS
    assert store.evict() == 0  # one that is too new, which alone would not be worth a commit
    assert (store.kept, store.rows, gap_records(store)) == (1, 99, [])
    store.close()


def test_it_takes_no_more_than_its_share(tmp_path: Path) -> None:
    store = make(tmp_path, max_rows=1000, replay_share=0.2)
    store.open()
    fill(store, 900)
    for first in range(1, 801, 40):
        store.acknowledge(set(range(first, first + 40)))
        while store.evict():
            pass
    assert 180 <= store.kept <= 220
    assert store.recall(store.gen, 1, 500) == 0
    assert numbers(store) == list(range(801, 901))
    store.close()


def test_nothing_that_waits_goes_while_there_is_something_kept(tmp_path: Path) -> None:
    store = make(tmp_path, max_rows=100, replay_share=1.0)
    store.open()
    fill(store, 100)
    store.acknowledge(set(range(1, 61)))
    fill(store, 70)
    while store.evict():
        pass
    assert named(gap_records(store)[0]) == set(range(61, 72))
    assert (store.kept, store.rows) == (0, 100)
    store.close()


def test_without_a_window_it_is_only_kept_until_a_batch_is_full(tmp_path: Path) -> None:
    store = make(tmp_path, replay_window=0.0)
    store.open()
    fill(store, bounds.PURGE_ROWS)
    store.acknowledge(set(range(1, bounds.PURGE_ROWS)))
    assert store.evict() == 0
    store.acknowledge({bounds.PURGE_ROWS})
    assert store.evict() == bounds.PURGE_ROWS
    assert (store.kept, store.rows) == (0, 0)
    fill(store, 1)
    assert numbers(store) == [bounds.PURGE_ROWS + 1]
    store.close()


def test_the_newest_number_is_known_though_its_row_is_gone(tmp_path: Path) -> None:
    store = make(tmp_path, replay_window=0.0)
    store.open()
    fill(store, bounds.PURGE_ROWS)
    store.acknowledge(set(range(1, bounds.PURGE_ROWS + 1)))
    assert store.evict() == bounds.PURGE_ROWS
    store.close()
    again = make(tmp_path)
    again.open()
    assert again.last_seq == bounds.PURGE_ROWS
    again.close()


def test_a_store_that_was_not_closed_says_that_there_may_be_more_than_it_knows(tmp_path: Path) -> None:
    store = make(tmp_path, mode="strict")
    store.open()
    fill(store, 2)
    store.close(is_clean=False)
    again = make(tmp_path)
    again.open()
    (record,) = gap_records(again)
    assert (record["reason"], record["count"], record["first"], record["last"]) == ("restart", 0, 3, 3)
    again.close()
    third = make(tmp_path)
    third.open()
    assert len(gap_records(third)) == 1
    third.close()


def test_a_commit_writes_the_pages_of_its_rows_and_hardly_any_other(tmp_path: Path) -> None:
    store = make(tmp_path, mode="strict")
    store.open()
    fill(store, 500, size=300)
    store._db.checkpoint()
    log = tmp_path / "outbox.db-wal"
    for _ in range(100):
        store.append([draft(size=300)])
    pages = (log.stat().st_size - 32) / (4096 + 24) / 100  # file format of SQLite, section 4.1
    assert pages < 1.6
    store.close()
