"""One network with real weights in the clothes of other families: each finds what it found before."""

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.config import ModelSettings
from appliance.core.clock import SystemClock
from appliance.core.frame import Frame, PixelLayout
from appliance.core.manifest import MANIFEST_NAME
from appliance.core.results import Detections
from appliance.inference.decoders import grid
from appliance.inference.detector import open_detector
from appliance.inference.folders import bundled_models
from tests.shared_data import SHARED, needs
from tests.simulators.models import manifest

FILE = "models/yolox_nano_416_coco80.onnx"
PICTURE = "models/sample_bus.jpg"
CELLS = 3549

# What is put behind the network. `offset` and `stride` are those of its cells.
DECODED = """
    both, sizes, objectness, classes = Split <axis = 2, split = [2, 2, 1, 80]> (output)
    moved = Add (both, offset)
    xy = Mul (moved, stride)
    grown = Exp (sizes)
    wh = Mul (grown, stride)
"""
SCORES = "scores = Mul (objectness, classes)\n"
LISTED = (
    SCORES
    + """
    halves = Mul (wh, half)
    low = Sub (xy, halves)
    high = Add (xy, halves)
    corners = Concat <axis = 2> (low, high)
    by_class = Transpose <perm = [0, 2, 1]> (scores)
    chosen = NonMaxSuppression (corners, by_class, most, iou, least)
    batch, number, cell = Split <axis = 1> (chosen)
    flat = Squeeze <axes = [1]> (cell)
    corners_of_all = Squeeze <axes = [0]> (corners)
    boxes = Gather <axis = 0> (corners_of_all, flat)
    found = GatherND (by_class, chosen)
    column = Unsqueeze <axes = [1]> (found)
    real_batch = Cast <to = 1> (batch)
    real_number = Cast <to = 1> (number)
"""
)
FAMILIES: dict[str, tuple[str, dict[str, str], str]] = {
    "yolov5": (
        "decoded = Concat <axis = 2> (xy, wh, objectness, classes)",
        {"decoded": f"float[1,{CELLS},85]"},
        """
        kind = "yolov5"
        nms_iou = 0.65
        [signature]
        outputs = [{ shape = [1, "cells(8,16,32)", "5+classes"] }]
        """,
    ),
    "yolov8": (
        SCORES
        + """
        parts_xy = Div (xy, size)
        parts_wh = Div (wh, size)
        rows = Concat <axis = 2> (parts_xy, parts_wh, scores)
        columns = Transpose <perm = [0, 2, 1]> (rows)
        """,
        {"columns": f"float[1,84,{CELLS}]"},
        """
        kind = "yolov8"
        unit = "normalised"
        nms_iou = 0.65
        [signature]
        outputs = [{ shape = [1, "4+classes", "cells(8,16,32)"] }]
        """,
    ),
    "rows": (
        LISTED + "rows = Concat <axis = 1> (real_batch, boxes, real_number, column)",
        {"rows": "float[N,7]"},
        """
        kind = "rows"
        columns = ["batch", "x1", "y1", "x2", "y2", "class", "score"]
        nms_iou = 1.0
        [signature]
        outputs = [{ shape = ["any", 7] }]
        """,
    ),
    "listed": (
        LISTED
        + """
        parts_of_all = Div (boxes, size)
        x1, y1, x2, y2 = Split <axis = 1> (parts_of_all)
        turned = Concat <axis = 1> (y1, x1, y2, x2)
        listed_boxes = Unsqueeze <axes = [0]> (turned)
        listed_scores = Unsqueeze <axes = [0]> (found)
        listed_classes = Transpose <perm = [1, 0]> (real_number)
        shape = Shape (found)
        count = Cast <to = 1> (shape)
        """,
        {
            "listed_scores": "float[1,N]",
            "listed_boxes": "float[1,N,4]",
            "count": "float[1]",
            "listed_classes": "float[1,N]",
        },
        """
        kind = "listed"
        outputs = ["scores", "boxes", "count", "classes"]
        box_order = "yxyx"
        unit = "normalised"
        nms_iou = 1.0
        [signature]
        tells_labels = false
        outputs = [{ shape = [1, "any"] }, { shape = [1, "any", 4] }, { shape = [1] }, { shape = [1, "any"] }]
        """,
    ),
    "detr": (
        SCORES
        + """
        parts_xy = Div (xy, size)
        parts_wh = Div (wh, size)
        queries = Concat <axis = 2> (parts_xy, parts_wh)
        above = Clip (scores, tiny)
        odds_against = Sub (one, above)
        odds = Div (above, odds_against)
        logits = Log (odds)
        """,
        {"queries": f"float[1,{CELLS},4]", "logits": f"float[1,{CELLS},80]"},
        """
        kind = "detr"
        activation = "sigmoid"
        background = "none"
        nms_iou = 0.65
        [signature]
        outputs = [{ shape = [1, "cells(8,16,32)", 4] }, { shape = [1, "cells(8,16,32)", "classes"] }]
        """,
    ),
}


