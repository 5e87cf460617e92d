"""Hints that a fleet has signed something new: what one says, and how soon a device looks because of it. Pure.

A hint moves a look forward and does nothing else: what is taken is what was signed. So whoever forges one costs each
device a look every ten minutes, and no more; and a hint to a million devices is answered over the time that it names.
"""

import random
from typing import Annotated, Final

from pydantic import ConfigDict, Field, ValidationError

from appliance.core.part import Part

MOST_BYTES: Final = 256
"""Of a hint."""

PAUSE: Final = 600.0
"""Seconds between two looks that hints have brought about, at least."""


class Hint(Part):
    """What is hinted; a field that is not known is passed over.

    Attributes:
        timestamp: Version of the fleet's timestamp that is new.
        within: Seconds that the fleet's devices are to spread their looks over, where that is more than their own.
    """

    model_config = ConfigDict(extra="ignore")

    timestamp: Annotated[int, Field(ge=1, le=1 << 53, strict=True)]
    within: Annotated[float, Field(ge=0.0, le=86_400.0, strict=True)] = 0.0


def read_hint(payload: bytes) -> Hint:
    """Give the hint that a message is.

    Raises:
        ValueError: It is none; the message says what is accepted.
    """
    if len(payload) <= MOST_BYTES:
        try:
            return Hint.model_validate_json(payload)
        except ValidationError:
            pass
    raise ValueError(
        f'a hint of {len(payload)} bytes is passed over; accepted is {{"timestamp": VERSION, "within": SECONDS}}, '
        f"the second from 0 to 86400 or not there, in {MOST_BYTES} bytes"
    )


def until_hinted_look(hint: Hint, spread: float, since: float, source: random.Random, *, asked: float = 0.0) -> float:
    """Give the seconds to the look that a hint brings about.

    Args:
        hint: The hint.
        spread: Seconds within which this device looks, if the hint does not name more.
        since: Seconds since the last look that a hint has brought about.
        source: Of where in that time it is.
        asked: Seconds for which the server still asks to be left alone: the same moment for many devices.
    """
    return max(0.0, PAUSE - since, asked) + source.uniform(0.0, max(spread, hint.within))
