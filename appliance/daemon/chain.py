"""One camera's chain: camera, slot, detector, scene, messages."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.cameras import make_camera
from appliance.config import AnyCamera, Settings
from appliance.core.clock import Clock
from appliance.core.events import Event
from appliance.core.frame import Frame  # noqa: TC001 - read as what the slot holds
from appliance.core.health import HealthBoard
from appliance.core.latest import Latest
from appliance.core.message import Message
from appliance.daemon.camera import CameraWorker, frame_timeout
from appliance.daemon.pipeline import Pipeline
from appliance.inference.shared import OpenDetector
from appliance.messaging.payloads import ModelInfo, status_message
from appliance.tracking.scene import Scene


@dataclass(frozen=True, slots=True)
class Chain:
    """The two workers of one camera."""

    camera: CameraWorker
    pipeline: Pipeline


def build_chain(
    name: str,
    camera: AnyCamera,
    detector: OpenDetector,
    *,
    settings: Settings,
    run: str,
    is_end_expected: bool,
    clock: Clock,
    board: HealthBoard,
    publish: Callable[[Message], None],
    tell: Callable[[Event, Message], None],
) -> Chain:
    """Build the chain of the camera `name`.

    Args:
        name: The camera's name in the configuration.
        camera: Its section.
        detector: Open; a handle where cameras share one.
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
    manifest, min_score = detector.manifest, _min_score(detector, settings)
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
    pipeline = Pipeline(
        camera=name,
        slot=slot,
        source_ended=worker.ended,
        detector=detector,
        scene=_scene(name, camera, detector, settings, run),
        labels=manifest.labels,
        model=model_info(detector),
        min_score=min_score,
        detections_interval=settings.messaging.detections_interval,
        publish=publish,
        tell=tell,
    )
    return Chain(worker, pipeline)


def model_info(detector: OpenDetector) -> ModelInfo:
    """Give what messages say of a detector's model."""
    return ModelInfo(detector.manifest.name, detector.manifest.version, detector.digest)


def _scene(name: str, camera: AnyCamera, detector: OpenDetector, settings: Settings, run: str) -> Scene:
    tracking = settings.tracking
    high_score = _min_score(detector, settings) if tracking.high_score is None else tracking.high_score
    return Scene(
        name, detector.manifest.vocabulary, tracking, camera.zones, camera.lines, high_score=high_score, run=run
    )


def _min_score(detector: OpenDetector, settings: Settings) -> float:
    chosen = settings.model.min_score
    return detector.manifest.decoder.min_score if chosen is None else chosen
