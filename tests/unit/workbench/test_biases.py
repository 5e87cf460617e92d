import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the onnx package: pip install 'edgecam[workbench]'")
from appliance.core.errors import ModelError  # noqa: E402 - onnx is there from here on
from appliance.workbench.biases import levels, up_to  # noqa: E402
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
    assert list(made.correct_biases(pictures(1))) == [1, 2, 3, 4]
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


def test_no_convolution_of_a_level_comes_after_another_of_it() -> None:
    graph = onnx.load_from_string(write_uneven("shared weights")).graph
    found = levels(graph, ["first", "first_again", "each", "each_again", "two"])
    assert found == [("first", "first_again"), ("each", "each_again"), ("two",)]


def test_only_what_a_tensor_comes_from_is_run() -> None:
    part = up_to(onnx.load_from_string(write_uneven()), ["each_out"])
    assert [node.name for node in part.graph.node] == ["first", "first_active", "each"]
    assert {one.name for one in part.graph.initializer} == {"first_weight", "first_bias", "each_weight", "each_bias"}
