import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from appliance.config import Line, Zone
from appliance.core.events import Change, Crossing
from appliance.core.vocabulary import Vocabulary
from appliance.tracking.zones import Lines, Passage, Presence, Zones, inside

VOCABULARY = Vocabulary(("person", "car", "truck"), {"vehicle": ("car", "truck")})
SQUARE = np.array(((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)))
POINTS = st.tuples(st.floats(0, 1), st.floats(0, 1))


@given(st.integers(0, 2**32), st.integers(3, 12))
@settings(max_examples=100, deadline=None)
def test_inside_agrees_with_opencv(seed: int, corners: int) -> None:
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * math.pi, corners))  # a star: concave, but it does not cross itself
    radii = random.uniform(0.1, 0.5, corners)
    polygon = 0.5 + np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=1)
    points = random.random((50, 2))
    distances = np.array(
        [cv2.pointPolygonTest(polygon.astype(np.float32), tuple(point), measureDist=True) for point in points.tolist()]
    )
    clear = np.abs(distances) > 1e-5  # OpenCV counts in float32
    assert (inside(points, polygon) == (distances > 0))[clear].all()


def test_a_shared_border_belongs_to_one_zone_only() -> None:
    grid = np.stack(np.meshgrid(np.linspace(0.05, 0.95, 19), np.linspace(0.05, 0.95, 19)), axis=-1).reshape(-1, 2)
    left = np.array(((0, 0), (0.5, 0), (0.5, 1), (0, 1)), float)
    assert (inside(grid, left) ^ inside(grid, left + np.array((0.5, 0)))).all()


def test_a_polygon_without_area_holds_nothing() -> None:
    flat = np.array(((0.2, 0.5), (0.8, 0.5), (0.5, 0.5)))
    assert not inside(np.array(((0.5, 0.5), (0.5, 0.4), (0.1, 0.5))), flat).any()


def zones(*wanted: Zone) -> Zones:
    return Zones({f"zone{at}": zone for at, zone in enumerate(wanted)}, VOCABULARY)


def square(**values: object) -> Zone:
    return Zone(points=tuple(map(tuple, SQUARE.tolist())), **values)


def test_zones_hold_only_the_labels_they_are_for() -> None:
    some = zones(square(), square(labels=("car",)), square(labels=("vehicle",)), square(labels=("person", "truck")))
    points = np.array(((0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.9, 0.5)))
    held = some.holding(points, np.array((0, 1, 2, 1), np.int32))
    assert held.tolist() == [
        [True, False, False, True],
        [True, True, True, False],
        [True, False, True, True],
        [False, False, False, False],
    ]


def test_several_zones_are_told_as_each_alone() -> None:
    random = np.random.default_rng(5)
    polygons = [random.random((corners, 2)) for corners in (3, 7, 4, 5)]
    points = random.random((200, 2))
    some = zones(*(Zone(points=tuple(map(tuple, polygon.tolist()))) for polygon in polygons))
    held = some.holding(points, np.zeros(200, np.int32))
    assert (held == np.stack([inside(points, polygon) for polygon in polygons], axis=1)).all()


def test_presence_dates_the_entry_at_the_first_frame_inside() -> None:
    presence = Presence(zones(square(inertia=3, dwell=1.0)))
    told = {at: presence.see([True], at * 100_000_000) for at in range(1, 15)}
    assert {at: changes for at, changes in told.items() if changes} == {
        3: [Change.ZONE_ENTERED],
        11: [Change.DWELL],
    }
    assert presence.since_ns == {"zone0": 100_000_000}


def test_who_leaves_before_the_dwell_is_reached_is_not_told() -> None:
    presence = Presence(zones(square(inertia=1, dwell=1.0)))
    told = [presence.see([at < 5], at * 100_000_000) for at in range(30)]
    assert [changes for changes in told if changes] == [[Change.ZONE_ENTERED], [Change.ZONE_LEFT]]


