from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")

from appliance.core.errors import ConfigError
from appliance.workbench.recipe import DataRecipe
from appliance.workbench.training.corpus import draw_street, pack, read_corpus, read_pictures
from tests.shared_data import SHARED, needs
from tests.simulators.training import write_corpus, write_split

LABELS = ("person", "car")
GREY = np.full((40, 80, 3), 128, np.uint8)


def test_pictures_are_scaled_with_their_boxes_and_taken_as_often_as_said(tmp_path: Path) -> None:
    box = {"category_id": 3, "bbox": [20, 10, 40, 20]}
    pictures = [(GREY, {"file_name": "coco_1.png"}, [box]), (GREY, {"file_name": "other.png"}, [])]
    write_split(tmp_path, "train", pictures)
    corpus = read_corpus(tmp_path, DataRecipe(long_side=64, repeat={"coco": 2}), LABELS)
    assert (corpus.side, corpus.sizes.tolist()) == (64, [[64.0, 32.0], [64.0, 32.0]])
    assert corpus.boxes[0, 0].tolist() == [16.0, 8.0, 48.0, 24.0]
    assert corpus.classes.tolist() == [[1], [-1]]
    assert corpus.order.tolist() == [0, 0, 1]
    first = corpus.pixels.view(torch.uint8).view(2, 64, 64, 4)[0]
    assert first[31, 63, :3].tolist() == [128] * 3
    assert first[32:].sum() == 0


def test_scope_and_ignored_regions_and_other_categories_are_read(tmp_path: Path) -> None:
    boxes = [
        {"category_id": 1, "bbox": [0, 0, 20, 20], "pseudo": 1},
        {"category_id": 3, "bbox": [30, 0, 20, 20], "iscrowd": 1},
        {"category_id": 18, "bbox": [50, 0, 20, 20]},
    ]
    write_split(tmp_path, "train", [(GREY, {"label_scope": [3]}, boxes), (GREY, {"label_scope": [18]}, [])])
    (one,) = read_pictures(tmp_path, "train", DataRecipe(), LABELS)  # the other has nothing to teach
    assert one.scope.tolist() == [False, True]
    assert (one.classes.tolist(), one.ignored.tolist()) == ([0, 1], [False, True])


def test_pictures_can_lie_in_a_folder_too(tmp_path: Path) -> None:
    write_corpus(tmp_path, train=2)
    import tarfile

    with tarfile.open(tmp_path / "train-000.tar") as shard:
        shard.extractall(tmp_path, filter="data")
    index = (tmp_path / "train.json").read_text(encoding="utf-8").replace('"shard": "train-000.tar", ', "")
    (tmp_path / "train.json").write_text(index, encoding="utf-8")
    assert len(read_corpus(tmp_path, DataRecipe(), LABELS)) == 2


def test_what_is_missing_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.json is no list of pictures"):
        read_corpus(tmp_path, DataRecipe(), LABELS)
    write_corpus(tmp_path)
    whole = (tmp_path / "train.json").read_text(encoding="utf-8")
    (tmp_path / "train.json").write_text(whole.replace('"bbox"', '"box"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="an entry of annotations without bbox"):
        read_corpus(tmp_path, DataRecipe(), LABELS)
    (tmp_path / "train.json").write_text(whole, encoding="utf-8")
    index = (tmp_path / "train.json").read_text(encoding="utf-8")
    (tmp_path / "train.json").write_text(index.replace("plain_1.png", "gone.png"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train-000\.tar lacks 1 pictures: gone\.png"):
        read_corpus(tmp_path, DataRecipe(), LABELS)
    (tmp_path / "train-000.tar").unlink()
    with pytest.raises(ConfigError, match="cannot read the pictures in"):
        read_corpus(tmp_path, DataRecipe(), LABELS)


def test_a_corpus_without_a_wanted_box_is_refused(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [(GREY, {}, [{"category_id": 18, "bbox": [0, 0, 9, 9]}])])
    with pytest.raises(ConfigError, match="has no box of person, car"):
        read_corpus(tmp_path, DataRecipe(), LABELS)


def test_the_street_comes_with_its_truth() -> None:
    drawn = list(draw_street(DataRecipe(street=9, street_seed=7), LABELS))
    assert len(drawn) == 9
    assert sum(len(one.classes) for one in drawn) > 9
    assert all(one.scope.all() for one in drawn)
    assert pack(drawn, 96).sizes.max() == 96


@needs("train/train.json", "train/val-000.tar")
def test_the_shared_corpus_is_read() -> None:
    found = list(read_pictures(SHARED / "train", "val", DataRecipe(pictures=20), ("person", "bicycle", "car")))
    assert 15 <= len(found) <= 20
    assert sum(len(one.classes) for one in found) > 20
