import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.config import OutboxSettings
from appliance.core.clock import ClockQuality, Stamp
from appliance.core.health import HealthBoard, HealthState
from appliance.core.worker import Pulse
from appliance.messaging.feeder import PATIENCE, Feeder
from appliance.messaging.outbox import Draft, Outbox
from appliance.messaging.parcels import Answer, LinkDown, LinkUp, Parcel


class RecordingLink:
    """A link that keeps what it is given."""

    name = "mqtt"

    def __init__(self) -> None:
        self.pulse = Pulse(30.0)
        self.sent: list[Parcel] = []

    def run(self, stop: threading.Event) -> None:
        stop.wait()

    def send(self, session: int, parcels: Sequence[Parcel]) -> None:
        assert session > 0
        self.sent += parcels

    def post(self, parcel: Parcel) -> None:
        self.sent.append(parcel)

    def figures(self) -> dict[str, object]:
        return {}

    def taken(self) -> list[Parcel]:
        sent, self.sent = self.sent, []
        return sent


@dataclass
class HandClock:
    """A clock that is turned by hand."""

    seconds: float = 1000.0
    trust: ClockQuality = ClockQuality.SYNCED

    def now(self) -> Stamp:
        return Stamp(datetime(2026, 1, 31, tzinfo=UTC) + timedelta(seconds=self.seconds), int(self.seconds * 1e9))

    def quality(self) -> ClockQuality:
        return self.trust


@dataclass
class Bench:
    """A feeder with a real outbox and a link that records."""

    directory: Path
    boot_id: str = "boot1"
    clock: HandClock = field(default_factory=HandClock)
    link: RecordingLink = field(default_factory=RecordingLink)
    board: HealthBoard = field(default_factory=HealthBoard)

    def __post_init__(self) -> None:
        self.outbox = Outbox(
            self.directory / "outbox.db",
            OutboxSettings(),
            device_id="dev",
            boot_id=self.boot_id,
            encode_gap=lambda gen, seq, gap: json.dumps({"seq": seq, "count": gap.count, "gen": gen}).encode(),
            now=self.clock.now,
        )
        self.outbox.open()
        self.feeder = Feeder(
            root="edgecam/dev",
            outbox=self.outbox,
            link=self.link,
            inflight=4,
            clock=self.clock,
            board=self.board,
            monotonic=lambda: self.clock.seconds,
        )
        self.feeder.begin()

    def append(self, count: int, topic: str = "door/events") -> None:
        now = self.clock.now()
        time_ns = int(now.time.timestamp()) * 10**9
        drafts = [Draft(topic, lambda _, seq: b'{"seq":%d}' % seq, time_ns, now.mono_ns) for _ in range(count)]
        self.outbox.append(drafts)
        self.feeder.is_at_end = False

    def up(self, session: int = 1) -> None:
        self.feeder.take([LinkUp(session)])
        self.feeder.feed()

    def up_and_heard(self, session: int = 1) -> None:
        """Connect, and let somebody hear the first message: the window opens."""
        self.up(session)
        self.answer(self.link.taken(), session=session)

    def answer(self, parcels: Sequence[Parcel], code: int = 0, session: int = 1) -> None:
        self.feeder.take([Answer(session, parcel.ticket, code) for parcel in parcels])
        self.feeder.feed()


def numbers(parcels: Sequence[Parcel]) -> list[int]:
    return [json.loads(parcel.payload)["seq"] for parcel in parcels]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.outbox.close()


def test_no_more_than_the_window_is_on_its_way_and_in_order(bench: Bench) -> None:
    bench.append(10)
    bench.up_and_heard()
    first = bench.link.taken()
    assert numbers(first) == [2, 3, 4, 5]
    bench.answer(first[1:3])
    assert numbers(bench.link.taken()) == [6, 7]
    assert bench.feeder.acknowledged == {1, 3, 4}


def test_after_a_reconnect_all_that_is_not_acknowledged_goes_again_from_the_oldest(bench: Bench) -> None:
    bench.append(7)
    bench.up_and_heard()
    assert numbers(bench.link.taken()) == [2, 3, 4, 5]
    bench.feeder.take([LinkDown(1, is_blamed=False)])
    bench.up_and_heard(2)
    assert numbers(bench.link.taken()) == [3, 4, 5, 6]
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
        assert bench.feeder.next_trial() == bench.clock.seconds + 1.0
        assert not bench.feeder.is_settled
        bench.clock.seconds += 1.0
        bench.feeder.feed()
    assert bench.feeder.acknowledged == set()
    bench.answer(bench.link.taken())
    assert bench.feeder.acknowledged == {1}
    assert numbers(bench.link.taken()) == [2, 3, 4, 5], "in order"


def test_nobody_subscribed_is_an_acknowledgement_once_patience_is_over(bench: Bench) -> None:
    bench.append(3)
    bench.up()
    bench.clock.seconds += PATIENCE
    bench.answer(bench.link.taken(), code=0x10)
    assert bench.feeder.acknowledged == {1}
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
    bench.clock.seconds += 1.0
    bench.feeder.feed()
    assert numbers(bench.link.taken()) == [1]


def test_what_offends_the_broker_is_found_and_set_aside(bench: Bench) -> None:
    bench.append(4)
    bench.up_and_heard()
    assert numbers(bench.link.taken()) == [2, 3, 4]
    bench.feeder.take([LinkDown(1, is_blamed=True)])
    bench.up(2)
    (alone,) = bench.link.taken()
    bench.answer([alone], session=2)
    (alone,) = bench.link.taken()
    assert numbers([alone]) == [3]
    bench.feeder.take([LinkDown(2, is_blamed=True)])
    bench.up(3)
    assert numbers(bench.link.taken()) == [4]


def test_late_messages_say_so_and_tell_how_long_they_waited(bench: Bench) -> None:
    bench.append(2)
    bench.clock.seconds += 5.0
    bench.append(1)
    bench.clock.seconds += 2.0
    bench.up_and_heard()
    late, fresh = (json.loads(parcel.payload) for parcel in bench.link.taken())
    assert late == {"seq": 2, "replay": True, "queued_s": 7.0}
    assert fresh == {"seq": 3}


def test_after_a_restart_without_a_clock_nobody_claims_to_know_how_long(tmp_path: Path) -> None:
    before = Bench(tmp_path)
    before.append(1)
    before.outbox.close()
    after = Bench(tmp_path, boot_id="boot2", clock=HandClock(3.0, ClockQuality.UNSYNCED))
    after.up()
    assert json.loads(after.link.taken()[0].payload) == {"seq": 1, "replay": True}
    after.feeder.take([LinkDown(1, is_blamed=False)])
    after.clock.trust, after.clock.seconds = ClockQuality.SYNCED, 1100.0
    after.up(2)
    assert json.loads(after.link.taken()[0].payload)["queued_s"] == 100.0
    after.outbox.close()


def test_a_gap_record_that_was_sent_never_changes(bench: Bench) -> None:
    bench.append(1)
    bench.up_and_heard()
    bench.outbox.declare_lost(3, "inlet")
    bench.feeder.is_at_end = False
    bench.feeder.feed()
    (first,) = bench.link.taken()
    bench.outbox.declare_lost(2, "inlet")
    bench.feeder.is_at_end = False
    bench.feeder.feed()
    (second,) = bench.link.taken()
    assert json.loads(first.payload)["count"] == 3
    assert json.loads(second.payload)["count"] == 2
    assert first.ticket != second.ticket
