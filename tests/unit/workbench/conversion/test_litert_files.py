"""A .tflite file gives what the network gives: in float nearly the same, in 8 bits within some steps."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
pytest.importorskip("litert_torch", reason="litert-torch, the extra `convert`, is not installed")
pytest.importorskip("ai_edge_quantizer", reason="ai-edge-quantizer, the extra `convert`, is not installed")

import onnx

from appliance.core.manifest import TensorSpec
from appliance.inference.runtimes.litert import LiteRtRuntime
from appliance.workbench.conversion.litert import to_8_bits, to_tflite
from appliance.workbench.conversion.torch_graph import TorchGraph
from tests.simulators.tiny_detector import SIZE, tiny_detector


def run(content: bytes, picture: np.ndarray) -> tuple[tuple[TensorSpec, ...], list[np.ndarray]]:
    session = LiteRtRuntime().open(content, name="tiny", threads=1)
    try:
        return session.inputs, list(session.run({session.inputs[0].name: picture}))
    finally:
        session.close()


def test_both_files_take_bytes_with_channels_last_and_give_what_the_network_gives(
    capfd: pytest.CaptureFixture[str],
) -> None:
    network = TorchGraph(onnx.load_from_string(tiny_detector()), "tiny.onnx")
    pictures = np.random.default_rng(6).integers(0, 256, (8, 1, SIZE, SIZE, 3), np.uint8)
    picture = pictures[0]
    first = np.ascontiguousarray(picture.transpose(0, 3, 1, 2))
    in_float = to_tflite(network, first, "tiny.onnx")
    in_8_bits = to_8_bits(in_float, list(pictures), "tiny.onnx")
    assert capfd.readouterr() == ("", "")
    with torch.no_grad():
        wanted = [one.numpy() for one in network(torch.from_numpy(first))]
    for content, tolerance in ((in_float, 1e-5), (in_8_bits, 0.15)):
        (told,), found = run(content, picture)
        assert (told.shape, told.dtype) == ((1, SIZE, SIZE, 3), "uint8")
        for expected, got in zip(wanted, found, strict=True):
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, atol=tolerance * max(1.0, float(np.abs(expected).max())))
    assert len(in_8_bits) < len(in_float) * 1.2  # so small a network is mostly names


def test_a_score_that_no_calibration_picture_had_is_not_cut_off() -> None:
    model = onnx.load_from_string(tiny_detector())
    network = TorchGraph(model, "tiny.onnx")
    dark = [np.zeros((1, SIZE, SIZE, 3), np.uint8)] * 2
    bright = np.full((1, SIZE, SIZE, 3), 255, np.uint8)
    in_float = to_tflite(network, np.zeros((1, 3, SIZE, SIZE), np.uint8), "tiny.onnx")
    session = LiteRtRuntime().open(to_8_bits(in_float, dark, "tiny.onnx"), name="tiny", threads=1)
    interpreter = session._interpreter
    names = {one["index"]: one["quantization"] for one in interpreter.get_tensor_details()}
    sigmoid = next(one for one in interpreter._get_ops_details() if one["op_name"] == "LOGISTIC")
    scale, zero = names[int(sigmoid["inputs"][0])]
    assert ((-128 - zero) * scale, (127 - zero) * scale) == (pytest.approx(-8, abs=0.1), pytest.approx(4, abs=0.1))
    session.run({session.inputs[0].name: bright})
    session.close()
