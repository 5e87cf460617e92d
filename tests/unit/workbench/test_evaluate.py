import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError, StorageError
from appliance.inference.detector import open_detector
from appliance.workbench.evaluate import Dataset, evaluate, measure
from tests.simulators.models import write_folder, write_yolox, yolox, yolox_answer

pytest.importorskip("pycocotools")
PERSON, CAR = 0, 2


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two pictures of 640 x 640 with a car of 80 x 80 top left; one has a person elsewhere. Category ids are sparse."""
    folder = tmp_path / "dataset"
    (folder / "images").mkdir(parents=True)
    categories = [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}, {"id": 90, "name": "gargoyle"}]
    images = [{"id": at, "file_name": f"{at}.png", "width": 640, "height": 640} for at in (7, 8)]
    for image in images:
        cv2.imwrite(str(folder / "images" / f"{image['id']}.png"), np.zeros((640, 640, 3), np.uint8))

    def box(at: int, image: int, category: int, x: int, y: int) -> dict[str, object]:
        base = {"id": at, "image_id": image, "category_id": category, "iscrowd": 0}
        return base | {"bbox": [x, y, 80, 80], "area": 6400}

    annotations = [box(1, 7, 3, 0, 0), box(2, 8, 3, 0, 0), box(3, 7, 1, 400, 400), box(4, 7, 90, 0, 0)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    # finds every car exactly, and a person where there is none
    return write_yolox(tmp_path / "yolox.onnx", yolox_answer((0, CAR, 0.9), (63, PERSON, 0.8)))


def test_figures_are_cocos_and_categories_go_by_name(dataset: Path, model: Path) -> None:
    accuracy = measure(open_detector(ModelSettings(use=str(model)), min_score=0.01), Dataset(dataset))
    assert accuracy.pictures == 2
    assert accuracy.labels["car"].boxes == 2
    assert accuracy.labels["car"].ap == pytest.approx(1.0)
    assert (accuracy.labels["person"].boxes, accuracy.labels["person"].ap50) == (1, 0.0)
    assert accuracy.figures["ap"] == pytest.approx(0.5)  # mean over car and person
    assert accuracy.figures["ap_large"] == -1.0  # all boxes are of medium size
    assert accuracy.labels["car"].by_size == pytest.approx((-1.0, 1.0, -1.0))
    assert accuracy.unknown == ("gargoyle",)


def test_only_the_first_pictures_are_looked_at_when_limited(dataset: Path, model: Path) -> None:
    accuracy = measure(open_detector(ModelSettings(use=str(model))), Dataset(dataset), limit=1)
    assert (accuracy.pictures, accuracy.labels["car"].boxes) == (1, 1)


def test_a_detector_that_finds_nothing_scores_nothing_and_what_is_not_there_has_no_figure(
    dataset: Path, tmp_path: Path
) -> None:
    nothing = write_yolox(tmp_path / "nothing.onnx", yolox_answer())
    accuracy = measure(open_detector(ModelSettings(use=str(nothing))), Dataset(dataset), limit=1)
    assert (accuracy.figures["ap"], accuracy.figures["ap_large"]) == (0.0, -1.0)
    assert (accuracy.labels["car"].boxes, accuracy.labels["car"].ap50) == (1, 0.0)


def test_a_label_without_any_object_counts_in_no_mean(dataset: Path, model: Path) -> None:
    index = json.loads((dataset / "instances.json").read_text(encoding="utf-8"))
    index["annotations"] = [one for one in index["annotations"] if one["category_id"] != 1]
    (dataset / "instances.json").write_text(json.dumps(index), encoding="utf-8")
    # the model reports persons where none is: no figure of persons, no zero in the mean
    accuracy = measure(open_detector(ModelSettings(use=str(model)), min_score=0.01), Dataset(dataset))
    assert (accuracy.labels["person"].boxes, accuracy.labels["person"].ap) == (0, -1.0)
    assert accuracy.figures["ap"] == pytest.approx(1.0)


def test_boxes_without_area_and_crowd_mark_are_understood(dataset: Path, model: Path) -> None:
    index = json.loads((dataset / "instances.json").read_text(encoding="utf-8"))
    for one in index["annotations"]:
        del one["area"], one["iscrowd"]
    (dataset / "instances.json").write_text(json.dumps(index), encoding="utf-8")
    accuracy = measure(open_detector(ModelSettings(use=str(model)), min_score=0.01), Dataset(dataset))
    assert accuracy.figures["ap_medium"] == pytest.approx(0.5)


def test_the_command_prints_one_json_object_or_a_table(dataset: Path, model: Path) -> None:
    result = CliRunner().invoke(evaluate, [str(model), str(dataset), "--json"])
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["labels"]["car"]["ap"] == pytest.approx(1.0)
    assert told["confusion"]["labels"] == ["person", "car", "background"]
    # at 0.35, the manifest's own: the person where none is, the person who is not found, both cars
    assert told["confusion"]["counts"] == [[0, 0, 1], [0, 2, 0], [2, 0, 0]]
    assert [(one["kind"], one["label"], one["count"]) for one in told["mistakes"]] == [
        ("nothing there", "person", 2),
        ("missed, medium", "person", 1),
    ]
    result = CliRunner().invoke(evaluate, [str(model), str(dataset)])
    assert result.exit_code == 0
    assert "ap 50.0" in result.stdout
    assert "2 of 3 found, 2 of 4 detections wrong" in result.stdout.replace("\n", "")
    assert "person reported where none is marked: 2 of 2 detections. For example 7.png: " in result.stdout
    assert "gargoyle" in result.stdout


def test_the_confusion_is_drawn_as_png_and_as_nothing_else(dataset: Path, model: Path, tmp_path: Path) -> None:
    picture = tmp_path / "confusion.png"
    result = CliRunner().invoke(evaluate, [str(model), str(dataset), "--confusion", str(picture)])
    assert result.exit_code == 0
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert (drawn.astype(int)[..., 2] - drawn[..., 1] > 40).any()  # red: there are mistakes


@pytest.mark.parametrize(
    ("name", "told"), [("confusion.jpg", r"ends with \.png"), ("missing/confusion.png", "there is no folder .*missing")]
)
def test_a_picture_that_cannot_be_drawn_is_told_before_the_dataset_is_read(
    tmp_path: Path, model: Path, name: str, told: str
) -> None:
    (tmp_path / "no-dataset").mkdir()
    command = [str(model), str(tmp_path / "no-dataset"), "--confusion", str(tmp_path / name)]
    with pytest.raises(ConfigError, match=told):  # and not that there is no instances.json
        CliRunner().invoke(evaluate, command, catch_exceptions=False)


def test_figures_are_told_also_where_the_picture_cannot_be_written(dataset: Path, model: Path, tmp_path: Path) -> None:
    picture = tmp_path / f"{'x' * 300}.png"  # longer than a file's name may be
    result = CliRunner().invoke(evaluate, [str(model), str(dataset), "--json", "--confusion", str(picture)])
    assert isinstance(result.exception, StorageError)
    assert json.loads(result.stdout)["labels"]["car"]["ap"] == pytest.approx(1.0)


def test_each_artifact_of_a_model_s_folder_can_be_measured(dataset: Path, tmp_path: Path) -> None:
    weights = {"int8": yolox(yolox_answer()), "fp32": yolox(yolox_answer((0, CAR, 0.9)))}
    folder = write_folder(tmp_path / "mine", weights)

    def car(*options: str) -> float:
        result = CliRunner().invoke(evaluate, [str(folder), str(dataset), "--json", *options], catch_exceptions=False)
        return float(json.loads(result.stdout)["labels"]["car"]["ap"])

    assert car() == car("--precision", "int8") == 0.0  # the manifest's first
    assert car("--precision", "fp32") == pytest.approx(1.0)
    with pytest.raises(ConfigError, match=r"no fp16 weights for it in .*; there are: int8, fp32"):
        car("--precision", "fp16")
    (folder / "int8.onnx").write_bytes(weights["fp32"])
    with pytest.raises(ModelError, match="is not the file that its manifest names"):
        car("--precision", "int8")


def test_a_folder_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no instances\.json in COCO's format"):
        Dataset(tmp_path)
    (tmp_path / "instances.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"has no instances\.json in COCO's format"):
        Dataset(tmp_path)


@pytest.mark.parametrize(
    ("part", "entry", "told"),
    [
        ("images", {"id": 9, "width": 640, "height": 640}, "image 9 has no file_name"),
        ("annotations", {"id": 9, "image_id": 7, "category_id": 3, "bbox": [1]}, r"annotation 9 has the bbox \[1\]"),
        ("annotations", {"id": 9, "image_id": 7, "category_id": 3, "area": 1}, "annotation 9 has the bbox None"),
        (
            "annotations",
            {"id": 9, "image_id": 7, "category_id": 3, "bbox": [0, 0, "8", 8]},
            "annotation 9 has the bbox",
        ),
        (
            "annotations",
            {"id": 9, "image_id": 7, "category_id": 3, "bbox": [0, 0, 8, float("nan")]},
            "annotation 9 has",
        ),
        ("categories", {"id": 4, "name": "car"}, "categories 3 and 4 are both named 'car'"),
        ("categories", {"id": 4}, r"has no instances\.json in COCO's format"),
        ("categories", {"id": 4, "name": ["car"]}, r"has no instances\.json in COCO's format"),
        ("images", "7.png", r"has no instances\.json in COCO's format"),
    ],
)
def test_an_entry_that_cannot_be_counted_is_refused_by_its_number(
    dataset: Path, part: str, entry: object, told: str
) -> None:
    index = json.loads((dataset / "instances.json").read_text(encoding="utf-8"))
    index[part].append(entry)
    (dataset / "instances.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        Dataset(dataset)
