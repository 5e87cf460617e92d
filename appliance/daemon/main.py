"""The daemon's entry: options, logs, the app, and an exit status that means something."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Sequence

from appliance.core.errors import EdgecamError
from appliance.daemon.asked import Asked, start_anew
from appliance.daemon.logs import start_logging
from appliance.daemon.options import read_options

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # <malloc.h>
DEFECT = 70  # EX_SOFTWARE
RESTART = 75  # EX_TEMPFAIL: the unit has systemd start it again
LOADING, RUNNING = 64 << 10, 16 << 20  # bytes; see `keep_memory_small`

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon and give its exit status: 0, 75 for a commanded restart, or the error's (78: see the settings)."""
    asked = Asked(lambda: read_options(arguments))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked.end)
    if "NOTIFY_SOCKET" in os.environ:  # on a terminal SIGHUP says that it is gone
        signal.signal(signal.SIGHUP, asked.reload)
    start_logging()
    keep_memory_small(LOADING)
    app = None
    try:
        options = read_options(arguments)
        from appliance.daemon.app import App  # noqa: PLC0415 - a wrong option is told before OpenCV is loaded

        app = App(options, asked, on_built=lambda: keep_memory_small(RUNNING))
        app.run()
        status = RESTART if app.is_to_restart else 0
    except EdgecamError as error:
        log.critical("%s", error)
        status = error.exit_code
    except Exception:  # a defect of ours, or a worker's over its budget: the log has it whole, systemd starts us again
        log.critical("the daemon ends over a defect", exc_info=True)
        status = DEFECT
    if asked.is_to_start_anew:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it is listened for again, after which the file is read
        start_anew()
    if app is not None and not app.all_ended:
        # A thread may be inside a driver or load a model: Python's own way out would wait, or crash in its clean-up.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)
    return status


def keep_memory_small(mmap_threshold: int) -> None:
    """Tune malloc (mallopt(3)).

    All threads share one arena instead of having eight per core: what starting up frees serves the frames. While a
    model is loaded, blocks from 64 KiB on are mapped one by one, so that what loading frees goes back to the system
    (4 MB less with YOLOX-Nano); while frames run, their buffers come from the heap, which spares the page faults.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(M_ARENA_MAX, 1)
    libc.mallopt(M_MMAP_THRESHOLD, mmap_threshold)
