"""A durable message, before it has a number and after, and the key by which the store knows it."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

PLACE_BITS: Final = 40  # below them a key carries the sequence number: a thousand messages a second for 34 years
MOST_PLACES: Final = 256  # generations that keys can tell apart; a ticket has 48 bits for a key
SYNCED: Final = 2  # of `Draft.clock`
LAST_SEQ: Final = (1 << PLACE_BITS) - 1


def key_of(place: int, seq: int) -> int:
    """Give the key of a message: generations in the order of their places, then numbers."""
    return place << PLACE_BITS | seq


def place_of(key: int) -> int:
    """Give the place of a key's generation; 0 for the first one of a device."""
    return key >> PLACE_BITS


def seq_of(key: int) -> int:
    """Give a key's sequence number within its generation."""
    return key & LAST_SEQ


def checksum(columns: tuple[object, ...], payload: bytes) -> int:
    """Give the CRC-32 of a row: of all its columns in their order, the payload last."""
    return zlib.crc32(payload, zlib.crc32(repr(columns).encode()))


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that has no number yet.

    Attributes:
        topic: Below the device's root.
        encode: Gives the payload for a generation and a sequence number; raises ValueError when it cannot.
        time_ns: UTC when it was queued, nanoseconds since 1970.
        mono_ns: CLOCK_BOOTTIME when it was queued, nanoseconds.
        priority: The highest is evicted first; 0 never.
        retain: The broker is to keep it.
        expiry_s: Seconds after which a subscriber need not see it; None: never.
        clock: How far UTC could be trusted then: 0 unsynced, 1 holdover, 2 synced; None: not known.
    """

    topic: str
    encode: Callable[[str, int], bytes]
    time_ns: int
    mono_ns: int
    priority: int = 1
    retain: bool = False
    expiry_s: int | None = None
    clock: int | None = None


class Row(NamedTuple):
    """A numbered message in the store.

    Attributes:
        seq: Its key (see `key_of`): of a device's first generation that is simply its number.
        topic: Below the device's root.
        retain: The broker is to keep it.
        expiry_s: Seconds after which a subscriber need not see it; None: never.
        mono_ns: CLOCK_BOOTTIME of this boot when it was queued, nanoseconds; below 0: in an earlier one. None: UTC of
            then or of now is not known.
        payload: Encoded, envelope included, with the best time that is known by now.
    """

    seq: int
    topic: str
    retain: bool
    expiry_s: int | None
    mono_ns: int | None
    payload: bytes
