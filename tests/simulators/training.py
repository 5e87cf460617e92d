"""A corpus that is drawn: coloured rectangles on grey, in a tar shard with COCO's index, and a recipe to learn it."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MODEL = """
schema = 1
name = "tiny"
version = "1"
title = "For tests"
licence = "Apache-2.0"
labels = ["person", "car"]
size = 64
[source]
url = "https://example.org"
[network]
stem = 8
stages = [16, 24, 32]
repeats = [1, 1, 1]
neck = 16
head_layers = 1
"""
"""Of a recipe: what is trained, as small as it can be."""

RECIPE = f"""{MODEL}[data]
long_side = 80
repeat = {{ extra_ = 3 }}
street = 4
[schedule]
iterations = 12
batch = 4
sizes = [64, 96]
warm_up = 2
checkpoint_every = 5
log_every = 1
"""
COLOURS = {"person": (0, 0, 255), "car": (255, 0, 0)}
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 18, "name": "dog"}]


def write_corpus(folder: Path, train: int = 12, val: int = 3) -> Path:
    """Write train.json, val.json and a shard for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", train, 1), ("val", val, 2)):
        write_split(folder, split, [_picture(np.random.default_rng((seed, at)), at) for at in range(count)])
    return folder


def write_split(
    folder: Path, split: str, pictures: list[tuple[NDArray[np.uint8], dict[str, Any], list[dict[str, Any]]]]
) -> None:
    """Write a split from pictures, their entries (without size and shard) and their boxes (without ids)."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with tarfile.open(folder / f"{split}-000.tar", "w") as shard:
        for at, (picture, image, boxes) in enumerate(pictures, start=1):
            name = image.get("file_name", f"{split}_{at}.png")
            size = {"height": picture.shape[0], "width": picture.shape[1]}
            images.append({"id": at, **size, "shard": f"{split}-000.tar", **image, "file_name": name})
            base = {"image_id": at, "iscrowd": 0}
            annotations += [
                {"id": len(annotations) + k, **base, "area": one["bbox"][2] * one["bbox"][3], **one}
                for k, one in enumerate(boxes, start=1)
            ]
            content = cv2.imencode(".png", picture)[1].tobytes()
            member = tarfile.TarInfo(f"images/{name}")
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    index = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / f"{split}.json").write_text(json.dumps(index), encoding="utf-8")


def _picture(random: np.random.Generator, at: int) -> tuple[NDArray[np.uint8], dict[str, Any], list[dict[str, Any]]]:
    picture = np.full((48, 80, 3), 128, np.uint8)
    label, category = (("person", 1), ("car", 3))[at % 2]
    width, height = random.integers(16, 32, 2).tolist()
    x, y = int(random.integers(0, 80 - width)), int(random.integers(0, 48 - height))
    cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), COLOURS[label], -1)
    image = {"file_name": f"{'extra_' if at % 4 == 0 else 'plain_'}{at}.png"}
    return picture, image, [{"category_id": category, "bbox": [x, y, width, height]}]
