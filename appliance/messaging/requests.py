"""What other threads ask of the one that owns the outbox."""

import queue
from dataclasses import dataclass, field

from appliance.messaging.gaps import Run


@dataclass(frozen=True, slots=True)
class Replay:
    """Send again what the broker had.

    Attributes:
        gen: The generation; empty: that of new messages.
        first: The lowest sequence number.
        last: The highest.
        answer: Takes how many messages wait again.
    """

    gen: str
    first: int
    last: int
    answer: "queue.SimpleQueue[int]" = field(default_factory=queue.SimpleQueue)


@dataclass(frozen=True, slots=True)
class Received:
    """The word of who needs the messages, from end to end: they are there.

    Attributes:
        gen: The generation.
        upto: All numbers up to this one,
        missing: but for those.
    """

    gen: str
    upto: int
    missing: tuple[Run, ...]


Request = Replay | Received
