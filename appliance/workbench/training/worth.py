"""What the channels of a trained network are worth, and fresh statistics for one that lost some."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from appliance.workbench.recipe import LossRecipe, Recipe
from appliance.workbench.training.augment import Augmenter, Batch
from appliance.workbench.training.channels import Group
from appliance.workbench.training.corpus import Corpus
from appliance.workbench.training.losses import cost
from appliance.workbench.training.network import PIXEL_SCALE, Network, cells

_SPREAD = 0x9E3779B97F4A7C15  # 2 ** 64 / golden ratio: seeds of neighbouring purposes lie far apart
_SEEDS = 1 << 63

Loss = Callable[[Network, Batch], Tensor]
Worth = list[float]
"""A number for each channel of a group."""


def draw_batches(corpus: Corpus, recipe: Recipe, number: int, purpose: int) -> Iterator[Batch]:
    """Give batches as training has them at its end: nothing put together, the recipe's sizes in turn.

    Args:
        corpus: On the device where they are wanted.
        recipe: Size, variation and seed.
        number: How many.
        purpose: Another purpose gets others.
    """
    schedule, device = recipe.schedule, corpus.pixels.device
    generator = torch.Generator(device=device)
    generator.manual_seed(((schedule.seed + 1) * _SPREAD + purpose) % _SEEDS)
    augmenter = Augmenter(corpus, recipe.augment, generator)
    order = corpus.order[torch.randperm(len(corpus.order), generator=generator, device=device)]
    for at in range(number):
        chosen = (torch.arange(schedule.batch, device=device) + at * schedule.batch) % len(order)
        yield augmenter.batch(order[chosen], schedule.sizes[at % len(schedule.sizes)], late=True)


def training_loss(network: Network, batch: Batch, recipe: LossRecipe) -> Tensor:
    """Give the loss that training lowers."""
    logits, distances = network(batch.pictures * PIXEL_SCALE)
    size = batch.pictures.shape[-1]
    return cost(logits, distances, batch, cells(size, size, batch.pictures.device), recipe).total


def measure_worth(network: Network, groups: Sequence[Group], batches: Iterable[Batch], loss: Loss) -> dict[str, Worth]:
    """Estimate for each channel by how much a picture's loss would change without it: up or down, the mean.

    The first-order Taylor expansion of Molchanov et al., arXiv:1611.06440, at gates behind the normalisations as in
    arXiv:1906.10771. A channel with several gates, as in the neck, has them all closed at once.

    Args:
        network: Trained.
        groups: Of the network.
        batches: What the loss is taken of.
        loss: Gives the loss of a batch.

    Returns:
        A number for each channel, by the group's name.
    """
    network.eval().requires_grad_(False)
    device = next(network.parameters()).device
    sums = {group.name: torch.zeros(group.width, dtype=torch.float64, device=device) for group in groups}
    taken = 0
    for batch in batches:
        with _gates(network, groups, batch) as gates:
            changes = torch.autograd.grad(loss(network, batch), list(gates.values()))
        for name, change in zip(gates, changes, strict=True):
            sums[name] += change.abs().sum(dim=0)
        taken += 1
    return {name: (total / max(1, taken)).tolist() for name, total in sums.items()}


@contextlib.contextmanager
def _gates(network: Network, groups: Sequence[Group], batch: Batch) -> Iterator[dict[str, Tensor]]:
    """Put an open gate, a factor of 1, behind the normalisations: of shape (B, channels), by the group's name."""
    like = batch.pictures
    gates = {
        group.name: torch.ones(len(like), group.width, dtype=like.dtype, device=like.device, requires_grad=True)
        for group in groups
    }

    def passing(gate: Tensor) -> Callable[..., Tensor]:
        return lambda _, __, output: output * gate[:, :, None, None]

    hooks = [
        network.get_submodule(gate).register_forward_hook(passing(gates[group.name]))
        for group in groups
        for gate in group.gates
    ]
    try:
        yield gates
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def measure_harm(
    network: Network, group: Group, ranked: Sequence[int], widths: Sequence[int], loss: Callable[[Network], float]
) -> list[float]:
    """Give by how much the loss rises when a group alone is made narrower, for each of the widths.

    Args:
        network: Trained; as it was when this returns.
        group: Of the network.
        ranked: Its channels, the one that goes first first.
        widths: Falling.
        loss: Gives the loss.
    """
    network.eval()
    gates = [network.get_submodule(gate) for gate in group.gates]
    before = [(gate.weight.clone(), gate.bias.clone()) for gate in gates]
    whole = loss(network)
    found = []
    for width in widths:
        gone = list(ranked[: group.width - width])
        for gate in gates:
            gate.weight[gone], gate.bias[gone] = 0.0, 0.0
        found.append(loss(network) - whole)
    for gate, (weight, bias) in zip(gates, before, strict=True):
        gate.weight.copy_(weight)
        gate.bias.copy_(bias)
    return found


def mean_loss(network: Network, batches: Sequence[Batch], loss: Loss) -> float:
    """Give the mean loss of some batches."""
    return sum(float(loss(network, batch)) for batch in batches) / len(batches)


@torch.no_grad()
def recalibrate(network: Network, batches: Iterable[Batch]) -> None:
    """Take the normalisations' statistics anew: those of the whole network do not fit what is left of it.

    Li et al., EagleEye, arXiv:2007.02491. The weights stay as they are.
    """
    normalisations = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [module.momentum for module in normalisations]
    for module in normalisations:
        module.reset_running_stats()
        module.momentum = None  # the plain mean over all batches
    network.train()
    for batch in batches:
        network(batch.pictures * PIXEL_SCALE)
    network.eval()
    for module, momentum in zip(normalisations, momenta, strict=True):
        module.momentum = momentum
