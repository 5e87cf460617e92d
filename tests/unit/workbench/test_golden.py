"""`edgecam-workbench golden` and what a device makes of it."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from appliance.core.errors import ConfigError, ModelError
from appliance.inference.golden import MOST_FRAME_BYTES, MOST_FRAMES, MOST_OBJECTS, read_golden
from appliance.workbench.golden import golden
from appliance.workbench.golden_frames import drawn_frames
from tests.simulators.models import write_folder, yolox, yolox_answer

CAR = 2


def make(*arguments: object) -> str:
    return CliRunner().invoke(golden, [str(one) for one in arguments], catch_exceptions=False).stdout


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for at in range(2):
        cv2.imwrite(str(folder / f"{at}.png"), np.full((64, 64, 3), 40 * at, np.uint8))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weights = {"int8": yolox(yolox_answer((0, CAR, 0.7))), "fp32": yolox(yolox_answer((0, CAR, 0.9)))}
    return write_folder(tmp_path / "mine", weights)


def test_each_artifact_has_its_own_expectation_and_a_device_confirms_it(model: Path, pictures: Path) -> None:
    told = json.loads(make(model, "--frames", pictures, "--json"))
    assert told["frames"] == ["0.png", "1.png"]
    scores = [one.frames[0][0].score for one in read_golden(model).artifacts]
    assert scores == pytest.approx([0.7, 0.9])


def test_the_same_model_and_pictures_give_the_same_bytes_and_others_replace_them(model: Path, pictures: Path) -> None:
    make(model, "--frames", pictures)
    first = contents(model)
    make(model, "--frames", pictures)
    assert contents(model) == first
    (model / "golden" / "by-hand.txt").write_text("kept", encoding="utf-8")
    (pictures / "0.png").rename(pictures / "2.png")
    make(model, "--frames", pictures)
    assert sorted(path.name for path in (model / "golden").iterdir()) == [
        "1.png",
        "2.png",
        "by-hand.txt",
        "golden.json",
    ]


def test_a_model_that_sees_nothing_gets_no_golden_frames(tmp_path: Path, pictures: Path) -> None:
    blind = write_folder(tmp_path / "blind", {"fp32": yolox(yolox_answer((0, CAR, 0.36)))})
    with pytest.raises(ModelError, match="they would prove nothing"):
        make(blind, "--frames", pictures)
    assert not (blind / "golden").exists()


def test_a_thousand_objects_in_a_frame_are_written_and_too_many_frames_of_them_leave_a_good_set_alone(
    tmp_path: Path, pictures: Path
) -> None:
    side, rows = 256, 32 * 32 + 16 * 16 + 8 * 8
    busy = np.zeros((1, rows, 85), np.float32)
    busy[0, :1000, :5] = (0.5, 0.5, 0.0, 0.0, 1.0)  # an object in each cell, none overlaps another
    busy[0, :1000, 5 + CAR] = 0.9
    model = write_folder(tmp_path / "busy", {"fp32": yolox(busy, side)})
    manifest = (model / "manifest.toml").read_text(encoding="utf-8")
    manifest = manifest.replace("max_detections = 300", "max_detections = 1000")
    (model / "manifest.toml").write_text(manifest, encoding="utf-8")
    (pictures / "1.png").unlink()
    make(model, "--frames", pictures)
    assert len(read_golden(model).artifacts[0].frames[0]) == MOST_OBJECTS == 1000
    before = contents(model)
    for at in range(6):
        cv2.imwrite(str(pictures / f"{at}.png"), np.full((64, 64, 3), 40 * at, np.uint8))
    with pytest.raises(ModelError, match=r"nothing was written: golden\.json would have .* give fewer pictures"):
        make(model, "--frames", pictures)
    assert contents(model) == before


def test_frames_that_do_not_pass_replace_none_that_do(model: Path, pictures: Path) -> None:
    make(model, "--frames", pictures)
    before = contents(model)
    nowhere = yolox_answer((0, CAR, 0.9))
    nowhere[0, 0, 2:4] = -8.0  # a box that has no area once it is rounded overlaps nothing, not even itself
    content, old = yolox(nowhere), (model / "int8.onnx").read_bytes()
    manifest = (model / "manifest.toml").read_text(encoding="utf-8")
    manifest = manifest.replace(hashlib.sha256(old).hexdigest(), hashlib.sha256(content).hexdigest())
    (model / "manifest.toml").write_text(manifest, encoding="utf-8")
    (model / "int8.onnx").write_bytes(content)
    cv2.imwrite(str(pictures / "0.png"), np.full((64, 64, 3), 200, np.uint8))
    with pytest.raises(ModelError, match=r"nothing was written: .*int8\.onnx does not do the same twice"):
        make(model, "--frames", pictures)
    assert contents(model) == before


def contents(model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (model / "golden").iterdir()}


def test_a_family_without_weights_is_told(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(ConfigError, match="has no weights"):
        make(write_folder(tmp_path / "none", {}), "--frames", pictures)


def test_pictures_that_a_device_would_not_accept_are_refused(model: Path, pictures: Path) -> None:
    (pictures / "0.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"0\.png is not accepted"):
        make(model, "--frames", pictures)
    for at in range(MOST_FRAMES + 1):
        cv2.imwrite(str(pictures / f"{at}.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match=f"accepted: 1 to {MOST_FRAMES}"):
        make(model, "--frames", pictures)


def test_drawn_frames_are_small_distinct_and_the_same_each_time(model: Path) -> None:
    files = drawn_frames().files
    make(model)  # draws them again
    assert {one.name: one.read_bytes() for one in (model / "golden").glob("*.png")} == files
    assert len(set(files.values())) == len(files) == 6
    assert max(map(len, files.values())) < MOST_FRAME_BYTES // 8
