"""Whether a rollout means this device: each device works it out for itself from signed metadata. Pure.

A device's place among all is a hash of its id and the rollout's salt, so that widening a rollout leaves nobody out who
was in, and another rollout begins with other devices. tests/unit/updates/buckets.json has values to check other
implementations with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Final

from appliance.core.digest import sha256_hex
from appliance.updates.formats import MILLION, Rollout, Selection

_DOMAIN: Final = "edgecam-rollout-v1"


@dataclass(frozen=True, slots=True)
class Whom:
    """What of a device decides whether it is meant.

    Attributes:
        device_id: Its id.
        cohorts: What its owner counts it to.
    """

    device_id: str
    cohorts: Sequence[str] = ()


def place(salt: str, device_id: str) -> int:
    """Give a device's place in a rollout's order, in millionths from 0; those below the share are in."""
    return first_64(f"{_DOMAIN}\0{salt}\0{device_id}") * MILLION >> 64


def first_64(text: str) -> int:
    """Give the first 64 bits of a text's SHA-256 as a number."""
    return int(sha256_hex(text.encode())[:16], 16)


def hidden(device_id: str) -> str:
    """Give a device's id as lists of devices have it."""
    return sha256_hex(device_id.encode())[:16]


def is_meant(rollout: Rollout, whom: Whom) -> bool:
    """Tell whether a rollout is for a device, whatever its state and the time."""
    known_as = hidden(whom.device_id)
    if known_as in rollout.deny:
        return False
    if known_as in rollout.allow:
        return True
    return _is_of(rollout.cohorts, whom) and place(rollout.salt, whom.device_id) < rollout.share_ppm


def is_given(selection: Selection, whom: Whom) -> bool:
    """Tell whether a device that is meant may be given one of a rollout's releases."""
    return _is_of(selection.cohorts, whom)


def start_delay(rollout: Rollout, device_id: str) -> int:
    """Give how many seconds a device waits before it begins, so that not all begin at once; the same every time."""
    return first_64(f"{_DOMAIN}-start\0{rollout.id}\0{device_id}") * (rollout.jitter_seconds + 1) >> 64


def why_not_now(rollout: Rollout, now: datetime) -> str:
    """Tell why nobody starts now; nothing when devices may.

    Args:
        rollout: The rollout.
        now: With its time zone, the device's own: windows are in local time.
    """
    if rollout.state in {"paused", "halted"}:
        return f"the rollout is {rollout.state}"
    if rollout.not_before is not None and now < datetime.fromisoformat(rollout.not_before).astimezone(UTC):
        return f"the rollout begins at {rollout.not_before}"
    if rollout.window is not None and not is_within(now.time(), rollout.window):
        return f"it is outside the window from {rollout.window[0]} to {rollout.window[1]}"
    return ""


def _is_of(cohorts: Sequence[str], whom: Whom) -> bool:
    return not cohorts or not set(cohorts).isdisjoint(whom.cohorts)


def is_within(now: time, window: tuple[str, str]) -> bool:
    """Tell whether a time of day lies in a window, ``HH:MM`` to ``HH:MM``, which may go over midnight."""
    start, end = map(time.fromisoformat, window)
    return start <= now < end if start <= end else now >= start or now < end
