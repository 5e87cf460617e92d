"""A network begins with another one's weights only where both mean the same."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
pytest.importorskip("onnx", reason="onnx, the extra `workbench`, is not installed")

from appliance.core.errors import ConfigError
from appliance.workbench.recipe import Recipe
from appliance.workbench.training.checkpoints import Checkpoint, write_checkpoint
from appliance.workbench.training.export import export
from appliance.workbench.training.network import Network
from appliance.workbench.training.start import start_from
from tests.simulators.training import RECIPE

LAST = tuple(f"scores.{at}.out.{kind}" for at in range(3) for kind in ("bias", "weight"))


def recipe(layers: int = 1) -> Recipe:
    return Recipe.model_validate(tomllib.loads(RECIPE.replace("head_layers = 1", f"head_layers = {layers}")))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A run of two labels, person and car, with its exported model."""
    torch.manual_seed(1)
    network = Network(recipe().network, 2).eval()
    export(network, recipe(), tmp_path / "run", {})
    state = network.state_dict()
    values: dict[str, Any] = {"digest": "", "step": 1, "optimiser": {}, "curve": [], "sums": [0.0] * 4}
    write_checkpoint(tmp_path / "run", Checkpoint(network=state, average=state, **values))
    return tmp_path / "run"


@pytest.mark.parametrize("path", [".", "tiny/tiny-fp32.onnx"])
def test_the_last_layers_begin_anew_when_labels_are_others_or_in_another_order(other: Path, path: str) -> None:
    pictures = [torch.rand(2, 3, 64, 64)]
    for labels, left in ((("person", "car"), ()), (("car", "person"), LAST), (("person", "dog"), LAST)):
        network = Network(recipe().network, 2)
        own = network.scores[0].out.weight.detach().clone()
        assert start_from(network, other / path, pictures, labels) == left
        assert torch.equal(network.scores[0].out.weight, own) == bool(left)


def test_a_file_of_a_deeper_network_is_refused(other: Path) -> None:
    deeper = recipe(2)
    file = export(Network(deeper.network, 2).eval(), deeper, other / "deeper", {}) / "tiny-fp32.onnx"
    with pytest.raises(ConfigError, match="is a network of another shape"):
        start_from(Network(recipe().network, 2), file, [torch.rand(2, 3, 64, 64)], ("person", "car"))


def test_what_cannot_be_begun_with_is_told_with_what_can(tmp_path: Path) -> None:
    network = Network(recipe().network, 2)
    with pytest.raises(ConfigError, match="--from takes the folder of a run"):
        start_from(network, tmp_path, [], ("person", "car"))
    file = tmp_path / "x.json"
    file.write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot read weights from"):
        start_from(network, file, [], ("person", "car"))
