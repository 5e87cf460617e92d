import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.errors import ModelError

onnx = pytest.importorskip("onnx", reason="needs the onnx package: pip install 'edgecam[workbench]'")
from appliance.workbench.noise import outputs_sqnr  # noqa: E402 - onnx is there from here on
from appliance.workbench.quantizer import Quantizer  # noqa: E402
from tests.simulators import seeing_yolox  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


def inputs(count: int = 4) -> list[NDArray[Any]]:
    pictures = (seeing_yolox.picture(seed)[0] for seed in range(count))
    return [np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) for image in pictures]


def quantizer(path: Path, scheme: Any = "u8s8", calibration: Any = "minmax", **kind: bool) -> Quantizer:
    made = Quantizer(seeing_yolox.write_model(path, **kind).read_bytes(), str(path), scheme)
    assert list(made.calibrate(inputs(), calibration))[-1] == 4
    return made


def fed_in_8_bits(content: bytes) -> set[str]:
    """Give the names of the convolutions that read a picture or a map from 8 bits."""
    graph = onnx.load_from_string(content).graph
    from_8_bits = {output for node in graph.node if node.op_type == "DequantizeLinear" for output in node.output}
    return {node.name for node in graph.node if node.op_type == "Conv" and node.input[0] in from_8_bits}


def test_weights_get_a_scale_for_each_channel(tmp_path: Path) -> None:
    content = quantizer(tmp_path / "seeing.onnx").variant()
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load_from_string(content).graph.initializer}
    assert stored["eye_8_weight_quantized"].dtype == np.int8
    assert stored["eye_8_weight_scale"].shape == (85,)


def test_with_rounded_ranges_pictures_that_are_a_little_brighter_change_few_scales(tmp_path: Path) -> None:
    model = seeing_yolox.write_model(tmp_path / "seeing.onnx").read_bytes()

    def scales(brightness: float, *, is_steady: bool) -> set[tuple[str, bytes]]:
        made = Quantizer(model, "seeing")
        list(made.calibrate([one * np.float32(brightness) for one in inputs()]))
        if is_steady:
            made.round_ranges()
        stored = onnx.load_from_string(made.variant()).graph.initializer
        return {(one.name, onnx.numpy_helper.to_array(one).tobytes()) for one in stored if one.name.endswith("_scale")}

    changed = {
        is_steady: len(scales(1.0, is_steady=is_steady) - scales(1.002, is_steady=is_steady))
        for is_steady in (True, False)
    }
    assert changed[True] <= changed[False] / 4


def test_ranges_are_rounded_after_they_are_learned(tmp_path: Path) -> None:
    made = Quantizer(seeing_yolox.write_model(tmp_path / "seeing.onnx").read_bytes(), "seeing")
    with pytest.raises(ModelError, match="was not calibrated"):
        made.round_ranges()


@pytest.mark.parametrize(("scheme", "dtype"), [("u8s8", np.uint8), ("s8s8", np.int8)])
def test_the_scheme_decides_the_type_of_activations(tmp_path: Path, scheme: str, dtype: type) -> None:
    content = quantizer(tmp_path / "seeing.onnx", scheme).variant()
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load_from_string(content).graph.initializer}
    assert stored["images_zero_point"].dtype == dtype


def test_weights_of_7_bits_cannot_saturate_sums_and_activations_keep_their_8(tmp_path: Path) -> None:
    contents = [quantizer(tmp_path / "seeing.onnx", scheme).variant() for scheme in ("u8s8", "u8s7")]
    whole, reduced = (
        {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load_from_string(content).graph.initializer}
        for content in contents
    )
    weights = [name for name in whole if name.endswith("_weight_quantized")]
    assert max(np.abs(whole[name].astype(int)).max() for name in weights) == 127
    largest = max(np.abs(reduced[name].astype(int)).max() for name in weights)
    assert 255 * largest * 2 <= np.iinfo(np.int16).max
    assert largest > 60
    np.testing.assert_array_equal(reduced["images_scale"], whole["images_scale"])


@pytest.mark.parametrize("calibration", ["minmax", "entropy", "percentile"])
def test_every_calibration_gives_a_model_that_still_sees(tmp_path: Path, calibration: str) -> None:
    made = quantizer(tmp_path / "seeing.onnx", calibration=calibration)
    expected = list(made.outputs(None, inputs()))
    found = list(made.outputs(made.variant(), inputs()))
    assert np.abs(expected[0][0] - found[0][0]).max() < 0.1


