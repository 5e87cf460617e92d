"""Opens the best of a model's artifacts that runs here, and tells why those before it do not."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError, UnsupportedError
from appliance.inference.artifacts import FoundModel, LocatedModel, find_rungs, locate_model, read_artifact
from appliance.inference.opened import plan_of
from appliance.inference.opening import AnyModel, load_model
from appliance.inference.running import Refusal


def open_best_model(
    settings: ModelSettings,
    *,
    min_score: float | None = None,
    every_class: bool = False,
    cache: Path | None = None,
    machine: str = "",
) -> AnyModel:
    """Find, check, load and warm up the first artifact that works of the model that the settings name.

    Each is a rung: one that cannot be read, is not the file that the manifest names, is not for this machine, cannot be
    loaded, or gives nonsense for its first picture is refused, with the reason in the model's `running`, and the
    next one is tried. A file has but the one rung. What is opened looks at frames as the manifest's task says.

    Args:
        settings: The ``[model]`` section; its `artifact` leaves out every rung that it does not mean.
        min_score: Lowest score of a detection or label, 0..1, in place of the settings' and the manifest's.
        every_class: Of a detector: give every class of a place that reaches the lowest score, not its best one.
        cache: Folder for what a provider compiles for this machine; None: nothing is kept.
        machine: Kind of processor; empty: this machine's.

    Raises:
        ConfigError: There is no such model, artifact or file, or a label is none of the model's.
        ModelError: No artifact works, and one at least is broken; each is told with its reason.
        UnsupportedError: No artifact works on this machine; likewise.
    """
    load = partial(
        load_model,
        threads=settings.threads,
        min_score=settings.min_score if min_score is None else min_score,
        labels=settings.labels,
        every_class=every_class,
        plan=plan_of(settings, cache),
    )
    rungs = find_rungs(settings)
    if not rungs or not any(_is_there(rung) for rung in rungs):
        return load(locate_model(settings))
    refused: list[Refusal] = []
    errors: list[Exception] = []
    for rung in rungs:
        if missing := _missing(rung, machine or platform.machine()):
            refused.append(Refusal(_name(rung), missing, is_expected=True))
            continue
        try:
            model = load(_read(rung))
        except (ModelError, UnsupportedError) as error:
            errors.append(error)
            refused.append(Refusal(_name(rung), " ".join(str(error).split()), is_expected=False))
            continue
        model.running = replace(model.running, refused=tuple(refused))
        return model
    raise _nothing(rungs[0].manifest.name, refused, errors)


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
