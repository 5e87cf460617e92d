"""What was measured to be the best way of running the model: for the composition root, and light where nothing was."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.config import ModelSettings
from appliance.core.worker import Worker
from appliance.inference.ways import Preference

TUNING = "tuning"  # folder of `appliance.inference.tuning` in the state's, which need not be loaded to look for it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """The stored choice, as the daemon needs it.

    Attributes:
        preference: What is to be tried before the ladder; None: the ladder as it is.
        facts: Tells what became of it, JSON types only; from any thread.
        workers: What measures again, where that is needed.
    """

    preference: Preference | None
    facts: Callable[[], Mapping[str, Any]]
    workers: tuple[Worker, ...] = ()


def find_stored(settings: ModelSettings, state_dir: Path, on_change: Callable[[], None]) -> Stored:
    """Look for a choice that was stored for the model, and say whether it counts.

    Args:
        settings: The ``[model]`` section.
        state_dir: Where the state is kept.
        on_change: Called when `facts` have changed.

    Raises:
        ConfigError: There is no such model or file.
        ModelError: The model's manifest or file is not accepted.
    """
    if not os.access(state_dir / TUNING, os.F_OK):
        return Stored(None, lambda: {"state": "none", "why": ""})
    # what reads and renews a choice takes 0.7 MB: only where there is one
    from appliance.daemon.retuner import Retuner  # noqa: PLC0415
    from appliance.inference.tuning import look_up  # noqa: PLC0415

    tuned = look_up(settings, state_dir)
    if tuned.why:
        log.info("tuning: %s", tuned.why)
    retuner = Retuner(tuned, settings, state_dir, on_change=on_change)
    return Stored(tuned.preference, retuner.facts, (retuner,) if tuned.state == "stale" else ())
