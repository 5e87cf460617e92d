"""The daemon's entry: options, logs, the app, and an exit status that means something."""

import ctypes
import logging
import os
import sys
from collections.abc import Sequence

from appliance.core.errors import EdgecamError
from appliance.daemon.logs import start_logging
from appliance.daemon.options import read_options

M_ARENA_MAX = -8  # <malloc.h>

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon and give its exit status: 0, or the one of the error (78: correct the configuration)."""
    start_logging()
    _keep_memory_small()
    try:
        options = read_options(arguments)
        from appliance.daemon.app import App  # noqa: PLC0415 - a wrong option is told before OpenCV is loaded

        status, all_ended = App(options).run()
    except EdgecamError as error:
        log.critical("%s", error)
        return error.exit_code
    if not all_ended:
        # A thread is wedged inside a driver; Python's own way out would wait for it or crash in its clean-up.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)
    return status


def _keep_memory_small() -> None:
    """Give all threads two malloc arenas instead of eight per core: each keeps what it once had (mallopt(3))."""
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
