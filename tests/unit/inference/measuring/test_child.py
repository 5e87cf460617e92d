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
from appliance.core.manifest import TensorSpec
from appliance.inference.measuring.child import fill, guess_task, measure, peak_memory, read_picture
from appliance.inference.measuring.request import Answer, Request
from tests.simulators import tiny_onnx
from tests.simulators.models import write_folder, write_yolox, yolox, yolox_answer

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


def test_a_provider_that_is_not_here_is_no_reason_to_time_the_cpu_under_its_name(tmp_path: Path, picture: Path) -> None:
    model = write_yolox(tmp_path / "a.onnx", yolox_answer())
    with pytest.raises(EdgecamError, match="cuda"):
        measure(asked(model, picture, providers=("cuda", "cpu")))


def test_a_picture_fills_inputs_of_any_layout_and_type() -> None:
    image = np.full((10, 20, 3), (10, 20, 30), np.uint8)  # BGR
    planes = fill(TensorSpec(name="a", shape=(1, 3, 8, 8), dtype="float32"), image)
    assert (planes.shape, planes.dtype) == ((1, 3, 8, 8), np.float32)
    assert planes[0, :, 0, 0].tolist() == pytest.approx([30 / 127.5 - 1, 20 / 127.5 - 1, 10 / 127.5 - 1])
    pixels = fill(TensorSpec(name="a", shape=(None, None, None, 3), dtype="uint8"), image)
    assert (pixels.shape, pixels[0, 0, 0].tolist()) == ((1, 224, 224, 3), [30, 20, 10])
    assert fill(TensorSpec(name="a", shape=(1, 8, 8, 3), dtype="int8"), image)[0, 0, 0].tolist() == [-98, -108, -118]
    assert fill(TensorSpec(name="a", shape=(2, 7), dtype="int64"), image).tolist() == [[0] * 7] * 2


@pytest.mark.parametrize(
    ("shapes", "task"),
    [
        ([(1, 1001)], "classify?"),
        ([(1, 1, 1, 1000)], "classify?"),
        ([(1, 513, 513)], "segment?"),
        ([(1, 65, 65, 21)], "segment?"),
        ([(1, 1, 17, 3)], "?"),
        ([(1, 100, 4), (1, 100)], "?"),
    ],
)
def test_the_task_of_an_unknown_file_is_a_guess_and_looks_like_one(shapes: list[tuple[int, ...]], task: str) -> None:
    outputs = [TensorSpec(name="a", shape=shape, dtype="float32") for shape in shapes]
    assert guess_task(outputs) == task


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
