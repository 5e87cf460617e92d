"""The stored choice: used where it fits, refused and told where it does not."""

import json
import os
from pathlib import Path

import pytest

from appliance.config import ModelSettings
from appliance.core.errors import StorageError
from appliance.inference.ladder import open_best_model
from appliance.inference.tuning import look_up, read_tuning
from appliance.inference.ways import Preference, Way
from tests.simulators.models import write_folder, write_yolox, yolox, yolox_answer
from tests.simulators.tunings import store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "mine", {"int8": yolox(yolox_answer((0, 2, 0.9))), "fp32": yolox(yolox_answer())})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


def settings(folder: Path, **more: object) -> ModelSettings:
    return ModelSettings.model_validate({"use": str(folder), **more})


def test_what_was_measured_to_be_the_best_is_opened_before_the_others(folder: Path, state: Path) -> None:
    model = settings(folder)
    store(state, model, "fp32.onnx", Way(("cpu",), threads=2))
    tuned = look_up(model, state)
    assert (tuned.state, tuned.why) == ("used", "")
    assert tuned.preference == Preference("fp32.onnx", Way(("cpu",), threads=2))
    with open_best_model(model, preferred=tuned.preference) as detector:
        assert (detector.running.file, detector.running.troubles()) == ("fp32.onnx", ())
    facts = tuned.facts()
    assert (facts["objective"], facts["choice"]["threads"], facts["figures"]["latency_ms"]) == ("latency", 2, 7.25)
    json.dumps(facts)


def test_without_anything_stored_the_ladder_is_as_it_was(folder: Path, state: Path) -> None:
    assert look_up(settings(folder), state).facts() == {"state": "none", "why": ""}
    assert look_up(settings(folder), state / "missing").preference is None


def test_a_choice_for_another_machine_is_not_used_and_it_is_told_what_changed(folder: Path, state: Path) -> None:
    store(state, settings(folder), "fp32.onnx", runtimes=("onnxruntime-1.0.0",))
    tuned = look_up(settings(folder), state)
    assert (tuned.state, tuned.preference) == ("stale", None)
    assert "runtimes was onnxruntime-1.0.0, is " in tuned.why


def test_a_choice_for_other_weights_is_not_used(folder: Path, state: Path) -> None:
    store(state, settings(folder), "fp32.onnx")
    (folder / "int8.onnx").unlink()
    tuned = look_up(settings(folder), state)
    assert (tuned.state, tuned.why) == ("stale", "measured on something else: int8.onnx is not here any more")


MEASURED = Way(("cpu",), threads=2)


@pytest.mark.parametrize(
    ("own", "expected", "told"),
    [
        ({"threads": 4}, ("overridden", Way(("cpu",), threads=4)), "threads = 4"),
        ({"threads": 2}, ("used", MEASURED), ""),
        ({"providers": ["openvino", "cpu"]}, ("overridden", Way((), threads=2)), "providers = openvino, cpu"),
        ({"providers": ["cpu"]}, ("used", MEASURED), ""),
        ({"artifact": "int8"}, ("overridden", None), "artifact is 'int8', and fp32.onnx was measured"),
        ({"artifact": "int8.onnx"}, ("overridden", None), "artifact is 'int8.onnx', and fp32.onnx was measured"),
        ({"artifact": "fp32"}, ("used", MEASURED), ""),
        ({"artifact": "onnx"}, ("used", MEASURED), ""),
        ({"tune": "off"}, ("off", None), "tune is off"),
    ],
)
def test_what_the_owner_sets_goes_before_what_was_measured(
    folder: Path, state: Path, own: dict[str, object], expected: tuple[str, Way | None], told: str
) -> None:
    store(state, settings(folder), "fp32.onnx", MEASURED)
    tuned = look_up(settings(folder, **own), state)
    assert (tuned.state, tuned.preference and tuned.preference.way) == expected
    assert told in tuned.why


def damaged(content: bytes, **more: object) -> bytes:
    return json.dumps(json.loads(content) | more).encode()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda content: content[: len(content) // 2], "no valid JSON"),
        (lambda _: b"[" * 60_000, "no valid JSON"),
        (lambda _: b"\xff\xfe\x00", "no valid JSON"),
        (lambda _: b"[]", "is damaged"),
        (lambda content: content + b" " * (64 << 10), "larger than 64 KiB"),
        (lambda content: damaged(content, schema=2), "written by a newer Edgecam (format 2; this one reads 1)"),
        (lambda content: damaged(content, model="other"), "of another model"),
        (lambda content: damaged(content, choice={"file": "../../etc/passwd"}), "choice.file"),
        (lambda content: damaged(content, choice={"file": "fp32.onnx", "threads": 10_000}), "choice.threads"),
        (lambda content: damaged(content, choice={"file": "fp32.onnx", "providers": ["rocket"]}), "choice.providers"),
    ],
)
def test_a_file_that_is_damaged_too_large_or_from_the_future_is_told_and_not_used(
    folder: Path, state: Path, damage: object, told: str
) -> None:
    path = store(state, settings(folder), "fp32.onnx")
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator] # one of the functions above
    tuned = look_up(settings(folder), state)
    assert (tuned.state, tuned.preference, tuned.tuning) == ("refused", None, None)
    assert told in tuned.why
    assert tuned.why.endswith("it is not used; measure again: edgecam tune")


def test_a_bare_file_has_a_choice_of_its_own_and_another_content_another_one(tmp_path: Path, state: Path) -> None:
    model = settings(write_yolox(tmp_path / "My Model.onnx", yolox_answer()))
    path = store(state, model, "My Model.onnx", Way(("cpu",), threads=3))
    assert path.name.startswith("file-my-model-")
    tuned = look_up(model, state)
    assert tuned.state == "used"
    with open_best_model(model, preferred=tuned.preference) as detector:
        assert detector.running.file == "My Model.onnx"
    write_yolox(tmp_path / "My Model.onnx", yolox_answer((0, 2, 0.9)))
    assert look_up(model, state).state == "none"


def test_where_the_state_cannot_be_written_or_read_that_is_told(folder: Path, state: Path) -> None:
    with pytest.raises(StorageError, match="is the state's folder there"):
        store(state / "missing" / "deeper", settings(folder), "fp32.onnx")
    path = store(state, settings(folder), "fp32.onnx")
    path.unlink()
    path.mkdir()  # no file: a pipe would keep us waiting
    assert read_tuning(state, "mine") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_stores_the_daemon_can_renew(folder: Path, state: Path) -> None:
    os.chown(state, 12345, 12345)
    path = store(state, settings(folder), "fp32.onnx")
    assert (path.parent.stat().st_uid, path.stat().st_mode & 0o777) == (12345, 0o644)


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is open to root")
def test_a_state_that_is_not_open_to_the_user_is_told(folder: Path, state: Path) -> None:
    store(state, settings(folder), "fp32.onnx")
    state.chmod(0o600)
    tuned = look_up(settings(folder), state)
    state.chmod(0o700)
    assert (tuned.state, tuned.preference) == ("refused", None)
    assert "is not open to you" in tuned.why


def test_a_choice_that_fails_here_falls_to_its_manifest_s_way_and_it_is_told(folder: Path, state: Path) -> None:
    model = settings(folder)
    store(state, model, "fp32.onnx", Way(("cuda",)))
    with open_best_model(model, preferred=look_up(model, state).preference) as detector:
        assert detector.running.file == "int8.onnx"
        (trouble,) = detector.running.troubles()
    assert trouble.startswith("fp32.onnx was refused, int8.onnx runs: nothing that may run ")
