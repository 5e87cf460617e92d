"""The command: what it writes, what it compares, and what it refuses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("onnx", reason="onnx, the extra `workbench`, is not installed")

from appliance.cameras.synthetic import Street
from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError, UnsupportedError
from appliance.core.manifest import MANIFEST_NAME, read_manifest
from appliance.inference.detector import open_detector
from appliance.inference.golden import check_golden
from appliance.workbench.conversion.agreement import Agreement
from appliance.workbench.conversion.run import Order, Report, Row, refuse_losses
from appliance.workbench.convert import convert
from tests.simulators.seeing_yolox import write_dataset

OURS = Path(__file__).resolve().parents[4] / "models" / "edgecam-nano"
SCRIPTS = ["--to", "tensorrt", "--to", "hailo"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streets")
    for seed in range(3):
        cv2.imwrite(str(folder / f"{seed}.png"), Street(320, 240, 10.0, 40 + seed).draw(50))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Give the bundled model's folder, for a test to change."""
    folder = tmp_path / "source" / "edgecam-nano"
    folder.mkdir(parents=True)
    for name in ("edgecam-nano-fp32.onnx", "edgecam-nano-int8.onnx", MANIFEST_NAME):
        shutil.copy(OURS / name, folder / name)
    shutil.copytree(OURS / "golden", folder / "golden")
    return folder


def test_scripts_and_calibration_pictures_are_written_beside_a_model_that_the_device_takes(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "edgecam-nano"
    arguments = [str(model), "--dataset", str(pictures), "--out", str(out), *SCRIPTS, "--json"]
    result = CliRunner().invoke(convert, arguments, catch_exceptions=False)
    told = json.loads(result.output)
    assert [row["file"] for row in told["rows"]] == ["edgecam-nano-int8.onnx", "edgecam-nano-fp32.onnx"]
    float_row = told["rows"][1]["agreement"]
    assert float_row["matched"] == float_row["expected"] > 5
    assert float_row["unexpected"] == 0
    assert max(float_row["largest"]) < 1e-4
    assert told["rows"][0]["agreement"]["sqnr_db"] < 60  # 8 bits, of the same network

    for_hailo = np.load(out / "hailo" / "calibration.npy")
    assert (for_hailo.shape, for_hailo.dtype) == ((3, 320, 320, 3), np.uint8)
    for_tensorrt = np.load(out / "tensorrt" / "calibration.npy")
    np.testing.assert_array_equal(for_tensorrt, for_hailo.transpose(0, 3, 1, 2))
    assert for_hailo[0, 0, 0].tolist() == [114] * 3  # the letterbox's padding
    assert for_hailo[0, 160].std() > 5  # and the picture
    assert (out / "tensorrt" / "build.sh").read_text().count("onnx=../edgecam-nano-fp32.onnx") == 1
    assert (out / "hailo" / "edgecam-nano-maps.onnx").is_file()

    assert {name for name in told["made"] if name.startswith("hailo/")} == {
        f"hailo/{name}" for name in ("calibration.npy", "compile.sh", "edgecam-nano-maps.onnx", "edgecam_nano.alls")
    }
    with open_detector(ModelSettings(use=str(out))) as detector:
        assert check_golden(detector, out).is_passed
    assert [one.precision for one in read_manifest(out).artifacts] == ["int8", "fp32"]


def test_the_same_order_gives_the_same_files(model: Path, pictures: Path, tmp_path: Path) -> None:
    found = []
    for folder in ("first", "second"):
        out = tmp_path / folder / "edgecam-nano"
        arguments = [str(model), "--dataset", str(pictures), "--out", str(out), "--calibrate-on", "2", "--to", "hailo"]
        CliRunner().invoke(convert, arguments, catch_exceptions=False)
        found.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert found[0] == found[1]
    assert len(found[0]) > 6


def report(*rows: Row, ap: float | None = None) -> Report:
    return Report("m", "out", "m.onnx", 17, 9, 9, "", 8, 6, 0, ap, 5.0, rows, {}, {}, None)


def row(file: str, matched: int, *, unexpected: int = 0, ap: float | None = None, is_made: bool = True) -> Row:
    return Row(file, "tflite", "int8", 100, Agreement(20, matched, unexpected, (0.1,), 30.0, 5.0), ap, is_made)


def test_what_lost_more_than_it_may_is_refused_with_its_figures(tmp_path: Path) -> None:
    order = Order("m", tmp_path / "m", tmp_path, drop=0.1, drop_ap=0.01)
    refuse_losses(report(row("a.tflite", 18), row("b.tflite", 19, unexpected=1)), order)
    with pytest.raises(ModelError) as told:
        refuse_losses(report(row("a.tflite", 17), row("b.tflite", 20), row("c.tflite", 18, unexpected=1)), order)
    assert told.value.exit_code == 65
    lines = str(told.value).splitlines()
    assert lines[0] == "nothing was written:"
    assert lines[1].strip().startswith("a.tflite lost 15.0 % of the detections (17 of 20 found, 0 unexpected; 10 % may")
    assert lines[2].strip().startswith("c.tflite lost 15.0 % of the detections (18 of 20 found, 1 unexpected")
    assert "larger --drop" in lines[3]


def test_what_came_with_the_model_is_told_and_not_refused(tmp_path: Path) -> None:
    order = Order("m", tmp_path / "m", tmp_path)
    refuse_losses(report(row("int8.onnx", 3, ap=0.1, is_made=False), ap=0.3), order)


def test_frames_in_which_the_network_finds_nothing_prove_nothing(tmp_path: Path) -> None:
    blind = Row("a.tflite", "tflite", "int8", 100, Agreement(0, 0, 0, (0.0,), 200.0, 5.0), None, is_made=True)
    with pytest.raises(UnsupportedError, match="there is nothing to compare"):
        refuse_losses(report(blind), Order("m", tmp_path / "m", tmp_path))


def test_average_precision_is_measured_once_and_can_refuse(model: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "edgecam-nano"
    judge = write_dataset(tmp_path / "judge", range(2))
    arguments = [str(model), "--dataset", str(pictures), "--out", str(out), "--to", "hailo", "--judge", str(judge)]
    first = json.loads(CliRunner().invoke(convert, [*arguments, "--json"], catch_exceptions=False).output)
    assert first["judged_on"] == 2
    assert first["source_ap"] == first["rows"][1]["ap"]
    ledger = out.with_name("edgecam-nano.convert.json")
    found = next(iter(json.loads(ledger.read_text())["searches"].values()))["found"]
    assert len(found) == 3  # the network, its new form, its 8 bits
    digest = read_manifest(out).artifacts[1].sha256
    values = json.loads(ledger.read_text())
    for search in values["searches"].values():
        search["found"] = {key: -0.5 if key.endswith(digest) else 0.3 for key in search["found"]}
    ledger.write_text(json.dumps(values))
    result = CliRunner().invoke(convert, arguments)
    assert isinstance(result.exception, ModelError)
    assert "edgecam-nano-fp32.onnx has AP -50.0 in place of 30.0" in str(result.exception)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("other", "."), "must be named as the model is: edgecam-nano"),
        (("source/edgecam-nano", "."), "is the model's own folder"),
        (("out/edgecam-nano", "bare.onnx"), "has no manifest beside it that names it"),
        (("out/edgecam-nano", "edgecam-nano=bare.onnx"), "has no manifest beside it that names it"),
        (("out/edgecam-nano", "edgecam-nano-int8.onnx"), "is int8 onnx; give the fp32 ONNX file"),
    ],
)
def test_an_order_that_cannot_be_right_is_refused(
    model: Path, pictures: Path, tmp_path: Path, place: tuple[str, str], said: str
) -> None:
    out, use = place
    shutil.copy(model / "edgecam-nano-fp32.onnx", model / "bare.onnx")
    name, equals, file = use.rpartition("=")
    arguments = [f"{name}{equals}{model / file}", "--dataset", str(pictures), "--out", str(tmp_path / out), *SCRIPTS]
    result = CliRunner().invoke(convert, arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)


