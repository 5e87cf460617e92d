"""Opens the best of a model's artifacts that runs here, and tells why those before it do not."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError, UnavailableError, UnsupportedError
from appliance.inference.artifacts import LocatedModel, find_rungs, locate_model, read_artifact
from appliance.inference.climber import OpenedT, Rung
from appliance.inference.climbing import CLIMBING, AnyClimbing
from appliance.inference.folders import FoundModel
from appliance.inference.opened import plan_of
from appliance.inference.opening import AnyModel, load_model
from appliance.inference.running import Refusal
from appliance.inference.runtimes import RUN_BY_CAMERA, Plan
from appliance.inference.watch import Watch, Wedged
from appliance.inference.ways import Preference, Way, is_for_one_process
from appliance.inference.weights import Unseal, unsealing

Loader = Callable[[LocatedModel, Plan], OpenedT]
"""Loads a file that was read and checked, as one of a task does, and has it answer one picture."""
_Reason = ModelError | UnavailableError | UnsupportedError


def open_best_model(
    settings: ModelSettings,
    *,
    min_score: float | None = None,
    every_class: bool = False,
    cache: Path | None = None,
    machine: str = "",
    preferred: Preference | None = None,
    has_network: bool = False,
    unseal: Unseal | None = None,
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
        preferred: What was measured to be the best here: tried before the others, which follow in their order.
        has_network: The camera runs a network itself.
        unseal: Opens encrypted files; None: with the keys that the settings name.

    Raises:
        ConfigError: There is no such model, artifact or file, or a label is none of the model's.
        ModelError: No artifact works, and one at least is broken; each is told with its reason.
        UnsupportedError: No artifact works on this machine; likewise.
    """
    load, plan = _loader(settings, min_score, every_class=every_class), plan_of(settings, cache)
    rungs = find_ladder(settings, load, plan, machine, preferred, has_network=has_network, unseal=unseal)
    _, model, refused = open_first(rungs, settings.use)
    model.running = replace(model.running, refused=refused)
    return model


def open_climbing_model(
    settings: ModelSettings,
    *,
    min_score: float | None = None,
    cache: Path | None = None,
    machine: str = "",
    preferred: Preference | None = None,
    has_network: bool = False,
    on_open: Callable[[float], None] = lambda _: None,
    is_ending: Callable[[], bool] = lambda: False,
) -> AnyClimbing:
    """Do the same for a model that is to run for ever: no call is waited for without end, and it climbs.

    Args:
        settings: The ``[model]`` section.
        min_score: Lowest score of a detection or label, 0..1, in place of the settings' and the manifest's.
        cache: Folder for what a provider compiles for this machine; None: nothing is kept.
        machine: Kind of processor; empty: this machine's.
        preferred: What was measured to be the best here: tried before the others, which follow in their order.
        has_network: The camera runs a network itself.
        on_open: See `Watch`.
        is_ending: See `Watch`.

    Raises:
        ConfigError: There is no such model, artifact or file, or a label is none of the model's.
        ModelError: No artifact works, and one at least is broken; each is told with its reason.
        UnavailableError: No artifact works, as its runtime hangs or crashes; likewise.
        UnsupportedError: No artifact works on this machine; likewise.
    """
    wedged = Wedged()
    watch = Watch(settings.timeout, settings.open_timeout, settings.isolate, wedged, on_open, is_ending)
    plan = replace(plan_of(settings, cache), watch=watch)
    rungs = find_ladder(settings, _loader(settings, min_score), plan, machine, preferred, has_network=has_network)
    at, model, refused = open_first(rungs, settings.use)
    kind = CLIMBING[model.manifest.task]
    climbing: AnyClimbing = kind(rungs, first=at, opened=model, refused=refused, retry=settings.retry, wedged=wedged)
    return climbing


def find_ladder(
    settings: ModelSettings,
    load: "Loader[OpenedT]",
    plan: Plan,
    machine: str = "",
    preferred: Preference | None = None,
    *,
    has_network: bool = False,
    unseal: Unseal | None = None,
) -> tuple[Rung[OpenedT], ...]:
    """Give the rungs of the model that the settings name, best first, whatever its task.

    Args:
        settings: The ``[model]`` section.
        load: Loads a file.
        plan: What is to run it, and how long to wait.
        machine: Kind of processor; empty: this machine's.
        preferred: What was measured to be the best here: the first rung; its file also stays in its place, there to be
            tried as its manifest says.
        has_network: The camera runs a network itself.
        unseal: Opens encrypted files; None: with the keys that the settings name.

    Raises:
        ConfigError: There is no such model, or none of its files is here.
        ModelError: The manifest is not accepted.
    """
    found = find_rungs(settings)
    if not found or not any(_is_there(rung) for rung in found):
        located = locate_model(settings)  # tells at once what is wrong with what was named
        file, artifact = located.path.name, located.artifact
        del located  # its content is not kept
        chosen = preferred.way if preferred is not None and preferred.file == file else None

        def open_with(plan: Plan) -> OpenedT:
            return load(locate_model(settings), plan)

        own = plan if chosen is None else chosen.plan(artifact, plan)
        return (Rung(file, lambda: "", partial(open_with, own), partial(open_with, _apart(own))),)
    missing = partial(_missing, machine=machine or platform.machine(), has_network=has_network)
    read = partial(_read, unseal=unseal or unsealing(settings))
    return tuple(
        _rung(one, way, partial(_open, one, load, read), plan, missing) for one, way in _ordered(found, preferred)
    )


