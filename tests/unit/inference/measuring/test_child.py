"""The measuring process itself, with small files that are made here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.core.errors import EdgecamError
from appliance.core.machine import peak_memory
from appliance.inference.measuring.child import measure, read_picture
from appliance.inference.measuring.request import Answer, Request
from tests.simulators import tiny_onnx
from tests.simulators.models import write_folder, write_yolox, yolox, yolox_answer
from tests.simulators.other_tasks import write_classifier, write_segmenter

CAR = 2


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((64, 64, 3), np.uint8))
    return tmp_path / "black.png"


def asked(use: Path, picture: Path, **more: object) -> Request:
    folder = picture.parent
    facts = {"use": str(use), "pictures": (str(picture),), "answer": str(folder / "answer.json"), "seconds": 0.0}
    return Request.model_validate(facts | {"outputs": str(folder / "o.npz"), "least_frames": 3} | more)


def test_a_detector_is_timed_from_picture_to_detections_and_tells_what_it_found(tmp_path: Path, picture: Path) -> None:
    model = write_yolox(tmp_path / "a.onnx", yolox_answer((0, CAR, 0.9)))
    answer = measure(asked(model, picture, providers=("cpu",)))
    assert (answer.error, answer.model, answer.task, answer.input) == ("", "yolox", "detect", (64, 64))
    assert len(answer.wall_ms) == 3
    assert all(0.0 < inner <= wall for inner, wall in zip(answer.inference_ms, answer.wall_ms, strict=True))
    assert [[(one.label, one.score) for one in objects] for objects in answer.objects] == [[("car", 0.9)]]
    assert all(0.0 <= wait <= wall for wait, wall in zip(answer.waited_ms, answer.wall_ms, strict=True))
    assert answer.placements == (("cpu", 0),)  # it gives what it was given: all of it is constant
    with np.load(tmp_path / "o.npz") as stored:
        assert stored["arr_0"].shape == (1, 84, 85)


def test_an_artifact_of_a_model_is_the_one_that_was_asked_for(tmp_path: Path, picture: Path) -> None:
    folder = write_folder(
        tmp_path / "mine", {"int8": yolox(yolox_answer()), "fp32": yolox(yolox_answer((0, CAR, 0.9)))}
    )
    answer = measure(asked(folder, picture, artifact="fp32.onnx"))
    assert (answer.model, answer.is_quantized, len(answer.objects[0])) == ("mine", False, 1)
    assert measure(asked(folder, picture, artifact="int8.onnx")).is_quantized


def test_a_file_without_a_decoder_is_timed_with_input_of_its_shape(tmp_path: Path, picture: Path) -> None:
    content = tiny_onnx.model(
        {"picture": (1, 32, 32, 3), "state": (1, 4)},
        {"scores": np.zeros((1, 10), np.float32)},
        input_dtype={"picture": "uint8", "state": "float32"},
    )
    (tmp_path / "other.onnx").write_bytes(content)
    answer = measure(asked(tmp_path / "other.onnx", picture))
    assert (answer.error, answer.model, answer.task, answer.objects) == ("", "", "classify?", ())
    assert len(answer.wall_ms) == 3


def test_a_classifier_is_timed_with_its_preprocessing_and_tells_the_score_of_each_label(
    tmp_path: Path, picture: Path
) -> None:
    folder = write_classifier(tmp_path / "pets", [9.0, 3.0, 1.0])
    answer = measure(asked(folder, picture, artifact="model.onnx"))
    assert (answer.model, answer.task, answer.input, answer.min_score) == ("pets", "classify", (32, 32), 0.3)
    assert all(inner < wall for inner, wall in zip(answer.inference_ms, answer.wall_ms, strict=True))
    with np.load(tmp_path / "o.npz") as stored:
        scores = stored["arr_0"]
    assert scores.shape == (1, 3)
    assert scores[0, 0] == 0.0  # its background is not told
    assert scores[0, 1] > scores[0, 2] > 0.0


def test_a_segmentation_network_tells_the_label_of_each_pixel(tmp_path: Path, picture: Path) -> None:
    folder = write_segmenter(tmp_path / "yard", np.repeat([[0], [1]], 16, axis=0) * np.ones((1, 32), np.int64))
    answer = measure(asked(folder, picture, artifact="model.onnx"))
    assert (answer.model, answer.task) == ("yard", "segment")
    with np.load(tmp_path / "o.npz") as stored:
        told = stored["arr_0"]
    assert told.shape == (64, 64)  # as the picture
    assert (told[0] == -1).all()
    assert (told[-1] == 1).all()


def test_a_provider_that_is_not_here_is_no_reason_to_time_the_cpu_under_its_name(tmp_path: Path, picture: Path) -> None:
    model = write_yolox(tmp_path / "a.onnx", yolox_answer())
    with pytest.raises(EdgecamError, match="cuda"):
        measure(asked(model, picture, providers=("cuda", "cpu")))


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    for name in ("a.png", "missing.png"):
        with pytest.raises(EdgecamError, match=name):
            read_picture(tmp_path / name)


def test_the_process_answers_in_its_file_and_a_broken_model_with_its_reason(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    request = asked(tmp_path / "bad.onnx", picture)
    command = [sys.executable, "-m", "appliance.inference.measuring.child"]
    done = subprocess.run(
        command, input=request.model_dump_json().encode(), check=False, timeout=60, env={**os.environ}, stderr=-1
    )
    assert done.returncode == 0, done.stderr
    answer = Answer.model_validate(json.loads((tmp_path / "answer.json").read_text()))
    assert answer.kind == "ModelError"
    assert "bad.onnx is no model that ONNX Runtime can load" in answer.error


def test_peak_memory_is_this_process_s_own() -> None:
    peak = peak_memory()
    assert peak is not None
    assert 10.0 < peak < 10_000.0
