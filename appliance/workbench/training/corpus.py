"""Pictures with boxes, decoded once into one tensor of bytes. COCO's format, pictures in tar shards or a folder."""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from appliance.cameras.synthetic import Street
from appliance.core.errors import ConfigError
from appliance.workbench.recipe import DataRecipe

ALL_LABELLED = "all80"  # label_scope of a picture in which people labelled every category
_KEYS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
_STREET_SIZES = ((640, 360), (640, 480), (480, 360))
_FRAMES_A_STREET = 8
_SECONDS_APART = 5.0
_LEAST_SHOWN = 0.25  # share of a drawn figure; of less nobody could tell what it is


@dataclass(frozen=True, slots=True)
class Annotated:
    """A picture with what is in it.

    Attributes:
        image: Shape (H, W, 3), BGR.
        boxes: Shape (M, 4), xyxy in pixels.
        classes: Shape (M,).
        ignored: Shape (M,): the box is a region in which its class is neither looked for nor denied.
        scope: Shape (classes,): these were labelled exhaustively.
        times: How often it is taken in an epoch.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    scope: NDArray[np.bool_]
    times: int = 1


@dataclass(frozen=True, slots=True)
class Corpus:
    """All pictures on one device.

    Attributes:
        pixels: Shape (pictures x side x side,), int32: blue, green, red and nothing, a byte each.
        side: Rows and columns that each picture has room in, from its upper left corner.
        sizes: Shape (N, 2): width and height of each picture.
        boxes: Shape (N, M, 4), xyxy.
        classes: Shape (N, M); -1 where there is no box.
        ignored: Shape (N, M).
        scope: Shape (N, classes).
        order: Shape (taken,): each picture as often as it is taken in an epoch.
    """

    pixels: Tensor
    side: int
    sizes: Tensor
    boxes: Tensor
    classes: Tensor
    ignored: Tensor
    scope: Tensor
    order: Tensor

    def __len__(self) -> int:
        return len(self.sizes)

    def to(self, device: torch.device) -> Self:
        """Give the same on another device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in values.items()}
        return type(self)(**moved)


def read_corpus(folder: Path, recipe: DataRecipe, labels: Sequence[str]) -> Corpus:
    """Read ``train.json`` and its pictures, and draw those of the street.

    Raises:
        ConfigError: Something is missing or broken, or there is nothing to learn.
    """
    pictures = [*read_pictures(folder, "train", recipe, labels), *draw_street(recipe, labels)]
    if not any(len(one.classes) for one in pictures):
        raise ConfigError(f"{folder / 'train.json'} has no box of {', '.join(labels)}")
    return pack(pictures, recipe.long_side)


