"""A durable message, before it has a number and after."""

from collections.abc import Callable
from dataclasses import dataclass


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
    """

    topic: str
    encode: Callable[[str, int], bytes]
    time_ns: int
    mono_ns: int
    priority: int = 1
    retain: bool = False
    expiry_s: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A numbered message in the store.

    Attributes:
        seq: Its number.
        topic: Below the device's root.
        retain: The broker is to keep it.
        expiry_s: Seconds after which a subscriber need not see it; None: never.
        is_of_this_boot: Whether `mono_ns` can be compared with the clock of now.
        mono_ns: CLOCK_BOOTTIME when it was queued.
        time_ns: UTC when it was queued.
        payload: Encoded, envelope included.
    """

    seq: int
    topic: str
    retain: bool
    expiry_s: int | None
    is_of_this_boot: bool
    mono_ns: int
    time_ns: int
    payload: bytes
