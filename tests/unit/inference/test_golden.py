"""Golden frames: a model that is what it was passes; one that is blind, fires everywhere or was changed does not."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.core.errors import ModelError
from appliance.inference.artifacts import locate_artifact
from appliance.inference.detector import Detector, load_detector
from appliance.inference.golden import (
    MOST_FRAME_BYTES,
    MOST_GOLDEN_BYTES,
    GoldenObject,
    Tolerance,
    check_golden,
    compare_golden,
    decode_golden_frame,
    read_golden,
)
from tests.simulators.models import write_folder, yolox, yolox_answer

CAR, PERSON = 2, 0
SEEN = (0, CAR, 0.9), (27, PERSON, 0.8)


def write_golden(folder: Path, objects: list[dict[str, Any]], **changes: Any) -> Path:
    """Write golden frames: one black picture of 64 x 64, what is seen there, and changes of golden.json."""
    target = folder / "golden"
    target.mkdir(exist_ok=True)
    content = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    (target / "black.png").write_bytes(content)
    weights = hashlib.sha256((folder / "fp32.onnx").read_bytes()).hexdigest()
    golden = {
        "schema": 1,
        "frames": [{"file": "black.png", "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}],
        "artifacts": [{"sha256": weights, "min_score": 0.35, "frames": [objects]}],
    }
    (target / "golden.json").write_text(json.dumps(golden | changes), encoding="utf-8")
    return target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that sees a car of 8 x 8 top left and a person in cell 27, and golden frames that say so."""
    folder = write_folder(tmp_path / "mine", {"fp32": yolox(yolox_answer(*SEEN))})
    write_golden(folder, [thing("car", 0.9, 0, 0), thing("person", 0.8, 24, 24)])
    return folder


def thing(label: str, score: float, x: float, y: float) -> dict[str, Any]:
    return {"label": label, "score": score, "box": [x, y, x + 8, y + 8]}


def opened(folder: Path) -> Detector:
    return load_detector(locate_artifact(folder))


def test_a_model_that_finds_what_is_expected_passes(folder: Path) -> None:
    verdict = check_golden(opened(folder), folder)
    assert verdict.is_passed
    assert (verdict.frames, verdict.expected, verdict.deviations) == (1, 2, ())
    assert len(verdict.total_ms) == 1


@pytest.mark.parametrize(
    ("objects", "deviations"),
    [
        ([thing("car", 0.9, 0, 0)], [("unexpected", "person")]),  # fires where nothing is
        ([thing("car", 0.9, 0, 0), thing("person", 0.8, 24, 24), thing("bus", 0.7, 40, 0)], [("missing", "bus")]),
        ([thing("truck", 0.9, 0, 0), thing("person", 0.8, 24, 24)], [("missing", "truck"), ("unexpected", "car")]),
        ([thing("car", 0.6, 0, 0), thing("person", 0.8, 24, 24)], [("missing", "car"), ("unexpected", "car")]),
        ([thing("car", 0.9, 4, 0), thing("person", 0.8, 24, 24)], [("missing", "car"), ("unexpected", "car")]),
    ],
)
def test_what_is_beyond_the_tolerance_is_told(
    folder: Path, objects: list[dict[str, Any]], deviations: list[tuple[str, str]]
) -> None:
    write_golden(folder, objects)
    verdict = check_golden(opened(folder), folder)
    assert not verdict.is_passed
    assert [(one.what, one.label) for one in verdict.deviations] == deviations
    assert deviations[0][1] in str(verdict.deviations[0])


def test_a_small_difference_and_an_object_at_the_edge_of_the_scores_are_no_deviation() -> None:
    def objects(*rows: dict[str, Any]) -> list[GoldenObject]:
        return [GoldenObject.model_validate(row) for row in rows]

    expected = objects(thing("car", 0.9, 0, 0), thing("person", 0.44, 30, 30))
    near = objects(thing("car", 0.82, 0.5, 0), thing("dog", 0.44, 50, 50))
    assert compare_golden("one", expected, near, Tolerance(iou=0.8, score=0.1), 0.45) == []
    assert compare_golden("one", expected, near, Tolerance(iou=0.95, score=0.1), 0.45) != []
    assert compare_golden("one", expected, near, Tolerance(iou=0.8, score=0.05), 0.45) != []


