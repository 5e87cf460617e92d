from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")

from appliance.workbench.recipe import NetworkRecipe, PruneRecipe, Widths, read_recipe
from appliance.workbench.training.augment import Batch
from appliance.workbench.training.channels import (
    NECK,
    Rung,
    build_ladder,
    count_costs,
    count_steps,
    cut,
    descend,
    find_groups,
    find_stops,
    find_widths,
    narrow,
    rank,
)
from appliance.workbench.training.network import Network, count
from appliance.workbench.training.worth import measure_harm, measure_worth, recalibrate

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
        (NetworkRecipe(stem=16, stages=(48, 96, 192), repeats=(3, 5, 3), neck=48, head_layers=1), 6, 192),
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


def test_the_way_down_takes_what_does_least_harm_for_what_it_saves() -> None:
    first, second, *_ = find_groups(TINY)
    a, b = first.name, second.name
    stops = {a: [6, 4, 2], b: [6, 4, 2]}
    harm = {a: [0.2, 0.3, 0.9], b: [-0.4, 0.0, 4.0]}
    ladder = build_ladder([first, second], stops, harm, {a: 10.0, b: 20.0})
    found = [(rung.group, rung.width, round(rung.slope, 6)) for rung in ladder]
    # a's step to 6 alone is dearer than the longer one to 4
    assert found == [(b, 6, -0.01), (a, 4, 0.0075), (b, 4, 0.01), (a, 2, 0.03), (b, 2, 0.1)]
    assert descend(ladder[:3]) == {a: 4, b: 4}
    assert rank([9.0, 1.0, 8.0, 1.0, 7.0]) == [1, 3, 4, 2, 0]


def test_no_step_is_longer_than_the_share_needs() -> None:
    stops = {"a": [6, 4, 2], "b": [6, 4, 2]}
    ladder = [Rung("a", 6, 0.1), Rung("b", 2, 0.2), Rung("a", 2, 0.3)]  # of 8 each

    def after(most: int) -> dict[str, int]:
        return find_widths(ladder, stops, lambda widths: widths.get("a", 8) + widths.get("b", 8) <= most)

    found = {most: after(most) for most in (16, 14, 13, 10, 8, 6, 4)}
    assert found[16] == {}
    assert found[14] == {"a": 6}
    assert found[13] == {"a": 6, "b": 6}
    assert found[10] == {"a": 6, "b": 4}
    assert found[8] == {"a": 6, "b": 2}
    assert found[6] == {"a": 4, "b": 2}
    assert found[4] == {"a": 2, "b": 2}


def test_widths_that_are_left_are_whole_multiples_and_never_too_few() -> None:
    recipe = read_recipe(OWN / "recipe.toml").network
    groups = find_groups(recipe)
    wanted = PruneRecipe(iterations=1)
    stops = {group.name: find_stops(group, wanted) for group in groups}
    assert stops["stages.0.1"] == [56, 48, 40, 32, 24, 16]
    assert {width % 8 for widths in stops.values() for width in widths} == {0}
    assert all(group.width * wanted.least <= min(stops[group.name]) < group.width for group in groups)
    nothing = {name: [0.0] * len(widths) for name, widths in stops.items()}
    ladder = build_ladder(groups, stops, nothing, count_costs(recipe, 6, 320))
    assert descend(ladder) == {name: widths[-1] for name, widths in stops.items()}
    before = count_steps(recipe, 6, 320)[1]
    for rungs in range(1, len(ladder) + 1):
        after = count_steps(narrow(recipe, descend(ladder[:rungs])), 6, 320)[1]
        assert after < before  # each step saves something
        before = after


def smooth(network: Any, batch: Batch) -> Any:
    """A loss without steps in it, the mean over the pictures."""
    scores, distances = network(batch.pictures)
    return scores.square().mean() + distances.square().mean()


def batch_of(shown: Any) -> Batch:
    nothing = torch.zeros(0)
    return Batch(shown, nothing, nothing, nothing, nothing, nothing)


def test_worth_is_how_a_picture_s_loss_changes_as_the_gates_close() -> None:
    both = pictures()
    batches = [batch_of(both[:1]), batch_of(both[1:])]
    groups = find_groups(TINY)
    network = lived_in(TINY)
    worth = measure_worth(network, groups, batches, smooth)
    together = measure_worth(network, groups, [batch_of(both)], smooth)
    step, channel = 1e-5, 3
    for group in (groups[1], groups[-4], groups[-1]):
        assert together[group.name] == pytest.approx(worth[group.name])
        total = 0.0
        for batch in batches:
            ends = []
            for factor in (1 + step, 1 - step):
                other = lived_in(TINY)
                with torch.no_grad():
                    for gate in map(other.get_submodule, group.gates):
                        gate.weight[channel] *= factor
                        gate.bias[channel] *= factor
                    ends.append(float(smooth(other, batch)))
            total += abs(ends[0] - ends[1]) / (2 * step)
        assert worth[group.name][channel] == pytest.approx(total / 2, rel=5e-3)
        assert worth[group.name][channel] > 0


def test_harm_is_what_the_loss_of_the_narrower_network_is_more() -> None:
    network = lived_in(TINY)
    state = {name: one.clone() for name, one in network.state_dict().items()}
    batch = batch_of(pictures(1, 32))
    for group in (find_groups(TINY)[0], find_groups(TINY)[-1]):
        ranked = list(reversed(range(group.width)))
        found = measure_harm(network, group, ranked, [6, 4], lambda one: float(smooth(one, batch)))
        for width, harm in zip((6, 4), found, strict=True):
            left = Network(narrow(TINY, {group.name: width}), 3).double().eval()
            left.load_state_dict(cut(state, [group], {group.name: range(width)}))
            with torch.no_grad():
                expected = float(smooth(left, batch) - smooth(network, batch))
            assert harm == pytest.approx(expected)
            assert abs(harm) > 1e-6
    assert all(torch.equal(one, state[name]) for name, one in network.state_dict().items())


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
