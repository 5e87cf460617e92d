"""A float model and its 8-bit form become one folder that the device takes."""

from pathlib import Path

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
pytest.importorskip("onnx", reason="onnx, the extra `workbench`, is not installed")

import numpy as np

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError
from appliance.core.manifest import read_manifest
from appliance.inference.detector import open_detector
from appliance.workbench.bundle import bundle
from appliance.workbench.quantizer import Quantizer
from appliance.workbench.recipe import Recipe, read_recipe
from appliance.workbench.training.export import export
from appliance.workbench.training.network import Network
from tests.simulators.training import RECIPE


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return read_recipe(path)


@pytest.fixture
def trained(recipe: Recipe, tmp_path: Path) -> Path:
    torch.manual_seed(1)
    return export(Network(recipe.network, 2).eval(), recipe, tmp_path / "run", {})


@pytest.fixture
def in_8_bits(trained: Path, tmp_path: Path) -> Path:
    source = trained / "tiny-fp32.onnx"
    quantizer = Quantizer(source.read_bytes(), str(source))
    picture = np.random.default_rng(1).integers(0, 256, (1, 3, 64, 64), np.uint8)
    list(quantizer.calibrate([picture]))
    path = tmp_path / "any name.onnx"
    path.write_bytes(quantizer.variant())
    return path


def test_the_device_takes_8_bits_first_and_float_by_name(trained: Path, in_8_bits: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "tiny"
    arguments = [str(trained), "--int8", str(in_8_bits), "--out", str(out), "--min-score", "0.3"]
    result = CliRunner().invoke(bundle, arguments, catch_exceptions=False)
    assert [line.split()[0] for line in result.output.splitlines()] == ["int8", "fp32"]
    assert [artifact.precision for artifact in read_manifest(out).artifacts] == ["int8", "fp32"]
    with open_detector(ModelSettings(use="tiny", directories=(out.parent,))) as detector:
        assert detector.digest == read_manifest(out).artifacts[0].sha256
        assert detector.min_score == 0.3
    again = CliRunner().invoke(bundle, arguments, catch_exceptions=False)
    assert again.output == result.output


def test_what_is_no_trained_model_is_refused_and_nothing_is_written(
    trained: Path, in_8_bits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "other"
    named = CliRunner().invoke(bundle, [str(trained), "--int8", str(in_8_bits), "--out", str(out)])
    assert isinstance(named.exception, ConfigError)
    assert "must be named as the model is: tiny" in str(named.exception)
    assert not out.exists()


def test_a_file_that_does_not_run_is_told(trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nonsense")
    out = tmp_path / "models" / "tiny"
    result = CliRunner().invoke(bundle, [str(trained), "--int8", str(broken), "--out", str(out)])
    assert isinstance(result.exception, ModelError)
    assert "nothing was written" in str(result.exception)
    assert "broken.onnx is no ONNX file" in str(result.exception)
    assert not out.exists()


def test_a_float_file_is_no_8_bit_form(trained: Path, recipe: Recipe, tmp_path: Path) -> None:
    torch.manual_seed(2)
    other = export(Network(recipe.network, 2).eval(), recipe, tmp_path / "other", {})
    out = tmp_path / "models" / "tiny"
    for folder, told in ((trained, "is the float model itself"), (other, "calculates nothing in 8 bits")):
        file = folder / "tiny-fp32.onnx"
        result = CliRunner().invoke(bundle, [str(trained), "--int8", str(file), "--out", str(out)])
        assert isinstance(result.exception, ConfigError)
        assert told in str(result.exception)
    assert not out.exists()
