from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.core.health import HealthState
from appliance.messaging.feeder import PATIENCE
from appliance.messaging.parcels import LinkClosing, LinkDown
from tests.unit.messaging.feeder_bench import Bench, numbers


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.outbox.close()


def test_no_more_than_the_window_is_on_its_way_and_in_order(bench: Bench) -> None:
    bench.append(1)
    bench.up_and_heard()
    bench.append(9)
    bench.feeder.feed()
    first = bench.link.taken()
    assert numbers(first) == [2, 3, 4, 5]
    bench.answer(first[1:3])
    assert numbers(bench.link.taken()) == [6, 7]
    assert bench.feeder.acknowledged == {1, 3, 4}


def test_after_a_reconnect_all_that_is_not_acknowledged_goes_again_from_the_oldest(bench: Bench) -> None:
    bench.append(1)
    bench.up_and_heard()
    bench.append(6)
    bench.feeder.feed()
    assert numbers(bench.link.taken()) == [2, 3, 4, 5]
    bench.feeder.take([LinkDown(1, is_blamed=False)])
    bench.up_and_heard(2)
    bench.answer(bench.link.taken(), session=2)
    assert numbers(bench.link.taken()) == [6, 7]
    assert bench.feeder.counts["resent"] == 4


def test_an_answer_from_an_older_connection_counts_for_nothing(bench: Bench) -> None:
    bench.append(1)
    bench.up(1)
    old = bench.link.taken()
    bench.feeder.take([LinkDown(1, is_blamed=False)])
    bench.up(2)
    bench.answer(old, session=1)
    assert bench.feeder.acknowledged == set()


def test_an_answer_to_what_another_file_held_counts_for_nothing(bench: Bench) -> None:
    bench.append(1)
    bench.up()
    old = bench.link.taken()
    bench.feeder.begin()
    bench.feeder.feed()
    bench.answer(old)
    assert bench.feeder.acknowledged == set()


def test_a_refusal_is_no_acknowledgement(bench: Bench) -> None:
    bench.append(1)
    bench.up()
    bench.answer(bench.link.taken(), code=0x87)
    assert bench.feeder.acknowledged == set()
    assert bench.feeder.counts["refused"] == 1
    assert bench.feeder.held_back == 1
    assert bench.board.state() is HealthState.DEGRADED
    assert bench.feeder.is_settled


def test_what_waits_is_kept_until_a_subscriber_is_back(bench: Bench) -> None:
    bench.append(6)
    bench.up()
    for _ in range(5):
        sent = bench.link.taken()
        assert numbers(sent) == [1], "one message alone, again and again"
        bench.answer(sent, code=0x10)
        assert bench.link.taken() == [], "not at once"
        assert bench.feeder.next_trial() == bench.clock.seconds + 1.0, "no spinning meanwhile"
        assert not bench.feeder.is_settled
        bench.clock.seconds += 1.0
        bench.feeder.feed()
    assert bench.feeder.acknowledged == set()
    bench.answer(bench.link.taken())
    assert bench.feeder.acknowledged == {1}
    assert numbers(bench.link.taken()) == [2, 3, 4], "in order"


def test_nobody_subscribed_is_an_acknowledgement_once_patience_is_over(bench: Bench) -> None:
    bench.append(3)
    bench.up()
    bench.clock.seconds += PATIENCE
    bench.answer(bench.link.taken(), code=0x10)
    assert bench.feeder.acknowledged == {1}
    for _ in range(2):
        bench.answer(bench.link.taken(), code=0x10)
    assert bench.feeder.acknowledged == {1, 2, 3}


def test_nobody_subscribed_to_a_later_message_holds_nothing_up(bench: Bench) -> None:
    bench.append(2)
    bench.up_and_heard()
    bench.answer(bench.link.taken(), code=0x10)
    assert bench.feeder.acknowledged == {1, 2}


def test_a_trial_that_nobody_heard_is_made_again(bench: Bench) -> None:
    bench.append(1)
    bench.up()
    bench.answer(bench.link.taken(), code=0x87)
    bench.clock.seconds += 10.0
    bench.feeder.feed()
    bench.answer(bench.link.taken(), code=0x10)
    assert bench.feeder.next_trial() == bench.clock.seconds + 1.0, "no spinning meanwhile"
    bench.clock.seconds += 1.0
    bench.feeder.feed()
    assert numbers(bench.link.taken()) == [1]


def test_a_due_trial_that_finds_no_room_is_not_waited_for_by_spinning(bench: Bench) -> None:
    bench.append(1, topic="yard/events")
    bench.up_and_heard()
    bench.append(1)
    bench.append(4, topic="yard/events")
    bench.feeder.feed()
    first, *others = bench.link.taken()
    bench.answer([first], code=0x87)
    bench.clock.seconds += 60.0
    assert len(others) == 3
    trial = bench.feeder.next_trial()
    assert trial is None or trial > bench.clock.seconds


def test_patience_ends_on_a_link_that_comes_and_goes(bench: Bench) -> None:
    bench.append(1, topic="yard/events")
    bench.append(2)
    for session in range(1, 5):
        bench.up(session)
        bench.answer(bench.link.taken(), code=0x10, session=session)
        bench.clock.seconds += PATIENCE / 2
        bench.feeder.take([LinkDown(session, is_blamed=False)])
    assert bench.feeder.acknowledged == {1}
    bench.up(9)
    assert numbers(bench.link.taken()) == [2]


def test_a_stop_does_not_wait_for_somebody_to_listen(bench: Bench) -> None:
    bench.append(2)
    bench.up()
    bench.answer(bench.link.taken(), code=0x10)
    assert not bench.feeder.is_settled
    bench.feeder.take([LinkClosing()])
    assert bench.feeder.is_settled
    assert bench.feeder.acknowledged == set()


def test_a_refused_message_that_is_dropped_leaves_no_complaint_behind(bench: Bench) -> None:
    bench.append(1)
    bench.up_and_heard()
    bench.append(1)
    bench.feeder.feed()
    bench.answer(bench.link.taken(), code=0x95)
    assert bench.board.state() is HealthState.DEGRADED
    bench.outbox.acknowledge([2])
    bench.clock.seconds += 700.0
    bench.feeder.feed()
    assert bench.feeder.held_back == 0
    assert bench.board.state() is HealthState.OK


def test_gap_records_that_could_not_be_sealed_all_go_once_the_disk_works(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.append(1)
    bench.up_and_heard()
    gaps: list[int] = []
    for reason in ("inlet", "age"):
        bench.outbox.declare_lost(2, reason)
        gaps.append(bench.outbox.last_seq)
        bench.append(6)

    def full(_seqs: Sequence[int]) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(bench.outbox, "seal", full)
        for _ in range(12):
            with suppress(StorageError):
                bench.answer(bench.link.taken())
    assert not set(gaps) & bench.feeder.acknowledged, "a gap record that may still change is not sent"
    bench.feeder.storage_works()
    for _ in range(12):
        bench.feeder.feed()
        bench.answer(bench.link.taken())
    assert set(gaps) <= bench.feeder.acknowledged
    assert bench.feeder.is_settled
