"""Measures a detector's accuracy on a folder of pictures with boxes, through the device's own code."""

import contextlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from appliance.config import ModelSettings
from appliance.core.command import NumberRange
from appliance.core.errors import ConfigError, UnsupportedError
from appliance.core.files import write_atomically
from appliance.core.manifest import Precision
from appliance.workbench.progress import with_progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from appliance.core.frame import Frame
    from appliance.inference.detector import Detector
    from appliance.workbench.judgement import Judgement

FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")  # the first of COCOeval.stats, in its order
NO_FIGURE = -1.0  # what pycocotools gives where there is nothing to find
_WORST = 5  # kinds of mistakes shown; --json gives all
LEAST_SCORE: Final = 0.01  # as is usual: the whole curve counts


@dataclass(frozen=True, slots=True)
class LabelAccuracy:
    """Accuracy for one label.

    Attributes:
        boxes: Objects of this label in the pictures, crowds left out.
        ap: Average precision over IoU 0.50 to 0.95, 0..1; -1 without boxes.
        ap50: Average precision at IoU 0.50, 0..1; -1 without boxes.
        by_size: `ap50` of small, medium and large boxes; -1 without any.
    """

    boxes: int
    ap: float
    ap50: float
    by_size: tuple[float, float, float]


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
            _check_entries(folder / "instances.json", self.truth)
            self.categories = {one["name"]: int(one["id"]) for one in self.truth.cats.values()}
            for one in self.truth.anns.values():  # some programs leave out what COCO's own evaluation must have
                one.setdefault("iscrowd", 0)
                one.setdefault("area", one["bbox"][2] * one["bbox"][3])
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            raise ConfigError(f"{folder} has no instances.json in COCO's format beside images/: {error}") from error

    def pictures(self, limit: int | None) -> list[tuple[int, Path]]:
        """Give id and path of the first `limit` pictures, by id."""
        chosen = sorted(self.truth.getImgIds())[:limit]
        return [(one["id"], self.folder / "images" / one["file_name"]) for one in self.truth.loadImgs(chosen)]

    def name(self, picture: int) -> str:
        """Give the file name of a picture."""
        return str(self.truth.imgs[picture]["file_name"])

    def objects(self, picture: int) -> list[dict[str, Any]]:
        """Give what is in a picture, in COCO's form: category_id, bbox, area, iscrowd."""
        return list(self.truth.loadAnns(self.truth.getAnnIds(imgIds=[picture])))


