"""A feeder on a bench: a real outbox, a link that records, a clock that is turned by hand."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.config import OutboxSettings
from appliance.core.clock import ClockQuality, Stamp
from appliance.core.health import HealthBoard
from appliance.core.worker import Pulse
from appliance.messaging.feeder import Feeder
from appliance.messaging.inbox import Inbox
from appliance.messaging.outbox import Outbox
from appliance.messaging.pacing import Pacer
from appliance.messaging.parcels import Answer, LinkUp, Parcel
from appliance.messaging.rows import Draft


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

    def subscribe(self, pattern: str, inbox: Inbox) -> None:
        raise AssertionError(f"nobody asks for {pattern} here, into {inbox}")

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
    replay_rate: float = 0.0
    replay_spread: float = 0.0
    inflight: int = 4
    resend_window: float = 10.0

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
            inflight=self.inflight,
            pacer=Pacer(self.replay_rate, self.replay_spread, monotonic=lambda: self.clock.seconds),
            clock=self.clock,
            board=self.board,
            resend_window=self.resend_window,
            monotonic=lambda: self.clock.seconds,
        )
        self.feeder.begin()

    def append(self, count: int, topic: str = "door/events") -> None:
        now = self.clock.now()
        time_ns = int(now.time.timestamp()) * 10**9
        drafts = [Draft(topic, lambda _, seq: b'{"seq":%d}' % seq, time_ns, now.mono_ns) for _ in range(count)]
        self.outbox.append(drafts)

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