def test_two_objects_in_one_place_need_two_detections() -> None:
    one = GoldenObject.model_validate(thing("car", 0.9, 0, 0))
    assert [deviation.what for deviation in compare_golden("x", [one, one], [one], Tolerance(), 0.45)] == ["missing"]


def test_other_weights_than_those_that_were_looked_at_are_not_judged(folder: Path) -> None:
    other = write_folder(folder.parent / "other", {"fp32": yolox(yolox_answer())})
    with pytest.raises(ModelError, match="know nothing of the weights"):
        check_golden(opened(other), folder)


def test_another_lowest_score_than_then_is_told_and_not_taken_for_a_deviation(folder: Path) -> None:
    manifest = folder / "manifest.toml"
    text = manifest.read_text(encoding="utf-8").replace("min_score = 0.35", "min_score = 0.85")
    manifest.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="make them again"):
        check_golden(opened(folder), folder)


def test_a_picture_that_is_not_the_one_that_is_named_is_refused(folder: Path) -> None:
    (folder / "golden" / "black.png").write_bytes(b"\x89PNG\r\n\x1a\nother")
    with pytest.raises(ModelError, match=r"is not the picture that golden\.json names"):
        check_golden(opened(folder), folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": []},
        {"frames": [{"file": "../fp32.onnx", "sha256": "0" * 64, "size": 100}]},
        {"frames": [{"file": "/etc/passwd", "sha256": "0" * 64, "size": 100}]},
        {"frames": [{"file": "a.png", "sha256": "0" * 64, "size": MOST_FRAME_BYTES + 1}]},
        {"artifacts": [{"sha256": "0" * 64, "min_score": 0.35, "frames": []}]},
        {"artifacts": [{"sha256": "0" * 64, "min_score": 0.35, "frames": [[thing("car", float("nan"), 0, 0)]]}]},
        {"artifacts": [{"sha256": "0" * 64, "min_score": 0.35, "frames": [[thing("car", 0.5, float("inf"), 0)]]}]},
        {"tolerance": {"iou": 0.0}},
        {"tolerance": {"score": 1.0}},
        {"schema": 2},
        {"surprise": 1},
    ],
)
def test_what_cannot_be_accepted_is_refused_with_its_place(folder: Path, changes: dict[str, Any]) -> None:
    write_golden(folder, [], **changes)
    with pytest.raises(ModelError, match=r"golden\.json is not accepted:\n  [\w(]+"):
        read_golden(folder)


def test_files_that_are_missing_too_large_no_json_or_lead_elsewhere_are_refused(folder: Path, tmp_path: Path) -> None:
    golden = folder / "golden" / "golden.json"
    golden.write_text("{" * 100_000, encoding="utf-8")
    with pytest.raises(ModelError, match="is no valid JSON"):
        read_golden(folder)
    golden.write_bytes(b" " * (MOST_GOLDEN_BYTES + 1))
    with pytest.raises(ModelError, match="is larger than"):
        read_golden(folder)
    golden.unlink()
    with pytest.raises(ModelError, match=r"golden\.json is missing"):
        read_golden(folder)
    outside = tmp_path / "outside.json"
    outside.write_text("{}", encoding="utf-8")
    golden.symlink_to(outside)
    with pytest.raises(ModelError, match="leads out of the model's folder"):
        read_golden(folder)
    golden.unlink()
    os.mkfifo(golden)  # would wait for somebody to write
    with pytest.raises(ModelError, match="is no plain file"):
        read_golden(folder)


def test_only_a_whole_png_of_a_bounded_size_is_unpacked() -> None:
    large, fitting = (cv2.imencode(".png", np.zeros((high, 1920, 3), np.uint8))[1].tobytes() for high in (1200, 1080))
    assert len(large) < MOST_FRAME_BYTES
    assert decode_golden_frame(large) is None
    assert decode_golden_frame(fitting) is not None
    assert decode_golden_frame(fitting[:40]) is None
    assert decode_golden_frame(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()) is None
