"""How long modules and functions may be: what is longer has more than one job."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "appliance").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MOST_OF_A_MODULE, MOST_OF_A_FUNCTION = 400, 60  # lines


def test_no_module_is_longer_than_400_lines() -> None:
    modules = [*MODULES, *TESTS]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert {name: length for name, length in lengths.items() if length > MOST_OF_A_MODULE} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > MOST_OF_A_FUNCTION} == {}
