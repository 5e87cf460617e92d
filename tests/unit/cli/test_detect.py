import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from appliance.cli.detect import detect
from appliance.config import ModelSettings, Settings
from appliance.core.errors import ConfigError, ModelError
from appliance.core.rle import Rle, decode_mask
from tests.simulators import tiny_onnx
from tests.simulators.models import write_ladder, write_yolox, yolox_answer
from tests.simulators.other_tasks import write_classifier, write_segmenter

PERSON, CAR = 0, 2


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_yolox(tmp_path / "yolox.onnx", yolox_answer((0, CAR, 0.6), (9, PERSON, 0.9)))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for at, name in enumerate(("a", "b", "c", "d")):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((320, 640, 3), 40 * at, np.uint8))
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 64))
    for at in range(10):
        writer.write(np.full((64, 64, 3), 20 * at, np.uint8))
    writer.release()
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(detect, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_json_is_one_line_a_frame_with_the_fields_that_were_promised(model: Path, pictures: Path) -> None:
    result = run(pictures / "a.png", "--model", model, "--json")
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert 0.0 < record.pop("inference_ms") < 1000.0
    assert record == {
        "source": str(pictures / "a.png"),
        "frame": 0,
        "width": 640,
        "height": 320,
        "detections": [
            {"label": "person", "class_id": 0, "score": 0.9, "box": [80.0, 80.0, 160.0, 160.0]},
            {"label": "car", "class_id": 2, "score": 0.6, "box": [0.0, 0.0, 80.0, 80.0]},
        ],
    }


def test_a_folder_is_gone_through_by_name_and_each_line_names_its_picture(model: Path, pictures: Path) -> None:
    lines = [json.loads(line) for line in run(pictures, "--model", model, "--json").stdout.splitlines()]
    assert [Path(line["source"]).name for line in lines] == ["a.png", "b.png", "c.png", "d.png"]


def test_a_clip_gives_every_nth_frame(model: Path, clip: Path) -> None:
    lines = [json.loads(line) for line in run(clip, "--model", model, "--json", "--every", 4).stdout.splitlines()]
    assert [line["frame"] for line in lines] == [0, 4, 8]


def test_for_people_a_line_says_what_was_seen(model: Path, pictures: Path) -> None:
    line = run(pictures / "a.png", "--model", model).stdout
    assert line.startswith(f"{pictures / 'a.png'} [0] ")
    assert line.endswith(" ms: person 0.90, car 0.60\n")
    assert run(pictures / "a.png", "--model", model, "--min-score", 0.95).stdout.endswith(" ms: nothing\n")


def test_annotated_pictures_are_written_and_none_over_another(
    model: Path, pictures: Path, clip: Path, tmp_path: Path
) -> None:
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "a.png").write_bytes((pictures / "a.png").read_bytes())
    sources = (pictures / "a.png", twin / "a.png", clip)
    assert run(*sources, "--model", model, "--draw", tmp_path / "drawn" / "here", "--every", 5).exit_code == 0
    drawn = sorted(tmp_path.glob("drawn/here/*"))
    assert [path.name for path in drawn] == ["a-000000.jpg", "a~2-000000.jpg", "clip-000000.jpg", "clip-000005.jpg"]
    picture = cv2.imread(str(drawn[0]))
    assert picture is not None
    assert picture.shape == (320, 640, 3)
    assert picture[85:155, 80].max() > 100  # the left edge of the person's box, on black
    assert picture[200:, 300:].max() < 30


def test_sources_that_cannot_be_read_are_named_and_the_others_go_on(model: Path, pictures: Path) -> None:
    (pictures / "b.png").write_bytes(b"no picture")
    result = run(pictures / "nosuch.png", pictures, "--model", model, "--json")
    assert result.exit_code == 1
    assert [Path(json.loads(line)["source"]).name for line in result.stdout.splitlines()] == ["a.png", "c.png", "d.png"]
    first, second = result.stderr.splitlines()
    assert "nosuch.png: there is no such file or folder" in first
    assert "b.png" in second
    assert "cameras." not in result.stderr


def test_an_unknown_model_and_a_broken_one_are_errors_of_their_kind(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known: "):
        run(pictures, "--model", "nosuch")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx is no model"):
        run(pictures, "--model", tmp_path / "broken.onnx")


@pytest.mark.parametrize("option", [("--min-score", "0"), ("--min-score", "2"), ("--every", "0"), ("--threads", "0")])
def test_values_out_of_bounds_are_usage_errors(model: Path, pictures: Path, option: tuple[str, str]) -> None:
    assert run(pictures, "--model", model, *option).exit_code == 2


def test_a_file_of_the_model_that_is_refused_is_told_apart_from_what_is_found(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ladder(tmp_path / "models", b"no model", tiny_onnx.model({"x": (1, 3, 64, 64)}, {"y": yolox_answer()}))
    settings = Settings(model=ModelSettings(use="stairs", directories=(tmp_path / "models",)))
    monkeypatch.setattr("appliance.cli.detect.load_configured", lambda: settings)
    result = run(pictures)
    assert result.exit_code == 0
    assert "edgecam: r0.onnx was refused, r1.onnx runs: " in result.stderr
    assert "refused" not in result.stdout
    assert "refused" not in run(pictures, "--artifact", "int8").stderr
    with pytest.raises(ModelError, match="is no model that ONNX Runtime can load"):
        run(pictures, "--artifact", "fp32")


def test_a_classifier_s_labels_are_told_and_drawn(pictures: Path, tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "animals", np.log([0.1, 0.35, 0.55]).tolist())
    record = json.loads(run(pictures / "a.png", "--model", folder, "--json", "--draw", tmp_path / "drawn").stdout)
    assert record["labels"] == [
        {"label": "dog", "class_id": 2, "score": 0.55},
        {"label": "cat", "class_id": 1, "score": 0.35},
    ]
    assert run(pictures / "a.png", "--model", folder).stdout.endswith(" ms: dog 0.55, cat 0.35\n")
    assert run(pictures / "a.png", "--model", folder, "--min-score", 0.9).stdout.endswith(" ms: nothing\n")
    picture = cv2.imread(str(tmp_path / "drawn" / "a-000000.jpg"))
    assert picture is not None
    assert picture[:10, :10].max() > 100, "the corner, on black"


def test_a_segmentation_s_shares_are_told_and_its_masks_where_they_are_asked_for(
    pictures: Path, tmp_path: Path
) -> None:
    label_map = np.repeat([0, 1, 1, 2], 2)[None].repeat(8, axis=0)
    folder = write_segmenter(tmp_path / "ground", label_map)
    line = run(pictures / "a.png", "--model", folder).stdout
    assert line.endswith(" ms: road 50.0%, grass 25.0%\n")
    record = json.loads(run(pictures / "a.png", "--model", folder, "--json", "--masks").stdout)
    assert record["shares"] == {"road": 0.5, "grass": 0.25}
    assert record["size"] == [320, 640]
    grass = decode_mask(Rle(320, 640, record["masks"][1]["counts"]))
    assert (grass == (np.arange(640) >= 480)[None]).all()
    assert "masks" not in json.loads(run(pictures / "a.png", "--model", folder, "--json").stdout)


def test_options_for_another_task_are_usage_errors(model: Path, pictures: Path, tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "animals", [0.0, 1.0, 0.0])
    for chosen, option in ((model, "--masks"), (folder, "--masks"), (folder, "--every-class")):
        done = run(pictures / "a.png", "--model", chosen, option)
        assert done.exit_code == 2
        assert "this model is for task" in done.stderr
