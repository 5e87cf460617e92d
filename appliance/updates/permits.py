"""Whether a release that is here may be run now: its licence, what it is used for, and the keys that are here."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import ModelError
from appliance.updates.choosing import licence_trouble, locked
from appliance.updates.formats import Release
from appliance.updates.refusals import Code
from appliance.updates.state import State
from appliance.updates.store import Store
from appliance.updates.timekeeping import judged_time

LOOK_EVERY: Final = 600.0
"""Seconds between two looks at licences; days count, and a clock that was set is to be heeded soon."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Whether a release may be run now.

    Attributes:
        code: Why it may not, for reports; None: it may.
        why: What is the matter, for people; with a code why it may not be run, else what will be soon; empty: nothing.
        expires: Last day of its licence; None: it has none.
        days: That are left until then; below 0: it is over.
    """

    code: Code | None = None
    why: str = ""
    expires: str | None = None
    days: int | None = None


FREE: Final = Permit()
"""Of the factory model, which no fleet has licensed."""


def permit_of(release: Release, use: str, today: date, keys: frozenset[str]) -> Permit:
    """Judge a release. Pure.

    Args:
        release: As it was signed.
        use: What models are used for here; empty: the owner does not say.
        today: By which licences end.
        keys: Public keys of the private ones that are here.
    """
    shown, expires = f"{release.name} {release.version}", release.licence.expires
    days = None if expires is None else (date.fromisoformat(expires) - today).days
    trouble, is_forbidden = licence_trouble(release.licence, use, today)
    if is_forbidden:
        return Permit(Code.LICENCE, f"{shown} may not be run: {trouble}", expires, days)
    if why := locked(release, keys):
        return Permit(Code.KEY, f"{shown} {why}", expires, days)
    return Permit(None, f"{shown}: {trouble}" if trouble else "", expires, days)


class Permits:
    """Judges the releases that are here by the device's own time, use and keys.

    A clock that was never synchronised ends no licence by itself: the latest time that the fleet has signed counts.

    Args:
        store: Where releases lie.
        clock: Clock.
        use: What models are used for here.
        keys: Public keys of the private ones that are here.
    """

    def __init__(self, store: Store, clock: Clock, use: str = "", keys: frozenset[str] = frozenset()) -> None:
        self._store, self._clock, self._use, self._keys = store, clock, use, keys

    def of_active(self, state: State) -> Permit:
        """Judge the active release; what is damaged is judged by whoever loads it."""
        if state.active is None:
            return FREE
        try:
            release = self._store.describe(state.active.sha256).release
        except ModelError:
            return FREE
        today = judged_time(self._clock.now().time, self._clock.quality(), state.issued).date()
        return permit_of(release, self._use, today, self._keys)


Judge = Callable[[State], Permit]
"""Tells whether the active release may be run now."""
