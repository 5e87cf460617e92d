"""What other threads ask of the one that owns the outbox, and the word of a subscriber that messages arrived."""

import json
import queue
import re
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.messaging.gaps import Run
from appliance.messaging.rows import LAST_SEQ

MOST_MISSING: Final = 1000  # runs in one word of a subscriber
_FORM: Final = '{"gen": "0123456789abcdef", "upto": 17, "missing": [[3, 5]]}'
_GEN: Final = re.compile(r"[0-9a-f]{16}")


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
class Arrived:
    """The word of a subscriber, from end to end: it has these messages.

    Attributes:
        gen: The generation.
        upto: It has all numbers up to this one,
        missing: but for those.
    """

    gen: str
    upto: int
    missing: tuple[Run, ...] = ()


Request = Replay | Arrived


def read_arrived(payload: bytes) -> Arrived:
    """Give what a message on the topic ``ack`` says.

    Raises:
        ValueError: It is not what it must be; the message says what that is.
    """
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ValueError("an acknowledgement is no JSON") from error
    match fields:
        case {"gen": str(gen), "upto": int(upto)} if _GEN.fullmatch(gen) and _is_number(upto):
            missing = fields.get("missing", [])
        case _:
            raise ValueError(f"an acknowledgement must be {_FORM}, with 16 digits and a number up to {LAST_SEQ}")
    if not isinstance(missing, list) or len(missing) > MOST_MISSING or not all(_is_run(run) for run in missing):
        raise ValueError(f"an acknowledgement's missing must be at most {MOST_MISSING} pairs of numbers: [[3, 5]]")
    return Arrived(gen, upto, tuple((first, last) for first, last in missing))


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LAST_SEQ


def _is_run(run: Any) -> bool:
    return isinstance(run, list) and len(run) == 2 and all(_is_number(one) for one in run) and run[0] <= run[1]  # noqa: PLR2004
