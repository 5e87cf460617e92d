"""Areas and lines in the picture: who is inside, for how long, and who crosses."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.config import Line, Zone
from appliance.core.events import Change, Crossing
from appliance.core.vocabulary import Vocabulary

LINE_MARGIN = 0.05  # heights of the object's box: nearer to a line it is on neither side, so jitter crosses nothing

LEAST_LENGTH = 1e-9  # pixels; keeps a line of no length from dividing by zero


def inside(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which points lie in a polygon, by the even-odd rule; self-intersecting ones are accepted.

    A point on the border belongs to one side only, so that zones which share a border never share a point
    (W. R. Franklin, "PNPOLY", 1970).

    Args:
        points: Shape (N, 2).
        polygon: Shape (K, 2), corners in order, not closed.
    """
    return _odd(points, _edges(polygon), np.zeros(1, np.intp))[:, 0]


def _edges(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the edges of a polygon as (y of one end, y of the other, x at y = 0, x for each y): shape (4, K)."""
    (x1, y1), (x2, y2) = polygon.T, np.roll(polygon, -1, axis=0).T
    slope = (x2 - x1) / np.where(y2 == y1, 1.0, y2 - y1)  # a level edge spans nothing, so that its slope is not asked
    return np.stack((y1, y2, x1 - slope * y1, slope))


def _odd(points: NDArray[np.float64], edges: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which points have an odd number of edges to their right: shape (N, P), for polygons from `starts`, (P,)."""
    x, y = points[:, :1], points[:, 1:]
    first, last, at_zero, slope = edges
    passes = ((first > y) != (last > y)) & (x < at_zero + slope * y)
    return np.logical_xor.reduceat(passes, starts, axis=1)


class Zones:
    """The zones of one camera."""

    def __init__(self, zones: Mapping[str, Zone], vocabulary: Vocabulary) -> None:
        """Prepare the zones of a camera whose model has this vocabulary."""
        self.names = tuple(zones)
        self.inertia = tuple(zone.inertia for zone in zones.values())
        self.dwell_ns = tuple(round(zone.dwell * 1e9) for zone in zones.values())
        edges = [_edges(np.array(zone.points)) for zone in zones.values()]
        self._edges = np.concatenate([np.empty((4, 0)), *edges], axis=1)
        self._starts = np.cumsum([0, *(edge.shape[1] for edge in edges)])[:-1]
        self._counts_for = _table([zone.labels for zone in zones.values()], vocabulary)

    def __len__(self) -> int:
        return len(self.names)

    def holding(self, points: NDArray[np.float64], class_ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Tell which zones each object stands in.

        Args:
            points: Shape (N, 2), where the objects touch the ground, 0..1.
            class_ids: Shape (N,).

        Returns:
            Shape (N, zones).
        """
        return _odd(points, self._edges, self._starts) & self._counts_for.take(class_ids, axis=0)


class Presence:
    """In which zones one object is, with inertia and dwell."""

    __slots__ = ("_awaiting", "_settled", "_streaks", "_zones", "entered", "since_ns")

    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        self._settled = [False] * len(zones)
        self._streaks: dict[int, tuple[int, int]] = {}  # zone: frames in a row, first of them
        self._awaiting: dict[int, int] = {}  # zone: when its dwell is reached
        self.since_ns: dict[str, int] = {}
        """The zones it is in, in order of entry, and since when."""
        self.entered: list[str] = []
        """Every zone it was in so far, in order of the first entry."""

    def see(self, holding: list[bool], mono_ns: int) -> list[Change]:
        """Take in one sight of the object and give what changed.

        Args:
            holding: For each zone whether the object stands in it in this frame.
            mono_ns: When.
        """
        changes: list[Change] = []
        if holding != self._settled or self._streaks:
            for zone, (now, before) in enumerate(zip(holding, self._settled, strict=True)):
                if now == before:
                    self._streaks.pop(zone, None)
                    continue
                frames, since_ns = self._streaks.get(zone, (0, mono_ns))
                self._streaks[zone] = (frames + 1, since_ns)
                if frames + 1 >= self._zones.inertia[zone]:
                    del self._streaks[zone]
                    changes.append(self._enter(zone, since_ns) if now else self._leave(zone))
        if self._awaiting:
            for zone, due_ns in list(self._awaiting.items()):
                if mono_ns >= due_ns:
                    del self._awaiting[zone]
                    changes.append(Change.DWELL)
        return changes

    def _enter(self, zone: int, since_ns: int) -> Change:
        name = self._zones.names[zone]
        self._settled[zone] = True
        self.since_ns[name] = since_ns
        if name not in self.entered:
            self.entered.append(name)
        if self._zones.dwell_ns[zone]:
            self._awaiting[zone] = since_ns + self._zones.dwell_ns[zone]
        return Change.ZONE_ENTERED

    def _leave(self, zone: int) -> Change:
        self._settled[zone] = False
        del self.since_ns[self._zones.names[zone]]
        self._awaiting.pop(zone, None)
        return Change.ZONE_LEFT


class Lines:
    """The lines of one camera."""

    def __init__(self, lines: Mapping[str, Line], vocabulary: Vocabulary) -> None:
        """Prepare the lines of a camera whose model has this vocabulary."""
        self.names = tuple(lines)
        ends = np.array([line.points for line in lines.values()]).reshape(-1, 2, 2)
        self._firsts, self._ways = ends[:, 0], ends[:, 1] - ends[:, 0]
        self._size: tuple[int, int] | None = None  # of the frame that the next two are for
        self._normals, self._offsets = np.empty((2, 0)), np.empty(0)
        self.counts_for = _table([line.labels for line in lines.values()], vocabulary).tolist()

    def __len__(self) -> int:
        return len(self.names)

    def sides(
        self, points: NDArray[np.float64], heights: NDArray[np.float64], width: int, height: int
    ) -> NDArray[np.int8]:
        """Tell on which side of each line the objects stand: 1 right, -1 left, 0 too near to tell.

        Args:
            points: Shape (N, 2), where the objects touch the ground, 0..1.
            heights: Shape (N,), of their boxes in pixels.
            width: Of the frame in pixels.
            height: Of the frame in pixels.

        Returns:
            Shape (N, lines).
        """
        if self._size != (width, height):
            self._measure(width, height)
        distances = points.dot(self._normals) + self._offsets
        margins = LINE_MARGIN * heights[:, None]
        sides: NDArray[np.int8] = (distances > margins).view(np.int8) - (distances < -margins).view(np.int8)
        return sides

    def _measure(self, width: int, height: int) -> None:
        """Prepare to turn a place, 0..1, into its distances from the lines in pixels, positive to the right."""
        self._size = (width, height)
        lengths = np.hypot(self._ways[:, 0] * width, self._ways[:, 1] * height)
        # y runs down, so the cross product is positive on the right; a line of no length has no sides
        normals = np.stack((-self._ways[:, 1], self._ways[:, 0])) * (width * height / np.maximum(lengths, LEAST_LENGTH))
        self._normals, self._offsets = normals, -(normals * self._firsts.T).sum(axis=0)

    def meets(self, line: int, start: tuple[float, float], end: tuple[float, float]) -> bool:
        """Tell whether the way from `start` to `end`, which lie on two sides of the line, leads through the line."""
        first, way = self._firsts[line], self._ways[line]
        step = np.subtract(end, start)
        across = way[0] * step[1] - way[1] * step[0]
        if across == 0.0:
            return False
        offset = start - first
        return bool(0.0 <= (offset[0] * step[1] - offset[1] * step[0]) / across <= 1.0)


class Passage:
    """Which lines one object crosses.

    It counts from the last place clearly on one side to the first clearly on the other, once: an object that
    dithers on the line, or turns back on it, crosses nothing.
    """

    __slots__ = ("_lines", "_places", "_sides")

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._sides = [0] * len(lines)
        self._places = [(0.0, 0.0)] * len(lines)

    def see(self, sides: list[int], point: tuple[float, float], class_id: int) -> list[Crossing]:
        """Take in one sight of the object and give the lines it has crossed.

        Args:
            sides: For each line the side on which it stands in this frame.
            point: Where it touches the ground, 0..1.
            class_id: What it is held to be.
        """
        if sides == self._sides:
            self._places = [point] * len(sides)
            return []
        crossings: list[Crossing] = []
        for line, side in enumerate(sides):
            if side == 0:
                continue
            before, self._sides[line] = self._sides[line], side
            start, self._places[line] = self._places[line], point
            if before == -side and self._lines.counts_for[class_id][line] and self._lines.meets(line, start, point):
                crossings.append(Crossing(self._lines.names[line], "in" if side > 0 else "out"))
        return crossings


def _table(wanted: Sequence[Sequence[str]], vocabulary: Vocabulary) -> NDArray[np.bool_]:
    """Tell for each class which of the places want it: shape (classes, places)."""
    columns = [vocabulary.wanted(names) for names in wanted]
    return np.array(columns, np.bool_).reshape(len(wanted), len(vocabulary.labels)).T
