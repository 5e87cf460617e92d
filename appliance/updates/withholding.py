"""Takes the active release out of service while it may not be run, and puts it back once it may."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from appliance.core.errors import UnavailableError
from appliance.updates.permits import LOOK_EVERY, Judge, Permit
from appliance.updates.stages import TRIED
from appliance.updates.trying import after_trial

if TYPE_CHECKING:
    from appliance.updates.service import Service
    from appliance.updates.state import Held, State
    from appliance.updates.store import Store

TRY_EVERY: Final = 60.0
"""Seconds after which an exchange that could not be made is tried again; the fleet is asked meanwhile."""

RESTORE_EVERY: Final = 3.0
"""Likewise, where what is in service has failed, or may not be there any more."""


class Withholding:
    """Looks at licences while the daemon runs. Used by the thread of updates.

    Args:
        judge: Tells whether the active release may be run now.
        service: The model in service.
        store: Where releases lie.
        permit: As the daemon has found it at its start, and loaded a model by it.
        tell: Is told what was found at each look, also where that is as before.

    Attributes:
        permit: As it was last found.
    """

    def __init__(
        self, judge: Judge, service: "Service", store: "Store", permit: Permit, tell: Callable[[Permit], None]
    ) -> None:
        self._judge, self._service, self._store, self._tell = judge, service, store, tell
        self.permit = permit
        self._seen: Held | None = None
        self._next = 0.0
        self._is_owed = False

    @property
    def is_owed(self) -> bool:
        """What has left could not be exchanged yet, and is still in service: nothing may be tried beside it."""
        return self._is_owed

    def look(self, state: "State") -> bool:
        """See to it that what is in service may be, where it is time; tell whether something has changed.

        Raises:
            ModelError: The release that may be run again is damaged, or cannot be opened.
            UnavailableError: No frame came between two of which models are exchanged; it is tried again in a minute.
        """
        if self._is_owed:
            return self._try_again(state)
        if state.stage in TRIED or (time.monotonic() < self._next and state.active == self._seen):
            return False
        self._next, self._seen = time.monotonic() + TRY_EVERY, state.active
        found = self._judge(state)
        if (found.code is None) != (self.permit.code is None):
            is_run = found.code is None and state.active is not None
            folder = self._store.check(state.active.sha256) if is_run and state.active else None
            self._service.put_in_service(folder)
        self._next = time.monotonic() + LOOK_EVERY
        return self._note(found)

    def restore(self, state: "State") -> str:
        """Put in service again what may be, after something has left; see `trying.after_trial`.

        Returns:
            Why it could not be done, and is owed: each `look` tries again; empty: it is done.
        """
        found = self._judge(state)
        left = state if found.code is None else state.model_copy(update={"active": None, "previous": None})
        try:
            after_trial(self._service, self._store, left)
        except UnavailableError as error:
            self._is_owed, self._next = True, time.monotonic() + RESTORE_EVERY
            return f"what was left is still in service: {error}"
        self._is_owed, self._next = False, 0.0
        self._note(found)
        return ""

    def _try_again(self, state: "State") -> bool:
        if time.monotonic() < self._next or not self._service.vitals().is_looking:  # no frame would come
            return False
        if why := self.restore(state):
            raise UnavailableError(why)
        return True

    def _note(self, found: Permit) -> bool:
        before, self.permit = self.permit, found
        self._tell(found)
        return found != before
