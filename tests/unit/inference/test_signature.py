import pytest

from appliance.core.errors import ModelError
from appliance.core.manifest import Signature, TensorPattern, TensorSpec
from appliance.inference.signature import Constant, axis, bind
from tests.simulators.models import manifest


def spec(*shape: int | None, name: str = "t", dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (32, 32),
        ("height", 64),
        ("width", 96),
        ("classes", 80),
        ("5+classes", 85),
        ("rows(16)", 4),
        ("columns(16)", 6),
        ("rows(40)", 2),  # 64 / 40, rounded up
        ("cells(8,16,32)", 8 * 12 + 4 * 6 + 2 * 3),
        ("cells(8, 64)", 8 * 12 + 1 * 2),
        ("4 + classes", 84),
    ],
)
def test_a_word_stands_for_a_size(word: int | str, expected: int) -> None:
    assert axis(word, manifest("yolox", 96, 64)) == expected


@pytest.mark.parametrize(
    "word", ["cells", "cells(0)", "rows(8,16)", "height(8)", "depth", "", "5*classes", "cells(8", "-1"]
)
def test_an_unknown_word_is_an_error_that_lists_the_known(word: str) -> None:
    with pytest.raises(ModelError, match=r"known: a number, height, width"):
        axis(word, manifest("yolox"))


def test_a_file_of_another_size_fits_and_brings_its_size() -> None:
    binding = bind(manifest("yolox"), [spec(1, 3, 320, 640, name="images")], [spec(1, 40 * 80 + 20 * 40 + 10 * 20, 85)])
    assert binding is not None
    assert (binding.manifest.input.width, binding.manifest.input.height) == (640, 320)
    assert (binding.input, binding.outputs) == ("images", (0,))


def test_open_axes_fit_and_take_the_manifests_own_size() -> None:
    binding = bind(manifest("yolox"), [spec(None, 3, None, None)], [spec(None, None, 85)])
    assert binding is not None
    assert (binding.manifest.input.width, binding.manifest.input.height) == (64, 64)


def test_outputs_are_told_apart_by_shape_whatever_their_order() -> None:
    cells = {8: 1600, 16: 400, 32: 100}
    shuffled = [(1600, 80), (400, 80), (100, 80), (1600, 32), (400, 32), (100, 32)][::-1]
    binding = bind(manifest("nanodet"), [spec(1, 3, 320, 320)], [spec(*shape) for shape in shuffled])
    assert binding is not None
    assert [shuffled[at] for at in binding.outputs] == [(c, w) for w in (80, 32) for c in cells.values()]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([spec(1, 3, 416, 416)], [spec(1, 3548, 85)]),  # a cell too few
        ([spec(1, 3, 416, 416)], [spec(1, 3549, 84)]),  # a class too few
        ([spec(1, 3, 416, 416, dtype="uint8")], [spec(1, 3549, 85)]),
        ([spec(1, 3, 416, 416)], [spec(1, 3549, 85, dtype="float16")]),
        ([spec(1, 416, 416, 3)], [spec(1, 3549, 85)]),
        ([spec(1, 3, 416, 416), spec(1)], [spec(1, 3549, 85)]),
        ([spec(1, 3, 416, 416)], [spec(1, 3549, 85), spec(1)]),
        ([spec(1, 3, 416)], [spec(1, 3549, 85)]),
        ([spec(1, 3, 0, 416)], [spec(1, 3549, 85)]),
        ([spec(1, 3, 416, 416)], [spec(3549, 85)]),
        ([], []),
    ],
)
def test_a_file_of_another_kind_does_not_fit(inputs: list[TensorSpec], outputs: list[TensorSpec]) -> None:
    assert bind(manifest("yolox"), inputs, outputs) is None


def test_an_output_with_stated_axes_goes_before_an_open_one() -> None:
    pattern = TensorPattern(shape=(4,)), TensorPattern(shape=(5,))
    two = manifest("yolox").model_copy(
        update={"signature": Signature(input=manifest("yolox").signature.input, outputs=pattern)}
    )
    binding = bind(two, [spec(1, 3, 64, 64)], [spec(None), spec(4)])
    assert binding is not None
    assert binding.outputs == (1, 0)


def test_an_integer_input_that_takes_float_fits_a_manifest_in_float_and_one_in_bytes() -> None:
    yolox = manifest("yolox", 96, 64)
    in_bytes = yolox.signature.model_copy(
        update={"input": TensorPattern(shape=(1, 3, "height", "width"), dtype="uint8")}
    )
    outputs = [spec(1, 8 * 12 + 4 * 6 + 2 * 3, 85)]
    for takes_float, expected in ((True, [True, True]), (False, [False, True])):
        found = TensorSpec(name="t", shape=(1, 3, 64, 96), dtype="uint8", takes_float=takes_float)
        fitting = [bind(one, [found], outputs) for one in (yolox, yolox.model_copy(update={"signature": in_bytes}))]
        assert [binding is not None for binding in fitting] == expected


def test_an_axis_of_which_the_pattern_says_nothing_fits_every_size() -> None:
    for most in (10, 25, None):
        lists = [spec(1, most, 4), spec(1, most), spec(1, most), spec(1)]
        binding = bind(manifest("ssd-mobilenet"), [spec(1, 300, 300, 3, dtype="uint8")], lists)
        assert binding is not None
        assert binding.outputs == (0, 1, 2, 3)


D_FINE = [spec(None, 300, dtype="int64"), spec(None, 300, 4), spec(None, 300)]


@pytest.mark.parametrize("is_first", [True, False])
def test_an_input_beside_the_picture_gets_its_constant_in_any_order(is_first: bool) -> None:  # noqa: FBT001 - a case
    inputs = [spec(None, 3, 320, 640, name="images"), spec(None, 2, name="orig_target_sizes", dtype="int64")]
    binding = bind(manifest("d-fine"), inputs if is_first else inputs[::-1], D_FINE)
    assert binding is not None
    assert binding.input == "images"
    assert binding.constants == (Constant("orig_target_sizes", "int64", (1, 2), (640, 320)),)


def test_an_input_too_many_or_of_another_type_does_not_fit() -> None:
    picture, size = spec(1, 3, 640, 640), spec(1, 2, dtype="int64")
    for inputs in ([picture], [picture, size, size], [picture, spec(1, 2)], [size, size], [picture, picture]):
        assert bind(manifest("d-fine"), inputs, D_FINE) is None


def test_a_constant_whose_values_do_not_fill_its_shape_is_refused() -> None:
    whole = manifest("d-fine")
    constant = whole.signature.constants[0].model_copy(update={"values": ("width", "height", 3)})
    signature = whole.signature.model_copy(update={"constants": (constant,)})
    with pytest.raises(ModelError, match=r"signature\.constants: 3 values for the shape \[1, 2\]"):
        bind(
            whole.model_copy(update={"signature": signature}),
            [spec(1, 3, 64, 64), spec(1, 2, dtype="int64")],
            D_FINE,
        )


@pytest.mark.parametrize("name", ["rf-detr"])
def test_outputs_of_a_set_are_told_apart_by_shape(name: str) -> None:
    binding = bind(manifest(name), [spec(1, 3, 512, 512)], [spec(1, 300, 91), spec(1, 300, 4)])
    assert binding is not None
    assert binding.outputs == (1, 0)
    assert binding.manifest.input.width == 512
