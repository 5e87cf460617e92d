"""A model of any task stands on its ladder; only a detector's may run in a camera."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from appliance.config import ModelSettings
from appliance.core.clock import SystemClock
from appliance.core.errors import UnsupportedError
from appliance.core.frame import Frame, PixelLayout
from appliance.inference.climbing import ClimbingClassifier, ClimbingDetector, ClimbingSegmenter
from appliance.inference.ladder import open_climbing_model
from tests.simulators.models import write_yolox, yolox_answer
from tests.simulators.other_tasks import write_classifier, write_segmenter


def frame() -> Frame:
    stamp = SystemClock().now()
    return Frame(np.zeros((32, 64, 3), np.uint8), PixelLayout.BGR, 64, 32, "door", 0, stamp.time, stamp.mono_ns)


def test_what_climbs_looks_at_frames_as_its_task_says(tmp_path: Path) -> None:
    halves = np.repeat([1, 2], 4)[None].repeat(8, axis=0)
    detector = open_climbing_model(ModelSettings(use=str(write_yolox(tmp_path / "yolox.onnx", yolox_answer()))))
    classifier = open_climbing_model(ModelSettings(use=str(write_classifier(tmp_path / "animals", [0.0, 9.0, 0.0]))))
    segmenter = open_climbing_model(ModelSettings(use=str(write_segmenter(tmp_path / "ground", halves))))
    try:
        assert isinstance(detector, ClimbingDetector)
        assert len(detector.detect(frame())) == 0
        assert isinstance(classifier, ClimbingClassifier)
        assert int(classifier.scores(frame()).argmax()) == 1
        assert isinstance(segmenter, ClimbingSegmenter)
        assert np.unique(segmenter.segment(frame(), 16).class_ids).tolist() == [1, 2]
        assert classifier.last_inference_ms > 0
    finally:
        assert all(one.close() for one in (detector, classifier, segmenter))


def test_a_classifier_that_is_to_run_in_a_camera_is_refused(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "animals", [0.0, 9.0, 0.0])
    weights, network, manifest = folder / "model.onnx", b"9464", folder / "manifest.toml"
    text = manifest.read_text(encoding="utf-8").replace("model.onnx", "model.rpk").replace('"onnx"', '"rpk"')
    text = text.replace(hashlib.sha256(weights.read_bytes()).hexdigest(), hashlib.sha256(network).hexdigest())
    manifest.write_text(text.replace(f"size = {weights.stat().st_size}", "size = 4"), encoding="utf-8")
    (folder / "model.rpk").write_bytes(network)
    with pytest.raises(UnsupportedError, match='runs in a camera, which is for detectors; its task is "classify"'):
        open_climbing_model(ModelSettings(use=f"{folder}/"), has_network=True)
