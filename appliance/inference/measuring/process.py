"""Runs a measuring process within a time limit: a crash or a hang of a runtime costs one answer, no more."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from appliance.inference.measuring.request import MOST_ANSWER_BYTES, Answer, Request

COMMAND = (sys.executable, "-m", "appliance.inference.measuring.child")
MOST_TOLD = 4096  # bytes of what a process that failed wrote last
_GRACE = 5.0  # seconds for a killed process to be gone


def ask(request: Request, limit: float, command: Sequence[str] = COMMAND) -> Answer:
    """Give the answer of a measuring process; one that hangs, crashes or answers nonsense gives an error.

    Args:
        request: What to measure; its `answer` is a file in a folder of the caller's.
        limit: Seconds for all of it, after which the process is killed.
        command: The program.
    """
    Path(request.answer).unlink(missing_ok=True)  # of a process before it
    with tempfile.TemporaryFile() as told:
        # a session of its own: what a runtime starts is killed with it
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=told, start_new_session=True
        )
        try:
            process.communicate(request.model_dump_json().encode(), timeout=limit)
        except subprocess.TimeoutExpired:
            return Answer(error=f"gave no answer within {limit:.0f} s", kind="hang")
        finally:
            _end(process)
        if process.returncode != 0:
            return Answer(error=_ending(process.returncode, told), kind="crash")
    return _read(Path(request.answer))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a process and what it started."""
    with suppress(ProcessLookupError):  # all of it is gone
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # in a driver that does not let go: it goes when that returns
        process.wait(_GRACE)
    if process.stdin is not None:
        with suppress(BrokenPipeError):  # it never read what it was asked
            process.stdin.close()


def _ending(status: int, told: IO[bytes]) -> str:
    if status < 0:
        names = {one.value: one.name for one in signal.Signals}
        how = f"the process was ended by {names.get(-status, f'signal {-status}')}"
    else:
        how = f"the process ended with status {status}"
    size = told.seek(0, os.SEEK_END)
    told.seek(max(0, size - MOST_TOLD))
    lines = told.read(MOST_TOLD).decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{how}: {last[:300]}" if last else how


def _read(path: Path) -> Answer:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_ANSWER_BYTES + 1)
    except OSError as error:
        return Answer(error=f"the process left no answer: {error.strerror}", kind="crash")
    if len(content) > MOST_ANSWER_BYTES:
        return Answer(error=f"the answer is larger than {MOST_ANSWER_BYTES >> 20} MiB", kind="crash")
    try:
        return Answer.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Answer(error=f"the answer cannot be read: {first['loc']}: {first['msg']}", kind="crash")
