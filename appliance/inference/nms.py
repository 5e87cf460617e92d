"""Of detections that overlap and are of one class, the best stays."""

import cv2
import numpy as np

from appliance.core.results import Detections

MOST_CANDIDATES = 1000  # best first; what is below them is noise, and the work grows with the square


def suppress(detections: Detections, iou: float, most: int) -> Detections:
    """Give the detections that stay, sorted by falling score.

    Greedy non-maximum suppression within each class.

    Args:
        detections: In any order.
        iou: Overlap (intersection over union) above which the lower score goes.
        most: How many may stay at the most.
    """
    if len(detections) <= 1:
        return detections
    placed = np.empty((len(detections), 4))
    np.copyto(placed[:, :2], detections.boxes[:, :2])
    np.subtract(detections.boxes[:, 2:], detections.boxes[:, :2], out=placed[:, 2:])
    # each class in a place of its own, farther apart than any two boxes: classes cannot overlap
    spread = float(detections.boxes.max()) - float(detections.boxes.min()) + 1.0
    placed[:, 0] += detections.class_ids * spread
    kept = cv2.dnn.NMSBoxes(placed, detections.scores, 0.0, iou, top_k=MOST_CANDIDATES)  # type: ignore[arg-type]  # takes arrays
    return detections.select(np.asarray(kept, np.intp)[:most])
