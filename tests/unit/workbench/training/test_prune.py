import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
pytest.importorskip("pycocotools", reason="pycocotools, the extra `workbench`, is not installed")

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError
from appliance.core.manifest import read_manifest
from appliance.inference.artifacts import resolve_model
from appliance.workbench.main import main
from appliance.workbench.prune import prune
from appliance.workbench.recipe import read_recipe
from appliance.workbench.training.checkpoints import (
    CHECKPOINT_NAME,
    read_any_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from appliance.workbench.training.export import to_onnx
from appliance.workbench.training.network import Network, count
from appliance.workbench.training.run import run
from tests.simulators.street_corpus import RECIPE, write_street_corpus

ROOT = Path(__file__).resolve().parents[4]
COMMAND = [sys.executable, "-c", "from appliance.workbench.main import main; main()", "prune"]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, a corpus, and a run that learned from it."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    write_street_corpus(folder / "corpus")
    recipe = read_recipe(folder / "recipe.toml").with_iterations(10)  # as with --iterations
    run(recipe, data=folder / "corpus", device="cpu", folder=folder / "trained", resume=False, threads=1)
    return folder


@pytest.fixture(scope="module")
def whole(workshop: Path) -> dict[str, Any]:
    """What an undisturbed run reports."""
    result = CliRunner().invoke(prune, [*arguments(workshop, workshop / "whole"), "--json"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def arguments(workshop: Path, folder: Path, recipe: str = RECIPE) -> list[str]:
    file = folder.with_name(f"{folder.name}.toml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(recipe, encoding="utf-8")
    return [
        *(str(file), "--data", str(workshop / "corpus"), "--from", str(workshop / "trained"), "--run", str(folder)),
    ]


def judged_otherwise(workshop: Path, folder: Path, aps: dict[str, float]) -> Path:
    """Copy the run as if the validation had come to other figures; its model is not written yet."""
    shutil.copytree(workshop / "whole", folder)
    shutil.rmtree(folder / "tiny")
    ledger = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))
    (search,) = ledger["searches"].values()
    for key, ap in aps.items():
        search["found"][key]["figures"]["ap"] = ap
    (folder / "ledger.json").write_text(json.dumps(ledger), encoding="utf-8")
    return folder


def file_of(folder: Path) -> bytes:
    return (folder / "tiny" / "tiny-fp32.onnx").read_bytes()


def test_points_have_the_multiply_adds_that_were_asked_for_and_smaller_files(whole: dict[str, Any]) -> None:
    points = whole["points"]
    assert [one["share"] for one in points] == [None, 0.0, 0.2, 0.4]
    full = points[0]["multiply_adds"]
    assert points[1]["multiply_adds"] == full
    for one in points[2:]:
        left = one["multiply_adds"] / full
        assert 1 - one["share"] - 0.12 < left <= 1 - one["share"]  # a step of a network so small is large
    for figure in ("multiply_adds", "parameters", "size"):
        assert points[1][figure] > points[2][figure] > points[3][figure]
    assert points[0]["ratio"] == 1.0
    assert all(one["cpu_ms"] > 0 for one in points)
    assert whole["reference"] == max(one["ap"] for one in points[:2]) > 0


def test_the_smallest_within_the_drop_is_a_model_that_the_device_knows(workshop: Path, whole: dict[str, Any]) -> None:
    assert whole["chosen"] == 3
    assert whole["model"] == str(workshop / "whole" / "tiny")
    settings = ModelSettings(use="tiny", directories=(workshop / "whole",))
    assert resolve_model(settings).manifest.version == "1+pruned.40"
    assert file_of(workshop / "whole") == file_of(workshop / "whole" / "share-40")
    assert len(file_of(workshop / "whole")) == whole["points"][3]["size"]
    chart = (workshop / "whole" / "curve.svg").read_text(encoding="utf-8")
    assert "40 % less, chosen" in chart
    assert json.loads((workshop / "whole" / "report.json").read_text(encoding="utf-8")) == whole


def test_the_network_that_was_trained_is_the_first_point_as_it_is(workshop: Path, whole: dict[str, Any]) -> None:
    assert file_of(workshop / "whole" / "as-trained") == file_of(workshop / "trained")
    report = json.loads((workshop / "trained" / "report.json").read_text(encoding="utf-8"))
    assert whole["points"][0]["ap"] == report["figures"]["ap"]


def test_a_pruned_network_is_built_again_from_the_recipe_beside_the_model(
    workshop: Path, whole: dict[str, Any]
) -> None:
    recipe = read_recipe(workshop / "whole" / "tiny" / "recipe.toml")
    assert recipe.network.widths is not None
    folder = workshop / "whole" / "share-40"
    checkpoint = read_checkpoint(folder, recipe.digest())
    network = Network(recipe.network, len(recipe.labels))
    network.load_state_dict(checkpoint.average)
    assert count(network, recipe.size) == (whole["points"][3]["parameters"], whole["points"][3]["multiply_adds"])
    notes = {"step": "6", "recipe": recipe.digest()}
    assert to_onnx(network, recipe.size, notes) == file_of(folder)
    # and `train --resume` goes on with it
    report = run(recipe, data=workshop / "corpus", device="cpu", folder=folder, resume=True, threads=1)
    assert (report.is_done, report.step, report.parameters) == (True, 6, whole["points"][3]["parameters"])


def test_the_drop_decides_which_is_chosen_and_nothing_is_done_again(
    workshop: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    assert whole["is_done"]
    figures = {"as trained": 0.3, "share 0": 0.31, "share 0.2": 0.304, "share 0.4": 0.29}
    folder = judged_otherwise(workshop, tmp_path / "run", figures)
    before = {path: path.stat().st_mtime_ns for path in folder.glob(f"share-*/{CHECKPOINT_NAME}")}
    command = [*arguments(workshop, folder), "--resume", "--max-drop", "1"]
    result = CliRunner().invoke(prune, command)
    assert result.exit_code == 0, result.output
    assert file_of(folder) == file_of(folder / "share-20")
    assert "| 20 % less *" in result.output
    assert "smallest within 1 AP" in result.output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    result = CliRunner().invoke(prune, [*command[:-1], "2", "--json"])
    assert json.loads(result.stdout)["chosen"] == 3


def test_without_a_pruned_one_within_the_drop_no_model_is_written(
    workshop: Path,
    whole: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert whole["is_done"]
    figures = {"as trained": 0.3, "share 0": 0.29, "share 0.2": 0.284, "share 0.4": 0.2}
    folder = judged_otherwise(workshop, tmp_path / "run", figures)
    command = [*arguments(workshop, folder), "--resume", "--max-drop", "1.5"]
    monkeypatch.setattr(sys, "argv", ["edgecam-workbench", "prune", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == ModelError.exit_code == 65
    said = capsys.readouterr()
    assert "tiny cannot be pruned within 1.5 AP: whole it has AP 30.0, the best pruned one, 20 % less, 28.4" in said.err
    assert "| 20 % less " in said.out  # the curve is told all the same
    assert not (folder / "tiny").exists()


def test_a_refusal_leaves_no_earlier_model_that_could_be_taken_for_its_own(
    workshop: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    assert whole["is_done"]
    figures = {"as trained": 0.3, "share 0": 0.29, "share 0.2": 0.284, "share 0.4": 0.2}
    folder = judged_otherwise(workshop, tmp_path / "run", figures)
    command = [*arguments(workshop, folder), "--resume", "--max-drop"]
    assert CliRunner().invoke(prune, [*command, "2"]).exit_code == 0
    assert (folder / "tiny" / "manifest.toml").exists()
    (folder / "tiny" / "notes.txt").write_text("somebody's own", encoding="utf-8")
    for _ in range(2):
        refused = CliRunner().invoke(prune, [*command, "1.5"])
        assert isinstance(refused.exception, ModelError)
        assert "none of an earlier choice is left in its place" in str(refused.exception)
        assert [path.name for path in (folder / "tiny").iterdir()] == ["notes.txt"]
    assert (folder / "share-20" / "tiny" / "manifest.toml").exists()
    assert CliRunner().invoke(prune, [*command, "2"]).exit_code == 0
    assert file_of(folder) == file_of(folder / "share-20")


@pytest.mark.timeout(300)  # it loads PyTorch twice more
def test_a_run_that_was_stopped_and_killed_gives_the_bytes_of_one_that_was_not(
    workshop: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = arguments(workshop, folder)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    for extra, number, status, told in (
        ([], signal.SIGKILL, -9, "step 3"),  # between two checkpoints of the first
        (["--resume"], signal.SIGTERM, 75, "share 0.2: 6 steps"),
    ):
        with subprocess.Popen(
            [*COMMAND, *command, *extra], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert any(line.startswith(told) for line in process.stderr), "it ended before it was stopped"
            process.send_signal(number)
            process.stderr.read()
            assert process.wait(60) == status
    assert not (folder / "tiny").exists()
    result = CliRunner().invoke(prune, [*command, "--resume", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    for one, other in zip(report["points"], whole["points"], strict=True):
        assert {**one, "cpu_ms": 0, "ratio": 0, "model": ""} == {**other, "cpu_ms": 0, "ratio": 0, "model": ""}
        assert file_of(Path(one["model"]).parent) == file_of(Path(other["model"]).parent)
    assert report["chosen"] == whole["chosen"]


def refusal(command: list[str]) -> str:
    result = CliRunner().invoke(prune, command)
    assert isinstance(result.exception, ConfigError), result.output
    return str(result.exception)


def test_what_cannot_be_pruned_is_refused_with_the_next_step(
    workshop: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    assert whole["is_done"]
    new = tmp_path / "new"
    assert "has no table [prune]" in refusal(arguments(workshop, new, RECIPE.partition("[prune]")[0]))
    other = RECIPE.replace("learning_rate = 8e-3", "learning_rate = 7e-3")
    assert "holds no finished run of this recipe" in refusal(arguments(workshop, new, other))
    far = RECIPE.replace("0.4]", "0.9]")
    assert "prune.shares: 0.9 cannot be reached: with least = 0.25" in refusal(arguments(workshop, new, far))
    none = [*arguments(workshop, new), "--from", str(tmp_path)]
    assert "--from takes the folder of a run of `edgecam-workbench train`" in refusal(none)
    assert "holds no pruning of this network" in refusal([*arguments(workshop, new), "--resume"])
    assert "holds a run already; go on with --resume" in refusal(arguments(workshop, workshop / "whole"))
    longer = RECIPE.replace("iterations = 6", "iterations = 7")
    assert "holds no pruning of this network" in refusal([*arguments(workshop, workshop / "whole", longer), "--resume"])
    assert not (new / "tiny").exists()


def test_a_network_that_finds_nothing_is_refused_at_once(workshop: Path, tmp_path: Path) -> None:
    checkpoint = read_any_checkpoint(workshop / "trained", "")
    blind = {name: one - 100.0 if ".out.bias" in name else one for name, one in checkpoint.average.items()}
    write_checkpoint(tmp_path, replace(checkpoint, average=blind))
    command = [*arguments(workshop, tmp_path / "run"), "--from", str(tmp_path)]
    result = CliRunner().invoke(prune, command)
    assert isinstance(result.exception, ModelError)
    assert "finds nothing in val.json's pictures; train it longer" in str(result.exception)
    assert not list((tmp_path / "run").glob("share-*"))


def test_what_is_told_of_files_that_were_changed_is_not_believed(
    workshop: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    assert whole["is_done"]
    folder = judged_otherwise(workshop, tmp_path / "run", {})
    model = folder / "share-20" / "tiny"
    file = model / read_manifest(model).artifacts[0].file
    file.write_bytes(file.read_bytes()[:-1])
    assert "tells of another file than is in" in refusal([*arguments(workshop, folder), "--resume"])


def test_a_network_whose_recipe_also_lets_it_learn_8_bits_can_be_pruned(
    workshop: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    """Its float weights are; the export of the whole network is done again, the rest is known."""
    assert whole["is_done"]
    folder = judged_otherwise(workshop, tmp_path / "run", {})
    ledger = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))
    (search,) = ledger["searches"].values()
    del search["found"]["as trained"]
    (folder / "ledger.json").write_text(json.dumps(ledger), encoding="utf-8")
    shutil.rmtree(folder / "as-trained")
    both = f"{RECIPE}\n[quantize_aware]\niterations = 8\n"
    result = CliRunner().invoke(prune, [*arguments(workshop, folder, both), "--resume"], catch_exceptions=False)
    assert result.exit_code == 0
    assert file_of(folder / "as-trained") == file_of(workshop / "trained")
