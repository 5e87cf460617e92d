"""Whether a classifier or a segmentation network is as good as what it is to replace, told from what both find."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.updates.formats import Trial
from appliance.updates.judging import Comparing, Comparison, Vitals, comparing
from appliance.updates.judging_labels import LabelComparison, Scored
from appliance.updates.judging_maps import MapComparison, Mapped
from appliance.updates.refusals import Code, RefusedError
from appliance.updates.trying import Trying
from tests.simulators.updating import Rest

TRIAL = Trial(agreement_percent=80, rate_percent=(60, 170))
LABELS = ("nothing", "road", "grass")
Say = Callable[[int], Scored]
Draw = Callable[[int], Mapped]


def scored(*scores: float) -> Scored:
    return Scored(np.array(scores, np.float32), 0.4)


def seeing(number: int) -> Scored:
    """Say a cat, and then a dog, in turns."""
    return scored(0.9, 0.1, 0.0) if number % 2 else scored(0.1, 0.9, 0.0)


def calm(number: int) -> Scored:
    """Say what a camera shows before which nothing happens."""
    return scored(0.9 - 0.001 * (number % 2), 0.1, 0.0)


@pytest.mark.parametrize(
    ("candidate", "code"),
    [
        (seeing, None),
        (lambda number: scored(0.7, 0.3, 0.0) if number % 2 else scored(0.3, 0.7, 0.0), None),
        (lambda _: scored(0.9, 0.1, 0.0), Code.BLIND),
        (lambda _: scored(0.33, 0.33, 0.33), Code.BLIND),
        (lambda number: scored(0.35, 0.1, 0.0) if number % 2 else scored(0.1, 0.35, 0.0), Code.BLIND),
        (lambda number: scored(0.0, 0.1, 0.9) if number % 2 else scored(0.1, 0.9, 0.0), Code.DISAGREEMENT),
    ],
)
def test_what_a_classifier_says_beside_the_one_in_service_is_judged(candidate: Say, code: Code | None) -> None:
    comparison = LabelComparison()
    for number in range(40):
        comparison.add(seeing(number), candidate(number))
    verdict = comparison.verdict(TRIAL)
    assert (verdict and verdict[0]) == code


@pytest.mark.parametrize(
    ("candidate", "code"),
    [
        (lambda number: (0.9, 0.91, 0.0) if number % 2 else (0.1, 0.2, 0.8), None),
        (lambda number: (0.91, 0.9, 0.0) if number % 2 else (0.1, 0.2, 0.8), None),
        (lambda number: (0.9, 0.89, 0.8) if number % 2 else (0.8, 0.8, 0.9), Code.DISAGREEMENT),
        (lambda number: (0.9, 0.1, 0.0) if number % 2 else (0.1, 0.2, 0.8), Code.DISAGREEMENT),
    ],
)
def test_of_labels_that_apply_together_each_counts(candidate: Callable[[int], tuple[float, ...]], code: Code) -> None:
    comparison, trial = LabelComparison(), Trial(agreement_percent=85, rate_percent=(60, 170))
    for number in range(40):
        active = (0.91, 0.9, 0.0) if number % 2 else (0.1, 0.2, 0.8)
        comparison.add(*(replace(scored(*one), are_together=True) for one in (active, candidate(number))))
    verdict = comparison.verdict(trial)
    assert (verdict and verdict[0]) == code
    assert comparison.facts()["active"] == 60


def test_where_nothing_moves_a_model_that_stands_still_is_not_blind() -> None:
    comparison = LabelComparison()
    for number in range(200):
        comparison.add(calm(number), scored(0.88, 0.12, 0.0))
    assert comparison.verdict(TRIAL) is None
    assert comparison.facts() == {"frames": 200, "active": 200, "candidate": 200, "both": 200}


def test_one_that_is_surer_than_a_wavering_model_of_what_never_changes_is_not_blind() -> None:
    def wavering(number: int) -> Scored:
        return scored(0.8, 0.2, 0.0) if number % 2 else scored(0.6, 0.4, 0.0)

    surer, changing, unsure = LabelComparison(), LabelComparison(), LabelComparison()
    for number in range(40):
        surer.add(wavering(number), scored(0.999, 0.001, 0.0))
        changing.add(scored(0.1, 0.9, 0.0) if number == 30 else wavering(number), scored(0.999, 0.001, 0.0))
        unsure.add(Scored(wavering(number).scores, 0.9), Scored(np.array([0.5, 0.5, 0.0], np.float32), 0.9))
    assert surer.verdict(TRIAL) is None
    for blind in (changing, unsure):
        verdict = blind.verdict(TRIAL)
        assert verdict is not None
        assert verdict[0] is Code.BLIND


def test_few_frames_condemn_nobody_and_what_is_sure_where_nobody_was_disagrees() -> None:
    few, strange = LabelComparison(), LabelComparison()
    for number in range(19):
        few.add(seeing(number), scored(0.0, 0.0, 0.9))
    assert few.verdict(TRIAL) is None
    for number in range(40):
        strange.add(scored(0.3, 0.2, 0.0), scored(0.0, 0.1, 0.8 + 0.001 * (number % 2)))
    verdict = strange.verdict(TRIAL)
    assert verdict is not None
    assert verdict[0] is Code.DISAGREEMENT


def mapped(**rows: int) -> Mapped:
    """Draw labels over whole rows of a picture of 100 x 200; the rest is nothing."""
    class_ids = np.full((100, 200), -1, np.int16)
    at = 0
    for label, count in rows.items():
        class_ids[at : at + count] = LABELS.index(label)
        at += count
    return Mapped(class_ids, LABELS)


def drawn(candidate: Draw, active: Draw = lambda _: mapped(road=20, grass=20), frames: int = 20) -> MapComparison:
    comparison = MapComparison()
    for number in range(frames):
        comparison.add(active(number), candidate(number))
    return comparison


@pytest.mark.parametrize(
    ("candidate", "code", "words"),
    [
        (mapped(road=20, grass=20), None, ""),
        (mapped(road=19, grass=22), None, ""),
        (mapped(), Code.BLIND, "draws nothing over all of 20 frames"),
        (mapped(road=100), Code.BLIND, "draws road over all of 20 frames"),
        (mapped(road=60, grass=20), Code.FLOOD, "covers 60.0% of a picture with road"),
        (mapped(grass=20), Code.BLIND, "covers 0.0% of a picture with road"),
        (mapped(road=21, grass=1), Code.BLIND, "covers 1.0% of a picture with grass"),
        (mapped(grass=20, road=20), Code.DISAGREEMENT, "agree on 0 %"),
    ],
)
def test_what_a_network_draws_beside_the_one_in_service_is_judged(
    candidate: Mapped, code: Code | None, words: str
) -> None:
    verdict = drawn(lambda _: candidate).verdict(TRIAL)
    assert (verdict and verdict[0]) == code
    assert words in (verdict[1] if verdict else "")


def test_one_colour_is_told_where_every_pixel_has_a_label() -> None:
    verdict = drawn(lambda _: mapped(road=100), lambda _: mapped(road=90, grass=10)).verdict(TRIAL)
    assert verdict is not None
    assert verdict[0] is Code.BLIND
    assert "agree on" not in verdict[1], "they agree on nine tenths of the pixels"
    same = drawn(lambda _: mapped(road=100), lambda _: mapped(road=99, grass=1))
    assert same.verdict(TRIAL) is None, "a floor, and nothing else in sight"


def test_what_is_covered_is_reported_in_thousandths_of_a_picture() -> None:
    told = drawn(lambda _: mapped(road=10, grass=20)).facts()
    assert told == {"frames": 20, "active": 8000, "candidate": 6000, "both": 4000}


def passing_by(number: int) -> Mapped:
    """Draw a road that is in sight for two frames of thirty."""
    return mapped(road=6) if number % 30 < 2 else mapped()


def test_one_that_sees_nothing_of_what_seldom_comes_by_is_blind() -> None:
    comparison = drawn(lambda _: mapped(), passing_by, frames=300)
    assert comparison.facts()["active"] / 300 < 5, "of what is covered so little on average nothing is told"
    verdict = comparison.verdict(TRIAL)
    assert verdict is not None
    assert verdict[0] is Code.BLIND
    assert "0.0% of the 20 frames in which the model in service sees anything, and that 6.0%" in verdict[1]
    assert drawn(passing_by, passing_by, frames=300).verdict(TRIAL) is None
    assert drawn(lambda _: mapped(), passing_by, frames=270).verdict(TRIAL) is None, "18 frames are too few"


@pytest.mark.parametrize("odd", [mapped(), mapped(grass=80)])
def test_a_few_frames_that_two_see_differently_condemn_nobody(odd: Mapped) -> None:
    def near(number: int) -> Mapped:
        return mapped(road=80) if number < few else mapped()

    def other(number: int) -> Mapped:
        return odd if number < few else mapped()

    few = 4
    assert drawn(other, near, frames=25).verdict(TRIAL) is None
    few = 5
    assert drawn(other, near, frames=25).verdict(TRIAL) is not None


def test_an_empty_scene_condemns_nobody_but_what_paints_it_over() -> None:
    assert drawn(lambda _: mapped(), lambda _: mapped()).verdict(TRIAL) is None
    verdict = drawn(lambda _: mapped(grass=100), lambda _: mapped()).verdict(TRIAL)
    assert verdict is not None
    assert verdict[0] is Code.FLOOD


def test_what_is_reported_is_thousandths_of_pictures() -> None:
    facts = drawn(lambda _: mapped(road=20, grass=10), frames=3).facts()
    assert facts == {"frames": 3, "active": 1200, "candidate": 900, "both": 900}


@pytest.mark.parametrize(
    ("task", "kind"), [("detect", Comparison), ("classify", LabelComparison), ("segment", MapComparison)]
)
def test_each_task_has_its_comparison(task: str, kind: type[Comparing]) -> None:
    assert isinstance(comparing(task), kind)


class Saying(Rest):
    """A classifier in service that sees a cat and a dog in turns, and a candidate that always sees a cat."""

    @contextmanager
    def shadow(self, folder: Path) -> Iterator[Callable[[], tuple[Scored, Scored] | None]]:  # type: ignore[override]  # of another task
        assert folder.is_dir()
        numbers = iter(range(1000))
        yield lambda: (seeing(next(numbers)), scored(0.9, 0.1, 0.0))


def test_a_trial_compares_as_the_task_in_service_has_it_and_ends_early(tmp_path: Path) -> None:
    trying = Trying(Saying(now=Vitals()), lambda: None, threading.Event(), "classify")
    facts: list[dict[str, int]] = []
    with pytest.raises(RefusedError, match="says the same of all of 25 frames") as refused:
        trying.shadow(tmp_path, Trial(shadow_frames=500, shadow_seconds=60), lambda found: facts.append(found.facts()))
    assert refused.value.code is Code.BLIND
    assert facts == [{"frames": 25, "active": 25, "candidate": 25, "both": 12}]
