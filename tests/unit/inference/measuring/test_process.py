"""A crash, a hang or nonsense of a measuring process costs one answer, no more."""

import sys
import time
from pathlib import Path

import pytest

from appliance.inference.measuring.process import ask
from appliance.inference.measuring.request import Request


def request(folder: Path) -> Request:
    return Request(use="mine.onnx", pictures=("black.png",), answer=str(folder / "answer.json"))


def python(words: str) -> list[str]:
    return [sys.executable, "-c", words]


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        ("import os; os.kill(os.getpid(), 11)", "crash", "ended by SIGSEGV"),
        ("raise SystemError('driver gone')", "crash", "status 1: SystemError: driver gone"),
        ("pass", "crash", "left no answer"),
        ("open(r'{}', 'w').write('nonsense')", "crash", "cannot be read"),
        ("open(r'{}', 'w').write(chr(123) + chr(125))", "crash", "no frame was timed"),
        ("open(r'{}', 'w').write(' ' * 9_000_000)", "crash", "larger than 8 MiB"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(tmp_path: Path, words: str, kind: str, told: str) -> None:
    answer = ask(request(tmp_path), 30.0, python(words.format(tmp_path / "answer.json")))
    assert answer.kind == kind
    assert told in answer.error


def test_a_hang_ends_at_the_time_limit_with_all_that_it_started(tmp_path: Path) -> None:
    words = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(r"{tmp_path}/pid", "w").write(str(child.pid))
time.sleep(60)
"""
    started = time.monotonic()
    answer = ask(request(tmp_path), 1.5, python(words))
    assert time.monotonic() - started < 20.0
    assert (answer.kind, answer.error) == ("hang", "gave no answer within 2 s")
    state = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    deadline = time.monotonic() + 10.0
    while is_running(state):
        assert time.monotonic() < deadline, "what it started still runs"


def is_running(state: Path) -> bool:
    try:
        return state.read_text().rpartition(") ")[2][0] != "Z"  # nobody here may be there to bury it
    except OSError:
        return False


def test_the_answer_of_a_process_before_it_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text("{}")
    assert ask(request(tmp_path), 30.0, python("pass")).kind == "crash"
