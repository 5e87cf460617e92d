"""The comparison itself can fail: it needs neither arm64 nor root."""

from typing import Any

from tests.arm64.agreement import Agreement, compare


def _person(score: float = 0.8, left: float = 10.0, label: str = "person") -> dict[str, Any]:
    return {"label": label, "score": score, "box": [left, 20.0, 60.0, 90.0]}


def _compare(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> Agreement:
    return compare({"a.jpg": expected}, {"a.jpg": found}, certain=0.5)


def test_equal_detections_agree_in_any_order() -> None:
    two = [_person(), _person(0.7, left=40.0)]
    agreement = _compare(two, two[::-1])
    assert (agreement.detections, agreement.box, agreement.score, agreement.alone) == (4, 0.0, 0.0, [])


def test_a_moved_box_and_a_changed_score_are_measured() -> None:
    agreement = _compare([_person()], [_person(0.75, left=13.0)])
    assert agreement.box == 3.0
    assert abs(agreement.score - 0.05) < 1e-9


def test_what_only_one_side_has_is_told() -> None:
    assert _compare([_person()], []).alone
    assert _compare([], [_person()]).alone
    assert len(_compare([_person()], [_person(label="car")]).alone) == 2


def test_another_object_of_the_label_does_not_pass_for_the_one_that_is_missing() -> None:
    assert _compare([_person(), _person(left=300.0)], [_person()]).box == 290.0


def test_what_is_weak_may_come_and_go() -> None:
    assert _compare([_person(0.45)], []).alone == []


def test_other_pictures_are_told() -> None:
    assert compare({"a.jpg": []}, {"b.jpg": []}, certain=0.5).alone
