"""What a process tells of a model's tensors arrives whole at the one that asked."""

import json

from appliance.core.manifest import Quantization, TensorSpec
from appliance.inference.wire import Opened, WiredTensor, read_answer

QUANTIZED = TensorSpec(
    name="image",
    shape=(1, None, 320, 3),
    dtype="int8",
    takes_float=True,
    quantization=Quantization(scale=0.0078125, zero_point=-1),
)


def test_everything_that_is_known_of_a_tensor_goes_over_the_wire() -> None:
    assert set(WiredTensor.model_fields) == set(TensorSpec.model_fields)


def test_a_tensor_is_the_same_on_both_sides() -> None:
    answer = {
        "inputs": [QUANTIZED.model_dump()],
        "outputs": [QUANTIZED.model_dump()],
        "placements": [],
        "shortfalls": [],
    }
    opened = read_answer(json.dumps({"serial": 7, "answer": answer}).encode(), 7, Opened)
    assert opened.inputs[0].spec() == QUANTIZED
