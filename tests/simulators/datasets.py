"""Datasets in COCO's format whose pictures are plain: what is in them is told, not to be seen."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Object = tuple[str, tuple[float, float, float, float]]


def write_dataset(
    folder: Path, pictures: Mapping[str, Sequence[Object]], labels: Sequence[str], side: int = 64
) -> Path:
    """Write square pictures of one grey each, and their objects: label, and x, y, width, height in pixels."""
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for at, (name, objects) in enumerate(pictures.items(), start=1):
        cv2.imwrite(str(folder / "images" / name), np.full((side, side, 3), at * 20 % 256, np.uint8))
        images.append({"id": at, "file_name": name, "width": side, "height": side})
        for label, box in objects:
            base = {"id": len(annotations) + 1, "image_id": at, "category_id": labels.index(label) + 1, "iscrowd": 0}
            annotations.append({**base, "bbox": list(box), "area": box[2] * box[3]})
    categories = [{"id": at, "name": label} for at, label in enumerate(labels, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
