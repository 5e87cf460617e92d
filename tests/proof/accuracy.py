"""Average precision of others' detectors through Edgecam's own path, against what is known of them by other means.

`make accuracy` prints it; ``python -m tests.proof.accuracy --help``.

The promise: on 400 photographs of COCO each is within `TOLERANCE` of its reference, below or above: more would mean
that something else is measured.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.cameras.pictures import read_picture
from appliance.config import ModelSettings
from appliance.core.errors import EdgecamError
from appliance.inference.artifacts import locate_model
from appliance.workbench.evaluate import LEAST_SCORE, Dataset, LabelAccuracy, compare
from appliance.workbench.judgement import judge
from appliance.workbench.table import markdown
from tests.proof.watch import whole
from tests.shared_data import SHARED

PICTURES: Final = "eval/coco_val400"
TOLERANCE: Final = 0.5  # points

REFERENCES: Final[Mapping[str, float | None]] = {
    "picodet_s_416_coco80.onnx": 29.8,
    "yolox_nano_416_coco80.onnx": 26.9,
    "yolox_nano_416_int8_mixed_qdq.onnx": 24.8,
    "nanodet_m_320_coco80.onnx": 21.4,
    "nanodet_m_320_int8_qdq.onnx": 20.3,
    "fastestdet_352_coco80.onnx": None,
    "fastestdet_352_int8_qdq.onnx": None,
}
"""AP in per cent by file: from whoever gathered photographs and files, with a program of their own, pycocotools and
scores from 0.01. None: `fastestdet_alone` measures it here, for theirs was measured of other boxes: see `BEYOND`.
"""

BEYOND: Final[Mapping[str, float]] = {"fastestdet_352_coco80.onnx": 13.7}
"""Theirs for FastestDet, whose boxes they left beyond the border of the picture. Edgecam ends a box where the picture
ends, as COCO's own boxes do; the same formulas give both figures.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What a detector gives, in per cent.

    Attributes:
        file: Of the weights.
        ap: Average precision through Edgecam.
        ap50: At IoU 0.50.
        person: `ap50` of people.
        reference: The average precision that is known by other means.
    """

    file: str
    ap: float
    ap50: float
    person: float
    reference: float

    @property
    def holds(self) -> bool:
        """Whether the promise is kept, with two figures of the same number of places."""
        return abs(round(self.ap, 1) - round(self.reference, 1)) <= TOLERANCE + 1e-9


def table(rows: Sequence[Row]) -> str:
    """Give it for people."""
    return markdown(
        ("file", "AP", "AP50", "person AP50", "reference AP", "difference"),
        [
            (
                row.file,
                *(f"{value:.1f}" for value in (row.ap, row.ap50, row.person, row.reference)),
                f"{row.ap - row.reference:+.1f}{'' if row.holds else ' NOT KEPT'}",
            )
            for row in rows
        ],
    )


def measure_file(path: Path, truth: Dataset, limit: int | None = None) -> Row:
    """Measure a detector through Edgecam, as `edgecam-workbench evaluate` does."""
    found = judge(locate_model(ModelSettings(use=str(path))), truth, limit, title=path.name).accuracy
    reference = REFERENCES[path.name]
    if reference is None:
        reference = fastestdet_alone(path, truth, limit).ap
    return _row(path.name, found.figures, found.labels, reference)


def measure_beyond(path: Path, truth: Dataset, limit: int | None = None) -> Row:
    """Measure FastestDet's formulas as they were measured by others, whose figure is the reference."""
    alone = fastestdet_alone(path, truth, limit, is_clipped=False)
    return replace(alone, file=f"{path.name}, its formulas, boxes beyond the border", reference=BEYOND[path.name])


