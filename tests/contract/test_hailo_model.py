"""A model for a Hailo, from its manifest to detections, on the vendor's stand-in."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from appliance.config import ModelSettings
from appliance.core.clock import SystemClock
from appliance.core.errors import ModelError
from appliance.core.frame import Frame, PixelLayout
from appliance.inference.detector import Detector
from appliance.inference.folders import bundled_models
from appliance.inference.ladder import open_best_model
from tests.simulators.models import add_artifact, write_ladder, yolox, yolox_answer
from tests.simulators.vendor_hailo_platform import Machine, hef, installed, status

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hardware.md"
YOLO = hef(input=[640, 640, 3], outputs=[{"name": "yolo/nms", "classes": 80, "boxes": 100}])
FOUND = {0: [(0.5, 0.25, 0.75, 0.5, 0.8)], 2: [(0.25, 0.0, 0.5, 1.0, 0.6), (0.3, 0.3, 0.4, 0.4, 0.05)]}


def frame(width: int = 320, height: int = 160) -> Frame:
    stamp = SystemClock().now()
    image = np.zeros((height, width, 3), np.uint8)
    return Frame(image, PixelLayout.BGR, width, height, "door", 0, stamp.time, stamp.mono_ns)


def model_of_the_page(directory: Path) -> Path:
    """Write the page's example, with the figures of the file that the stand-in opens."""
    text = PAGE.read_text(encoding="utf-8").partition("```toml\nschema")[2].partition("```")[0]
    folder = directory / "hailo-coco"
    folder.mkdir(parents=True)
    labels = (bundled_models() / "labels" / "coco80.txt").read_text(encoding="utf-8")
    (folder / "coco80.txt").write_text(labels, encoding="utf-8")
    (folder / "yolov8s_h8l.hef").write_bytes(YOLO)
    text = text.replace("0" * 64, hashlib.sha256(YOLO).hexdigest()).replace("size = 1", f"size = {len(YOLO)}")
    (folder / "manifest.toml").write_text("schema" + text.replace("/dev/hailo0", "/dev/null"), encoding="utf-8")
    return folder


def test_the_example_of_the_page_runs_and_boxes_are_in_pixels_of_the_frame(tmp_path: Path) -> None:
    folder = model_of_the_page(tmp_path)
    with installed(Machine(found=FOUND)), open_best_model(ModelSettings(use=f"{folder}/")) as detector:
        found = detector.detect(frame())
        facts = detector.running.facts()
    assert [detector.manifest.labels[one] for one in found.class_ids] == ["person", "car"]
    np.testing.assert_allclose(found.scores, [0.8, 0.6])
    # 320 x 160 fills the middle half of a square's height: its rows are 0.25 to 0.75 of the input
    np.testing.assert_allclose(found.boxes, [[80, 80, 160, 160], [0, 0, 320, 80]], atol=0.01)
    assert facts["providers"] == [{"name": "hailo", "nodes": None}]


def test_labels_of_another_number_than_the_files_lists_are_refused(tmp_path: Path) -> None:
    folder = model_of_the_page(tmp_path)
    (folder / "coco80.txt").write_text("person\ncar\n", encoding="utf-8")
    with installed(), pytest.raises(ModelError, match=r"it has .* uint8\[1,640,640,3\] -> .* float32\[1,80,100,5\]"):
        open_best_model(ModelSettings(use=f"{folder}/"))


def ladder(directory: Path) -> Detector:
    folder = write_ladder(directory, yolox(yolox_answer((0, 0, 0.9))))
    manifest = (folder / "manifest.toml").read_text(encoding="utf-8")
    begin = manifest.index("[[artifacts]]")
    (folder / "manifest.toml").write_text(manifest[:begin], encoding="utf-8")
    more = 'needs = { device = "/dev/null" }\n'
    more += 'input = { width = 64, height = 64, layout = "nhwc", dtype = "uint8", colour = "rgb", fit = "stretch" }\n'
    more += 'decoder = { kind = "by-class", nms_iou = 1.0, min_score = 0.4 }\n'
    more += 'signature = { input = { shape = [1, "height", "width", 3], dtype = "uint8" }, '
    more += 'outputs = [{ shape = [1, "classes", "any", 5] }] }\n'
    add_artifact(folder, "r.hef", hef(outputs=[{"name": "nms", "classes": 80, "boxes": 4}]), more)
    with (folder / "manifest.toml").open("a", encoding="utf-8") as file:
        file.write("\n" + manifest[begin:])
    return open_best_model(ModelSettings(use="stairs", directories=[directory]))


def test_a_hailo_that_another_program_has_is_told_and_the_next_artifact_runs(tmp_path: Path) -> None:
    trouble = status(73, "HAILO_DEVICE_IN_USE")
    with installed(Machine(trouble=trouble)), ladder(tmp_path) as detector:
        assert detector.running.file == "r0.onnx"
        (trouble_told,) = detector.running.troubles()
        assert trouble_told.startswith("r.hef was refused, r0.onnx runs: another program has the Hailo; stop it")


@pytest.mark.parametrize("value", [np.nan, 2.0])
def test_a_hailo_that_gives_nonsense_for_its_first_picture_is_passed_over(tmp_path: Path, value: float) -> None:
    box = (value, 0.0, 1.0, 1.0, value)
    with installed(Machine(found={0: [box]})) as machine, ladder(tmp_path) as detector:
        assert detector.running.file == "r0.onnx"
        assert machine.devices == []


def test_a_hailo_that_answers_runs_before_the_cpu(tmp_path: Path) -> None:
    with installed(Machine(found={0: [(0.0, 0.0, 1.0, 1.0, 0.9)]})), ladder(tmp_path) as detector:
        assert (detector.running.file, detector.running.troubles()) == ("r.hef", ())
        assert len(detector.detect(frame())) == 1
