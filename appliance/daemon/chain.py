"""One camera's chain: camera, slot, model, messages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

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
from appliance.messaging.payloads import ModelInfo, status_message

if TYPE_CHECKING:
    from appliance.inference.climbing import AnyClimbing
    from appliance.inference.opening import AnyModel
    from appliance.inference.shared import AnyHandle

PIPELINES: Final = {
    "detect": "appliance.daemon.pipeline:detecting",
    "classify": "appliance.daemon.classifying:classifying",
    "segment": "appliance.daemon.segmenting:segmenting",
}
"""What builds the pipeline of a model, by its task; imported only for such a model."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The two workers of one camera."""

    camera: CameraWorker
    pipeline: FramePipeline


def build_chain(
    name: str,
    camera: AnyCamera,
    model: "AnyClimbing | AnyModel | AnyHandle",
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
        model: Open, for this chain alone, or its handle; the task decides what comes behind it.
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
    build = load(PIPELINES, model.manifest.task, f"manifest {model.manifest.name!r}: task")
    chosen = settings.model.min_score
    pipeline: FramePipeline = build(
        name,
        camera,
        model,
        settings=settings,
        min_score=model.manifest.min_score if chosen is None else chosen,
        model=model_info(model),
        run=run,
        slot=slot,
        source_ended=worker.ended,
        publish=publish,
        tell=tell,
    )
    return Chain(worker, pipeline)


def model_info(model: "AnyClimbing | AnyModel | AnyHandle") -> ModelInfo:
    """Give what messages say of a model."""
    return ModelInfo(model.manifest.name, model.manifest.version, model.digest)
