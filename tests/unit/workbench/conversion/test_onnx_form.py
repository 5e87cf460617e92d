"""What converters start from: one opset, fixed shapes, the same numbers as before."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx, the extra `workbench`, is not installed")

import onnx

from appliance.core.errors import ModelError
from appliance.inference.runtimes.onnx import OnnxRuntime
from appliance.workbench.conversion.onnx_form import bring_into_form
from tests.simulators.tiny_detector import SIZE, tiny_detector

PICTURE = np.random.default_rng(3).integers(0, 256, (1, 3, SIZE, SIZE), np.uint8)


def run(content: bytes) -> list[np.ndarray]:
    session = OnnxRuntime().open(content, name="tiny", threads=1)
    try:
        return list(session.run({"image": PICTURE}))
    finally:
        session.close()


def test_the_form_tells_its_picture_and_outputs_and_gives_the_same_numbers() -> None:
    before = tiny_detector(opset=14)
    form = bring_into_form(before, "tiny.onnx")
    assert (form.opset, form.input, form.shape) == (17, "image", (1, 3, SIZE, SIZE))
    assert form.outputs == (("scores", (1, 2, 20)), ("distances", (1, 4, 20)))
    for wanted, got in zip(run(before), run(form.content), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("opset", [16, 18, 21])
def test_another_opset_gives_the_same_numbers(opset: int) -> None:
    before = tiny_detector()
    form = bring_into_form(before, "tiny.onnx", opset)
    assert form.opset == opset
    for wanted, got in zip(run(before), run(form.content), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_every_node_has_a_name_of_its_own_and_every_tensor_a_known_shape() -> None:
    model = bring_into_form(tiny_detector(), "tiny.onnx").model
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert all(names)
    known = {one.name for one in (*model.graph.value_info, *model.graph.output)}
    assert {output for node in model.graph.node for output in node.output} <= known


def test_the_same_file_gives_the_same_bytes() -> None:
    assert bring_into_form(tiny_detector(), "a").content == bring_into_form(tiny_detector(), "b").content


def test_a_size_that_is_left_open_is_refused_with_what_to_do() -> None:
    with pytest.raises(ModelError, match="leaves a size of 'image' open; export it with fixed sizes"):
        bring_into_form(tiny_detector(batch="pictures"), "tiny.onnx")


def test_what_is_no_onnx_file_or_in_8_bits_already_is_refused() -> None:
    with pytest.raises(ModelError, match=r"broken\.onnx is no ONNX file|broken\.onnx cannot"):
        bring_into_form(b"nonsense", "broken.onnx")
    model = onnx.load_from_string(tiny_detector())
    model.graph.node.append(onnx.helper.make_node("QuantizeLinear", ["pixels", "s"], ["q"], "q"))
    with pytest.raises(ModelError, match="in 8 bits; a conversion starts from the float file"):
        bring_into_form(model.SerializeToString(), "int8.onnx")