def dress(folder: Path, family: str) -> Path:
    """Write a model's folder and its file: the network with another end."""
    onnx = pytest.importorskip("onnx", reason="onnx puts another end behind the network")
    body, outputs, table = FAMILIES[family]
    network = onnx.load(SHARED / FILE)
    places, strides = grid(manifest("yolox", 416, 416), (8, 16, 32))
    values: dict[str, Any] = {
        "offset": places[None],
        "stride": strides[None],
        "half": np.float32([0.5]),
        "size": np.float32([416]),
        "one": np.float32([1]),
        "tiny": np.float32(1e-6),
        "most": np.array([300]),
        "iou": np.float32([0.65]),
        "least": np.float32([0.3]),
    }
    stored = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    nodes = onnx.parser.parse_graph(f"tail () => () {{ {DECODED} {body} }}").node
    network.graph.node.extend(nodes)
    network.graph.initializer.extend(one for one in stored if any(one.name in node.input for node in nodes))
    del network.graph.output[:]
    network.graph.output.extend(
        onnx.parser.parse_graph(f"x ({', '.join(f'{kind} {name}' for name, kind in outputs.items())}) => () {{}}").input
    )
    assert network.opset_import[0].version == 11  # in which the ends are written
    folder.mkdir()
    own = (bundled_models() / "yolox" / MANIFEST_NAME).read_text(encoding="utf-8")
    own = own[: own.index("[decoder]")].replace('name = "yolox"', f'name = "{folder.name}"')
    labels = bundled_models() / "labels" / "coco80.txt"
    own = own.replace("../labels/coco80.txt", str(labels))
    table = table.replace("[signature]", 'min_score = 0.3\n[signature]\ninput = { shape = [1, 3, "height", "width"] }')
    (folder / MANIFEST_NAME).write_text(f"{own}[decoder]\n{table}", encoding="utf-8")
    path = folder.parent / f"{folder.name}.onnx"
    onnx.save(network, path)
    return path


def look(use: str, *directories: Path) -> Detections:
    image = np.asarray(cv2.imread(str(SHARED / PICTURE)), np.uint8)
    stamp = SystemClock().now()
    frame = Frame(image, PixelLayout.BGR, image.shape[1], image.shape[0], "test", 0, stamp.time, stamp.mono_ns)
    settings = ModelSettings(use=use, directories=directories)
    with open_detector(settings, min_score=0.3, every_class=True) as detector:
        return detector.detect(frame)


@cache
def undressed() -> Detections:
    return look(str(SHARED / FILE))


@pytest.mark.parametrize("family", FAMILIES)
@needs(FILE, PICTURE)
def test_the_same_network_finds_the_same_as_another_family(tmp_path: Path, family: str) -> None:
    path = dress(tmp_path / f"my-{family}", family)
    found, expected = look(f"my-{family}={path}", tmp_path), undressed()
    assert len(expected) > 3
    assert found.class_ids.tolist() == expected.class_ids.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.1)
