"""How a candidate is tried: beside the model in service, then in its place; and how that is put back."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from appliance.core.child import StoppedError
from appliance.core.errors import ModelError, UnavailableError
from appliance.updates.judging import Comparing, Vitals, Watching, comparing
from appliance.updates.refusals import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.updates.formats import Trial
    from appliance.updates.service import Service
    from appliance.updates.state import Reference, State
    from appliance.updates.store import Store

_LOOK: Final = 0.5  # seconds between two looks at how a candidate does
_JUDGED_EVERY: Final = 25  # frames; what is bad from the start need not be seen to the end

log = logging.getLogger(__name__)


class Trying:
    """Tries a candidate; blocks meanwhile. Used by the thread of updates.

    Args:
        service: The model in service.
        look: Called again and again meanwhile; what it raises ends the trial.
        ending: Set when the daemon is to end, after a call of `look`.
        task: Of the model in service; it decides how a candidate is compared with it.
    """

    def __init__(
        self, service: "Service", look: Callable[[], None], ending: threading.Event, task: str = "detect"
    ) -> None:
        self._service, self._look, self._ending, self._task = service, look, ending, task
        self._calm = Vitals()

    def note_before(self) -> None:
        """Note how the model in service does before a candidate takes of the machine: gates beside it make it slow."""
        self._calm = self._service.vitals()

    def shadow(self, folder: "Path", trial: "Trial", note: Callable[[Comparing], None] = lambda _: None) -> None:
        """Have a candidate see live frames beside the model in service, and compare what they find.

        Args:
            folder: The candidate's.
            trial: What it must stand.
            note: Is given what was found before it is judged for the last time.

        Raises:
            RefusedError: It fails, or finds something else.
            UnavailableError: No frame came, or none is looked at; or the daemon is to stop.
        """
        self._must_look()
        comparison = comparing(self._task)
        until = time.monotonic() + trial.shadow_seconds
        with self._service.shadow(folder) as see:
            while comparison.frames < trial.shadow_frames and time.monotonic() < until:
                self._breathe()
                if (found := see()) is None:
                    continue
                comparison.add(*found)
                if comparison.frames % _JUDGED_EVERY == 0 and comparison.verdict(trial):
                    break
        if not comparison.frames:
            raise UnavailableError("no camera gave a frame to compare the candidate on; it is tried again")
        note(comparison)
        self._judge(comparison, trial)
        log.info("updates: beside the model in service: %s", comparison.facts())

    def reference(self) -> "Reference":
        """Tell by what a candidate is to be judged that is not in service yet: by the model that is.

        Raises:
            UnavailableError: None is looked at.
        """
        return self._must_look().at_its_best(self._calm).kept()

    def trial(self, folder: "Path", trial: "Trial", before: "Reference") -> None:
        """Put a candidate in service, and watch it for as long as its rollout says; while it looks, that is.

        Args:
            folder: The candidate's.
            trial: What it must stand.
            before: As `reference` gave it before it was in service for the first time, in whatever run of the daemon.

        Raises:
            RefusedError: It cannot be opened, fails, or takes more than it may; it is still in service.
            UnavailableError: No frame came between two of which it could be exchanged, or none is looked at; or the
                daemon is to stop.
        """
        is_other = before.setup != self._must_look().setup
        if is_other:
            log.info("updates: the configuration is another one by now: the trial is not held against what was before")
        self._service.put_in_service(folder)
        watching = Watching(Vitals(is_throttled=before.is_throttled) if is_other else Vitals.of(before), trial)
        left, seen = float(trial.active_seconds), time.monotonic()
        while left > 0.0:
            self._breathe()
            now, vitals = time.monotonic(), self._service.vitals()
            if verdict := watching.verdict(vitals, now):
                raise RefusedError(*verdict)
            left -= (now - seen) * vitals.is_looking
            seen = now
            self._ending.wait(max(0.0, min(_LOOK, left)))

    def forget(self) -> None:
        """Forget what was on trial: it is committed."""
        self._calm = Vitals()

    def _must_look(self) -> Vitals:
        """Give how the model in service does, where it is to look at anything."""
        vitals = self._service.vitals()
        if not vitals.is_looking:
            raise UnavailableError("no camera detects, as commanded or offline; a candidate is judged by what it sees")
        return vitals

    def _breathe(self) -> None:
        self._look()
        if self._ending.is_set():
            raise StoppedError("the daemon is to stop; the candidate is tried again after the next start")

    @staticmethod
    def _judge(comparison: Comparing, trial: "Trial") -> None:
        if verdict := comparison.verdict(trial):
            raise RefusedError(*verdict)


def after_trial(service: "Service", store: "Store", state: "State") -> None:
    """Put the active release in service again; where it does not open, the one before it, or the factory model.

    Raises:
        UnavailableError: No frame came, so that what has left is still in service; or nothing opens any more.
    """
    for held in (state.active, state.previous, None):
        if held is None and state.active is not None and held is state.previous:
            continue  # there is none before it: the factory model is next
        try:
            folder = None if held is None else store.check(held.sha256)
        except ModelError as error:
            log.error("updates: %s", error)  # noqa: TRY400 - its message says it all
            continue
        try:
            service.put_in_service(folder)
        except RefusedError as error:
            log.error("updates: %s", error)  # noqa: TRY400 - likewise
            continue
        return
    raise UnavailableError("no model can be put in service any more; restart edgecam: systemctl restart edgecam")
