import math
from pathlib import Path

import pytest

from appliance.workbench.timing import time_in_turns

RECIPE = Path(__file__).resolve().parents[3] / "models" / "edgecam-nano" / "recipe.toml"


def test_models_are_timed_beside_each_other(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
    from appliance.workbench.recipe import read_recipe
    from appliance.workbench.training.export import export
    from appliance.workbench.training.network import Network

    recipe = read_recipe(RECIPE)
    network = Network(recipe.network, len(recipe.labels))
    folders = [
        export(network, recipe.model_copy(update={"size": size}), tmp_path / str(at), {})
        for at, size in enumerate((96, 192, 96))
    ]
    first, larger, again = time_in_turns(folders, rounds=40)
    assert first.ratio == 1.0
    assert 2.0 < larger.ratio < 8.0  # four times the pixels
    assert larger.cpu_ms > first.cpu_ms > 0
    assert math.isclose(again.ratio, 1.0, abs_tol=0.3)
