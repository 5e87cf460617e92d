"""The workbench's libraries are loaded by the commands that need them, and a missing one is told by name."""

import ast
import json
import subprocess
import sys
from pathlib import Path

from appliance.workbench import evaluate

HEAVY = {"cv2", "numpy", "onnx", "onnxruntime", "pycocotools", "rich", "torch"}


def test_the_list_of_commands_loads_none_of_the_libraries() -> None:
    code = (
        "import sys, json; from click.testing import CliRunner; from appliance.workbench.main import workbench\n"
        "assert CliRunner().invoke(workbench, ['quantize', '--help']).exit_code == 0\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not set(json.loads(done.stdout)) & HEAVY


def test_without_onnx_quantize_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['onnx'] = None; from appliance.workbench.main import main; main()"
    command = [sys.executable, "-c", code, "quantize", "yolox=some.onnx", "--dataset", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 70
    assert "pip install 'edgecam[workbench]'" in done.stderr


def test_what_measures_does_not_need_what_writes_cards() -> None:
    """A card is written from measurements; the other way round the two modules could only be had together."""
    tree = ast.parse(Path(evaluate.__file__).read_text(encoding="utf-8"))
    needed = {one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    assert "appliance.workbench.confusion" in needed
    assert "appliance.workbench.card_text" not in needed
