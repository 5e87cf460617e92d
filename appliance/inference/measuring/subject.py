"""What is timed: a model as its task says, from the picture to what it tells, or a bare session."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.manifest import TensorSpec
from appliance.inference.artifacts import LocatedModel, ResolvedModel, identify
from appliance.inference.classifier import Classifier
from appliance.inference.detector import Detector
from appliance.inference.golden import GoldenObject, frame_of
from appliance.inference.golden_objects import golden_objects, look
from appliance.inference.runtimes import OpenedSession
from appliance.inference.segmenter import Segmenter

OPEN_SIDE: Final = 224  # pixels, for a picture's side that a bare file leaves open
LONGEST: Final = 512  # pixels of a label map's longer side that are compared
NOTHING: Final = -1  # in a label map: the background, and what is not told of

Image = NDArray[np.uint8]
Objects = tuple[tuple[GoldenObject, ...], ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is timed.

    Attributes:
        run: Takes a picture, gives the milliseconds of the session.
        tell: Gives arrays for some pictures: of a classifier one, shape (pictures, labels), of the scores; of a
            segmentation network a label map for each; else the session's outputs for the first one.
        find: Gives what a detector finds in some pictures; of others nothing.
        facts: For the answer.
    """

    run: Callable[[Image], float]
    tell: Callable[[Sequence[Image]], Sequence[NDArray[Any]]]
    find: Callable[[Sequence[Image]], Objects]
    facts: Mapping[str, Any]


def open_subject(located: LocatedModel, session: OpenedSession) -> Subject:
    """Give what is to be timed of an open file.

    Raises:
        ModelError: It is not what it was said to be, or cannot be run.
    """
    tap = _Tap(session)
    try:
        model = identify(located, session.inputs, session.outputs)
    except ModelError:
        if located.artifact is not None or len(located.candidates) == 1:
            raise  # it was said what it is
        return _bare(tap, guess_task(session.outputs))
    task, spec = str(model.manifest.task), model.manifest.input
    facts = {"model": model.manifest.name, "task": task, "input": (spec.width, spec.height)}
    kinds = {"detect": _detector, "classify": _classifier, "segment": _segmenter}
    return kinds[task](model, tap, facts)


class _Tap:
    """A session that keeps its last outputs."""

    def __init__(self, session: OpenedSession) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self.run_session, self.close = session.run, session.close
        self.last: Sequence[NDArray[Any]] = ()

    def run(self, inputs: Any) -> Sequence[NDArray[Any]]:
        """Run the session once; see `Session.run`."""
        self.last = self.run_session(inputs)
        return self.last


def _detector(model: ResolvedModel, tap: _Tap, facts: dict[str, Any]) -> Subject:
    detector = Detector(model, tap)

    def run(image: Image) -> float:
        look(detector, image)
        return detector.last_inference_ms

    def tell(pictures: Sequence[Image]) -> Sequence[NDArray[Any]]:
        run(pictures[0])
        return tap.last

    def find(pictures: Sequence[Image]) -> Objects:
        return tuple(golden_objects(detector, look(detector, image)) for image in pictures)

    return Subject(run, tell, find, facts | {"min_score": detector.min_score})


def _classifier(model: ResolvedModel, tap: _Tap, facts: dict[str, Any]) -> Subject:
    classifier = Classifier(model, tap)

    def run(image: Image) -> float:
        classifier.classify(frame_of(image))
        return classifier.last_inference_ms

    def scores(image: Image) -> NDArray[Any]:
        every = classifier.scores(frame_of(image))
        ranked = classifier.rank(every, min_score=0.0, most=len(every))
        told = np.zeros_like(every)
        told[ranked.class_ids] = ranked.scores
        return told

    facts |= {"min_score": classifier.min_score}
    return Subject(run, lambda pictures: [np.stack([scores(one) for one in pictures])], lambda _: (), facts)


def _segmenter(model: ResolvedModel, tap: _Tap, facts: dict[str, Any]) -> Subject:
    segmenter = Segmenter(model, tap)

    def run(image: Image) -> float:
        segmenter.segment(frame_of(image))
        return segmenter.last_inference_ms

    def label_map(image: Image) -> NDArray[Any]:
        class_ids = segmenter.segment(frame_of(image), LONGEST).class_ids
        return np.where(segmenter.wanted[class_ids], class_ids.astype(np.int16), np.int16(NOTHING))

    return Subject(run, lambda pictures: [label_map(one) for one in pictures], lambda _: (), facts)


def _bare(tap: _Tap, task: str) -> Subject:
    """Time a session with input of the right shape: a picture where it takes one, else zeros."""

    def run(image: Image) -> float:
        inputs = {spec.name: fill(spec, image) for spec in tap.inputs}
        started = time.perf_counter()
        tap.run(inputs)
        return (time.perf_counter() - started) * 1e3

    def tell(pictures: Sequence[Image]) -> Sequence[NDArray[Any]]:
        run(pictures[0])
        return tap.last

    return Subject(run, tell, lambda _: (), {"task": task})


def fill(spec: TensorSpec, image: Image) -> NDArray[Any]:
    """Give an input of the shape and type that a file asks for.

    Args:
        spec: Of the input; an axis that is left open is 1, or 224 where it is a side of a picture.
        image: Shape (H, W, 3), BGR; scaled into an input that takes a picture, to -1..1 where that is of floats.
    """
    shape = list(spec.shape)
    is_nhwc = len(shape) == 4 and shape[3] == 3  # noqa: PLR2004 - N, H, W, C
    is_nchw = len(shape) == 4 and shape[1] == 3 and not is_nhwc  # noqa: PLR2004 - N, C, H, W
    sides = (1, 2) if is_nhwc else (2, 3) if is_nchw else ()
    sizes = [size or (OPEN_SIDE if axis in sides else 1) for axis, size in enumerate(shape)]
    if not sides:
        return np.zeros(sizes, spec.dtype)
    scaled = cv2.resize(image, (sizes[sides[1]], sizes[sides[0]]))[..., ::-1].astype(np.float32)
    if spec.dtype.startswith("float"):
        scaled = scaled / np.float32(127.5) - np.float32(1.0)
    elif spec.dtype == "int8":
        scaled -= np.float32(128.0)
    ordered = scaled.transpose(2, 0, 1) if is_nchw else scaled
    return np.ascontiguousarray(np.broadcast_to(ordered, sizes).astype(spec.dtype))


def guess_task(outputs: Sequence[TensorSpec]) -> str:
    """Guess what a file without a decoder gives, from its outputs; with a question mark, since nothing says so."""
    sizes = [[size or 1 for size in spec.shape] for spec in outputs]
    if len(sizes) == 1:
        wide = [size for size in sizes[0][1:] if size > 1]
        if len(wide) == 1:
            return "classify?"
        if len(sizes[0]) in {3, 4} and len(wide) >= 2 and min(wide[:2]) > 16:  # noqa: PLR2004 - rows and columns
            return "segment?"
    return "?"
