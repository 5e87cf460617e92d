"""How an update goes on, as a table, and what a crash or a power cut at any point leads to. Pure.

Every change gives a new `State`, which is on disk before anything is done about it. Whoever starts again therefore
finds what was last begun, never what was only meant.
"""

from typing import Any, Final

from appliance.updates.refusals import Code
from appliance.updates.state import (
    KEPT,
    MOST_BLOCKED,
    MOST_NAMES,
    MOST_PAST,
    MOST_STEPS,
    Blocked,
    Compared,
    Held,
    Past,
    Reference,
    Stage,
    State,
    Update,
)

MOST_HALVES: Final = 6  # of attempts that were cut short: three crashes, or six power cuts
MOST_STARTS: Final = 5  # likewise, of starts that did not get as far as working: three, or five with a power cut each

NEXT: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.IDLE: frozenset({Stage.CHECKING}),
    Stage.CHECKING: frozenset({Stage.IDLE, Stage.PLANNED}),
    Stage.PLANNED: frozenset({Stage.DOWNLOADING, Stage.IDLE, Stage.ROLLED_BACK}),
    Stage.DOWNLOADING: frozenset({Stage.VERIFYING, Stage.IDLE, Stage.ROLLED_BACK}),
    Stage.VERIFYING: frozenset({Stage.STAGED, Stage.IDLE, Stage.ROLLED_BACK}),
    Stage.STAGED: frozenset({Stage.INSPECTING, Stage.IDLE, Stage.ROLLED_BACK}),
    Stage.INSPECTING: frozenset({Stage.SMOKE, Stage.ROLLED_BACK}),
    # a return to an older release is not compared with the one that it is to replace
    Stage.SMOKE: frozenset({Stage.SHADOW, Stage.TRIAL, Stage.ROLLED_BACK}),
    Stage.SHADOW: frozenset({Stage.TRIAL, Stage.ROLLED_BACK}),
    Stage.TRIAL: frozenset({Stage.COMMITTED, Stage.ROLLED_BACK}),
    Stage.COMMITTED: frozenset({Stage.IDLE}),
    Stage.ROLLED_BACK: frozenset({Stage.IDLE}),
}
"""What may follow on what."""

TRIED: Final = frozenset({Stage.INSPECTING, Stage.SMOKE, Stage.SHADOW, Stage.TRIAL})
"""Stages in which the candidate is read or run: an attempt is counted before it is loaded."""


def begin(state: State, update: Update, security_floor: int = 0) -> State:
    """Give the state with an update that was planned.

    Args:
        state: Without an update under way.
        update: In the stage `planned`.
        security_floor: That its release tells; it holds whatever comes of the update.

    Raises:
        ValueError: There is one under way, or its release was refused before.
    """
    if state.update is not None or update.stage is not Stage.PLANNED:
        raise ValueError(f"an update begins as {Stage.PLANNED}, and one at a time")
    if state.is_blocked(update.release.sha256):
        raise ValueError(f"{update.release.sha256} is blocked")
    name = update.release.name
    floor = state.floor(name)
    raised = floor.model_copy(update={"security": max(floor.security, security_floor)})
    floors = dict([*((other, kept) for other, kept in state.floors.items() if other != name), (name, raised)])
    return _with(state, update=update, floors=dict(list(floors.items())[-MOST_NAMES:]))


def advance(state: State, stage: Stage, now: str) -> State:
    """Give the state one stage on; an attempt that was under way has gone well.

    An update that has taken too many steps is rolled back instead.

    Args:
        state: With an update under way.
        stage: The next, which the table must allow; an end has a function of its own.
        now: UTC, for the history.

    Raises:
        ValueError: The table does not allow it.
    """
    update = _under_way(state, stage)
    if stage not in KEPT:
        raise ValueError(f"{stage} is an end")
    if update.steps >= MOST_STEPS:
        return roll_back(state, Code.LOOP, f"it did not come to an end within {MOST_STEPS} steps", now)
    given_back = 2 if update.boot else 0
    changed = {"stage": stage, "steps": update.steps + 1, "boot": "", "halves": update.halves - given_back}
    return _with(state, update=update.model_copy(update=changed))


def attempt(state: State, boot: str, before: Reference | None = None) -> State:
    """Count an attempt, before the candidate is loaded.

    Args:
        state: In a stage in which a candidate is tried.
        boot: The kernel's id of this boot.
        before: By what it is judged, which is kept with the attempt; what was kept with an earlier one stays.

    Raises:
        ValueError: It is in no such stage.
    """
    update = _tried(state)
    changed: dict[str, Any] = {} if update.boot else {"boot": boot, "halves": update.halves + 2}
    if update.before is None and before is not None:
        changed["before"] = before
    return _with(state, update=update.model_copy(update=changed)) if changed else state


def released(state: State) -> State:
    """Give an attempt back: the daemon ends in good order, which says nothing about the candidate."""
    if state.update is None or not state.update.boot:
        return state
    halves = state.update.halves - 2
    return _with(state, update=state.update.model_copy(update={"boot": "", "halves": halves}))


