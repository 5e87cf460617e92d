"""`edgecam model` as an operator meets it."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from appliance.cli import configured
from appliance.cli.model import model
from appliance.core.errors import ConfigError, ModelError
from appliance.inference.golden import Tolerance
from appliance.updates.state import Held, State
from appliance.updates.store import Store
from appliance.workbench.golden_frames import make_golden, own_frames
from tests.simulators.models import write_folder, write_yolox, yolox, yolox_answer
from tests.simulators.seeing_tasks import released

FAMILIES = [
    "d-fine",
    "deeplab",
    "edgecam-nano",
    "efficientdet",
    "fastestdet",
    "mobilenet",
    "nanodet",
    "picodet",
    "rf-detr",
    "ssd-mobilenet",
    "yolox",
]


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(model, arguments, catch_exceptions=False)


def test_each_model_is_one_line_on_a_terminal_of_80_columns() -> None:
    done = run("list")
    lines = done.stdout.rstrip("\n").splitlines()
    assert [line.split()[0] for line in lines] == ["model", *FAMILIES]
    assert max(map(len, lines)) <= 80
    assert "…" not in done.stdout
    assert "--model FILE.onnx" in done.stderr


def test_a_record_of_releases_that_was_damaged_is_told_where_a_fleet_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "edgecam.toml"
    config.write_text(f'[device]\nstate_dir = "{tmp_path}"\n[fleet]\nurl = "/media/fleet"\nroot = "/root.json"\n')
    monkeypatch.setattr(configured, "DEFAULT_PATH", config)
    (tmp_path / "models").mkdir()
    assert "damaged" not in run("list").stderr
    store, aside = Store(tmp_path), tmp_path / "models" / "state.json.broken"
    aside.write_bytes(b"{")
    told = run("list").stderr
    assert f"was damaged and is put aside as {aside}; " in told
    assert f"sudo rm {aside}\n" in told
    store.write(State(active=Held(sha256="2" * 64, name="persons", version="2", counter=2)))
    assert "damaged" not in run("list").stderr


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own models, one of which is broken."""
    write_folder(tmp_path / "mine" / "good", {"fp32": yolox(yolox_answer())})
    (tmp_path / "mine" / "bad").mkdir()
    (tmp_path / "mine" / "bad" / "manifest.toml").write_text("schema = 9\n", encoding="utf-8")
    config = tmp_path / "edgecam.toml"
    config.write_text(f'[model]\ndirectories = ["{tmp_path / "mine"}"]\n')
    monkeypatch.setattr(configured, "DEFAULT_PATH", config)
    return tmp_path / "mine"


def test_a_broken_manifest_has_a_line_and_the_other_models_are_listed(mine: Path) -> None:
    done = run("list")
    assert done.exit_code == 65
    assert [line.split()[0] for line in done.stdout.rstrip().splitlines()] == ["model", "good", *FAMILIES]
    assert f"edgecam: bad is broken and not listed: {mine / 'bad' / 'manifest.toml'}" in done.stderr
    done = run("list", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 65
    assert f"edgecam: bad is broken: {mine / 'bad' / 'manifest.toml'}" in done.stderr  # the array lists it
    assert [one["name"] for one in told if "error" not in one] == ["good", *FAMILIES]
    broken = told[-1]
    assert (broken["name"], broken["folder"], "schema" in broken["error"]) == ("bad", str(mine / "bad"), True)


def test_a_broken_manifest_keeps_no_other_model_from_being_shown_and_its_own_says_what_is_wrong(mine: Path) -> None:
    assert run("show", "good").exit_code == 0
    with pytest.raises(ModelError, match=re.escape(str(mine / "bad" / "manifest.toml"))):
        run("show", "bad")
    with pytest.raises(ConfigError, match=r"'nosuch'; known: good"):
        run("check", "nosuch")


def test_a_name_that_is_not_known_is_a_mistake_on_the_command_line_and_the_known_are_told() -> None:
    done = run("show", "yolo")
    assert done.exit_code == 2
    assert ", ".join(FAMILIES) in " ".join(done.stderr.split())


@pytest.fixture
def checked(tmp_path: Path) -> Path:
    """A model's folder with golden frames for what its int8 artifact finds."""
    folder = write_folder(tmp_path / "mine", {"int8": yolox(yolox_answer((0, 2, 0.9)))})
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "black.png"), np.zeros((64, 64, 3), np.uint8))
    make_golden(folder, own_frames(tmp_path / "frames"), Tolerance())
    return folder


def test_a_model_that_does_what_it_did_passes_its_check(checked: Path) -> None:
    done = run("check", str(checked))
    assert (done.exit_code, done.stdout.count("passed")) == (0, 1)
    assert "1 of 1 objects found, 0 unexpected" in done.stdout
    told = json.loads(run("check", str(checked), "--precision", "int8", "--json").stdout)
    assert (told["is_passed"], told["expected"], told["deviations"]) == (True, 1, [])


def test_a_model_that_sees_something_else_fails_its_check_with_the_status_of_a_broken_model(checked: Path) -> None:
    golden = checked / "golden" / "golden.json"
    golden.write_text(golden.read_text(encoding="utf-8").replace('"car"', '"bus"'), encoding="utf-8")
    done = run("check", str(checked))
    assert done.exit_code == 65
    assert "black.png: bus 0.90 at 0, 0, 8, 8 is missing" in done.stdout
    assert "NOT passed" in done.stdout
    done = run("check", str(checked), "--json")
    assert (done.exit_code, json.loads(done.stdout)["is_passed"]) == (65, False)


@pytest.mark.parametrize(("task", "found"), [("classify", "of 3 labels found"), ("segment", "of 4 areas found")])
def test_a_model_of_another_task_is_checked_by_its_own_golden_frames(tmp_path: Path, task: str, found: str) -> None:
    done = run("check", str(released(tmp_path / "good", task)))
    assert (done.exit_code, f"{found[3]} {found}, 0 unexpected" in done.stdout) == (0, True), done.stdout
    done = run("check", str(released(tmp_path / "blind", task, kind="blind")))
    assert done.exit_code == 65
    assert "NOT passed" in done.stdout
    assert found in done.stdout


def test_a_model_without_golden_frames_is_not_passed_in_silence(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", {"fp32": yolox(yolox_answer())})
    with pytest.raises(ModelError, match=rf"golden\.json is missing; .* golden {re.escape(str(folder))}$"):
        run("check", str(folder))


def test_a_bare_file_has_no_golden_frames_and_is_told_so(tmp_path: Path) -> None:
    file = write_yolox(tmp_path / "some.onnx", yolox_answer())
    for name in (str(file), f"yolox={file}"):
        with pytest.raises(ConfigError, match=r"some\.onnx is a bare file; .* give its name or folder") as caught:
            run("check", name)
        assert caught.value.exit_code == 78


def test_a_model_that_is_not_there_is_told_by_78_and_not_with_an_option_that_the_command_lacks() -> None:
    for name in ("nosuch", "yolox"):
        with pytest.raises(ConfigError, match=r"give a file: .*FILE\.onnx") as caught:
            run("check", name)
        assert caught.value.exit_code == 78
        assert "--model" not in str(caught.value)


def test_a_model_shows_the_groups_that_can_be_named_beside_its_labels() -> None:
    assert re.search(r"(?m)^groups +vehicle \(car, motorcycle, bus, truck\)$", run("show", "yolox").stdout)
    assert json.loads(run("show", "yolox", "--json").stdout)["groups"]["vehicle"][0] == "car"
