"""Looks at the fleet when it is time, and judges by the right one."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from appliance.core.clock import Clock, ClockQuality
from appliance.core.errors import UnavailableError
from appliance.updates import stages
from appliance.updates.hints import read_hint, until_hinted_look
from appliance.updates.orders import CheckAnswer, CheckOrder
from appliance.updates.service import Asking, Fleet
from appliance.updates.state import State
from appliance.updates.store import TRUST, Store
from appliance.updates.timekeeping import judged_time, until_first_check, until_next_check, until_next_try

MOST_RETRIES: Final = 5
"""How often a look that a hint has brought about is tried again before the next one that is due."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a look.

    Attributes:
        answer: What the fleet wants.
        state: With what it told of its time.
        judged: The time by which signatures were judged.
    """

    answer: CheckAnswer
    state: State
    judged: datetime


class Lookout:
    """Knows when to look next. Used by one thread.

    Args:
        fleet: Where and when.
        store: Where verified metadata is kept.
        clock: Clock.
        asking: Speaks to the fleet.
        source: Of the jitter.
        monotonic: Seconds that only rise.
    """

    def __init__(
        self,
        fleet: Fleet,
        store: Store,
        clock: Clock,
        asking: Asking,
        source: random.Random,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._fleet, self._store, self._clock, self._asking, self._source = fleet, store, clock, asking, source
        self._seen: float | None = None
        self._hinted = float("-inf")  # when the look is, or was, that a hint has brought about
        self._retries, self._wait = 0, 0.0  # that are left for a hint, and the last wait before one
        self._left_alone = float("-inf")  # until when the server asked not to be asked
        self._is_misled = False
        self._next = self._monotonic() + (until_first_check(source) if fleet.first is None else fleet.first)

    @property
    def is_due(self) -> bool:
        """It is time to look."""
        return self._monotonic() >= self._next

    def hasten(self, within: float) -> None:
        """Have the next look so many seconds from now at the latest."""
        self._next = min(self._next, self._monotonic() + within)

    def heed(self, state: State) -> None:
        """Take hints that have come: move the next look forward where one names more than was seen.

        Args:
            state: What is kept.
        """
        while (payload := self._fleet.hints()) is not None:
            try:
                hint = read_hint(payload)
            except ValueError as error:
                if not self._is_misled:  # whoever says such a thing may say it for ever
                    log.warning("updates: %s", error)
                self._is_misled = True
                continue
            now = self._monotonic()
            # one draw for each look: of many the first would come at once, on every device of the fleet
            if hint.timestamp <= state.timestamp or now < self._hinted:
                continue
            since, asked = now - self._hinted, self._left_alone - now
            wait = until_hinted_look(hint, self._fleet.hint_spread, since, self._source, asked=asked)
            self._hinted, self._retries = now + wait, MOST_RETRIES
            log.info("updates: the fleet is said to have signed something new; looking in %.0f s at the latest", wait)
            self.hasten(wait)

    def look(self, state: State) -> Seen:
        """Ask the fleet; blocks.

        Args:
            state: What is kept.

        Raises:
            ConfigError: The root of trust cannot be read.
            RefusedError: The fleet's metadata is refused.
            StorageError: It cannot be kept.
            UnavailableError: The fleet cannot be asked now.
        """
        self._hinted = min(self._hinted, self._monotonic())  # this look is as good as the one that was hinted
        now, interval = self._clock.now(), self._fleet.interval
        elapsed = 0.0 if self._seen is None else min(self._monotonic() - self._seen, 2 * interval)
        self._next = self._monotonic() + self._until_phase(0.0)
        quality = self._clock.quality()
        judged = judged_time(now.time, quality, state.issued)
        order = CheckOrder(
            repository=self._fleet.repository,
            folder=self._store.folder / TRUST,
            now=text_of(judged),
            is_dated=quality is not ClockQuality.UNSYNCED,
        )
        retries, self._retries = self._retries, 0  # what is refused would be refused again
        try:
            answer = self._asking.check(order)
        except UnavailableError as error:
            self._again(retries, error.retry_after)
            raise
        self._wait, self._left_alone = 0.0, float("-inf")
        self._seen = self._monotonic()
        seen = stages.seen(state, answer.issued, answer.timestamp, elapsed)
        if quality is not ClockQuality.UNSYNCED:  # its own time tells what has expired
            seen = seen.model_copy(update={"unchanged": 0})
        return Seen(answer, seen, judged)

    def _again(self, retries: int, asked: float) -> None:
        """Look again before the next phase where a hint has brought this about, and never before the server wants it.

        Other looks are left to their phase: a server that was away would have all devices back at once, as would one
        that names the same moment to all, whose first phase after it is each device's own.
        """
        if retries:
            self._retries = retries - 1
            self._wait = until_next_try(self._wait, asked, self._source)
            self.hasten(self._wait)
        self._left_alone = max(self._left_alone, self._monotonic() + asked)
        if self._next < self._left_alone:
            self._next = self._left_alone + self._until_phase(self._left_alone - self._monotonic())

    def _until_phase(self, later: float) -> float:
        """Give the seconds from then to this device's next phase."""
        then = self._clock.now().time.timestamp() + later
        return until_next_check(self._fleet.device.whom.device_id, self._fleet.interval, then, self._source)


def text_of(moment: datetime) -> str:
    """Give UTC as what is signed and kept has it: ``2026-01-31T12:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
