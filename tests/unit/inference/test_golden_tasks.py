"""Golden frames of classifiers and segmentation networks: what is blind, or sees something else, does not pass."""

import json
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.rle import encode_mask
from appliance.inference.artifacts import locate_artifact
from appliance.inference.faults import NumbersError
from appliance.inference.golden import GoldenVerdict, Tolerance, check_golden, read_content
from appliance.inference.golden_labels import GoldenLabel, GoldenLabels, LabelledSet
from appliance.inference.golden_maps import GoldenMaps, GoldenMask, MappedSet
from appliance.inference.opening import load_model
from appliance.workbench.golden import golden
from tests.simulators.other_tasks import write_classifier
from tests.simulators.seeing_tasks import GREEN, GREY, make_golden, picture, released, write_pictures, write_seeing

TASKS = ("classify", "segment")


def opened(folder: Path) -> AbstractContextManager[Any]:
    return load_model(locate_artifact(folder))


def checked(folder: Path) -> GoldenVerdict:
    with opened(folder) as model:
        return check_golden(model, folder)


@pytest.mark.parametrize(("task", "of", "expected"), [("classify", "labels", 3), ("segment", "areas", 4)])
def test_a_model_that_finds_what_it_found_passes(tmp_path: Path, task: str, of: str, expected: int) -> None:
    verdict = checked(released(tmp_path / "mine", task))
    assert verdict.is_passed
    assert (verdict.frames, verdict.of, verdict.expected) == (4, of, expected)
    assert len(verdict.total_ms) == 4


@pytest.mark.parametrize(("task", "told"), [("classify", "cat 1.00 is missing"), ("segment", "road 0.00 is missing")])
def test_one_that_says_the_same_whatever_it_sees_does_not(tmp_path: Path, task: str, told: str) -> None:
    verdict = checked(released(tmp_path / "mine", task, kind="blind"))
    assert not verdict.is_passed
    assert any(told in str(one) for one in verdict.deviations), verdict.deviations


def test_numbers_that_are_none_are_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(NumbersError, match="not finite"):
        checked(released(tmp_path / "mine", "classify", kind="nan"))


@pytest.mark.parametrize("task", TASKS)
def test_a_blind_model_gets_no_golden_frames_for_they_would_prove_nothing(tmp_path: Path, task: str) -> None:
    folder = write_seeing(tmp_path / "mine", task, "blind")
    with pytest.raises(ModelError, match=r"in all golden frames.*would prove nothing.*--frames"):
        make_golden(folder, write_pictures(tmp_path / "pictures"))
    assert not (folder / "golden").exists()


@pytest.mark.parametrize(
    ("task", "of", "told"),
    [("classify", "labels", ["dog", "cat", "cat"]), ("segment", "areas", [["grass"], ["road", "grass"], ["road"]])],
)
def test_the_workbench_tells_what_is_expected(tmp_path: Path, task: str, of: str, told: list[Any]) -> None:
    folder = write_seeing(tmp_path / "mine", task)
    made = json.loads(make_golden(folder, write_pictures(tmp_path / "pictures")))
    assert made["frames"] == ["blue.png", "both.png", "green.png", "grey.png"]
    [found] = made[of].values()
    assert found[:3] == told


def test_the_workbench_tells_people_what_each_picture_has(tmp_path: Path) -> None:
    folder, pictures = write_seeing(tmp_path / "mine", "segment"), write_pictures(tmp_path / "pictures")
    told = CliRunner().invoke(golden, [str(folder), "--frames", str(pictures)], catch_exceptions=False).stdout
    assert told.endswith(": areas grass, road + grass, road, nothing\n")


def labels(**scores: float) -> tuple[GoldenLabel, ...]:
    return tuple(GoldenLabel(label=label, score=score) for label, score in scores.items())


@pytest.mark.parametrize(
    ("found", "whats"),
    [
        (labels(cat=0.85, dog=0.1), []),
        (labels(cat=0.75, dog=0.2), ["missing"]),
        (labels(dog=0.9, cat=0.05), ["missing", "unexpected"]),
        (labels(dog=0.9), ["missing", "unexpected"]),
    ],
)
def test_the_label_that_it_was_sure_of_must_be_there_with_about_its_score(
    found: tuple[GoldenLabel, ...], whats: list[str]
) -> None:
    deviations = GoldenLabels().compare("one.png", labels(cat=0.9, dog=0.05), found, Tolerance(), 0.4)
    assert [one.what for one in deviations] == whats


