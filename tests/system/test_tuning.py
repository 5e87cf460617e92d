"""A daemon that runs its model as it was measured to be the best, and says so."""

from pathlib import Path

from appliance.config import ModelSettings
from appliance.inference.ways import Way
from tests.simulators.models import write_folder, yolox, yolox_answer
from tests.simulators.tunings import store
from tests.system.process import EdgecamProcess

CONFIG = """
[model]
use = "{model}"
{more}
[cameras.street]
kind = "synthetic"
fps = 5
"""


def status_of(directory: Path, more: str = "") -> dict[str, dict[str, object]]:
    config = CONFIG.format(model=directory / "mine", more=more)
    with EdgecamProcess(directory, "--broker", "none", config=config) as edgecam:
        status: dict[str, dict[str, object]] = edgecam.wait_for_status(
            lambda now: now["cameras"]["street"]["frames_processed"] > 1, 40, "two frames"
        )
        assert edgecam.stop() == 0
    return status


def test_the_daemon_runs_what_was_measured_and_what_holds_no_more_is_told_and_not_used(tmp_path: Path) -> None:
    seeing = yolox(yolox_answer((0, 2, 0.9)))
    model = ModelSettings(use=str(write_folder(tmp_path / "mine", {"int8": seeing, "fp32": seeing})))
    (tmp_path / "state").mkdir()
    store(tmp_path / "state", model, "fp32.onnx", Way(("cpu",)))
    status = status_of(tmp_path)
    assert status["model"]["file"] == "fp32.onnx"
    assert status["tuning"]["state"] == "used"
    assert status["state"] == "ok"  # type: ignore[comparison-overlap] # the one that is no table
    store(tmp_path / "state", model, "fp32.onnx", Way(("cpu",)), kernel="2.6")
    status = status_of(tmp_path)
    assert status["model"]["file"] == "int8.onnx"
    assert status["tuning"]["state"] == "stale"
    assert "kernel was 2.6" in str(status["tuning"]["why"])
    assert status["state"] == "ok"  # type: ignore[comparison-overlap] # it is no trouble
