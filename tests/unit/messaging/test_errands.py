from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.messaging.errands import Errands
from appliance.messaging.parcels import LinkDown, LinkUp, News
from appliance.messaging.requests import Arrived
from tests.unit.messaging.feeder_bench import Bench, numbers


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.outbox.close()


def test_words_of_generations_that_were_never_there_are_not_remembered(bench: Bench) -> None:
    errands = Errands(bench.outbox, bench.feeder)
    errands.run([Arrived(f"{number:016x}", 1) for number in range(1000)])
    assert errands.waiting == 0
    errands.run([Arrived(bench.outbox.gen, 1), Arrived(bench.outbox.gen, 2)])
    assert errands.waiting == 1


class Worker:
    """What the courier does with its errands, a step at a time."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.errands = bench, Errands(bench.outbox, bench.feeder)

    def step(self, *news: News) -> None:
        self.errands.take(news)
        self.bench.feeder.take(news)
        self.errands.run(())
        self.bench.feeder.feed()

    def deliver(self, session: int) -> list[int]:
        """Have all that goes out acknowledged, and that noted on disk; give its numbers."""
        came: list[int] = []
        while parcels := self.bench.link.taken():
            came += numbers(parcels)
            self.bench.answer(parcels, session=session)
        self.bench.outbox.acknowledge(self.bench.feeder.acknowledged.copy())
        self.bench.feeder.acknowledged.clear()
        return came

    def connect(self, session: int) -> list[int]:
        self.step(LinkUp(session))
        return self.deliver(session)

    def reconnect(self, session: int) -> list[int]:
        self.step(LinkDown(session - 1, is_blamed=False))
        return self.connect(session)


def test_what_the_broker_acknowledged_last_goes_again_on_the_next_connection(bench: Bench) -> None:
    worker = Worker(bench)
    bench.append(3)
    assert worker.connect(1) == [1, 2, 3]
    bench.clock.seconds += 60.0
    bench.append(2)
    bench.feeder.feed()
    assert worker.deliver(1) == [4, 5]
    bench.clock.seconds += 3600.0  # nothing happened since: the last that was heard of the broker counts
    assert worker.reconnect(2) == [4, 5]
    assert bench.feeder.counts["resent"] == 2
    assert bench.outbox.kept == 5


def test_what_is_acknowledged_but_not_yet_noted_goes_again_too(bench: Bench) -> None:
    worker = Worker(bench)
    bench.append(1)
    worker.connect(1)
    bench.append(2)
    bench.feeder.feed()
    bench.answer(bench.link.taken())
    assert bench.feeder.acknowledged == {2, 3}
    assert worker.reconnect(2) == [1, 2, 3]


def test_on_a_link_that_comes_and_goes_a_message_is_not_sent_again_for_ever(bench: Bench) -> None:
    worker = Worker(bench)
    bench.append(1)
    worker.connect(1)
    came = []
    for session in range(2, 12):
        bench.clock.seconds += 4.0
        bench.append(1)
        came.append(worker.reconnect(session))
    assert came[-1] == [8, 9, 10, 11]  # the first three came to the broker within the last ten seconds
    assert all(len(numbers) <= 4 for numbers in came)


def test_end_to_end_it_is_the_subscribers_word_that_counts(bench: Bench) -> None:
    bench.outbox.deliveries.is_end_to_end = True
    worker = Worker(bench)
    bench.append(2)
    assert worker.connect(1) == [1, 2]
    assert worker.reconnect(2) == [1, 2]
    bench.outbox.deliveries.arrived(bench.outbox.gen, 2, ())
    assert worker.reconnect(3) == []


@pytest.mark.parametrize("is_clean", [True, False])
def test_after_a_kill_what_was_delivered_last_goes_again_and_after_an_orderly_end_it_does_not(
    tmp_path: Path, *, is_clean: bool
) -> None:
    first = Bench(tmp_path)
    worker = Worker(first)
    first.append(2)
    worker.connect(1)
    first.clock.seconds += 60.0
    first.append(2)
    first.feeder.feed()
    worker.deliver(1)
    first.outbox.close(is_clean=is_clean)
    second = Bench(tmp_path, clock=first.clock)
    try:
        came = Worker(second).connect(1)
    finally:
        second.outbox.close()
    assert came == ([] if is_clean else [5, 3, 4])  # 5 is the gap record of the restart


def test_without_a_window_nothing_goes_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resend_window=0.0)
    worker = Worker(bench)
    bench.append(2)
    worker.connect(1)
    assert worker.reconnect(2) == []
    bench.outbox.close()
