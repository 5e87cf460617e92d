"""One camera's chain: camera, slot, model, messages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.cameras import make_camera
from appliance.config import AnyCamera, Settings
from appliance.core.clock import Clock
from appliance.core.events import Event, LabelChange
from appliance.core.frame import Frame  # noqa: TC001 - read as what the slot holds
from appliance.core.health import HealthBoard
from appliance.core.latest import Latest
from appliance.core.message import Message
from appliance.core.registry import load
from appliance.daemon.camera import CameraWorker, frame_timeout
from appliance.daemon.frames import FramePipeline
from appliance.daemon.pipeline import Pipeline
from appliance.inference.detector import Detector
from appliance.inference.opening import AnyModel
from appliance.messaging.payloads import ModelInfo, status_message
from appliance.tracking.scene import Scene

PIPELINES: Final = {
    "classify": "appliance.daemon.classifying:classifying",
    "segment": "appliance.daemon.segmenting:segmenting",
}
"""What builds the pipeline of a model that is no detector, by task; imported only for such a model."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The two workers of one camera."""

    camera: CameraWorker
    pipeline: FramePipeline


def build_chain(
    name: str,
    camera: AnyCamera,
    model: AnyModel,
    *,
    settings: Settings,
    run: str,
    is_end_expected: bool,
    clock: Clock,
    board: HealthBoard,
    publish: Callable[[Message], None],
    tell: Callable[[Event | LabelChange, Message], None],
) -> Chain:
    """Build the chain of the camera `name`.

    Args:
        name: The camera's name in the configuration.
        camera: Its section.
        model: Open, for this chain alone; its task decides what comes behind it.
        settings: The whole configuration.
        is_end_expected: The end of the source is no trouble.
        run: Different for every start of the daemon; part of objects' ids.
        clock: Stamps frames.
        board: Health board.
        publish: Takes a message; never blocks.
        tell: Takes an event and its message, for people who look on.

    Raises:
        ConfigError: A zone or line is for a label that is neither one of the model's nor a group.
    """
    slot: Latest[Frame] = Latest()
    worker = CameraWorker(
        name=name,
        camera=make_camera(name, camera, clock),
        slot=slot,
        frame_timeout=frame_timeout(camera),
        on_state=lambda state, why: publish(status_message(name, state, why)),
        board=board,
        is_end_expected=is_end_expected,
    )
    where = {"slot": slot, "source_ended": worker.ended, "publish": publish, "tell": tell}
    if isinstance(model, Detector):
        return Chain(worker, _detecting(name, camera, model, settings=settings, run=run, where=where))
    build = load(PIPELINES, model.manifest.task, f"manifest {model.manifest.name!r}: task")
    chosen, own = settings.model.min_score, model.manifest.min_score
    least = own if chosen is None else chosen
    return Chain(
        worker, build(name, camera, model, settings=settings, min_score=least, model=model_info(model), **where)
    )


def _detecting(
    name: str, camera: AnyCamera, detector: Detector, *, settings: Settings, run: str, where: Mapping[str, Any]
) -> Pipeline:
    return Pipeline(
        camera=name,
        detector=detector,
        scene=_scene(name, camera, detector, settings, run),
        labels=detector.manifest.labels,
        model=model_info(detector),
        min_score=_min_score(detector, settings),
        detections_interval=settings.messaging.detections_interval,
        **where,
    )


def model_info(model: AnyModel) -> ModelInfo:
    """Give what messages say of a model."""
    return ModelInfo(model.manifest.name, model.manifest.version, model.digest)


def _scene(name: str, camera: AnyCamera, detector: Detector, settings: Settings, run: str) -> Scene:
    tracking = settings.tracking
    high_score = _min_score(detector, settings) if tracking.high_score is None else tracking.high_score
    return Scene(
        name, detector.manifest.vocabulary, tracking, camera.zones, camera.lines, high_score=high_score, run=run
    )


def _min_score(detector: Detector, settings: Settings) -> float:
    chosen = settings.model.min_score
    return detector.manifest.decoder.min_score if chosen is None else chosen
