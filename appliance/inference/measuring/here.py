"""What this machine can run: providers of ONNX Runtime, and how many processors there are."""

import os
import subprocess
import sys
from typing import Final

from appliance.core.errors import UnavailableError

_ASK: Final = (
    "from appliance.inference.runtimes.onnx import available_providers; print('providers', *available_providers())"
)
_LIMIT = 60.0  # seconds


def providers_here(command: str = _ASK) -> tuple[str, ...]:
    """Give ONNX Runtime's providers, best first as it has them; asked in a process of its own, which then is gone.

    None where it is not installed.

    Args:
        command: Python that prints them behind the word ``providers``.

    Raises:
        UnavailableError: Loading it takes longer than a minute.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-c", command], capture_output=True, text=True, check=False, timeout=_LIMIT
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"ONNX Runtime did not load within {_LIMIT:.0f} s; is the machine overloaded?"
        ) from error
    for line in done.stdout.splitlines():
        word, *providers = line.split()
        if word == "providers":
            return tuple(providers)
    return ()


def processors_here() -> int:
    """Give how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
