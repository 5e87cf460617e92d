import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

SCRIPT = """
import logging
from appliance.daemon.logs import start_logging
start_logging()
logging.getLogger("x").info("camera is online", extra={"camera": "door"})
logging.getLogger("x").warning("camera is gone")
"""


def has_journal() -> bool:
    try:
        return find_spec("systemd.journal") is not None
    except ModuleNotFoundError:
        return False


def logged(**environment: str) -> str:
    base = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=30, env=base | environment
    )
    return done.stderr


def test_a_terminal_gets_readable_lines() -> None:
    first, second = logged().splitlines()
    assert first[8:] == " camera is online  camera=door"
    assert second[8:] == " warning: camera is gone"


@pytest.mark.skipif(has_journal(), reason="python-systemd is installed: the journal itself gets the lines")
def test_the_journal_gets_levels_even_without_its_library() -> None:
    lines = logged(JOURNAL_STREAM="8:1", PYTHONPATH=".", PYTHONNOUSERSITE="1").splitlines()
    assert lines == ["<6>camera is online camera=door", "<4>camera is gone"]
