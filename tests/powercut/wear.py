"""`make wear`: bytes written and flushes per event of 300 bytes, at block level, put plus acknowledge.

Messages go through the courier, the outbox on ext4 and a real mosquitto; a recorded disk counts what reaches it, the
file system's own journal included. The write-ahead log is worked into the file several times meanwhile.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tests.powercut.recorder import FLUSH, MARK, WRITE, Operation
from tests.powercut.recording import missing, move_to_own_mounts, record
from tests.powercut.stage import Stage
from tests.simulators.messaging_device import wait_until

PAYLOAD_BYTES: Final = 300
ENVELOPE_BYTES: Final = 206  # of a message of the device `dev` with an empty body: what is left is padding
WARM_BATCH: Final = 16
UNAVAILABLE: Final = 69


@dataclass(frozen=True, slots=True)
class Way:
    """How events come.

    Attributes:
        title: For the table.
        batch: So many at once; the next ones when the broker has them.
        events: How many are measured.
        warm: How many come before, in groups: the write-ahead log grows to its size, and each growth is written
            into the file system's journal.
        pause: Seconds between two batches.
        outbox: Settings.
        most_bytes: Limit for each event, None: only told.
        most_flushes: Likewise.
    """

    title: str
    batch: int
    events: int
    warm: int = 2400
    pause: float = 0.0
    outbox: dict[str, Any] = field(default_factory=dict)
    most_bytes: float | None = None
    most_flushes: float | None = None


WAYS: Final[dict[str, Way]] = {
    "strict": Way("strict: a commit for each event", 1, 1000, outbox={"mode": "strict"}, most_bytes=9000),
    "groups-16": Way("groups of 16", 16, 3200, outbox={"commit_rows": 16}, most_bytes=2500, most_flushes=0.13),
    "groups-32": Way("groups of 32", 32, 3200, most_bytes=2500, most_flushes=0.13),
    "alone": Way("one event a second, default settings", 1, 40, pause=1.0),
    "after-start": Way("the same, right after a start", 1, 40, warm=0, pause=1.0),
}


def program(way: Way) -> Callable[[Stage], None]:
    """Give the scenario that writes events in this way."""
    return partial(_write, way)


def _write(way: Way, stage: Stage) -> None:
    with stage.listening() as subscriber, stage.life(outbox=way.outbox, health_interval=3600.0) as device:
        for begin in range(0, way.warm, WARM_BATCH):
            stage.publish(device, min(WARM_BATCH, way.warm - begin), PAYLOAD_BYTES - ENVELOPE_BYTES)
        device.wait_drained(60.0)
        os.sync()
        stage.mark(measured=way.events)
        for _ in range(way.events // way.batch):
            stage.publish(device, way.batch, PAYLOAD_BYTES - ENVELOPE_BYTES)
            wait_until(lambda: device.figure("acknowledged") == stage.counted, "acknowledged", 60.0)
            if way.pause:
                device.stop.wait(way.pause)
        device.wait_drained(60.0)
        wait_until(lambda: device.figure("rows") == 0, "nothing waits", 60.0)
        os.sync()
        stage.mark(measured=-1)
        sizes = [len(payload) for topic, payload, _ in subscriber.messages if topic.endswith("/events")]
        assert abs(sum(sizes) / len(sizes) - PAYLOAD_BYTES) < 15, f"events have {sum(sizes) / len(sizes)} bytes"


def measured(log: Sequence[Operation]) -> tuple[int, int, int]:
    """Give events, bytes and flushes between the marks."""
    at = {json.loads(one.data).get("measured", 0): number for number, one in enumerate(log) if one.kind == MARK}
    events = max(at)
    part = log[at[events] : at[-1]]
    written = sum(len(one.data) for one in part if one.kind == WRITE)
    return events, written, sum(one.kind == FLUSH for one in part)


def main() -> int:
    """Measure, print a table, and give the exit status: 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="wear", description=__doc__.splitlines()[0])
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if reason := missing():
        print(f"wear cannot be measured here: {reason}", file=sys.stderr)
        return UNAVAILABLE
    move_to_own_mounts("tests.powercut.wear")
    results, is_over = [], False
    for name in options.way or WAYS:
        way, begin = WAYS[name], time.monotonic()
        events, written, flushes = measured(record(f"wear-{name}").log)
        one = {
            "way": name,
            "events": events,
            "bytes_per_event": round(written / events),
            "flushes_per_event": round(flushes / events, 3),
            "events_per_second": round(events / (time.monotonic() - begin), 1),
        }
        over = written / events > (way.most_bytes or 1e9) or flushes / events > (way.most_flushes or 1e9)
        is_over |= over
        results.append(one)
        print(
            f"{way.title:38} {events:5} events  {one['bytes_per_event']:6} bytes  "
            f"{one['flushes_per_event']:.3f} flushes an event{'  OVER ITS LIMIT' if over else ''}",
            flush=True,
        )
    if options.json:
        print(json.dumps(results))
    return int(is_over)


if __name__ == "__main__":
    sys.exit(main())
