"""What a model sees in one frame: as a record, as a line for people, as a picture; for every task."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from appliance.core.frame import Frame
    from appliance.inference.classifier import Classifier
    from appliance.inference.detector import Detector
    from appliance.inference.opening import AnyModel
    from appliance.inference.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class Seen:
    """What there was to see in one frame.

    Attributes:
        fields: For a record: ``detections``, ``labels``, or ``shares``; JSON types only.
        words: For people.
        draw: Gives the frame's picture with it drawn in, shape (H, W, 3), BGR.
    """

    fields: dict[str, Any]
    words: str
    draw: "Callable[[], NDArray[np.uint8]]"


def see(model: "AnyModel", frame: "Frame", *, masks: bool = False) -> Seen:
    """Run a model on a frame.

    Args:
        model: Open.
        frame: The frame.
        masks: Of a segmentation network: give the masks too.

    Raises:
        ModelError: The model could not be run, or gave nonsense.
    """
    from appliance.inference.detector import Detector

    if isinstance(model, Detector):
        return _see_objects(model, frame)
    from appliance.inference.classifier import Classifier

    if isinstance(model, Classifier):
        return _see_labels(model, frame)
    return _see_pixels(model, frame, masks=masks)


def _see_objects(detector: "Detector", frame: "Frame") -> Seen:
    from appliance.diagnostics.annotate import annotate

    found, labels = detector.detect(frame), detector.manifest.labels
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
    told = [
        {
            "label": labels[class_id],
            "class_id": class_id,
            "score": round(score, 5),
            "box": [round(value, 2) for value in box],
        }
        for box, score, class_id in rows
    ]
    return Seen({"detections": told}, _scored(told), lambda: annotate(frame, found, labels))


def _see_labels(classifier: "Classifier", frame: "Frame") -> Seen:
    from appliance.diagnostics.annotate import annotate_labels

    found, labels = classifier.classify(frame), classifier.manifest.labels
    told = [
        {"label": labels[class_id], "class_id": class_id, "score": round(score, 5)}
        for score, class_id in zip(found.scores.tolist(), found.class_ids.tolist(), strict=True)
    ]
    return Seen({"labels": told}, _scored(told), lambda: annotate_labels(frame, found, labels))


def _see_pixels(segmenter: "Segmenter", frame: "Frame", *, masks: bool) -> Seen:
    import numpy as np

    from appliance.core.rle import encode_mask
    from appliance.diagnostics.annotate import annotate_pixels
    from appliance.inference.segmentation import shares

    seen, labels = segmenter.segment(frame), segmenter.manifest.labels
    covered = shares(seen, len(labels))
    present = np.flatnonzero(segmenter.wanted & (covered > 0))
    largest = present[np.argsort(-covered[present], kind="stable")].tolist()
    fields: dict[str, Any] = {"shares": {labels[at]: round(float(covered[at]), 5) for at in largest}}
    if masks:
        fields["size"] = list(seen.class_ids.shape)
        fields["masks"] = [
            {"label": labels[at], "class_id": at, "counts": encode_mask(seen.mask(at)).counts} for at in largest
        ]
    words = ", ".join(f"{label} {share:.1%}" for label, share in fields["shares"].items()) or "nothing"
    return Seen(fields, words, lambda: annotate_pixels(frame, seen, labels, segmenter.wanted))


def _scored(told: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['label']} {one['score']:.2f}" for one in told) or "nothing"
