"""From the trained network to what the device loads: an ONNX file and its manifest, in a folder of the model's name."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_eval

from appliance.core.errors import ModelError
from appliance.core.files import make_folder, write_atomically
from appliance.core.manifest import MANIFEST_NAME
from appliance.workbench.recipe import Recipe
from appliance.workbench.training.augment import PAD
from appliance.workbench.training.network import PIXEL_SCALE, STRIDES, Cells, Halves, Network, Shuffle, Sum, Together
from appliance.workbench.training.onnx_writer import GraphWriter

INPUT, PIXELS, SCORES, DISTANCES = "image", "pixels", "scores", "distances"
_OWN = (Cells, Halves, Shuffle, Sum, Together)


class Tracer(fx.Tracer):
    """Follows the network down to the layers that have a node of their own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether this module is not looked into."""
        return isinstance(m, _OWN) or bool(super().is_leaf_module(m, module_qualified_name))


def export(network: Network, recipe: Recipe, folder: Path, digits: Mapping[str, str]) -> Path:
    """Write the ONNX file and the manifest; both can be loaded as soon as this returns.

    Args:
        network: With the weights that are wanted.
        recipe: Of the model.
        folder: Where the model's folder goes.
        digits: What the file says of itself, such as the step.

    Returns:
        The model's folder, named as the model is.

    Raises:
        ModelError: The network has a layer that cannot be exported.
        StorageError: The folder cannot be made or written to.
    """
    content = to_onnx(network, recipe.size, dict(digits))
    target = folder / recipe.name
    make_folder(target)
    file = fp32_name(recipe)
    write_atomically(target / file, content)
    write_atomically(target / MANIFEST_NAME, to_manifest(recipe, file, content).encode())
    return target


def fp32_name(recipe: Recipe) -> str:
    """Give the name of the exported file."""
    return f"{recipe.name}-fp32.onnx"


def to_onnx(network: Network, size: int, notes: Mapping[str, str]) -> bytes:
    """Give an ONNX file: bytes of a picture in, scores after the sigmoid and distances in cells out.

    Normalisations are folded into the convolutions before them, the scale of the pixels into the first.

    Raises:
        ModelError: The network has a layer that cannot be exported.
    """
    plain = _fused(network)
    graph = Tracer().trace(plain)
    module = fx.GraphModule(plain, graph)
    with torch.no_grad():
        ShapeProp(module).propagate(torch.zeros(1, 3, size, size))
    writer = GraphWriter("edgecam")
    writer.input(INPUT, (1, 3, size, size), "uint8")
    names: dict[str, str] = {}
    for node in module.graph.nodes:
        _write(writer, node, dict(module.named_modules()), names)
    return writer.model(notes)


def to_manifest(recipe: Recipe, file: str, content: bytes) -> str:
    """Give the text of manifest.toml for a file with the given bytes."""
    strides = list(STRIDES)
    cells = ",".join(map(str, strides))
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in recipe.source.model_dump().items()}
    lines = [
        "# Written by `edgecam-workbench train`.",
        "schema = 1",
        f"name = {json.dumps(recipe.name)}",
        f"version = {json.dumps(recipe.version)}",
        f"title = {json.dumps(recipe.title, ensure_ascii=False)}",
        'task = "detect"',
        f"labels = {json.dumps(list(recipe.labels), ensure_ascii=False)}",
        f"licence = {json.dumps(recipe.licence)}",
        "\n[source]",
        *(f"{key} = {value}" for key, value in quoted.items()),
        "\n[input]",
        f"width = {recipe.size}\nheight = {recipe.size}",
        'layout = "nchw"\ndtype = "uint8"\ncolour = "bgr"',
        f'fit = "letterbox-centre"\ninterpolation = "linear"\npad = {int(PAD)}',
        "\n[decoder]",
        f'kind = "distances"\nstrides = {strides}',
        f"nms_iou = {recipe.detector.nms_iou}\nmin_score = {recipe.detector.min_score}",
        "\n[signature]",
        'input = { shape = [1, 3, "height", "width"], dtype = "uint8" }',
        f'outputs = [{{ shape = [1, "classes", "cells({cells})"] }}, {{ shape = [1, 4, "cells({cells})"] }}]',
        "\n[[artifacts]]",
        f'file = {json.dumps(file)}\nformat = "onnx"\nprecision = "fp32"',
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}',
    ]
    return "\n".join(lines) + "\n"


def fold(network: Network) -> Network:
    """Give a copy, on the CPU, whose normalisations are folded into the convolutions before them."""
    plain: Network = copy.deepcopy(network).cpu().float().eval()
    for module in list(plain.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for at in range(len(module) - 1):
            if isinstance(module[at], nn.Conv2d) and isinstance(module[at + 1], nn.BatchNorm2d):
                module[at] = fuse_conv_bn_eval(module[at], module[at + 1])
                module[at + 1] = nn.Identity()
    return plain


def _fused(network: Network) -> Network:
    plain = fold(network)
    first = next(module for module in plain.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        first.weight.mul_(PIXEL_SCALE)
    return plain


def _write(writer: GraphWriter, node: fx.Node, modules: Mapping[str, nn.Module], names: dict[str, str]) -> None:
    """Write the node that stands for one of the network's; `names` tells what each gives."""
    if node.op == "placeholder":
        names[node.name] = PIXELS
        writer.node("Cast", [INPUT], [PIXELS], to=1)
    elif node.op == "call_module":
        layer = modules[str(node.target)]
        inputs = [names[each.name] for each in node.all_input_nodes]
        names[node.name] = str(node.target)
        if isinstance(layer, nn.Identity):
            names[node.name] = inputs[0]
        else:
            _layer(layer)(writer, layer, inputs, str(node.target), node)
    elif node.op == "call_function" and node.name.startswith("getitem"):
        names[node.name] = f"{names[node.args[0].name]}.{node.args[1]}"
    elif node.op == "output":
        scores, distances = node.args[0]
        writer.node("Sigmoid", [names[scores.name]], [SCORES])
        writer.node("Identity", [names[distances.name]], [DISTANCES])
        writer.output(SCORES, tuple(scores.meta["tensor_meta"].shape))
        writer.output(DISTANCES, tuple(distances.meta["tensor_meta"].shape))
    else:
        raise ModelError(f"the network's {node.op} {node.target} has no node in ONNX here; make it a layer")


