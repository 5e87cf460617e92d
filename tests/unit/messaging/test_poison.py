"""Messages that a broker never takes: set aside, tried again, given up in the end, and then named in a gap record."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.health import HealthState
from appliance.messaging.holds import KEPT_FOR, MOST_TRIES
from appliance.messaging.parcels import LinkDown
from tests.unit.messaging.feeder_bench import Bench, numbers


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, inflight=8)
    yield made
    made.outbox.close()


class Broker:
    """Ends the connection whenever it sees a certain message; takes all others.

    Args:
        bench: The device.
        poison: The message's number.
        is_blamed: It says why.
    """

    def __init__(self, bench: Bench, poison: int, *, is_blamed: bool) -> None:
        self.bench, self.poison, self.is_blamed = bench, poison, is_blamed
        self.session, self.pause = 0, 1.0
        self.taken: list[int] = []

    def serve(self, turns: int) -> None:
        """Work off what the device sends, in so many turns with a pause in each."""
        for _ in range(turns):
            if not self.bench.feeder.has_link:
                self.session += 1
                self.bench.up(self.session)
            self._work_off()
            self.bench.clock.seconds += self.pause
            self.bench.append(1)
            self.bench.feeder.feed()
            self._work_off()

    def _work_off(self) -> None:
        while parcels := self.bench.link.taken():
            for parcel in parcels:
                (number,) = numbers([parcel])
                if number == self.poison:
                    down = LinkDown(self.session, is_blamed=self.is_blamed, is_dropped=not self.is_blamed)
                    self.bench.feeder.take([down])
                    return
                self.taken.append(number)
                self.bench.answer([parcel], session=self.session)


@pytest.mark.parametrize("is_blamed", [True, False], ids=["says why", "says nothing"])
def test_a_message_over_which_the_broker_ends_the_connection_blocks_no_other_and_is_given_up_in_the_end(
    bench: Bench, *, is_blamed: bool
) -> None:
    bench.append(20)
    broker = Broker(bench, 5, is_blamed=is_blamed)
    broker.serve(10)
    assert sorted(set(broker.taken)) == [number for number in range(1, 31) if number != 5], "ten new ones among them"
    assert bench.board.state() is HealthState.DEGRADED
    assert bench.feeder.counts["given_up"] == 0
    broker.pause = 600.0
    broker.serve(3 * MOST_TRIES)
    assert bench.feeder.counts["given_up"] == 1
    assert broker.session < 30, "it does not cost a connection for ever"
    assert sorted(set(broker.taken)) == [number for number in range(1, bench.outbox.last_seq + 1) if number != 5]
    assert bench.feeder.is_settled
    assert bench.board.state() is HealthState.OK


@pytest.mark.parametrize("code", [0x95, 0x99])
def test_a_message_that_is_refused_in_good_order_is_tried_for_a_day(bench: Bench, code: int) -> None:
    bench.append(1)
    bench.up_and_heard()
    bench.append(1)
    bench.feeder.feed()
    tries = 0
    while bench.feeder.counts["given_up"] == 0:
        assert bench.clock.seconds < 3 * KEPT_FOR
        for parcel in bench.link.taken():
            tries += numbers([parcel]) == [2]
            bench.answer([parcel], code=code)
        bench.clock.seconds += 60.0
        bench.feeder.feed()
    assert bench.clock.seconds - 1000.0 >= KEPT_FOR
    assert tries >= 24 * 6, "every ten minutes"
    assert [row.seq for row in bench.outbox.pending(2, 10)] == [3], "the gap record"


@pytest.mark.parametrize("code", [0x87, 0x90, 0x97, 0x83])
def test_what_is_refused_for_its_topic_or_for_a_quota_is_not_given_up(bench: Bench, code: int) -> None:
    bench.append(1)
    bench.up_and_heard()
    bench.append(1)
    bench.feeder.feed()
    for _ in range(300):
        bench.answer(bench.link.taken(), code=code)
        bench.clock.seconds += 600.0
        bench.feeder.feed()
    assert bench.feeder.counts["given_up"] == 0
    bench.answer(bench.link.taken())
    assert bench.feeder.acknowledged >= {2}


def test_one_that_was_evicted_meanwhile_is_not_named_twice(bench: Bench) -> None:
    bench.append(2)
    bench.outbox.acknowledge([1])
    assert bench.outbox.give_up([1, 2], "refused") == 1
    (record,) = bench.outbox.pending(0, 10)
    assert b'"count": 1' in record.payload


def test_care_ends_when_all_that_was_in_flight_has_been_taken(bench: Bench) -> None:
    bench.append(30)
    for session in (1, 2):
        bench.up_and_heard(session)
        assert len(bench.link.taken()) == 6
        bench.feeder.take([LinkDown(session, is_blamed=False, is_dropped=True)])
    bench.up_and_heard(3)
    for _ in range(4):
        alone = bench.link.taken()
        assert len(alone) == 1
        bench.answer(alone, session=3)
    assert len(bench.link.taken()) == 6, "no longer one by one"
