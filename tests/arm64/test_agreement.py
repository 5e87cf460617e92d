"""The comparison itself can fail: it needs neither arm64 nor root."""

from typing import Any

from tests.arm64.agreement import compare


def _person(score: float = 0.8, left: float = 10.0, label: str = "person") -> dict[str, Any]:
    return {"label": label, "score": score, "box": [left, 20.0, 60.0, 90.0]}


def _compare(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> Any:
    return compare({"a.jpg": expected}, {"a.jpg": found}, min_score=0.5, score_tolerance=0.02)


def test_equal_detections_agree_in_any_order() -> None:
    two = [_person(), _person(0.7, left=40.0)]
    agreement = _compare(two, two[::-1])
    assert (agreement.detections, agreement.box, agreement.score, agreement.alone) == (2, 0.0, 0.0, [])


def test_a_moved_box_and_a_changed_score_are_measured() -> None:
    agreement = _compare([_person()], [_person(0.75, left=13.0)])
    assert agreement.box == 3.0
    assert abs(agreement.score - 0.05) < 1e-9


def test_what_only_one_side_has_is_told() -> None:
    assert _compare([_person()], []).alone
    assert _compare([], [_person()]).alone
    assert len(_compare([_person()], [_person(label="car")]).alone) == 2


def test_what_is_as_weak_as_the_lowest_score_may_be_missed() -> None:
    assert _compare([_person(0.51)], []).alone == []


def test_another_set_of_photographs_is_told() -> None:
    assert compare({"a.jpg": []}, {"b.jpg": []}, min_score=0.5, score_tolerance=0.02).alone