MANY = {"cat": 0.95, "dog": 0.9, "bird": 0.1, "hen": 0.05, "cow": 0.02}


@pytest.mark.parametrize(
    ("found", "whats"),
    [
        (MANY, []),
        (MANY | {"dog": 0.1}, ["missing"]),
        (MANY | {"bird": 0.9}, ["unexpected"]),
        ({"cat": 0.95, "dog": 0.9, "fox": 0.9, "hen": 0.05, "cow": 0.02}, ["unexpected"]),
        ({"a": 0.99, "b": 0.99, "c": 0.99, "d": 0.99, "e": 0.99}, ["unexpected"] * 5),
        ({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5, "e": 0.5}, ["missing"] * 2 + ["unexpected"] * 5),
    ],
)
def test_of_labels_that_apply_together_each_must_be_there_and_none_beside(
    found: dict[str, float], whats: list[str]
) -> None:
    deviations = GoldenLabels().compare("one.png", labels(**MANY), labels(**found), Tolerance(), 0.4)
    assert [one.what for one in deviations] == whats


def greens(*colours: tuple[int, int, int]) -> dict[str, NDArray[np.uint8]]:
    return {f"{number}.png": picture(colour) for number, colour in enumerate(colours)}


def passing(frames: Sequence[Sequence[GoldenLabel]]) -> list[float]:
    """Give with which scores a model passes that says the same of its cat in all frames."""
    compare, tried = GoldenLabels().compare, np.linspace(0.0, 1.0, 101).tolist()
    return [one for one in tried if not any(compare("", each, labels(cat=one), Tolerance(), 0.4) for each in frames)]


@pytest.mark.parametrize("colours", [((0, 7, 0), (0, 5, 0)), ((0, 11, 0), (0, 0, 57)), ((0, 73, 0), (0, 44, 0))])
def test_golden_frames_that_one_score_for_all_would_pass_prove_nothing(
    tmp_path: Path, colours: tuple[tuple[int, int, int], ...]
) -> None:
    with opened(write_seeing(tmp_path / "mine", "classify")) as model:
        assert passing([GoldenLabels().look(model, one) for one in greens(*colours).values()])
        with pytest.raises(ModelError, match="would prove nothing"):
            GoldenLabels().expect(model, greens(*colours), Tolerance())


def test_a_classifier_that_only_knows_what_stands_for_nothing_gets_no_golden_frames(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "mine", [1.0], labels=("nothing",))
    with pytest.raises(ModelError, match=r"as sure of nothing in all golden frames.*would prove nothing"):
        make_golden(folder, write_pictures(tmp_path / "pictures"))


@pytest.mark.parametrize(("min_score", "most"), [("0.85", "0.075"), ("0.833333", "0.0833335"), ("1.0", "0")])
def test_a_tolerance_that_no_frames_can_keep_is_told_with_the_widest_that_some_can(
    tmp_path: Path, min_score: str, most: str
) -> None:
    folder, pictures = write_seeing(tmp_path / "mine", "classify"), write_pictures(tmp_path / "pictures")
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("min_score = 0.3", f"min_score = {min_score}"))
    with pytest.raises(ModelError, match=rf"--score must be at most {re.escape(most)} for this model"):
        make_golden(folder, pictures)
    with pytest.raises(ModelError, match=r"a score of 1\.00 in one"):
        make_golden(folder, pictures, "--score", most)  # none of these pictures has quite that


def test_a_classifier_that_tells_only_what_it_is_very_sure_of_gets_golden_frames_of_a_narrow_tolerance(
    tmp_path: Path,
) -> None:
    folder, pictures = write_seeing(tmp_path / "mine", "classify"), write_pictures(tmp_path / "pictures")
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("min_score = 0.3", "min_score = 0.85"))
    make_golden(folder, pictures, "--score", "0.07")
    assert checked(folder).is_passed


