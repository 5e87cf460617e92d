"""The daemon's own chain of one camera, looking at all of a source that ends, as fast as it can."""

import argparse
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from appliance.cameras import Camera, make_camera
from appliance.config import AnyCamera, ModelSettings, Settings
from appliance.core.clock import ClockQuality, Reading, Stamp
from appliance.core.errors import UnavailableError
from appliance.core.events import Event, EventType
from appliance.core.frame import Frame
from appliance.core.health import HealthBoard
from appliance.daemon.chain import build_chain
from appliance.daemon.options import CAMERA
from appliance.inference.detector import Detector, open_detector
from appliance.inference.folders import find_models

READ_TIMEOUT = 30.0  # seconds; nothing here takes a tenth of it
LEAST_MINUTES, MOST_MINUTES = 0.01, 1440.0
FIRST = Stamp(datetime(2026, 5, 1, 12, tzinfo=UTC), 1_000_000_000_000)
"""When the first frame of every source is said to be taken."""


class StandingClock:
    """Stands still: a source that is read as fast as possible counts its own time from when it was opened."""

    def now(self) -> Stamp:
        return FIRST

    def quality(self) -> ClockQuality:
        return ClockQuality.UNSYNCED

    def reading(self) -> Reading:
        return Reading(FIRST.mono_ns, round(FIRST.time.timestamp() * 1e9) - FIRST.mono_ns, 0, self.quality())


def watch(
    camera: AnyCamera,
    detector: Detector,
    settings: Settings,
    *,
    every: int = 1,
    on_frame: Callable[[Frame, Camera], None] = lambda _frame, _source: None,
) -> list[Event]:
    """Give all that the daemon would tell of a camera whose source ends.

    Detector, tracker, zones, events and messages are the daemon's, wired by the daemon; only its threads are not
    there, so that no frame is left out on a slow machine.

    Args:
        camera: A source that is read as fast as possible, and ends.
        detector: Open.
        settings: What else is configured.
        every: Take only every Nth frame.
        on_frame: Called with each frame that is taken, before the chain sees it, and its source.
    """
    events: list[Event] = []
    clock = StandingClock()
    chain = build_chain(
        CAMERA,
        camera,
        detector,
        settings=settings,
        run="proof",
        is_end_expected=True,
        clock=clock,
        board=HealthBoard(),
        publish=lambda _message: None,
        tell=lambda event, _message: events.append(event),
    )
    source = make_camera(CAMERA, camera, clock)
    if not source.waits:
        raise UnavailableError("a proof takes every frame: the camera's pace must be `fastest`")
    source.open()
    try:
        while (frame := source.read(READ_TIMEOUT)) is not None:
            if frame.number % every == 0:
                on_frame(frame, source)
                chain.pipeline.step(frame)
    finally:
        source.close()
    chain.camera.ended.set()
    chain.pipeline.run(threading.Event())
    return events


def open_model(model: str, settings: Settings) -> Detector:
    """Open a detector as the daemon does.

    Args:
        model: As `--model` takes it, or a model's folder; empty: the daemon's default.
        settings: The rest of the configuration.
    """
    is_folder = bool(model) and Path(model).is_dir()  # a plain name would be looked for among those that are known
    use = str(Path(model).resolve()) if is_folder else model or settings.model.use
    return open_detector(settings.model.model_copy(update={"use": use}), min_score=settings.tracking.least_score)


def whole(least: int) -> Callable[[str], int]:
    """Give what argparse takes for a whole number of at least so much."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return int(text)

    return number


def minutes(text: str) -> float:
    """Take a span of time for argparse: more than nothing, a day at the most."""
    try:
        span = float(text)
    except ValueError:
        span = 0.0
    if not LEAST_MINUTES <= span <= MOST_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {LEAST_MINUTES:g} to {MOST_MINUTES:g}")
    return span


def is_default_bundled() -> bool:
    """Tell whether the daemon's default model is there, with weights."""
    default = ModelSettings().use
    return any(found.artifact is not None and found.manifest.name == default for found in find_models())


def seconds_of(event: Event) -> float:
    """Give when an event's frame was taken, in seconds since the first one."""
    return (event.mono_ns - FIRST.mono_ns) / 1e9


def lives(events: list[Event]) -> dict[str, list[Event]]:
    """Give the events of each object, in order; each must begin with a start and finish with an end."""
    told: dict[str, list[Event]] = {}
    for event in events:
        told.setdefault(event.object_id, []).append(event)
    for name, life in told.items():
        kinds = [event.type for event in life]
        if kinds != [EventType.START, *[EventType.UPDATE] * (len(kinds) - 2), EventType.END]:
            raise AssertionError(f"{name} is told as {', '.join(kinds)}")
    return told
