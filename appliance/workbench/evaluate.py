"""Measures a detector's accuracy on a folder of pictures with boxes, through the device's own code."""

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, UnsupportedError
from appliance.workbench.progress import with_progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from appliance.core.frame import Frame
    from appliance.inference.detector import Detector

FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")  # the first of COCOeval.stats, in its order
NO_FIGURE = -1.0  # what pycocotools gives where there is nothing to find


@dataclass(frozen=True, slots=True)
class LabelAccuracy:
    """Accuracy for one label.

    Attributes:
        boxes: Objects of this label in the pictures, crowds left out.
        ap: Average precision over IoU 0.50 to 0.95, 0..1; -1 without boxes.
        ap50: Average precision at IoU 0.50, 0..1; -1 without boxes.
    """

    boxes: int
    ap: float
    ap50: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy on one set of pictures, as COCO defines it (https://cocodataset.org/#detection-eval).

    Attributes:
        model: Name of the manifest.
        digest: SHA-256 of the weights.
        dataset: The folder.
        pictures: How many were looked at.
        min_score: Lowest score that was counted.
        figures: ap, ap50, ap75, ap_small, ap_medium, ap_large, 0..1; -1 where there is nothing to find.
        labels: By label, those that both the model and the pictures know.
        unknown: Labels of the pictures that the model does not know; they count for nothing.
        inference_ms: Median time of the model for one picture, milliseconds.
    """

    model: str
    digest: str
    dataset: str
    pictures: int
    min_score: float
    figures: Mapping[str, float]
    labels: Mapping[str, LabelAccuracy]
    unknown: tuple[str, ...]
    inference_ms: float


class Dataset:
    """A folder with ``instances.json`` in COCO's format and ``images/``.

    Raises:
        ConfigError: It is not there, or no such folder.
        UnsupportedError: pycocotools is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from pycocotools.coco import COCO
        except ImportError as error:
            raise UnsupportedError(f"pycocotools is missing ({error}); do: pip install 'edgecam[workbench]'") from error
        self.folder = folder
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
                self.truth = COCO(str(folder / "instances.json"))
            self.categories = {one["name"]: int(one["id"]) for one in self.truth.loadCats(self.truth.getCatIds())}
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            raise ConfigError(f"{folder} has no instances.json in COCO's format beside images/: {error}") from error

    def pictures(self, limit: int | None) -> list[tuple[int, Path]]:
        """Give id and path of the first `limit` pictures, by id."""
        chosen = sorted(self.truth.getImgIds())[:limit]
        return [(one["id"], self.folder / "images" / one["file_name"]) for one in self.truth.loadImgs(chosen)]


@click.command()
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", required=True, metavar="NAME|FILE|NAME=FILE", help="The detector.")
@click.option("--min-score", type=click.FloatRange(0.01, 1.0), default=0.01, show_default=True, help="Lowest score.")
@click.option(
    "--best-class", is_flag=True, help="Only the best class of a place, as the daemon does; else all of them."
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many pictures.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def evaluate(
    dataset: Path, *, model: str, min_score: float, best_class: bool, limit: int | None, threads: int, as_json: bool
) -> None:
    """Measure a detector on DATASET, a folder with instances.json (COCO) and images/."""
    import cv2

    from appliance.inference.detector import open_detector

    truth = Dataset(dataset)
    cv2.setNumThreads(threads)
    settings = ModelSettings(use=model, threads=threads)
    with open_detector(settings, min_score=min_score, every_class=not best_class) as detector:
        accuracy = measure(detector, truth, limit)
    if as_json:
        click.echo(json.dumps(asdict(accuracy)))
    else:
        _show(accuracy)


def measure(detector: "Detector", dataset: Dataset, limit: int | None = None, title: str = "pictures") -> Accuracy:
    """Run a detector over a dataset and compare.

    Args:
        detector: With the lowest score that counts.
        dataset: The pictures and the truth.
        limit: Only the first so many pictures.
        title: Of the progress bar.

    Raises:
        ConfigError: A picture cannot be read, or the model knows none of the dataset's labels.
        ModelError: The model cannot be run.
    """
    pictures = dataset.pictures(limit)
    known = {label: dataset.categories[label] for label in detector.manifest.labels if label in dataset.categories}
    if not known or not pictures:
        raise ConfigError(f"{dataset.folder} has no picture, or no label that {detector.manifest.name!r} knows")
    found: list[dict[str, Any]] = []
    times: list[float] = []
    for picture, path in with_progress(pictures, title):
        found += _detect(detector, picture, path, known)
        times.append(detector.last_inference_ms)
    figures, labels = compare(dataset, found, [picture for picture, _ in pictures], known)
    return Accuracy(
        model=detector.manifest.name,
        digest=detector.digest,
        dataset=str(dataset.folder),
        pictures=len(pictures),
        min_score=detector.min_score,
        figures=figures,
        labels=labels,
        unknown=tuple(label for label in dataset.categories if label not in known),
        inference_ms=median(times),
    )


def compare(
    dataset: Dataset, found: Sequence[Mapping[str, Any]], pictures: Sequence[int], known: Mapping[str, int]
) -> tuple[dict[str, float], dict[str, LabelAccuracy]]:
    """Compare detections with the truth.

    Args:
        dataset: The truth.
        found: In COCO's format of results: image_id, category_id, bbox as x, y, width, height, score.
        pictures: Ids of the pictures that were looked at.
        known: Category ids that count, by label.

    Returns:
        The figures, and the accuracy of each label.
    """
    from pycocotools.cocoeval import COCOeval

    if not found:
        return dict.fromkeys(FIGURES, 0.0), {label: LabelAccuracy(0, 0.0, 0.0) for label in known}
    with contextlib.redirect_stdout(io.StringIO()):
        comparison = COCOeval(dataset.truth, dataset.truth.loadRes(list(found)), "bbox")
        comparison.params.imgIds = list(pictures)
        comparison.params.catIds = sorted(known.values())
        comparison.evaluate()
        comparison.accumulate()
        comparison.summarize()
    # precision: IoU thresholds x recalls x categories x areas (all first) x most detections (100 last)
    precision = comparison.eval["precision"][:, :, :, 0, -1]
    labels = {}
    for label, category in known.items():
        of_label = precision[:, :, comparison.params.catIds.index(category)]
        boxes = dataset.truth.getAnnIds(imgIds=list(pictures), catIds=[category], iscrowd=False)
        labels[label] = LabelAccuracy(len(boxes), _mean(of_label), _mean(of_label[0]))
    return dict(zip(FIGURES, map(float, comparison.stats), strict=False)), labels


def _mean(precision: Any) -> float:
    counted = precision[precision > NO_FIGURE]
    return float(counted.mean()) if counted.size else NO_FIGURE


def _detect(detector: "Detector", picture: int, path: Path, known: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    found = detector.detect(read_frame(path))
    for box, score, class_id in zip(found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True):
        category = known.get(detector.manifest.labels[class_id])
        if category is not None:
            x1, y1, x2, y2 = box
            yield {"image_id": picture, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}


def read_frame(path: Path) -> "Frame":
    """Give a picture as the frame that a camera would give.

    Raises:
        ConfigError: It cannot be read.
    """
    from appliance.cameras.pictures import read_picture

    return as_frame(read_picture(path))


def as_frame(image: "NDArray[np.uint8]") -> "Frame":
    """Give a picture, (H, W, 3), BGR, as the frame that a camera would give."""
    from appliance.core.clock import SystemClock
    from appliance.core.frame import Frame, PixelLayout

    stamp = SystemClock().now()
    height, width = image.shape[:2]
    return Frame(image, PixelLayout.BGR, width, height, "picture", 0, stamp.time, stamp.mono_ns)


def _show(accuracy: Accuracy) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{accuracy.model} {accuracy.digest[:12]} on {accuracy.dataset}: {accuracy.pictures} pictures")
    table = Table(box=None, pad_edge=False)
    for column in ("label", "boxes", "AP", "AP50"):
        table.add_column(column, justify="left" if column == "label" else "right")
    for label, one in sorted(accuracy.labels.items(), key=lambda item: -item[1].boxes):
        if one.boxes:
            table.add_row(label, str(one.boxes), percent(one.ap), percent(one.ap50))
    console.print(table)
    console.print("  ".join(f"{name} {percent(value)}" for name, value in accuracy.figures.items()))
    console.print(f"median {accuracy.inference_ms:.1f} ms a picture; scores from {accuracy.min_score:g}")
    if accuracy.unknown:
        console.print(f"not known to the model, left out: {', '.join(accuracy.unknown)}")


def percent(value: float) -> str:
    """Give a figure of 0..1 in per cent; a dash where there is nothing to find."""
    return "-" if value <= NO_FIGURE else f"{value * 100:.1f}"
