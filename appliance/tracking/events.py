"""The life of one object, from its first sight to its end, and the events that tell of it."""

from collections.abc import Sequence
from typing import NamedTuple

from appliance.core.events import Change, Crossing, Event, EventType
from appliance.tracking.motion import Rest, Vector, direction_of
from appliance.tracking.zones import Passage, Presence

Box = tuple[float, float, float, float]


class Sight(NamedTuple):
    """One object in one frame.

    Attributes:
        class_id: What it is held to be, by all that was seen so far.
        score: 0..1.
        box: xyxy in pixels.
        size: Mean of the box's width and height in pixels, more than 0.
        centre: Middle of the box, 0..1 of the picture.
        foot: Bottom centre of the box, where the object touches the ground, 0..1 of the picture.
        width: Of the frame in pixels.
        height: Of the frame in pixels.
        time_ns: UTC, nanoseconds since 1970.
        mono_ns: CLOCK_BOOTTIME, nanoseconds.
    """

    class_id: int
    score: float
    box: Box
    size: float
    centre: Vector
    foot: Vector
    width: int
    height: int
    time_ns: int
    mono_ns: int


class Timing(NamedTuple):
    """When there is something to tell.

    Attributes:
        stationary_after_ns: How long an object must stay in place to count as stationary.
        update_interval_ns: Least time from the last event to one that only brings a better score.
    """

    stationary_after_ns: int
    update_interval_ns: int


class TrackedObject(NamedTuple):
    """One object that is being followed, as it was last seen.

    Attributes:
        object_id: As in its events.
        label: The class most often seen for it, weighted by score, within the group most often seen.
        group: The group that `label` is in, if any.
        class_id: Index of `label` in the model's labels.
        score: 0..1.
        box: xyxy in pixels of the source frame.
        zones: Zones it is in.
        is_stationary: It has not moved for as long as the configuration asks.
        is_visible: It was seen in this very frame.
    """

    object_id: str
    label: str
    group: str | None
    class_id: int
    score: float
    box: Box
    zones: tuple[str, ...]
    is_stationary: bool
    is_visible: bool


class Life:
    """What is known of one object so far, and what of it has been told. Tells nothing before `start`."""

    __slots__ = (
        "_changes",
        "_crossings",
        "_first",
        "_last",
        "_passage",
        "_presence",
        "_rest",
        "_timing",
        "_told_best",
        "_told_label",
        "_told_ns",
        "best_score",
        "camera",
        "group",
        "label",
        "object_id",
    )

    def __init__(self, camera: str, first: Sight, timing: Timing, presence: Presence, passage: Passage) -> None:
        self.camera = camera
        self.object_id = ""
        self.label = ""
        self.group: str | None = None
        self.best_score = first.score
        self._first = self._last = first
        self._timing = timing
        self._presence, self._passage = presence, passage
        self._rest = Rest(timing.stationary_after_ns, first.centre, first.mono_ns)
        self._changes: list[Change] = []
        self._crossings: list[Crossing] = []
        self._told_best, self._told_ns, self._told_label = 0.0, 0, ""

    @property
    def has_started(self) -> bool:
        """Whether its start has been told."""
        return bool(self.object_id)

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones it is in, in order of entry."""
        return tuple(self._presence.since_ns)

    def see(self, sight: Sight, label: str, group: str | None, holding: list[bool], sides: list[int]) -> None:
        """Take in one sight.

        Args:
            sight: How it looks in this frame.
            label: Of ``sight.class_id``.
            group: The group that `label` is in, if any.
            holding: For each zone whether it stands in it.
            sides: For each line the side on which it stands; see `Lines.sides`.
        """
        self._last, self.label, self.group = sight, label, group
        self.best_score = max(self.best_score, sight.score)
        if holding and (changes := self._presence.see(holding, sight.mono_ns)):
            self._changes += changes
        if sides and (crossings := self._passage.see(sides, sight.foot, sight.class_id)):
            self._crossings += crossings
            self._changes.append(Change.LINE_CROSSED)
        if change := self._rest.see(sight.centre, (sight.width / sight.size, sight.height / sight.size), sight.mono_ns):
            self._changes.append(change)

    def start(self, object_id: str) -> Event:
        """Tell of the object for the first time; what changed until now is told by the next `updates`."""
        self.object_id = object_id
        event = self._event(EventType.START)
        self._note_told()
        return event

    def updates(self) -> Sequence[Event]:
        """Tell what has changed since the last event, if there is a reason to.

        Another label is told with whatever else there is to tell; by itself it is a reason as seldom as a better score.
        """
        is_due = self._last.mono_ns - self._told_ns >= self._timing.update_interval_ns
        if self.label != self._told_label and (is_due or self._changes):
            self._changes.append(Change.RELABELLED)
        if is_due and self.best_score > self._told_best:
            self._changes.append(Change.BETTER_SCORE)
        if not self._changes:
            return ()
        event = self._event(EventType.UPDATE, tuple(dict.fromkeys(self._changes)), tuple(self._crossings))
        self._changes.clear()
        self._crossings.clear()
        self._note_told()
        return (event,)

    def _note_told(self) -> None:
        self._told_best, self._told_ns, self._told_label = self.best_score, self._last.mono_ns, self.label

    def end(self) -> Event:
        """Tell of the end, as of the last sight."""
        return self._event(EventType.END)

    def as_object(self, *, is_visible: bool) -> TrackedObject:
        """Give the object as it is now."""
        last = self._last
        return TrackedObject(
            self.object_id,
            self.label,
            self.group,
            last.class_id,
            last.score,
            last.box,
            self.zones,
            self._rest.is_stationary,
            is_visible,
        )

    def _event(self, kind: EventType, changes: tuple[Change, ...] = (), crossings: tuple[Crossing, ...] = ()) -> Event:
        first, last = self._first, self._last
        (x, y), (first_x, first_y) = last.centre, first.centre
        return Event(
            type=kind,
            camera=self.camera,
            object_id=self.object_id,
            label=self.label,
            group=self.group,
            class_id=last.class_id,
            score=last.score,
            best_score=self.best_score,
            box=last.box,
            width=last.width,
            height=last.height,
            time_ns=last.time_ns,
            mono_ns=last.mono_ns,
            # by the clock that never steps: UTC may have been set since the first sight
            start_time_ns=last.time_ns - (last.mono_ns - first.mono_ns),
            duration=(last.mono_ns - first.mono_ns) / 1e9,
            changes=changes,
            zones=self.zones,
            entered_zones=tuple(self._presence.entered),
            dwell=tuple((last.mono_ns - since_ns) / 1e9 for since_ns in self._presence.since_ns.values()),
            crossings=crossings,
            stationary=self._rest.is_stationary,
            direction=direction_of(((x - first_x) * last.width, (y - first_y) * last.height), last.size),
        )
