"""What is timed of a file that nobody knows."""

import numpy as np
import pytest

from appliance.core.manifest import TensorSpec
from appliance.inference.measuring.subject import fill, guess_task


def test_a_picture_fills_inputs_of_any_layout_and_type() -> None:
    image = np.full((10, 20, 3), (10, 20, 30), np.uint8)  # BGR
    planes = fill(TensorSpec(name="a", shape=(1, 3, 8, 8), dtype="float32"), image)
    assert (planes.shape, planes.dtype) == ((1, 3, 8, 8), np.float32)
    assert planes[0, :, 0, 0].tolist() == pytest.approx([30 / 127.5 - 1, 20 / 127.5 - 1, 10 / 127.5 - 1])
    pixels = fill(TensorSpec(name="a", shape=(None, None, None, 3), dtype="uint8"), image)
    assert (pixels.shape, pixels[0, 0, 0].tolist()) == ((1, 224, 224, 3), [30, 20, 10])
    assert fill(TensorSpec(name="a", shape=(1, 8, 8, 3), dtype="int8"), image)[0, 0, 0].tolist() == [-98, -108, -118]
    assert fill(TensorSpec(name="a", shape=(2, 7), dtype="int64"), image).tolist() == [[0] * 7] * 2


@pytest.mark.parametrize(
    ("shapes", "task"),
    [
        ([(1, 1001)], "classify?"),
        ([(1, 1, 1, 1000)], "classify?"),
        ([(1, 513, 513)], "segment?"),
        ([(1, 65, 65, 21)], "segment?"),
        ([(1, 1, 17, 3)], "?"),
        ([(1, 100, 4), (1, 100)], "?"),
    ],
)
def test_the_task_of_an_unknown_file_is_a_guess_and_looks_like_one(shapes: list[tuple[int, ...]], task: str) -> None:
    outputs = [TensorSpec(name="a", shape=shape, dtype="float32") for shape in shapes]
    assert guess_task(outputs) == task
