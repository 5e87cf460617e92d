from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")

from appliance.workbench.recipe import NetworkRecipe, PruneRecipe, Widths, read_recipe
from appliance.workbench.training.augment import Batch
from appliance.workbench.training.channels import (
    NECK,
    build_ladder,
    count_costs,
    count_steps,
    cut,
    descend,
    find_groups,
    narrow,
    rank,
)
from appliance.workbench.training.network import Network, count
from appliance.workbench.training.worth import measure_worth, recalibrate

OWN = Path(__file__).resolve().parents[4] / "models" / "edgecam-nano"
TINY = NetworkRecipe(stem=8, stages=(16, 24, 32), repeats=(2, 1, 2), neck=12, head_layers=2, kernel=3)
UNEVEN = Widths(
    stages=((5, 8), (6,), (16, 7)), scores=((12, 5), (3, 12), (12, 12)), distances=((4, 4), (12, 1), (9, 9))
)


def lived_in(recipe: NetworkRecipe) -> Any:
    """Give a network whose every tensor differs from channel to channel, in double precision."""
    torch.manual_seed(1)
    network = Network(recipe, 3).double().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.uniform_(0.5, 1.5)
                for tensor in (module.bias, module.running_mean):
                    tensor.uniform_(-0.5, 0.5)
        network.scores[0].out.weight.mul_(100)  # as drawn, the heads' last weights are close to nothing
    return network


