"""What a manifest says of tasks beside detection, and what of it is refused."""

from pathlib import Path

import numpy as np
import pytest

from appliance.core.errors import ModelError
from appliance.core.manifest import ModelManifest, read_manifest
from tests.simulators.other_tasks import write_classifier, write_segmenter

TWO_OUTPUTS = 'outputs = [{ shape = [1, "classes"] }, { shape = ['


def classifier(tmp_path: Path, old: str = "", new: str = "") -> ModelManifest:
    folder = write_classifier(tmp_path / "animals", [0.0, 1.0, 0.0])
    return changed(folder, old, new)


def changed(folder: Path, old: str, new: str) -> ModelManifest:
    text = (folder / "manifest.toml").read_text(encoding="utf-8")
    assert old in text
    (folder / "manifest.toml").write_text(text.replace(old, new), encoding="utf-8")
    return read_manifest(folder)


def test_a_classifier_says_how_its_output_becomes_labels(tmp_path: Path) -> None:
    manifest = classifier(tmp_path)
    spec = manifest.classification
    assert (spec.activation, spec.min_score, spec.top, spec.smoothing) == ("softmax", 0.3, 3, 1.0)
    assert (manifest.min_score, manifest.background) == (0.3, "nothing")


def test_a_segmentation_network_says_how_its_output_is_laid_out_and_has_no_scores(tmp_path: Path) -> None:
    manifest = read_manifest(write_segmenter(tmp_path / "ground", np.zeros((8, 8), np.int64)))
    assert (manifest.segmentation.output, manifest.background, manifest.min_score) == ("labels", "nothing", None)


def test_what_needs_a_detector_is_told_that_this_is_none(tmp_path: Path) -> None:
    manifest = classifier(tmp_path)
    with pytest.raises(ModelError, match="'animals' is for task 'classify'; this needs a detector"):
        _ = manifest.decoder
    with pytest.raises(ModelError, match="needs a segmentation network"):
        _ = manifest.segmentation


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[classification]", "[segmentation]", "segmentation.output: is required"),
        ('task = "classify"', 'task = "segment"', "segmentation: is required for task 'segment'"),
        ('task = "classify"', 'task = "caption"', "task: "),
        (
            "[signature]",
            '[segmentation]\noutput = "nhwc"\n[signature]',
            "is not for task 'classify', which has classif",
        ),
        ('background = "nothing"', 'background = "cow"', "classification.background: 'cow' is none of the labels"),
        ('activation = "softmax"', 'activation = "relu"', "classification.activation: "),
        ("min_score = 0.3", "min_score = 30", "classification.min_score: "),
        ("top = 3", "top = 21", "classification.top: "),
        ("smoothing = 1.0", "smoothing = -1.0", "classification.smoothing: "),
        ("smoothing = 1.0", "smoothness = 1.0", "classification.smoothness: unknown entry"),
        ("outputs = [", "outputs = [{ shape = [1] }, ", "signature.outputs: task 'classify' has one"),
        ("size = ", '[artifacts.segmentation]\noutput = "nhwc"\n#', "artifacts.0.size: is required"),
    ],
)
def test_what_does_not_fit_together_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(ModelError) as caught:
        classifier(tmp_path, old, new)
    assert told in str(caught.value)


def test_an_artifact_may_say_it_otherwise_for_its_own_task_only(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "animals", [0.0, 1.0, 0.0])
    own = '[artifacts.classification]\nactivation = "none"\nmin_score = 0.5\n'
    with (folder / "manifest.toml").open("a", encoding="utf-8") as file:
        file.write(own)
    manifest = read_manifest(folder)
    assert manifest.for_artifact(manifest.artifacts[0]).classification.activation == "none"
    with pytest.raises(ModelError, match=r"artifacts\.0\.segmentation: is not for task 'classify'"):
        changed(folder, own, '[artifacts.segmentation]\noutput = "labels"\n')


def test_a_segmentation_network_has_no_more_labels_than_a_byte_can_count(tmp_path: Path) -> None:
    labels = ("nothing", *(f"label {number}" for number in range(256)))
    with pytest.raises(ModelError, match="task 'segment' has at most 256"):
        read_manifest(write_segmenter(tmp_path / "ground", np.zeros((8, 8), np.int64), labels))
