import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
pytest.importorskip("pycocotools", reason="pycocotools, the extra `workbench`, is not installed")

from appliance.core.errors import ConfigError, ModelError
from appliance.workbench.recipe import Recipe, read_recipe
from appliance.workbench.train import train
from appliance.workbench.training.checkpoints import CHECKPOINT_NAME, read_checkpoint, write_checkpoint
from appliance.workbench.training.corpus import read_corpus
from appliance.workbench.training.loop import Training, Watch, rate
from appliance.workbench.training.network import PIXEL_SCALE, Network
from appliance.workbench.training.run import run
from appliance.workbench.training.validation import Validation
from tests.simulators.training import RECIPE, write_corpus, write_split

ROOT = Path(__file__).resolve().parents[4]
COMMAND = [sys.executable, "-c", "from appliance.workbench.main import main; main()", "train"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def losses(report: dict[str, Any]) -> list[float]:
    return [point["loss"] for point in report["curve"]]


def start(recipe_file: Path, corpus: Path, folder: Path) -> dict[str, Any]:
    chosen = read_recipe(recipe_file)
    return run(chosen, data=corpus, device="cpu", folder=folder, resume=False, threads=1).as_values()


def test_the_same_seed_gives_the_same_losses_and_another_gives_others(
    recipe_file: Path, corpus: Path, tmp_path: Path
) -> None:
    first, again = (start(recipe_file, corpus, tmp_path / name) for name in ("first", "again"))
    assert len(losses(first)) == 12
    assert losses(first) == losses(again)
    recipe_file.write_text(RECIPE + "seed = 2\n", encoding="utf-8")
    assert losses(start(recipe_file, corpus, tmp_path / "other")) != losses(first)
    assert first["is_done"]
    assert (tmp_path / "first" / "tiny" / "manifest.toml").is_file()


def test_a_run_that_is_stopped_and_resumed_gives_the_curve_of_one_that_was_not(
    recipe_file: Path, corpus: Path, tmp_path: Path
) -> None:
    """Stopped in the middle by SIGTERM; killed thereafter between two checkpoints; then left to end."""
    recipe_file.write_text(RECIPE.replace("iterations = 12", "iterations = 60"), encoding="utf-8")
    whole = start(recipe_file, corpus, tmp_path / "whole")
    arguments = [*COMMAND, str(recipe_file), "--data", str(corpus), "--run", str(tmp_path / "parts")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    for resume, number, expected in (([], signal.SIGTERM, 75), (["--resume"], signal.SIGKILL, -9)):
        with subprocess.Popen(
            [*arguments, *resume], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            after = 0
            while after < 3:  # points of the curve
                line = process.stderr.readline()
                assert line, "it ended before it was stopped"
                after += line.startswith("step ")
            process.send_signal(number)
            process.stderr.read()
            assert process.wait(60) == expected
        stands = json.loads((tmp_path / "parts" / "curve.json").read_text(encoding="utf-8"))[-1]["step"]
        assert 3 <= stands < 60
    done = subprocess.run(
        [*arguments, "--resume", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    assert report["is_done"]
    assert [point["step"] for point in report["curve"]] == list(range(1, 61))
    assert losses(report) == losses(whole)
    files = [tmp_path / name / "tiny" / "tiny-fp32.onnx" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_it_learns_what_can_be_learned(corpus: Path) -> None:
    recipe = read_small(RECIPE.replace("iterations = 12", "iterations = 120") + "learning_rate = 4e-3\n")
    training = Training(recipe, read_corpus(corpus, recipe.data, recipe.labels))
    assert training.run(silent(), threading.Event())
    mean = [sum(point["loss"] for point in part) / 20 for part in (training.curve[:20], training.curve[-20:])]
    assert mean[1] < 0.9 * mean[0]


def read_small(text: str) -> Recipe:
    import tomllib

    return Recipe.model_validate(tomllib.loads(text))


def silent() -> Watch:
    return Watch(
        step=lambda _: None, point=lambda _: None, checkpoint=lambda _: None, evaluate=lambda _, __: {"ap": 0.0}
    )


def test_a_run_can_be_told_where_to_stop(recipe_file: Path, corpus: Path, tmp_path: Path) -> None:
    arguments = [str(recipe_file), "--data", str(corpus), "--run", str(tmp_path / "run"), "--json"]
    first = CliRunner().invoke(train, [*arguments, "--until", "7"], catch_exceptions=False)
    report = json.loads(first.stdout)
    assert (first.exit_code, report["step"], report["is_done"]) == (0, 7, False)
    assert read_checkpoint(tmp_path / "run").step == 7
    rest = CliRunner().invoke(train, [*arguments, "--resume"], catch_exceptions=False)
    assert (rest.exit_code, json.loads(rest.stdout)["step"]) == (0, 12)


def test_a_checkpoint_of_another_recipe_is_refused(recipe_file: Path, corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    start(recipe_file, corpus, folder)
    arguments = [str(recipe_file), "--data", str(corpus), "--run", str(folder)]
    again = CliRunner().invoke(train, arguments)
    assert "holds a run already" in str(again.exception)
    other = CliRunner().invoke(train, [*arguments, "--resume", "--iterations", "99"])
    assert "was made by another recipe or with other --iterations" in str(other.exception)
    (folder / CHECKPOINT_NAME).write_bytes(b"nonsense")
    broken = CliRunner().invoke(train, [*arguments, "--resume"])
    assert "cannot go on from" in str(broken.exception)
    missing = CliRunner().invoke(train, [*arguments[:-1], str(tmp_path / "none"), "--resume"])
    assert "cannot go on from" in str(missing.exception)


def test_what_is_restored_is_all_that_was_kept(tmp_path: Path, corpus: Path) -> None:
    recipe = read_small(RECIPE.replace("log_every = 1", "log_every = 5") + "ema = 0.5\n")
    learned = read_corpus(corpus, recipe.data, recipe.labels)
    stop = threading.Event()
    before = Training(recipe, learned)
    watch = replace(silent(), step=lambda step: stop.set() if step == 7 else None)
    assert not before.run(watch, stop)
    write_checkpoint(tmp_path, before.checkpoint())
    after = Training(recipe, learned)
    after.restore(read_checkpoint(tmp_path, recipe.digest()))
    kept, restored = asdict(before.checkpoint()), asdict(after.checkpoint())
    assert kept["step"] == 7
    assert kept["sums"][3] == 2  # steps since the last point
    for name in ("digest", "begun_with"):
        assert restored.pop(name) == kept.pop(name)
    torch.testing.assert_close(restored, kept, rtol=0, atol=0)
    assert not torch.equal(kept["average"]["backbone.stem.0.0.weight"], kept["network"]["backbone.stem.0.0.weight"])


@pytest.mark.parametrize("spoiled", ["weight", "loss"])
def test_a_checkpoint_holds_numbers_alone(corpus: Path, spoiled: str) -> None:
    """Though points of the curve, where the loss is looked at, are far apart."""
    text = RECIPE.replace("log_every = 1", "log_every = 50").replace("checkpoint_every = 5", "checkpoint_every = 1")
    recipe = read_small(text)
    training = Training(recipe, read_corpus(corpus, recipe.data, recipe.labels))

    def spoil(step: int) -> None:
        if step == 4 and spoiled == "loss":
            training._sums[0] = float("nan")
        elif step == 4:
            with torch.no_grad():
                next(training._network.parameters()).fill_(float("nan"))

    kept: list[int] = []
    watch = replace(silent(), step=spoil, checkpoint=lambda checkpoint: kept.append(checkpoint.step))
    with pytest.raises(ModelError, match="the loss is no number after step 4; lower schedule"):
        training.run(watch, threading.Event())
    assert kept == [1, 2, 3]


def test_a_checkpoint_holds_no_code(tmp_path: Path, corpus: Path) -> None:
    recipe = read_small(RECIPE)
    training = Training(recipe, read_corpus(corpus, recipe.data, recipe.labels))
    write_checkpoint(tmp_path, training.checkpoint())
    assert read_checkpoint(tmp_path, recipe.digest()).step == 0  # read with weights_only


def test_the_rate_rises_then_falls_to_its_last_share() -> None:
    recipe = read_small(RECIPE.replace("iterations = 12", "iterations = 100").replace("warm_up = 2", "warm_up = 10"))
    rates = [rate(recipe, step) for step in range(100)]
    assert rates.index(max(rates)) in {9, 10}
    assert rates[0] == pytest.approx(2e-4)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(2e-3 * 0.02, rel=0.05)


def test_what_people_did_not_label_counts_for_nothing_in_validation(tmp_path: Path) -> None:
    import numpy as np

    grey = np.full((40, 80, 3), 128, np.uint8)
    boxes = [{"category_id": 1, "bbox": [0, 0, 20, 20]}, {"category_id": 3, "bbox": [30, 0, 20, 20], "pseudo": 1}]
    write_split(tmp_path, "val", [(grey, {"label_scope": [1]}, boxes), (grey, {}, boxes)])
    Validation(tmp_path, tmp_path / "val", ("person", "car"))
    index = json.loads((tmp_path / "val" / "instances.json").read_text(encoding="utf-8"))
    cars = [one for one in index["annotations"] if one["category_id"] == 3]
    assert [(one["image_id"], one["iscrowd"]) for one in cars] == [(2, 0), (1, 1)]
    assert cars[1]["bbox"] == [0, 0, 80, 40]
    assert {one["name"] for one in index["categories"]} == {"person", "car"}
    with tarfile.open(tmp_path / "val-000.tar") as shard:
        assert len(list((tmp_path / "val" / "images").iterdir())) == len(shard.getnames())


def test_a_device_that_is_not_there_is_told(recipe_file: Path, corpus: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    arguments = [str(recipe_file), "--data", str(corpus), "--run", str(tmp_path / "run"), "--device", "cuda"]
    result = CliRunner().invoke(train, arguments)
    assert "finds no CUDA device here; use --device cpu" in str(result.exception)


TEACHING = '\n[distillation]\nteacher = "{}"\n'


def digest_of(model: Path) -> str:
    return hashlib.sha256(model.read_bytes()).hexdigest()


def test_a_model_learns_from_another(recipe_file: Path, corpus: Path, tmp_path: Path) -> None:
    plain = start(recipe_file, corpus, tmp_path / "plain")
    teacher = tmp_path / "plain" / "tiny" / "tiny-fp32.onnx"
    arguments = [str(recipe_file), "--data", str(corpus), "--run", str(tmp_path / "taught"), "--teacher", str(teacher)]
    alone = CliRunner().invoke(train, arguments)
    assert "belong together: the recipe has no [distillation]" in str(alone.exception)
    recipe_file.write_text(RECIPE + TEACHING.format("0" * 64), encoding="utf-8")
    other = CliRunner().invoke(train, arguments)
    assert f"SHA-256 {digest_of(teacher)}; the recipe learns from {'0' * 64}" in str(other.exception)
    recipe_file.write_text(RECIPE + TEACHING.format(digest_of(teacher)), encoding="utf-8")
    missing = CliRunner().invoke(train, arguments[:-2])
    assert "give the recipe's teacher" in str(missing.exception)
    result = CliRunner().invoke(train, [*arguments, "--json"], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert report["is_done"]
    # the first step's labels cost the same, but the teacher costs too
    assert report["curve"][0]["loss_scores"] == plain["curve"][0]["loss_scores"]
    assert report["curve"][0]["loss"] > plain["curve"][0]["loss"]
    assert len(list((tmp_path / "taught").glob("lessons-*.npz"))) == 1


def test_a_run_begins_with_another_ones_averaged_weights(recipe_file: Path, corpus: Path, tmp_path: Path) -> None:
    start(recipe_file, corpus, tmp_path / "first")
    recipe = read_recipe(recipe_file)
    kept = read_checkpoint(tmp_path / "first")
    training = Training(recipe, read_corpus(corpus, recipe.data, recipe.labels))
    assert training.start_from(tmp_path / "first") == ()
    begun = training.checkpoint()
    assert begun.step == 0
    torch.testing.assert_close(begun.network, kept.average, rtol=0, atol=0)
    torch.testing.assert_close(begun.average, kept.average, rtol=0, atol=0)
    recipe_file.write_text(RECIPE.replace("neck = 16", "neck = 24"), encoding="utf-8")
    arguments = [str(recipe_file), "--data", str(corpus), "--run", str(tmp_path / "next"), "--from"]
    other = CliRunner().invoke(train, [*arguments, str(tmp_path / "first")])
    assert "is a network of another shape" in str(other.exception)


def test_a_run_begins_with_an_exported_model(recipe_file: Path, corpus: Path, tmp_path: Path) -> None:
    start(recipe_file, corpus, tmp_path / "first")
    recipe = read_recipe(recipe_file)
    training = Training(recipe, read_corpus(corpus, recipe.data, recipe.labels))
    assert training.start_from(tmp_path / "first" / "tiny" / "tiny-fp32.onnx") == ()
    restored = Network(recipe.network, 2)
    restored.load_state_dict(training.checkpoint().average)
    original = Network(recipe.network, 2)
    original.load_state_dict(read_checkpoint(tmp_path / "first").average)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 255 * PIXEL_SCALE
    for ours, theirs in zip(restored.eval()(pictures), original.eval()(pictures), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    # the spread was found anew: in training, with other means than those it was folded with, it gives much the same
    norm = restored.backbone.stem[0][1]
    assert (norm.running_var - 1).abs().max() > 0.01
    more = read_small(RECIPE.replace('["person", "car"]', '["person", "car", "dog"]'))
    other = Training(more, read_corpus(corpus, more.data, more.labels))
    left = other.start_from(tmp_path / "first" / "tiny" / "tiny-fp32.onnx")
    assert left == tuple(f"scores.{at}.out.{kind}" for at in range(3) for kind in ("bias", "weight"))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="cannot read weights from"):
        other.start_from(broken)


def test_what_was_told_to_stop_before_takes_no_further_step(recipe_file: Path, corpus: Path, tmp_path: Path) -> None:
    arguments = [str(recipe_file), "--data", str(corpus), "--run", str(tmp_path / "run"), "--json"]
    for more, step in ((["--until", "3"], 3), (["--until", "2", "--resume"], 3)):
        result = CliRunner().invoke(train, [*arguments, *more], catch_exceptions=False)
        assert (result.exit_code, json.loads(result.stdout)["step"]) == (0, step)
        assert read_checkpoint(tmp_path / "run").step == step


def test_a_run_that_is_stopped_before_its_first_step_can_be_resumed(
    recipe_file: Path, corpus: Path, tmp_path: Path
) -> None:
    chosen = read_recipe(recipe_file)
    report = run(chosen, data=corpus, device="cpu", folder=tmp_path, resume=False, threads=1, until=0)
    assert (report.is_done, report.step) == (False, 0)
    assert read_checkpoint(tmp_path, chosen.digest()).step == 0


def test_mistakes_are_told_before_anything_is_read(recipe_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [str(recipe_file), "--data", str(tmp_path / "empty"), "--run", str(tmp_path / "run")]
    for more, told in (
        (["--resume"], "cannot go on from"),
        (["--teacher", "some"], "belong together"),
        (["--teacher", "x" * 5000], "--teacher: "),
        (["--threads", "65"], ""),
    ):
        result = CliRunner().invoke(train, [*arguments, *more])
        assert result.exit_code == 2 or isinstance(result.exception, ConfigError), more
        assert told in str(result.exception)
