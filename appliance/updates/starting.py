"""Which model a daemon that starts is to load, before it loads any: persisted first, so that a crash counts."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.core.errors import ModelError, StorageError
from appliance.updates import stages
from appliance.updates.permits import FREE, Judge, Permit
from appliance.updates.refusals import Code
from appliance.updates.state import Past, Stage, State
from appliance.updates.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What to load.

    Attributes:
        folder: Of the model; None: the factory model, which the configuration names.
        state: As it is kept.
        ended: What came to an end at the start, because it had been cut short or cannot be loaded.
        permit: Whether the active release may be run now; where it may not, the factory model is loaded meanwhile.
    """

    folder: Path | None
    state: State
    ended: tuple[Past, ...] = ()
    permit: Permit = FREE


def find_model(
    store: Store,
    boot: str,
    now: Callable[[], str],
    judge: Judge = lambda _: FREE,
    *,
    took_the_memory: Callable[[str, int], bool] = lambda *_: False,
) -> Beginning:
    """Decide what to load, and keep that it was begun.

    What was cut short is judged; the candidate on trial comes first, then the active release, the one before it, and
    the factory model. A release whose files are not what they were is given up; one that may not be run now is kept.
    Where the disk takes nothing, a candidate is not loaded, for that could not be counted; what was committed is.

    Args:
        store: Where models from the fleet lie.
        boot: The kernel's id of this boot.
        now: UTC, for the history.
        judge: Tells whether the active release may be run now.
        took_the_memory: Tells of the attempt in which the daemon has just crashed, by the SHA-256 of the candidate's
            manifest and the crashes before it, whether the kernel ended it for want of memory; asked of no other.

    Raises:
        StorageError: The state cannot be read.
    """
    found = store.read()
    update = found.update
    was_for_memory = (
        update is not None and update.boot == boot and took_the_memory(update.release.sha256, update.crashes)
    )
    state = stages.resumed(found, boot, now(), was_for_memory=was_for_memory)
    return _decided(store, found, state, boot, now, judge=judge)


def after_failure(
    store: Store, state: State, why: str, boot: str, now: Callable[[], str], *, judge: Judge = lambda _: FREE
) -> Beginning:
    """Decide what to load after what was begun could not be opened."""
    return _decided(store, state, without(state, Code.STARTS, why, now()), boot, now, judge=judge)


def _decided(store: Store, found: State, state: State, boot: str, now: Callable[[], str], *, judge: Judge) -> Beginning:
    while True:
        is_trial = state.stage is Stage.TRIAL
        permit = FREE if is_trial else judge(state)
        if permit.code is not None:
            _is_kept(store, found, state)
            return Beginning(None, state, _ended(found, state), permit)
        counted = stages.attempt(state, boot) if is_trial else stages.started(state, boot, now())
        held = counted.in_service
        try:
            folder = None if held is None else store.check(held.sha256)
        except ModelError as error:
            state = without(counted, Code.HASH, str(error), now())
            continue
        if _is_kept(store, found, counted) or not is_trial:
            return Beginning(folder, counted, _ended(found, counted), permit)
        state = counted.model_copy(update={"update": None})


def _ended(found: State, state: State) -> tuple[Past, ...]:
    return tuple(one for one in state.past if one not in found.past)


def _is_kept(store: Store, found: State, state: State) -> bool:
    if state == found:
        return True
    try:
        store.write(state)
    except StorageError as error:
        log.error("updates: %s", error)  # noqa: TRY400 - its message says it all
        return False
    return True


def without(state: State, code: Code, why: str, now: str) -> State:
    """Give the state without what is in service: the candidate on trial, or the active release."""
    if state.stage is Stage.TRIAL:
        return stages.roll_back(state, code, why, now)
    return stages.give_up_active(state, code, why, now)
