"""What goes on in front of one camera: detections in, events and counts out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from appliance.config import Line, TrackingSettings, Zone, check_places
from appliance.core.events import Event
from appliance.core.results import Detections
from appliance.core.vocabulary import Vocabulary
from appliance.tracking.events import Life, Sight, Timing, TrackedObject
from appliance.tracking.kinship import Kinship
from appliance.tracking.tracker import Tracker, Tracks
from appliance.tracking.zones import Lines, Passage, Presence, Zones

# (x, y of the centre, y of the foot, mean of width and height) = xyxy @ _TO_PLACES
_TO_PLACES = np.array(((0.5, 0.0, 0.0, -0.5), (0.0, 0.5, 0.0, -0.5), (0.5, 0.0, 0.0, 0.5), (0.0, 0.5, 1.0, 0.5)))


@dataclass(frozen=True, slots=True)
class SceneStep:
    """What one frame brought.

    Attributes:
        events: In order: ends of objects lost, then for each object its start and its updates.
        objects: Every object that has started and not ended, seen in this frame or not, oldest first.
        counts: How many of `objects` there are of each label; a label once seen stays, at 0.
        zone_counts: The same for every zone.
        group_counts: How many there are of each group of labels; a group once seen stays, at 0.
        zone_group_counts: The same for every zone.
    """

    events: tuple[Event, ...] = ()
    objects: tuple[TrackedObject, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    zone_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    group_counts: Mapping[str, int] = field(default_factory=dict)
    zone_group_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class Scene:
    """Turns the detections of one camera into the lives of objects. Owned by one thread.

    Every object that is confirmed has exactly one start and exactly one end, with updates between; tentative ones
    leave no trace. What an object did before it was confirmed is told right after its start.
    """

    def __init__(
        self,
        camera: str,
        vocabulary: Vocabulary,
        settings: TrackingSettings,
        zones: Mapping[str, Zone],
        lines: Mapping[str, Line],
        *,
        high_score: float,
        run: str,
    ) -> None:
        """Begin with an empty scene.

        Args:
            camera: Name of the camera.
            vocabulary: The model's labels and groups.
            settings: Of the tracker.
            zones: Of this camera, by name.
            lines: Of this camera, by name.
            high_score: Detections from this score on may become objects.
            run: Different for every start of the daemon, so that no object's id is ever used again.

        Raises:
            ConfigError: A zone or line is for a label that is neither one of the model's nor a group.
        """
        check_places(camera, zones, lines, vocabulary)
        self._camera, self._run = camera, run
        self._names = [(label, vocabulary.group_of(label)) for label in vocabulary.labels]
        self._timing = Timing(round(settings.stationary_after * 1e9), round(settings.update_interval * 1e9))
        self._zones, self._lines = Zones(zones, vocabulary), Lines(lines, vocabulary)
        self._tracker = Tracker(settings, high_score, kinship=Kinship(vocabulary))
        self._lives: dict[int, Life] = {}
        self._started = 0
        self._last_ns = 0
        self._size: tuple[int, int] | None = None
        self._to_places = _TO_PLACES
        self._tally = _Tally()
        self._zone_tallies = {name: _Tally() for name in self._zones.names}
        self._quiet = self._summary([], [])

    @property
    def lost_after(self) -> float:
        """Seconds that an object may be unseen before it ends: as configured, or longer where frames are far apart."""
        return self._tracker.lost_after_ns / 1e9

    def set_high_score(self, high_score: float) -> None:
        """Let detections become objects, from the next frame on, that have this score."""
        self._tracker.set_high_score(high_score)

    def step(self, detections: Detections, *, width: int, height: int, time_ns: int, mono_ns: int) -> SceneStep:
        """Take in the next frame.

        Args:
            detections: What was found, weak ones included.
            width: Of the frame in pixels; may change from frame to frame.
            height: Of the frame in pixels.
            time_ns: UTC of the frame, nanoseconds since 1970.
            mono_ns: CLOCK_BOOTTIME of the frame, nanoseconds; one from before the last frame counts as simultaneous.
        """
        mono_ns = self._last_ns = max(mono_ns, self._last_ns)
        if not self._lives and not len(detections):
            self._tracker.update(detections, mono_ns)  # it has nothing, and learns how far apart the frames are
            return self._quiet
        if self._size != (width, height):
            self._resize(width, height)
        tracks = self._tracker.update(detections, mono_ns)
        events = [event for track in tracks.ended.tolist() for event in self._end(track)]
        self._see(tracks, time_ns, mono_ns)
        objects: list[TrackedObject] = []
        rows = zip(tracks.ids.tolist(), tracks.is_confirmed.tolist(), tracks.is_seen.tolist(), strict=True)
        for track, is_confirmed, is_seen in rows:
            if is_confirmed:
                life = self._lives[track]
                if is_seen:
                    events += self._tell(life)
                objects.append(life.as_object(is_visible=is_seen))
        step = self._summary(events, objects)
        if not self._lives:
            self._quiet = replace(step, events=(), objects=())
        return step

    def finish(self) -> SceneStep:
        """End every object, as of its last sight: the daemon stops, or the camera is gone for long.

        The scene is then empty and can be used again.
        """
        self._tracker.clear()
        events = [event for track in list(self._lives) for event in self._end(track)]
        self._quiet = self._summary([], [])
        return self._summary(events, [])

    def _resize(self, width: int, height: int) -> None:
        if self._size is not None:
            self._tracker.rescale(width / self._size[0], height / self._size[1])
        self._size = (width, height)
        self._to_places = _TO_PLACES / (width, height, height, 1)

    def _see(self, tracks: Tracks, time_ns: int, mono_ns: int) -> None:
        rows = np.flatnonzero(tracks.is_seen)
        if self._size is None or not len(rows):
            return
        width, height = self._size
        boxes, class_ids = tracks.boxes[rows].astype(np.float64), tracks.class_ids[rows]
        places = boxes.dot(self._to_places)
        holding, sides = self._where(boxes, places[:, ::2], class_ids)
        seen = (tracks.ids[rows], class_ids, tracks.scores[rows], boxes, places)
        sights = zip(*(column.tolist() for column in seen), holding, sides, strict=True)
        for track, class_id, score, box, (x, y, foot, size), held, side in sights:
            sight = Sight(class_id, score, tuple(box), size or 1.0, (x, y), (x, foot), width, height, time_ns, mono_ns)
            life = self._lives.get(track)
            if life is None:
                life = Life(self._camera, sight, self._timing, Presence(self._zones), Passage(self._lines))
                self._lives[track] = life
            label, group = self._names[class_id]
            life.see(sight, label, group, held, side)

    def _where(
        self, boxes: NDArray[np.float64], feet: NDArray[np.float64], class_ids: NDArray[np.int32]
    ) -> tuple[list[list[bool]], list[list[int]]]:
        """Tell in which zones, and on which sides of the lines, the boxes stand: a list for each box."""
        holding: list[list[bool]] = [[]] * len(boxes)
        sides: list[list[int]] = [[]] * len(boxes)
        if self._size is None or not (len(self._zones) or len(self._lines)):
            return holding, sides
        if len(self._zones):
            holding = self._zones.holding(feet, class_ids).tolist()
        if len(self._lines):
            sides = self._lines.sides(feet, boxes[:, 3] - boxes[:, 1], *self._size).tolist()
        return holding, sides

    def _tell(self, life: Life) -> list[Event]:
        events: list[Event] = []
        if not life.has_started:
            self._started += 1
            events.append(life.start(f"{self._camera}-{self._run}-{self._started}"))
        events += life.updates()
        return events

    def _end(self, track: int) -> list[Event]:
        life = self._lives.pop(track)
        return [life.end()] if life.has_started else []

    def _summary(self, events: list[Event], objects: list[TrackedObject]) -> SceneStep:
        inside: dict[str, list[TrackedObject]] = {zone: [] for zone in self._zone_tallies}
        for thing in objects:
            for zone in thing.zones:
                inside[zone].append(thing)
        counts, group_counts = self._tally.count(objects)
        zone_counts = {zone: tally.count(inside[zone]) for zone, tally in self._zone_tallies.items()}
        return SceneStep(
            tuple(events),
            tuple(objects),
            counts,
            {zone: labels for zone, (labels, _) in zone_counts.items()},
            group_counts,
            {zone: groups for zone, (_, groups) in zone_counts.items()},
        )


class _Tally:
    """How many objects there are of each label and of each group; one that was seen once stays, at 0."""

    def __init__(self) -> None:
        self._labels: dict[str, int] = {}
        self._groups: dict[str, int] = {}

    def count(self, objects: Iterable[TrackedObject]) -> tuple[Mapping[str, int], Mapping[str, int]]:
        labels, groups = dict.fromkeys(self._labels, 0), dict.fromkeys(self._groups, 0)
        for thing in objects:
            labels[thing.label] = labels.get(thing.label, 0) + 1
            if thing.group is not None:
                groups[thing.group] = groups.get(thing.group, 0) + 1
        self._labels, self._groups = labels, groups
        return labels, groups
