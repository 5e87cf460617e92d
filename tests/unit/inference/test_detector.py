import math
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError
from appliance.core.frame import Frame, PixelLayout
from appliance.inference.detector import Detector, open_detector
from tests.shared_data import SHARED, needs
from tests.simulators.models import write_yolox, yolox_answer

PERSON, CAR, TRUCK, DOG = 0, 2, 7, 16
BUS_PICTURE = SHARED / "models" / "sample_bus.jpg"


def frame(width: int, height: int, image_size: tuple[int, int] | None = None) -> Frame:
    columns, rows = image_size or (width, height)
    image = np.full((rows, columns, 3), 90, np.uint8)
    return Frame(image, PixelLayout.BGR, width, height, "door", 0, datetime.now(UTC), 0)


def detector(tmp_path: Path, *found: tuple[int, int, float], **settings: object) -> Detector:
    path = write_yolox(tmp_path / "yolox.onnx", yolox_answer(*found))
    return open_detector(ModelSettings.model_validate({"use": str(path)} | settings))


def test_boxes_are_in_pixels_of_the_source_frame_and_the_best_comes_first(tmp_path: Path) -> None:
    # 640 x 320 goes into the upper half of 64 x 64: a pixel of the input is ten of the frame
    one = detector(tmp_path, (0, CAR, 0.6), (9, PERSON, 0.9))
    found = one.detect(frame(640, 320))
    assert found.boxes.tolist() == [[80, 80, 160, 160], [0, 0, 80, 80]]
    assert found.class_ids.tolist() == [PERSON, CAR]
    np.testing.assert_allclose(found.scores, [0.9, 0.6])


def test_a_frame_scaled_by_the_camera_gives_boxes_of_the_whole_frame(tmp_path: Path) -> None:
    found = detector(tmp_path, (9, PERSON, 0.9)).detect(frame(640, 320, image_size=(128, 64)))
    assert found.boxes.tolist() == [[80, 80, 160, 160]]


def test_what_lies_in_the_padding_alone_is_not_reported(tmp_path: Path) -> None:
    found = detector(tmp_path, (8 * 6, CAR, 0.9), (0, CAR, 0.8)).detect(frame(640, 320))
    assert found.boxes.tolist() == [[0, 0, 80, 80]]


def test_only_the_labels_asked_for_are_looked_for(tmp_path: Path) -> None:
    found = detector(tmp_path, (0, CAR, 0.6), (9, PERSON, 0.9), labels=("car",)).detect(frame(64, 64))
    assert found.class_ids.tolist() == [CAR]


def test_a_group_asks_for_all_of_its_labels(tmp_path: Path) -> None:
    sights = ((0, CAR, 0.6), (9, PERSON, 0.9), (36, TRUCK, 0.7))
    found = detector(tmp_path, *sights, labels=("vehicle",)).detect(frame(64, 64))
    assert found.class_ids.tolist() == [TRUCK, CAR]


def test_an_unknown_label_is_the_owners_to_mend_and_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"labels: 'cat burglar' not known to 'yolox'; accepted: labels person, bicycle"
    ):
        detector(tmp_path, labels=("car", "cat burglar"))


def test_the_lowest_score_is_the_callers_then_the_settings_then_the_manifests(tmp_path: Path) -> None:
    path = write_yolox(tmp_path / "yolox.onnx", yolox_answer((0, CAR, 0.30), (9, CAR, 0.2), (18, CAR, 0.1)))
    plain = ModelSettings(use=str(path))
    chosen = ModelSettings(use=str(path), min_score=0.25)
    counts = [
        len(open_detector(settings, min_score=score).detect(frame(64, 64)))
        for settings, score in ((plain, None), (chosen, None), (chosen, 0.15), (plain, 0.05))
    ]
    assert counts == [0, 1, 2, 3]
    assert open_detector(plain).min_score == open_detector(plain).manifest.decoder.min_score


def test_every_class_of_a_place_is_given_when_asked(tmp_path: Path) -> None:
    answer = yolox_answer((0, CAR, 0.9))
    answer[0, 0, 5 + DOG] = 0.8
    settings = ModelSettings(use=str(write_yolox(tmp_path / "yolox.onnx", answer)))
    assert open_detector(settings).detect(frame(64, 64)).class_ids.tolist() == [CAR]
    assert open_detector(settings, every_class=True).detect(frame(64, 64)).class_ids.tolist() == [CAR, DOG]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("column", [0, 2, 4, 5])
