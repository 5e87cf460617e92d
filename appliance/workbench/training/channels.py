"""Which channels of a network can go together, what goes with them, and in which order. Pure."""

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from appliance.workbench.recipe import NetworkRecipe, PruneRecipe
from appliance.workbench.training.network import STRIDES

NECK = "neck"
_NORMALISATION = ("weight", "bias", "running_mean", "running_var")
Costs = Mapping[str, float]
_STEP = 2  # channels that are taken off to see what one costs: the neck's number is even


@dataclass(frozen=True, slots=True)
class Group:
    """Channels of one place: the same ones go from all the tensors that have them.

    Attributes:
        name: ``neck``, or where `Widths` has the number: ``stages.0.1``.
        width: How many there are.
        slots: Tensors of the network's state by name, each with the axis that has the channels.
        gates: Normalisations by name. With their weight and bias at 0, a channel counts for nothing any more.
    """

    name: str
    width: int
    slots: tuple[tuple[str, int], ...]
    gates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rung:
    """A step down of one group.

    Attributes:
        group: Its name.
        width: Channels that stay.
        slope: By how much the loss rises for each multiply-add that this saves.
    """

    group: str
    width: int
    slope: float


def find_groups(network: NetworkRecipe) -> tuple[Group, ...]:
    """Give all channels that can go: inside the units' branches, inside the head's, and those of the neck.

    The maps between units stay as they are: their channels are shuffled, and every unit hands half of them on.
    """
    widths = network.all_widths()
    found = [
        _in_unit(f"stages.{stage}.{unit}", f"backbone.stage{stage + 2}.{unit}.branch", inner)
        for stage, units in enumerate(widths.stages)
        for unit, inner in enumerate(units)
    ]
    for kind in ("scores", "distances"):
        for level, branch in enumerate(getattr(widths, kind)):
            found += [
                _in_branch(f"{kind}.{level}.{layer}", f"{kind}.{level}", layer, branch) for layer in range(len(branch))
            ]
    return (*found, _in_neck(network.neck))


def _in_unit(name: str, path: str, width: int) -> Group:
    first, depthwise, last = (f"{path}.{at}" for at in range(3))
    slots = (*_of_each(first), *_of_each(depthwise), (f"{last}.0.weight", 1))
    return Group(name, width, slots, (f"{depthwise}.1",))


def _in_branch(name: str, path: str, layer: int, widths: Sequence[int]) -> Group:
    made, taken = f"{path}.layers.{layer}.1", f"{path}.layers.{layer + 1}"
    if layer + 1 == len(widths):
        return Group(name, widths[layer], (*_of_each(made), (f"{path}.out.weight", 1)), (f"{made}.1",))
    slots = (*_of_each(made), *_of_each(f"{taken}.0"), (f"{taken}.1.0.weight", 1))
    return Group(name, widths[layer], slots, (f"{taken}.0.1",))


def _in_neck(width: int) -> Group:
    inside = [f"pyramid.{kind}.{at}" for kind, number in (("halve", 2), ("mixes", 4)) for at in range(number)]
    after = [f"{kind}.{level}.layers.0" for kind in ("scores", "distances") for level in range(len(STRIDES))]
    slots = [slot for level in range(len(STRIDES)) for slot in _of_each(f"pyramid.reduce.{level}")]
    for path in (*inside, *after):
        slots += [*_of_each(f"{path}.0"), (f"{path}.1.0.weight", 1)]
    slots += [slot for path in inside for slot in _of_each(f"{path}.1")]
    return Group(NECK, width, tuple(slots), tuple(f"{path}.0.1" for path in (*inside, *after)))


def _of_each(path: str) -> Iterator[tuple[str, int]]:
    """Give what a convolution and its normalisation have for each channel that they give."""
    yield f"{path}.0.weight", 0
    for tensor in _NORMALISATION:
        yield f"{path}.1.{tensor}", 0


def narrow(network: NetworkRecipe, widths: Mapping[str, int]) -> NetworkRecipe:
    """Give the same network with other widths; groups that are not named keep theirs."""
    if all(widths.get(group.name, group.width) == group.width for group in find_groups(network)):
        return network
    inner = {
        kind: [
            [widths.get(f"{kind}.{row}.{at}", width) for at, width in enumerate(numbers)]
            for row, numbers in enumerate(parts)
        ]
        for kind, parts in network.all_widths().model_dump().items()
    }
    changed = {"neck": widths.get(NECK, network.neck), "widths": inner}
    return NetworkRecipe.model_validate({**network.model_dump(), **changed})


