"""An artifact that cannot be run on this machine is told as skipped, and the others are looked at."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.core.errors import UnsupportedError
from appliance.core.manifest import read_manifest
from appliance.inference.golden import read_golden
from appliance.workbench.card import card
from appliance.workbench.golden import golden
from appliance.workbench.runnable import read_runnable
from tests.simulators.datasets import write_dataset
from tests.simulators.models import add_artifact, write_folder, yolox, yolox_answer

CAR = 2
SOUND = yolox(yolox_answer((0, CAR, 0.9)))
TENSORRT = 'providers = [{ kind = "tensorrt" }]\n'
ELSEWHERE = 'needs = { device = "/dev/no-such-accelerator" }\n'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with an artifact that can be run, and one for an accelerator that is not here."""
    folder = write_folder(tmp_path / "mine", {"fp32": SOUND})
    return add_artifact(folder, "elsewhere.onnx", SOUND, ELSEWHERE)


@pytest.mark.parametrize(
    ("more", "why"), [(TENSORRT, "nothing that may run .* does so here"), (ELSEWHERE, "needs /dev/no-such-accelerator")]
)
def test_what_needs_another_machine_is_skipped_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, why: str
) -> None:
    folder = add_artifact(write_folder(tmp_path / "mine", {"fp32": SOUND}), "other.onnx", SOUND, more)
    runnable = read_runnable(folder, read_manifest(folder))
    assert [artifact.file for artifact, _ in runnable.found] == ["fp32.onnx"]
    assert re.search(why, runnable.skipped["other.onnx"])
    assert re.search(f"other.onnx is skipped: .*{why}", capsys.readouterr().err)


@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is not None, reason="LiteRT is installed")
def test_an_artifact_whose_runtime_is_not_installed_is_skipped_with_what_to_install(tmp_path: Path) -> None:
    folder = add_artifact(write_folder(tmp_path / "mine", {"fp32": SOUND}), "small.tflite", b"never opened")
    runnable = read_runnable(folder, read_manifest(folder))
    assert [artifact.file for artifact, _ in runnable.found] == ["fp32.onnx"]
    assert "edgecam[litert]" in runnable.skipped["small.tflite"]


def test_where_none_can_be_run_each_is_told(tmp_path: Path) -> None:
    folder = add_artifact(write_folder(tmp_path / "mine", {}), "other.onnx", SOUND, ELSEWHERE)
    with pytest.raises(UnsupportedError, match=r"can be run here:\n  other\.onnx: it needs /dev/no-such-accelerator"):
        read_runnable(folder, read_manifest(folder))


def test_golden_frames_are_made_for_those_that_can_be_run(model: Path) -> None:
    add_artifact(model, "broken-elsewhere.onnx", b"for another machine", ELSEWHERE)
    done = CliRunner().invoke(golden, [str(model), "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "broken-elsewhere.onnx is skipped: it needs" in done.stderr
    assert len(json.loads(done.stdout)["objects"]) == len(read_golden(model).artifacts) == 1


def test_a_card_tells_which_artifacts_it_says_nothing_of(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="needs pycocotools: pip install 'edgecam[workbench]'")
    data = write_dataset(tmp_path / "data", {"a.png": [("car", (0.0, 0.0, 8.0, 8.0))]}, ("person", "car"))
    options = [str(model), "--data", f"drawn={data}", "--ledger", str(tmp_path / "ledger.json"), "--frames", "1"]
    done = CliRunner().invoke(card, [*options, "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert [one["file"] for one in told["artifacts"]] == ["fp32.onnx"]
    assert [one["name"] for one in told["costs"]["rows"]] == ["fp32.onnx"]
    assert list(told["skipped"]) == ["elsewhere.onnx"]
    page = (model / "README.md").read_text(encoding="utf-8")
    assert "Could not be run on the machine that measured, so left out here: `elsewhere.onnx`." in page
    assert "/dev/no-such-accelerator" not in page
