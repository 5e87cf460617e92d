"""What is new goes before what waited, and what waited is paced."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.messaging.pacing import LONG_OUTAGE
from appliance.messaging.parcels import LinkClosing, LinkDown
from tests.unit.messaging.feeder_bench import Bench, numbers


@pytest.fixture
def paced(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, replay_rate=10.0, inflight=64)
    yield made
    made.outbox.close()


def drained(bench: Bench, seconds: float) -> list[int]:
    """Answer all that is sent for so long, in steps of a tenth of a second; give the numbers."""
    sent: list[int] = []
    for _ in range(round(seconds * 10)):
        bench.feeder.feed()
        while parcels := bench.link.taken():
            sent += numbers(parcels)
            bench.answer(parcels)
        bench.clock.seconds += 0.1
    return sent


def test_what_waited_goes_at_the_rate_that_is_set_in_order_after_one_seconds_worth_at_once(paced: Bench) -> None:
    paced.append(100)
    paced.up()
    assert drained(paced, 0.1) == list(range(1, 11))
    assert drained(paced, 5.0) == list(range(11, 61))
    assert not paced.feeder.is_settled
    assert drained(paced, 5.0) == list(range(61, 101))
    assert paced.feeder.is_settled


def test_what_is_new_is_sent_at_once_while_a_backlog_drains(paced: Bench) -> None:
    paced.append(200)
    paced.up()
    drained(paced, 1.0)
    for number in range(201, 211):
        paced.append(1)
        paced.feeder.feed()
        assert numbers(paced.link.taken())[0] == number
    assert paced.outbox.rows == 210


def test_new_messages_cost_the_backlog_no_token(paced: Bench) -> None:
    paced.append(100)
    paced.up()
    drained(paced, 0.1)
    paced.append(50)
    assert drained(paced, 1.0) == [*range(101, 151), *range(11, 21)]


def test_a_backlog_leaves_a_quarter_of_the_window_to_what_is_new(tmp_path: Path) -> None:
    bench = Bench(tmp_path, inflight=8)
    bench.append(100)
    bench.up_and_heard()
    assert len(bench.link.taken()) == 6
    bench.append(3)
    bench.feeder.feed()
    assert numbers(bench.link.taken()) == [101, 102]
    bench.outbox.close()


def test_the_next_helping_is_waited_for_without_spinning(paced: Bench) -> None:
    paced.append(100)
    paced.up()
    drained(paced, 0.1)
    paced.feeder.feed()
    paced.answer(paced.link.taken())
    assert paced.feeder.next_trial() == pytest.approx(paced.clock.seconds + 0.1)


def test_on_a_slow_link_fewer_of_the_backlog_are_on_their_way_and_more_again_when_it_is_quick(tmp_path: Path) -> None:
    bench = Bench(tmp_path, inflight=32)
    bench.append(2000)
    bench.up_and_heard()
    on_their_way = bench.link.taken()
    assert len(on_their_way) == 24
    for _ in range(6):
        bench.clock.seconds += 3.0
        bench.answer(on_their_way)
        on_their_way = bench.link.taken()
    assert len(on_their_way) == 1, "each round of slow answers halves them"
    for _ in range(40):
        bench.clock.seconds += 0.1
        bench.answer(on_their_way)
        on_their_way = bench.link.taken()
    assert len(on_their_way) > 15
    bench.outbox.close()


def test_after_a_long_outage_what_waited_begins_at_random_and_what_is_new_does_not_wait(tmp_path: Path) -> None:
    starts = []
    for number in range(20):
        bench = Bench(tmp_path / str(number), replay_spread=60.0)
        bench.append(5)
        bench.clock.seconds += LONG_OUTAGE + 1.0
        bench.up()
        assert bench.link.taken() == []
        bench.append(1)
        bench.feeder.feed()
        new = bench.link.taken()
        assert numbers(new) == [6]
        bench.answer(new)
        start = bench.feeder.next_trial()
        assert start is not None
        starts.append(start - bench.clock.seconds)
        bench.clock.seconds = start
        bench.feeder.feed()
        assert numbers(bench.link.taken()) == [1, 2, 3]
        bench.outbox.close()
    assert 0.0 < min(starts) < 15.0
    assert 45.0 < max(starts) <= 60.0


def test_after_a_short_cut_what_waited_begins_at_once_however_old_a_refused_message_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, replay_spread=60.0)
    bench.up()
    bench.append(1, "yard/events")
    bench.feeder.feed()
    bench.answer(bench.link.taken(), code=0x87)
    bench.clock.seconds += 3600.0
    bench.feeder.take([LinkDown(1, is_blamed=False)])
    bench.append(1)
    bench.clock.seconds += 5.0
    bench.up(2)
    assert bench.link.taken()
    bench.outbox.close()


def test_what_was_held_back_and_is_let_go_is_paced_too(paced: Bench) -> None:
    paced.up()
    paced.append(1)
    paced.feeder.feed()
    paced.answer(paced.link.taken(), code=0x87)
    paced.append(300)
    paced.feeder.feed()
    assert paced.link.taken() == []
    paced.clock.seconds += 10.0
    assert len(drained(paced, 1.0)) <= 22
    paced.append(1, "yard/events")
    paced.feeder.feed()
    assert 302 in numbers(paced.link.taken())


def test_a_hold_whose_message_is_gone_does_not_turn_the_backlog_back(paced: Bench) -> None:
    paced.append(200)
    paced.up()
    paced.answer(paced.link.taken(), code=0x95)
    paced.outbox.acknowledge([1])
    before = drained(paced, 10.0)
    assert before == list(range(2, 2 + len(before))), "in order, none twice"
    assert len(before) > 100


def test_a_stop_does_not_wait_for_the_backlog(paced: Bench) -> None:
    paced.append(100)
    paced.up()
    paced.answer(paced.link.taken())
    paced.feeder.take([LinkClosing()])
    paced.answer(paced.link.taken())
    assert paced.feeder.is_settled
    assert paced.link.taken() == []


def test_what_waited_of_a_topic_is_sent_once_it_is_accepted_though_a_later_one_was_refused_first(paced: Bench) -> None:
    paced.append(12, "door/events")
    paced.append(5, "street/events")
    paced.up()
    assert drained(paced, 0.1) == list(range(1, 11))
    paced.append(1, "street/events")
    paced.feeder.feed()
    sent = paced.link.taken()
    paced.answer([parcel for parcel in sent if parcel.topic == "street/events"], 0x87)
    sent += paced.link.taken()
    assert numbers(sent)[0] == 18, "what happens now goes first"
    paced.answer([parcel for parcel in sent if parcel.topic == "door/events"])
    assert numbers(sent)[1:] + drained(paced, 0.5) == [11, 12]
    paced.clock.seconds += 700.0  # meanwhile the owner has corrected the access list
    assert sorted(drained(paced, 3.0)) == [13, 14, 15, 16, 17, 18]
