"""What a trained model is worth: its exported file, run as the device runs it, on pictures it never learned from."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.config import ModelSettings
from appliance.core.files import make_folder, write_atomically
from appliance.inference.detector import open_detector
from appliance.workbench.evaluate import Accuracy, Dataset, measure
from appliance.workbench.training.corpus import is_labelled, read_files, read_index

LEAST_SCORE = 0.01


class Validation:
    """Pictures for validation, unpacked into a folder as `edgecam-workbench evaluate` takes it.

    Where people did not label every object of a category, the whole picture is a region to ignore for it.

    Args:
        corpus: Folder with val.json and its pictures.
        folder: Where they go.
        labels: That count.

    Raises:
        ConfigError: Something is missing or broken, or pycocotools is.
        StorageError: They cannot be written.
    """

    def __init__(self, corpus: Path, folder: Path, labels: Sequence[str]) -> None:
        index = read_index(corpus, "val")
        make_folder(folder / "images")
        for image, content in read_files(corpus, index["images"]):
            path = folder / "images" / Path(str(image["file_name"])).name
            if not path.is_file() or path.stat().st_size != len(content):
                write_atomically(path, content)
        write_atomically(folder / "instances.json", json.dumps(_for_coco(index, labels)).encode())
        self._dataset = Dataset(folder)

    def measure(self, model: Path, *, threads: int, limit: int | None = None) -> Accuracy:
        """Measure the exported model in a folder.

        Raises:
            ModelError: It cannot be run.
        """
        settings = ModelSettings(use=model.name, directories=(model.parent,), threads=threads)
        with open_detector(settings, min_score=LEAST_SCORE, every_class=True) as detector:
            return measure(detector, self._dataset, limit)


def _for_coco(index: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    categories = [one for one in index["categories"] if one["name"] in labels]
    ids = {one["id"] for one in categories}
    images = [{**one, "file_name": Path(str(one["file_name"])).name} for one in index["images"]]
    unlabelled = {(one["id"], kind) for one in images for kind in ids if not is_labelled(one, kind)}
    annotations = [
        {"iscrowd": 0, "area": one["bbox"][2] * one["bbox"][3], **one}
        for one in index["annotations"]
        if one["category_id"] in ids and (one["image_id"], one["category_id"]) not in unlabelled
    ]
    sizes = {one["id"]: (one["width"], one["height"]) for one in images}
    first = max((one["id"] for one in index["annotations"]), default=0) + 1
    for number, (image, kind) in enumerate(sorted(unlabelled), start=first):
        width, height = sizes[image]
        whole = {"bbox": [0, 0, width, height], "area": width * height, "iscrowd": 1}
        annotations.append({"id": number, "image_id": image, "category_id": kind, **whole})
    return {"images": images, "annotations": annotations, "categories": categories}