def pictures(number: int = 2, size: int = 64) -> Any:
    return torch.rand(number, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 4


@pytest.mark.parametrize("recipe", [TINY, TINY.model_copy(update={"widths": UNEVEN})], ids=["whole", "pruned before"])
def test_what_is_left_computes_exactly_what_the_whole_did_with_those_channels_at_zero(recipe: NetworkRecipe) -> None:
    network = lived_in(recipe)
    groups = find_groups(recipe)
    assert len(groups) == sum(recipe.repeats) + 6 * recipe.head_layers + 1
    chance = torch.Generator().manual_seed(3)
    kept = {}
    for group in groups:
        most = max(2, group.width * 2 // 3 // 2 * 2) if group.name == NECK else max(1, group.width * 2 // 3)
        kept[group.name] = sorted(torch.randperm(group.width, generator=chance)[:most].tolist())
    smaller = narrow(recipe, {name: len(channels) for name, channels in kept.items()})
    left = Network(smaller, 3).double().eval()
    left.load_state_dict(cut(network.state_dict(), groups, kept))
    with torch.no_grad():
        before = network(pictures())
        for group in groups:
            gone = [channel for channel in range(group.width) if channel not in kept[group.name]]
            for gate in map(network.get_submodule, group.gates):
                gate.weight[gone], gate.bias[gone] = 0.0, 0.0
        expected, found = network(pictures()), left(pictures())
    for one, other, changed in zip(found, expected, before, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
        assert (changed - other).abs().max() > 1e-3
    assert count_steps(smaller, 3, 64)[1] < count_steps(recipe, 3, 64)[1]


@pytest.mark.parametrize("group", [*find_groups(TINY)], ids=lambda group: group.name)
def test_each_group_goes_by_itself(group: Any) -> None:
    network = lived_in(TINY)
    kept = {group.name: list(range(0, group.width, 2))}
    left = Network(narrow(TINY, {group.name: len(kept[group.name])}), 3).double().eval()
    left.load_state_dict(cut(network.state_dict(), [group], kept))  # strict: every tensor has the shape that is wanted
    with torch.no_grad():
        for gate in map(network.get_submodule, group.gates):
            gate.weight[1::2], gate.bias[1::2] = 0.0, 0.0
        for one, other in zip(left(pictures(1, 32)), network(pictures(1, 32)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("recipe", "classes", "size"),
    [
        (TINY, 3, 64),
        (TINY.model_copy(update={"widths": UNEVEN}), 2, 96),
        (read_recipe(OWN / "recipe.toml").network, 6, 320),
        (read_recipe(OWN / "recipe-small.toml").network, 6, 192),
    ],
)
def test_steps_are_counted_as_the_network_takes_them(recipe: NetworkRecipe, classes: int, size: int) -> None:
    assert count_steps(recipe, classes, size) == count(Network(recipe, classes), size)


def test_a_channel_costs_what_goes_with_it() -> None:
    whole = count(Network(TINY, 3), 64)[1]
    costs = count_costs(TINY, 3, 64)
    for group in find_groups(TINY)[::3]:  # the last one is the neck
        narrower = narrow(TINY, {group.name: group.width - 2})
        assert whole - count(Network(narrower, 3), 64)[1] == 2 * costs[group.name] > 0


def test_the_way_down_takes_what_is_worth_least_for_what_it_saves() -> None:
    first, second, *_ = find_groups(TINY)  # 8 channels each
    wanted = PruneRecipe(iterations=1, multiple=2, least=0.5)
    worth = {first.name: [9.0, 1.0, 8.0, 1.0, 7.0, 3.0, 3.0, 6.0], second.name: [4.0] * 8}
    ladder = build_ladder([first, second], worth, {first.name: 10.0, second.name: 20.0}, wanted)
    found = [(rung.group, rung.width, rung.value) for rung in ladder]
    a, b = first.name, second.name
    assert found == [(a, 6, 0.1), (b, 6, 0.2), (b, 4, 0.2), (a, 4, 0.3)]  # half of each stays
    assert descend(ladder[:3]) == {a: 6, b: 4}
    assert rank(worth[a]) == [1, 3, 5, 6, 7, 4, 2, 0]


def test_widths_that_are_left_are_whole_multiples_and_never_too_few() -> None:
    recipe = read_recipe(OWN / "recipe.toml").network
    groups = find_groups(recipe)
    wanted = PruneRecipe(iterations=1)
    ladder = build_ladder(groups, {one.name: [0.0] * one.width for one in groups}, count_costs(recipe, 6, 320), wanted)
    lowest = descend(ladder)
    assert {width % 8 for width in lowest.values()} == {0}
    assert all(lowest[one.name] >= one.width * wanted.least for one in groups)
    before = count_steps(recipe, 6, 320)[1]
    for rungs in range(1, len(ladder) + 1):
        after = count_steps(narrow(recipe, descend(ladder[:rungs])), 6, 320)[1]
        assert after < before  # each step saves something
        before = after


def test_worth_is_the_square_of_how_the_loss_changes_as_the_gates_close() -> None:
    """Against differences, for a loss without steps in it."""

    def loss(network: Any, batch: Batch) -> Any:
        scores, distances = network(batch.pictures)
        return scores.square().mean() + distances.square().mean()

    nothing = torch.zeros(0)
    batches = [Batch(pictures(1) * factor, nothing, nothing, nothing, nothing, nothing) for factor in (1.0, 0.5)]
    groups = find_groups(TINY)
    worth = measure_worth(lived_in(TINY), groups, batches, loss)
    step, channel = 1e-6, 3
    for group in (groups[1], groups[-4], groups[-1]):
        total = 0.0
        for batch in batches:
            ends = []
            for factor in (1 + step, 1 - step):
                network = lived_in(TINY)
                with torch.no_grad():
                    for gate in map(network.get_submodule, group.gates):
                        gate.weight[channel] *= factor
                        gate.bias[channel] *= factor
                    ends.append(float(loss(network, batch)))
            total += ((ends[0] - ends[1]) / (2 * step)) ** 2
        assert worth[group.name][channel] == pytest.approx(total / 2, rel=1e-4)
        assert worth[group.name][channel] > 0


def test_recalibration_gives_the_normalisations_the_statistics_of_the_batches_and_changes_no_weight() -> None:
    network = lived_in(TINY).float()
    weights = {name: one.clone() for name, one in network.named_parameters()}
    nothing = torch.zeros(0)
    seen = [Batch(pictures(4).float() * 64, nothing, nothing, nothing, nothing, nothing) for _ in range(2)]
    recalibrate(network, seen)
    with torch.no_grad():
        maps = network.backbone.stem[0][0](pictures(4).float())
    first = network.backbone.stem[0][1]
    torch.testing.assert_close(first.running_mean, maps.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-5)
    assert first.momentum == 0.03
    assert all(torch.equal(one, weights[name]) for name, one in network.named_parameters())
