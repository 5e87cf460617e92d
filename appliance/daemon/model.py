"""What the daemon says of the model in service: to the health board, to the log, to status and `info`."""

import logging
from collections.abc import Sequence
from typing import Any, Final

from appliance.core.health import HealthBoard, HealthState
from appliance.inference.running import Running

FIX: Final = "install what is missing (docs/hardware.md), or choose what is here: [model] artifact, providers, delegate"

log = logging.getLogger(__name__)


def report_model(running: Sequence[Running], board: HealthBoard) -> dict[str, Any]:
    """Tell what the cameras' detectors run on, and give what status and `info` say of it, JSON types only.

    What fell short is a finding on the board, once however many cameras it is so for.

    Args:
        running: What each camera's detector runs on; at least one.
        board: Health board.
    """
    log.info("model: %s", running[0])
    for refusal in running[0].refused:
        if refusal.is_expected:
            log.info("model: %s was passed over: it %s", refusal.file, refusal.why)
    troubles = dict.fromkeys(trouble for one in running for trouble in one.troubles())
    for trouble in troubles:
        log.warning("%s", trouble, extra={"component": "model"})
    state = HealthState.DEGRADED if troubles else HealthState.OK
    board.report("model", state, "; ".join(troubles), FIX if troubles else "")
    return running[0].facts()