def open_first(rungs: Sequence[Rung[OpenedT]], model: str) -> tuple[int, OpenedT, tuple[Refusal, ...]]:
    """Open the first rung that works; give its number, what it gave, and why those before it were refused.

    Args:
        rungs: The ladder, best first.
        model: What to call it in messages.

    Raises:
        ConfigError: A label is none of the model's.
        ModelError: None works, and one at least is broken; each is told with its reason.
        UnavailableError: None works, and one at least hangs or crashes; likewise.
        UnsupportedError: None works on this machine; likewise.
    """
    refused: list[Refusal] = []
    errors: list[_Reason] = []
    for at, rung in enumerate(rungs):
        if missing := rung.missing():
            refused.append(Refusal(rung.file, missing, is_expected=True))
            continue
        try:
            return at, rung.open(), tuple(refused)
        except (ModelError, UnavailableError, UnsupportedError) as error:
            errors.append(error)
            is_suspect = isinstance(error, UnavailableError)
            why = " ".join(str(error).split())
            refused.append(Refusal(rung.file, why, is_expected=False, is_suspect=is_suspect))
    raise _nothing(model, refused, errors)


def _loader(settings: ModelSettings, min_score: float | None, *, every_class: bool = False) -> "Loader[AnyModel]":
    def load(located: LocatedModel, plan: Plan) -> AnyModel:
        return load_model(
            located,
            threads=settings.threads,
            min_score=settings.min_score if min_score is None else min_score,
            labels=settings.labels,
            every_class=every_class,
            plan=plan,
        )

    return load


def _rung(
    found: FoundModel,
    way: Way | None,
    open_with: Callable[[Plan], OpenedT],
    plan: Plan,
    missing: Callable[[FoundModel], str],
) -> Rung[OpenedT]:
    own = plan if way is None else way.plan(found.artifact, plan)
    return Rung(_name(found), partial(missing, found), partial(open_with, own), partial(open_with, _apart(own)))


def _open(rung: FoundModel, load: "Loader[OpenedT]", read: Callable[[FoundModel], LocatedModel], plan: Plan) -> OpenedT:
    return load(read(rung), plan)


def _apart(plan: Plan) -> Plan:
    """Give the plan for what hung or crashed: in a process of its own, unless the owner says never."""
    if plan.watch is None or plan.watch.isolate != "auto":
        return plan
    return replace(plan, watch=replace(plan.watch, isolate="always"))


def _ordered(rungs: Sequence[FoundModel], preferred: Preference | None) -> list[tuple[FoundModel, Way | None]]:
    """Give the rungs, the preferred one first; it also stays in its place, there to be tried as its manifest says.

    What is for one process is there once: tried again beside itself, it would find its accelerator taken.
    """
    first = [(rung, preferred.way) for rung in rungs if preferred is not None and _name(rung) == preferred.file]
    moved = {_name(rung) for rung, _ in first if rung.artifact is not None and is_for_one_process(rung.artifact)}
    return [*first, *((rung, None) for rung in rungs if _name(rung) not in moved)]


def _is_there(rung: FoundModel) -> bool:
    return rung.weights is not None and rung.weights.is_file()


def _missing(rung: FoundModel, machine: str, *, has_network: bool) -> str:
    """Tell why a rung need not even be tried; nothing when it is to be."""
    if rung.artifact is not None and rung.artifact.format in RUN_BY_CAMERA and not has_network:
        return 'runs in a camera of kind "imx500", and this camera is none'
    unmet = rung.artifact.needs.unmet(machine) if rung.artifact is not None else ""
    return unmet or ("" if _is_there(rung) else f"is not in {rung.folder}")


def _read(rung: FoundModel, unseal: Unseal) -> LocatedModel:
    if rung.artifact is None:
        raise UnsupportedError(f"model {rung.manifest.name!r} has no weights")
    try:
        return read_artifact(rung.folder, rung.manifest, rung.artifact, unseal)
    except ConfigError as error:  # a file that cannot be read is the owner's to mend, but no reason to see nothing
        raise ModelError(str(error)) from error


def _name(rung: FoundModel) -> str:
    return rung.artifact.file if rung.artifact is not None else ""


def _nothing(model: str, refused: Sequence[Refusal], errors: Sequence[_Reason]) -> _Reason:
    if len(refused) == len(errors) == 1:
        return errors[0]
    lines = "\n  ".join(f"{one.file}: {one.why}" for one in refused)
    told = f"no artifact of model {model!r} works here:\n  {lines}"
    for kind in (ModelError, UnavailableError):
        if any(isinstance(error, kind) for error in errors):
            return kind(told)
    return UnsupportedError(told)