def cut(state: Mapping[str, Tensor], groups: Sequence[Group], kept: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Give a network's state with only some channels.

    Args:
        state: As of the whole network.
        groups: Of the whole network.
        kept: Numbers of the channels that stay, rising, by the group's name; other groups keep all.
    """
    out = dict(state)
    for group in groups:
        if group.name in kept:
            chosen = torch.tensor(list(kept[group.name]), dtype=torch.long)
            for name, axis in group.slots:
                out[name] = out[name].index_select(axis, chosen.to(out[name].device))
    return out


def count_steps(network: NetworkRecipe, classes: int, size: int) -> tuple[int, int]:
    """Give parameters and multiply-adds as `network.count` does, without the network."""
    parameters = steps = 0
    for inside, outside, kernel, stride in _convolutions(network, classes):
        weights = inside * outside * kernel**2
        parameters += weights + 2 * outside
        steps += weights * (size // stride) ** 2
    # the head's last ones have a bias in place of a normalisation's weight and bias
    return parameters - len(STRIDES) * (classes + 4), steps


def _convolutions(network: NetworkRecipe, classes: int) -> Iterator[tuple[int, int, int, int]]:
    """Give for each convolution: channels in for one channel out, channels out, kernel, stride of what it gives."""
    widths, inside = network.all_widths(), network.stem
    yield 3, inside, 3, 2
    for stride, outside, inner in zip(STRIDES, network.stages, widths.stages, strict=True):
        half = outside // 2
        yield from ((1, inside, 3, stride), (inside, half, 1, stride), (inside, inner[0], 1, stride // 2))
        yield from ((1, inner[0], 3, stride), (inner[0], half, 1, stride))
        for width in inner[1:]:
            yield from ((half, width, 1, stride), (1, width, 3, stride), (width, half, 1, stride))
        inside = outside
    fine, middle, coarse = STRIDES
    yield from ((outside, network.neck, 1, stride) for outside, stride in zip(network.stages, STRIDES, strict=True))
    for stride in (middle, coarse, middle, fine, middle, coarse):
        yield from ((1, network.neck, network.kernel, stride), (network.neck, network.neck, 1, stride))
    for outputs, branches in ((classes, widths.scores), (4, widths.distances)):
        for stride, branch in zip(STRIDES, branches, strict=True):
            for before, after in itertools.pairwise((network.neck, *branch)):
                yield from ((1, before, network.kernel, stride), (before, after, 1, stride))
            yield branch[-1], outputs, 1, stride


def count_costs(network: NetworkRecipe, classes: int, size: int) -> dict[str, float]:
    """Give the multiply-adds that go with one channel of each group."""
    whole = count_steps(network, classes, size)[1]
    narrower = {group.name: narrow(network, {group.name: group.width - _STEP}) for group in find_groups(network)}
    return {name: (whole - count_steps(one, classes, size)[1]) / _STEP for name, one in narrower.items()}


def rank(worth: Sequence[float]) -> list[int]:
    """Give the numbers of a group's channels, the one that is worth least first."""
    return sorted(range(len(worth)), key=lambda channel: (worth[channel], channel))


def find_stops(group: Group, recipe: PruneRecipe) -> list[int]:
    """Give the widths to which a group can be made narrower, falling."""
    least = math.ceil(max(recipe.multiple, group.width * recipe.least) / recipe.multiple) * recipe.multiple
    return list(range((group.width - 1) // recipe.multiple * recipe.multiple, least - 1, -recipe.multiple))


def build_ladder(
    groups: Sequence[Group], stops: Mapping[str, Sequence[int]], harm: Mapping[str, Sequence[float]], costs: Costs
) -> list[Rung]:
    """Give all steps down, the one that does least harm for what it saves first.

    A greedy filling of a knapsack. In each group the steps lead along the lower convex hull of harm over savings, so
    that none is taken that a longer one beats.

    Args:
        groups: That can be made narrower.
        stops: Widths of each group, falling.
        harm: How much the loss rises at each of them, when that group alone is made narrower.
        costs: Multiply-adds of one channel, by group.
    """
    rungs = []
    for group in groups:
        width, harmed = group.width, 0.0
        left = list(zip(stops[group.name], harm[group.name], strict=True))
        while left:
            slopes = [(loss - harmed) / ((width - stop) * costs[group.name]) for stop, loss in left]
            best = max(at for at, slope in enumerate(slopes) if slope == min(slopes))
            width, harmed = left[best]
            rungs.append(Rung(group.name, width, slopes[best]))
            left = left[best + 1 :]
    return sorted(rungs, key=lambda rung: rung.slope)  # a stable sort: of equals the earlier group's, the wider first


def descend(rungs: Sequence[Rung]) -> dict[str, int]:
    """Give the widths after these steps, by group; groups without a step are left out."""
    widths: dict[str, int] = {}
    for rung in rungs:
        widths[rung.group] = min(rung.width, widths.get(rung.group, rung.width))
    return widths


def find_widths(
    ladder: Sequence[Rung], stops: Mapping[str, Sequence[int]], will_do: Callable[[Mapping[str, int]], bool]
) -> dict[str, int]:
    """Give the widths after the fewest steps that will do; the last step no longer than it must be.

    Args:
        ladder: The steps, after all of which they will do.
        stops: Widths of each group, falling.
        will_do: Whether some widths, by group, are narrow enough; narrower ones are too.
    """
    # not yet comes before it will do
    enough = bisect.bisect_left(range(len(ladder)), True, key=lambda steps: will_do(descend(ladder[:steps])))
    widths = descend(ladder[:enough])
    if enough == 0:
        return widths
    last = ladder[enough - 1]
    shorter = ({**widths, last.group: stop} for stop in stops[last.group] if stop > last.width)
    return next((one for one in shorter if will_do(one)), widths)
