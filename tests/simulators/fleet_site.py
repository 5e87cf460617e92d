"""A fleet, its web server and one device, whose gates and model in service a test can turn."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.core.worker import Pulse
from appliance.updates import service as needed
from appliance.updates.choosing import Device
from appliance.updates.lookout import text_of
from appliance.updates.orders import Repository
from appliance.updates.permits import Permits
from appliance.updates.rollout import Whom
from appliance.updates.service import Breath
from appliance.updates.starting import find_model
from appliance.updates.store import Store
from appliance.updates.updater import Updater
from tests.simulators.fleet import Fleet, Web
from tests.simulators.updating import Direct, Rest, TurnedClock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TRIAL = {"shadow_frames": 3, "active_seconds": 0}


def model(folder: Path, version: str) -> Path:
    folder.mkdir()
    (folder / "manifest.toml").write_text(f'name = "persons"\nversion = "{version}"\n')
    (folder / "weights.onnx").write_bytes(version.encode() * 5000)
    return folder


class Site:
    """A fleet, its web server, and one device."""

    def __init__(self, folder: Path, fleet: Fleet, web: Web) -> None:
        self.folder, self.fleet, self.web = folder, fleet, web
        self.rest, self.clock = Rest(), TurnedClock(NOW)
        self.store = Store(folder / "state")
        self.ended: list[Mapping[str, Any]] = []
        self.is_metered = self.is_hot = False
        self.interval = 3600.0
        self.window: tuple[str, str] | None = None
        self.errands = Direct()
        self.hints: deque[bytes] = deque()
        self.root = fleet.root

    def publish(
        self,
        counter: int,
        *,
        trial: Mapping[str, Any] | None = None,
        licence: Mapping[str, str] | None = None,
        **rollout: Any,
    ) -> None:
        folder = model(self.folder / f"v{counter}", str(counter))
        chosen = self.fleet.release(folder, counter, **({"licence": licence} if licence else {}))
        self.fleet.roll_out("persons", chosen, trial={**TRIAL, **(trial or {})}, **rollout)
        self.fleet.sign()

    def run(
        self,
        until: Callable[[dict[str, Any]], object],
        within: float = 30.0,
        first: float = 0.0,
        on_built: Callable[[Updater], None] = lambda _: None,
    ) -> Updater:
        """Run the worker until its facts answer with yes, then end it in good order."""
        boot = "a" * 32
        breath = Breath(Pulse(60.0))
        stop = threading.Event()

        judge = Permits(self.store, self.clock).of_active

        def report(ended: Mapping[str, Any]) -> None:
            if ended:
                self.ended.append(ended)

        updater = Updater(
            needed.Fleet(
                Repository(url=self.web.url, root=self.root, channel="stable", model="persons"),
                Device(Whom("door"), "9", "x86_64"),
                interval=self.interval,
                first=first,
                window=self.window,
                is_metered=lambda: self.is_metered,
                is_hot=lambda: self.is_hot,
                hints=lambda: self.hints.popleft() if self.hints else None,
                hint_spread=0.0,
            ),
            self.store,
            find_model(self.store, boot, lambda: text_of(self.clock.time), judge),
            gates=self.rest,
            service=self.rest,
            clock=self.clock,
            boot=boot,
            report=report,
            errands=self.errands,
            breath=breath,
            judge=judge,
        )
        thread = threading.Thread(target=updater.run, args=(stop,))
        thread.start()
        on_built(updater)
        try:
            deadline = time.monotonic() + within
            while not until(updater.facts()):
                assert time.monotonic() < deadline, updater.facts()
                threading.Event().wait(0.02)
        finally:
            stop.set()
            thread.join(20)
        assert not thread.is_alive()
        return updater


def is_over(facts: dict[str, Any]) -> bool:
    return facts["stage"] == "idle" and facts["last"] is not None