def resumed(state: State, boot: str, now: str, *, was_for_memory: bool = False) -> State:
    """Give the state in which a daemon that has just started goes on.

    An attempt that was cut short in this boot was a crash. In another one power may have been lost: that counts half,
    so that a poor supply alone does not condemn a good model.

    Args:
        state: As it was found.
        boot: The kernel's id of this boot.
        now: UTC, for the history.
        was_for_memory: It is known that the kernel ended the daemon for want of memory.
    """
    update = state.update
    if update is None or not update.boot:
        return state
    has_crashed = update.boot == boot
    halves = update.halves if has_crashed else update.halves - 1
    crashes = update.crashes + has_crashed
    left = _with(state, update=update.model_copy(update={"boot": "", "halves": halves, "crashes": crashes}))
    if crashes > update.trial.crashes:
        how = "the kernel ended the daemon for want of memory" if was_for_memory else "the daemon ended unexpectedly"
        code = Code.MEMORY if was_for_memory else Code.CRASH
        return roll_back(left, code, f"{how} in stage {update.stage}", now)
    if halves >= MOST_HALVES:
        return roll_back(left, Code.POWER, f"the machine went down again and again in stage {update.stage}", now)
    return left


def commit(state: State, now: str) -> State:
    """Give the state in which the candidate is the active release.

    Raises:
        ValueError: It is not on trial.
    """
    update = _under_way(state, Stage.COMMITTED)
    floor = state.floor(update.release.name)
    raised = floor.model_copy(update={"counter": max(floor.counter, update.release.counter)})
    return _with(
        state,
        active=update.release,
        previous=state.active,
        update=None,
        starts=0,
        floors={**state.floors, update.release.name: raised},
        past=_past(state, _ended(update, outcome="committed", time=now)),
    )


def roll_back(state: State, code: Code, why: str, now: str) -> State:
    """Give the state without the candidate, which is not taken again; what was in service before is the active one.

    Args:
        state: With an update under way.
        code: Why, for reports.
        why: Why, for people.
        now: UTC, for the history.

    Raises:
        ValueError: None is under way.
    """
    update = _under_way(state, Stage.ROLLED_BACK)
    past = _ended(update, outcome="rolled_back", code=code, why=_short(why), time=now)
    return _with(_blocking(state, update.release, code), update=None, past=_past(state, past))


def put_off(state: State) -> State:
    """Give the state without the update, of which nothing was tried yet: it may be planned again.

    Raises:
        ValueError: The table does not allow it any more.
    """
    _under_way(state, Stage.IDLE)
    return _with(state, update=None)


def give_up_active(state: State, code: Code, why: str, now: str) -> State:
    """Give the state in which the active release has made room for the one before it, or for the factory model.

    Args:
        state: With an active release; an update under way ends, and may be planned again.
        code: Why, for reports.
        why: Why, for people.
        now: UTC, for the history.

    Raises:
        ValueError: The factory model is in service: there is nothing to give up.
    """
    if state.active is None:
        raise ValueError("the factory model is not given up")
    past = Past(release=state.active, outcome="rolled_back", code=code, why=_short(why), time=now)
    blocked = _blocking(state, state.active, code)
    return _with(blocked, active=state.previous, previous=None, update=None, starts=0, past=_past(state, past))


def started(state: State, boot: str, now: str) -> State:
    """Count a start of the daemon with the active release, before it is loaded; after too many it is given up.

    Args:
        state: Before.
        boot: The kernel's id of this boot: a start after a power cut counts half.
        now: UTC, for the history.
    """
    if state.active is None:
        return state
    if state.starts >= MOST_STARTS:
        why = "the daemon started with it again and again, and did not get to work"
        return started(give_up_active(state, Code.STARTS, why, now), boot, now)
    return _with(state, starts=state.starts + (2 if state.started == boot else 1), started=boot)


def works(state: State) -> State:
    """Note that the daemon has got to work with the active release, or ends in good order."""
    return _with(state, starts=0, started="") if state.starts else state


def pinned(state: State, *, is_pinned: bool) -> State:
    """Note whether the owner wants nothing else than what is in service."""
    return _with(state, is_pinned=is_pinned)


def seen(state: State, issued: str | None, timestamp: int, elapsed: float) -> State:
    """Note what a check has seen of the fleet's time.

    Args:
        state: Before.
        issued: Time that the timestamp was signed with, where it says so; it only ever rises.
        timestamp: Version of the timestamp.
        elapsed: Seconds since the check before.
    """
    later = max(filter(None, (state.issued, issued)), default=None)
    unchanged = state.unchanged + max(0, round(elapsed)) if timestamp == state.timestamp else 0
    return _with(state, issued=later, timestamp=timestamp, unchanged=unchanged)


def compared(state: State, found: Compared) -> State:
    """Note what the candidate found beside the model in service; reports tell it, whatever comes of it.

    Raises:
        ValueError: No candidate is tried.
    """
    return _with(state, update=_tried(state).model_copy(update={"compared": found}))


def _ended(update: Update, **more: Any) -> Past:
    return Past(release=update.release, rollout=update.rollout, compared=update.compared, **more)


def _under_way(state: State, stage: Stage) -> Update:
    if state.update is None or stage not in NEXT[state.update.stage]:
        raise ValueError(f"{stage} does not follow on {state.stage}")
    return state.update


def _tried(state: State) -> Update:
    if state.update is None or state.update.stage not in TRIED:
        raise ValueError(f"nothing is tried in stage {state.stage}")
    return state.update


def _blocking(state: State, release: Held, code: Code) -> State:
    others = tuple(one for one in state.blocked if one.sha256 != release.sha256)
    return _with(state, blocked=(*others, Blocked(sha256=release.sha256, code=code))[-MOST_BLOCKED:])


def _past(state: State, entry: Past) -> tuple[Past, ...]:
    return (*state.past, entry)[-MOST_PAST:]


def _short(why: str) -> str:
    return " ".join(why.split())[:500]


def _with(state: State, **changed: Any) -> State:
    return state.model_copy(update=changed)
