"""Looks at a network that nobody has described: which input takes the picture, and what comes out for some."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError, UnsupportedError
from appliance.core.frame import Frame
from appliance.core.manifest import InputSpec, TensorSpec
from appliance.inference.adding.reading import Picture, Seen
from appliance.inference.preprocess import Preprocessor
from appliance.inference.runtimes import Session

DEFAULT_SIZE = (640, 640)  # of networks that take any; what most of them were trained with
SMALLEST, LARGEST = 16, 4096  # pixels; a manifest's
_DTYPES = {"float32", "float16", "uint8", "int8"}
_AXES = 4
_STDS = (1.0, 255.0)  # pixels as they are, and in parts of one: whichever it expects, something is seen


def find_picture(inputs: Sequence[TensorSpec], size: tuple[int, int] | None) -> Picture:
    """Find the input that takes the picture.

    Args:
        inputs: Of the file.
        size: Width and height in pixels where the file leaves them open; None: `DEFAULT_SIZE`.

    Raises:
        UnsupportedError: None could be.
    """
    pictures = [picture for one in inputs if (picture := _as_picture(one, size or DEFAULT_SIZE)) is not None]
    if not pictures:
        told = ", ".join(map(str, inputs)) or "nothing"
        raise UnsupportedError(
            f"takes {told}, and none of it is a picture that Edgecam can give: one of {', '.join(sorted(_DTYPES))}, "
            f"[1,3,height,width] or [1,height,width,3], {SMALLEST} to {LARGEST} pixels"
        )
    return max(pictures, key=lambda one: (one.channels, one.width * one.height))


def look(session: Session, frames: Sequence[Frame], size: tuple[int, int] | None) -> Seen:
    """Run a network on some frames.

    Args:
        session: The loaded file.
        frames: At least one.
        size: Width and height in pixels where the file leaves them open.

    Raises:
        ModelError: It cannot be run.
        UnsupportedError: It takes no picture, or more than a picture.
    """
    picture = find_picture(session.inputs, size)
    inputs: dict[str, NDArray[Any]] = {}
    for one in session.inputs:
        if one is not picture.spec:
            inputs[one.name] = _constant(one, session.outputs, picture)
    runs = []
    for frame in frames:
        for std in _STDS if picture.spec.dtype.startswith("float") else (1.0,):
            preprocessor = Preprocessor(plain_input(picture, std))
            preprocessor.write(frame)
            inputs[picture.spec.name] = preprocessor.tensor
            runs.append([np.asarray(one) for one in session.run(inputs)])
    if len(runs[0]) != len(session.outputs) or not all(one.size for one in runs[0] if one.ndim == 0):
        raise ModelError("gave another number of outputs than it has")
    outputs = tuple(
        TensorSpec(name=spec.name, shape=value.shape, dtype=str(value.dtype))
        for spec, value in zip(session.outputs, runs[0], strict=True)
    )
    return Seen(picture, tuple(session.inputs), outputs, tuple(_joined(one) for one in zip(*runs, strict=True)))


def plain_input(picture: Picture, std: float) -> InputSpec:
    """Give an input that stretches a frame, RGB, pixels over `std`."""
    return InputSpec.model_validate(
        {
            "width": picture.width,
            "height": picture.height,
            "layout": picture.layout,
            "dtype": picture.spec.dtype,
            "colour": "grey" if picture.channels == 1 else "rgb",
            "fit": "stretch",
            "std": (std, std, std),
        }
    )


def _as_picture(spec: TensorSpec, size: tuple[int, int]) -> Picture | None:
    shape = spec.shape
    if len(shape) != _AXES or spec.dtype not in _DTYPES or shape[0] not in {1, None}:
        return None
    for channels in (3, 1):
        if shape[1] == channels:
            picture = Picture(spec, "nchw", shape[3] or size[0], shape[2] or size[1], channels)
        elif shape[3] == channels:
            picture = Picture(spec, "nhwc", shape[2] or size[0], shape[1] or size[1], channels)
        else:
            continue
        if all(SMALLEST <= side <= LARGEST for side in (picture.width, picture.height)):
            return picture
    return None


def _constant(spec: TensorSpec, outputs: Sequence[TensorSpec], picture: Picture) -> NDArray[Any]:
    """Give the size to tell boxes in, which is all that Edgecam can give beside a picture."""
    if spec.shape in {(1, 2), (None, 2)} and spec.dtype in {"int64", "int32", "float32"}:
        return np.array([[picture.width, picture.height]], spec.dtype)
    if any(one.shape == spec.shape for one in outputs):
        raise UnsupportedError(
            f"hands {spec} from frame to frame, which Edgecam does not do yet; take a network without a memory"
        )
    raise UnsupportedError(f"takes {spec} beside a picture, and Edgecam does not know what that is")


def _joined(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Put the values of all runs one after the other; where their lengths differ, give the longest."""
    if values[0].ndim and len({one.shape[1:] for one in values}) == 1:
        return np.concatenate(values)
    return max(values, key=lambda one: one.size)
