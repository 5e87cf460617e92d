"""What is kept of updates, and told: the state that holds, its file, which a full disk may leave behind, and why."""

import logging
from collections.abc import Callable

from appliance.core.errors import StorageError
from appliance.updates.refusals import Code
from appliance.updates.state import State
from appliance.updates.store import Store

log = logging.getLogger(__name__)


class Keeping:
    """Writes states, logs each stage and tells of trouble. Used by one thread; `state` and `last` may be read by any.

    Args:
        store: Where the file is.
        state: As it was found.
        on_change: Called when something has changed that is told.

    Attributes:
        state: The one that holds.
        last: Why nothing else is done, for people and for reports.
    """

    def __init__(self, store: Store, state: State, on_change: Callable[[], None]) -> None:
        self.state = state
        self.last: tuple[str, Code | None] = ("", None)
        self._store, self._on_change, self._is_behind = store, on_change, False

    def keep(self, state: State) -> None:
        """Write a state, and only then hold it.

        Raises:
            StorageError: It cannot be written: the one before holds.
        """
        is_other = state != self.state
        if is_other or self._is_behind:
            self._store.write(state)
            self._take(state, is_behind=False)
        if is_other:
            self._on_change()

    def hold(self, state: State) -> None:
        """Hold a state at once; a later call, with the same one too, tries again to write what could not be written.

        For what leaves a candidate or puts something off: a start with the file from before comes to the same.
        """
        try:
            self.keep(state)
        except StorageError as error:
            is_other = state != self.state
            self._take(state, is_behind=True)
            self.tell(str(error), Code.DISK)
            if is_other:
                self._on_change()

    def _take(self, state: State, *, is_behind: bool) -> None:
        before, self.state, self._is_behind = self.state.stage, state, is_behind
        if state.stage is not before:  # messages leave out a stage that has passed before they are sent
            log.info("updates: %s", state.stage)

    def tell(self, why: str, code: Code | None) -> None:
        """Note why nothing else is done; it is logged once."""
        if (why, code) != self.last:
            self.last = (why, code)
            if why:
                log.log(logging.WARNING if code else logging.INFO, "updates: %s", why)
            self._on_change()

    def waits(self, why: str) -> bool:
        """Tell why nothing goes on just now, if anything keeps it; give whether something does."""
        if why:
            self.tell(why, None)
        return bool(why)

    def tidy(self, *, keeps_incoming: bool = False) -> None:
        """Remove what is not needed; see `Store.collect`."""
        try:
            self._store.collect(self.state, keeps_incoming=keeps_incoming)
        except StorageError as error:
            self.tell(str(error), Code.DISK)
