"""The composition root: builds every part from its own section of the configuration, for one supervisor."""

import fcntl
import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import cv2

from appliance import __version__
from appliance.cameras import make_camera
from appliance.config import AnyCamera, MessagingSettings, runtime_socket
from appliance.core.clock import SystemClock, read_boot_id
from appliance.core.errors import ConfigError, StorageError, UnavailableError
from appliance.core.events import Event
from appliance.core.frame import Frame  # noqa: TC001 - reads as what the slot holds
from appliance.core.health import HealthBoard
from appliance.core.latest import Latest
from appliance.core.message import Message
from appliance.daemon.broker import DemoBroker
from appliance.daemon.camera import CameraWorker, frame_timeout
from appliance.daemon.console import Console, welcome
from appliance.daemon.machine import hardware_name
from appliance.daemon.options import Options
from appliance.daemon.pipeline import Pipeline
from appliance.daemon.reporter import Reporter
from appliance.daemon.status import Status
from appliance.daemon.supervisor import Supervisor
from appliance.daemon.systemd import Notifier
from appliance.diagnostics.feed import Feed
from appliance.diagnostics.server import Server
from appliance.inference.detector import Detector, open_detector
from appliance.messaging.payloads import SCHEMA_VERSION, ModelInfo, info_message, status_message, utc_text
from appliance.messaging.worker import Messaging
from appliance.tracking.scene import Scene

log = logging.getLogger(__name__)


