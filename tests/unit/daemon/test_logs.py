import logging
import os
import subprocess
import sys

SCRIPT = """
import logging
from appliance.daemon.logs import start_logging
start_logging()
logging.getLogger("x").info("camera is online", extra={"camera": "door"})
logging.getLogger("x").warning("camera is gone")
"""


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


def test_the_journal_gets_levels_even_without_its_library() -> None:
    lines = logged(JOURNAL_STREAM="8:1", PYTHONPATH=".", PYTHONNOUSERSITE="1").splitlines()
    if lines:  # with systemd-python the journal itself got them
        assert lines == ["<6>camera is online camera=door", "<4>camera is gone"]


def test_levels_are_syslog_s() -> None:
    from appliance.daemon.logs import _LEVELS

    assert _LEVELS[logging.ERROR] == 3
