"""The model is measured again in the background, and only when the machine has time for it."""

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config import ModelSettings
from appliance.daemon.retuner import Patience, Retuner
from appliance.inference.tuning import look_up, read_tuning
from tests.simulators.models import write_folder, yolox, yolox_answer
from tests.simulators.tunings import store

SOON = Patience(after=0.0, again=0.01, limit=60.0, look=0.01)


@pytest.fixture
def model(tmp_path: Path) -> ModelSettings:
    (tmp_path / "state").mkdir()
    folder = write_folder(tmp_path / "mine", {"fp32": yolox(yolox_answer())})
    settings = ModelSettings(use=str(folder))
    store(tmp_path / "state", settings, "fp32.onnx", runtimes=("onnxruntime-1.0.0",))
    return settings


def worker(directory: Path, model: ModelSettings, words: str, **more: object) -> tuple[Retuner, list[str]]:
    """Give a worker whose measuring process is these words of Python, and what it tells."""
    told: list[str] = []
    state = directory / "state"
    command = [sys.executable, "-c", words]
    arguments: dict[str, object] = {"patience": SOON, "is_fit": lambda _: "", "command": command}
    retuner = Retuner(
        look_up(model, state),
        model,
        state,
        on_change=lambda: told.append(retuner.facts()["why"]),
        **arguments | more,  # type: ignore[arg-type] # by name
    )
    return retuner, told


def test_a_choice_that_holds_is_left_alone(tmp_path: Path, model: ModelSettings) -> None:
    store(tmp_path / "state", model, "fp32.onnx")
    retuner, told = worker(tmp_path, model, "raise SystemExit(1)")
    retuner.run(threading.Event())
    assert (retuner.facts()["state"], told) == ("used", [])


def test_it_measures_with_the_owner_s_settings_and_tells_when_it_is_used(tmp_path: Path, model: ModelSettings) -> None:
    words = f"import sys; open(r'{tmp_path}/asked', 'w').write(sys.stdin.read())"
    retuner, told = worker(tmp_path, model, words)
    retuner.run(threading.Event())
    asked = json.loads((tmp_path / "asked").read_text())
    assert asked == {"model": {"use": model.use}, "objective": "latency", "state_dir": str(tmp_path / "state")}
    assert told[0].startswith("measured on something else: runtimes was onnxruntime-1.0.0")
    assert told[0].endswith("; being measured again")
    assert retuner.facts()["state"] == "renewed"
    assert "systemctl restart edgecam" in told[-1]


@pytest.mark.timeout(600)
def test_the_real_process_measures_and_stores(tmp_path: Path, model: ModelSettings) -> None:
    model = model.model_copy(update={"threads": 1})  # else twice as much is measured
    retuner = Retuner(
        look_up(model, tmp_path / "state"),
        model,
        tmp_path / "state",
        on_change=lambda: None,
        patience=replace(SOON, limit=500.0),  # it has the lowest priority, and other tests run beside it
        is_fit=lambda _: "",
    )
    retuner.run(threading.Event())
    assert retuner.facts()["state"] == "renewed", retuner.facts()
    tuning = read_tuning(tmp_path / "state", "mine")
    assert tuning is not None
    assert tuning.figures.latency_ms != 7.25  # what was stored before
    assert look_up(model, tmp_path / "state").state == "used"


def test_why_it_could_not_be_measured_is_told_with_the_next_step(tmp_path: Path, model: ModelSettings) -> None:
    retuner, told = worker(tmp_path, model, "raise SystemExit('no weights are here')")
    retuner.run(threading.Event())
    assert told[-1].endswith("could not be measured again (no weights are here); do it by hand: edgecam tune")
    assert retuner.facts()["state"] == "stale"


def test_a_hot_machine_is_left_in_peace_until_it_is_cool(tmp_path: Path, model: ModelSettings) -> None:
    looks = iter(["hot", "hot", ""])
    retuner, told = worker(tmp_path, model, "pass", is_fit=lambda is_measuring: "" if is_measuring else next(looks))
    retuner.run(threading.Event())
    assert "to be measured again when the machine is not hot" in told[0]
    assert list(looks) == []


def test_measuring_ends_when_the_machine_gets_hot_and_is_given_up_in_the_end(
    tmp_path: Path, model: ModelSettings
) -> None:
    words = "import time; time.sleep(60)"
    retuner, told = worker(tmp_path, model, words, is_fit=lambda is_measuring: "hot" if is_measuring else "")
    started = time.monotonic()
    retuner.run(threading.Event())
    assert time.monotonic() - started < 30.0
    assert told[-1].endswith("the machine is too hot to measure again: improve the cooling, then: edgecam tune")


def test_a_process_that_does_not_read_what_it_is_asked_is_not_waited_for(tmp_path: Path, model: ModelSettings) -> None:
    long = model.model_copy(update={"labels": tuple(f"label {number:0200}" for number in range(1000))})
    patience = Patience(after=0.0, limit=0.1, look=0.01)
    retuner, told = worker(tmp_path, long, "import time; time.sleep(60)", patience=patience)
    retuner.run(threading.Event())
    assert "was not measured within 0 s" in told[-1]


def test_it_does_not_measure_for_ever(tmp_path: Path, model: ModelSettings) -> None:
    patience = Patience(after=0.0, limit=0.1, look=0.01)
    retuner, told = worker(tmp_path, model, "import time; time.sleep(60)", patience=patience)
    retuner.run(threading.Event())
    assert "was not measured within 0 s; do it by hand: edgecam tune" in told[-1]


@pytest.mark.parametrize("patience", [SOON, Patience()], ids=["while it measures", "before it begins"])
def test_the_daemon_s_end_ends_it_at_once(tmp_path: Path, model: ModelSettings, patience: Patience) -> None:
    words = f"import os, time; open(r'{tmp_path}/pid', 'w').write(str(os.getpid())); time.sleep(60)"
    retuner, _ = worker(tmp_path, model, words, patience=patience)
    stop = threading.Event()
    thread = threading.Thread(target=retuner.run, args=(stop,))
    thread.start()
    if patience is SOON:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    stop.set()
    thread.join(10.0)
    assert not thread.is_alive()
    if patience is SOON:
        assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


def until(question: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not question():
        assert time.monotonic() < deadline
