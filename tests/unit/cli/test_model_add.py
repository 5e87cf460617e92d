"""`edgecam model add` as an owner meets it."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from appliance.cli.model import model
from appliance.core.errors import ConfigError, EdgecamError, ModelError, UnsupportedError
from appliance.core.manifest import read_manifest
from tests.shared_data import SHARED, needs
from tests.simulators import tiny_onnx
from tests.simulators.models import yolox, yolox_answer

CELLS = 8 * 8 + 4 * 4 + 2 * 2


def yolov8(classes: int = 3) -> bytes:
    """A YOLOv8 64 x 64 that finds the second class in the middle of every picture."""
    answer = np.zeros((1, 4 + classes, CELLS), np.float32)
    answer[0, :4, 0], answer[0, 5, 0] = (32, 32, 16, 16), 0.9
    answer[0, :4, 1] = (60, 60, 2, 2)
    return tiny_onnx.model({"images": (1, 3, 64, 64)}, {"output0": answer})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "black.png"
    cv2.imwrite(str(path), np.zeros((64, 64, 3), np.uint8))
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def add(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(model, ["add", *map(str, arguments)], catch_exceptions=False)


def test_a_file_of_a_known_family_becomes_a_model_without_a_question(
    tmp_path: Path, models: Path, picture: Path
) -> None:
    (tmp_path / "My YOLOX (1).onnx").write_bytes(yolox(yolox_answer((0, 2, 0.9))))
    done = add(tmp_path / "My YOLOX (1).onnx", "--directory", models, "--sample", picture, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["folder"] == str(models / "my-yolox-1")
    assert (told["found_out"]["family"], told["found_out"]["colour"]["value"]) == ("yolox", "bgr")
    assert told["found_out"]["labels"] == {
        "value": "80",
        "basis": "family",
        "because": "its tensors are those of this family",
    }
    assert [(one["label"], one["score"]) for one in told["detections"]] == [("car", 0.9)]
    drawn = cv2.imread(told["picture"])
    assert drawn is not None
    assert drawn.max() > 100
    manifest = read_manifest(models / "my-yolox-1")
    assert (manifest.licence, manifest.input.fit, manifest.labels[2]) == ("Apache-2.0", "letterbox-topleft", "car")
    shown = CliRunner().invoke(model, ["check", str(models / "my-yolox-1")])
    assert isinstance(shown.exception, ModelError)  # it has no golden frames yet, but it is a model


def test_for_people_there_is_a_table_and_the_next_step(tmp_path: Path, models: Path, picture: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(yolox(yolox_answer((0, 2, 0.9))))
    done = add(tmp_path / "x.onnx", "--directory", models, "--sample", picture, "--name", "porch")
    assert "family    yolox" in done.stdout
    assert "car 0.90" in " ".join(done.stdout.split())
    assert f"edgecam run --model {models / 'porch'}" in done.stdout


def test_labels_with_brackets_are_shown_as_they_are(tmp_path: Path, models: Path, picture: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(yolov8())
    (tmp_path / "labels.txt").write_text("[red]\n[/unused] :car:\ncat\n", encoding="utf-8")
    told = ("--directory", models, "--sample", picture, "--labels", tmp_path / "labels.txt", "--yes")
    done = add(tmp_path / "x.onnx", *told)
    assert "[/unused] :car: 0.90" in done.stdout


def test_what_nothing_tells_has_to_be_given_and_all_of_it_is_named_at_once(
    tmp_path: Path, models: Path, picture: Path
) -> None:
    (tmp_path / "x.onnx").write_bytes(yolov8())
    (tmp_path / "labels.txt").write_text("robin\nwren\ncrow\n", encoding="utf-8")
    always = (tmp_path / "x.onnx", "--directory", models, "--sample", picture)
    done = add(*always, "--yes")
    assert (done.exit_code, "3 labels are nowhere in the file" in done.stderr) == (2, True)
    done = add(*always, "--labels", tmp_path / "labels.txt")
    assert done.exit_code == 2
    assert "--colour (likeliest: rgb), --scale (likeliest: 0..1)" in " ".join(done.stderr.split())
    assert list(models.iterdir()) == []
    given = ("--labels", tmp_path / "labels.txt", "--colour", "bgr", "--scale", "imagenet", "--fit", "stretch")
    told = json.loads(add(*always, *given, "--min-score", "0.4", "--json").stdout)
    assert told["detections"] == [{"label": "wren", "class_id": 1, "score": 0.9, "box": [24.0, 24.0, 40.0, 40.0]}]
    manifest = read_manifest(models / "x")
    assert (manifest.input.colour, manifest.input.mean, manifest.decoder.min_score) == (
        "bgr",
        (103.53, 116.28, 123.675),
        0.4,
    )
    assert {one["basis"] for one in told["found_out"].values() if isinstance(one, dict)} == {"given"}


def test_a_file_that_takes_grey_pictures_of_any_size_becomes_a_model(
    tmp_path: Path, models: Path, picture: Path
) -> None:
    answer = np.zeros((1, 6, CELLS), np.float32)
    answer[0, :4, 0], answer[0, 5, 0] = (32, 32, 16, 16), 0.9
    # a name that would break out of the manifest's comment
    name = "grey\nlicence = 7.onnx"
    (tmp_path / name).write_bytes(tiny_onnx.model({"images": (1, 1, "rows", "columns")}, {"output0": answer}))
    (tmp_path / "labels.txt").write_text("robin\nwren\n", encoding="utf-8")
    given = ("--labels", tmp_path / "labels.txt", "--size", "64x64", "--name", "grey", "--yes", "--json")
    told = json.loads(add(tmp_path / name, "--directory", models, "--sample", picture, *given).stdout)
    assert [one["label"] for one in told["detections"]] == ["wren"]
    manifest = read_manifest(models / "grey")
    assert (manifest.input.colour, manifest.input.width, manifest.licence) == ("grey", 64, "NOASSERTION")


def test_labels_of_another_number_are_refused(tmp_path: Path, models: Path, picture: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(yolov8())
    with pytest.raises(ModelError, match="80 labels for 3 classes"):
        add(tmp_path / "x.onnx", "--directory", models, "--sample", picture, "--labels", "coco80", "--yes")


def test_a_name_that_is_taken_is_refused_before_any_work(tmp_path: Path, models: Path, picture: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(yolox(yolox_answer((0, 2, 0.9))))
    always = (tmp_path / "x.onnx", "--directory", models, "--sample", picture)
    assert add(*always).exit_code == 0
    with pytest.raises(ConfigError, match="--replace"):
        add(*always)
    (tmp_path / "x.onnx").write_bytes(yolox(yolox_answer((0, 5, 0.8))))
    assert add(*always, "--replace").exit_code == 0
    assert "bus 0.80" in " ".join(add(*always, "--replace").stdout.split())


@pytest.mark.parametrize(
    ("name", "content", "kind", "what"),
    [
        ("x.onnx", b"no model", ModelError, "is no model that ONNX Runtime can load"),
        ("x.pt", b"torch", ConfigError, "known: .onnx, .tflite"),
        ("nosuch.onnx", None, ConfigError, "cannot read"),
        (
            "x.onnx",
            tiny_onnx.model({"x": (1, 3, 64, 64)}, {"y": np.ones((1, 7, 5), np.float32)}),
            ModelError,
            "which no family does",
        ),
        (
            "x.onnx",
            tiny_onnx.model(
                {"x": (1, 3, 64, 64), "h": (1, 4)},
                {"y": np.ones((1, 9), np.float32), "h2": np.ones((1, 4), np.float32)},
            ),
            UnsupportedError,
            "from frame to frame",
        ),
    ],
)
def test_what_cannot_become_a_model_is_one_line_and_leaves_nothing(
    *,
    tmp_path: Path,
    models: Path,
    picture: Path,
    name: str,
    content: bytes | None,
    kind: type[EdgecamError],
    what: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=what) as error:
        add(tmp_path / name, "--directory", models, "--sample", picture, "--yes")
    assert "\n" not in str(error.value)
    assert list(models.iterdir()) == []


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path, models: Path) -> None:
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(ConfigError, match=r"^[^\[]*x\.onnx is no file$"):
        add(tmp_path / "x.onnx", "--directory", models, "--yes")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--name", "Über"),
        ("--size", "big"),
        ("--colour", "red"),
        ("--scale", "0..7"),
        ("--licence", "mine!"),
        ("--source", "ftp://x"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_as_one(models: Path, picture: Path, wrong: tuple[str, str]) -> None:
    assert add(picture.with_suffix(".onnx"), "--directory", models, *wrong).exit_code == 2


def test_without_a_folder_for_models_the_next_step_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--directory"):
        add(tmp_path / "x.onnx")


def test_on_a_terminal_what_is_not_known_is_asked_for_with_the_likeliest_as_default(
    tmp_path: Path, models: Path, picture: Path
) -> None:
    (tmp_path / "x.onnx").write_bytes(yolov8())
    (tmp_path / "labels.txt").write_text("robin\nwren\ncrow\n", encoding="utf-8")
    main = "from appliance.cli.main import main; main()"
    arguments = ["model", "add", str(tmp_path / "x.onnx"), "--directory", str(models), "--sample", str(picture)]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", main, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=Path.cwd()
    ) as process:
        os.close(theirs)
        shown = ""
        for question, answer in (
            ("Labels of its 3 classes", f"{tmp_path / 'labels.txt'}\n"),
            ("Order of the channels (rgb, bgr) [rgb]", "bgr\n"),
            ("A pixel's 0..255 becomes", "\n"),
            ("Look at the picture", ""),
        ):
            shown += _read_until(ours, question)
            os.write(ours, answer.encode())
        assert process.wait(30) == 0
    os.close(ours)
    assert read_manifest(models / "x").input.colour == "bgr"
    assert read_manifest(models / "x").labels == ("robin", "wren", "crow")


def _read_until(descriptor: int, text: str) -> str:
    shown, until = "", time.monotonic() + 60
    while text not in shown:
        assert time.monotonic() < until, shown
        if select.select([descriptor], [], [], 1.0)[0]:
            shown += os.read(descriptor, 4096).decode(errors="replace")
    return shown


@needs("models/movenet_single_pose_lightning_ptq.tflite")
@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("bad_custom_op.tflite", ModelError, "is no model that LiteRT can run"),
        ("bad_truncated.onnx", ModelError, "is no model that ONNX Runtime can load"),
        ("movenet_single_pose_lightning_ptq.tflite", UnsupportedError, "a pose network"),
        ("ssd_traffic_lstm_postprocess_uint8.tflite", UnsupportedError, "from frame to frame"),
    ],
)
def test_real_files_that_edgecam_does_not_run_are_called_what_they_are(
    models: Path, picture: Path, name: str, kind: type[EdgecamError], what: str
) -> None:
    if name.endswith(".tflite"):
        pytest.importorskip("ai_edge_litert")
    with pytest.raises(kind, match=what):
        add(SHARED / "models" / name, "--directory", models, "--sample", picture, "--yes")
    assert list(models.iterdir()) == []


@needs("models/mobilenet_v2_1.0_224_quant.tflite", "models/sample_bus.jpg")
@pytest.mark.parametrize(
    ("name", "labels", "seen"),
    [
        ("mobilenet_v2_1.0_224_quant.tflite", (), "police van"),
        ("deeplabv3_mnv2_dm05_pascal_quant.tflite", ("--labels",), "bus 30.7%"),
    ],
)
def test_real_classifiers_and_segmentation_networks_become_models(
    tmp_path: Path, models: Path, name: str, labels: tuple[str, ...], seen: str
) -> None:
    pytest.importorskip("ai_edge_litert")
    whole = (SHARED / "models" / "pascal_voc_segmentation_labels.txt").read_text(encoding="utf-8")
    (tmp_path / "voc.txt").write_text("\n".join(whole.splitlines()[:21]), encoding="utf-8")
    given = [part for option in labels for part in (option, tmp_path / "voc.txt")]
    sample = SHARED / "models" / "sample_bus.jpg"
    done = add(SHARED / "models" / name, "--directory", models, "--sample", sample, *given, "--yes", "--json")
    assert seen in json.loads(done.stdout)["words"]
    (folder,) = models.iterdir()
    assert read_manifest(folder).background == "background"
