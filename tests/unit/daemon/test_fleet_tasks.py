"""Candidates that classify or segment pass the same gates as detectors, stand beside their like, and take its place."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.config import ModelSettings, Settings
from appliance.config.settings import DeviceSettings
from appliance.core.clock import SystemClock
from appliance.core.errors import UnavailableError
from appliance.core.health import HealthBoard
from appliance.core.manifest import read_manifest
from appliance.daemon.fleet import FleetModels
from appliance.daemon.gates import Gates
from appliance.daemon.seeing import SeeingLabels
from appliance.inference.golden import frame_of
from appliance.inference.host import AnyHost
from appliance.inference.ladder import open_climbing_model
from appliance.updates.formats import Release, Trial
from appliance.updates.judging import Watching, comparing
from appliance.updates.refusals import Code, RefusedError
from tests.simulators import faulty_runtime
from tests.simulators.faulty_runtime import faulty
from tests.simulators.models import write_folder, yolox, yolox_answer
from tests.simulators.seeing_tasks import BLUE, GREEN, GREY, network, picture, released, write_seeing

TASKS = ("classify", "segment")
LOOKS: dict[str, Callable[[Any, Any], object]] = {
    "classify": lambda host, frame: host.scores(frame),
    "segment": lambda host, frame: host.segment(frame, 640),
}
PICTURES = [frame_of(picture(*colours)) for colours in ((GREEN,), (BLUE,), (GREEN, BLUE), (GREY,))]


def release(task: str, version: str = "2") -> Release:
    return Release.model_validate(
        {
            "schema": 1,
            "name": "mine",
            "version": version,
            "counter": 2,
            "task": task,
            "metrics": {"dataset": "d", "pictures": 1, "figures": {"top1": 1}},
            "licence": {"spdx": "Apache-2.0"},
            "provenance": "p",
            "files": {"model.onnx": {"path": "models/p/model.onnx"}},
        }
    )


def gates_of(folder: Path) -> Gates:
    return Gates(ModelSettings(), read_manifest(folder), threading.Event())


@pytest.mark.parametrize("task", TASKS)
def test_a_good_release_passes_and_a_blind_one_does_not(tmp_path: Path, task: str) -> None:
    good, blind = released(tmp_path / "good", task, "2"), released(tmp_path / "blind", task, "2", "blind")
    gates = gates_of(good)
    gates.inspect(good, release(task))
    seen = gates.smoke(good, good, latency_percent=1000, memory_percent=1000)
    assert 0 < seen.best_ms <= seen.p95_ms
    gates.inspect(blind, release(task))
    with pytest.raises(RefusedError, match="on its golden frames: ") as refused:
        gates.smoke(blind, None, 1000, 1000)
    assert refused.value.code is Code.GOLDEN


def test_scores_that_are_no_numbers_are_told_as_such(tmp_path: Path) -> None:
    folder = released(tmp_path / "mine", "classify", "2", "nan")
    with pytest.raises(RefusedError, match="not finite") as refused:
        gates_of(folder).smoke(folder, None, 1000, 1000)
    assert refused.value.code is Code.NUMBERS


@pytest.mark.parametrize(
    ("before", "after", "signed", "why"),
    [
        ("", "", "segment", "its manifest says task 'classify', and it was signed as 'segment'"),
        ('"dog"]', '"wolf"]', "classify", "its 3 labels are not the 3"),
        ('background = "nothing"', 'background = "dog"', "classify", "label 'dog' stands for nothing"),
        ("min_score = 0.3", "min_score = 0.2", "classify", "its lowest score is 0.2"),
    ],
)
def test_what_does_not_fit_the_classifier_in_service_is_refused(
    tmp_path: Path, before: str, after: str, signed: str, why: str
) -> None:
    folder = released(tmp_path / "mine", "classify", "2")
    gates = gates_of(folder)
    manifest = folder / "manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    assert before in text
    manifest.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(RefusedError, match=why) as refused:
        gates.inspect(folder, release(signed))
    assert refused.value.code is Code.CONTRACT


def fleet_models(tmp_path: Path) -> FleetModels:
    settings = Settings(device=DeviceSettings(state_dir=tmp_path / "state"))
    return FleetModels(settings, SystemClock(), "a" * 32, HealthBoard())


@contextmanager
def in_service(tmp_path: Path, task: str) -> Iterator[tuple[FleetModels, AnyHost]]:
    """Have a good model look at pictures, one after the other, in a thread."""
    models = fleet_models(tmp_path)
    host = models.hosted(open_climbing_model(ModelSettings(use=str(write_seeing(tmp_path / "mine", task)))))
    stop = threading.Event()

    def look() -> None:
        at = 0
        while not stop.wait(0.002):
            LOOKS[task](host, PICTURES[at % len(PICTURES)])
            at += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield models, host
    finally:
        stop.set()
        thread.join(20)
        host.close()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("kind", "code"), [("good", None), ("blind", Code.BLIND)])
def test_one_that_says_the_same_whatever_it_sees_is_told_beside_the_model_in_service(
    tmp_path: Path, task: str, kind: str, code: Code | None
) -> None:
    candidate = write_seeing(tmp_path / "candidate", task, kind)
    trial = Trial(shadow_frames=30, shadow_seconds=60, rate_percent=(60, 10_000))
    found = comparing(task)
    with in_service(tmp_path, task) as (models, _), models.shadow(candidate) as see:
        while found.frames < trial.shadow_frames:
            if (pair := see()) is not None:
                found.add(*pair)
    verdict = found.verdict(trial)
    assert (verdict and verdict[0]) == code
    assert found.facts()["active"] > 0


@pytest.mark.parametrize(("activation", "sure"), [("softmax", [False, True, False]), ("sigmoid", [False, True, True])])
def test_what_a_classifier_is_sure_of_is_its_best_label_or_each_where_labels_may_apply_together(
    tmp_path: Path, activation: str, sure: list[bool]
) -> None:
    folder = write_seeing(tmp_path / "mine", "classify")
    manifest = folder / "manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    assert 'activation = "softmax"' in text
    manifest.write_text(text.replace('"softmax"', f'"{activation}"'), encoding="utf-8")
    seeing = SeeingLabels(ModelSettings(), read_manifest(folder))
    assert seeing.told(np.array([0.9, 0.5, 0.45], np.float32)).labels.tolist() == sure


@pytest.mark.parametrize("task", TASKS)
def test_it_takes_the_place_of_its_like_between_two_frames_and_never_of_another_task(tmp_path: Path, task: str) -> None:
    candidate = write_seeing(tmp_path / "candidate", task)
    detector = write_folder(tmp_path / "detector", {"fp32": yolox(yolox_answer((9, 2, 0.9)))})
    with in_service(tmp_path, task) as (models, host):
        models.put_in_service(candidate)
        assert host.manifest.name == "candidate"
        with pytest.raises(RefusedError, match=f"it is for task 'detect', and '{task}' is in service") as refused:
            models.put_in_service(detector)
        assert refused.value.code is Code.CONTRACT
        assert host.manifest.name == "candidate"


@pytest.mark.parametrize(
    ("task", "word", "code"),
    [
        ("classify", "nan", Code.NUMBERS),
        ("classify", "empty", Code.NUMBERS),
        ("classify", "starved", Code.MEMORY),
        ("segment", "empty", Code.NUMBERS),
        ("segment", "count", Code.NUMBERS),
        ("segment", "starved", Code.MEMORY),
    ],
)
def test_a_failure_in_service_ends_a_trial_whatever_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, word: str, code: Code
) -> None:
    faulty_runtime.install(monkeypatch)
    fault = tmp_path / "fault"
    folder = write_seeing(tmp_path / "mine", task, content=faulty(f"@{fault}", network(task)))
    models = fleet_models(tmp_path)
    host = models.hosted(open_climbing_model(ModelSettings(use=str(folder), timeout=5.0)))
    watching = Watching(models.vitals(), Trial())
    try:
        LOOKS[task](host, PICTURES[0])
        assert watching.verdict(models.vitals(), 0.0) is None
        fault.write_text(word, encoding="ascii")
        with pytest.raises(UnavailableError):
            LOOKS[task](host, PICTURES[0])
        verdict = watching.verdict(models.vitals(), 1.0)
    finally:
        host.close()
    assert verdict is not None
    assert verdict[0] is code, verdict
