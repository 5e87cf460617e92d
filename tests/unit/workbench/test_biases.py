import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the onnx package: pip install 'edgecam[workbench]'")
from appliance.core.errors import ModelError  # noqa: E402 - onnx is there from here on
from appliance.workbench.biases import beside, with_biases  # noqa: E402
from appliance.workbench.quantizer import Quantizer  # noqa: E402
from tests.simulators.uneven import SIZE, write_uneven  # noqa: E402


def pictures(seed: int, count: int = 6) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.uniform(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32) for _ in range(count)]


def mean_shift(made: Quantizer, seed: int) -> float:
    """Give by how much 8 bits shift the channels' means at the output."""
    wanted, got = (
        np.mean([one[0] for one in made.outputs(content, pictures(seed))], axis=(0, 1, 3, 4))
        for content in (None, made.variant())
    )
    return float(np.abs(wanted - got).mean())


@pytest.mark.parametrize("biases", [True, False])
def test_corrected_biases_bring_the_means_back_on_other_pictures_too(*, biases: bool) -> None:
    made = Quantizer(write_uneven(biases=biases), "uneven.onnx")
    assert list(made.calibrate(pictures(1)))
    before = mean_shift(made, 2)
    assert list(made.correct_biases(pictures(1))) == [1, 2, 3, 4, 5, 6]
    assert mean_shift(made, 2) < 0.4 * before


def test_a_convolution_in_float_keeps_its_bias() -> None:
    made = Quantizer(write_uneven(), "uneven.onnx")
    assert list(made.calibrate(pictures(1)))
    plain = made.variant(made.nodes)
    assert list(made.correct_biases(pictures(1)))
    assert made.variant(made.nodes) == plain
    assert made.variant([node for node in made.nodes if node != "mix"]) != plain


def test_the_same_pictures_give_the_same_file() -> None:
    files = []
    for _ in range(2):
        made = Quantizer(write_uneven(), "uneven.onnx")
        assert list(made.calibrate(pictures(1)))
        assert list(made.correct_biases(pictures(1)))
        files.append(made.variant())
    assert files[0] == files[1]


def test_biases_cannot_be_corrected_before_the_ranges_are_known() -> None:
    with pytest.raises(ModelError, match="was not calibrated; run calibrate to its end first"):
        list(Quantizer(write_uneven(), "uneven.onnx").correct_biases(pictures(1)))


def test_a_shift_is_measured_on_what_the_float_model_gives() -> None:
    """So that what one convolution adds does not depend on whether those before it are in 8 bits."""
    model = onnx.load_from_string(write_uneven())
    made = Quantizer(model.SerializeToString(), "uneven.onnx")
    assert list(made.calibrate(pictures(1)))
    both, pairs = beside(model, onnx.load_from_string(made.variant()), ["each", "two"])
    assert {name: pair[0] for name, pair in pairs.items()} == {"each": "each_out", "two": "two_out"}
    makers = {output: node for node in both.graph.node for output in node.output}
    reads = makers[makers[makers[pairs["each"][1]].input[0]].input[0]].input[0]
    assert reads == "first_active"
    assert makers[reads].name == "first_active"
    assert not any(name.startswith("first_") and name.endswith("_beside") and "active" not in name for name in makers)


def test_what_only_an_inner_graph_reads_stays() -> None:
    """Of the outer biases, one goes when it is replaced; unless the inner graph reads it too."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    branch = helper.make_graph(
        [helper.make_node("Add", ["kept", "first_bias"], ["chosen"])],
        "branch",
        [],
        [helper.make_tensor_value_info("chosen", 1, None)],
    )
    model = onnx.load_from_string(write_uneven())
    channels = len(numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == "first_bias")))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(channels, np.float32), "kept"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["last"], "if", then_branch=branch, else_branch=branch))
    before = {one.name for one in model.graph.initializer}
    assert with_biases(model, {}) == model
    added = {name: np.ones(channels, np.float32) for name in ("first", "each")}
    after = {one.name for one in with_biases(model, added).graph.initializer}
    assert after == before - {"each_bias"} | {"first_corrected_bias", "each_corrected_bias"}
