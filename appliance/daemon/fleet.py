"""Joins updates with the rest of the daemon: what is loaded, how a candidate is tried beside it and in its place."""

import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from appliance import __version__
from appliance.config import FleetSettings, ModelSettings, Settings
from appliance.core.clock import Clock
from appliance.core.digest import sha256_hex
from appliance.core.errors import ConfigError, EdgecamError, ModelError, UnavailableError, UnsupportedError
from appliance.core.frame import Frame
from appliance.core.health import HealthBoard
from appliance.core.latest import Latest
from appliance.core.machine import hardware_name, read_machine
from appliance.core.manifest import MANIFEST_NAME
from appliance.core.worker import Pulse
from appliance.daemon import failures
from appliance.daemon.chain import Chain
from appliance.daemon.gates import Gates
from appliance.daemon.metered import Metered
from appliance.daemon.permitted import known_keys, tell_lost, tell_permit
from appliance.daemon.seeing import SEEING, Seeing
from appliance.inference.artifacts import locate_model, manifest_named
from appliance.inference.climbing import AnyClimbing
from appliance.inference.faults import Fault, fault_of
from appliance.inference.host import HOSTS, AnyHost
from appliance.inference.ladder import open_climbing_model
from appliance.inference.running import Refusal
from appliance.messaging.inbox import Inbox
from appliance.messaging.model_payloads import model_event_message, model_message
from appliance.messaging.worker import Messaging
from appliance.updates import stages
from appliance.updates.choosing import Device
from appliance.updates.errands import Errands
from appliance.updates.judging import Vitals
from appliance.updates.lookout import text_of
from appliance.updates.orders import Repository
from appliance.updates.permits import Permit, Permits
from appliance.updates.places import address
from appliance.updates.refusals import Code, RefusedError
from appliance.updates.rollout import Whom
from appliance.updates.service import Breath, Fleet
from appliance.updates.starting import after_failure, find_model
from appliance.updates.store import Store
from appliance.updates.updater import Updater
from appliance.updates.wishes import Wish

SWAP_WITHIN: Final = 30.0
"""Seconds to wait for the frame before which a model is exchanged."""

_FRAME_WITHIN: Final = 2.0  # seconds that a shadow waits for a frame
_DUTY: Final = 3  # a candidate beside the model in service rests so many times as long as it takes
_HOT_C: Final = 75.0

_CODES: Final = {
    Fault.HANG: Code.HANG,
    Fault.CRASH: Code.CRASH,
    Fault.MEMORY: Code.MEMORY,
    Fault.NUMBERS: Code.NUMBERS,
}

OpenedT = TypeVar("OpenedT")

log = logging.getLogger(__name__)


