"""What moves in the drawn street, and where: pure functions of seed and time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, takewhile

CAMERA_HEIGHT = 2.6  # metres above the road
HORIZON = 0.42  # of the picture's height, from the top
FOCAL = 0.9  # of the picture's width: 58 degrees across
HOUSES_AT = 18.4  # metres from the camera
KERBS_AT = (9.4, 15.7)  # near and far edge of the road, metres
_EARLIER = 64  # objects of a row that entered before time 0 and may be in view then


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera that looks straight across the street.

    Attributes:
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
    """

    width: int
    height: int

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return FOCAL * min(self.width, self.height * 16 / 9)

    def scale(self, depth: float) -> float:
        """Pixels a metre at `depth` metres."""
        return self.focal / depth

    def ground(self, x: float, depth: float) -> tuple[float, float]:
        """Give the pixel (x, y) of the point on the ground `x` metres right of the middle."""
        return self.width / 2 + self.focal * x / depth, self.height * HORIZON + self.focal * CAMERA_HEIGHT / depth

    def reach(self, depth: float) -> float:
        """Metres that are visible to either side of the middle at `depth`."""
        return self.width / 2 / self.scale(depth)


@dataclass(frozen=True, slots=True)
class Row:
    """A line along the street on which objects follow each other.

    Attributes:
        depth: Metres from the camera.
        direction: 1: to the right; -1: to the left.
        speed: Metres a second: the same for all vehicles of a row, so that they never run into each other.
        gap: Seconds from one object to the next, on average.
        kinds: What comes by, one of these by chance.
    """

    depth: float
    direction: int
    speed: float
    gap: float
    kinds: tuple[str, ...]


ROWS = (
    Row(17.0, 1, 1.2, 10.0, ("person",)),
    Row(16.4, -1, 1.3, 9.0, ("person",)),
    Row(15.0, -1, 3.6, 17.0, ("bicycle",)),
    Row(13.8, -1, 4.6, 5.6, ("car", "bus", "car", "truck", "car")),
    Row(11.2, 1, 4.2, 6.2, ("car", "car", "truck", "car", "car")),
    Row(9.9, 1, 3.4, 19.0, ("bicycle",)),
    Row(8.8, 1, 1.3, 11.0, ("person",)),
    Row(8.2, -1, 1.2, 10.0, ("person",)),
    Row(7.6, 1, 1.1, 14.0, ("person",)),
)
LENGTHS = {"person": 0.9, "bicycle": 1.75, "car": 4.3, "truck": 7.4, "bus": 10.5}  # metres


@dataclass(frozen=True, slots=True)
class Actor:
    """One figure at one moment.

    Attributes:
        label: Its COCO class; the rider of a bicycle is a person of their own.
        number: The same in every frame, and of no other figure in this street.
        look: Decides on colours and shape; 0 to 4095.
        depth: Metres from the camera.
        x: Metres right of the middle.
        direction: 1: faces right; -1: left.
        phase: Place in the cycle of walking or pedalling, 0..1.
        is_standing: It has stopped for a while.
        is_rider: A person who sits on a bicycle.
    """

    label: str
    number: int
    look: int
    depth: float
    x: float
    direction: int
    phase: float
    is_standing: bool = False
    is_rider: bool = False


def actors_at(view: View, seed: int, time: float) -> list[Actor]:
    """Give the figures in view, those farthest from the camera first: the order in which to draw them.

    Args:
        view: The camera.
        seed: Which street.
        time: Seconds from its beginning, from 0.
    """
    found: list[Actor] = []
    for index in range(len(ROWS)):
        found += _row_at(view, seed, time, index)
    return found


def _row_at(view: View, seed: int, time: float, index: int) -> Iterator[Actor]:
    row = ROWS[index]
    newest = int(time // row.gap)
    for place in takewhile(lambda place: place > -_EARLIER, count(newest, -1)):
        if (newest - place) * row.gap > _longest_stay(view, row):
            return
        yield from _actor_at(view, time, index, place, _Chance(seed, index, place))


def _longest_stay(view: View, row: Row) -> float:
    way = 2 * view.reach(row.depth) + max(LENGTHS[kind] for kind in row.kinds)
    return way / (row.speed * 0.8) + 8.0 + row.gap


def _actor_at(view: View, time: float, index: int, place: int, chance: "_Chance") -> Iterator[Actor]:
    """Give the object that entered row `index` as number `place`, if it is in view at `time`."""
    row = ROWS[index]
    kind = row.kinds[int(chance.give() * len(row.kinds))]
    look = int(chance.give() * 4096)
    since = time - (place + chance.give() * 0.5) * row.gap
    speed = row.speed * (0.85 + 0.3 * chance.give() if kind == "person" else 1.0)
    reach = view.reach(row.depth) + LENGTHS[kind] / 2
    stop_after = 2 * reach / speed * (0.3 + 0.4 * chance.give())
    stop_for = 3.0 + 4.0 * chance.give() if kind == "person" and chance.give() < 0.2 else 0.0  # noqa: PLR2004 - a fifth
    is_standing = stop_after <= since < stop_after + stop_for
    moving = min(since, stop_after) + max(0.0, since - stop_after - stop_for)
    way = speed * moving
    if since < 0 or way > 2 * reach:
        return
    x = row.direction * (way - reach)
    number = ((place + _EARLIER) * len(ROWS) + index) * 2
    if kind == "person":
        yield Actor(kind, number, look, row.depth, x, row.direction, way / 1.45 % 1.0, is_standing)
        return
    yield Actor(kind, number, look, row.depth, x, row.direction, 0.0)
    if kind == "bicycle":
        yield Actor("person", number + 1, look, row.depth, x, row.direction, way / 4.0 % 1.0, is_rider=True)


class _Chance:
    """Random numbers that depend on nothing but the key: splitmix64 (Steele, Lea and Flood, 2014)."""

    def __init__(self, *key: int) -> None:
        self._state = 0
        for part in key:
            self._state = (self._state * 0x100000001B3 + part + 0x9E3779B9) & 0xFFFFFFFFFFFFFFFF
            self.give()

    def give(self) -> float:
        """Give a number of 0 and more, below 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = self._state
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        return ((mixed ^ mixed >> 31) >> 11) / (1 << 53)