def test_numbers_that_are_not_finite_are_told_at_the_start(tmp_path: Path, value: float, column: int) -> None:
    answer = yolox_answer((0, PERSON, 0.9))
    answer[0, 0, column] = value
    settings = ModelSettings(use=str(write_yolox(tmp_path / "yolox.onnx", answer)))
    with pytest.raises(ModelError, match=r"yolox\.onnx gave numbers that are not finite"):
        open_detector(settings)


def test_a_size_beyond_all_numbers_is_told_too(tmp_path: Path) -> None:
    answer = yolox_answer((0, PERSON, 0.9))
    answer[0, 0, 2] = 1000.0  # exp(1000) is infinite
    settings = ModelSettings(use=str(write_yolox(tmp_path / "yolox.onnx", answer)))
    with pytest.raises(ModelError, match="not finite"):
        open_detector(settings)


def test_it_says_what_it_runs_and_how_long_it_took(tmp_path: Path) -> None:
    one = detector(tmp_path, (0, CAR, 0.6))
    one.detect(frame(640, 320))
    assert one.manifest.name == "yolox"
    assert len(one.digest) == 64
    assert 0.0 < one.last_inference_ms <= one.last_total_ms


def test_a_closed_detector_says_so(tmp_path: Path) -> None:
    with detector(tmp_path, (0, CAR, 0.6)) as one:
        one.detect(frame(64, 64))
    with pytest.raises(ModelError, match="was closed"):
        one.detect(frame(64, 64))


@pytest.mark.parametrize(
    "file",
    [
        "yolox_nano_416_coco80",
        "yolox_nano_416_int8_mixed_qdq",
        "picodet_s_416_coco80",
        "nanodet_m_320_coco80",
        "nanodet_m_320_int8_qdq",
        "fastestdet_352_coco80",
    ],
)
@needs("models/sample_bus.jpg", "models/yolox_nano_416_coco80.onnx")
def test_every_real_model_sees_the_bus_and_the_people_where_they_are(file: str) -> None:
    image = cv2.imread(str(BUS_PICTURE))
    assert image is not None
    height, width = image.shape[:2]
    one = open_detector(ModelSettings(use=str(SHARED / "models" / f"{file}.onnx")))
    found = one.detect(Frame(np.asarray(image, np.uint8), PixelLayout.BGR, width, height, "x", 0, datetime.now(UTC), 0))
    seen = [(one.manifest.labels[class_id], box) for class_id, box in zip(found.class_ids, found.boxes, strict=True)]
    # by eye, in pixels of the 810 x 1080 picture; a quarter of the size is far more than any of them is off
    for label, x1, y1, x2, y2 in (
        ("bus", 10, 230, 805, 740),
        ("person", 50, 395, 218, 900),
        ("person", 218, 405, 347, 858),
    ):
        slack = np.array([x2 - x1, y2 - y1] * 2) / 4
        assert any(name == label and (np.abs(box - (x1, y1, x2, y2)) < slack).all() for name, box in seen), label


def test_an_input_beside_the_picture_is_given_its_constant(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    # as D-FINE is deployed: boxes are told in pixels of the size that it is given
    parts = np.array([[[0.25, 0.5, 0.5, 0.75]]], np.float32)
    nodes = [
        helper.make_node("Cast", ["size"], ["real"], to=kinds.FLOAT),
        helper.make_node("Concat", ["real", "real"], ["corners"], axis=1),
        helper.make_node("Mul", ["parts", "corners"], ["boxes"]),
        helper.make_node("Identity", ["class"], ["labels"]),
        helper.make_node("Identity", ["score"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "set",
        [
            helper.make_tensor_value_info("size", kinds.INT64, [1, 2]),
            helper.make_tensor_value_info("images", kinds.FLOAT, [1, 3, 32, 64]),
        ],
        [
            helper.make_tensor_value_info("labels", kinds.INT64, [1, 1]),
            helper.make_tensor_value_info("boxes", kinds.FLOAT, [1, 1, 4]),
            helper.make_tensor_value_info("scores", kinds.FLOAT, [1, 1]),
        ],
        [
            onnx.numpy_helper.from_array(parts, "parts"),
            onnx.numpy_helper.from_array(np.array([[CAR]], np.int64), "class"),
            onnx.numpy_helper.from_array(np.array([[0.9]], np.float32), "score"),
        ],
    )
    path = tmp_path / "set.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    with open_detector(ModelSettings.model_validate({"use": f"d-fine={path}"})) as one:
        found = one.detect(frame(640, 640))
    assert found.boxes.tolist() == [[160, 320, 320, 480]]
    assert found.class_ids.tolist() == [CAR]