def fastestdet_alone(path: Path, truth: Dataset, limit: int | None = None, *, is_clipped: bool = True) -> Row:
    """Give what FastestDet finds with nothing of Edgecam between picture and box; it is its own reference.

    The formulas are those of utils/tool.py, handle_preds, in https://github.com/dog-qiuqiu/FastestDet.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # without it sums of 8-bit products overflow on processors without VNNI: 8.7 in place of 14.4
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0].name
    categories = sorted(truth.categories.values())  # COCO's numbers rise as the network's classes do
    pictures = truth.pictures(limit)
    found: list[dict[str, Any]] = []
    for picture, file in pictures:
        image = read_picture(file)
        tensor = cv2.resize(image, (352, 352)).transpose(2, 0, 1)[None].astype(np.float32) / 255
        output = session.run(None, {taken: tensor})[0][0]
        for box, score, number in _fastestdet(output, image.shape[:2], is_clipped=is_clipped):
            found.append({"image_id": picture, "category_id": categories[number], "bbox": box, "score": score})
    figures, labels = compare(truth, found, [picture for picture, _ in pictures], truth.categories)
    return _row(path.name, figures, labels, figures["ap"] * 100)


def _row(name: str, figures: Mapping[str, float], labels: Mapping[str, LabelAccuracy], reference: float) -> Row:
    return Row(name, figures["ap"] * 100, figures["ap50"] * 100, labels["person"].ap50 * 100, reference)


def _fastestdet(
    output: NDArray[np.float32], size: tuple[int, ...], *, is_clipped: bool
) -> Iterator[tuple[list[float], float, int]]:
    """Give x, y, width and height, score and class of what an output of shape (85, 22, 22) says."""
    rows, columns = np.mgrid[:22, :22]
    wide, high = size[1] / (1 + np.exp(-output[3])), size[0] / (1 + np.exp(-output[4]))
    x = (np.tanh(output[1]) + columns) / 22 * size[1] - wide / 2
    y = (np.tanh(output[2]) + rows) / 22 * size[0] - high / 2
    corners = np.stack((x, y, x + wide, y + high), axis=-1).reshape(-1, 4)
    if is_clipped:
        corners = corners.clip(0, (size[1], size[0]) * 2)
    scores = (output[0] ** 0.6 * output[5:] ** 0.4).reshape(80, -1)
    for number, of_class in enumerate(scores):
        left = np.argsort(-of_class)
        left = left[of_class[left] >= LEAST_SCORE]
        while len(left):
            best, left = left[0], left[1:]
            left = left[_overlaps(corners[best], corners[left]) <= 0.45]
            x1, y1, x2, y2 = corners[best].tolist()
            yield [x1, y1, x2 - x1, y2 - y1], float(of_class[best]), number


def _overlaps(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    shared = sides.clip(0).prod(axis=1)
    areas = (one[2:] - one[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1)
    iou: NDArray[np.float64] = shared / np.maximum(areas - shared, 1e-9)
    return iou


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 when the promise holds, 1 when not, the error's own status when it cannot be run.

    Where no folder is named and none lies beside the repository, nothing is checked: that is said, and 0.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.proof.accuracy", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help=f"folder with models/ and {PICTURES}; else ../shared/data")
    parser.add_argument("--limit", type=whole(1), help="only the first so many photographs; references are for all")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    asked = parser.parse_args(arguments)
    folder: Path = asked.data or SHARED
    here = [folder / "models" / name for name in REFERENCES if (folder / "models" / name).is_file()]
    if asked.data is None and not here:
        print(f"accuracy: NOT CHECKED: no models in {folder}; give --data (make: DATA=)", file=sys.stderr)
        if asked.json:
            print(json.dumps({"holds": None}))
        return 0
    cv2.setNumThreads(1)
    try:
        truth = Dataset(folder / PICTURES)
        rows = [measure_file(path, truth, asked.limit) for path in here]
        rows += [measure_beyond(path, truth, asked.limit) for path in here if path.name in BEYOND]
    except EdgecamError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return error.exit_code
    if not rows:
        print(f"accuracy: {folder}/models has none of {', '.join(REFERENCES)}", file=sys.stderr)
        return 78
    holds = all(row.holds for row in rows)
    print(json.dumps({"holds": holds, "files": [asdict(row) for row in rows]}) if asked.json else table(rows))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
