"""Measures how accurate a classifier or a segmentation network is, through the device's own code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from appliance.cameras.pictures import list_pictures, read_picture
from appliance.core.errors import ConfigError
from appliance.workbench.evaluate import as_frame
from appliance.workbench.progress import with_progress

if TYPE_CHECKING:
    from appliance.inference.artifacts import LocatedModel
    from appliance.inference.classifier import Classifier
    from appliance.inference.segmenter import Segmenter

TOP: Final = 5  # labels among which the right one counts for `top5`
IGNORED: Final = 255  # in a mask: a pixel that counts for nothing, as in PASCAL VOC


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """Accuracy for one label, or for all.

    Attributes:
        pictures: With this label.
        top1: Share of them whose best label it is, 0..1.
        top5: Share of them with it among their five best labels.
    """

    pictures: int
    top1: float
    top5: float


@dataclass(frozen=True, slots=True)
class Classified:
    """How accurate a classifier is.

    Attributes:
        model: Name of the manifest.
        digest: SHA-256 of the weights.
        dataset: The folder.
        whole: Over all pictures.
        labels: By label.
        unknown: Folders that are no label of the model's; they count for nothing.
        inference_ms: Median time of the model for one picture, milliseconds.
    """

    model: str
    digest: str
    dataset: str
    whole: LabelFigures
    labels: Mapping[str, LabelFigures]
    unknown: tuple[str, ...]
    inference_ms: float

    def lines(self) -> list[str]:
        """Give it for people."""
        table = [f"{'label':<24} pictures  top-1  top-5"]
        for label, one in {**self.labels, "all": self.whole}.items():
            table.append(f"{label:<24} {one.pictures:>8} {one.top1:>6.1%} {one.top5:>6.1%}")
        left_out = [f"not known to the model, left out: {', '.join(self.unknown)}"] if self.unknown else []
        return [*table, f"median {self.inference_ms:.1f} ms a picture", *left_out]


@dataclass(frozen=True, slots=True)
class Segmented:
    """How accurate a segmentation network is, as PASCAL VOC measures it: over the pixels of all pictures together.

    Attributes:
        model: Name of the manifest.
        digest: SHA-256 of the weights.
        dataset: The folder.
        pictures: How many were looked at.
        mean_iou: Mean of `labels`, 0..1.
        accuracy: Share of the pixels with the right label.
        labels: Intersection over union of each label that is in the masks, the background too.
        inference_ms: Median time of the model for one picture, milliseconds.
    """

    model: str
    digest: str
    dataset: str
    pictures: int
    mean_iou: float
    accuracy: float
    labels: Mapping[str, float]
    inference_ms: float

    def lines(self) -> list[str]:
        """Give it for people."""
        table = [f"{'label':<24}    IoU", *(f"{label:<24} {iou:>6.1%}" for label, iou in self.labels.items())]
        whole = f"{self.pictures} pictures: mean IoU {self.mean_iou:.1%}, {self.accuracy:.1%} of the pixels right"
        return [*table, whole, f"median {self.inference_ms:.1f} ms a picture"]


def measure_task(located: "LocatedModel", dataset: Path, limit: int | None, threads: int) -> Classified | Segmented:
    """Open a model that is no detector, run it over a dataset, and compare.

    Args:
        located: The file.
        dataset: For a classifier a folder of pictures for each label, of the label's name; for a segmentation network
            ``images/`` and ``masks/`` with a grey PNG of class ids for each picture, 255 for pixels that do not count.
        limit: Only the first so many pictures, of each label where there are folders; None: all.
        threads: CPU threads of one inference.

    Raises:
        ConfigError: The dataset is not as it must be, or a picture cannot be read.
        ModelError: The model is a detector, is broken, or cannot be run.
        UnsupportedError: The runtime for its format is not installed here.
    """
    from appliance.inference.classifier import Classifier
    from appliance.inference.opening import load_model
    from appliance.inference.segmenter import Segmenter

    with load_model(located, threads=threads) as model:
        if isinstance(model, Classifier):
            return _measure_labels(model, dataset, limit)
        if isinstance(model, Segmenter):
            return _measure_pixels(model, dataset, limit)
    raise ConfigError(f"{dataset} has no instances.json in COCO's format beside images/, which a detector is judged by")


def show(found: Classified | Segmented) -> str:
    """Give it for people."""
    return "\n".join([f"{found.model} {found.digest[:12]} on {found.dataset}", *found.lines()])


def _measure_labels(classifier: "Classifier", dataset: Path, limit: int | None) -> Classified:
    manifest = classifier.manifest
    folders = {folder.name: folder for folder in sorted(dataset.iterdir()) if folder.is_dir()}
    known = {label: manifest.labels.index(label) for label in folders if label in manifest.labels}
    chosen = [(label, path) for label in known for path in list_pictures(folders[label])[:limit]]
    if not chosen:
        raise ConfigError(
            f"{dataset} has no folder with pictures that is named by a label of {manifest.name!r}; "
            "accepted: LABEL/picture.jpg; `edgecam model show NAME` lists the labels"
        )
    places: dict[str, list[int]] = {label: [] for label, _ in chosen}
    times: list[float] = []
    for label, path in with_progress(chosen, "pictures"):
        ranked = classifier.rank(classifier.scores(as_frame(read_picture(path))), min_score=0.0, most=TOP)
        best = ranked.class_ids.tolist()
        places[label].append(best.index(known[label]) if known[label] in best else TOP)
        times.append(classifier.last_inference_ms)
    return Classified(
        model=manifest.name,
        digest=classifier.digest,
        dataset=str(dataset),
        whole=_figures([place for each in places.values() for place in each]),
        labels={label: _figures(each) for label, each in places.items()},
        unknown=tuple(name for name in folders if name not in known),
        inference_ms=median(times),
    )


def _figures(places: list[int]) -> LabelFigures:
    count = len(places)
    return LabelFigures(
        count, sum(place == 0 for place in places) / count, sum(place < TOP for place in places) / count
    )


def _measure_pixels(segmenter: "Segmenter", dataset: Path, limit: int | None) -> Segmented:
    manifest = segmenter.manifest
    classes = len(manifest.labels)
    images = dataset / "images"
    pictures = list_pictures(images)[:limit] if images.is_dir() else []
    if not pictures:
        raise ConfigError(f"{dataset} has no pictures in images/; accepted: images/NAME.jpg with masks/NAME.png")
    counts: NDArray[np.int64] = np.zeros((classes, classes), np.int64)  # what is there, what was seen
    times: list[float] = []
    for path in with_progress(pictures, "pictures"):
        image = read_picture(path)
        truth = _read_mask(dataset / "masks" / f"{path.stem}.png", image.shape[:2], classes)
        seen = segmenter.segment(as_frame(image)).class_ids
        counted = truth != IGNORED
        pairs = truth[counted].astype(np.int64) * classes + seen[counted]
        counts += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        times.append(segmenter.last_inference_ms)
    right, there, seen_at_all = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    present = np.flatnonzero(there)
    if not present.size:
        raise ConfigError(f"{dataset}: no pixel of the masks counts; accepted: class ids from 0 to {classes - 1}")
    iou = right[present] / (there + seen_at_all - right)[present]
    return Segmented(
        model=manifest.name,
        digest=segmenter.digest,
        dataset=str(dataset),
        pictures=len(pictures),
        mean_iou=float(iou.mean()),
        accuracy=float(right.sum() / there.sum()),
        labels={manifest.labels[at]: float(value) for at, value in zip(present.tolist(), iou.tolist(), strict=True)},
        inference_ms=median(times),
    )


def _read_mask(path: Path, size: tuple[int, ...], classes: int) -> NDArray[np.uint8]:
    import cv2

    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; each picture needs a mask of its name") from error
    mask = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:  # noqa: PLR2004 - rows and columns
        raise ConfigError(f"{path} is no grey PNG of 8 bits; accepted: one whose values are class ids, no palette")
    if mask.shape != size:
        raise ConfigError(f"{path} has {mask.shape[1]} x {mask.shape[0]} pixels, its picture {size[1]} x {size[0]}")
    strangers = mask[(mask >= classes) & (mask != IGNORED)]
    if strangers.size:
        raise ConfigError(f"{path} has the class id {strangers[0]}; accepted: 0 to {classes - 1}, and {IGNORED}")
    return np.asarray(mask, np.uint8)
