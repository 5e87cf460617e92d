"""What `model` messages and the operator's server say of a device's releases. Pure."""

from collections.abc import Mapping
from typing import Any

from appliance.updates.permits import Permit
from appliance.updates.pieces import Delivery
from appliance.updates.state import State


def facts_of(state: State, under: Delivery | None, why: str, code: str | None, permit: Permit) -> dict[str, Any]:
    """Give what `model` says, JSON types only.

    Args:
        state: What is kept.
        under: How far the bringing is, where something is under way.
        why: Why nothing else is done, for people; empty: nothing keeps it.
        code: Likewise, for reports.
        permit: Whether the active release may be run now.
    """
    update = state.update
    return {
        "stage": str(state.stage),
        "active": None if state.active is None else state.active.model_dump(),
        "previous": None if state.previous is None else state.previous.model_dump(),
        "candidate": None if update is None else update.release.model_dump(),
        "rollout": None if update is None else update.rollout,
        "progress": None if under is None or not under.progress else dict(under.progress),
        "pinned": state.is_pinned,
        "why": why,
        "code": code,
        "last": state.past[-1].model_dump(mode="json") if state.past else None,
        "licence": None if permit.expires is None else {"expires": permit.expires, "days": permit.days},
        "withheld": None if permit.code is None else {"code": str(permit.code), "why": permit.why},
    }


def history_of(facts: Mapping[str, Any], state: State, lost: str, *, checks: int, heard: int) -> dict[str, Any]:
    """Give what the operator is told beside `facts`, JSON types only.

    Args:
        facts: As `facts_of` gives them.
        state: What is kept; all that came to an end is told, newest first.
        lost: That what was kept before was damaged; empty: it was not.
        checks: How often the fleet was asked.
        heard: How many wishes were fulfilled, or could not be.
    """
    past = [one.model_dump(mode="json") for one in reversed(state.past)]
    return {**facts, "past": past, "checks": checks, "heard": heard, "lost": lost}
