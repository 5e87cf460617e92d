"""What a check found: the doctor's word for it, the same in every room that has something to be looked at."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from appliance.core.errors import EdgecamError


class CheckState(StrEnum):
    """How what was looked at is."""

    OK = "ok"
    SKIPPED = "skipped"
    """It was not looked at, which `seen` explains: there is none, something before it failed, or it is not allowed."""
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check found.

    Attributes:
        id: Stable name for scripts: ``broker.tls``, ``camera.door``.
        state: How it is.
        seen: What was seen, one line.
        fix: What the owner can do, one line; empty when there is nothing to do.
    """

    id: str
    state: CheckState
    seen: str
    fix: str = ""

    @classmethod
    def of_error(cls, identity: str, error: EdgecamError, state: CheckState = CheckState.FAILED) -> "Outcome":
        """Give what an error says: its message up to the first ``; `` was seen, the rest is the fix."""
        what, _, fix = str(error).partition("; ")
        return cls(identity, state, _line(what), _line(fix))


def worst(outcomes: Iterable[Outcome]) -> CheckState:
    """Give how all is that was looked at: what was skipped counts as well."""
    states = {outcome.state for outcome in outcomes}
    return next((state for state in (CheckState.FAILED, CheckState.WARNING) if state in states), CheckState.OK)


def _line(text: str) -> str:
    return " ".join(text.split())
