"""How far the artifacts of one network are from it: on the same pictures, detections and raw outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from appliance.inference.artifacts import LocatedModel, identify
from appliance.inference.detector import Detector
from appliance.inference.golden import GoldenObject, Tolerance, compare_golden
from appliance.inference.golden_objects import golden_objects, look
from appliance.inference.runtimes import Session
from appliance.workbench.noise import outputs_sqnr
from appliance.workbench.progress import with_progress
from appliance.workbench.recorder import Recorder

SURE: Final = 0.1
"""So much above the lowest score an object must be found; the golden frames' own default."""
ALIKE: Final = Tolerance(iou=0.5, score=0.3)
"""How far an object may be from the network's and be the same one: scores of 8 bits are coarse, and end early."""
Pictures = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Sight:
    """What one artifact makes of the pictures.

    Attributes:
        objects: By falling score, for each picture.
        outputs: The session's, for each picture.
        ms: Median time of an inference, milliseconds, without preparing the picture and decoding.
        min_score: Lowest score of an object.
    """

    objects: Mapping[str, tuple[GoldenObject, ...]]
    outputs: tuple[tuple[NDArray[Any], ...], ...]
    ms: float
    min_score: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one artifact compares with the network that it was made from.

    Attributes:
        expected: Objects that must be found: the network is sure of them.
        matched: Those that were found, in their place.
        unexpected: Objects that are not the network's.
        largest: For each output the largest difference.
        sqnr_db: Ratio of signal to noise over all outputs, dB; 200 where they are equal.
        ms: Median time of an inference, milliseconds.
    """

    expected: int
    matched: int
    unexpected: int
    largest: tuple[float, ...]
    sqnr_db: float
    ms: float

    @property
    def lost(self) -> float:
        """Share of the detections that are missing or wrong, 0..1 and above."""
        return (self.expected - self.matched + self.unexpected) / max(1, self.expected)


def see(located: LocatedModel, pictures: Pictures, session: Session, title: str) -> Sight:
    """Run a session on pictures as the device would, and keep what it gives.

    Args:
        located: The file, for its manifest.
        pictures: By name, shape (H, W, 3), BGR.
        session: That runs; is closed.
        title: Of the progress bar.

    Raises:
        ModelError: It cannot be run.
    """
    recorder = Recorder(session)
    try:
        detector = Detector(identify(located, recorder.inputs, recorder.outputs), recorder)
        objects: dict[str, tuple[GoldenObject, ...]] = {}
        outputs, times = [], []
        for name, image in with_progress(list(pictures.items()), title):
            objects[name] = golden_objects(detector, look(detector, image))
            outputs.append(tuple(np.array(one) for one in recorder.last))
            times.append(detector.last_inference_ms)
    finally:
        recorder.close()
    return Sight(objects, tuple(outputs), median(times), detector.min_score)


def compare_sights(expected: Sight, found: Sight, tolerance: Tolerance = ALIKE) -> Agreement:
    """Compare what an artifact makes of pictures with what its network does. Pure.

    An object that is not sure, less than `SURE` above the lowest score, may be missing or be there.

    Args:
        expected: The network's.
        found: The artifact's, of the same pictures.
        tolerance: How far an object may be from the network's and be the same.
    """
    least = expected.min_score + SURE
    required = sum(one.score >= least for objects in expected.objects.values() for one in objects)
    deviations = [
        deviation
        for name, objects in expected.objects.items()
        for deviation in compare_golden(name, objects, found.objects[name], tolerance, least)
    ]
    missing = sum(one.what == "missing" for one in deviations)
    return Agreement(
        expected=required,
        matched=required - missing,
        unexpected=len(deviations) - missing,
        largest=_largest(expected.outputs, found.outputs),
        sqnr_db=outputs_sqnr(expected.outputs, found.outputs),
        ms=found.ms,
    )


def _largest(expected: Sequence[Sequence[NDArray[Any]]], found: Sequence[Sequence[NDArray[Any]]]) -> tuple[float, ...]:
    pairs = zip(zip(*expected, strict=True), zip(*found, strict=True), strict=True)
    return tuple(float(np.abs(np.stack(wanted) - np.stack(got)).max()) for wanted, got in pairs)
