"""One run of the network judges both ways, and each as if it had been run for it alone."""

import json
from pathlib import Path

import pytest

from appliance.config import ModelSettings
from appliance.inference.artifacts import locate_model
from appliance.inference.detector import open_detector
from appliance.workbench.evaluate import Dataset, measure, read_frame
from appliance.workbench.judgement import Judgement, judge
from tests.shared_data import SHARED, needs

pytest.importorskip("pycocotools", reason="needs pycocotools: pip install 'edgecam[workbench]'")
FASTESTDET = SHARED / "models" / "fastestdet_352_coco80.onnx"
HIGHWAY = SHARED / "eval" / "highway_test"


@needs("models/fastestdet_352_coco80.onnx", "eval/highway_test")
def test_detections_of_the_confusion_are_the_device_s_and_accuracy_is_that_of_a_run_of_its_own() -> None:
    dataset, settings = Dataset(HIGHWAY), ModelSettings(use=str(FASTESTDET))
    found = judge(locate_model(settings), dataset, 12)
    with open_detector(settings, min_score=0.01, every_class=True) as detector:
        alone = measure(detector, dataset, 12)
    assert found.accuracy.figures == alone.figures
    with open_detector(settings) as device:  # as the daemon opens it
        labels = device.manifest.labels
        reported = [
            labels[class_id]
            for _, path in dataset.pictures(12)
            for class_id in device.detect(read_frame(path)).class_ids.tolist()
        ]
    assert found.confusion.detections == sum(label in dataset.categories for label in reported)
    assert found.confusion.min_score == 0.5
    assert found.confusion.labels == ("person", "car", "motorcycle", "bus", "truck", "background")


@needs("models/fastestdet_352_coco80.onnx", "eval/highway_test")
def test_a_judgement_survives_json_and_is_the_same_twice() -> None:
    dataset, located = Dataset(HIGHWAY), locate_model(ModelSettings(use=str(FASTESTDET)))
    first, second = (judge(located, dataset, 6).as_values() for _ in range(2))
    assert Judgement.from_values(json.loads(json.dumps(first))).as_values() == first
    for one in (first, second):
        del one["inference_ms"]
    assert first == second


@needs("models/fastestdet_352_coco80.onnx", "eval/highway_test")
@pytest.mark.timeout(300)
def test_the_command_reaches_the_published_accuracy_of_fastestdet_on_road_pictures(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from appliance.workbench.evaluate import evaluate

    picture = tmp_path / "confusion.png"
    command = [str(FASTESTDET), str(HIGHWAY), "--json", "--confusion", str(picture)]
    result = CliRunner().invoke(evaluate, command, catch_exceptions=False)
    assert json.loads(result.stdout)["figures"]["ap50"] == pytest.approx(0.41, abs=0.006)  # README beside the pictures
    assert picture.stat().st_size > 1000
