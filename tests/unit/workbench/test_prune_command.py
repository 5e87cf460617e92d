import subprocess
import sys
from pathlib import Path

RECIPE = Path(__file__).resolve().parents[3] / "models" / "edgecam-nano" / "recipe.toml"


def test_without_pytorch_prune_explains_itself_and_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from appliance.workbench.main import main; main()"
    command = [sys.executable, "-c", code, "prune"]
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert "--max-drop" in told.stdout
    command += [str(RECIPE), "--data", str(tmp_path), "--from", str(tmp_path), "--run", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 70
    assert "pip install 'edgecam[train]'" in done.stderr
    assert not (tmp_path / "run").exists()
