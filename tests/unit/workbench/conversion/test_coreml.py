"""A Core ML package says of itself what the network takes and gives. That it runs can be seen on a Mac only."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
pytest.importorskip("coremltools", reason="coremltools, the extra `convert`, is not installed")

import onnx

from appliance.core.errors import ModelError
from appliance.core.manifest import InputSpec
from appliance.workbench.conversion.coreml import write_mlpackage
from appliance.workbench.conversion.torch_graph import TorchGraph
from tests.simulators.tiny_detector import SIZE, tiny_detector

SPEC = InputSpec(width=SIZE, height=SIZE, dtype="uint8", colour="rgb", fit="stretch")
OUTPUTS = (("scores", (1, 2, 20)), ("distances", (1, 4, 20)))


def test_the_package_takes_a_picture_and_gives_the_networks_outputs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = TorchGraph(onnx.load_from_string(tiny_detector()), "tiny.onnx")
    facts = write_mlpackage(network, SPEC, OUTPUTS, tmp_path / "tiny.mlpackage", "tiny.onnx")
    assert capfd.readouterr() == ("", "")
    assert facts.version == 7
    assert facts.input == f"image RGB {SIZE}x{SIZE}"
    assert facts.outputs == ("scores [1, 2, 20]", "distances [1, 4, 20]")
    assert facts.operators["conv"] == 8
    assert facts.operators["sigmoid"] == 1
    assert facts.size > 1000
    assert (tmp_path / "tiny.mlpackage" / "Manifest.json").is_file()


def test_what_an_image_cannot_say_and_a_wrong_promise_are_refused(tmp_path: Path) -> None:
    network = TorchGraph(onnx.load_from_string(tiny_detector()), "tiny.onnx")
    spec = SPEC.model_copy(update={"dtype": "float32", "std": (1.0, 2.0, 3.0)})
    with pytest.raises(ModelError, match="one scale for all"):
        write_mlpackage(network, spec, OUTPUTS, tmp_path / "a.mlpackage", "tiny.onnx")
    promised = (("scores", (1, 2, 21)), OUTPUTS[1])
    with pytest.raises(ModelError, match="became another network"):
        write_mlpackage(network, SPEC, promised, tmp_path / "b.mlpackage", "tiny.onnx")
