"""The network: ShuffleNetV2, a light feature pyramid, and a head with separate scores and distances.

Every activation is a ReLU and nothing is squeezed or excited, so that 8-bit weights and activations serve it.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from appliance.workbench.recipe import NetworkRecipe

STRIDES = (8, 16, 32)
PIXEL_SCALE = 1 / 64  # of 0..255; no mean is taken off, the first normalisation learns it: so it folds into a weight
_RARE = 0.01  # score of every class before anything is learned (arXiv:1708.02002, section 3.3)
_FIRST_DISTANCE = 2.0  # cells from a centre to each side before anything is learned


class Halves(nn.Module):
    """Gives the first and the second half of the channels."""

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Split (B, C, H, W)."""
        first, second = maps.chunk(2, dim=1)
        return first, second


class Shuffle(nn.Module):
    """Takes channels from two halves in turns; arXiv:1807.11164, figure 3."""

    def forward(self, maps: Tensor) -> Tensor:
        """Shuffle (B, C, H, W)."""
        batch, channels, height, width = maps.shape
        halves = maps.permute(0, 2, 3, 1).reshape(batch, height, width, 2, channels // 2)
        # channels stay last in memory, which convolutions on a CPU want
        return halves.transpose(3, 4).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class Cells(nn.Module):
    """Gives a map's cells row by row: (B, C, H, W) becomes (B, C, H x W)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Flatten the two last axes."""
        return maps.flatten(2)


class Together(nn.Module):
    """Concatenates tensors along an axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *parts: Tensor) -> Tensor:
        """Concatenate."""
        return torch.cat(parts, dim=self.axis)


class Sum(nn.Module):
    """Adds two tensors of one shape."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Add."""
        return first + second


def _convolution(
    inside: int, outside: int, kernel: int = 1, stride: int = 1, groups: int = 1, *, active: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outside, momentum=0.03, eps=1e-3),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if active else nn.Sequential(*layers)


def _separable(inside: int, outside: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_convolution(inside, inside, kernel, stride, groups=inside), _convolution(inside, outside, 1))


class Unit(nn.Module):
    """A unit of ShuffleNetV2 that keeps the map's size; figure 3 (c).

    Args:
        channels: Of the maps.
        inner: Inside the branch.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        half = channels // 2
        self.halves, self.together, self.shuffle = Halves(), Together(1), Shuffle()
        self.branch = nn.Sequential(
            _convolution(half, inner),
            _convolution(inner, inner, 3, groups=inner, active=False),
            _convolution(inner, half),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Give (B, C, H, W)."""
        kept, changed = self.halves(maps)
        return self.shuffle(self.together(kept, self.branch(changed)))


class HalvingUnit(nn.Module):
    """A unit of ShuffleNetV2 that halves the map; figure 3 (d).

    Args:
        inside: Channels of the maps that come.
        outside: Of those that it gives.
        inner: Inside the branch.
    """

    def __init__(self, inside: int, outside: int, inner: int) -> None:
        super().__init__()
        half = outside // 2
        self.together, self.shuffle = Together(1), Shuffle()
        self.direct = nn.Sequential(
            _convolution(inside, inside, 3, 2, groups=inside, active=False), _convolution(inside, half)
        )
        self.branch = nn.Sequential(
            _convolution(inside, inner),
            _convolution(inner, inner, 3, 2, groups=inner, active=False),
            _convolution(inner, half),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Give (B, outside, H / 2, W / 2)."""
        return self.shuffle(self.together(self.direct(maps), self.branch(maps)))


class Backbone(nn.Module):
    """ShuffleNetV2 without its classifier: maps with strides 8, 16 and 32."""

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(3, recipe.stem, 3, 2), nn.MaxPool2d(3, 2, 1))
        stages, inside = [], recipe.stem
        for outside, inner in zip(recipe.stages, recipe.all_widths().stages, strict=True):
            units: list[nn.Module] = [HalvingUnit(inside, outside, inner[0])]
            stages.append(nn.Sequential(*units, *(Unit(outside, width) for width in inner[1:])))
            inside = outside
        self.stage2, self.stage3, self.stage4 = stages

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the three maps, finest first."""
        fine = self.stage2(self.stem(pictures))
        middle = self.stage3(fine)
        return fine, middle, self.stage4(middle)


class Pyramid(nn.Module):
    """Hands what the maps know down to finer ones and back up; PANet, arXiv:1803.01534, made light."""

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        neck, kernel = recipe.neck, recipe.kernel
        self.reduce = nn.ModuleList(_convolution(channels, neck) for channels in recipe.stages)
        self.up = nn.ModuleList(nn.Upsample(scale_factor=2.0, mode="nearest") for _ in range(2))
        self.sums = nn.ModuleList(Sum() for _ in range(4))
        self.halve = nn.ModuleList(_separable(neck, neck, kernel, 2) for _ in range(2))
        self.mixes = nn.ModuleList(_separable(neck, neck, kernel) for _ in range(4))

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give three maps of the neck's channels, finest first."""
        fine, middle, coarse = self.reduce[0](fine), self.reduce[1](middle), self.reduce[2](coarse)
        middle = self.mixes[0](self.sums[0](middle, self.up[0](coarse)))
        fine = self.mixes[1](self.sums[1](fine, self.up[1](middle)))
        middle = self.mixes[2](self.sums[2](middle, self.halve[0](fine)))
        coarse = self.mixes[3](self.sums[3](coarse, self.halve[1](middle)))
        return fine, middle, coarse


class Branch(nn.Module):
    """One of the head's branches on one level.

    Args:
        neck: Channels that come.
        widths: That each layer gives.
        outputs: That it gives.
        kernel: Size of the depthwise filters.
    """

    def __init__(self, neck: int, widths: Sequence[int], outputs: int, kernel: int) -> None:
        super().__init__()
        inside = (neck, *widths)
        self.layers = nn.Sequential(*(_separable(*pair, kernel) for pair in itertools.pairwise(inside)))
        self.out = nn.Conv2d(inside[-1], outputs, 1)
        self.cells = Cells()

    def forward(self, maps: Tensor) -> Tensor:
        """Give (B, outputs, H x W)."""
        return self.cells(self.out(self.layers(maps)))


class Network(nn.Module):
    """The whole detector.

    Args:
        recipe: Its channels.
        classes: How many it tells apart.
    """

    def __init__(self, recipe: NetworkRecipe, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone(recipe)
        self.pyramid = Pyramid(recipe)
        neck, kernel, widths = recipe.neck, recipe.kernel, recipe.all_widths()
        self.scores = nn.ModuleList(Branch(neck, each, classes, kernel) for each in widths.scores)
        self.distances = nn.ModuleList(Branch(neck, each, 4, kernel) for each in widths.distances)
        self.together = nn.ModuleList(Together(2) for _ in range(2))
        self._start()

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Give what each cell sees.

        Args:
            pictures: Shape (B, 3, H, W), 0..255 times `PIXEL_SCALE`, BGR; H and W are multiples of 32.

        Returns:
            Scores before the sigmoid, (B, classes, cells), and distances to left, top, right and bottom in cells,
            (B, 4, cells); the levels one after the other, finest first.
        """
        fine, middle, coarse = self.backbone(pictures)
        fine, middle, coarse = self.pyramid(fine, middle, coarse)
        scores = self.together[0](self.scores[0](fine), self.scores[1](middle), self.scores[2](coarse))
        distances = self.together[1](self.distances[0](fine), self.distances[1](middle), self.distances[2](coarse))
        return scores, distances

    def _start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out" if module.groups == 1 else "fan_in")
        for branch in self.scores:
            nn.init.normal_(branch.out.weight, std=0.01)
            nn.init.constant_(branch.out.bias, -math.log((1 - _RARE) / _RARE))
        for branch in self.distances:
            nn.init.normal_(branch.out.weight, std=0.01)
            nn.init.constant_(branch.out.bias, _FIRST_DISTANCE)


def cells(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Give the centre of each cell, (cells, 2) in pixels, and its stride, (cells,)."""
    centres, strides = [], []
    for stride in STRIDES:
        rows = torch.arange(height // stride, device=device)
        columns = torch.arange(width // stride, device=device)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres.append((torch.stack((x, y), dim=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((len(rows) * len(columns),), float(stride), device=device))
    return torch.cat(centres), torch.cat(strides)


def to_boxes(distances: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Give boxes (B, cells, 4), xyxy in pixels, from distances (B, 4, cells) in cells."""
    reach = distances.transpose(1, 2) * strides[:, None]
    return torch.cat((centres - reach[..., :2], centres + reach[..., 2:]), dim=-1)


def count(network: nn.Module, size: int) -> tuple[int, int]:
    """Give the number of parameters, and of multiply-adds of convolutions for one picture of `size` x `size`."""
    steps = 0

    def add(module: nn.Conv2d, _: object, output: Tensor) -> None:
        nonlocal steps
        steps += output.numel() * module.weight[0].numel()

    hooks = [one.register_forward_hook(add) for one in network.modules() if isinstance(one, nn.Conv2d)]
    was_training = network.training
    device = next(network.parameters()).device
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size, device=device))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return sum(parameter.numel() for parameter in network.parameters()), steps
