import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the onnx package: pip install 'edgecam[workbench]'")
from appliance.workbench.equalisation import equalise  # noqa: E402 - onnx is there from here on
from appliance.workbench.quantizer import Quantizer  # noqa: E402
from tests.simulators.uneven import SIZE, write_uneven  # noqa: E402


def pictures(count: int = 4) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.uniform(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32) for _ in range(count)]


def test_the_equalised_graph_gives_what_it_gave_before() -> None:
    before, after = (Quantizer(write_uneven(), "uneven.onnx") for _ in range(2))
    assert after.equalise() == 3  # into a depthwise convolution, out of it, and through a pool into two groups
    for wanted, got in zip(before.outputs(None, pictures()), after.outputs(None, pictures()), strict=True):
        np.testing.assert_allclose(got[0], wanted[0], rtol=2e-5, atol=1e-6)


def test_neighbours_have_weights_of_alike_size_thereafter() -> None:
    model = onnx.load_from_string(write_uneven())
    equalise(model)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    filters = np.abs(stored["first_weight"]).max(axis=(1, 2, 3))
    np.testing.assert_allclose(filters, np.abs(stored["each_weight"]).max(axis=(1, 2, 3)), rtol=0.02)


def test_what_does_not_scale_along_is_left_alone() -> None:
    for kind in ("Sigmoid", "two readers", "shared weights"):
        model = onnx.load_from_string(write_uneven(between=kind))
        before = model.SerializeToString()
        assert equalise(model) == 0, kind
        assert model.SerializeToString() == before


def test_uneven_channels_survive_8_bits_better_when_they_were_equalised() -> None:
    noise = []
    for is_equalised in (False, True):
        made = Quantizer(write_uneven(), "uneven.onnx")
        if is_equalised:
            made.equalise()
        assert list(made.calibrate(pictures()))
        pairs = zip(made.outputs(None, pictures()), made.outputs(made.variant(), pictures()), strict=True)
        noise.append(np.mean([np.square(wanted[0] - got[0]).mean() for wanted, got in pairs]))
    assert noise[1] < 0.5 * noise[0]


def test_a_channel_that_is_nearly_dead_is_not_blown_up() -> None:
    """What follows it would be scaled down by as much, and 8 bits for the pair would see nothing else."""
    model = onnx.load_from_string(write_uneven())
    weight = next(one for one in model.graph.initializer if one.name == "each_weight")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[2] *= 1e-9
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    before = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    equalise(model)
    after = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    np.testing.assert_array_equal(after["first_weight"][2], before["first_weight"][2])
    assert after["first_bias"][2] == before["first_bias"][2]
    assert np.abs(after["each_weight"][2]).max() < 1e-6
