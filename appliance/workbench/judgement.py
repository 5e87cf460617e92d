"""Judges a detector on a dataset: average precision over all scores, and confusion at the score the device uses."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from appliance.core.frame import Frame
from appliance.core.results import Detections
from appliance.inference.artifacts import LocatedModel, identify
from appliance.inference.detector import Detector
from appliance.workbench.confusion import Confusion, Found, Mistake, Tally, Truths
from appliance.workbench.evaluate import LEAST_SCORE, Accuracy, Dataset, LabelAccuracy, known_labels, measure
from appliance.workbench.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a detector is worth on a dataset.

    Attributes:
        accuracy: As COCO defines it.
        confusion: At the manifest's own lowest score, of each place its best label, as the daemon reports.
        mistakes: Likewise, the most frequent first.
    """

    accuracy: Accuracy
    confusion: Confusion
    mistakes: tuple[Mistake, ...]

    def as_values(self) -> dict[str, Any]:
        """Give plain values, as for JSON: the accuracy's, and ``confusion`` and ``mistakes``."""
        both = {"confusion": asdict(self.confusion), "mistakes": [asdict(one) for one in self.mistakes]}
        return {**asdict(self.accuracy), **both}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Give what `as_values` was called on, also when it has been JSON meanwhile."""
        rest = dict(values)
        matrix, mistakes = rest.pop("confusion"), rest.pop("mistakes")
        rest["labels"] = {
            label: LabelAccuracy(**{**one, "by_size": tuple(one["by_size"])}) for label, one in rest["labels"].items()
        }
        rest["unknown"] = tuple(rest["unknown"])
        counts = tuple(map(tuple, matrix["counts"]))
        confusion = Confusion(tuple(matrix["labels"]), counts, matrix["ignored"], matrix["min_score"])
        told = tuple(Mistake(**{**one, "examples": tuple(one["examples"])}) for one in mistakes)
        return cls(Accuracy(**rest), confusion, told)


class _Replay:
    """A session that gives what the recorder gave last: it must have run on the same picture."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.inputs, self.outputs = recorder.inputs, recorder.outputs

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:  # noqa: ARG002 - Session's signature
        return self._recorder.last

    def close(self) -> None:
        """The recorder closes the session."""


def judge(
    located: LocatedModel,
    dataset: Dataset,
    limit: int | None = None,
    *,
    threads: int = 1,
    min_score: float = LEAST_SCORE,
    every_class: bool = True,
    title: str = "pictures",
) -> Judgement:
    """Run a model once over a dataset, and judge it in both ways.

    Args:
        located: The model.
        dataset: Pictures and truth.
        limit: Only the first so many pictures.
        threads: CPU threads.
        min_score: Lowest score that counts for the accuracy.
        every_class: For the accuracy, all classes of a place, not only its best.
        title: Of the progress bar.

    Raises:
        ConfigError: A picture cannot be read, or the model knows none of the dataset's labels.
        ModelError: The model cannot be run.
        UnsupportedError: The runtime for its format is not installed here.
    """
    recorder = Recorder(located.open(threads))
    try:
        model = identify(located, recorder.inputs, recorder.outputs)
        detector = Detector(model, recorder, min_score=min_score, every_class=every_class)
        device = Detector(model, _Replay(recorder))
        known = known_labels(detector, dataset)
        tally = Tally(tuple(known), device.min_score)
        places = {category: place for place, category in enumerate(known.values())}
        by_id = [places.get(dataset.categories.get(label, -1), -1) for label in device.manifest.labels]

        def count(picture: int, frame: Frame) -> None:
            tally.add(dataset.name(picture), _truths(dataset, picture, places), _found(device.detect(frame), by_id))

        accuracy = measure(detector, dataset, limit, title, watch=count)
    finally:
        recorder.close()
    return Judgement(accuracy, tally.confusion(), tally.mistakes())


def _truths(dataset: Dataset, picture: int, places: Mapping[int, int]) -> Truths:
    objects = [one for one in dataset.objects(picture) if one["category_id"] in places]
    boxes = np.array([one["bbox"] for one in objects], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Truths(
        boxes=boxes,
        labels=np.array([places[one["category_id"]] for one in objects], np.int64),
        areas=np.array([one["area"] for one in objects], np.float64),
        is_crowd=np.array([bool(one["iscrowd"]) for one in objects], np.bool_),
    )


def _found(detections: Detections, by_id: Sequence[int]) -> Found:
    """Give what counts; other labels than the dataset's cannot be judged."""
    labels = np.array(by_id, np.int64)[detections.class_ids]
    counts = labels >= 0
    return Found(
        boxes=detections.boxes[counts].astype(np.float64),
        labels=labels[counts],
        scores=detections.scores[counts].astype(np.float64),
    )