def test_a_new_visit_is_told_anew_but_listed_once() -> None:
    presence = Presence(zones(square(inertia=1)))
    told = [presence.see([held], at) for at, held in enumerate((True, False, True))]
    assert told == [[Change.ZONE_ENTERED], [Change.ZONE_LEFT], [Change.ZONE_ENTERED]]
    assert presence.entered == ["zone0"]


def walk(line: Line, path: list[tuple[float, float]], high: float = 0.1, size: tuple[int, int] = (1000, 500)) -> str:
    """Give the directions in which someone who goes along the path crosses the line."""
    lines = Lines({"line": line}, VOCABULARY)
    passage = Passage(lines)
    told = ""
    for point in path:
        sides = lines.sides(np.array((point,)), np.array((high * size[1],)), *size).tolist()[0]
        told += "".join(crossing.direction + " " for crossing in passage.see(sides, point, 0))
    return told.strip()


DOWN = Line(points=((0.5, 0.2), (0.5, 0.8)))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ([(0.7, 0.5), (0.3, 0.5)], "in"),
        ([(0.3, 0.5), (0.7, 0.5)], "out"),
        ([(0.3, 0.5), (0.7, 0.5), (0.3, 0.5)], "out in"),
        ([(0.3, 0.5), (0.5, 0.5), (0.7, 0.5)], "out"),
        ([(0.3, 0.5), (0.5, 0.5), (0.3, 0.5)], ""),
        ([(0.3, 0.5), (0.502, 0.5), (0.498, 0.5), (0.502, 0.5), (0.498, 0.5)], ""),
        ([(0.3, 0.1), (0.7, 0.1)], ""),
        ([(0.3, 0.5), (0.3, 0.1), (0.7, 0.1), (0.7, 0.5)], ""),
        ([(0.5, 0.5), (0.7, 0.5)], ""),
        ([(0.3, 0.1), (0.7, 0.9)], "out"),
    ],
)
def test_a_crossing_is_told_once_and_with_its_direction(path: list[tuple[float, float]], told: str) -> None:
    assert walk(DOWN, path) == told


def test_in_is_from_left_to_right_along_the_line_as_drawn() -> None:
    to_the_right = Line(points=((0.2, 0.5), (0.8, 0.5)))  # its right hand points down
    assert walk(to_the_right, [(0.5, 0.2), (0.5, 0.9)]) == "in"
    assert walk(Line(points=((0.8, 0.5), (0.2, 0.5))), [(0.5, 0.2), (0.5, 0.9)]) == "out"


def test_a_line_of_no_length_is_never_crossed() -> None:
    assert walk(Line(points=((0.5, 0.5), (0.5, 0.5))), [(0.3, 0.5), (0.7, 0.5)]) == ""


def test_a_line_counts_only_its_labels() -> None:
    lines = Lines({"line": DOWN.model_copy(update={"labels": ("car",)})}, VOCABULARY)
    told = []
    for class_id in (0, 1):
        passage = Passage(lines)
        passage.see([1], (0.3, 0.5), class_id)
        told.append(passage.see([-1], (0.7, 0.5), class_id))
    assert told == [[], [Crossing("line", "out")]]


@given(POINTS, POINTS, st.lists(POINTS, min_size=2, max_size=12))
@settings(max_examples=200, deadline=None)
def test_directions_alternate_along_a_full_line(
    first: tuple[float, float], last: tuple[float, float], path: list[tuple[float, float]]
) -> None:
    assume(math.dist(first, last) > 0.05)
    # extended far beyond the picture there is no way around it, so that in and out take turns
    way = np.subtract(last, first)
    lines = Lines({"line": Line(points=(first, last))}, VOCABULARY)
    lines._firsts, lines._ways = lines._firsts - 1000 * way, lines._ways * 2001
    passage, told, settled = Passage(lines), [], []
    for point in path:
        (sides,) = lines.sides(np.array((point,)), np.array((20.0,)), 1000, 1000).tolist()
        told += [crossing.direction for crossing in passage.see(sides, point, 0)]
        settled += [side for side in sides if side]
    assert all(a != b for a, b in pairwise(told))
    assert len(told) == sum(a != b for a, b in pairwise(settled))
