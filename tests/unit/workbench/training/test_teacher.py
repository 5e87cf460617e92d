"""What a teacher says of a corpus: in the recipe's order, in shares of the picture, never of another corpus."""

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
pytest.importorskip("pycocotools", reason="pycocotools, the extra `workbench`, is not installed")

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError
from appliance.inference.detector import open_detector
from appliance.inference.preprocess import Preprocessor
from appliance.inference.runtimes.onnx import OnnxRuntime
from appliance.workbench.evaluate import as_frame
from appliance.workbench.recipe import DataRecipe, DistillationRecipe, Recipe
from appliance.workbench.training.export import export
from appliance.workbench.training.lessons import Lessons
from appliance.workbench.training.network import Network, cells
from appliance.workbench.training.teacher import learn_from
from tests.simulators.training import RECIPE, write_corpus, write_split

KNOWN = ("person", "car", "dog")
DATA = DataRecipe(street=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tomllib

    recipe = Recipe.model_validate(tomllib.loads(RECIPE)).model_copy(update={"labels": KNOWN})
    torch.manual_seed(1)
    network = Network(recipe.network, len(KNOWN)).eval()
    with torch.no_grad():
        for branch in (*network.scores, *network.distances):
            branch.out.weight.mul_(20)  # what it says differs from place to place
            branch.out.bias.zero_()
    return export(network, recipe, tmp_path_factory.mktemp("teacher"), {}) / "tiny-fp32.onnx"


def learn(teacher: Path, data: Path, folder: Path, labels: tuple[str, ...] = KNOWN, **other: Any) -> Lessons | None:
    with open_detector(ModelSettings(use=str(teacher))) as detector:
        distillation = DistillationRecipe(teacher=detector.digest)
    folder.mkdir(exist_ok=True)
    values = {"recipe": DATA, "pictures": 5, "stop": threading.Event(), **other}
    return learn_from(
        ModelSettings(use=str(teacher)), data, distillation=distillation, labels=labels, folder=folder, **values
    )


def test_cells_are_told_in_shares_of_the_picture_and_in_the_recipes_order(teacher: Path, tmp_path: Path) -> None:
    coarse = np.random.default_rng(1).integers(0, 256, (6, 10, 3), np.uint8)
    picture = np.asarray(cv2.resize(coarse, (80, 48)), np.uint8)
    write_split(tmp_path, "train", [(picture, {}, [{"category_id": 1, "bbox": [0, 0, 20, 20]}])])
    labels = ("dog", "person", "car")
    lessons = learn(teacher, tmp_path, tmp_path / "run", labels, pictures=3)
    assert lessons is not None
    assert lessons.known.tolist() == [True, False, False]
    # 80 x 48 in 64 x 64: four fifths of it, 13 rows from the top
    assert lessons.spans[0].tolist() == [0, 13, 64, 38]
    with open_detector(ModelSettings(use=str(teacher))) as detector:
        preprocessor = Preprocessor(detector.manifest.input)
    preprocessor.write(as_frame(picture))
    session = OnnxRuntime().open(teacher.read_bytes(), name="teacher", threads=1)
    outputs = session.run({"image": preprocessor.tensor})
    session.close()
    scores, distances = outputs
    wanted = np.stack([scores[0, KNOWN.index(label)] for label in labels], axis=1)
    assert np.ptp(wanted) > 0.2
    np.testing.assert_allclose(lessons.scores[0].numpy(), np.rint(wanted * 255), atol=1)
    centres, strides = (one.numpy() for one in cells(64, 64, torch.device("cpu")))
    reach = distances[0].T * strides[:, None]
    corners = np.concatenate((centres - reach[:, :2], centres + reach[:, 2:]), axis=1)
    shares = ((corners - [0, 13, 0, 13]) / [64, 38, 64, 38]).clip(-8, 8)
    np.testing.assert_allclose(lessons.boxes[0].float().numpy(), shares, rtol=2e-3, atol=2e-3)


def test_what_it_saw_is_kept_for_the_same_corpus_and_labels_alone(teacher: Path, tmp_path: Path) -> None:
    data, folder = write_corpus(tmp_path / "corpus", train=3, val=1), tmp_path / "run"
    kept = [learn(teacher, data, folder, labels) for labels in (KNOWN, KNOWN, KNOWN[::-1])]
    assert len(list(folder.glob("lessons-*.npz"))) == 2
    first, again, turned = (one.scores for one in kept if one is not None)
    assert torch.equal(first, again)
    assert torch.equal(first.flip(2), turned)
    with pytest.raises(ConfigError, match=r"tells of 3 photographs, .* has 7; remove the file"):
        learn(teacher, data, folder, pictures=9)
    write_corpus(data, train=4, val=1)
    more = learn(teacher, data, folder, pictures=6)
    assert more is not None
    assert int(more.known.sum()) == 4


def test_a_stopped_look_keeps_nothing(teacher: Path, tmp_path: Path) -> None:
    data, stop = write_corpus(tmp_path / "corpus", train=3, val=1), threading.Event()
    stop.set()
    assert learn(teacher, data, tmp_path / "run", stop=stop) is None
    assert not list((tmp_path / "run").iterdir())


def test_a_group_of_the_teacher_is_no_label(teacher: Path, tmp_path: Path) -> None:
    data = write_corpus(tmp_path / "corpus", train=3, val=1)
    with pytest.raises(ConfigError, match=r"labels 'vehicle' are none .* it knows person, car, dog"):
        learn(teacher, data, tmp_path / "run", ("person", "vehicle"))