class App:
    """One run of the daemon. Used by the main thread.

    Args:
        options: What was asked for.
        on_built: Called when every part is built and before any is started.
    """

    def __init__(self, options: Options, on_built: Callable[[], None] = lambda: None) -> None:
        self._options, self._settings, self._on_built = options, options.settings, on_built
        self._device_id = self._settings.device.resolved_id()
        self._state_dir = self._settings.device.state_dir
        self._board, self._clock, self._notifier, self._feed = HealthBoard(), SystemClock(), Notifier(), Feed()
        self._console = None if os.environ.get("JOURNAL_STREAM") else Console()
        self._supervisor = Supervisor(self._board, self._notifier)
        self._cameras: dict[str, CameraWorker] = {}
        self._pipelines: dict[str, Pipeline] = {}

    def run(self) -> tuple[int, bool]:
        """Run until a signal comes or the work is done; give the exit status and whether every thread has ended.

        Raises:
            EdgecamError: It cannot start, or a part failed for good.
        """
        wake = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: wake.set())
        with ExitStack() as stack:
            stack.enter_context(_lock(self._state_dir))
            self._build(stack)
            self._on_built()
            self._supervisor.start()
            self._notifier.tell("READY=1")
            self._announce()
            try:
                self._supervisor.watch(wake, self._is_over)
            finally:
                self._notifier.tell("STOPPING=1", "STATUS=stopping")
                all_ended = self._supervisor.stop()
        refusals = [worker.refusal for worker in self._cameras.values() if worker.refusal is not None]
        return (refusals[0].exit_code if refusals and self._have_all_ended() else 0), all_ended

    def _build(self, stack: ExitStack) -> None:
        """Build every part; the order of `add` is the order of starting, and reversed the order of stopping."""
        cv2.setNumThreads(1)  # a camera's frames come one after the other: more threads only cost
        cameras = {name: camera for name, camera in self._settings.cameras.items() if camera.enabled}
        if not cameras:
            raise ConfigError("no camera is enabled; set enabled = true on one, or give --camera")
        detectors = {name: stack.enter_context(self._open_detector()) for name in cameras}
        self._messaging = Messaging(
            device_id=self._device_id,
            settings=self._messaging_settings(stack),
            state_dir=self._state_dir,
            clock=self._clock,
            boot_id=read_boot_id(),
            board=self._board,
        )
        run = secrets.token_hex(3)
        for name, camera in cameras.items():
            self._build_camera(name, camera, detectors[name], run)
        for name in self._settings.cameras.keys() - cameras.keys():
            self._messaging.publish(status_message(name, "disabled", "enabled = false in the configuration"))
        status = Status(
            device_id=self._device_id,
            cameras=self._cameras,
            pipelines=self._pipelines,
            model=asdict(self._model),
            messaging=self._messaging.figures,
            restarts=self._supervisor.restarts,
            board=self._board,
            clock=self._clock,
            state_dir=self._state_dir,
        )
        reporter = Reporter(
            status=status,
            board=self._board,
            publish=self._messaging.publish,
            notifier=self._notifier,
            interval=self._settings.messaging.health_interval,
        )
        server = Server(runtime_socket(self._settings.device), status, self._feed)
        server.open()
        for worker in self._messaging.workers:
            self._supervisor.add(worker)
        self._supervisor.add(server)
        self._supervisor.add(reporter)
        self._supervisor.add(*self._pipelines.values())
        self._supervisor.add(*self._cameras.values())

    def _open_detector(self) -> Detector:
        # the tracker keeps objects alive with weaker detections than are published
        return open_detector(self._settings.model, min_score=self._settings.tracking.low_score)

    def _build_camera(self, name: str, settings: AnyCamera, detector: Detector, run: str) -> None:
        tracking, asked = self._settings.tracking, self._settings.model
        manifest = detector.manifest
        self._model = ModelInfo(manifest.name, manifest.version, detector.digest)
        min_score = manifest.decoder.min_score if asked.min_score is None else asked.min_score
        slot: Latest[Frame] = Latest()
        worker = CameraWorker(
            name=name,
            camera=make_camera(name, settings, self._clock),
            slot=slot,
            frame_timeout=frame_timeout(settings),
            on_state=lambda state, why: self._messaging.publish(status_message(name, state, why)),
            board=self._board,
        )
        scene = Scene(
            name,
            manifest.labels,
            tracking,
            settings.zones,
            settings.lines,
            high_score=min_score if tracking.high_score is None else tracking.high_score,
            run=run,
        )
        self._cameras[name] = worker
        self._pipelines[name] = Pipeline(
            camera=name,
            slot=slot,
            source_ended=worker.ended,
            detector=detector,
            scene=scene,
            labels=manifest.labels,
            model=self._model,
            min_score=min_score,
            detections_interval=self._settings.messaging.detections_interval,
            lost_after=tracking.lost_after,
            publish=self._messaging.publish,
            tell=self._tell,
        )

    def _messaging_settings(self, stack: ExitStack) -> MessagingSettings:
        """Turn the broker `embedded` into the address of one that runs."""
        messaging = self._settings.messaging
        if messaging.broker != "embedded":
            return messaging
        broker = DemoBroker(self._state_dir)
        stack.callback(broker.stop)
        return messaging.model_copy(update={"broker": broker.start()})

    def _tell(self, event: Event, message: Message) -> None:
        self._feed.put({"time": utc_text(event.time_ns), "camera": event.camera, **message.body})
        if self._console is not None:
            self._console.show(event)

    def _announce(self) -> None:
        self._messaging.publish(
            info_message(
                {
                    "hardware": hardware_name(),
                    "app": __version__,
                    "schema": SCHEMA_VERSION,
                    "model": asdict(self._model),
                    "cameras": list(self._settings.cameras),
                    "capabilities": ["detect", "track", "zones", "lines", "outbox"],
                }
            )
        )
        log.info("running", extra={"cameras": ",".join(self._cameras), "model": self._model.name})
        if self._console is not None:
            figures = self._messaging.figures()
            self._console.banner(welcome(self._options.chosen, str(figures.get("broker", "none")), self._device_id))

    def _have_all_ended(self) -> bool:
        return all(worker.ended.is_set() for worker in self._cameras.values())

    def _is_over(self) -> bool:
        """Tell whether there is nothing left to do: all cameras were refused, or `--once` and all is delivered."""
        if all(worker.refusal is not None for worker in self._cameras.values()):
            return True
        done = all(pipeline.done.is_set() for pipeline in self._pipelines.values())
        return self._options.once and done and self._messaging.is_drained()


@contextmanager
def _lock(state_dir: Path) -> Iterator[None]:
    """Keep the state directory for this process alone: two writers would tear the outbox."""
    path = state_dir / "lock"
    try:
        state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise StorageError(
            f"cannot write to the state directory {state_dir}: {error.strerror}; choose another with --state-dir"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(
                f"another edgecam uses the state directory {state_dir}; stop it or choose another with --state-dir"
            ) from error
        yield
