from itertools import pairwise

import pytest

from appliance.cameras.street import LENGTHS, ROWS, View, actors_at

VIEW = View(1280, 720)


@pytest.mark.parametrize("seed", [0, 1, 2, 999])
def test_the_same_moment_always_looks_the_same(seed: int) -> None:
    later = [actors_at(VIEW, seed, number / 10) for number in range(100, 0, -1)]
    assert [actors_at(VIEW, seed, number / 10) for number in range(1, 101)] == later[::-1]


def test_another_seed_is_another_street() -> None:
    assert actors_at(VIEW, 1, 5.0) != actors_at(VIEW, 2, 5.0)


def test_those_farthest_away_are_drawn_first() -> None:
    depths = [actor.depth for actor in actors_at(VIEW, 1, 7.0)]
    assert depths == sorted(depths, reverse=True)


def test_sizes_follow_the_distance() -> None:
    for row in ROWS:
        assert VIEW.scale(row.depth) * row.depth == pytest.approx(VIEW.focal)
    (_, near), (_, far) = (VIEW.ground(0, depth) for depth in (8.0, 16.0))
    horizon = VIEW.height * 0.42
    assert (near - horizon) == pytest.approx(2 * (far - horizon))


def test_figures_move_steadily_and_never_jump() -> None:
    places: dict[int, float] = {}
    seen = set()
    for number in range(3000):
        now = {actor.number: actor for actor in actors_at(VIEW, 3, number / 10)}
        for key, actor in now.items():
            if key in places:
                assert 0 <= (actor.x - places[key]) * actor.direction < 0.6
            elif number:  # it enters from outside the picture
                assert abs(actor.x) > VIEW.reach(actor.depth)
        for key in places.keys() - now.keys():
            assert key not in seen, "a figure came back"
            seen.add(key)
        places = {key: actor.x for key, actor in now.items()}


def test_vehicles_of_a_lane_never_run_into_each_other() -> None:
    for number in range(0, 6000, 7):
        lanes: dict[float, list[tuple[float, float]]] = {}
        for actor in actors_at(VIEW, 4, number / 10):
            if actor.label in {"car", "truck", "bus"}:
                half = LENGTHS[actor.label] / 2
                lanes.setdefault(actor.depth, []).append((actor.x - half, actor.x + half))
        for lane in lanes.values():
            assert all(ahead[1] < behind[0] for ahead, behind in pairwise(sorted(lane)))


def test_every_label_comes_by_and_some_people_stand_still() -> None:
    actors = [actor for number in range(0, 2000, 3) for actor in actors_at(VIEW, 1, number / 10)]
    assert {actor.label for actor in actors} == {"person", "bicycle", "car", "truck", "bus"}
    assert any(actor.is_standing for actor in actors)
    assert any(actor.is_rider for actor in actors)


def test_a_day_later_the_street_is_as_busy() -> None:
    early = sum(len(actors_at(VIEW, 1, 100.0 + number)) for number in range(60))
    late = sum(len(actors_at(VIEW, 1, 86_400.0 + number)) for number in range(60))
    assert 0.6 < late / early < 1.7