class FleetModels:
    """What a device with a fleet has in service, and how that is exchanged. Fits `updates.service.Service`.

    Args:
        settings: The whole configuration.
        clock: Clock.
        boot: The kernel's id of this boot.
        board: Health board.

    Attributes:
        host: What looks at frames; set once models are open.

    Raises:
        StorageError: What is kept of updates cannot be read or written.
    """

    def __init__(self, settings: Settings, clock: Clock, boot: str, board: HealthBoard) -> None:
        self._settings, self._clock, self._boot, self._board = settings, clock, boot, board
        self._store = Store(settings.device.state_dir)
        self._keys = known_keys(settings.model, board)
        self._judge = Permits(self._store, clock, settings.fleet.use, self._keys).of_active
        took_the_memory = partial(failures.took_the_memory, settings.device.state_dir / failures.NAME, boot)
        self._begun = find_model(self._store, boot, self._now, self._judge, took_the_memory=took_the_memory)
        tell_permit(board, self._begun.permit)
        tell_lost(board, self._store, self._begun.state.active)
        self._folder = self._begun.folder
        self._setup = _setup(settings)
        self._chains: Mapping[str, Chain] = {}
        self._hints = Inbox(1, keeps_newest=True)  # the newest says all
        self.host: AnyHost | None = None

    @property
    def model(self) -> ModelSettings:
        """The ``[model]`` section that names what is in service."""
        return self._with(self._folder).model

    def open(self, open_with: Callable[[Settings], OpenedT], is_ending: Callable[[], bool]) -> OpenedT:
        """Open what is to be in service; what cannot be opened is given up for what was before it.

        Args:
            open_with: Opens models with a configuration whose ``[model]`` section names what is meant.
            is_ending: Tells whether the start is broken off, which says nothing about a model.

        Raises:
            EdgecamError: The factory model cannot be opened either.
        """
        while True:
            try:
                return open_with(self._with(self._folder))
            except (ConfigError, ModelError, UnavailableError, UnsupportedError) as error:
                if is_ending() and self._folder is not None:
                    self._store.write(stages.works(stages.released(self._begun.state)))
                    raise
                if self._folder is None:
                    raise
                before, why = self._begun, str(error)
                found = after_failure(self._store, before.state, why, self._boot, self._now, judge=self._judge)
                self._begun = replace(found, ended=(*before.ended, *found.ended))  # all of it is still to be told
                self._folder = self._begun.folder

    def hosted(self, model: AnyClimbing) -> AnyHost:
        """Give what looks at frames in a model's place, so that it can be exchanged."""
        host: AnyHost = HOSTS[model.manifest.task](model)
        self.host = host
        return host

    def worker(
        self,
        chains: Mapping[str, Chain],
        messaging: Messaging,
        routes: dict[str, Callable[[], Mapping[str, Any]]],
    ) -> Updater:
        """Give the worker that takes models from the fleet.

        Args:
            chains: The cameras' chains by name.
            messaging: Takes what there is to tell; gives hints, where the configuration names a topic for them.
            routes: Of the operator's server; gets ``GET /v1/model``, and a ``POST`` for each wish.

        Raises:
            ConfigError: It is not known whose rollouts are to be followed.
        """
        if self.host is None:
            raise ConfigError("[fleet] needs a camera whose frames the device looks at; kind imx500 does that itself")
        self._chains = chains
        breath = Breath(Pulse(limit=180.0))  # a candidate may be opened for a minute
        factory = self._factory_model()
        if self._settings.fleet.hint is not None:
            messaging.subscribe(self._settings.fleet.hint, self._hints)

        def report(ended: Mapping[str, Any]) -> None:
            facts = updater.facts()
            tell_lost(self._board, self._store, facts["active"])
            messaging.publish(model_message(facts | {"factory": factory}))
            if ended:
                messaging.publish(model_event_message(ended))

        def on_permit(permit: Permit) -> None:  # from time to time, too: what lies aside may be gone
            tell_permit(self._board, permit)
            tell_lost(self._board, self._store, updater.facts()["active"])

        updater = Updater(
            self._fleet(),
            self._store,
            self._begun,
            gates=Gates(self._settings.model, self.host.manifest, breath.ending, breath),
            service=self,
            clock=self._clock,
            boot=self._boot,
            report=report,
            errands=Errands(breath.ending, breath),
            breath=breath,
            judge=self._judge,
            on_permit=on_permit,
        )
        routes["GET /v1/model"] = updater.history
        for wish in Wish:
            routes[f"POST /v1/model/{wish}"] = partial(_asked, updater, wish)
        return updater

    def factory(self) -> Path | None:
        """Give the folder of the model that the configuration names; None: it is a bare file."""
        folder = locate_model(self._settings.model).path.parent
        return folder if (folder / MANIFEST_NAME).is_file() else None

    @contextmanager
    def shadow(self, folder: Path) -> Iterator[Callable[[], tuple[Any, Any] | None]]:
        """Open a candidate in a process of its own; see `updates.service.Service`."""
        shown: Latest[tuple[Frame, Any]] = Latest()
        host = self._host()
        seeing: Seeing = SEEING[host.manifest.task](self._settings.model, host.manifest)
        with closing(self._opened(folder, is_isolated=True)) as candidate:
            rest = 0

            def watch(frame: Frame, found: Any, _took: float) -> None:
                nonlocal rest
                rest -= 1
                if rest <= 0:
                    rest = _DUTY
                    shown.put((frame, found))

            def see() -> tuple[Any, Any] | None:
                item = shown.take(_FRAME_WITHIN)
                if item is None:
                    return None
                try:
                    found = seeing.look(candidate, *item)
                except EdgecamError as error:
                    raise _failed(candidate, error) from error
                return seeing.told(item[1]), seeing.told(found)

            host.watch(watch)
            try:
                yield see
            finally:
                host.watch(None)

    def put_in_service(self, folder: Path | None) -> None:
        """Exchange the model in service between two frames; see `updates.service.Service`."""
        if folder == self._folder:
            return
        opened = self._opened(folder, is_isolated=False)
        try:
            before = self._host().swap(opened, SWAP_WITHIN)  # type: ignore[arg-type]  # of one task: `_opened` looks
        except UnavailableError:
            opened.close()
            raise
        self._folder = folder
        before.close()

    def vitals(self) -> Vitals:
        """Tell how the model in service does."""
        fallen = self._host().fallen
        machine = read_machine(self._settings.device.state_dir)
        pipelines = [chain.pipeline for chain in self._chains.values()]
        idle = frozenset(name for name, chain in self._chains.items() if not _is_seen(chain))
        return Vitals(
            failure="" if fallen is None else fallen.why,
            fault=_code_of(fallen),
            latency_ms=max((one.inference_ms.percentile(95) for one in pipelines), default=0.0),
            fps=sum(one.latency_ms.rate() for one in pipelines),
            memory_mb=machine.memory_mb or 0.0,
            is_throttled=bool(machine.throttled),
            idle=idle,
            is_looking=len(idle) < len(self._chains),
            setup=self._setup,
        )

    def _opened(self, folder: Path | None, *, is_isolated: bool) -> AnyClimbing:
        settings = self._with(folder).model
        if is_isolated:
            settings = settings.model_copy(update={"isolate": "always"})
        try:
            opened = open_climbing_model(
                settings,
                min_score=self._settings.tracking.least_score,
                cache=self._settings.device.state_dir / "compiled",
            )
        except (ConfigError, ModelError, UnsupportedError) as error:
            raise RefusedError(Code.INSPECTION, " ".join(str(error).split())) from error
        except UnavailableError as error:
            raise RefusedError(_CODES[fault_of(error)], " ".join(str(error).split())) from error
        task, needed = opened.manifest.task, self._host().manifest.task
        if task != needed:
            opened.close()
            raise RefusedError(Code.CONTRACT, f"it is for task {task!r}, and {needed!r} is in service")
        return opened

    def _with(self, folder: Path | None) -> Settings:
        """Give the configuration with a release in the place of the model that it names."""
        if folder is None:
            return self._settings
        model = self._settings.model.model_copy(update={"use": str(folder), "artifact": None})
        return self._settings.model_copy(update={"model": model})

    def _fleet(self) -> Fleet:
        fleet = self._settings.fleet
        device_id = self._settings.device.resolved_id()
        root = fleet.root
        if root is None:
            raise ConfigError("[fleet] root is missing: the root.json that the fleet's owner gives to each device")
        return Fleet(
            Repository(
                url=address(fleet.url),
                root=root,
                channel=fleet.channel,
                model=fleet.model or self._host().manifest.name,
            ),
            _device(fleet, device_id, self._keys, self._host().manifest.task),
            interval=fleet.interval,
            first=fleet.first,
            window=fleet.window,
            is_metered=Metered(fleet.metered),
            hints=self._next_hint,
            hint_spread=fleet.hint_spread,
            is_hot=lambda: (read_machine(self._settings.device.state_dir).temperature_c or 0.0) > _HOT_C,
        )

    def _next_hint(self) -> bytes | None:
        received = self._hints.take(0.0)
        return None if received is None else received.payload

    def _factory_model(self) -> dict[str, str] | None:
        """Give name and version of the model that the configuration names; None: they show once it is loaded."""
        try:
            manifest = manifest_named(self._settings.model)
        except (ConfigError, ModelError) as error:  # another one is in service, and goes on
            log.warning("updates: the factory model, the last resort, cannot be read: %s", error)
            return None
        if manifest is None and self._folder is None:
            manifest = self._host().manifest
        return None if manifest is None else {"name": manifest.name, "version": manifest.version}

    def _host(self) -> AnyHost:
        if self.host is None:
            raise ConfigError("[fleet] needs a camera whose frames the device looks at")
        return self.host

    def _now(self) -> str:
        return text_of(self._clock.now().time)


