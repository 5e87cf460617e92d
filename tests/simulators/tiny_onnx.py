"""Writes small ONNX files by hand: models that answer every picture with the tensors they were given.

Field numbers: onnx.proto3 of ONNX 1.16. No ONNX library is needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.inference.runtimes.onnx_file import varint

Shape = Sequence[int | str]
_ELEMENT = {"float32": 1, "uint8": 2, "int64": 7}


def model(
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, NDArray[Any]],
    *,
    input_dtype: str | Mapping[str, str] = "float32",
    weights_are_inputs: bool = False,
) -> bytes:
    """Give the bytes of a model that takes `inputs` and answers with `outputs`.

    Args:
        inputs: Shape by name; a word leaves an axis open.
        outputs: Answer by name.
        input_dtype: Element type of the inputs, of all or by name.
        weights_are_inputs: List the stored tensors among the inputs too, as some exporters do.
    """
    stored = b"".join(_field(5, _tensor(f"{name}_stored", value)) for name, value in outputs.items())
    nodes = b"".join(
        _field(1, _field(1, f"{n}_stored".encode()) + _field(2, n.encode()) + _field(4, b"Identity")) for n in outputs
    )
    dtypes = dict.fromkeys(inputs, input_dtype) if isinstance(input_dtype, str) else input_dtype
    taken = b"".join(_field(11, _value(name, shape, dtypes[name])) for name, shape in inputs.items())
    if weights_are_inputs:
        taken += b"".join(_field(11, _value(f"{n}_stored", v.shape, str(v.dtype))) for n, v in outputs.items())
    given = b"".join(_field(12, _value(name, value.shape, str(value.dtype))) for name, value in outputs.items())
    graph = nodes + _field(2, b"tiny") + stored + taken + given
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 13))


def _tensor(name: str, value: NDArray[Any]) -> bytes:
    dims = b"".join(_field(1, size) for size in value.shape)
    return (
        dims
        + _field(2, _ELEMENT[str(value.dtype)])
        + _field(8, name.encode())
        + _field(9, np.ascontiguousarray(value).tobytes())
    )


def _value(name: str, shape: Shape, dtype: str) -> bytes:
    dims = b"".join(_field(1, _field(1, size) if isinstance(size, int) else _field(2, size.encode())) for size in shape)
    tensor = _field(1, _ELEMENT[dtype]) + _field(2, dims)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value
