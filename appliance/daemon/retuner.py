"""The worker that measures the model again where what was stored is of another machine or other runtimes."""

import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from appliance.config import ModelSettings
from appliance.core.child import end, last_line
from appliance.core.errors import ModelError
from appliance.core.machine import read_available_memory, read_machine
from appliance.core.worker import Pulse
from appliance.inference.tuning import Tuned, read_tuning

COMMAND: Final = (sys.executable, "-m", "appliance.inference.measuring.renew")
COOL_C = 70.0  # it begins below this; a Raspberry Pi slows itself down from 80 on
HOT_C = 78.0  # it stops here, and waits until the machine is cool
FREE_MB = 300.0  # what it takes with one candidate at a time, and room for the rest
_GRACE = 5.0  # seconds for the measuring to end by itself

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """When it measures, in seconds.

    Attributes:
        after: From the daemon's start, so that cameras and link have settled.
        again: Until it looks once more where the machine is hot or has no memory free.
        limit: For all of the measuring, after which it is given up until the next start.
        tries: How often it begins where heat stops it.
        look: Between two looks while it measures.
    """

    after: float = 120.0
    again: float = 60.0
    limit: float = 900.0
    tries: int = 3
    look: float = 1.0


class Retuner:
    """The worker named `tuning`; done when the model has been measured, or cannot be.

    It measures in a process of its own at the lowest priority, one candidate at a time. The cameras go on; what it
    finds is used from the next start on.

    Args:
        tuned: What became of the stored choice.
        settings: The ``[model]`` section.
        state_dir: Where choices are stored.
        on_change: Called, in this worker's thread, when `facts` have changed.
        command: The measuring process.
        patience: When it measures.
        is_fit: Tells why the machine is not to be burdened now; nothing: it may be. True: it measures already.
    """

    def __init__(
        self,
        tuned: Tuned,
        settings: ModelSettings,
        state_dir: Path,
        *,
        on_change: Callable[[], None],
        command: Sequence[str] = COMMAND,
        patience: Patience = Patience(),
        is_fit: Callable[[bool], str] | None = None,
    ) -> None:
        self.name = "tuning"
        self.pulse = Pulse(limit=60.0)
        self._tuned, self._settings, self._state_dir = tuned, settings, state_dir
        self._on_change, self._command, self._patience = on_change, command, patience
        self._unfit = is_fit or unfit

    def facts(self) -> dict[str, Any]:
        """Give what became of the stored choice, JSON types only. Safe to call from any thread."""
        return self._tuned.facts()

    def run(self, stop: threading.Event) -> None:
        """Measure again where what is stored does not hold any more; see `Worker.run`."""
        stored = self._tuned.tuning
        if self._tuned.state != "stale" or stored is None:
            return
        if self._waited(stop, self._patience.after):
            return
        why = self._tuned.why
        for _ in range(self._patience.tries):
            while unfit_now := self._unfit(False):
                self._tell(f"{why}; to be measured again when the machine is not {unfit_now}")
                if self._waited(stop, self._patience.again):
                    return
            self._tell(f"{why}; being measured again")
            outcome = self._measure(stored.objective, stop)
            if outcome is None:
                return
            if outcome != "hot":
                self._tell(f"{why}; {outcome}") if outcome else self._renewed(stored.model)
                return
        self._tell(f"{why}; the machine is too hot to measure again: improve the cooling, then: edgecam tune")

    def _measure(self, objective: str, stop: threading.Event) -> str | None:
        """Measure; give nothing where it was stored, ``hot``, why it was not, or None where the daemon is to stop."""
        request = {
            "model": self._settings.model_dump(mode="json", exclude_unset=True),
            "objective": objective,
            "state_dir": str(self._state_dir),
        }
        # files, not pipes: who does not read what it is asked, or tells much, holds up nobody
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as told:
            asked.write(json.dumps(request).encode())
            asked.seek(0)
            process = subprocess.Popen(  # noqa: S603 - our own module
                self._command, stdin=asked, stdout=subprocess.DEVNULL, stderr=told, start_new_session=True
            )
            try:
                return self._watch(process, stop, told)
            finally:
                end(process, _GRACE)

    def _watch(self, process: "subprocess.Popen[bytes]", stop: threading.Event, told: IO[bytes]) -> str | None:
        deadline = time.monotonic() + self._patience.limit
        while process.poll() is None:
            if self._waited(stop, self._patience.look):
                return None
            if self._unfit(True):
                return "hot"
            if time.monotonic() > deadline:
                return f"was not measured within {self._patience.limit:.0f} s; do it by hand: edgecam tune"
        if process.returncode == 0:
            return ""
        return f"could not be measured again ({last_line(told)}); do it by hand: edgecam tune"

    def _renewed(self, model: str) -> None:
        try:
            tuning = read_tuning(self._state_dir, model)
        except ModelError as error:
            self._tell(f"was measured again, and cannot be read: {error}")
            return
        why = "measured again; used from the next start on: systemctl restart edgecam"
        self._set(replace(self._tuned, state="renewed", why=why, tuning=tuning))

    def _tell(self, why: str) -> None:
        if why != self._tuned.why:
            self._set(replace(self._tuned, why=why))

    def _set(self, tuned: Tuned) -> None:
        self._tuned = tuned
        log.info("tuning: %s", tuned.why)
        self._on_change()

    def _waited(self, stop: threading.Event, seconds: float) -> bool:
        """Wait, with a pulse; tell whether the worker is to end."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0.0:
            self.pulse.beat()
            if stop.wait(min(left, 10.0)):
                return True
        return stop.is_set()


def unfit(is_measuring: bool) -> str:  # noqa: FBT001 - what is_fit takes
    """Tell why the machine is not to be burdened now: ``hot``, ``short of memory``; nothing: it may be.

    Args:
        is_measuring: It measures already: only heat matters, and more of it.
    """
    machine = read_machine(Path("/"))
    if machine.throttled or (machine.temperature_c or 0.0) >= (HOT_C if is_measuring else COOL_C):
        return "hot"
    available = read_available_memory()
    return "short of memory" if not is_measuring and available is not None and available < FREE_MB else ""
