import json
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from appliance.core.errors import StorageError
from tests.unit.messaging.outbox_stage import Hand, draft, gap_records, make, named, numbers


class Accounting(RuleBasedStateMachine):
    """Whatever happens, every number is pending, acknowledged or in a gap record, and none is given out twice."""

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        del data
        import tempfile

        self._holder = tempfile.TemporaryDirectory()
        self.directory = Path(self._holder.name)
        self.acknowledged: set[int] = set()
        self.named: set[int] = set()
        self.sealed: set[int] = set()
        self.seen: dict[int, bytes] = {}
        self.hand = Hand()
        self.open()

    def open(self) -> None:
        self.store = make(self.directory, self.hand, max_rows=12, max_age=100.0)
        self.store.open()

    @rule(priorities=st.lists(st.sampled_from([1, 1, 2]), min_size=1, max_size=8))
    def append(self, priorities: list[int]) -> None:
        self.store.append([draft(priority=priority, at=self.hand.seconds) for priority in priorities])

    @rule(count=st.integers(1, 4), reason=st.sampled_from(["inlet", "invalid"]))
    def declare(self, count: int, reason: str) -> None:
        self.store.declare_lost(count, reason)

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        rows = self.store.pending(0, 5)
        chosen = data.draw(st.sets(st.sampled_from([row.seq for row in rows]))) if rows else set()
        gaps = [row for row in rows if row.seq in chosen and row.topic == "gap"]
        self.store.seal([row.seq for row in gaps])
        for row in gaps:
            self.named |= named(json.loads(row.payload))
        self.store.acknowledge(chosen)
        self.acknowledged |= chosen

    @rule(seconds=st.sampled_from([1.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.hand.seconds += seconds

    @rule(spare=st.sets(st.integers(1, 60), max_size=5))
    def evict(self, spare: set[int]) -> None:
        while self.store.evict(spare=spare):
            pass

    @precondition(lambda self: hasattr(self, "store"))
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @rule()
    def lose_power_before_the_commit(self) -> None:
        try:
            with self.store.transaction():
                self.store.append([draft()])
                self.store.declare_lost(2, "inlet")
                self.store._db.change("this is no SQL")
        except StorageError:
            self.store.close()
        self.open()

    @invariant()
    def every_number_is_accounted_for(self) -> None:
        if not hasattr(self, "store"):
            return
        rows = self.store.pending(0, 10_000)
        for row in rows:
            if row.topic != "gap":
                assert self.seen.setdefault(row.seq, row.payload) == row.payload
        pending = {row.seq for row in rows}
        lost = set().union(self.named, *(named(record) for record in gap_records(self.store)))
        assert len(pending) == len(rows) == self.store.rows
        assert not pending & lost
        assert not pending & self.acknowledged
        assert not lost & self.acknowledged
        assert pending | lost | self.acknowledged == set(range(1, self.store.last_seq + 1))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self._holder.cleanup()


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_what_a_gap_record_names_stays_named_when_the_broker_never_takes_that_record(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.open()
    store.append([draft() for _ in range(9)])
    assert store.give_up([2, 5, 8], "refused") == 3
    (record,) = gap_records(store)
    key = int(str(record["seq"]))
    store.seal([key])
    assert store.give_up([key], "refused") == 1
    (again,) = gap_records(store)
    assert int(str(again["seq"])) > key
    assert (again["first"], again["last"], again["count"]) == (2, key, 4)
    assert numbers(store) == [1, 3, 4, 6, 7, 9, again["seq"]]
    assert store.urgent(10)[0].seq == again["seq"]
    store.close()
