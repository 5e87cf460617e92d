"""What a process that runs a model and the one that asks it tell each other. Pure: values in, values out.

Control messages are JSON objects of at most MOST_MESSAGE bytes on a socket that keeps their borders. Tensors lie in
shared memory, each in a place of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Final, Literal, TypeVar

import numpy as np
from pydantic import Field, ValidationError

from appliance.core.errors import EdgecamError, ModelError, UnavailableError, UnsupportedError
from appliance.core.manifest import Quantization, TensorSpec
from appliance.core.part import Part
from appliance.inference.faults import OutOfMemoryError
from appliance.inference.runtimes import Placement

MOST_MESSAGE: Final = 64 << 10
MOST_TENSOR: Final = 256 << 20  # bytes; a picture of 4096 x 4096 in float32 has 201 MB
OPEN_OUTPUT: Final = 16 << 20  # bytes for an output whose file leaves its size open; untouched memory costs nothing
_ALIGNED = 64  # bytes, a line of the cache: some kernels are slower with less
_ERRORS: Final[dict[str, type[EdgecamError]]] = {
    "memory": OutOfMemoryError,  # before its base: the first that fits is the word
    "model": ModelError,
    "unavailable": UnavailableError,
    "unsupported": UnsupportedError,
}

Size = Annotated[int, Field(ge=0, le=1 << 31)]
Shape = Annotated[tuple[Size, ...], Field(max_length=8)]
Dtype = Literal[
    "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"
]
Line = Annotated[str, Field(max_length=1000)]


class WiredTensor(Part):
    """An input or output of a file, as the child tells it; see `TensorSpec`."""

    name: Annotated[str, Field(max_length=255)]
    shape: Annotated[tuple[Size | None, ...], Field(max_length=8)]
    dtype: Dtype
    takes_float: bool = False
    quantization: Quantization | None = None

    def spec(self) -> TensorSpec:
        """Give it as the rest of Edgecam knows it."""
        return TensorSpec(
            name=self.name,
            shape=self.shape,
            dtype=self.dtype,
            takes_float=self.takes_float,
            quantization=self.quantization,
        )


class WiredPlacement(Part):
    """How much of a network something has taken; see `Placement`."""

    provider: Annotated[str, Field(max_length=255)]
    nodes: Size | None

    def placement(self) -> Placement:
        """Give it as the rest of Edgecam knows it."""
        return Placement(self.provider, self.nodes)


class Opened(Part):
    """The child's answer: the file is loaded."""

    inputs: Annotated[tuple[WiredTensor, ...], Field(min_length=1, max_length=64)]
    outputs: Annotated[tuple[WiredTensor, ...], Field(min_length=1, max_length=64)]
    placements: Annotated[tuple[WiredPlacement, ...], Field(max_length=64)]
    shortfalls: Annotated[tuple[Line, ...], Field(max_length=64)]


class Ready(Part):
    """The child's answer: it has the shared memory."""


class Given(Part):
    """A tensor that lies in its place."""

    shape: Shape
    dtype: Dtype


class Ran(Part):
    """The child's answer: the outputs lie in their places."""

    outputs: Annotated[tuple[Given, ...], Field(max_length=64)]


class Failed(Part):
    """The child's answer to anything: it could not be done.

    Attributes:
        failed: Which of our errors it was.
        why: Its message.
    """

    failed: Literal["memory", "model", "unavailable", "unsupported"]
    why: Line

    def error(self) -> EdgecamError:
        """Give it as an error to raise."""
        return _ERRORS[self.failed](self.why)


Answer = TypeVar("Answer", bound=Part)


class _Envelope(Part):
    serial: int
    answer: dict[str, Any]


def read_answer(data: bytes, serial: int, kind: type[Answer]) -> Answer:
    """Read what a child has answered.

    Args:
        data: The message.
        serial: Of the request that it is to answer.
        kind: What is expected.

    Raises:
        EdgecamError: What the child says has failed.
        ValueError: It is no such answer.
    """
    if len(data) > MOST_MESSAGE:
        raise ValueError(f"a message of more than {MOST_MESSAGE} bytes")
    try:
        envelope = _Envelope.model_validate_json(data)
        if envelope.serial != serial:
            raise ValueError(f"an answer to request {envelope.serial} in place of {serial}")
        if "failed" in envelope.answer:
            raise Failed.model_validate(envelope.answer).error()
        return kind.model_validate(envelope.answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}"[:300]) from error


def word_of(error: EdgecamError) -> str:
    """Give the word for an error on the wire."""
    return next((word for word, kind in _ERRORS.items() if isinstance(error, kind)), "model")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in shared memory.

    Attributes:
        start: Its first byte.
        room: How many bytes there are for it.
    """

    start: int
    room: int

    def refusal(self, shape: Sequence[int], dtype: str) -> str:
        """Tell why a tensor cannot lie here; nothing when it can."""
        needed = size_in_bytes(shape, dtype)
        return f"{dtype}{list(shape)} needs {needed} bytes and has {self.room}" if needed > self.room else ""


def size_in_bytes(shape: Sequence[int], dtype: str) -> int:
    """Give how many bytes a tensor has."""
    return prod(shape) * np.dtype(dtype).itemsize


def places(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> tuple[list[Place], list[Place], int]:
    """Give where inputs and outputs lie, in their order, and how many bytes there are in all.

    Raises:
        ValueError: A tensor is larger than any that a model for a device has.
    """
    start = 0
    found: list[Place] = []
    for spec, open_size in [*((one, MOST_TENSOR) for one in inputs), *((one, OPEN_OUTPUT) for one in outputs)]:
        room = _room(spec, open_size)
        found.append(Place(start, room))
        start += -(-room // _ALIGNED) * _ALIGNED
    return found[: len(inputs)], found[len(inputs) :], max(start, 1)


def _room(spec: TensorSpec, open_size: int) -> int:
    # an input with integers may take float32 in their place
    dtype = "float32" if spec.takes_float else spec.dtype
    known = [size for size in spec.shape if size is not None]
    room = size_in_bytes(known, dtype)
    if room > MOST_TENSOR:
        raise ValueError(f"{spec} has more than {MOST_TENSOR >> 20} MiB")
    return room if len(known) == len(spec.shape) else open_size
