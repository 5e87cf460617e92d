"""The network as it will be in 8 bits: what `edgecam-workbench quantize` rounds is rounded here, and learned through.

Ours and not torch.ao's, so that scales, rounding and places are those of ONNX Runtime's quantizer to the last bit, and
the device's file gives what was learned. Gradients pass through rounding as if it were not there, and stop at what lies
outside the range (arXiv:1712.05877, section 3).
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from appliance.core.errors import ModelError
from appliance.workbench.training.export import DISTANCES, PIXELS, SCORES, Tracer, fold
from appliance.workbench.training.network import PIXEL_SCALE, Cells, Halves, Network, Shuffle, Sum, Together

STEPS = 255  # of an activation's range, in both schemes: 0 to 255, or -128 to 127
_WEIGHT = 127  # largest weight in steps
_MOST_BIAS = (2**31 - 1) / 1.0001  # in steps; above it the quantizer makes the weights' scale larger
_TINY = torch.finfo(torch.float32).tiny
_OWN_RANGE = (nn.Conv2d, nn.ReLU, Sum, Together)
_HAND_ON = (nn.MaxPool2d, nn.Upsample, Halves, Shuffle, Cells)  # what they give lies on the grid already

Range = tuple[float, float]


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, scale: Tensor, zero: Tensor, bounds: tuple[int, int]) -> Tensor:
        steps = (values / scale).round_().add_(zero)  # halves go to even, as in QuantizeLinear
        context.save_for_backward((steps >= bounds[0]) & (steps <= bounds[1]))
        return steps.clamp_(*bounds).sub_(zero).mul_(scale)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = context.saved_tensors
        return gradients[0] * inside, None, None, None


def scale_of(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Give scale and zero point, float32, of a range that is widened to hold 0; as ONNX Runtime's quantizer does."""
    low, high = low.double().clamp(max=0), high.double().clamp(min=0)
    scale = (high - low) / STEPS
    is_empty = scale < _TINY
    scale = torch.where(is_empty, 1.0, scale)
    return scale.float(), torch.where(is_empty, 0.0, (-low / scale).round()).float()


