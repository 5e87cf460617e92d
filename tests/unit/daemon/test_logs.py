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


def logged(*, to_journal: bool = False, **environment: str) -> str:
    """Run the script with its standard error in a pipe, which is what systemd tells the journal's stream by."""
    base = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    read, write = os.pipe()
    if to_journal:
        stream = os.fstat(write)
        environment["JOURNAL_STREAM"] = f"{stream.st_dev}:{stream.st_ino}"
    with os.fdopen(read) as lines:
        try:
            subprocess.run([sys.executable, "-c", SCRIPT], stderr=write, check=True, timeout=30, env=base | environment)
        finally:
            os.close(write)
        return lines.read()


def test_a_terminal_gets_readable_lines() -> None:
    first, second = logged().splitlines()
    assert first[8:] == " camera is online  camera=door"
    assert second[8:] == " warning: camera is gone"


def test_a_terminal_that_inherits_the_journal_s_variable_is_still_a_terminal() -> None:
    assert logged(JOURNAL_STREAM="8:1").splitlines()[0][8:] == " camera is online  camera=door"


@pytest.mark.skipif(has_journal(), reason="python-systemd is installed: the journal itself gets the lines")
def test_the_journal_gets_levels_even_without_its_library() -> None:
    lines = logged(to_journal=True, PYTHONPATH=".", PYTHONNOUSERSITE="1").splitlines()
    assert lines == ["<6>camera is online camera=door", "<4>camera is gone"]
