"""Runs the workers: starts them in order, restarts one that fails within a budget, stops them in reverse."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from appliance.core.errors import ConfigError, EdgecamError
from appliance.core.health import HealthBoard, HealthState
from appliance.core.worker import Worker
from appliance.daemon.systemd import Notifier

RESTARTS = 5  # of one worker within WINDOW; a worker that needs more will not get well by itself
WINDOW = 60.0  # seconds
STOP_WITHIN = 11.0  # seconds for all; with a broker of our own 4 more, and 15 is the promise
GROUP_WITHIN = 8.5  # seconds for one group, so that a wedged camera leaves time for the messages behind it
PAUSE = 1.0  # seconds before a failed worker is started again

log = logging.getLogger(__name__)


class Supervisor:
    """Owns the threads. All methods are called from the main thread.

    Args:
        board: Where a worker that fails or is stuck is reported.
        notifier: Fed only while every worker makes progress.
        pause: Seconds before a failed worker is started again.
    """

    def __init__(
        self,
        board: HealthBoard,
        notifier: Notifier,
        pause: float = PAUSE,
    ) -> None:
        self._groups: list[list[_Run]] = []
        self._board = board
        self._notifier = notifier
        self._pause = pause

    def add(self, *workers: Worker) -> None:
        """Add a group: groups start in the order in which they were added and stop in reverse, a group together."""
        self._groups.append([_Run(worker) for worker in workers])

    def start(self) -> None:
        """Start all workers in order."""
        for run in self._runs():
            run.start()

    def watch(self, wake: threading.Event, is_over: Callable[[], bool]) -> None:
        """Look after the workers until `wake` is set or `is_over` says so; blocks.

        Raises:
            EdgecamError: A worker failed more often than the budget allows, or its configuration cannot work.
        """
        while not is_over():
            stuck = [run for run in self._runs() if run.is_stuck()]
            for run in self._runs():
                self._look_after(run)
            if not stuck:
                self._notifier.tell("WATCHDOG=1")
            if wake.wait(self._notifier.interval):
                return

    def stop(self) -> bool:
        """Stop all workers in reverse order; tell whether all of them ended in time."""
        deadline = time.monotonic() + STOP_WITHIN
        for group in reversed(self._groups):
            for run in group:
                run.stop.set()
            group_deadline = min(deadline, time.monotonic() + GROUP_WITHIN)
            for run in group:
                if not run.join(group_deadline - time.monotonic()):
                    log.error("%s did not stop in time", run.worker.name)
        return not any(run.is_alive() for run in self._runs())

    def restarts(self) -> dict[str, int]:
        """Give how often each worker was restarted."""
        return {run.worker.name: run.restarts for run in self._runs()}

    def _runs(self) -> list["_Run"]:
        return [run for group in self._groups for run in group]

    def _look_after(self, run: "_Run") -> None:
        component = f"worker:{run.worker.name}"
        if run.failure is None:
            if run.is_stuck() and self._board.report(
                component,
                HealthState.FAILED,
                "makes no progress",
                "restart edgecam, if systemd does not: systemctl restart edgecam",
            ):
                log.error("%s has made no progress for %.0f s", run.worker.name, run.worker.pulse.age)
            elif not run.is_stuck() and run.is_well(self._pause):
                self._board.report(component, HealthState.OK)
            return
        if isinstance(run.failure, ConfigError) or run.is_over_budget():
            raise run.failure
        if run.failed_for() >= self._pause:
            self._board.report(
                component,
                HealthState.DEGRADED,
                f"failed and was restarted: {run.failure}",
                "see the log, under systemd: journalctl -u edgecam",
            )
            run.start()


class _Run:
    """One worker and the thread it runs in."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.stop = threading.Event()
        self.failure: Exception | None = None
        self.restarts = -1
        self._failed_at = 0.0
        self._starts: deque[float] = deque(maxlen=RESTARTS + 1)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self.failure = None
        self.restarts += 1
        self._starts.append(time.monotonic())
        self.worker.pulse.beat()
        # daemon: a thread wedged inside a driver must not keep the process from ending
        self._thread = threading.Thread(target=self._main, name=self.worker.name, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        try:
            self.worker.run(self.stop)
        except EdgecamError as error:
            log.error("%s failed: %s", self.worker.name, error)  # noqa: TRY400 - its message says it all
            self._fail(error)
        except Exception as error:  # the one place where an unexpected failure is caught
            log.exception("%s failed", self.worker.name)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failed_at = time.monotonic()
        self.failure = error

    def failed_for(self) -> float:
        return time.monotonic() - self._failed_at

    def is_over_budget(self) -> bool:
        return len(self._starts) > RESTARTS and time.monotonic() - self._starts[0] < WINDOW

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def is_stuck(self) -> bool:
        return self.is_alive() and self.worker.pulse.is_stuck

    def is_well(self, after: float) -> bool:
        return bool(self._starts) and time.monotonic() - self._starts[-1] > 10 * after

    def join(self, timeout: float) -> bool:
        if self._thread is not None:
            self._thread.join(max(0.1, timeout))
        return not self.is_alive()