def test_golden_frames_that_no_score_for_all_would_pass_are_written(tmp_path: Path) -> None:
    with opened(write_seeing(tmp_path / "mine", "classify")) as model:
        made = GoldenLabels().expect(model, greens((0, 58, 0), (0, 0, 57)), Tolerance())
    assert not passing(made.frames)


def test_which_of_two_close_labels_comes_first_and_what_it_was_not_sure_of_may_differ() -> None:
    close = labels(cat=0.48, dog=0.46), labels(dog=0.49, cat=0.45)
    unsure = labels(cat=0.2, dog=0.19), labels(bird=0.3, dog=0.1)
    for expected, found in (close, unsure):
        assert GoldenLabels().compare("one.png", expected, found, Tolerance(), 0.4) == []
    sure = GoldenLabels().compare("grey.png", labels(cat=0.2), labels(bird=0.9), Tolerance(), 0.4)
    assert [(one.what, one.label) for one in sure] == [("unexpected", "bird")]


def test_golden_frames_that_one_map_for_all_would_pass_prove_nothing(tmp_path: Path) -> None:
    near, far = ({f"{share}.png": upper_part_green(share)} for share in (32, 24))
    with opened(write_seeing(tmp_path / "mine", "segment")) as model:
        a, b, between = (GoldenMaps().look(model, upper_part_green(share)) for share in (32, 24, 28))
        assert GoldenMaps().compare("", a, b, Tolerance()), "they differ"
        assert not any(GoldenMaps().compare("", one, between, Tolerance()) for one in (a, b))
        with pytest.raises(ModelError, match="would prove nothing"):
            GoldenMaps().expect(model, near | far, Tolerance())
        assert GoldenMaps().expect(model, near | {"16.png": upper_part_green(16)}, Tolerance())


def upper_part_green(rows: int) -> NDArray[np.uint8]:
    """Draw a picture of 64 x 64 whose upper rows are green, and the others grey; BGR."""
    return np.concatenate([picture(GREEN)[:rows], picture(GREY)[rows:]])


def test_an_area_that_has_moved_beyond_the_tolerance_is_told_and_a_speck_is_not(tmp_path: Path) -> None:
    folder = released(tmp_path / "mine", "segment")
    content = read_content(folder, MappedSet)
    blue, both, green, grey = content.artifacts[0].frames
    compare = GoldenMaps().compare
    assert compare("x", both, both, Tolerance()) == []
    assert [(one.what, one.label) for one in compare("x", both, green, Tolerance())] == [
        ("missing", "road"),
        ("missing", "grass"),
    ]
    assert [(one.what, one.label) for one in compare("x", grey, blue, Tolerance())] == [("unexpected", "grass")]
    few = np.zeros((64, 64), np.bool_)
    few[:9, :9] = True
    speck = blue.model_copy(update={"masks": (GoldenMask(label="grass", counts=encode_mask(few).counts),)})
    assert 0 < speck.by_label()["grass"].mean() < 0.02
    assert compare("x", grey, speck, Tolerance()) == []


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("classify", ("min_score", 2.0)),
        ("classify", ("frames", [[], [], [], []])),
        ("segment", ("frames", [{"width": 161, "height": 1, "masks": []}] * 4)),
        ("segment", ("frames", [{"width": 4, "height": 4, "masks": [{"label": "road", "counts": "zz"}]}] * 4)),
        ("segment", ("frames", [{"width": 4, "height": 4, "masks": []}])),
    ],
)
def test_what_cannot_be_accepted_is_refused(tmp_path: Path, task: str, change: tuple[str, Any]) -> None:
    folder = released(tmp_path / "mine", task)
    file = folder / "golden" / "golden.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    told["artifacts"][0][change[0]] = change[1]
    file.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ModelError, match=r"golden\.json is not accepted:\n  [\w(]+"):
        read_content(folder, LabelledSet if task == "classify" else MappedSet)


@pytest.mark.parametrize("task", TASKS)
def test_golden_frames_of_another_task_are_refused(tmp_path: Path, task: str) -> None:
    folder = released(tmp_path / "mine", task)
    with pytest.raises(ModelError, match="is not accepted"):
        read_content(folder, MappedSet if task == "classify" else LabelledSet)
