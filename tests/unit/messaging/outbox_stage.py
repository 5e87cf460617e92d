"""An outbox on a clock that is turned by hand, and what to ask it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.config import OutboxSettings
from appliance.core.clock import Stamp
from appliance.messaging.gaps import Gap
from appliance.messaging.outbox import Outbox
from appliance.messaging.rows import Draft

BOOT = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@dataclass
class Hand:
    """A clock that is turned by hand."""

    seconds: float = 0.0

    def __call__(self) -> Stamp:
        return Stamp(BOOT + timedelta(seconds=self.seconds), int(self.seconds * 1e9))


def encode_gap(gen: str, seq: int, gap: Gap) -> bytes:
    fields = {"gen": gen, "seq": seq, "runs": gap.runs, "count": gap.count, "reason": gap.reason}
    return json.dumps(fields | {"first": gap.first, "last": gap.last}).encode()


def make(directory: Path, hand: Hand | None = None, boot_id: str = "boot1", **bounds: float) -> Outbox:
    chosen = OutboxSettings.model_construct(**(OutboxSettings().model_dump() | bounds))
    return Outbox(
        directory / "outbox.db",
        chosen,
        device_id="dev",
        boot_id=boot_id,
        encode_gap=encode_gap,
        now=hand or Hand(),
    )


def draft(topic: str = "door/events", priority: int = 1, size: int = 10, at: float = 0.0) -> Draft:
    stamp = Hand(at)()
    time_ns = int(stamp.time.timestamp()) * 10**9
    return Draft(topic, lambda gen, seq: f"{gen} {seq} ".encode() + b"x" * size, time_ns, stamp.mono_ns, priority)


def numbers(outbox: Outbox) -> list[int]:
    return [row.seq for row in outbox.pending(0, 100_000)]


def gap_records(outbox: Outbox) -> list[dict[str, object]]:
    return [json.loads(row.payload) for row in outbox.pending(0, 100_000) if row.topic == "gap"]


def named(record: dict[str, object]) -> set[int]:
    runs = record["runs"]
    assert isinstance(runs, list)
    return {number for first, last in runs for number in range(first, last + 1)}
