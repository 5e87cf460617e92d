"""A backlog of any length costs no more for each message than a short one."""

from pathlib import Path

from appliance.messaging import bounds
from appliance.messaging.outbox import Outbox
from tests.unit.messaging.outbox_stage import Hand, draft, gap_records, make, named, numbers


def at_work(store: Outbox, hand: Hand) -> list[str]:
    """Do everything an outbox does with a backlog; give the statements that it took."""
    statements: list[str] = []
    connection = store._db._connected()
    connection.set_trace_callback(statements.append)
    store.append([draft(priority=1 + n % 2, at=hand.seconds) for n in range(32)])
    rows = store.pending(0, 20, ["door/changes"])
    store.acknowledge([row.seq for row in rows])
    store.recall(store.gen, 1, 10)
    store.declare_lost(2, "inlet")
    store.seal([row.seq for row in store.urgent(5)])
    store.oldest()
    hand.seconds += 40.0
    while store.evict():
        pass
    store._bounds._give_way(10, "bytes", ())  # as on a full disk
    connection.set_trace_callback(None)
    return statements


def test_no_statement_reads_more_of_the_backlog_than_it_gives_back(tmp_path: Path) -> None:
    hand = Hand()
    store = make(tmp_path, hand, max_rows=500, max_age=60.0, replay_share=0.01)
    store.open()
    for _ in range(20):
        store.append([draft(priority=1 + n % 2, at=hand.seconds) for n in range(32)])
        hand.seconds += 1.0
    statements = {one for one in at_work(store, hand) if one.startswith(("SELECT", "DELETE", "UPDATE"))}
    assert len(statements) > 10
    plans = {one: store._db.rows(f"EXPLAIN QUERY PLAN {one}") for one in statements}
    scans = {
        one: detail
        for one, plan in plans.items()
        for *_, detail in plan
        if detail.startswith("SCAN") and "outbox" in detail and "USING" not in detail and "LIMIT" not in one
    }
    assert scans == {}
    sorts = {one: detail for one, plan in plans.items() for *_, detail in plan if "TEMP B-TREE" in detail}
    assert {one for one in sorts if "FROM outbox" in one} == set()
    store.close()


def test_weeks_offline_stay_inside_the_quota_and_come_out_in_order(tmp_path: Path) -> None:
    hand = Hand()
    store = make(tmp_path, hand, max_bytes=4 << 20)
    store.open()
    for _ in range(700):
        hand.seconds += 160.0
        store.append([draft(size=600, at=hand.seconds) for _ in range(32)])
        while store.evict():
            pass
    assert (tmp_path / "outbox.db").stat().st_size <= 4 << 20
    lost = set().union(*(named(record) for record in gap_records(store)))
    waiting = numbers(store)
    assert waiting == sorted(waiting)
    assert set(waiting) | lost == set(range(1, store.last_seq + 1))
    assert len(waiting) > 5000
    cursor, came = 0, []
    while rows := store.pending(cursor, 20):
        cursor = rows[-1].seq
        came += [row.seq for row in rows]
        store.acknowledge([row.seq for row in rows])
        while store.evict():
            pass
    assert came == waiting
    assert (store.rows, store.pending(0, 10)) == (0, [])
    assert store.kept <= 0.25 * len(waiting) + bounds.PURGE_ROWS
    store.close()
