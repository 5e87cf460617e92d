"""What was taken for what, on boxes whose matches are known."""

from typing import Any

import numpy as np
import pytest

from appliance.workbench.confusion import SAME_PLACE, Found, Mistake, Tally, Truths

PERSON, CAR, TRUCK = 0, 1, 2
LABELS = ("person", "car", "truck")
BOX = (10.0, 10.0, 60.0, 60.0)


def truths(*objects: tuple[tuple[float, ...], int], crowd: tuple[int, ...] = ()) -> Truths:
    boxes = np.array([box for box, _ in objects], np.float64).reshape(-1, 4)
    return Truths(
        boxes,
        np.array([label for _, label in objects], np.int64),
        (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
        np.array([at in crowd for at in range(len(objects))], np.bool_),
    )


def found(*objects: tuple[tuple[float, ...], int, float]) -> Found:
    return Found(
        np.array([box for box, _, _ in objects], np.float64).reshape(-1, 4),
        np.array([label for _, label, _ in objects], np.int64),
        np.array([score for _, _, score in objects], np.float64),
    )


def tally(there: Truths, detected: Found) -> Tally:
    counted = Tally(LABELS, 0.4)
    counted.add("one.png", there, detected)
    return counted


def told(counted: Tally) -> list[tuple[str, str, str, int, int]]:
    return [(one.kind, one.label, one.taken_for, one.count, one.among) for one in counted.mistakes()]


def test_what_is_right_lies_on_the_diagonal_and_is_no_mistake() -> None:
    counted = tally(truths((BOX, CAR)), found((BOX, CAR, 0.9)))
    assert counted.confusion().counts == ((0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
    assert counted.mistakes() == ()
    assert (counted.confusion().right, counted.confusion().objects, counted.confusion().detections) == (1, 1, 1)


def test_an_object_of_another_label_is_confused_and_neither_missed_nor_background() -> None:
    counted = tally(truths((BOX, TRUCK)), found((BOX, CAR, 0.9)))
    assert counted.confusion().counts[TRUCK] == (0, 1, 0, 0)
    assert told(counted) == [("confused", "truck", "car", 1, 1)]
    assert counted.mistakes()[0].examples == ("one.png: 50 x 50 pixels at 10, 10, score 0.90",)


def test_its_own_label_takes_an_object_before_a_better_score_of_another_label() -> None:
    counted = tally(truths((BOX, CAR)), found((BOX, TRUCK, 0.9), (BOX, CAR, 0.5)))
    assert counted.confusion().counts == ((0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 1, 0))
    assert told(counted) == [("second name", "car", "truck", 1, 1)]


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((100.0, 100.0, 120.0, 120.0), "missed, small"),
        ((100.0, 100.0, 150.0, 150.0), "missed, medium"),
        ((100.0, 100.0, 196.0, 196.0), "missed, large"),
    ],
)
def test_what_is_missed_is_told_by_its_size_as_coco_bounds_it(box: tuple[float, ...], kind: str) -> None:
    counted = tally(truths((box, PERSON)), found())
    assert counted.confusion().counts[PERSON] == (0, 0, 0, 1)
    assert told(counted) == [(kind, "person", "", 1, 1)]


def test_what_others_overlap_is_crowded_whatever_its_size_and_counts_among_the_crowded_only() -> None:
    beside = (30.0, 10.0, 80.0, 60.0)
    counted = tally(truths((BOX, PERSON), (beside, PERSON), ((200, 200, 250, 250), PERSON)), found((BOX, PERSON, 0.9)))
    assert told(counted) == [("missed, crowded", "person", "", 1, 2), ("missed, medium", "person", "", 1, 1)]


def test_a_region_to_ignore_makes_no_detection_of_its_label_wrong_but_one_of_another() -> None:
    region = (0.0, 0.0, 300.0, 300.0)
    counted = tally(truths((region, PERSON), crowd=(0,)), found((BOX, PERSON, 0.9), (BOX, CAR, 0.8)))
    assert counted.confusion().ignored == 1
    assert counted.confusion().counts == ((0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0), (0, 1, 0, 0))
    assert told(counted) == [("nothing there", "car", "", 1, 1)]


def test_an_object_within_a_region_to_ignore_is_still_found_by_its_own_detection() -> None:
    region = (0.0, 0.0, 300.0, 300.0)
    counted = tally(truths((region, PERSON), (BOX, PERSON), crowd=(0,)), found((BOX, PERSON, 0.9)))
    assert (counted.confusion().counts[PERSON][PERSON], counted.confusion().ignored) == (1, 0)


def test_a_box_that_overlaps_too_little_is_misplaced_and_counts_as_missed_and_as_background_in_the_matrix() -> None:
    half_off = (45.0, 10.0, 95.0, 60.0)  # IoU 15 / 85
    counted = tally(truths((BOX, CAR)), found((half_off, CAR, 0.7)))
    assert (counted.confusion().counts[CAR][-1], counted.confusion().counts[-1][CAR]) == (1, 1)
    assert told(counted) == [("misplaced", "car", "", 1, 1)]


def test_further_detections_of_an_object_that_has_one_are_told_apart() -> None:
    part, far = (10.0, 10.0, 60.0, 30.0), (200.0, 200.0, 240.0, 240.0)
    detected = found((BOX, CAR, 0.9), (BOX, CAR, 0.8), (part, CAR, 0.7), (far, CAR, 0.6))
    assert sorted(told(tally(truths((BOX, CAR)), detected))) == [
        ("nothing there", "car", "", 1, 4),
        ("partly again", "car", "", 1, 4),
        ("twice", "car", "", 1, 4),
    ]


def test_a_picture_without_truth_or_without_detections_is_counted_too() -> None:
    counted = Tally(LABELS, 0.4)
    counted.add("empty.png", truths(), found())
    counted.add("ghost.png", truths(), found((BOX, TRUCK, 0.9)))
    assert told(counted) == [("nothing there", "truck", "", 1, 1)]


def test_the_most_frequent_come_first_with_the_most_telling_examples() -> None:
    counted = Tally(LABELS, 0.4)
    for at in range(5):
        counted.add(f"{at}.png", truths(((0, 0, 10 + at, 10), PERSON)), found((BOX, CAR, 0.5 + at / 100)))
    counted.add("more.png", truths((BOX, TRUCK)), found())
    missed, ghost, truck = counted.mistakes()
    assert isinstance(missed, Mistake)
    assert (missed.kind, missed.count, [text[:5] for text in missed.examples]) == (
        "missed, small",
        5,
        ["4.png", "3.png", "2.png"],
    )
    assert (ghost.kind, ghost.examples[0]) == ("nothing there", "4.png: 50 x 50 pixels at 10, 10, score 0.54")
    assert (truck.label, truck.count) == ("truck", 1)


def test_every_object_and_every_detection_is_counted_once() -> None:
    random = np.random.default_rng(5)
    counted = Tally(LABELS, 0.4)
    objects = detections = 0
    for at in range(40):
        corners = random.uniform(0, 120, (12, 2))
        boxes = np.concatenate((corners, corners + random.uniform(8, 60, (12, 2))), axis=1)
        labels = random.integers(0, 3, 12)
        shifted = boxes + random.uniform(-15, 15, (12, 1))
        scores = np.sort(random.uniform(0.4, 1, 12))[::-1]
        there = truths(*zip(map(tuple, boxes.tolist()), labels.tolist(), strict=True))
        counted.add(f"{at}.png", there, Found(shifted, random.integers(0, 3, 12), scores))
        objects, detections = objects + 12, detections + 12
    confusion, mistakes = counted.confusion(), counted.mistakes()
    assert (confusion.objects, confusion.detections) == (objects, detections)
    lost = {"confused", "misplaced"}
    assert (
        confusion.right + sum(one.count for one in mistakes if one.kind in lost or one.kind.startswith("missed"))
        == objects
    )
    extra = {"confused", "misplaced", "twice", "partly again", "second name", "nothing there"}
    assert confusion.right + sum(one.count for one in mistakes if one.kind in extra) == detections


def test_the_matrix_is_that_of_an_independent_implementation_where_matches_are_unambiguous() -> None:
    supervision: Any = pytest.importorskip("supervision", reason="needs supervision: pip install 'edgecam[dev]'")
    random = np.random.default_rng(7)
    counted = Tally(LABELS, 0.4)
    targets, predictions = [], []
    for at in range(30):
        places = np.array([(x, y) for x in range(0, 400, 100) for y in range(0, 400, 100)], np.float64)
        boxes = np.concatenate((places, places + random.uniform(30, 80, places.shape)), axis=1)
        there = random.random(len(boxes)) < 0.6
        seen = random.random(len(boxes)) < 0.6
        moved = boxes + random.uniform(-4, 4, (len(boxes), 1))
        scores = random.uniform(0.4, 1, len(boxes))
        real, guessed = random.integers(0, 3, len(boxes)), random.integers(0, 3, len(boxes))
        order = np.argsort(-scores[seen])
        one = Truths(boxes[there], real[there], np.full(there.sum(), 900.0), np.zeros(there.sum(), np.bool_))
        other = Found(moved[seen][order], guessed[seen][order], scores[seen][order])
        counted.add(f"{at}.png", one, other)
        targets.append(supervision.Detections(xyxy=one.boxes, class_id=one.labels))
        predictions.append(supervision.Detections(xyxy=other.boxes, class_id=other.labels, confidence=other.scores))
    oracle = supervision.ConfusionMatrix.from_detections(
        predictions=predictions, targets=targets, classes=list(LABELS), conf_threshold=0.4, iou_threshold=SAME_PLACE
    )
    assert np.array(counted.confusion().counts).tolist() == oracle.matrix.astype(int).tolist()
