import itertools
from xml.etree import ElementTree as ET

import pytest

from appliance.workbench.chart import draw_chart
from appliance.workbench.points import Point, choose_point, reference_ap


def point(share: float | None, ap: float, steps: int, size: int = 1000) -> Point:
    return Point(share, steps, steps // 100, size, ap, ap * 2, steps / 1e6, steps / 1e7, f"share-{share}")


CURVE = [
    point(None, 0.30, 10_000_000),
    point(0.0, 0.31, 10_000_000),
    point(0.1, 0.305, 9_000_000),
    point(0.3, 0.30, 7_000_000),
    point(0.45, 0.28, 5_500_000),
]


@pytest.mark.parametrize(("max_drop", "share"), [(0.5, 0.45), (0.03, 0.45), (0.02, 0.3), (0.01, 0.3), (0.005, 0.1)])
def test_the_smallest_within_the_drop_is_chosen(max_drop: float, share: float) -> None:
    chosen = choose_point(CURVE, max_drop)
    assert chosen is not None
    assert chosen.share == share


def test_the_drop_counts_from_the_best_that_lost_no_channel() -> None:
    assert reference_ap(CURVE) == 0.31
    assert reference_ap([CURVE[0], *CURVE[2:]]) == 0.30
    better = [point(None, 0.30, 10), point(0.0, 0.2, 10), point(0.1, 0.29, 9)]
    assert reference_ap(better) == 0.30  # learning on may also harm


def test_none_is_chosen_when_all_lost_more_and_never_one_that_lost_no_channel() -> None:
    assert choose_point(CURVE, 0.004) is None
    assert choose_point(CURVE[:2], 1.0) is None


def test_a_larger_share_is_chosen_even_if_a_smaller_one_lost_more() -> None:
    odd = [point(None, 0.30, 10), point(0.1, 0.20, 9), point(0.3, 0.30, 7)]
    assert choose_point(odd, 0.01) == odd[2]


def test_of_as_many_steps_the_smaller_file_is_chosen() -> None:
    alike = [point(None, 0.3, 10), point(0.1, 0.3, 9, size=900), point(0.101, 0.3, 9, size=800)]
    assert choose_point(alike, 0.0) == alike[2]


def test_the_picture_shows_every_point_in_its_place_and_marks_the_chosen_one() -> None:
    chosen = CURVE[3]
    root = ET.fromstring(draw_chart(CURVE, chosen, 0.30, "a <model> & more"))  # noqa: S314 - our own text
    space = "{http://www.w3.org/2000/svg}"
    texts = [one.text for one in root.iter(f"{space}text")]
    assert texts.count("30 % less, chosen") == 2  # against time, against size
    assert "a <model> & more: what pruning costs and saves" in texts
    circles = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in root.iter(f"{space}circle")]
    times, sizes = circles[: len(CURVE)], circles[len(CURVE) :]
    assert [x for x, _ in times] == sorted((x for x, _ in times), reverse=True)  # quicker is further left
    assert len({x for x, _ in sizes}) == 1  # all of one size
    heights = [y for _, y in times]
    assert heights.index(min(heights)) == 1  # the best is highest
    assert heights.index(max(heights)) == 4
    assert all(0 < x < 920 and 0 < y < 340 for x, y in circles)


def test_names_in_the_picture_do_not_lie_on_each_other() -> None:
    close = [point(None, 0.3, 10_000_000), point(0.0, 0.3001, 10_000_000), point(0.2, 0.2999, 9_900_000), CURVE[4]]
    root = ET.fromstring(draw_chart(close, None, 0.29, "close"))  # noqa: S314 - our own text
    names = {one.name for one in close}
    found = [one.attrib for one in root.iter("{http://www.w3.org/2000/svg}text") if one.text in names]
    heights = sorted(float(one["y"]) for one in found[: len(close)])
    assert len(heights) == 4
    assert all(after - before >= 12 for before, after in itertools.pairwise(heights))


def test_a_curve_of_equal_points_can_be_drawn() -> None:
    same = [point(None, 0.0, 10), point(0.1, 0.0, 10)]
    assert "nan" not in draw_chart(same, None, 0.0, "flat")
