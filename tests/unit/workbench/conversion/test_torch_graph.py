"""A network in PyTorch gives what ONNX Runtime gives, and says what it cannot take."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
pytest.importorskip("onnx", reason="onnx, the extra `workbench`, is not installed")

import onnx

from appliance.core.errors import ModelError
from appliance.inference.runtimes.onnx import OnnxRuntime
from appliance.workbench.conversion.torch_graph import TorchGraph
from appliance.workbench.conversion.torch_session import TorchSession
from tests.simulators.tiny_detector import SIZE, tiny_detector

OURS = Path(__file__).resolve().parents[4] / "models" / "edgecam-nano" / "edgecam-nano-fp32.onnx"


@pytest.mark.parametrize(("content", "size"), [(tiny_detector(), SIZE), (OURS.read_bytes(), 320)], ids=["tiny", "ours"])
def test_it_gives_what_onnx_runtime_gives(content: bytes, size: int) -> None:
    picture = np.random.default_rng(4).integers(0, 256, (1, 3, size, size), np.uint8)
    theirs = OnnxRuntime().open(content, name="network", threads=1)
    wanted = theirs.run({"image": picture})
    ours = TorchSession(TorchGraph(onnx.load_from_string(content), "network"), theirs, 1)
    assert [one.name for one in ours.outputs] == ["scores", "distances"]
    for expected, got in zip(wanted, ours.run({"image": picture}), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_an_operator_that_is_not_known_is_named() -> None:
    with pytest.raises(ModelError, match="the operator Erf, which cannot be converted here; known: Add, Cast"):
        TorchGraph(onnx.load_from_string(tiny_detector(extra="Erf")), "other.onnx")


def test_a_form_that_would_give_other_numbers_is_refused() -> None:
    model = onnx.load_from_string(tiny_detector())
    resize = next(node for node in model.graph.node if node.op_type == "Resize")
    next(one for one in resize.attribute if one.name == "mode").s = b"linear"
    with pytest.raises(ModelError, match="Resize up_node with mode cannot be converted here"):
        TorchGraph(model, "other.onnx")
