"""Opens a file of weights as what its manifest's task says: a detector, a classifier or a segmentation network."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from appliance.core.errors import UnsupportedError
from appliance.core.registry import load
from appliance.inference.artifacts import LocatedModel, ResolvedModel
from appliance.inference.opened import open_file
from appliance.inference.running import Running
from appliance.inference.runtimes import NO_PLAN, RUN_BY_CAMERA, Plan

if TYPE_CHECKING:
    from appliance.inference.classifier import Classifier
    from appliance.inference.detector import Detector
    from appliance.inference.runtimes import Session
    from appliance.inference.segmenter import Segmenter

AnyModel: TypeAlias = "Detector | Classifier | Segmenter"

MODELS: Final = {
    "detect": "appliance.inference.detector:Detector",
    "classify": "appliance.inference.classifier:Classifier",
    "segment": "appliance.inference.segmenter:Segmenter",
}
"""What looks at frames, by task; the class is imported when a model of that task is opened."""


def load_model(
    located: LocatedModel,
    *,
    threads: int = 1,
    min_score: float | None = None,
    labels: tuple[str, ...] = (),
    every_class: bool = False,
    plan: Plan = NO_PLAN,
) -> AnyModel:
    """Load and warm up a model whose file was read and checked, as its task says; `manifest.task` tells which.

    Args:
        located: The file.
        threads: CPU threads of one inference.
        min_score: Lowest score of a detection or a label, 0..1; None: the manifest's own.
        labels: Only these, or the labels of these groups; empty: all the model knows.
        every_class: Of a detector: give every class of a place.
        plan: What is to run it, in place of what the manifest says where it says anything.

    Raises:
        ConfigError: A label is neither one of the model's nor a group.
        ModelError: The file is broken, or does not fit exactly one manifest.
        UnavailableError: It is watched, and did not answer in time, or its process died.
        UnsupportedError: The runtime for its format is not installed here, nothing that may run it does so here, or
            it is to run in a camera and is no detector.
    """
    wishes: dict[str, dict[str, Any]] = {
        "detect": {"min_score": min_score, "labels": labels, "every_class": every_class},
        "classify": {"min_score": min_score, "labels": labels},
        "segment": {"labels": labels},
    }
    return open_file(located, partial(_make, wishes), threads=threads, plan=plan)


def _make(wishes: dict[str, dict[str, Any]], model: ResolvedModel, session: "Session", *, running: Running) -> AnyModel:
    task = model.manifest.task
    if model.format in RUN_BY_CAMERA and task != "detect":
        raise UnsupportedError(f'{model.path} runs in a camera, which is for detectors; its task is "{task}"')
    kind = load(MODELS, task, f"manifest {model.manifest.name!r}: task")
    opened: AnyModel = kind(model, session, running=running, **wishes[task])
    return opened
