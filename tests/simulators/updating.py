"""What the worker of updates needs of the rest of the daemon, as a test can turn it: gates, the model in service."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from appliance.core.clock import ClockQuality, Stamp
from appliance.core.errors import EdgecamError
from appliance.core.results import Detections
from appliance.updates.bringing import bring
from appliance.updates.checking import check
from appliance.updates.formats import Release
from appliance.updates.judging import Vitals
from appliance.updates.orders import BringAnswer, BringOrder, CheckAnswer, CheckOrder, Progress

NONE = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))


@dataclass
class TurnedClock:
    """A clock that stands still.

    Attributes:
        time: What it says.
        how: How far it can be trusted.
    """

    time: datetime
    how: ClockQuality = ClockQuality.SYNCED

    def now(self) -> Stamp:
        return Stamp(self.time, 0)

    def quality(self) -> ClockQuality:
        return self.how


@dataclass
class Rest:
    """Gates and service in one.

    Attributes:
        faults: What is raised, by the name of the call; taken when it was.
        calls: What was called, in order.
        in_service: Folders that were put in service, in order.
        now: How the model in service does.
        on_trial: Called whenever somebody asks how it does.
    """

    faults: dict[str, EdgecamError] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    in_service: list[Path | None] = field(default_factory=list)
    now: Vitals = field(default_factory=Vitals)
    on_trial: Callable[[], None] = lambda: None
    beats: threading.Event = field(default_factory=threading.Event)

    def inspect(self, folder: Path, release: Release) -> None:
        assert (folder / "manifest.toml").is_file()
        self._call(f"inspect {release.version}")

    def smoke(self, folder: Path, beside: Path | None, latency_percent: int, memory_percent: int) -> None:
        assert folder != beside
        assert latency_percent >= 100
        assert memory_percent >= 100
        self._call("smoke")

    def factory(self) -> Path | None:
        return None

    @contextmanager
    def shadow(self, folder: Path) -> Iterator[Callable[[], tuple[Detections, Detections] | None]]:
        assert folder.is_dir()
        self._call("shadow")
        yield lambda: (NONE, NONE)

    def put_in_service(self, folder: Path | None) -> None:
        self._call("put in service")
        self.in_service.append(folder)

    def vitals(self) -> Vitals:
        self.on_trial()
        return self.now

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if (fault := self.faults.pop(name.split(" ", maxsplit=1)[0], None)) is not None:
            raise fault


class Direct:
    """Does errands in this process, which is quicker."""

    def check(self, wanted: CheckOrder) -> CheckAnswer:
        return check(wanted)

    def bring(self, wanted: BringOrder, tell: Callable[[Progress], None]) -> BringAnswer:
        return bring(wanted, lambda done, whole: tell(Progress(done=done, whole=whole)))
