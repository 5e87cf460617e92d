"""Keeps what a vendor's converter says off the terminal, and gives its last words where it fails."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import IO

from appliance.core.errors import ModelError

_LAST = 300  # characters of what was said
_STREAMS = (1, 2)  # converters are written in C++: only the file descriptors hold all that they say


@contextlib.contextmanager
def quietly(what: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Run a vendor's code without its chatter; one at a time, in the main thread.

    Args:
        what: What is being done, for the message: ``edgecam-nano-fp32.onnx cannot be converted to Core ML``.
        errors: What the vendor raises where it cannot do it.

    Raises:
        ModelError: It could not be done.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with tempfile.TemporaryFile() as said, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _redirected(said):
                yield
        except errors as error:
            raise ModelError(f"{what}: {type(error).__name__}: {_reason(error, said)}") from error
        finally:
            logging.disable(before)


@contextlib.contextmanager
def _redirected(target: IO[bytes]) -> Iterator[None]:
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in _STREAMS]
    try:
        for number in _STREAMS:
            os.dup2(target.fileno(), number)
        # a test runner's or a bar's own streams need not lead to the descriptors
        with (
            open(os.dup(target.fileno()), "w", encoding="utf-8") as text,  # noqa: PTH123 - a descriptor, not a path
            contextlib.redirect_stdout(text),
            contextlib.redirect_stderr(text),
        ):
            yield
    finally:
        for number, old in kept:
            os.dup2(old, number)
            os.close(old)


def _reason(error: Exception, said: IO[bytes]) -> str:
    if told := " ".join(str(error).split()):
        return told[:_LAST]
    said.seek(0)
    return " ".join(said.read().decode("utf-8", "replace").split())[-_LAST:] or "without a reason"