@pytest.mark.parametrize(
    ("missing", "target"),
    [("torch", "tflite"), ("torch", "coreml"), ("litert_torch", "tflite"), ("coremltools", "coreml")],
)
def test_a_missing_converter_is_named_with_the_way_to_get_it(
    pictures: Path, tmp_path: Path, missing: str, target: str
) -> None:
    if missing != "torch":
        pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
    code = f"import sys; sys.modules['{missing}'] = None; from appliance.workbench.main import main; main()"
    out = tmp_path / "edgecam-nano"
    command = [sys.executable, "-c", code, "convert", str(OURS), "--dataset", str(pictures), "--out", str(out)]
    done = subprocess.run([*command, "--to", target], capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 70
    assert missing in done.stderr
    assert "pip install 'edgecam[convert]'" in done.stderr
    assert not out.exists()


@pytest.mark.timeout(300)  # the converter takes 20 s of one core, more where others compute
def test_tflite_files_join_the_ladder_and_run_on_the_device(model: Path, pictures: Path, tmp_path: Path) -> None:
    for package in ("torch", "litert_torch", "ai_edge_quantizer", "ai_edge_litert"):
        pytest.importorskip(package, reason=f"{package}, of the extra `convert`, is not installed")
    out = tmp_path / "edgecam-nano"
    arguments = [str(model), "--dataset", str(pictures), "--out", str(out), "--to", "tflite", "--machine", "x86_64"]
    result = CliRunner().invoke(convert, [*arguments, "--json"], catch_exceptions=False)
    rows = {row["file"]: row for row in json.loads(result.output)["rows"]}
    for file in ("edgecam-nano-int8.tflite", "edgecam-nano-fp32.tflite", "PyTorch"):
        assert rows[file]["agreement"]["matched"] == rows[file]["agreement"]["expected"] > 5
    artifacts = read_manifest(out).artifacts
    assert [one.format for one in artifacts] == ["onnx", "onnx", "tflite", "tflite"]
    assert artifacts[2].needs.machines == ("x86_64",)
    with open_detector(ModelSettings(use=str(out), artifact="edgecam-nano-int8.tflite")) as detector:
        assert check_golden(detector, out).is_passed
