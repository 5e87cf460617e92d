"""The proof on the drawn street, and the proof of that proof: it measures what it says, and fails when it should."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from appliance.cameras.synthetic import Street, TrueObject
from appliance.config import Settings, SyntheticCameraSettings
from appliance.core.events import Event, EventType
from appliance.core.frame import Frame
from appliance.core.manifest import ModelManifest
from appliance.core.results import Detections
from tests.proof.street import Verdict, judge, main, run_street
from tests.proof.watch import is_default_bundled, open_model
from tests.simulators.lives import BOX, life
from tests.simulators.models import manifest, write_folder, write_yolox, yolox, yolox_answer

FPS = 10.0
SMALL = SyntheticCameraSettings(kind="synthetic", width=480, height=270, seed=3)
MINUTES = 0.5
UNBUNDLED = "no detector is bundled: models/edgecam-nano has no weights; `make prove MODEL=…` takes another"


@pytest.mark.timeout(600)
@pytest.mark.skipif(not is_default_bundled(), reason=UNBUNDLED)
def test_the_bundled_detector_keeps_the_promise_on_the_street_of_make_run() -> None:
    settings = Settings()
    with open_model("", settings) as detector:
        verdict = run_street(detector, settings, minutes=1.5)
    assert verdict.holds, f"\n{verdict.table()}\nmissed {verdict.missed}\nfalse {verdict.false}"


@dataclass
class Seeing:
    """A detector that is told the truth, and gets some of it wrong on purpose.

    Attributes:
        street: The settings of the street that it is shown.
        blind_to: Figures that it never sees.
        missed: Share of all sights that it misses.
        takes: Labels that it takes for another, one frame in two.
        ghosts: Boxes of what is not there, in every frame of a second, so many times a minute.
        twice: Labels that it sees twice, the second time half a box beside.
    """

    street: SyntheticCameraSettings
    blind_to: Callable[[TrueObject], bool] = lambda _figure: False
    missed: float = 0.0
    takes: Mapping[str, str] = field(default_factory=dict)
    ghosts: int = 0
    twice: str = ""
    manifest: ModelManifest = field(default_factory=lambda: manifest("yolox"))
    digest: str = "0" * 64
    last_inference_ms: float = 1.0

    def __post_init__(self) -> None:
        chosen = self.street
        self._street = Street(chosen.width, chosen.height, chosen.fps, chosen.seed)
        self._random = np.random.default_rng(17)

    def detect(self, frame: Frame) -> Detections:
        rows = [row for figure in self._street.truth(frame.number) for row in self._sights(figure, frame.number)]
        second, at = divmod(frame.number / self.street.fps, 1.0)
        if self.ghosts and second % (60 // self.ghosts) == 2:
            x = self.street.width * (0.1 + 0.8 * (second / 60 % 1.0))
            rows.append(((x, 2.0, x + 20.0, 22.0 + at), 0.7, "person"))
        rows.sort(key=lambda row: -row[1])
        labels = self.manifest.labels
        return Detections(
            np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
            np.array([score for _, score, _ in rows], np.float32),
            np.array([labels.index(label) for _, _, label in rows], np.int32),
        )

    def _sights(self, figure: TrueObject, number: int) -> list[tuple[tuple[float, ...], float, str]]:
        if figure.visible < 0.3 or self.blind_to(figure) or self._random.random() < self.missed:
            return []
        label = self.takes.get(figure.label, figure.label) if number % 2 else figure.label
        wide, high = figure.box[2] - figure.box[0], figure.box[3] - figure.box[1]
        noise = self._random.normal(0, 0.02, 4) * (wide, high, wide, high)
        box = tuple((np.array(figure.box) + noise).tolist())
        score = 0.55 + 0.4 * figure.visible
        beside = (box[0] + 0.4 * wide, box[1], box[2] + 0.4 * wide, box[3])
        return [(box, score, label)] + ([(beside, 0.5, label)] if figure.label == self.twice else [])


def verdict_on(**faults: object) -> Verdict:
    return run_street(Seeing(SMALL, **faults), Settings(), MINUTES, SMALL)  # type: ignore[arg-type]  # fits the seam


@pytest.fixture(scope="module")
def good() -> Verdict:
    """What a detector comes to that misses one sight in ten and takes every other truck for a car."""
    return verdict_on(missed=0.1, takes={"truck": "car", "car": "truck"})


def test_a_good_detector_keeps_the_promise_though_it_misses_and_confuses(good: Verdict) -> None:
    assert good.holds, good.table()
    assert good.minutes == MINUTES
    assert good.shares["person"].due >= 10
    assert good.shares["vehicle"].due >= 5
    assert good.shares["bicycle"].due >= 1
    assert good.false_a_minute == 0.0


def test_each_figure_that_is_never_seen_is_missed(good: Verdict) -> None:
    blind = verdict_on(blind_to=lambda figure: figure.label == "person" and figure.number % 4 == 0)
    assert not blind.holds
    assert blind.shares["vehicle"] == good.shares["vehicle"]
    missing = blind.shares["person"].due - blind.shares["person"].told
    assert missing == len(blind.missed) > 0
    assert all(int(line.split()[1].rstrip(",")) % 4 == 0 for line in blind.missed)


def test_ghosts_are_false_each_once_and_break_the_promise(good: Verdict) -> None:
    haunted = verdict_on(ghosts=6)
    assert len(haunted.false) == 3
    assert haunted.false_a_minute == 6.0
    assert all(line.endswith("is nothing") for line in haunted.false)
    assert haunted.shares == good.shares
    assert not haunted.holds


def test_whoever_is_seen_twice_is_one_false_object_too_many(good: Verdict) -> None:
    doubled = verdict_on(twice="car")
    assert doubled.shares == good.shares
    assert len(doubled.false) >= 3
    assert all(" car " in line and line.endswith("is a double") for line in doubled.false)
    assert not doubled.holds


# The rule itself, on a street drawn by hand.


def figure(number: int = 1, label: str = "person", visible: float = 1.0, right: float = 0.0) -> TrueObject:
    return TrueObject(label, number, (BOX[0] + right, BOX[1], BOX[2] + right, BOX[3]), visible)


def street(*figures: TrueObject, seconds: float = 10.0) -> list[tuple[TrueObject, ...]]:
    return [figures] * (round(seconds * FPS) + 1)


def test_who_is_in_view_for_two_seconds_is_due_and_who_is_not_is_not() -> None:
    seen, hidden = figure(), figure(visible=0.49)
    assert judge([(seen,)] * 21, [], FPS).shares["person"].due == 1
    assert judge([(seen,)] * 20, [], FPS).shares["person"].due == 0
    assert judge([(seen,)] * 20 + [(hidden,)] + [(seen,)] * 20, [], FPS).shares["person"].due == 0
    assert judge([(hidden,)] * 40, [], FPS).shares["person"].due == 0


@pytest.mark.parametrize(
    ("events", "told", "false"),
    [
        (life("a", (1.0, 0.0), (5.0, 0.0)), 1, 0),
        (life("a", (1.0, 20.0), (5.0, 20.0)), 1, 0),  # IoU 1/3
        (life("a", (1.0, 22.0), (5.0, 22.0)), 0, 1),  # IoU 0.29
        (life("a", (1.0, 300.0), (5.0, 0.0)), 1, 0),  # one event that fits is enough
        (life("a", (1.0, 0.0), (5.0, 0.0), label="dog"), 0, 1),
        ([], 0, 0),
        (life("a", (1.0, 0.0), (8.0, 0.0)) + life("b", (2.0, 0.0), (7.0, 0.0)), 1, 1),
        (life("a", (1.0, 0.0), (3.0, 0.0)) + life("b", (2.5, 0.0), (7.0, 0.0)), 1, 0),  # half a second together
        (life("a", (1.0, 0.0), (3.0, 300.0)) + life("b", (1.5, 0.0), (7.0, 0.0)), 1, 0),  # the first went elsewhere
    ],
)
def test_the_rule_of_place_label_and_doubles(events: list[Event], told: int, false: int) -> None:
    verdict = judge(street(figure()), events, FPS)
    assert (verdict.shares["person"].told, len(verdict.false)) == (told, false)


@pytest.mark.parametrize(
    ("label", "group", "told"), [("car", "vehicle", 1), ("truck", "vehicle", 1), ("bicycle", None, 0)]
)
def test_a_vehicle_is_told_by_any_label_of_its_group(label: str, group: str | None, told: int) -> None:
    events = life("a", (1.0, 0.0), (5.0, 0.0), label=label, group=group)
    assert judge(street(figure(label="truck")), events, FPS).shares["vehicle"].told == told


def test_splits_and_switches_are_counted_and_not_false() -> None:
    two = street(figure(1), figure(2, right=200.0))
    split = judge(two, life("a", (1.0, 0.0), (3.0, 0.0)) + life("b", (5.0, 0.0), (9.0, 0.0)), FPS)
    assert (split.splits, split.switches, split.false) == (1, 0, ())
    switch = judge(two, life("a", (1.0, 0.0), (3.0, 200.0)), FPS)
    assert (switch.splits, switch.switches, switch.shares["person"].told) == (0, 1, 2)


def test_the_promise_is_95_percent_of_people_and_vehicles_and_two_false_a_minute() -> None:
    crowd = [figure(number, right=100.0 * number) for number in range(20)]
    seen = [life(f"o{at}", (1.0, 100.0 * at), (5.0, 100.0 * at)) for at in range(20)]
    ghosts = [life(f"g{at}", (1.0, 5000.0 + 100 * at), (5.0, 5000.0 + 100 * at)) for at in range(3)]
    minute = street(*crowd, seconds=60.0)
    for lost, ghostly, holds in ((0, 0, True), (1, 2, True), (2, 0, False), (0, 3, False)):
        events = [event for one in seen[lost:] + ghosts[:ghostly] for event in one]
        assert judge(minute, events, FPS).holds is holds


def test_an_object_without_an_end_is_no_life() -> None:
    start, end = life("a", (1.0, 0.0), (2.0, 0.0))
    with pytest.raises(AssertionError, match="a is told as start, update"):
        judge(street(figure()), [start, replace(end, type=EventType.UPDATE)], FPS)


def test_the_model_may_be_a_folder_a_file_or_a_name_with_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = yolox(yolox_answer())
    folder = write_folder(tmp_path / "first", {"fp32": weights}).rename(tmp_path / "candidate")
    write_yolox(tmp_path / "some.onnx", yolox_answer())
    monkeypatch.chdir(tmp_path)
    for model in (str(folder), "candidate", "candidate/", "some.onnx", "yolox=some.onnx"):
        with open_model(model, Settings()) as detector:
            assert detector.manifest.decoder.kind == "yolox"


def test_a_street_on_which_nothing_is_due_keeps_no_promise() -> None:
    empty = judge(street(seconds=60.0), [], FPS)
    assert (empty.share, empty.false_a_minute, empty.holds) == (1.0, 0.0, False)
    only_bicycles = judge(street(figure(label="bicycle"), seconds=60.0), [], FPS)
    assert (only_bicycles.shares["bicycle"].due, only_bicycles.holds) == (1, False)


@pytest.mark.parametrize(
    "wrong", ["--minutes=0", "--minutes=-1", "--minutes=nan", "--minutes=inf", "--minutes=x", "--seed=-1", "--seed=1.5"]
)
def test_numbers_that_make_no_sense_are_told_with_those_that_do(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([wrong])
    assert ended.value.code == 2
    assert f"{wrong.partition('=')[2]!r} is no" in capsys.readouterr().err


def test_it_cannot_be_run_without_a_model_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "nothing.onnx"]) == 78
    assert "nothing.onnx" in capsys.readouterr().err


def test_the_command_prints_its_figures_and_ends_with_1_when_the_promise_is_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = str(write_yolox(tmp_path / "blind.onnx", yolox_answer()))
    assert main(["--model", blind, "--minutes", "0.05", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["share"], told["false_a_minute"], told["holds"]) == (0.0, 0.0, False)
    assert told["shares"]["person"]["due"] == sum(" person " in f" {line}" for line in told["missed"]) > 0
    assert main(["--model", blind, "--minutes", "0.05"]) == 1
    assert "| people and vehicles |" in capsys.readouterr().out
