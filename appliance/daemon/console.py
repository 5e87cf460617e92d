"""One readable line per event, for somebody who looks on at a terminal."""

import logging
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from appliance.core.events import Change, Event, EventType, LabelChange

log = logging.getLogger(__name__)

_WORDS = {EventType.START: "appeared", EventType.UPDATE: "", EventType.END: "left"}
_COLOURS = {EventType.START: "\033[32m", EventType.UPDATE: "\033[36m", EventType.END: "\033[90m"}
_COMPASS = ("up", "up right", "right", "down right", "down", "down left", "left", "up left")


class Console:
    """Writes to standard output. Safe to call from any thread: each event is one write."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colours = self._stream.isatty()
        self._is_closed = False

    def show(self, event: Event | LabelChange) -> None:
        """Write one line: time, camera, what happened to what, where, how sure."""
        line = describe(event)
        if self._colours:
            colour = _COLOURS[EventType.UPDATE if isinstance(event, LabelChange) else event.type]
            line = f"{colour}{line}\033[0m"
        self._write(line + "\n")

    def banner(self, lines: Sequence[str]) -> None:
        """Write what a newcomer needs to know next."""
        self._write("\n".join(["", *(f"  {line}" for line in lines), "", ""]))

    def _write(self, text: str) -> None:
        if self._is_closed:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            # whoever looked on has left (`| head`); the daemon's work goes on
            self._is_closed = True
            log.warning("events are shown no longer: %s", error.strerror or error)


def welcome(watching: str, broker: str, device_id: str) -> list[str]:
    """Give the lines a newcomer needs: how to subscribe and where to look.

    Args:
        watching: The cameras and the model, in a few words.
        broker: The broker's address without secrets, or ``none``.
        device_id: The device's name in topics.
    """
    parts = urlsplit(broker)
    address = f"-h {parts.hostname} -p {parts.port or 1883}" if parts.hostname else ""
    edgecam = _own_command()
    return [
        f"watching:     {watching}",
        f"subscribe:    mosquitto_sub {address} -v -t 'edgecam/{device_id}/#'   (package mosquitto-clients)"
        if address
        else "subscribe:    nowhere: there is no broker, messages stay here",
        f"look inside:  {edgecam} status     {edgecam} events --follow",
        "stop:         Ctrl-C",
    ]


def _own_command() -> str:
    """Give the command as it can be typed here: the environment's own when there is one and it is not on PATH."""
    own = Path(sys.executable).with_name("edgecam")
    if shutil.which("edgecam") or not own.exists():
        return "edgecam"
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)


def describe(event: Event | LabelChange) -> str:
    """Tell an event in one line: ``12:31:02  door  person 7 appeared  0.83  in porch``."""
    local = datetime.fromtimestamp(event.time_ns / 1e9).astimezone()
    if isinstance(event, LabelChange):
        shown = f"shows {event.label}  {event.score:.2f}" if event.label else "shows nothing it is sure of"
        before = f"  after {event.lasted:.1f} s of {event.before}" if event.before else ""
        return f"{local.strftime('%H:%M:%S')}  {event.camera}  {shown}{before}"
    number = event.object_id.rpartition("-")[2]
    parts = [local.strftime("%H:%M:%S"), event.camera, f"{event.label} {number} {_happening(event)}"]
    is_best_told = event.type is EventType.END or Change.BETTER_SCORE in event.changes
    parts.append(f"{event.best_score if is_best_told else event.score:.2f}")
    if event.zones:
        parts.append(f"in {', '.join(event.zones)}")
    if event.type is EventType.END:
        parts.append(f"after {event.duration:.1f} s" + _way(event.direction))
    return "  ".join(parts)


def _happening(event: Event) -> str:
    if event.type is not EventType.UPDATE:
        return _WORDS[event.type]
    crossed = [f"crossed {crossing.line} {crossing.direction}" for crossing in event.crossings]
    others = [change.value.replace("_", " ") for change in event.changes if change is not Change.LINE_CROSSED]
    return ", ".join(crossed + others)


def _way(direction: float | None) -> str:
    return "" if direction is None else f", moving {_COMPASS[round(direction / 45.0) % 8]}"
