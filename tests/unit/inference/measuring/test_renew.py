"""Measuring again beside the daemon: what the daemon alone can have is not held against the file that needs it."""

from pathlib import Path

import pytest

from appliance.config import ModelSettings
from appliance.core.errors import UnsupportedError
from appliance.inference.measuring.renew import for_one_process, renew
from tests.simulators.models import add_artifact, write_folder, yolox, yolox_answer

CORAL = 'delegate = { library = "libedgetpu.so.1" }'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return write_folder(tmp_path / "mine", {"fp32": yolox(yolox_answer())})


@pytest.mark.parametrize(("file", "more"), [("mine.hef", ""), ("mine.tflite", CORAL)])
def test_a_model_whose_accelerator_the_daemon_has_is_not_measured_without_it(
    tmp_path: Path, folder: Path, file: str, more: str
) -> None:
    add_artifact(folder, file, b"weights", more)
    with pytest.raises(UnsupportedError, match=f"{file} needs an accelerator .*: stop it first, sudo systemctl stop"):
        renew(ModelSettings(use=str(folder)), "latency", tmp_path / "state")
    assert list((tmp_path / "state").iterdir()) == []


def test_files_that_any_process_can_run_that_are_not_here_or_are_for_another_machine_are_no_reason(
    folder: Path,
) -> None:
    add_artifact(folder, "mine.tflite", b"weights")
    add_artifact(folder, "other.hef", b"weights", 'needs = { machines = ["riscv64"] }')
    add_artifact(folder, "gone.hef", b"weights").joinpath("gone.hef").unlink()
    assert for_one_process(ModelSettings(use=str(folder))) == []
    assert for_one_process(ModelSettings(use=str(folder / "fp32.onnx"))) == []
    assert for_one_process(ModelSettings(use="/models/yolo.hef")) == ["yolo.hef"]