def fake_quantize(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Give activations as they come out of 8 bits, any shape.

    Args:
        values: Float32.
        low: Of their range, a scalar.
        high: Of their range, a scalar.
    """
    scale, zero = scale_of(low, high)
    rounded: Tensor = _Rounded.apply(values, scale, zero, (0, STEPS))
    return rounded


def fake_quantize_weights(weight: Tensor, bias: Tensor, scale_in: Tensor) -> tuple[Tensor, Tensor]:
    """Give a convolution's weights and bias as they come out of 8 bits and 32 bits.

    Args:
        weight: Shape (filters, ...); each filter has a scale of its own.
        bias: Shape (filters,).
        scale_in: Of the activations that the convolution reads, a scalar.
    """
    with torch.no_grad():
        scale = (weight.flatten(1).abs().amax(dim=1).double() * 2 / (2 * _WEIGHT)).float()
        scale = torch.where(scale < _TINY, 1.0, scale)
        least = bias.abs().double() / _MOST_BIAS / scale_in.double()
        scale = torch.maximum(scale, least.float())
        zero = torch.zeros((), device=weight.device)
        scale_bias = (scale * scale_in).double()
    by_filter = scale.reshape(-1, *[1] * (weight.ndim - 1))
    rounded: Tensor = _Rounded.apply(weight, by_filter, zero, (-_WEIGHT, _WEIGHT))
    with torch.no_grad():
        error = ((bias.double() / scale_bias).round() * scale_bias).float() - bias
    return rounded, bias + error


@dataclass(frozen=True, slots=True)
class _Step:
    """What is done with values by name.

    Attributes:
        gives: Name of the result; that of the tensor in the exported file.
        layer: Path of the network's layer; None where a part of a pair is taken.
        reads: Names of what goes in.
        part: Of the pair.
    """

    gives: str
    layer: str | None
    reads: tuple[str, ...]
    part: int = 0


class QuantizeAware(nn.Module):
    """A trained network whose weights and activations are rounded as in 8 bits.

    While it is trained, the first `observe` times the ranges follow the lowest and highest value of each batch.

    Args:
        network: Trained; it is copied, and its normalisations are folded.
        observe: So many batches.
        smoothing: Share of a range that stays from batch to batch.

    Attributes:
        network: With the weights that are learned, in float.
        low: Lowest values of the ranges, shape (ranges,).
        high: Highest values of the ranges, shape (ranges,).
        seen: How many batches have been learned from.

    Raises:
        ModelError: The network has a layer of which it is not known what becomes of it in 8 bits.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, network: Network, *, observe: int, smoothing: float) -> None:
        super().__init__()
        self._observe, self._smoothing = max(1, observe), smoothing
        self.network = fold(network).requires_grad_(True)
        self._steps, self._outputs = _trace(self.network)
        self._places, self._grids = _places(self.network, self._steps)
        self.register_buffer("low", torch.zeros(len(self._places)))
        self.register_buffer("high", torch.zeros(len(self._places)))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.high[self._places[PIXELS]] = 255 * PIXEL_SCALE  # bytes: a step of the range is a step of the pixel

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Give scores before the sigmoid and distances; as `Network.forward`, from pictures of whole pixel values."""
        with torch.autocast(pictures.device.type, enabled=False):  # bfloat16 cannot tell 256 steps apart
            values: dict[str, Any] = {PIXELS: self._rounded(PIXELS, pictures)}
            share = self._share()
            for step in self._steps:
                values[step.gives] = self._do(step, values, share)
        if self.training:
            self.seen += 1
        return values[self._outputs[0]], values[self._outputs[1]]

    def ranges(self) -> dict[str, Range]:
        """Give lowest and highest value of each tensor with a range of its own, by its name in the exported file."""
        lows, highs = self.low.tolist(), self.high.tolist()
        found: dict[str, Range] = {name: (lows[at], highs[at]) for name, at in self._places.items()}
        # the file's pixels are whole; its scores went through a sigmoid; its last concatenation has the output's name
        return found | {PIXELS: (0.0, 255.0), SCORES: (0.0, 1.0), DISTANCES: found[self._outputs[1]]}

    def _share(self) -> float:
        """Give by how much the ranges follow this batch."""
        if not self.training:
            return 0.0
        seen = int(self.seen)
        if seen >= self._observe:
            return 0.0
        return 1.0 if seen == 0 else 1.0 - self._smoothing

    def _do(self, step: _Step, values: Mapping[str, Any], share: float) -> Any:
        inputs = [values[name] for name in step.reads]
        if step.layer is None:
            return inputs[0][step.part]
        layer = self.network.get_submodule(step.layer)
        if isinstance(layer, nn.Conv2d):
            at = self._places[self._grids[step.reads[0]]]
            scale_in, _ = scale_of(self.low[at], self.high[at])
            bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
            weight, bias = fake_quantize_weights(layer.weight, bias, scale_in)
            made = functional.conv2d(inputs[0], weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        else:
            made = layer(*inputs)
        if step.gives not in self._places:
            return made
        if share:
            self._follow(step.gives, made, share)
        return self._rounded(step.gives, made)

    def _rounded(self, name: str, values: Tensor) -> Tensor:
        at = self._places[name]
        return fake_quantize(values, self.low[at], self.high[at])

    @torch.no_grad()
    def _follow(self, name: str, values: Tensor, share: float) -> None:
        at = self._places[name]
        low, high = values.aminmax()
        self.low[at] += (low - self.low[at]) * share
        self.high[at] += (high - self.high[at]) * share


def _trace(network: Network) -> tuple[tuple[_Step, ...], tuple[str, str]]:
    """Give the network's layers in their order, and the names of its two outputs."""
    steps: list[_Step] = []
    names: dict[str, str] = {}
    outputs = ("", "")
    for node in Tracer().trace(network).nodes:
        reads = tuple(names[each.name] for each in node.all_input_nodes)
        if node.op == "placeholder":
            names[node.name] = PIXELS
        elif node.op == "output":
            outputs = (reads[0], reads[1])
        elif node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), nn.Identity):
            names[node.name] = reads[0]  # where a normalisation was
        elif node.op == "call_module":
            names[node.name] = str(node.target)
            steps.append(_Step(str(node.target), str(node.target), reads))
        elif node.name.startswith("getitem"):
            part = int(node.args[1])
            names[node.name] = f"{reads[0]}.{part}"
            steps.append(_Step(names[node.name], None, reads, part))
        else:
            raise ModelError(f"the network's {node.op} {node.target} has no form in 8 bits here; make it a layer")
    return tuple(steps), outputs


def _places(network: Network, steps: tuple[_Step, ...]) -> tuple[dict[str, int], dict[str, str]]:
    """Give the tensors that are rounded to a range of their own, with its number; and by tensor, on whose grid it lies.

    They are those of ONNX Runtime's quantizer: a convolution before a ReLU is rounded behind it, and what only moves
    values or chooses among them keeps their grid.
    """
    count = itertools.count()
    places, grids = {PIXELS: next(count)}, {PIXELS: PIXELS}
    for step in steps:
        layer = None if step.layer is None else network.get_submodule(step.layer)
        if layer is None or isinstance(layer, _HAND_ON):
            grids[step.gives] = grids[step.reads[0]]
        elif not isinstance(layer, _OWN_RANGE):
            raise ModelError(f"the network's layer {type(layer).__name__} has no form in 8 bits here")
        elif not (isinstance(layer, nn.Conv2d) and _goes_into_relu(network, steps, step.gives)):
            places[step.gives], grids[step.gives] = next(count), step.gives
    return places, grids


def _goes_into_relu(network: Network, steps: tuple[_Step, ...], name: str) -> bool:
    readers = [step for step in steps if name in step.reads]
    if len(readers) != 1 or readers[0].layer is None:
        return False
    return isinstance(network.get_submodule(readers[0].layer), nn.ReLU)
