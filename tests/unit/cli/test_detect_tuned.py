"""`edgecam detect` runs the model as it was measured to be the best, as the daemon does."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from appliance.cli import configured
from appliance.cli.detect import detect
from appliance.config import ModelSettings
from tests.simulators.models import write_folder, yolox, yolox_answer
from tests.simulators.tunings import store


def run(*arguments: str) -> Result:
    return CliRunner().invoke(detect, arguments, catch_exceptions=False)


def test_the_stored_choice_is_used_and_one_that_holds_no_more_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeing, blind = yolox(yolox_answer((0, 2, 0.9))), yolox(yolox_answer())
    folder = write_folder(tmp_path / "mine", {"int8": blind, "fp32": seeing})
    (tmp_path / "state").mkdir()
    config = f'[device]\nstate_dir = "{tmp_path}/state"\n[model]\nuse = "{folder}"\n'
    (tmp_path / "edgecam.toml").write_text(config)
    monkeypatch.setattr(configured, "DEFAULT_PATH", tmp_path / "edgecam.toml")
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((64, 64, 3), np.uint8))
    store(tmp_path / "state", ModelSettings(use=str(folder)), "fp32.onnx")
    done = run(str(tmp_path / "black.png"), "--json")
    assert [one["label"] for one in json.loads(done.stdout)["detections"]] == ["car"]
    assert done.stderr == ""
    store(tmp_path / "state", ModelSettings(use=str(folder)), "fp32.onnx", kernel="2.6")
    done = run(str(tmp_path / "black.png"), "--json")
    assert json.loads(done.stdout)["detections"] == []
    assert "edgecam: measured on something else: kernel was 2.6, is " in done.stderr
