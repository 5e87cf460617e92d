"""What `model` messages and the operator's server say of a device's releases. Pure."""

from collections.abc import Mapping
from typing import Any

from appliance.updates.permits import Permit
from appliance.updates.state import State


def facts_of(
    state: State, *, progress: Mapping[str, int] | None, last: tuple[str, str | None], permit: Permit
) -> dict[str, Any]:
    """Give what `model` says, JSON types only.

    Args:
        state: What is kept.
        progress: Bytes of a release that is brought; None: none is.
        last: What was last the matter, and its code.
        permit: Whether the active release may be run now.
    """
    update = state.update
    return {
        "stage": str(state.stage),
        "active": None if state.active is None else state.active.model_dump(),
        "previous": None if state.previous is None else state.previous.model_dump(),
        "candidate": None if update is None else update.release.model_dump(),
        "rollout": None if update is None else update.rollout,
        "progress": dict(progress) if progress else None,
        "pinned": state.is_pinned,
        "why": last[0],
        "code": last[1],
        "last": state.past[-1].model_dump(mode="json") if state.past else None,
        "licence": None if permit.expires is None else {"expires": permit.expires, "days": permit.days},
        "withheld": None if permit.code is None else {"code": str(permit.code), "why": permit.why},
    }
