"""What updates need of the rest of the daemon: where to look, gates before a candidate, the model in service."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from appliance.core.worker import Pulse
from appliance.updates.choosing import Device
from appliance.updates.formats import Release
from appliance.updates.judging import Vitals
from appliance.updates.orders import BringAnswer, BringOrder, CheckAnswer, CheckOrder, Progress, Repository


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where and when a device looks for models.

    Attributes:
        repository: The fleet.
        device: What it is, apart from the day.
        interval: Seconds between two checks.
        first: Seconds to the first check; None: some minutes, so that a site that comes back does not ask at once.
        window: Local times within which the owner lets updates begin; None: any.
        is_metered: Tells whether the connection costs.
        is_hot: Tells whether the machine is too hot for more work.
        hints: Gives what somebody hinted, oldest first; None: nothing, for now. Never blocks.
        hint_spread: Seconds within which a device looks because of a hint, at least.
    """

    repository: Repository
    device: Device
    interval: float = 6 * 3600.0
    first: float | None = None
    window: tuple[str, str] | None = None
    is_metered: Callable[[], bool] = lambda: False
    is_hot: Callable[[], bool] = lambda: False
    hints: Callable[[], bytes | None] = lambda: None
    hint_spread: float = 60.0


class Breath:
    """Beats a worker's pulse while something else is waited for, and passes on that the worker is to end.

    Args:
        pulse: The worker's.

    Attributes:
        ending: Set once the worker is to end, as far as anybody has called this since.
        stop: The worker's own; None: it does not run yet.
    """

    def __init__(self, pulse: Pulse) -> None:
        self.pulse, self.ending = pulse, threading.Event()
        self.stop: threading.Event | None = None

    def __call__(self) -> None:
        """Note progress; look whether it is to end."""
        self.pulse.beat()
        if self.stop is not None and self.stop.is_set():
            self.ending.set()


class Asking(Protocol):
    """What speaks to the fleet (errands.Errands fits)."""

    def check(self, order: CheckOrder) -> CheckAnswer:
        """Ask what the fleet wants of this device; blocks. See `Errands.check`."""

    def bring(self, order: BringOrder, tell: Callable[[Progress], None]) -> BringAnswer:
        """Bring the files of a release; blocks. See `Errands.bring`."""


class Gates(Protocol):
    """What a candidate must pass before it is loaded."""

    def inspect(self, folder: Path, release: Release) -> None:
        """See that a release is what it was signed as, and may be loaded at all.

        Raises:
            RefusedError: It is not, or may not.
            UnavailableError: It could not be looked at now, or the daemon is to stop.
        """

    def smoke(self, folder: Path, beside: Path | None, latency_percent: int, memory_percent: int) -> Any:
        """Run a release on its golden frames, and what is in service beside it.

        Raises:
            RefusedError: It does not do as it must.
            UnavailableError: It could not be run now, or the daemon is to stop.
        """


class Service(Protocol):
    """The model in service. Used by the thread of updates."""

    def factory(self) -> Path | None:
        """Give the folder of the model that the configuration names; None: it is a bare file."""

    def shadow(self, folder: Path) -> AbstractContextManager[Callable[[], tuple[Any, Any] | None]]:
        """Open a candidate in a process of its own; gives what both models find in a live frame, or None: none came.

        What they find is what `judging.comparing` compares for their task.

        Raises:
            RefusedError: It cannot be opened, or fails over a frame; from the call, too.
        """

    def put_in_service(self, folder: Path | None) -> None:
        """Open a model and put it in the place of the one in service, between two frames; blocks.

        Args:
            folder: The model's; None: the factory model.

        Raises:
            RefusedError: It cannot be opened: what was in service is.
            UnavailableError: No frame came: likewise.
        """

    def vitals(self) -> Vitals:
        """Tell how the model in service does."""
