"""Figures that can be checked by hand, for a classifier and a segmentation network that answer every picture alike."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from appliance.core.errors import ConfigError
from appliance.workbench.evaluate import evaluate
from tests.simulators.models import write_yolox, yolox_answer
from tests.simulators.other_tasks import CLASSIFICATION, SEGMENTATION, write_classifier, write_segmenter

LABELS = ("nothing", "cat", "dog", "cow", "hen", "pig", "fox", "bat")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, [str(argument) for argument in arguments], catch_exceptions=False)


def told(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    fields: dict[str, Any] = json.loads(done.stdout)
    return fields


def picture(path: Path, width: int = 40, height: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    scores = [0.99, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    return write_classifier(tmp_path / "animals", scores, LABELS, CLASSIFICATION.replace("softmax", "none"))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for path in ("cat/1.png", "cat/2.png", "dog/1.png", "fox/1.png", "unicorn/1.png"):
        picture(tmp_path / "album" / path)
    return tmp_path / "album"


def test_top1_and_top5_are_counted_over_all_pictures_and_for_each_label(classifier: Path, album: Path) -> None:
    found = told(classifier, album)
    assert found["whole"] == {"pictures": 4, "top1": 0.5, "top5": 0.75}
    assert found["labels"] == {
        "cat": {"pictures": 2, "top1": 1.0, "top5": 1.0},
        "dog": {"pictures": 1, "top1": 0.0, "top5": 1.0},
        "fox": {"pictures": 1, "top1": 0.0, "top5": 0.0},  # it is the sixth
    }
    assert found["unknown"] == ["unicorn"]
    assert told(classifier, album, "--limit", 1)["whole"]["pictures"] == 3, "of each label"


def test_for_people_it_is_a_table(classifier: Path, album: Path) -> None:
    said = run(classifier, album).stdout
    assert "cat                             2 100.0% 100.0%" in said
    assert "all                             4  50.0%  75.0%" in said
    assert "not known to the model, left out: unicorn" in said


@pytest.fixture
def segmenter(tmp_path: Path) -> Path:
    halves = np.repeat([1, 2], 4)[None].repeat(8, axis=0)
    return write_segmenter(tmp_path / "ground", halves, ("nothing", "road", "grass", "sky"), SEGMENTATION)


def masked(folder: Path, mask: np.ndarray[Any, np.dtype[np.uint8]]) -> Path:
    picture(folder / "images" / "one.png")
    (folder / "masks").mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / "masks" / "one.png"), mask)
    return folder


def test_iou_is_over_the_pixels_that_count_and_its_mean_over_the_labels_that_are_there(
    segmenter: Path, tmp_path: Path
) -> None:
    mask = np.full((20, 40), 1, np.uint8)  # 20 columns were seen as road, 20 as grass
    mask[:, 30:] = 2
    mask[:, 39] = 255
    found = told(segmenter, masked(tmp_path / "data", mask))
    assert found["labels"] == {"road": pytest.approx(20 / 30), "grass": pytest.approx(9 / 19)}
    assert found["mean_iou"] == pytest.approx((20 / 30 + 9 / 19) / 2)
    assert found["accuracy"] == pytest.approx(29 / 39)
    assert "1 pictures: mean IoU 57.0%, 74.4% of the pixels right" in run(segmenter, tmp_path / "data").stdout


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.full((20, 40), 7, np.uint8), "has the class id 7; accepted: 0 to 3, and 255"),
        (np.zeros((10, 40), np.uint8), "has 40 x 10 pixels, its picture 40 x 20"),
        (np.zeros((20, 40, 3), np.uint8), "is no grey PNG of 8 bits"),
        (np.full((20, 40), 255, np.uint8), "no pixel of the masks counts"),
    ],
)
def test_masks_that_cannot_be_are_told(
    segmenter: Path, tmp_path: Path, mask: np.ndarray[Any, np.dtype[np.uint8]], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        run(segmenter, masked(tmp_path / "data", mask))


def test_what_is_missing_is_told(classifier: Path, segmenter: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="no folder with pictures that is named by a label of 'animals'"):
        run(classifier, empty)
    with pytest.raises(ConfigError, match="no pictures in images/"):
        run(segmenter, empty)
    picture(empty / "images" / "one.png")
    with pytest.raises(ConfigError, match="each picture needs a mask of its name"):
        run(segmenter, empty)
    with pytest.raises(ConfigError, match=r"no instances\.json in COCO's format"):
        run(write_yolox(tmp_path / "yolox.onnx", yolox_answer()), empty)
    assert run(classifier, empty, "--best-class").exit_code == 2