def _check_entries(file: Path, truth: Any) -> None:
    """Refuse what pycocotools takes without a look at it, and what would count for another label."""
    for number, image in truth.imgs.items():
        if not (isinstance(image.get("file_name"), str) and image["file_name"]):
            raise ConfigError(f"{file}: image {number} has no file_name; accepted: the name of a file in images/")
    for number, one in truth.anns.items():
        if not _is_box(one.get("bbox")):
            raise ConfigError(
                f"{file}: annotation {number} has the bbox {one.get('bbox')!r:.80}; "
                "accepted: [x, y, width, height] in pixels"
            )
    ids: dict[str, int] = {}
    for number, category in truth.cats.items():
        name = category["name"]
        if name in ids:
            raise ConfigError(
                f"{file}: the categories {ids[name]} and {number} are both named {name!r}; "
                "accepted: one category of a name; give their annotations one category_id"
            )
        ids[name] = number


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == len(("x", "y", "width", "height"))
        and all(isinstance(one, int | float) and math.isfinite(one) for one in value)
    )


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--precision", type=click.Choice(get_args(Precision)), help="Which artifact of MODEL; else its first.")
@click.option(
    "--confusion",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PICTURE.png",
    help="Draw what was taken for what.",
)
@click.option(
    "--min-score", type=NumberRange(0.01, 1.0), default=LEAST_SCORE, show_default=True, help="Lowest score for AP."
)
@click.option(
    "--best-class", is_flag=True, help="For AP only the best class of a place, as the daemon does; else all of them."
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many pictures.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def evaluate(
    model: str,
    dataset: Path,
    *,
    precision: Precision | None,
    confusion: Path | None,
    min_score: float,
    best_class: bool,
    limit: int | None,
    threads: int,
    as_json: bool,
) -> None:
    """Measure MODEL on DATASET: for a detector a folder with instances.json (COCO) and images/.

    For a classifier it is a folder of pictures for each label (LABEL/NAME.jpg), which gives top-1 and top-5; for a
    segmentation network images/NAME.jpg and masks/NAME.png, grey, of class ids (255: does not count), which gives the
    mean IoU. The options that follow, but --precision, --limit, --threads and --json, are for detectors.

    MODEL is a model's name, its folder, a file, or NAME=FILE. Labels that only one of the two knows count for
    nothing. What was taken for what is counted at the score and in the way that the device uses.
    """
    import cv2

    from appliance.inference.artifacts import locate_model
    from appliance.workbench.judgement import judge

    if confusion:
        _check_picture(confusion)
    cv2.setNumThreads(threads)
    if not (dataset / "instances.json").exists():  # not a detector's
        if confusion or best_class or min_score != LEAST_SCORE:
            raise click.UsageError(f"--confusion, --best-class and --min-score need {dataset}/instances.json")
        from appliance.workbench.task_accuracy import measure_task, show

        other = measure_task(locate_model(ModelSettings(use=model), precision), dataset, limit, threads)
        click.echo(json.dumps(asdict(other)) if as_json else show(other))
        return
    truth = Dataset(dataset)
    located = locate_model(ModelSettings(use=model), precision)
    found = judge(located, truth, limit, threads=threads, min_score=min_score, every_class=not best_class)
    if as_json:
        click.echo(json.dumps({"file": str(located.path), "size": len(located.content), **found.as_values()}))
    else:
        _show(found)
    if confusion:  # last: what was measured is told also where the picture cannot be written
        _draw(found, confusion)


def _check_picture(path: Path) -> None:
    """Refuse before the pictures are looked at what could not be written after them."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: the picture is drawn as PNG; give a name that ends with .png")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it, or give a name in another one")


def _draw(found: "Judgement", path: Path) -> None:
    from appliance.workbench.heatmap import confusion_png

    title = f"{found.accuracy.model} {found.accuracy.digest[:12]} on {Path(found.accuracy.dataset).name}"
    write_atomically(path, confusion_png(found.confusion, title))


def measure(
    detector: "Detector",
    dataset: Dataset,
    limit: int | None = None,
    title: str = "pictures",
    watch: "Callable[[int, Frame], None] | None" = None,
) -> Accuracy:
    """Run a detector over a dataset and compare.

    Args:
        detector: With the lowest score that counts.
        dataset: The pictures and the truth.
        limit: Only the first so many pictures.
        title: Of the progress bar.
        watch: Called with the id of each picture and its frame when the detector is through with it.

    Raises:
        ConfigError: A picture cannot be read, or the model knows none of the dataset's labels.
        ModelError: The model cannot be run.
    """
    pictures = dataset.pictures(limit)
    known = known_labels(detector, dataset)
    if not pictures:
        raise ConfigError(f"{dataset.folder} has no picture")
    found: list[dict[str, Any]] = []
    times: list[float] = []
    for picture, path in with_progress(pictures, title):
        frame = read_frame(path)
        found += _detect(detector, picture, frame, known)
        times.append(detector.last_inference_ms)
        if watch is not None:
            watch(picture, frame)
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


def known_labels(detector: "Detector", dataset: Dataset) -> dict[str, int]:
    """Give the labels that both know, with the dataset's ids, in the order of the model's.

    Raises:
        ConfigError: There are none.
    """
    known = {label: dataset.categories[label] for label in detector.manifest.labels if label in dataset.categories}
    if not known:
        raise ConfigError(f"{dataset.folder} has no label that {detector.manifest.name!r} knows")
    return known


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
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        results = dataset.truth.loadRes(list(found)) if found else COCO()  # loadRes fails where there is nothing
        comparison = COCOeval(dataset.truth, results, "bbox")
        comparison.params.imgIds = list(pictures)
        comparison.params.catIds = sorted(known.values())
        comparison.evaluate()
        comparison.accumulate()
        comparison.summarize()
    # precision: IoU thresholds x recalls x categories x areas (all, small, medium, large) x most detections (100 last)
    precision = comparison.eval["precision"][..., -1]
    labels = {}
    for label, category in known.items():
        of_label = precision[:, :, comparison.params.catIds.index(category)]
        boxes = dataset.truth.getAnnIds(imgIds=list(pictures), catIds=[category], iscrowd=False)
        small, medium, large = (_mean(of_label[0, :, area]) for area in (1, 2, 3))
        labels[label] = LabelAccuracy(
            len(boxes), _mean(of_label[..., 0]), _mean(of_label[0, :, 0]), (small, medium, large)
        )
    return dict(zip(FIGURES, map(float, comparison.stats), strict=False)), labels


def _mean(precision: Any) -> float:
    counted = precision[precision > NO_FIGURE]
    return float(counted.mean()) if counted.size else NO_FIGURE


def _detect(detector: "Detector", picture: int, frame: "Frame", known: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    found = detector.detect(frame)
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


def _show(found: "Judgement") -> None:
    from rich.console import Console
    from rich.table import Table

    from appliance.workbench.confusion import describe

    console = Console(markup=False, emoji=False)  # a label may have brackets
    accuracy, confusion = found.accuracy, found.confusion
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
    wrong = confusion.detections - confusion.right
    console.print(
        f"as the device reports, scores from {confusion.min_score:g}: "
        f"{confusion.right} of {confusion.objects} found, {wrong} of {confusion.detections} detections wrong"
    )
    for mistake in found.mistakes[:_WORST]:
        click.echo(f"  {describe(mistake).replace('**', '')}")
    without = [label for label, one in accuracy.labels.items() if not one.boxes]
    if without:
        console.print(f"not in these pictures, counted in no mean: {', '.join(without)}")
    if accuracy.unknown:
        console.print(f"not known to the model, left out: {', '.join(accuracy.unknown)}")


def percent(value: float) -> str:
    """Give a figure of 0..1 in per cent; a dash where there is nothing to find."""
    return "-" if value <= NO_FIGURE else f"{value * 100:.1f}"
