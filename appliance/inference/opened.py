"""A model that is loaded and warm, whatever its task: what `Detector`, `Classifier` and `Segmenter` have in common."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, EdgecamError, ModelError
from appliance.core.frame import Frame
from appliance.core.manifest import ModelManifest
from appliance.core.providers import Delegate, default_provider
from appliance.inference.artifacts import LocatedModel, ResolvedModel, identify
from appliance.inference.preprocess import Letterbox, Preprocessor
from appliance.inference.running import Running
from appliance.inference.runtimes import NO_PLAN, Plan, fits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from appliance.inference.runtimes import Session

T_co = TypeVar("T_co", covariant=True)


class OpenModel:
    """A file of weights in its runtime, with the preprocessing before it and a check behind it. Used by one thread.

    Args:
        model: What the loaded file is.
        session: The loaded file; closed by `close`.
        running: What it runs on; None: nobody knows.

    Attributes:
        manifest: What the model is.
        path: The file of weights.
        digest: SHA-256 of its weights, 64 hexadecimal digits.
        running: What it runs on.
        min_score: Lowest score of what it gives, 0..1; 0 where it gives no scores.
        last_inference_ms: Milliseconds that the model itself took for the last frame.
        last_total_ms: Milliseconds from the frame to what was found in it.
    """

    def __init__(self, model: ResolvedModel, session: "Session", running: Running | None = None) -> None:
        self.manifest: ModelManifest = model.manifest
        self.path = model.path
        self.digest = model.sha256
        self.running = running or Running(model.path.name, model.format, ())
        self.min_score = 0.0
        self.last_inference_ms = 0.0
        self.last_total_ms = 0.0
        self._order = model.binding.outputs
        self._session = session
        self._preprocessor = Preprocessor(self.manifest.input)
        self._inputs = {model.binding.input: self._preprocessor.tensor}
        for one in model.binding.constants:
            self._inputs[one.name] = np.array(one.values, one.dtype).reshape(one.shape)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the model; a second call does nothing."""
        self._session.close()

    def _write(self, frame: Frame) -> Letterbox:
        """Scale a frame into the model's input and tell where it lies."""
        return self._preprocessor.write(frame)

    def _run(self, inputs: "Mapping[str, NDArray[Any]]") -> "list[NDArray[Any]]":
        """Run the model and give its outputs in the order of the signature.

        Args:
            inputs: By name; `_inputs` holds what was written last.

        Raises:
            ModelError: It could not be run, or gave other outputs than the file promised.
            UnavailableError: It is watched, and did not answer in time, or its process died.
        """
        started = time.perf_counter()
        outputs = self._session.run(inputs)
        self.last_inference_ms = (time.perf_counter() - started) * 1e3
        self._check(outputs)
        return [outputs[at] for at in self._order]

    def _check(self, outputs: "Sequence[NDArray[Any]]") -> None:
        """Look whether they are the outputs that the file promised; what reads them would stumble over others.

        Raises:
            ModelError: They are not.
        """
        promised = self._session.outputs
        if len(outputs) != len(promised):
            raise ModelError(f"{self.path} gave {len(outputs)} outputs for {len(promised)}; it is broken")
        for spec, output in zip(promised, outputs, strict=True):
            if not fits(spec.shape, output.shape):
                raise ModelError(f"{self.path} gave {output.shape} for {spec}; it or its runtime is broken")


class Maker(Protocol[T_co]):
    """Makes of a loaded file what looks at frames; `Detector` and its kind are such."""

    def __call__(self, model: ResolvedModel, session: "Session", *, running: Running) -> T_co:
        """Make it; what is raised is raised to whoever opens the file."""


def open_file(located: LocatedModel, make: Maker[T_co], *, threads: int = 1, plan: Plan = NO_PLAN) -> T_co:
    """Load a model whose file was read and checked, find out what it is, and make of it what looks at frames.

    Args:
        located: The file.
        make: Gets what it is, and the session, which is closed again where it raises.
        threads: CPU threads of one inference.
        plan: What is to run it, in place of what the manifest says where it says anything.

    Raises:
        ConfigError: A label is neither one of the model's nor a group.
        ModelError: The file is broken, or does not fit exactly one manifest.
        UnavailableError: It is watched, and did not answer in time, or its process died.
        UnsupportedError: The runtime for its format is not installed here, or nothing that may run it does so here.
    """
    session = located.open(threads, plan)
    try:
        model = identify(located, session.inputs, session.outputs)
        isolated = getattr(session, "is_isolated", False)  # runtimes' own sessions know of no such thing
        running = Running(model.path.name, model.format, session.placements, session.shortfalls, is_isolated=isolated)
        return make(model, session, running=running)
    except EdgecamError:
        session.close()
        raise


def plan_of(settings: ModelSettings, cache: Path | None = None) -> Plan:
    """Give what the owner asked for, which goes before what the manifest says.

    Args:
        settings: The ``[model]`` section.
        cache: Folder for what a provider compiles for this machine; None: nothing is kept.
    """
    return Plan(
        providers=tuple(default_provider(name) for name in settings.providers),
        delegate=Delegate(library=settings.delegate, options={}) if settings.delegate else None,
        cache=cache,
    )


def wanted_labels(manifest: ModelManifest, labels: tuple[str, ...]) -> NDArray[np.bool_]:
    """Tell for each label of a model, by class id, whether it is wanted; shape (labels,).

    Args:
        manifest: The model's.
        labels: Labels and groups that were asked for; empty: all. The background is never wanted.

    Raises:
        ConfigError: One is neither a label of the model's nor a group.
    """
    vocabulary = manifest.vocabulary
    if unknown := vocabulary.unknown(labels):
        raise ConfigError(
            f"[model] labels: {', '.join(map(repr, unknown))} not known to {manifest.name!r}; "
            f"accepted: {vocabulary.described()}"
        )
    wanted = np.array(vocabulary.wanted(labels))
    if manifest.background is not None:
        wanted[manifest.labels.index(manifest.background)] = False
    return wanted