def test_nodes_that_are_kept_in_float_take_and_give_float(tmp_path: Path) -> None:
    made = quantizer(tmp_path / "seeing.onnx")
    assert fed_in_8_bits(made.variant()) == {"eye_8", "eye_16", "eye_32"}
    kept = ["eye_16", "flat_16", "concat"]
    assert fed_in_8_bits(made.variant(made.nodes)) == set()
    dequantized = set(fed_in_8_bits(made.variant([node for node in made.nodes if node != "eye_8"])))
    assert dequantized == {"eye_8", "eye_16", "eye_32"}  # the picture is shared: who reads it reads it in 8 bits
    graph = onnx.load_from_string(made.variant(kept)).graph
    read = {name for node in graph.node if node.op_type == "QuantizeLinear" for name in node.input}
    assert "eye_8_out" in read
    assert not {"eye_16_out", "flat_16"} & read


def test_large_weights_of_nodes_in_float_are_stored_in_8_bits(tmp_path: Path) -> None:
    made = quantizer(tmp_path / "seeing.onnx")
    light, heavy = made.variant(made.nodes), made.variant(made.nodes, float_weights=True)
    assert len(light) < 0.3 * len(heavy)
    exact, close = (next(made.outputs(content, inputs(1)))[0] for content in (heavy, light))
    assert np.abs(exact - close).max() < 0.01


def test_a_node_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no node 'nose' that can run in 8 bits"):
        quantizer(tmp_path / "seeing.onnx").variant(["nose"])


def test_operators_without_a_form_in_8_bits_are_counted(tmp_path: Path) -> None:
    model = onnx.load(seeing_yolox.write_model(tmp_path / "seeing.onnx"))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Floor", ["before"], ["output"], "floor"))
    made = Quantizer(model.SerializeToString(), "seeing.onnx")
    assert made.always_float == {"Floor": 1}
    assert "floor" not in made.nodes


def test_the_planted_layer_is_ranked_worst(tmp_path: Path) -> None:
    made = quantizer(tmp_path / "seeing.onnx", planted=True)
    expected = list(made.outputs(None, inputs()))
    alone = {node: made.alone(node, inputs(), expected) for node in made.nodes}
    worst = sorted(alone, key=lambda node: alone[node])
    assert set(worst[:2]) == {seeing_yolox.BAD, seeing_yolox.EYE}  # both ends of the tensor that goes blind
    assert alone[worst[1]] < alone[worst[2]] - 3


def test_the_tensor_that_goes_blind_is_told_with_its_noise(tmp_path: Path) -> None:
    made = quantizer(tmp_path / "seeing.onnx", planted=True)
    quality = made.tensors_sqnr(made.variant(), inputs())
    assert list(quality.values()) == sorted(quality.values())
    assert quality["eye_8_out"] + 30 < quality["eye_16_out"]


def test_weights_that_are_inputs_too_become_constants(tmp_path: Path) -> None:
    made = quantizer(tmp_path / "seeing.onnx", weights_are_inputs=True)
    assert [one.name for one in onnx.load_from_string(made.variant()).graph.input] == ["images"]
    assert made.variant() == quantizer(tmp_path / "plain.onnx").variant()


def test_the_file_is_the_same_to_the_byte_in_every_process(tmp_path: Path) -> None:
    here = hashlib.sha256(quantizer(tmp_path / "seeing.onnx").variant(["eye_16"])).hexdigest()
    code = (
        "import sys, hashlib, pathlib; from tests.unit.workbench.test_quantizer import quantizer\n"
        "made = quantizer(pathlib.Path(sys.argv[1]))\n"
        "print(hashlib.sha256(made.variant(['eye_16'])).hexdigest())"
    )
    for seed in ("1", "2"):  # of the hashes that order sets
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, str(tmp_path / "seeing.onnx")]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.split() == [here]


def test_a_broken_file_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"^broken\.onnx cannot be prepared: "):
        Quantizer(b"\x00" * 100, "broken.onnx")


def test_order_among_low_scores_counts_though_their_variance_is_nothing() -> None:
    scores = np.geomspace(0.01, 0.9, 200, dtype=np.float32).reshape(1, 200, 1)
    in_8_bits = np.round(scores * 256) / 256
    boxes = scores * 400 - 20  # no score: judged by its variance
    assert outputs_sqnr([[scores]], [[in_8_bits]]) < outputs_sqnr(
        [[boxes]], [[np.round(boxes * 256 / 400) * 400 / 256]]
    )
