"""Tells whether a file's inputs and outputs are those that a manifest speaks of. Pure; loads no numpy.

An axis of a pattern is a number or a sum of words:

``height``, ``width``
    Of the input, in pixels.
``rows(S)``, ``columns(S)``
    Of the map with stride S: the input's height or width over S, rounded up.
``cells(S, ...)``
    Rows times columns, added up over the maps with these strides.
``classes``
    How many labels the manifest has.

An output's axis may also be ``any``: how many detections a network lists tells nothing about it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from operator import mul

from appliance.core.errors import ModelError
from appliance.core.manifest import ConstantPattern, ModelManifest, TensorPattern, TensorSpec

ANY = "any"  # an axis of which the pattern says nothing

_WORD = re.compile(r"(?P<number>\d{1,9})|(?P<name>[a-z]+)(?:\((?P<strides>\d{1,4}(?:\s*,\s*\d{1,4})*)\))?")


@dataclass(frozen=True, slots=True)
class Constant:
    """An input that is the same for every frame.

    Attributes:
        name: Of the file's input.
        dtype: NumPy's name of the element type.
        shape: Sizes.
        values: Row by row, as many as the shape has places.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Binding:
    """A manifest made to fit one file.

    Attributes:
        manifest: With the file's own input size.
        input: Name of the file's input for the picture.
        outputs: Positions of the file's outputs in the order in which the decoder takes them.
        constants: The file's other inputs, the same for every frame.
    """

    manifest: ModelManifest
    input: str
    outputs: tuple[int, ...]
    constants: tuple[Constant, ...] = ()


def bind(manifest: ModelManifest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Binding | None:
    """Fit a manifest to a file; None when the file is of another kind.

    An axis that the file leaves open fits everything, and the manifest's own input size is taken for it.

    Raises:
        ModelError: The manifest's signature has a word that is not known, or a constant of more or fewer values than
            its shape has places.
    """
    signature = manifest.signature
    if len(inputs) != 1 + len(signature.constants) or len(outputs) != len(signature.outputs):
        return None
    for picture in inputs:
        sized = _for_picture(manifest, picture)
        others = [each for each in inputs if each is not picture]
        if sized is None or (fixed := _order(signature.constants, others, sized)) is None:
            continue
        order = _order(signature.outputs, outputs, sized)
        if order is not None:
            constants = (
                _constant(pattern, others[at].name, sized)
                for pattern, at in zip(signature.constants, fixed, strict=True)
            )
            return Binding(sized, picture.name, order, tuple(constants))
    return None


def axis(word: int | str, manifest: ModelManifest) -> int:
    """Give the size that a pattern's axis stands for in this manifest.

    Raises:
        ModelError: The word is not known.
    """
    if isinstance(word, int):
        return word
    return sum(_term(term.strip(), word, manifest) for term in word.split("+"))


def _term(term: str, whole: str, manifest: ModelManifest) -> int:
    found = _WORD.fullmatch(term)
    strides = [int(stride) for stride in ((found and found["strides"]) or "").split(",") if stride]
    if found is None or 0 in strides:
        raise _unknown(whole, manifest)
    if found["number"]:
        return int(found["number"])
    rows = [-(-manifest.input.height // stride) for stride in strides]
    columns = [-(-manifest.input.width // stride) for stride in strides]
    sizes: dict[tuple[str, int], int] = {
        ("height", 0): manifest.input.height,
        ("width", 0): manifest.input.width,
        ("classes", 0): len(manifest.labels),
        ("rows", 1): sum(rows),
        ("columns", 1): sum(columns),
        ("cells", len(strides)): sum(map(mul, rows, columns)),
    }
    size = sizes.get((found["name"], len(strides)))
    if not size:
        raise _unknown(whole, manifest)
    return size


def _unknown(whole: str, manifest: ModelManifest) -> ModelError:
    return ModelError(
        f"manifest {manifest.name!r}: signature has {whole!r}; known: a number, height, width, classes, "
        "rows(S), columns(S), cells(S,...), and sums of them; any alone in an output"
    )


def _for_picture(manifest: ModelManifest, picture: TensorSpec) -> ModelManifest | None:
    """Give the manifest for the size of this input; None when the input is no picture of its kind."""
    pattern = manifest.signature.input
    if len(picture.shape) != len(pattern.shape):
        return None
    size = {"width": manifest.input.width, "height": manifest.input.height}
    for word, found in zip(pattern.shape, picture.shape, strict=True):
        if word in size and found is not None:
            size[str(word)] = found
    if min(size.values()) <= 0:
        return None
    sized = manifest.for_size(size["width"], size["height"])
    return sized if _fits(pattern, picture, sized) else None


def _constant(pattern: ConstantPattern, name: str, manifest: ModelManifest) -> Constant:
    shape = tuple(axis(word, manifest) for word in pattern.shape)
    values = tuple(axis(word, manifest) for word in pattern.values)
    if prod(shape) != len(values):
        raise ModelError(
            f"manifest {manifest.name!r}: signature.constants: {len(values)} values for the shape {list(shape)}"
        )
    return Constant(name, pattern.dtype, shape, values)


def _fits(pattern: TensorPattern, found: TensorSpec, manifest: ModelManifest) -> bool:
    is_converted = found.takes_float and pattern.dtype == "float32"
    if (found.dtype != pattern.dtype and not is_converted) or len(found.shape) != len(pattern.shape):
        return False
    sizes = zip(found.shape, pattern.shape, strict=True)
    return all(word == ANY or size in {None, axis(word, manifest)} for size, word in sizes)


def _order(
    patterns: Sequence[TensorPattern], tensors: Sequence[TensorSpec], manifest: ModelManifest
) -> tuple[int, ...] | None:
    """Give each pattern the first tensor that fits and is still free: those that fit alike keep the file's order."""
    free = list(range(len(tensors)))
    order = []
    for pattern in patterns:
        fitting = [at for at in free if _fits(pattern, tensors[at], manifest)]
        if not fitting:
            return None
        # one with every axis stated goes before one that would fit anything
        best = min(fitting, key=lambda at: tensors[at].shape.count(None))
        order.append(best)
        free.remove(best)
    return tuple(order)
