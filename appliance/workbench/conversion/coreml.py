"""Makes a Core ML package on Linux, by coremltools, and checks what its specification says. Running it needs a Mac.

https://apple.github.io/coremltools/docs-guides/source/convert-pytorch-workflow.html and image-inputs.html.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from appliance.core.errors import ModelError
from appliance.core.manifest import InputSpec
from appliance.workbench.conversion.extras import ERRORS, load_converter
from appliance.workbench.conversion.quiet import quietly
from appliance.workbench.conversion.torch_graph import TorchGraph

OLDEST: Final = "iOS16"
"""The oldest systems that run the package: iOS 16 and macOS 13."""
_ERRORS: Final = (*ERRORS, NotImplementedError, OSError)


@dataclass(frozen=True, slots=True)
class CoreMlFacts:
    """What the specification of a package says.

    Attributes:
        version: Of the specification; 7 is that of iOS 16.
        input: The picture: name, colour order and size.
        outputs: Each with its name and shape.
        operators: How many there are of each, constants left out.
        size: Bytes of the package's files.
    """

    version: int
    input: str
    outputs: tuple[str, ...]
    operators: Mapping[str, int]
    size: int


def write_mlpackage(
    network: TorchGraph,
    spec: InputSpec,
    outputs: Sequence[tuple[str, tuple[int, ...]]],
    target: Path,
    name: str,
) -> CoreMlFacts:
    """Write an .mlpackage that takes the picture as an image and calculates in half precision.

    Args:
        network: With channels first.
        spec: How a picture becomes its input.
        outputs: Name and shape of each output, in the network's order.
        target: The package, a folder; must not be there.
        name: What to call the network in messages.

    Returns:
        What the written package says of itself: it was read again.

    Raises:
        ModelError: It cannot be converted, or what came out has other inputs or outputs.
        UnsupportedError: coremltools is not installed here.
    """
    with quietly("Core ML packages cannot be made here", ()):
        vendor = load_converter("coremltools", "Core ML packages")
    if len(set(spec.std)) != 1:
        raise ModelError(f"{name} scales each channel otherwise, and an image in Core ML has one scale for all")
    picture = torch.zeros(1, 3, spec.height, spec.width)
    with quietly(f"{name} cannot be converted to Core ML", _ERRORS), torch.no_grad():
        image = vendor.ImageType(
            name=network.inputs[0],
            shape=tuple(picture.shape),
            color_layout=getattr(vendor.colorlayout, spec.colour.upper()),
            scale=1 / spec.std[0],
            bias=[-mean / spec.std[0] for mean in spec.mean],
        )
        model = vendor.convert(
            torch.jit.trace(network.eval(), picture, check_trace=False),
            inputs=[image],
            outputs=[vendor.TensorType(name=output, dtype=np.float32) for output, _ in outputs],
            minimum_deployment_target=getattr(vendor.target, OLDEST),
            convert_to="mlprogram",
        )
        model.save(str(target))
        written = vendor.utils.load_spec(str(target))
    return _checked(written, spec, outputs, target, name)


def _checked(
    written: Any, spec: InputSpec, outputs: Sequence[tuple[str, tuple[int, ...]]], target: Path, name: str
) -> CoreMlFacts:
    pictures = [one for one in written.description.input if one.type.WhichOneof("Type") == "imageType"]
    colours = type(pictures[0].type.imageType).ColorSpace if pictures else None
    found = [(one.name, tuple(one.type.multiArrayType.shape)) for one in written.description.output]
    size = pictures[0].type.imageType if pictures else None
    colour = colours.Name(size.colorSpace) if colours is not None and size is not None else ""
    is_right = size is not None and (size.width, size.height, colour) == (spec.width, spec.height, spec.colour.upper())
    if not is_right or found != list(outputs):
        raise ModelError(f"{name} became another network in Core ML: {found} in place of {list(outputs)}")
    main = written.mlProgram.functions["main"]
    operators = Counter(one.type for one in main.block_specializations[main.opset].operations if one.type != "const")
    return CoreMlFacts(
        version=int(written.specificationVersion),
        input=f"{pictures[0].name} {colour} {spec.width}x{spec.height}",
        outputs=tuple(f"{one} {list(shape)}" for one, shape in found),
        operators=dict(sorted(operators.items())),
        size=sum(one.stat().st_size for one in target.rglob("*") if one.is_file()),
    )
