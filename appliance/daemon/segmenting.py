"""One camera's way from frames to messages with a segmentation network: whose pixels, how many, tell what is new."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.config import AnyCamera, Settings, check_places
from appliance.core.frame import Frame
from appliance.core.latest import Latest
from appliance.core.message import Message
from appliance.core.results import Segmentation
from appliance.daemon.frames import FramePipeline, Looking, without_picture
from appliance.inference.opened import wanted_labels
from appliance.inference.segmentation import polygon_region, shares, shares_by_zone
from appliance.messaging.payloads import ModelInfo
from appliance.messaging.task_payloads import masks_message, segmentation_message
from appliance.tracking.shares import Shares

LONGEST: Final = 640  # pixels of the longer side in which shares are counted and masks told: 230 kB for each zone

log = logging.getLogger(__name__)


class Segmenting(Looking, Protocol):
    """What is needed of a segmentation network (inference.segmenter.Segmenter, and the one that climbs, fit)."""

    def segment(self, frame: Frame, longest: int | None = None) -> Segmentation:
        """Give what each pixel belongs to, of a picture whose longer side has at most `longest` pixels."""


class SegmentingPipeline(FramePipeline):
    """The pipeline of a segmentation network, see `FramePipeline`; owns the network and the shares.

    Args:
        camera: The camera's name in the configuration.
        slot: Where frames come from.
        source_ended: Set when no frame will ever come again.
        segmenter: Open, used by this thread alone.
        labels: The model's labels.
        wanted: Shape (labels,): those that are told of.
        zones: Corners of each zone, shape (K, 2), 0..1 of the picture.
        zones_wanted: Shape (labels,) for each zone: those that count there.
        step: A share that has changed by so much is told, 0..1.
        has_masks: Masks are told too.
        model: What messages say of the model.
        interval: Least seconds between two messages of a kind; 0: every frame.
        lost_after: Seconds without a frame after which nothing covers anything any more.
        publish: Takes a message; never blocks.
    """

    def __init__(
        self,
        *,
        camera: str,
        slot: Latest[Frame],
        source_ended: threading.Event,
        segmenter: Segmenting,
        labels: tuple[str, ...],
        wanted: NDArray[np.bool_],
        zones: Mapping[str, NDArray[np.float64]],
        zones_wanted: Mapping[str, NDArray[np.bool_]],
        step: float,
        has_masks: bool,
        model: ModelInfo,
        interval: float,
        lost_after: float,
        publish: Callable[[Message], None],
    ) -> None:
        super().__init__(camera=camera, slot=slot, source_ended=source_ended, opened=segmenter, model=model)
        self._segmenter, self._labels, self._wanted = segmenter, labels, wanted
        self._polygons, self._has_masks = zones, has_masks
        self._interval, self._lost = interval, lost_after
        self._publish = publish
        self._shares = Shares(labels, wanted, zones_wanted, step)
        self._regions: dict[str, NDArray[np.bool_]] = {}
        self._size: tuple[int, ...] = ()  # of the regions
        self._last: Frame | None = None  # without its picture
        self._shares_at = self._masks_at = float("-inf")
        self._sight: Mapping[str, Any] = {"shares": {}}

    @property
    def sight(self) -> Mapping[str, Any]:
        """The shares of the picture as they were told last."""
        return self._sight

    @property
    def _lost_after(self) -> float:
        return self._lost

    def _look(self, frame: Frame) -> None:
        segmentation = self._segmenter.segment(frame, LONGEST)
        self._last = without_picture(frame)
        now = time.monotonic()
        if now - self._shares_at >= self._interval:
            self._tell_shares(segmentation, self._last, now)
        if self._has_masks and now - self._masks_at >= self._interval:
            self._masks_at = now
            model, took = self._in_service(), self._segmenter.last_inference_ms
            told = masks_message(frame, segmentation, self._wanted, labels=self._labels, model=model, inference_ms=took)
            self._publish(told)

    def _tell_shares(self, segmentation: Segmentation, frame: Frame, now: float) -> None:
        size = segmentation.class_ids.shape
        if size != self._size:
            self._size = size
            self._regions = {
                name: polygon_region(corners, size[1], size[0]) for name, corners in self._polygons.items()
            }
        classes = len(self._labels)
        told = self._shares.step(shares(segmentation, classes), shares_by_zone(segmentation, classes, self._regions))
        if told is not None:
            self._shares_at = now
            self._publish_shares(told, frame)

    def _end(self) -> None:
        told = self._shares.finish()
        if told is not None and self._last is not None:
            self._publish_shares(told, self._last)

    def _publish_shares(self, told: tuple[dict[str, float], dict[str, dict[str, float]]], frame: Frame) -> None:
        picture, zones = told
        self._sight = {"shares": picture}
        model, took = self._in_service(), self._segmenter.last_inference_ms
        self._publish(segmentation_message(frame, picture, zones, model=model, inference_ms=took))


def segmenting(
    name: str,
    camera: AnyCamera,
    segmenter: Segmenting,
    *,
    settings: Settings,
    model: ModelInfo,
    slot: Latest[Frame],
    source_ended: threading.Event,
    publish: Callable[[Message], None],
    **_: Any,
) -> SegmentingPipeline:
    """Build the pipeline of the camera `name` for a segmentation network; see `SegmentingPipeline` and `build_chain`.

    Raises:
        ConfigError: A zone is for a label that is neither one of the model's nor a group.
    """
    manifest = segmenter.manifest
    vocabulary = manifest.vocabulary
    check_places(name, camera.zones, camera.lines, vocabulary)
    if camera.lines:
        log.warning("[cameras.%s] lines have no meaning for %s, which segments", name, model.name)
    return SegmentingPipeline(
        camera=name,
        slot=slot,
        source_ended=source_ended,
        segmenter=segmenter,
        labels=manifest.labels,
        wanted=wanted_labels(manifest, settings.model.labels),
        zones={zone: np.array(place.points, np.float64) for zone, place in camera.zones.items()},
        zones_wanted={zone: np.array(vocabulary.wanted(place.labels)) for zone, place in camera.zones.items()},
        step=settings.messaging.share_step,
        has_masks=settings.messaging.masks,
        model=model,
        interval=settings.messaging.detections_interval,
        lost_after=settings.tracking.lost_after,
        publish=publish,
    )
