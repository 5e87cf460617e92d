"""The daemon's state as one object: what `edgecam status` shows and `health` messages are made of."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from appliance import __version__
from appliance.core.health import HealthBoard
from appliance.core.machine import hardware_name, read_machine
from appliance.core.metrics import RollingFigures
from appliance.daemon.chain import Chain
from appliance.messaging.payloads import SCHEMA_VERSION

if TYPE_CHECKING:
    from appliance.messaging.contract import device

CAPABILITIES: Final = {
    "detect": ("detect", "track", "zones", "lines"),
    "classify": ("classify",),
    "segment": ("segment", "zones"),
}
"""What a device does, by its model's task."""


class Status:
    """Collects figures from the running parts. Safe to call from any thread: it only reads.

    Args:
        device_id: The device's name in topics.
        chains: The cameras' chains by name.
        model: Gives name, version, digest, file and so on, as shown.
        info: Gives the same without what changes with every look.
        messaging: Gives the figures of the outbox and the link.
        clock: Gives what is known of UTC: its quality and so on.
        restarts: Gives how often each worker was restarted.
        board: Health board.
        state_dir: Where the state is kept.
        tuning: Tells what became of the way of running the model that was measured to be the best.
    """

    def __init__(
        self,
        *,
        device_id: str,
        chains: Mapping[str, Chain],
        model: Callable[[], Mapping[str, Any]],
        info: Callable[[], Mapping[str, Any]],
        messaging: Callable[[], Mapping[str, Any]],
        clock: Callable[[], Mapping[str, Any]],
        restarts: Callable[[], Mapping[str, int]],
        board: HealthBoard,
        state_dir: Path,
        tuning: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._device_id, self._chains, self._model, self._info = device_id, chains, model, info
        self._messaging, self._clock, self._restarts, self._board = messaging, clock, restarts, board
        self._state_dir, self._tuning = state_dir, tuning
        self._started = time.monotonic()

    def __call__(self) -> dict[str, Any]:
        """Give everything, JSON types only."""
        return {
            "device": self._device_id,
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._started, 1),
            "state": self._board.state().value,
            "findings": self._findings(),
            "cameras": {name: _figures(chain) for name, chain in self._chains.items()},
            "model": dict(self._model()),
            "tuning": dict(self._tuning()),
            "messaging": dict(self._messaging()),
            "clock": dict(self._clock()),
            "machine": self.machine(),
            "restarts": {name: count for name, count in self._restarts().items() if count > 0},
        }

    @property
    def model_name(self) -> str:
        """Name of the model; all cameras have the same one."""
        return str(self._model()["name"])

    def health(self) -> dict[str, Any]:
        """Give what a `health` message carries: the same without what other messages or its envelope tell."""
        told_elsewhere = {"device", "model", "tuning", "version"}
        names = {"clock": "utc"}  # the envelope has a `clock` already
        return {names.get(name, name): value for name, value in self().items() if name not in told_elsewhere}

    def info(self) -> dict[str, Any]:
        """Give what an `info` message carries: what this device is."""
        return {
            "hardware": hardware_name(),
            "app": __version__,
            "schema": SCHEMA_VERSION,
            "model": dict(self._info()),
            "tuning": dict(self._tuning()),
            "cameras": list(self._chains),
            "capabilities": [*CAPABILITIES[self._model()["task"]], "outbox"],
        }

    def machine(self) -> "device.Machine":
        """Give the machine's readings."""
        machine = read_machine(self._state_dir)
        return {
            "temperature_c": _rounded(machine.temperature_c),
            "throttled": None if machine.throttled is None else list(machine.throttled),
            "memory_mb": _rounded(machine.memory_mb),
            "disk_free_mb": _rounded(machine.disk_free_mb),
            "load": round(machine.load, 2),
        }

    def line(self) -> str:
        """Give the state in one line, for systemd and the log."""
        cameras = " ".join(
            f"{name} {chain.camera.state} {chain.camera.intervals.rate():.1f} fps"
            for name, chain in self._chains.items()
        )
        figures = self._messaging()
        if figures["broker"] == "none":
            return f"{cameras}; no broker"
        link = "connected" if figures["connected"] else "not connected"
        return f"{cameras}; broker {link}; outbox {figures['rows']} messages"

    def _findings(self) -> "list[device.Finding]":
        now = time.monotonic()
        return [
            {
                "component": finding.component,
                "state": finding.state.value,
                "what": finding.what,
                "fix": finding.fix,
                "for_s": round(now - finding.since, 1),
            }
            for finding in self._board.findings()
        ]


def _figures(chain: Chain) -> dict[str, Any]:
    worker, pipeline = chain.camera, chain.pipeline
    return {
        "state": worker.state,
        "why": worker.why,
        "fps": round(worker.intervals.rate(), 2),
        "width": worker.size[0],
        "height": worker.size[1],
        "frames": worker.frames,
        "frames_processed": pipeline.frames,
        "frames_unseen": pipeline.frames_unseen,
        "frames_unanswered": worker.frames_unanswered,
        "frames_dropped": worker.slot.dropped,
        "looking": pipeline.steering.is_looking,
        **pipeline.sight,
        "latency_ms": _percentiles(pipeline.latency_ms),
        "inference_ms": _percentiles(pipeline.inference_ms),
    }


def _percentiles(figures: RollingFigures) -> "device.Percentiles":
    return {"p50": round(figures.percentile(50), 2), "p95": round(figures.percentile(95), 2)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