Writing = Callable[[GraphWriter, Any, list[str], str, fx.Node], None]


def _layer(layer: nn.Module) -> Writing:
    kinds: dict[type[nn.Module], Writing] = {
        nn.Conv2d: _convolution,
        nn.ReLU: _relu,
        nn.MaxPool2d: _pool,
        nn.Upsample: _upsample,
        Halves: _halves,
        Shuffle: _shuffle,
        Cells: _cells,
        Sum: _sum,
        Together: _together,
    }
    if type(layer) not in kinds:
        raise ModelError(f"the network's layer {type(layer).__name__} has no node in ONNX here; known: {kinds}")
    return kinds[type(layer)]


def _convolution(writer: GraphWriter, layer: nn.Conv2d, inputs: list[str], name: str, _: fx.Node) -> None:
    weights = [
        writer.weight(f"{name}.{kind}", getattr(layer, kind).detach().numpy())
        for kind in ("weight", "bias")
        if getattr(layer, kind) is not None
    ]
    writer.node(
        "Conv",
        [*inputs, *weights],
        [name],
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=[*layer.padding, *layer.padding],
        group=layer.groups,
    )


def _relu(writer: GraphWriter, _: nn.ReLU, inputs: list[str], name: str, __: fx.Node) -> None:
    writer.node("Relu", inputs, [name])


def _pool(writer: GraphWriter, layer: nn.MaxPool2d, inputs: list[str], name: str, _: fx.Node) -> None:
    kernel, stride, pad = int(layer.kernel_size), int(layer.stride), int(layer.padding)
    writer.node("MaxPool", inputs, [name], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)


def _upsample(writer: GraphWriter, layer: nn.Upsample, inputs: list[str], name: str, _: fx.Node) -> None:
    factor = float(layer.scale_factor)
    scales = writer.weight(f"{name}.scales", torch.tensor([1.0, 1.0, factor, factor]).numpy())
    writer.node(
        "Resize",
        [*inputs, "", scales],
        [name],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _halves(writer: GraphWriter, _: Halves, inputs: list[str], name: str, __: fx.Node) -> None:
    writer.node("Split", inputs, [f"{name}.0", f"{name}.1"], axis=1)


def _shuffle(writer: GraphWriter, _: Shuffle, inputs: list[str], name: str, node: fx.Node) -> None:
    # not reshaped, turned and reshaped: around that, kernels for 8 bits turn every map to channels last and back
    channels = node.meta["tensor_meta"].shape[1]
    order = torch.arange(channels).reshape(2, channels // 2).t().reshape(-1).numpy()
    writer.node("Gather", [*inputs, writer.weight(f"{name}.order", order)], [name], axis=1)


def _cells(writer: GraphWriter, _: Cells, inputs: list[str], name: str, node: fx.Node) -> None:
    shape = torch.tensor(list(node.meta["tensor_meta"].shape)).numpy()
    writer.node("Reshape", [*inputs, writer.weight(f"{name}.shape", shape)], [name])


def _together(writer: GraphWriter, layer: Together, inputs: list[str], name: str, _: fx.Node) -> None:
    writer.node("Concat", inputs, [name], axis=layer.axis)


def _sum(writer: GraphWriter, _: Sum, inputs: list[str], name: str, __: fx.Node) -> None:
    writer.node("Add", inputs, [name])