def read_index(folder: Path, split: str) -> dict[str, Any]:
    """Read ``SPLIT.json``.

    Raises:
        ConfigError: It is missing or not in COCO's format.
    """
    path = folder / f"{split}.json"
    try:
        index: dict[str, Any] = json.loads(path.read_bytes())
        lacking = [
            f"an entry of {kind} without {key}"
            for kind, keys in _KEYS.items()
            for key in keys
            if not all(key in one for one in index[kind])
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no list of pictures and boxes in COCO's format: {error!r}") from error
    if lacking or not index["images"]:
        raise ConfigError(f"{path} is no list of pictures and boxes in COCO's format: {[*lacking, 'no pictures'][0]}")
    return index


def read_files(folder: Path, images: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """Give each picture's entry and its file's bytes, shard by shard.

    Raises:
        ConfigError: A shard or a picture is missing.
    """
    shards: dict[str, dict[str, Mapping[str, Any]]] = {}
    for image in images:
        shards.setdefault(str(image.get("shard", "")), {})[Path(str(image["file_name"])).name] = image
    for shard, wanted in sorted(shards.items()):
        missing = dict(wanted)
        try:
            for name, content in _members(folder / shard) if shard else _loose(folder / "images", wanted):
                if name in missing:
                    yield missing.pop(name), content
        except (OSError, tarfile.TarError) as error:
            raise ConfigError(f"cannot read the pictures in {folder / (shard or 'images')}: {error}") from error
        if missing:
            some = ", ".join(sorted(missing)[:3])
            raise ConfigError(f"{folder / (shard or 'images')} lacks {len(missing)} pictures: {some}, …")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as shard:
        for member in shard:
            file = shard.extractfile(member) if member.isfile() else None
            if file is not None:
                yield Path(member.name).name, file.read()


def _loose(folder: Path, wanted: Mapping[str, object]) -> Iterator[tuple[str, bytes]]:
    for name in sorted(wanted):
        yield name, (folder / name).read_bytes()


def read_pictures(folder: Path, split: str, recipe: DataRecipe, labels: Sequence[str]) -> Iterator[Annotated]:
    """Give the pictures of a split, scaled down to the recipe's long side.

    Raises:
        ConfigError: Something is missing or broken.
    """
    index = read_index(folder, split)
    ids = {one["id"]: labels.index(one["name"]) for one in index["categories"] if one["name"] in labels}
    of_image: dict[int, list[Mapping[str, Any]]] = {}
    for annotation in index["annotations"]:
        if annotation["category_id"] in ids:
            of_image.setdefault(annotation["image_id"], []).append(annotation)
    images = sorted(index["images"], key=lambda one: int(one["id"]))
    if recipe.pictures:
        images = images[:: max(1, len(images) // recipe.pictures)][: recipe.pictures]
    for image, content in read_files(folder, images):
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ConfigError(f"{image['file_name']} of {folder} is no picture that can be read; remove it")
        found = of_image.get(image["id"], [])
        annotated = _annotated(
            np.asarray(picture, np.uint8), image, found, ids, classes=len(labels), repeat=recipe.repeat
        )
        if annotated.scope.any() or len(annotated.classes):
            yield annotated


def _annotated(
    picture: NDArray[np.uint8],
    image: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    ids: Mapping[int, int],
    *,
    classes: int,
    repeat: Mapping[str, int],
) -> Annotated:
    boxes = np.array([one["bbox"] for one in found], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scope = np.array([is_labelled(image, category) for category in ids])
    flags = np.zeros(classes, bool)
    flags[list(ids.values())] = scope
    name = Path(str(image["file_name"])).name
    times = [count for prefix, count in repeat.items() if name.startswith(prefix)]
    return Annotated(
        picture,
        boxes * np.float32(picture.shape[1] / float(image["width"])),
        np.array([ids[one["category_id"]] for one in found], np.int64),
        np.array([bool(one.get("iscrowd")) for one in found], bool),
        flags,
        max(times, default=1),
    )


def is_labelled(image: Mapping[str, Any], category: int) -> bool:
    """Tell whether people labelled every object of a category in a picture; they did unless the picture says not."""
    scope = image.get("label_scope", ALL_LABELLED)
    return bool(scope == ALL_LABELLED or category in scope)


def draw_street(recipe: DataRecipe, labels: Sequence[str]) -> Iterator[Annotated]:
    """Draw pictures of the synthetic street, a few of each of many streets, with their exact truth."""
    for number in range(recipe.street):
        place, frame = divmod(number, _FRAMES_A_STREET)
        if frame == 0:
            size = _STREET_SIZES[place % len(_STREET_SIZES)]
            street = Street(*size, fps=1 / _SECONDS_APART, seed=recipe.street_seed + place)
        found = [one for one in street.truth(frame) if one.label in labels]
        yield Annotated(
            street.draw(frame),
            np.array([one.box for one in found], np.float32).reshape(-1, 4),
            np.array([labels.index(one.label) for one in found], np.int64),
            np.array([one.visible < _LEAST_SHOWN for one in found], bool),
            np.ones(len(labels), bool),
        )


def pack(pictures: Sequence[Annotated], side: int) -> Corpus:
    """Put pictures into one tensor; those that are larger than `side` are scaled down."""
    most = max(1, *(len(one.classes) for one in pictures), 0)
    count = len(pictures)
    pixels = np.zeros((count, side, side, 4), np.uint8)
    sizes, boxes = np.zeros((count, 2), np.float32), np.zeros((count, most, 4), np.float32)
    classes, ignored = np.full((count, most), -1, np.int64), np.zeros((count, most), bool)
    for at, one in enumerate(pictures):
        height, width = one.image.shape[:2]
        factor = min(1.0, side / max(height, width))
        inner = (max(1, round(width * factor)), max(1, round(height * factor)))
        image = one.image if factor >= 1.0 else cv2.resize(one.image, inner, interpolation=cv2.INTER_AREA)
        pixels[at, : inner[1], : inner[0], :3] = image
        sizes[at] = inner
        objects = len(one.classes)
        boxes[at, :objects] = one.boxes * np.float32(factor)
        classes[at, :objects], ignored[at, :objects] = one.classes, one.ignored
    order = np.repeat(np.arange(count), [one.times for one in pictures])
    return Corpus(
        pixels=torch.from_numpy(pixels.view(np.int32).reshape(-1)),
        side=side,
        sizes=torch.from_numpy(sizes),
        boxes=torch.from_numpy(boxes),
        classes=torch.from_numpy(classes),
        ignored=torch.from_numpy(ignored),
        scope=torch.from_numpy(np.stack([one.scope for one in pictures])),
        order=torch.from_numpy(order),
    )
