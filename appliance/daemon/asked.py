"""What the daemon is asked for while it runs: to end, or to apply its configuration."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from appliance.core.errors import ConfigError

log = logging.getLogger(__name__)


class Asked:
    """Takes what signals ask for. Owned by the main thread, in which Python runs its signal handlers.

    Args:
        check: Reads the configuration as a start does; raises `ConfigError` where it is not accepted.

    Attributes:
        wake: Set when something was asked for.
        is_reloading: The daemon ends only to start anew with its configuration, which is accepted.
    """

    def __init__(self, check: Callable[[], object]) -> None:
        self.wake = threading.Event()
        self.is_reloading = False
        self._check = check
        self._is_to_end = self._is_to_reload = False

    def end(self, *_: object) -> None:
        """Ask for the end; a signal's handler, and for any thread."""
        self._is_to_end = True
        self.wake.set()

    def reload(self, *_: object) -> None:
        """Ask for the configuration to be applied; a signal's handler."""
        self._is_to_reload = True
        self.wake.set()

    @property
    def is_to_start_anew(self) -> bool:
        """Tell whether the daemon, having ended, is to start again: a reload was asked for, if only at the start."""
        return (self.is_reloading or self._is_to_reload) and not self._is_to_end

    def goes_on(self) -> bool:
        """Tell, once `wake` is set, whether the daemon goes on as it is: its new configuration is not accepted."""
        if self._is_to_end or not self._is_to_reload:
            return False
        self._is_to_reload = False
        self.wake.clear()
        try:
            self._check()
        except ConfigError as error:
            log.error("the configuration is not applied, the one before stays in effect: %s", error)  # noqa: TRY400 - its message says it all
        else:
            self.is_reloading = True
        return not (self.is_reloading or self._is_to_end)


def start_anew() -> NoReturn:
    """Become the daemon once more, with the same arguments and process id: systemd sees no end."""
    log.info("the configuration is applied: starting anew")
    logging.shutdown()
    sys.stdout.flush()
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        # a library may have opened a camera without O_CLOEXEC, and a thread wedged in it keeps it from closing it
        if number > sys.stderr.fileno():
            with suppress(OSError):  # closed meanwhile
                os.set_inheritable(number, False)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves
