"""What each channel of a trained network is worth, and fresh statistics for one that lost some."""

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


def measure_worth(
    network: Network, groups: Sequence[Group], batches: Iterable[Batch], loss: Callable[[Network, Batch], Tensor]
) -> dict[str, list[float]]:
    """Estimate by how much the loss would change without each channel, squared; the mean over the batches.

    A first-order Taylor expansion at gates behind the normalisations: Molchanov et al., Importance Estimation for
    Neural Network Pruning, arXiv:1906.10771. Where a channel has several gates, as in the neck, their changes are
    added before the square is taken: all of them close together.

    Args:
        network: Trained; its gradients are lost.
        groups: Of the network.
        batches: What the loss is taken of.
        loss: Gives the loss of a batch.

    Returns:
        A number for each channel, by the group's name.
    """
    network.eval().requires_grad_(True)
    device = next(network.parameters()).device
    sums = {group.name: torch.zeros(group.width, dtype=torch.float64, device=device) for group in groups}
    taken = 0
    for batch in batches:
        network.zero_grad(set_to_none=True)
        loss(network, batch).backward()
        for group in groups:
            sums[group.name] += sum(_change(network.get_submodule(gate)) for gate in group.gates).square()
        taken += 1
    network.zero_grad(set_to_none=True)
    return {name: (total / max(1, taken)).tolist() for name, total in sums.items()}


def _change(gate: nn.BatchNorm2d) -> Tensor:
    """Give the loss's derivative by a factor of 1 on each channel that a normalisation gives."""
    return (gate.weight.detach() * gate.weight.grad + gate.bias.detach() * gate.bias.grad).double()


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
