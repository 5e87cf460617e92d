"""A process that works beside a daemon that runs: it takes one request, steps back, and ends with who started it."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from pydantic import ValidationError

from appliance.core.errors import EdgecamError
from appliance.core.machine import be_first_to_go
from appliance.inference.measuring.child import end_with_the_parent

_MOST_BYTES: Final = 1 << 20
_LOWEST: Final = 19  # nice(2)
_NO_REQUEST: Final = 2  # exit status

RequestT = TypeVar("RequestT")


def work_beside(read: Callable[[bytes], RequestT], do: Callable[[RequestT], str]) -> int:
    """Do what standard input asks for, and write what came of it to standard output; give the exit status.

    Why it could not be done is the last line on standard error.

    Args:
        read: Makes a request of the input; raises pydantic's ValidationError where it is none.
        do: Does what is asked, and gives what is to be told.
    """
    end_with_the_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that temporary files go
    _step_back()
    try:
        request = read(sys.stdin.buffer.read(_MOST_BYTES))
    except ValidationError as error:
        sys.stderr.write(f"no request that can be read: {error.error_count()} mistakes\n")
        return _NO_REQUEST
    try:
        told = do(request)
    except EdgecamError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return error.exit_code
    sys.stdout.write(told)
    return 0


def _step_back() -> None:
    """Leave processor and memory to the daemon: lowest priority, and the first to go where memory runs out."""
    with suppress(OSError):  # the unit's sandbox forbids it; then the daemon's pauses and limits have to do
        os.nice(_LOWEST)
    be_first_to_go()
