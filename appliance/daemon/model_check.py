"""Has the installed model checked in a process of its own, so that cameras go on and memory stays free."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from appliance.config import ModelSettings
from appliance.core.child import end, last_line
from appliance.core.errors import ModelError, UnavailableError
from appliance.core.machine import read_available_memory

COMMAND: Final = (sys.executable, "-m", "appliance.inference.check_child")
FREE_MB: Final = 200.0  # what it takes, and room for the rest
LIMIT: Final = 240.0  # seconds; below what a command may take
_LOOK: Final = 0.2  # seconds between two looks at whether it has ended, or is to
_GRACE: Final = 2.0
_MOST_TOLD: Final = 16 << 10  # bytes of its answer


def check_model(
    settings: ModelSettings,
    stop: threading.Event,
    *,
    command: Sequence[str] = COMMAND,
    available: Callable[[], float | None] = read_available_memory,
) -> Mapping[str, Any]:
    """Check manifest, digest and golden frames; blocks until that is done, `stop` is set, or it takes too long.

    Args:
        settings: The ``[model]`` section.
        stop: Set when the daemon is to end.
        command: The process.
        available: Gives the memory that could be had, in MB.

    Raises:
        ModelError: It cannot be checked, or is not what its manifest says.
        UnavailableError: There is no memory for it now, or it took too long.
    """
    free = available()
    if free is not None and free < FREE_MB:
        raise UnavailableError(f"{free:.0f} MB of memory are free, and a check takes {FREE_MB:.0f}; try again later")
    request = json.dumps(settings.model_dump(mode="json", exclude_unset=True)).encode()
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=answer, stderr=errors, start_new_session=True
        )
        try:
            with suppress(BrokenPipeError):  # it ended at once, and told why
                _hand(process, request)
            _wait(process, stop)
        finally:
            end(process, _GRACE)
        if process.returncode:
            raise ModelError(last_line(errors))
        answer.seek(0)
        try:
            told = json.loads(answer.read(_MOST_TOLD))
        except ValueError as error:
            raise ModelError("the check gave no answer that can be read; do it by hand: edgecam model check") from error
    return dict(told)


def _wait(process: "subprocess.Popen[bytes]", stop: threading.Event) -> None:
    deadline = time.monotonic() + LIMIT
    while process.poll() is None:
        if stop.wait(_LOOK):
            raise UnavailableError("the daemon ends; ask again when it is back")
        if time.monotonic() > deadline:
            raise UnavailableError(f"it took longer than {LIMIT:.0f} s; do it by hand: edgecam model check")


def _hand(process: "subprocess.Popen[bytes]", request: bytes) -> None:
    if process.stdin is not None:
        with process.stdin as pipe:
            pipe.write(request)
