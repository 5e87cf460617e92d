"""`edgecam tune` as an operator meets it: real processes, with small files that are made here."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli import configured
from appliance.cli.tune import tune
from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError, StorageError
from appliance.inference.tuning import look_up
from tests.shared_data import SHARED, needs
from tests.simulators.models import write_folder, yolox, yolox_answer

QUICK = ("--rounds", "1", "--seconds", "0", "--threads", "1")
SEEN = ((0, 2, 0.9), (3, 0, 0.8), (6, 5, 0.7))  # in the first row, which no padding covers


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(tune, arguments, catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose file of 8 bits has lost what it could see, and another one that has not."""
    (tmp_path / "state").mkdir()
    weights = {"int8": yolox(yolox_answer(SEEN[0])), "fp32": yolox(yolox_answer(*SEEN))}
    return write_folder(tmp_path / "mine", weights)


def test_the_best_that_agrees_is_stored_and_a_sabotaged_file_is_refused_with_its_figure(
    tmp_path: Path, folder: Path
) -> None:
    state = tmp_path / "state"
    done = run(str(folder), "--state-dir", str(state), *QUICK)
    assert done.exit_code == 0
    assert "refused: int8.onnx by cpu with 1 thread: agrees with fp32.onnx in 0.50 of 24 objects" in done.stdout
    assert "by latency: fp32.onnx by cpu with 1 thread" in done.stdout
    assert f"stored in {state / 'tuning' / 'mine.json'}" in done.stdout
    tuned = look_up(ModelSettings(use=str(folder)), state)
    assert tuned.preference is not None
    assert (tuned.state, tuned.preference.file) == ("used", "fp32.onnx")


def test_a_folder_in_the_working_directory_is_one_whatever_it_is_called(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert run("mine", "--state-dir", str(tmp_path / "state"), *QUICK).exit_code == 0


def test_json_has_the_choice_and_every_candidate(tmp_path: Path, folder: Path) -> None:
    done = run(str(folder), "--state-dir", str(tmp_path / "state"), "--objective", "memory", *QUICK, "--json")
    told = json.loads(done.stdout)
    assert (told["tuning"]["objective"], told["tuning"]["choice"]["file"]) == ("memory", "fp32.onnx")
    assert [bool(row["refusal"]) for row in told["rows"]] == [True, False]
    assert told["rows"][0]["agreement"]["value"] == 0.5


def test_verify_measures_again_and_tells_how_far_the_choice_is_from_the_best(tmp_path: Path, folder: Path) -> None:
    state = ("--state-dir", str(tmp_path / "state"))
    with pytest.raises(ConfigError, match="measure it first: edgecam tune"):
        run(str(folder), *state, *QUICK, "--verify")
    run(str(folder), *state, *QUICK)
    done = run(str(folder), *state, *QUICK, "--verify", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ratio"], told["is_within"]) == (0, 1.0, True)  # there is but the one
    stored = tmp_path / "state" / "tuning" / "mine.json"
    stored.write_text(stored.read_text().replace('"file": "fp32.onnx"', '"file": "int8.onnx"'))
    done = run(str(folder), *state, *QUICK, "--verify", "--json")
    assert (done.exit_code, json.loads(done.stdout)["is_within"]) == (1, False)


def test_where_it_cannot_be_stored_or_nothing_may_be_chosen_that_is_told(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(StorageError, match="--state-dir"):
        run(str(folder), "--state-dir", str(tmp_path / "missing"), *QUICK)
    for name in ("int8", "fp32"):
        (folder / f"{name}.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="nothing that was measured may be chosen for mine"):
        run(str(folder), "--state-dir", str(tmp_path / "state"), *QUICK)


def test_a_folder_of_files_is_no_model_to_choose_for(tmp_path: Path, folder: Path) -> None:
    (folder / "manifest.toml").unlink()
    with pytest.raises(ConfigError, match=r"without a manifest\.toml; name a model or a file"):
        run(str(folder), "--state-dir", str(tmp_path / "state"), *QUICK)


def test_what_is_not_used_is_not_said_to_be(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = ("--state-dir", str(tmp_path / "state"))
    assert "used wherever this model is run" in run(str(folder), *state, *QUICK).stdout
    (tmp_path / "edgecam.toml").write_text(f'[model]\nuse = "{folder}"\ntune = "off"\n', encoding="utf-8")
    monkeypatch.setattr(configured, "DEFAULT_PATH", tmp_path / "edgecam.toml")
    assert "it is not used: [model] tune is off" in run(*state, *QUICK).stdout
    with pytest.raises(ConfigError, match="tune is off: no choice is used"):
        run(*state, *QUICK, "--verify")


@needs("models/yolox_nano_416_coco80.onnx")
def test_a_real_detector_with_damaged_weights_of_8_bits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    sound = (SHARED / "models" / "yolox_nano_416_int8_mixed_qdq.onnx").read_bytes()
    plain = (SHARED / "models" / "yolox_nano_416_coco80.onnx").read_bytes()
    folder = write_folder(tmp_path / "real", {"int8": sabotaged(sound), "mixed": sound, "fp32": plain})
    done = run(str(folder), "--state-dir", str(tmp_path / "state"), *QUICK, "--json")
    assert done.exit_code == 0
    rows = {Path(row["file"]).stem: row for row in json.loads(done.stdout)["rows"]}
    assert rows["int8"]["agreement"]["value"] < 0.5
    assert "agrees with fp32.onnx in 0." in rows["int8"]["refusal"]
    assert rows["mixed"]["refusal"] == ""
    assert rows["mixed"]["agreement"]["value"] >= 0.85


def sabotaged(content: bytes) -> bytes:
    """Give a model with one convolution's 8-bit weights turned around: it runs, and sees nothing right."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(content)
    weights = [one for one in model.graph.initializer if numpy_helper.to_array(one).dtype.kind in "iu"]
    largest = max(weights, key=lambda one: numpy_helper.to_array(one).size)
    values = numpy_helper.to_array(largest)
    largest.CopyFrom(numpy_helper.from_array(values[::-1].copy(), largest.name))
    return bytes(model.SerializeToString())
