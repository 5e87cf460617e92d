"""A stage for scripted scenes: actors are placed by where their feet are, frame after frame."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from appliance.config import Line, TrackingSettings, Zone
from appliance.core.events import Change, Event, EventType
from appliance.core.results import Detections
from appliance.core.vocabulary import Vocabulary, default_groups
from appliance.tracking.scene import Scene, SceneStep

LABELS = ("person", "bicycle", "car", "dog", "bus", "truck")
VOCABULARY = Vocabulary(LABELS, default_groups(LABELS))
UTC_NS = 1_790_000_000_000_000_000
LEFT_HALF = Zone(points=((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
MIDDLE = Line(points=((0.5, 0.0), (0.5, 1.0)))  # drawn downwards: its right hand is the left of the picture


@dataclass(frozen=True)
class Actor:
    """One detection, its feet at (x, y) in pixels."""

    x: float
    y: float
    wide: float = 40.0
    high: float = 100.0
    score: float = 0.8
    label: str = "person"


def detections(actors: Iterable[Actor]) -> Detections:
    ranked = sorted(actors, key=lambda actor: -actor.score)
    boxes = [(a.x - a.wide / 2, a.y - a.high, a.x + a.wide / 2, a.y) for a in ranked]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([a.score for a in ranked], np.float32),
        np.array([LABELS.index(a.label) for a in ranked], np.int32),
    )


@dataclass
class Stage:
    """A scene of 1000 x 1000 pixels at 10 frames a second, and all that it told."""

    settings: TrackingSettings = field(default_factory=TrackingSettings)
    zones: Mapping[str, Zone] = field(default_factory=dict)
    lines: Mapping[str, Line] = field(default_factory=dict)
    seconds: float = 0.1
    size: tuple[int, int] = (1000, 1000)
    mono_ns: int = 5_000_000_000
    utc_ns: int = UTC_NS
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scene = Scene(
            "door", VOCABULARY, self.settings, dict(self.zones), dict(self.lines), high_score=0.4, run="r1"
        )

    def play(self, *actors: Actor, times: int = 1) -> SceneStep:
        """Show the same actors in so many frames; give the last step."""
        step = SceneStep()
        for _ in range(times):
            self.mono_ns += round(self.seconds * 1e9)
            step = self.scene.step(
                detections(actors),
                width=self.size[0],
                height=self.size[1],
                time_ns=self.utc_ns + self.mono_ns,
                mono_ns=self.mono_ns,
            )
            self.events += step.events
        return step

    def close(self) -> None:
        self.events += self.scene.finish().events

    def of(self, kind: EventType) -> list[Event]:
        return [event for event in self.events if event.type is kind]

    def changes(self) -> list[Change]:
        return [change for event in self.events for change in event.changes]


def walk(stage: Stage, start: Actor, step: tuple[float, float], frames: int) -> None:
    """Show an actor who goes a step further in each frame."""
    for at in range(frames):
        stage.play(replace(start, x=start.x + at * step[0], y=start.y + at * step[1]))
