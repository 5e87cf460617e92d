"""What the daemon says of the model in service: to the health board, to the log, to status and `info`."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from appliance.core.health import HealthBoard, HealthState
from appliance.inference.running import FIX, Running

FIX_FAILED: Final = (
    "Edgecam tries it again by itself; if it stays so, look at the accelerator's power, cable and driver, "
    "or choose another file: [model] artifact"
)
FIX_BLIND: Final = f"nothing is seen meanwhile. {FIX_FAILED}; then: systemctl restart edgecam"

log = logging.getLogger(__name__)


class Climber(Protocol):
    """What is needed of what climbs (inference.climber.Climber fits)."""

    @property
    def running(self) -> Running:
        """What it runs on, and why not on what would be better."""

    def retries(self) -> Mapping[str, Mapping[str, float]]:
        """Give for each artifact that failed how often, and when it may be tried again."""


ClimberT = TypeVar("ClimberT", bound=Climber)


class ModelReport(Generic[ClimberT]):
    """Keeps the board, the log, status and `info` true to what the cameras' models run on. Safe to use from any thread.

    Args:
        climbers: Of each camera; at least one.
        describe: Gives name, version and digest of the model in service, JSON types only.
        board: Health board.
    """

    def __init__(
        self, climbers: Sequence[ClimberT], describe: Callable[[ClimberT], Mapping[str, Any]], board: HealthBoard
    ) -> None:
        self._climbers, self._describe, self._board = climbers, describe, board
        self._lock = threading.Lock()
        self._told: dict[str, Any] = {}

    def refresh(self) -> bool:
        """Tell the board and the log what has changed; tell whether `info` has to be published again."""
        with self._lock:
            facts = self.facts()
            report_model([one.running for one in self._climbers], self._board, is_first=not self._told)
            before, self._told = self._told, facts
            return facts != before

    def facts(self) -> dict[str, Any]:
        """Give what `info` says of the model, JSON types only: of the camera that is off worst."""
        worst = max(self._climbers, key=lambda one: _badness(one.running))
        return {**self._describe(worst), **worst.running.facts()}

    def now(self) -> dict[str, Any]:
        """Give what status says: the same, with how often what is refused has failed, and when it is tried again."""
        worst = max(self._climbers, key=lambda one: _badness(one.running))
        facts, retries = {**self._describe(worst), **worst.running.facts()}, worst.retries()
        return {**facts, "refused": [{**entry, **retries.get(entry["file"], {})} for entry in facts["refused"]]}


def report_model(running: Sequence[Running], board: HealthBoard, *, is_first: bool = True) -> dict[str, Any]:
    """Tell what the cameras' models run on, and give what status and `info` say of it, JSON types only.

    What fell short is a finding on the board, once however many cameras it is so for.

    Args:
        running: What each camera's model runs on; at least one.
        board: Health board.
        is_first: Nothing was told yet.
    """
    worst = max(running, key=_badness)
    if is_first:
        for refusal in worst.refused:
            if refusal.is_expected:
                log.info("model: %s was passed over: it %s", refusal.file, refusal.why)
    troubles = tuple(dict.fromkeys(trouble for one in running for trouble in one.troubles()))
    is_blind = any(one.is_blind for one in running)
    state = HealthState.FAILED if is_blind else HealthState.DEGRADED if troubles else HealthState.OK
    if board.report("model", state, "; ".join(troubles), _fix(worst) if troubles else "") or is_first:
        if not is_blind:
            log.info("model: %s", worst)
        for trouble in troubles:
            log.log(logging.ERROR if is_blind else logging.WARNING, "%s", trouble, extra={"component": "model"})
    return worst.facts()


def _badness(running: Running) -> tuple[bool, int]:
    """Tell how bad it is: that nothing works counts more than how far down it stands."""
    return running.is_blind, sum(not one.is_expected for one in running.refused)


def _fix(worst: Running) -> str:
    if worst.is_blind:
        return FIX_BLIND
    return FIX_FAILED if any(one.while_running for one in worst.refused) else FIX
