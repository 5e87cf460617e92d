"""A file of weights is opened as what its manifest's task says."""

from pathlib import Path

import numpy as np
import pytest

from appliance.config import ModelSettings
from appliance.core.clock import SystemClock
from appliance.core.errors import ConfigError, ModelError
from appliance.core.frame import Frame, PixelLayout
from appliance.inference.classifier import Classifier
from appliance.inference.detector import Detector, open_detector
from appliance.inference.ladder import open_best_model
from appliance.inference.opening import AnyModel
from appliance.inference.segmenter import Segmenter, told_size
from tests.simulators.models import write_yolox, yolox_answer
from tests.simulators.other_tasks import CLASSIFICATION, SEGMENTATION, write_classifier, write_segmenter

HALVES = np.repeat([1, 2], 4)[None].repeat(8, axis=0)  # (8, 8): the left half is 1, the right one 2


def opened(folder: Path, **settings: object) -> AnyModel:
    return open_best_model(ModelSettings.model_validate({"use": str(folder), **settings}))


def classifier(folder: Path, **settings: object) -> Classifier:
    model = opened(folder, **settings)
    assert isinstance(model, Classifier)
    return model


def segmenter(folder: Path, **settings: object) -> Segmenter:
    model = opened(folder, **settings)
    assert isinstance(model, Segmenter)
    return model


def frame(width: int = 64, height: int = 32, layout: PixelLayout = PixelLayout.BGR) -> Frame:
    stamp = SystemClock().now()
    shape = (height, width, 3) if layout is PixelLayout.BGR else (height * 3 // 2, width)
    return Frame(np.zeros(shape, np.uint8), layout, width, height, "door", 0, stamp.time, stamp.mono_ns)


def told(model: Classifier) -> list[tuple[str, float]]:
    found = model.classify(frame())
    return [
        (model.manifest.labels[at], round(score, 3))
        for at, score in zip(found.class_ids.tolist(), found.scores.tolist(), strict=True)
    ]


def test_a_model_is_opened_as_its_task_says(tmp_path: Path) -> None:
    assert isinstance(opened(write_yolox(tmp_path / "yolox.onnx", yolox_answer())), Detector)
    assert isinstance(opened(write_classifier(tmp_path / "animals", [0, 1, 0])), Classifier)
    assert isinstance(opened(write_segmenter(tmp_path / "ground", HALVES)), Segmenter)


def test_where_a_detector_is_needed_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'animals' is for task 'classify'; this needs a detector"):
        open_detector(ModelSettings(use=str(write_classifier(tmp_path / "animals", [0, 1, 0]))))


def test_a_classifier_s_logits_become_scores_in_order(tmp_path: Path) -> None:
    logits = np.log([0.1, 0.35, 0.55]).tolist()
    model = classifier(write_classifier(tmp_path / "animals", logits))
    assert told(model) == [("dog", 0.55), ("cat", 0.35)]
    assert model.scores(frame()) == pytest.approx([0.1, 0.35, 0.55])
    assert model.last_total_ms >= model.last_inference_ms > 0


def test_ready_scores_are_taken_as_they_are_and_the_background_is_never_told(tmp_path: Path) -> None:
    spec = CLASSIFICATION.replace("softmax", "none")
    model = classifier(write_classifier(tmp_path / "animals", [0.9, 0.05, 0.4], spec=spec))
    assert told(model) == [("dog", 0.4)]


def test_the_owner_chooses_the_lowest_score_and_the_labels(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "animals", [0.0, 0.35, 0.6], spec=CLASSIFICATION.replace("softmax", "none"))
    assert told(classifier(folder, min_score=0.5)) == [("dog", 0.6)]
    assert told(classifier(folder, labels=("cat",))) == [("cat", 0.35)]
    with pytest.raises(ConfigError, match="'cow' not known to 'animals'; accepted: labels nothing, cat, dog"):
        opened(folder, labels=("cow",))


@pytest.mark.parametrize("answer", [[0.0, float("nan"), 0.0], [0.0, 3.0, 0.0]])
def test_a_classifier_that_gives_what_are_no_scores_is_refused_when_it_is_opened(
    tmp_path: Path, answer: list[float]
) -> None:
    with pytest.raises(ModelError, match="the model gave scores"):
        opened(write_classifier(tmp_path / "animals", answer, spec=CLASSIFICATION.replace("softmax", "none")))


def test_a_label_map_is_spread_over_the_frame(tmp_path: Path) -> None:
    seen = segmenter(write_segmenter(tmp_path / "ground", HALVES)).segment(frame(64, 48)).class_ids
    assert seen.shape == (48, 64)
    assert (seen[:, :32] == 1).all()
    assert (seen[:, 32:] == 2).all()


def test_the_padding_of_a_letterbox_is_no_part_of_the_picture(tmp_path: Path) -> None:
    rows = np.repeat([1, 2], 4)[:, None].repeat(8, axis=1)  # the picture lies in the upper half
    model = segmenter(write_segmenter(tmp_path / "ground", rows, fit="letterbox-topleft"))
    assert (model.segment(frame(64, 32)).class_ids == 1).all()


def test_a_large_frame_can_be_told_of_in_a_smaller_size(tmp_path: Path) -> None:
    model = segmenter(write_segmenter(tmp_path / "ground", HALVES))
    seen = model.segment(frame(1280, 720), 640).class_ids
    assert seen.shape == (360, 640)
    assert ((seen == 1).mean(), (seen == 2).mean()) == (0.5, 0.5)
    assert model.segment(frame(64, 32), 640).class_ids.shape == (32, 64)
    assert told_size(10_000, 1, 640) == (640, 1)


def test_planar_pictures_are_taken_as_cameras_give_them(tmp_path: Path) -> None:
    model = segmenter(write_segmenter(tmp_path / "ground", HALVES))
    assert model.segment(frame(64, 48, PixelLayout.I420)).class_ids.shape == (48, 64)


def test_a_segmentation_network_says_which_labels_are_told_of(tmp_path: Path) -> None:
    folder = write_segmenter(tmp_path / "ground", HALVES)
    assert segmenter(folder).wanted.tolist() == [False, True, True]
    assert segmenter(folder, labels=("grass",)).wanted.tolist() == [False, False, True]


def test_a_map_with_labels_that_do_not_exist_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="class ids 7 to 7 for 3 labels"):
        opened(write_segmenter(tmp_path / "ground", np.full((8, 8), 7), spec=SEGMENTATION))
