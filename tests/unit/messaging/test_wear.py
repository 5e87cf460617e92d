import os
from pathlib import Path

import pytest

from appliance.messaging.wear import Wear
from tests.unit.messaging.outbox_stage import draft, make


def test_it_counts_what_this_thread_writes_and_nothing_from_before(tmp_path: Path) -> None:
    if Wear(tmp_path / "outbox.db").figures(0)["written_bytes"] is None:
        pytest.skip("this kernel does not count what a thread writes")
    with (tmp_path / "before").open("wb") as file:
        file.write(b"x" * 100_000)
        os.fsync(file.fileno())
    wear = Wear(tmp_path / "outbox.db")
    assert wear.figures(0)["written_bytes"] == 0
    with (tmp_path / "after").open("wb") as file:
        file.write(b"x" * 40_960)
        os.fsync(file.fileno())
    written = wear.figures(0)["written_bytes"]
    if written == 0:
        pytest.skip("nothing is counted on this file system")
    assert written is not None
    assert 40_960 <= written < 100_000


def test_a_flush_is_counted_for_each_commit_and_three_when_the_log_begins_anew(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.open()
    wear = Wear(tmp_path / "outbox.db")
    store.append([draft()])
    before = wear.figures(store.commits)["flushes"]
    assert before == store.commits
    for _ in range(300):  # a log begins anew after 256 pages
        store.append([draft(size=300)])
    after = wear.figures(store.commits)["flushes"]
    assert after is not None
    assert after - store.commits in {3, 6, 9}
    store.close()


@pytest.mark.parametrize(
    ("mode", "batch", "most"), [("strict", 1, 9_000), ("grouped", 16, 2_500), ("grouped", 32, 2_500)]
)
def test_putting_and_acknowledging_an_event_of_300_bytes_writes_no_more_than_this(
    tmp_path: Path, mode: str, batch: int, most: int
) -> None:
    store = make(tmp_path, mode=mode)
    store.open()
    wear = Wear(tmp_path / "outbox.db")
    if wear.figures(0)["written_bytes"] is None:
        pytest.skip("this kernel does not count what a thread writes")
    for _ in range(0, 80, batch):
        store.append([draft(size=282)] * batch)
    wear = Wear(tmp_path / "outbox.db")
    wear.figures(store.commits)
    commits, events, sent = store.commits, 1600, [row.seq for row in store.pending(0, 1000)]
    for _ in range(events // batch):
        with store.transaction():
            if len(sent) >= 16:
                store.acknowledge(sent)
                sent = []
            store.append([draft(size=282)] * batch)
        sent += range(store.last_seq - batch + 1, store.last_seq + 1)
    written = wear.figures(store.commits)["written_bytes"]
    if not written:
        pytest.skip("nothing is counted on this file system")
    assert written / events < most
    assert (store.commits - commits) / events <= 1 / batch
    store.close()
