"""The worker that looks at the machine, publishes `health` and keeps systemd's status line fresh."""

import logging
import threading
import time
from collections.abc import Callable

from appliance.core.health import HealthBoard, HealthState
from appliance.core.machine import DISK_LOW_MB, HOT_C
from appliance.core.message import Message
from appliance.core.worker import Pulse
from appliance.daemon.status import Status
from appliance.daemon.systemd import Notifier
from appliance.messaging.payloads import health_message

LOOK = 5.0  # seconds between two looks at the machine

log = logging.getLogger(__name__)


class Reporter:
    """The worker named `reporter`.

    Args:
        status: The daemon's state.
        board: Where the machine's findings go.
        publish: Takes a message; never blocks.
        notifier: Gets the status line.
        interval: Seconds between two `health` messages.
    """

    def __init__(
        self,
        *,
        status: Status,
        board: HealthBoard,
        publish: Callable[[Message], None],
        notifier: Notifier,
        interval: float,
    ) -> None:
        self.name = "reporter"
        self.pulse = Pulse(limit=60.0)
        self._status, self._board, self._publish, self._notifier = status, board, publish, notifier
        self._interval = interval

    def run(self, stop: threading.Event) -> None:
        """Report until `stop` is set."""
        published = float("-inf")
        while True:
            self._judge_machine()
            self._notifier.tell(f"STATUS={self._status.line()}")
            if time.monotonic() - published >= self._interval:
                published = time.monotonic()
                self._publish(health_message(self._status.health()))
            self.pulse.beat()
            if stop.wait(min(LOOK, self._interval)):
                return

    def _judge_machine(self) -> None:
        machine = self._status.machine()
        temperature, free, throttled = machine["temperature_c"], machine["disk_free_mb"], machine["throttled"]
        if temperature is not None:
            hot = f"the processor is at {HOT_C:.0f} °C or more" if temperature >= HOT_C else ""
            self._judge("temperature", hot, "improve the cooling, or lower the camera's fps")
        if free is not None:
            low = f"less than {DISK_LOW_MB:.0f} MB are free where the state is kept" if free < DISK_LOW_MB else ""
            self._judge("disk", low, "free some space; otherwise the oldest messages give way")
        if throttled is not None:
            self._judge("power", ", ".join(throttled), "check the power supply and the cooling")

    def _judge(self, component: str, what: str, fix: str) -> None:
        """Put a finding on the board, an empty `what` being good news, and log it when it is new."""
        state = HealthState.DEGRADED if what else HealthState.OK
        if self._board.report(component, state, what, fix if what else "") and what:
            log.warning("%s; %s", what, fix, extra={"component": component})
