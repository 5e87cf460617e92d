"""UTC for what came about before it was known: pure, from CLOCK_BOOTTIME, which never steps."""

import re
from dataclasses import dataclass
from typing import Final

from appliance.messaging.payloads import encode, parse_utc, utc_text

DRIFT: Final = 1e-4  # of the time that a clock ran free: what a crystal without compensation may be off, with room

_NS_IN_MS: Final = 1_000_000
# anchored, so that nothing which a body says can be taken for the envelope; `encode` writes no other spaces or order
_ENVELOPE: Final = re.compile(
    rb'\{"v":\d+,(?:"id":"[^"]*","gen":"[^"]*","seq":\d+,)?"boot":"[^"]*",'
    rb'"time":"([^"]*)","mono_ns":(\d+),("clock":"unsynced")'
)
_START: Final = re.compile(rb'"start_time":"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Offset:
    """How UTC stands to CLOCK_BOOTTIME in one boot, as of a moment at which the kernel held UTC to be synced.

    Attributes:
        utc_ns: UTC minus CLOCK_BOOTTIME, nanoseconds; at the same time UTC of the boot itself.
        error_ns: By how much UTC may have been off then, nanoseconds.
        at_ns: CLOCK_BOOTTIME of that moment, nanoseconds.
    """

    utc_ns: int
    error_ns: int
    at_ns: int

    def utc(self, mono_ns: int) -> int:
        """Give UTC of a moment of this boot, nanoseconds since 1970."""
        return mono_ns + self.utc_ns

    def error(self, mono_ns: int) -> int:
        """Give by how much `utc` may be off for a moment, nanoseconds: the clock ran free between the two."""
        return self.error_ns + round(abs(mono_ns - self.at_ns) * DRIFT)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of the time of a boot whose clock was never synced while we ran.

    Attributes:
        after_ns: It was after this, UTC in nanoseconds since 1970; None: nobody knows.
        before_ns: It was before this; None: nobody knows.
    """

    after_ns: int | None
    before_ns: int | None


def milliseconds_up(duration_ns: int) -> int:
    """Give whole milliseconds, rounded up: a bound must not be told smaller than it is."""
    return -(-duration_ns // _NS_IN_MS)


def corrected(payload: bytes, offset: Offset) -> bytes:
    """Give an encoded payload that says `unsynced` with the times that are known now; any other as it is.

    Args:
        payload: As `payloads.render` gives it.
        offset: Of the boot in which it came about.
    """
    envelope = _ENVELOPE.match(payload)
    if envelope is None:
        return payload
    mono_ns = int(envelope[2])
    utc_ns = offset.utc(mono_ns)
    told = b'"clock":"holdover","time_source":"corrected","time_error_ms":%d' % milliseconds_up(offset.error(mono_ns))
    rest = payload[envelope.end() :]
    start = _START.search(rest)
    if start is not None:
        since_ns = parse_utc(envelope[1].decode()) - parse_utc(start[1].decode())
        rest = rest[: start.start(1)] + utc_text(utc_ns - since_ns).encode() + rest[start.end(1) :]
    return b"".join(
        (
            payload[: envelope.start(1)],
            utc_text(utc_ns).encode(),
            payload[envelope.end(1) : envelope.start(3)],
            told,
            rest,
        )
    )


def bounded(payload: bytes, bounds: Bounds) -> bytes:
    """Give an encoded payload that says `unsynced` with what is known of its time; any other as it is."""
    envelope = _ENVELOPE.match(payload)
    told = {}
    if bounds.after_ns is not None:
        told["time_after"] = utc_text(bounds.after_ns)
    if bounds.before_ns is not None:
        told["time_before"] = utc_text(bounds.before_ns + _NS_IN_MS)  # `utc_text` cuts off
    if envelope is None or not told:
        return payload
    return b"".join((payload[: envelope.end()], b",", encode(told)[1:-1], payload[envelope.end() :]))
