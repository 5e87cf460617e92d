"""Opens the best of a model's artifacts that runs here, and tells why those before it do not."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError, UnsupportedError
from appliance.inference.artifacts import FoundModel, LocatedModel, find_rungs, locate_model, read_artifact
from appliance.inference.detector import Detector, load_detector, plan_of
from appliance.inference.running import Refusal
from appliance.inference.ways import Preference, Way


def open_best_detector(
    settings: ModelSettings,
    *,
    min_score: float | None = None,
    every_class: bool = False,
    cache: Path | None = None,
    machine: str = "",
    preferred: Preference | None = None,
) -> Detector:
    """Find, check, load and warm up the first artifact that works of the model that the settings name.

    Each is a rung: one that cannot be read, is not the file that the manifest names, is not for this machine, cannot be
    loaded, or gives nonsense for its first picture is refused, with the reason in the detector's `running`, and the
    next one is tried. A file has but the one rung.

    Args:
        settings: The ``[model]`` section; its `artifact` leaves out every rung that it does not mean.
        min_score: Lowest score of a detection, 0..1, in place of the settings' and the manifest's.
        every_class: Give every class of a place that reaches the lowest score, as evaluations do, not its best one.
        cache: Folder for what a provider compiles for this machine; None: nothing is kept.
        machine: Kind of processor; empty: this machine's.
        preferred: What was measured to be the best here: tried before the others, which follow in their order.

    Raises:
        ConfigError: There is no such model, artifact or file, or a label is none of the model's.
        ModelError: No artifact works, and one at least is broken; each is told with its reason.
        UnsupportedError: No artifact works on this machine; likewise.
    """
    plan = plan_of(settings, cache)
    load = partial(
        load_detector,
        threads=settings.threads,
        min_score=settings.min_score if min_score is None else min_score,
        labels=settings.labels,
        every_class=every_class,
    )
    rungs = find_rungs(settings)
    if not rungs or not any(_is_there(rung) for rung in rungs):
        located = locate_model(settings)
        is_preferred = preferred is not None and preferred.file == located.path.name
        return load(located, plan=preferred.way.plan(located.artifact, plan) if preferred and is_preferred else plan)
    refused: list[Refusal] = []
    errors: list[Exception] = []
    for rung, way in _ordered(rungs, preferred):
        if missing := _missing(rung, machine or platform.machine()):
            refused.append(Refusal(_name(rung), missing, is_expected=True))
            continue
        try:
            detector = load(_read(rung), plan=plan if way is None else way.plan(rung.artifact, plan))
        except (ModelError, UnsupportedError) as error:
            errors.append(error)
            refused.append(Refusal(_name(rung), " ".join(str(error).split()), is_expected=False))
            continue
        detector.running = replace(detector.running, refused=tuple(refused))
        return detector
    raise _nothing(rungs[0].manifest.name, refused, errors)


def _ordered(rungs: Sequence[FoundModel], preferred: Preference | None) -> list[tuple[FoundModel, Way | None]]:
    """Give the rungs, the preferred one first; it also stays in its place, there to be tried as its manifest says."""
    first = [(rung, preferred.way) for rung in rungs if preferred is not None and _name(rung) == preferred.file]
    return [*first, *((rung, None) for rung in rungs)]


def _is_there(rung: FoundModel) -> bool:
    return rung.weights is not None and rung.weights.is_file()


def _missing(rung: FoundModel, machine: str) -> str:
    """Tell why a rung need not even be tried; nothing when it is to be."""
    unmet = rung.artifact.needs.unmet(machine) if rung.artifact is not None else ""
    return unmet or ("" if _is_there(rung) else f"is not in {rung.folder}")


def _read(rung: FoundModel) -> LocatedModel:
    if rung.artifact is None:
        raise UnsupportedError(f"model {rung.manifest.name!r} has no weights")
    try:
        return read_artifact(rung.folder, rung.manifest, rung.artifact)
    except ConfigError as error:  # a file that cannot be read is the owner's to mend, but no reason to see nothing
        raise ModelError(str(error)) from error


def _name(rung: FoundModel) -> str:
    return rung.artifact.file if rung.artifact is not None else ""


def _nothing(model: str, refused: Sequence[Refusal], errors: Sequence[Exception]) -> ModelError | UnsupportedError:
    if len(refused) == len(errors) == 1 and isinstance(errors[0], ModelError | UnsupportedError):
        return errors[0]
    lines = "\n  ".join(f"{one.file}: {one.why}" for one in refused)
    kind = ModelError if any(isinstance(error, ModelError) for error in errors) else UnsupportedError
    return kind(f"no artifact of model {model!r} works here:\n  {lines}")
