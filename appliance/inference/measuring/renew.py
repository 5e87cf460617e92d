"""Measures a model again in the background: ``python -m appliance.inference.measuring.renew``.

Takes `Renewal` as JSON on standard input, at the lowest priority; ends with the process that started it. The status is
0 where a choice was stored; else the last line on standard error says why not.
"""

import platform
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from appliance.config import ModelSettings
from appliance.core.errors import UnsupportedError
from appliance.core.part import Part
from appliance.inference.artifacts import find_rungs
from appliance.inference.beside import work_beside
from appliance.inference.measuring.here import processors_here, providers_here
from appliance.inference.measuring.rounds import Effort
from appliance.inference.measuring.subjects import find_candidates
from appliance.inference.measuring.tuner import tune
from appliance.inference.tuning import Objective, write_tuning
from appliance.inference.ways import is_for_one_process, thread_counts

_EFFORT = Effort(rounds=5)


class Renewal(Part):
    """What to measure again.

    Attributes:
        model: The ``[model]`` section, what is set in it only.
        objective: What is to be least.
        state_dir: Where the choice is stored.
    """

    model: dict[str, Any]
    objective: Objective
    state_dir: Annotated[str, Field(max_length=4096)]


def main() -> int:
    """Measure and store; give the exit status."""
    return work_beside(_read, _do)


def _read(content: bytes) -> tuple[Renewal, ModelSettings]:
    renewal = Renewal.model_validate_json(content)
    return renewal, ModelSettings.model_validate(renewal.model)


def _do(asked: tuple[Renewal, ModelSettings]) -> str:
    renewal, settings = asked
    renew(settings, renewal.objective, Path(renewal.state_dir))
    return ""


def renew(settings: ModelSettings, objective: Objective, state_dir: Path) -> None:
    """Measure the model that the settings name, and store the best.

    Raises:
        UnsupportedError: The daemon may have the accelerator that one of its files is for.
        EdgecamError: There is no such model, nothing may be chosen, or it cannot be stored.
    """
    if files := for_one_process(settings):
        raise UnsupportedError(
            f"{', '.join(files)} needs an accelerator that one process alone can have, and that is the service: stop "
            "it first, sudo systemctl stop edgecam"
        )
    is_set = "threads" in settings.model_fields_set
    threads = (settings.threads,) if is_set else thread_counts(processors_here())
    candidates = find_candidates(settings, pictures=(), here=providers_here(), threads=threads)
    effort = Effort(rounds=_EFFORT.rounds, cache=state_dir / "compiled")
    tuning, _ = tune(settings, candidates, objective, effort=effort)
    write_tuning(state_dir, tuning)


def for_one_process(settings: ModelSettings) -> list[str]:
    """Give the files of a model that run on what no second process can have: beside the daemon they would be refused.

    Raises:
        EdgecamError: There is no such model.
    """
    rungs = find_rungs(settings)
    if not rungs:
        return [Path(settings.use).name] if settings.use.endswith(".hef") else []
    here = [one.artifact for one in rungs if one.artifact is not None and one.weights and one.weights.is_file()]
    machine = platform.machine()
    return [one.file for one in here if is_for_one_process(one) and not one.needs.unmet(machine)]


if __name__ == "__main__":
    sys.exit(main())
