import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.core.errors import UnsupportedError
from appliance.workbench.main import workbench
from appliance.workbench.train import train

RECIPE = Path(__file__).resolve().parents[3] / "models" / "edgecam-nano" / "recipe.toml"


def test_the_command_explains_itself_without_pytorch() -> None:
    result = CliRunner().invoke(workbench, ["train", "--help"])
    assert result.exit_code == 0
    assert "--resume" in result.output


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_what_is_missing_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(train, [str(RECIPE), "--data", str(tmp_path)])
    assert isinstance(result.exception, UnsupportedError)
    assert "pip install 'edgecam[train]'" in str(result.exception)
