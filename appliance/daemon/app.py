"""The composition root: builds every part from its own section of the configuration, for one supervisor."""

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import cv2

from appliance.config import MessagingSettings, Settings, runtime_socket
from appliance.core.clock import SystemClock, read_boot_id
from appliance.core.errors import ConfigError, EdgecamError
from appliance.core.events import Event, LabelChange
from appliance.core.health import HealthBoard
from appliance.core.message import Message
from appliance.core.worker import Worker
from appliance.daemon.asked import Asked
from appliance.daemon.broker import DemoBroker
from appliance.daemon.chain import Chain, build_chain, model_info
from appliance.daemon.console import Console, welcome
from appliance.daemon.lock import locked
from appliance.daemon.logs import is_journal_read
from appliance.daemon.model import ModelReport
from appliance.daemon.options import Options
from appliance.daemon.outputs import build_outputs
from appliance.daemon.reporter import Reporter
from appliance.daemon.status import Status
from appliance.daemon.supervisor import Supervisor
from appliance.daemon.systemd import Notifier
from appliance.daemon.tuned import find_stored
from appliance.diagnostics.feed import Feed
from appliance.diagnostics.server import Server
from appliance.inference.climbing import AnyClimbing
from appliance.inference.ladder import open_climbing_model
from appliance.inference.shared import SHARED
from appliance.inference.ways import Preference
from appliance.messaging.payloads import info_message, status_message, utc_text
from appliance.messaging.worker import Messaging

if TYPE_CHECKING:
    from appliance.daemon.fleet import FleetModels
    from appliance.updates.updater import Updater

START_MARGIN = 60.0  # seconds for the rest of the start, beside loading a model
CLOSE_WITHIN = 3.0  # seconds for the models, and for the last of them some more

log = logging.getLogger(__name__)


