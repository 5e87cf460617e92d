"""How far two ways of running a model agree. Pure.

Of classifications: the share of pictures with the same best label; a picture counts when either side is sure of it.

Of label maps: the share of pixels with the same label; a pixel counts when either side has a label there.

Of detections: the share of objects, of both sides, that the other side has too: same label, boxes that overlap by an
IoU of 0.5. An object within `NEAR` of the lowest score may be missing: it would be the threshold that disagrees.

Of tensors: the cosine of the angle between them, or the share of numbers that are the same where they are whole, as
class ids are. Where there are several outputs, the one that agrees least counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from appliance.core.boxes import overlap
from appliance.inference.golden import GoldenObject

MATCH_IOU = 0.5  # as COCO's AP50 counts an object as found
NEAR = 0.1  # of the lowest score; as golden frames tolerate
Objects = Sequence[Sequence[GoldenObject]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """A figure and what it is of.

    Attributes:
        of: ``objects`` found, best ``labels``, ``pixels``; ``tensors`` where no decoder is known or nothing was found.
        value: 0..1, 1: they agree.
        compared: Objects of both sides, pictures, pixels, or numbers of the reference.
        difference: Of objects and labels, the mean difference of the scores of those that both have; of pixels 0; of
            tensors, the largest difference over the largest magnitude of the reference.
    """

    of: Literal["objects", "labels", "pixels", "tensors"]
    value: float
    compared: int
    difference: float

    def __str__(self) -> str:
        if self.of == "objects":
            return f"{self.value:.2f} of {self.compared} objects, scores differ by {self.difference:.3f}"
        if self.of == "labels":
            what = f"the best labels of {self.compared} pictures"
            return f"{self.value:.2f} of {what}, scores differ by {self.difference:.3f}"
        if self.of == "pixels":
            return f"{self.value:.3f} of {self.compared} pixels"
        return f"{self.value:.4f} of raw outputs, largest difference {self.difference:.2g}"


def of_objects(reference: Objects, found: Objects, min_score: float) -> Agreement | None:
    """Compare what was found in the same pictures; None: neither found anything that counts.

    Args:
        reference: For each picture its objects by falling score.
        found: Likewise.
        min_score: Lowest score of a detection.
    """
    counted = missing = 0
    differences: list[float] = []
    for expected, given in zip(reference, found, strict=True):
        pairs = match(expected, given)
        differences += [abs(expected[first].score - given[second].score) for first, second in pairs]
        for objects, taken in ((expected, {a for a, _ in pairs}), (given, {b for _, b in pairs})):
            certain = [at for at, one in enumerate(objects) if one.score >= min_score + NEAR]
            counted += len(certain)
            missing += sum(at not in taken for at in certain)
    if not counted:
        return None
    mean = sum(differences) / len(differences) if differences else 0.0
    return Agreement("objects", 1.0 - missing / counted, counted, mean)


def of_labels(reference: NDArray[Any], given: NDArray[Any], min_score: float) -> Agreement | None:
    """Compare what two classifiers say of the same pictures; None: neither is sure of any, or they have other labels.

    Args:
        reference: For each picture the score of each label, shape (pictures, labels).
        given: Likewise.
        min_score: Lowest score of a label that is told.
    """
    if reference.shape != given.shape:
        return None
    counted = same = 0
    differences: list[float] = []
    for expected, found in zip(reference, given, strict=True):
        if max(expected.max(), found.max()) < min_score + NEAR:
            continue
        counted += 1
        best = int(expected.argmax())
        if best == int(found.argmax()):
            same += 1
            differences.append(abs(float(expected[best]) - float(found[best])))
    if not counted:
        return None
    return Agreement("labels", same / counted, counted, sum(differences) / len(differences) if differences else 0.0)


def of_pixels(reference: Sequence[NDArray[Any]], given: Sequence[NDArray[Any]]) -> Agreement | None:
    """Compare label maps of the same pictures; None: neither has a label anywhere, or they are of other sizes.

    Args:
        reference: For each picture a map of class ids, shape (rows, columns); below 0: nothing that is told.
        given: Likewise.
    """
    if not _are_alike(reference, given):
        return None
    counted = sum(int(((a >= 0) | (b >= 0)).sum()) for a, b in zip(reference, given, strict=True))
    same = sum(int(((a >= 0) & (a == b)).sum()) for a, b in zip(reference, given, strict=True))
    return Agreement("pixels", same / counted, counted, 0.0) if counted else None


def _are_alike(reference: Sequence[NDArray[Any]], given: Sequence[NDArray[Any]]) -> bool:
    return bool(reference) and [one.shape for one in reference] == [one.shape for one in given]


def match(expected: Sequence[GoldenObject], given: Sequence[GoldenObject]) -> list[tuple[int, int]]:
    """Give pairs of positions: each expected object takes the free one of its label that overlaps it best."""
    if not expected or not given:
        return []
    overlaps = overlap(np.array([one.box for one in expected]), np.array([one.box for one in given]))
    pairs = []
    for at, one in enumerate(expected):
        fitting = [
            (overlaps[at, other], other)
            for other in range(len(given))
            if given[other].label == one.label and overlaps[at, other] >= MATCH_IOU
        ]
        if fitting:
            best = max(fitting)[1]
            pairs.append((at, best))
            overlaps[:, best] = 0.0  # it is taken
    return pairs


def of_tensors(reference: Sequence[NDArray[Any]], given: Sequence[NDArray[Any]]) -> Agreement | None:
    """Compare the outputs for the same picture; None: they are of other shapes, so that nothing can be compared."""
    if [one.shape for one in reference] != [one.shape for one in given]:
        return None
    values, differences = [], []
    for first, second in zip(reference, given, strict=True):
        a, b = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
        lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
        if first.dtype.kind in "iub" or lengths == 0.0:
            values.append(float(np.mean(a == b)) if a.size else 1.0)
        else:
            values.append(float(a @ b) / lengths)
        largest = float(np.abs(a).max(initial=0.0)) or 1.0
        differences.append(float(np.abs(a - b).max(initial=0.0)) / largest)
    if not np.isfinite([*values, *differences]).all():
        return Agreement("tensors", 0.0, sum(one.size for one in reference), 1.0)
    value = max(0.0, min(1.0, min(values, default=1.0)))
    return Agreement("tensors", value, sum(one.size for one in reference), max(differences, default=0.0))
