"""Asks the system's own programs, for a bounded time."""

import os
import shutil
import subprocess
from typing import Final

from appliance.core.errors import UnavailableError

TIMEOUT: Final = 5.0  # seconds
MOST_BYTES: Final = 1 << 20  # of an answer; of a longer one the end is given


def answer_of(*command: str, timeout: float = TIMEOUT, most_bytes: int = MOST_BYTES) -> str:
    """Run a program without a shell, in English, and give what it wrote to standard output.

    Nothing is written to a disk for that: it may be full.

    Args:
        command: The program's name and its arguments; none may be a secret: every user sees them.
        timeout: Seconds after which it is killed.
        most_bytes: Of what it wrote the last so many are given.

    Raises:
        UnavailableError: It is not installed, took too long, or failed; with the last line that it complained with.
    """
    program = shutil.which(command[0])
    if program is None:
        raise UnavailableError(f"{command[0]} is not installed here")
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system, by its name
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{command[0]} gave no answer within {timeout:.0f} s") from error
    except OSError as error:
        raise UnavailableError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").splitlines()
        raise UnavailableError(f"{command[0]}: {lines[-1][:300] if lines else f'exit status {done.returncode}'}")
    return done.stdout[-most_bytes:].decode("utf-8", "replace")