class App:
    """One run of the daemon. Used by the main thread.

    Args:
        options: What was asked for.
        asked: What signals ask for.
        on_built: Called when every part is built and before any is started.

    Attributes:
        is_to_restart: It ends because somebody commanded a restart.
        all_ended: It is known that no thread of ours runs any more; otherwise one may be inside a driver or a runtime.
    """

    def __init__(self, options: Options, asked: Asked, on_built: Callable[[], None] = lambda: None) -> None:
        self.all_ended, self.is_to_restart = False, False
        self._options, self._settings, self._asked, self._on_built = options, options.settings, asked, on_built
        self._board, self._clock, self._notifier, self._feed = HealthBoard(), SystemClock(), Notifier(), Feed()
        self._console = None if is_journal_read() else Console()
        self._supervisor = Supervisor(self._board, self._notifier)
        self._chains: dict[str, Chain] = {}
        self._climbers: list[Any] = []
        self._is_waiting = False
        self._is_starting = True

    def run(self) -> None:
        """Run until something else is asked for or the work is done.

        Raises:
            EdgecamError: It cannot start, a part failed for good, or a camera can never work as it is configured.
        """
        with ExitStack() as stack:
            stack.enter_context(locked(self._settings.device.state_dir))
            if not self._is_built(stack):
                self._close_models()  # all but the one that is being opened, in a thread that nobody waits for any more
                return
            self._supervisor.start()
            self._is_starting = False
            self._notifier.is_ready()
            self._announce()
            try:
                self._watch()
            finally:
                self._tell_ending()
                self.all_ended = self._supervisor.stop() and self._close_models()
        for chain in self._chains.values():
            if chain.camera.refusal is not None:
                raise chain.camera.refusal

    def _watch(self) -> None:
        self._supervisor.watch(self._asked.wake, self._is_over)
        while self._asked.wake.is_set() and self._asked.goes_on():
            self._supervisor.watch(self._asked.wake, self._is_over)

    def _tell_ending(self) -> None:
        if self._asked.is_reloading:
            self._notifier.is_reloading()
            self._notifier.allow(START_MARGIN)
        else:
            self._notifier.tell("STOPPING=1", "STATUS=stopping")

    def _is_built(self, stack: ExitStack) -> bool:
        """Build every part, unless the daemon is to end before that is done."""
        try:
            self._build(stack)
        except EdgecamError:
            if not self._is_ending():
                raise
        else:
            self._on_built()
        return not self._is_ending()

    def _is_ending(self) -> bool:
        """Tell whether the start is to be broken off; later, what runs has its own time to end."""
        return self._is_starting and self._asked.wake.is_set()

    def _ask_for_time(self, seconds: float) -> None:
        """Tell systemd how long a model may take to load; while we run, that would put off its watchdog."""
        if self._is_starting:
            self._notifier.allow(seconds + START_MARGIN)

    def _build(self, stack: ExitStack) -> None:
        """Build every part; the order of `add` is the order of starting, and reversed the order of stopping."""
        cv2.setNumThreads(1)  # a camera's frames come one after the other: more threads only cost
        device = self._settings.device
        stored = find_stored(self._settings.model, device.state_dir, self._tell_info)
        fleet = self._find_fleet()
        models = self._open_best(fleet, stored.preference)
        self._messaging = Messaging(
            device_id=device.resolved_id(),
            settings=self._messaging_settings(stack),
            state_dir=device.state_dir,
            clock=self._clock,
            boot_id=read_boot_id(),
            board=self._board,
        )
        manifests = {name: model.manifest for name, model in models.items()}
        outputs = build_outputs(
            self._settings,
            manifests,
            messaging=self._messaging,
            board=self._board,
            can_restart=self._notifier.is_heard,
        )
        self._build_chains(models, outputs.publish)
        self._model = ModelReport(tuple(self._climbers), _described, self._board)
        self._model.refresh()
        self._status = Status(
            device_id=device.resolved_id(),
            chains=self._chains,
            model=self._model.now,
            info=self._model.facts,
            messaging=self._messaging.figures,
            clock=self._messaging.clock,
            restarts=self._supervisor.restarts,
            board=self._board,
            state_dir=device.state_dir,
            tuning=stored.facts,
        )
        server = Server(runtime_socket(device), self._status, self._feed)
        server.open()
        reporter = Reporter(
            status=self._status,
            board=self._board,
            publish=self._messaging.publish,
            notifier=self._notifier,
            interval=self._settings.messaging.health_interval,
        )
        for worker in (*self._messaging.workers, server, reporter):
            self._supervisor.add(worker)
        self._supervisor.add(*stored.workers, *outputs.workers)
        self._supervisor.add(*(chain.pipeline for chain in self._chains.values()))
        self._supervisor.add(*(chain.camera for chain in self._chains.values()))
        updater = self._updater(fleet, server)
        self._supervisor.add(*(() if updater is None else (updater,)))
        self._supervisor.add(*self._obey(fleet, updater))  # last: it stops first

    def _build_chains(self, models: dict[str, Any], publish: Callable[[Message], None]) -> None:
        run = os.urandom(3).hex()
        for name, model in models.items():
            self._chains[name] = build_chain(
                name,
                self._settings.cameras[name],
                model,
                settings=self._settings,
                is_end_expected=self._options.once,
                run=run,
                clock=self._clock,
                board=self._board,
                publish=publish,
                tell=self._tell,
            )

    def _obey(self, fleet: "FleetModels | None", updater: "Updater | None") -> tuple[Worker, ...]:
        """Take commands where the owner allows them; give the worker for that."""
        if not self._settings.messaging.commands:
            return ()
        from appliance.daemon.control import build_control  # noqa: PLC0415 - only for who allows commands

        control = build_control(
            self._chains,
            self._settings,
            model=lambda: self._settings.model if fleet is None else fleet.model,
            fleet=updater,
            publish=self._messaging.publish,
            replay=self._messaging.replay,
            restart=self._restart if self._notifier.is_heard else None,
        )
        control.announce()
        return self._messaging.obey(control)

    def _restart(self) -> None:
        self.is_to_restart = True
        self._asked.end()

    def _find_fleet(self) -> "FleetModels | None":
        """Give what takes models from a fleet, where the configuration names one; its types take memory."""
        if not self._settings.fleet.url:
            return None
        from appliance.daemon.fleet import FleetModels  # noqa: PLC0415

        return FleetModels(self._settings, self._clock, read_boot_id(), self._board)

    def _updater(self, fleet: "FleetModels | None", server: Server) -> "Updater | None":
        """Give the worker that takes models from a fleet, where there is one, and does as the owner asks."""
        return None if fleet is None else fleet.worker(self._chains, self._messaging, server.routes)

    def _open_best(self, fleet: "FleetModels | None", preferred: Preference | None) -> dict[str, Any]:
        """Open what the configuration names, or what a fleet has put in its place."""
        if fleet is None:
            return self._open_models(self._settings, preferred)
        return fleet.open(lambda settings: self._open_models(settings, None, fleet.hosted), self._is_ending)

    def _open_models(
        self, settings: Settings, preferred: Preference | None, hosted: Callable[[AnyClimbing], Any] = lambda one: one
    ) -> dict[str, Any]:
        """Open a model for every enabled camera, one for all that run none themselves; they live as long as we do.

        Args:
            settings: Whose ``[model]`` section names it.
            preferred: What was measured to be the best here.
            hosted: Gives what looks at frames in its place.
        """
        enabled = [name for name, camera in self._settings.cameras.items() if camera.enabled]
        if not enabled:
            raise ConfigError("no camera is enabled; set enabled = true on one, or give --camera")
        # the tracker keeps objects alive with weaker detections than are published
        low = self._settings.tracking.least_score
        # what is compiled for this machine's accelerator may be thrown away at any time
        cache = self._settings.device.state_dir / "compiled"

        def climb(*, has_network: bool) -> Any:
            climber = open_climbing_model(
                settings.model,
                min_score=low,
                cache=cache,
                preferred=preferred,
                has_network=has_network,
                on_open=self._ask_for_time,
                is_ending=self._is_ending,
            )
            model = climber if has_network else hosted(climber)
            self._climbers.append(model)
            return model

        own = [name for name in enabled if self._settings.cameras[name].kind == "imx500"]
        models: dict[str, Any] = {name: climb(has_network=True) for name in own}
        others = [name for name in enabled if name not in own]
        if not others:
            return models
        model = climb(has_network=False)
        if len(others) == 1:
            return models | {others[0]: model}
        shared = SHARED[model.manifest.task](model)
        self._supervisor.add(shared)
        return models | {each: shared.handle(each) for each in others}

    def _close_models(self) -> bool:
        """Let go of the models; tell whether none of their threads is left."""
        deadline = time.monotonic() + CLOSE_WITHIN
        return all(time.monotonic() <= deadline and one.close() and not one.wedged.count for one in self._climbers)

    def _messaging_settings(self, stack: ExitStack) -> MessagingSettings:
        """Turn the broker `embedded` into the address of one that runs."""
        messaging = self._settings.messaging
        if messaging.broker != "embedded":
            return messaging
        broker = DemoBroker(self._settings.device.state_dir)
        stack.callback(broker.stop)
        self._supervisor.add(broker)
        return messaging.model_copy(update={"broker": broker.start(self._asked.wake)})

    def _announce(self) -> None:
        self._tell_info()
        for climber in self._climbers:
            climber.on_change = self._tell_of_the_model
        self._tell_of_the_model()  # what may have changed before
        for name in self._settings.cameras.keys() - self._chains.keys():
            self._messaging.publish(status_message(name, "disabled", "enabled = false in the configuration"))
        log.info("running: %s", self._watching())
        if self._console is not None:
            broker = str(self._messaging.figures()["broker"])
            self._console.banner(welcome(self._watching(), broker, self._settings.device.resolved_id()))

    def _tell_of_the_model(self) -> None:
        if self._model.refresh():
            self._tell_info()

    def _tell_info(self) -> None:
        self._messaging.publish(info_message(self._status.info()))

    def _watching(self) -> str:
        cameras = ", ".join(f"{name} ({self._settings.cameras[name].kind})" for name in self._chains)
        chosen = f"; {self._options.chosen}" if self._options.chosen else ""
        return f"{cameras} with {self._status.model_name}{chosen}"

    def _tell(self, event: Event | LabelChange, message: Message) -> None:
        self._feed.put({"time": utc_text(event.time_ns), "camera": event.camera, **message.body})
        if self._console is not None:
            self._console.show(event)

    def _is_over(self) -> bool:
        """Tell whether nothing is left to do: every camera was refused, or with `--once` all is seen and delivered."""
        if all(chain.camera.refusal is not None for chain in self._chains.values()):
            return True
        if not self._options.once or not all(chain.pipeline.done.is_set() for chain in self._chains.values()):
            return False
        if self._messaging.is_drained():
            return True
        if not self._is_waiting:
            self._is_waiting = True
            log.info("all is seen; waiting until the broker has every message (Ctrl-C leaves them for the next run)")
        return False


def _described(model: AnyClimbing) -> dict[str, Any]:
    return {**asdict(model_info(model)), "task": model.manifest.task}