def _asked(updater: Updater, wish: Wish) -> dict[str, int]:
    return {"number": updater.wishes.ask(wish)}


def _is_seen(chain: Chain) -> bool:
    """Tell whether frames of a camera are looked at; one that only stalls may do so because of the model."""
    return chain.pipeline.steering.is_looking and chain.camera.state != "offline"


def _setup(settings: Settings) -> str:
    """Give a digest of what rates, latency and memory depend on beside the model."""
    told = [settings.model.model_dump_json(exclude={"use", "artifact", "key"})]
    told += [f"{name}={camera.model_dump_json()}" for name, camera in sorted(settings.cameras.items())]
    return sha256_hex("\n".join(told).encode())[:12]


def _device(fleet: FleetSettings, device_id: str, keys: frozenset[str], task: str) -> Device:
    return Device(
        Whom(device_id, fleet.cohorts),
        __version__,
        platform.machine(),
        board=hardware_name(),
        accelerators=frozenset(fleet.accelerators),
        memory_mb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6,
        use=fleet.use,
        keys=keys,
        task=task,
    )


def _failed(candidate: AnyClimbing, error: EdgecamError) -> RefusedError:
    """Tell why a candidate failed over a frame."""
    fallen = candidate.fallen
    return RefusedError(_code_of(fallen), fallen.why if fallen is not None else str(error))


def _code_of(fallen: Refusal | None) -> Code:
    return Code.CRASH if fallen is None or fallen.fault is None else _CODES[fallen.fault]
