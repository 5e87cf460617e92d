"""What systemd is told: READY, STATUS, RELOADING, WATCHDOG, STOPPING (sd_notify(3))."""

import logging
import os
import socket
import time

log = logging.getLogger(__name__)


class Notifier:
    """Sends states to systemd when it started us, and nothing otherwise. Safe to use from any thread.

    The protocol is one datagram (sd_notify(3), "Notes"), so the daemon needs no library to be watched.
    """

    def __init__(self, address: str | None = None, watchdog_us: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog_us = os.environ.get("WATCHDOG_USEC", "") if watchdog_us is None else watchdog_us
        self._watchdog = int(watchdog_us) / 1e6 if watchdog_us.isdecimal() else 0.0

        self._has_complained = False

    def allow(self, seconds: float) -> None:
        """Ask for so long before the next `is_ready`: systemd puts off its limit for starting, and its watchdog."""
        longest = f"{int(seconds * 1e6)}"
        watchdog = (f"WATCHDOG_USEC={longest}", "WATCHDOG=1") if self._watchdog else ()
        self.tell(f"EXTEND_TIMEOUT_USEC={longest}", *watchdog)

    def is_reloading(self) -> None:
        """Tell that the configuration is being applied; `is_ready` ends it."""
        # systemd compares it with the moment at which it asked (sd_notify(3))
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.tell("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=applying the configuration")

    def is_ready(self) -> None:
        """Tell that all runs, and that the watchdog is to be as patient as the unit says."""
        if self._watchdog:
            self.tell("READY=1", f"WATCHDOG_USEC={int(self._watchdog * 1e6)}", "WATCHDOG=1")
        else:
            self.tell("READY=1")

    @property
    def is_heard(self) -> bool:
        """Whether systemd started us, and so will start us again."""
        return bool(self._address)

    @property
    def interval(self) -> float:
        """Seconds between two feeds: a quarter of the watchdog's patience, at most 1."""
        return min(1.0, self._watchdog / 4) if self._watchdog else 1.0

    def tell(self, *states: str) -> None:
        """Send lines such as ``READY=1`` and ``STATUS=…``."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.connect(self._address)
                sender.sendall("\n".join(states).encode())
        except OSError as error:
            # systemd draws its own conclusions from silence; the work goes on
            if not self._has_complained:
                self._has_complained = True
                log.warning("systemd cannot be told at NOTIFY_SOCKET=%s: %s", self._address, error.strerror or error)
