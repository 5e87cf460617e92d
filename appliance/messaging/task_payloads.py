"""What messages say of pictures as a whole and of their pixels: pure builders, as in `payloads`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from appliance.core.events import LabelChange
from appliance.core.frame import Frame
from appliance.core.message import Message, Priority
from appliance.core.results import Classifications, Segmentation
from appliance.core.rle import encode_mask
from appliance.messaging import topics
from appliance.messaging.payloads import ModelInfo, model_told, nanoseconds

if TYPE_CHECKING:
    from appliance.messaging.contract import sights

MOST_MASK_BYTES: Final = 64 << 10  # of all masks of a message as JSON; a network's own borders need some kilobytes


def change_message(change: LabelChange, model: ModelInfo) -> Message:
    """Give the durable message that says that a camera's picture shows something else now."""
    body: sights.Change = {
        "model": model_told(model),
        "label": change.label,
        "class_id": change.class_id,
        "score": round(change.score, 4),
        "before": change.before,
        "lasted": round(change.lasted, 3),
        "width": change.width,
        "height": change.height,
    }
    return Message(
        topic=topics.changes(change.camera),
        body=body,
        durable=True,
        qos=1,
        priority=Priority.EVENT,
        camera=change.camera,
        time_ns=change.time_ns,
        mono_ns=change.mono_ns,
    )


def classification_message(
    frame: Frame,
    label: str | None,
    found: Classifications,
    *,
    labels: Sequence[str],
    model: ModelInfo,
    inference_ms: float,
) -> Message:
    """Give the retained message that says what a camera's picture shows as a whole.

    Args:
        frame: The last one; only its number, sizes and times are read.
        label: What it shows, by the last change; None: nothing that the model is sure of.
        found: The best labels of the calmed scores.
        labels: The model's labels by class id.
        model: The model that saw it.
        inference_ms: How long the model ran, in milliseconds.
    """
    ranked = zip(found.class_ids.tolist(), found.scores.tolist(), strict=True)
    told: list[sights.Ranked] = [
        {"label": labels[at], "class_id": at, "score": round(score, 4)} for at, score in ranked
    ]
    body: sights.Classification = {**_of_frame(frame, model, inference_ms), "label": label, "labels": told}
    return _message(topics.classification(frame.camera), frame, body, retain=True)


def segmentation_message(
    frame: Frame,
    shares: Mapping[str, float],
    zones: Mapping[str, Mapping[str, float]],
    *,
    model: ModelInfo,
    inference_ms: float,
) -> Message:
    """Give the retained message that says how much of the picture, and of each zone, the labels cover.

    Args:
        frame: The last one; only its number, sizes and times are read.
        shares: Of the picture, by label, 0..1.
        zones: The same for each zone.
        model: The model that saw it.
        inference_ms: How long the model ran, in milliseconds.
    """
    body: sights.Segmentation = {
        **_of_frame(frame, model, inference_ms),
        "shares": dict(shares),
        "zones": {name: dict(inside) for name, inside in zones.items()},
    }
    return _message(topics.segmentation(frame.camera), frame, body, retain=True)


def masks_message(
    frame: Frame,
    segmentation: Segmentation,
    wanted: NDArray[np.bool_],
    *,
    labels: Sequence[str],
    model: ModelInfo,
    inference_ms: float,
) -> Message:
    """Give the message with the masks of one frame, the largest first, as COCO's RLE; not durable, not retained.

    Those that do not fit into `MOST_MASK_BYTES` any more are left out, and named.

    Args:
        frame: Where it was seen; only its number, sizes and times are read.
        segmentation: Of the frame, perhaps smaller.
        wanted: Shape (labels,): those that are told of.
        labels: The model's labels by class id.
        model: The model that saw it.
        inference_ms: How long the model ran, in milliseconds.
    """
    counts = np.bincount(segmentation.class_ids.reshape(-1), minlength=len(labels))[: len(labels)]
    present = np.flatnonzero(wanted & (counts > 0))
    masks: list[sights.Mask] = []
    left_out: list[str] = []
    room = MOST_MASK_BYTES
    for at in present[np.argsort(-counts[present], kind="stable")].tolist():
        runs = encode_mask(segmentation.mask(at)).counts
        size = len(runs) + runs.count("\\")  # JSON writes it twice; the alphabet has no other such character
        if size > room:
            left_out.append(labels[at])
            continue
        room -= size
        share = round(float(counts[at]) / segmentation.class_ids.size, 4)
        masks.append({"label": labels[at], "class_id": at, "share": share, "counts": runs})
    body: sights.Masks = {
        **_of_frame(frame, model, inference_ms),
        "size": [int(side) for side in segmentation.class_ids.shape],
        "masks": masks,
        "left_out": left_out,
    }
    return _message(topics.masks(frame.camera), frame, body, retain=False)


def _of_frame(frame: Frame, model: ModelInfo, inference_ms: float) -> "sights.OfFrame":
    return {
        "model": model_told(model),
        "frame": frame.number,
        "width": frame.width,
        "height": frame.height,
        "inference_ms": round(inference_ms, 2),
    }


def _message(topic: str, frame: Frame, body: Mapping[str, Any], *, retain: bool) -> Message:
    return Message(
        topic=topic,
        body=body,
        retain=retain,
        qos=1 if retain else 0,
        camera=frame.camera,
        priority=Priority.DETAIL,
        time_ns=nanoseconds(frame.time),
        mono_ns=frame.mono_ns,
    )
