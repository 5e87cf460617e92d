"""What candidates are compared with."""

from pathlib import Path

import cv2
import numpy as np

from appliance.config import ModelSettings
from appliance.inference.golden import GoldenObject, Tolerance
from appliance.inference.measuring.comparing import compare
from appliance.inference.measuring.rounds import Measured
from appliance.inference.measuring.subjects import find_candidates
from appliance.workbench.golden_frames import make_golden, own_frames
from tests.simulators.measuring import CAR, answer, candidate
from tests.simulators.models import write_folder, yolox, yolox_answer

BUS = GoldenObject(label="bus", score=0.9, box=(0.0, 0.0, 8.0, 8.0))


def measured(name: str, **more: object) -> Measured:
    return Measured(candidate(Path(name)), first=answer(**more))


def test_the_float_file_of_a_family_is_the_reference_wherever_it_stands() -> None:
    quantized, plain = compare([measured("q.onnx", is_quantized=True, objects=((BUS,),)), measured("f.onnx")])
    assert plain.is_reference
    assert plain.agreement is None
    assert quantized.agreement is not None
    assert (quantized.agreement.value, quantized.agreement.of) == (0.0, "objects")


def test_files_of_other_families_or_sizes_are_not_compared() -> None:
    results = compare([measured("a.onnx"), measured("b.onnx", input=(32, 32)), measured("c.onnx", model="other")])
    assert [one.is_reference for one in results] == [True, True, True]


def test_where_nothing_was_found_the_outputs_are_compared_and_it_is_said() -> None:
    first, second = measured("a.onnx", objects=((),)), measured("b.onnx", objects=((),))
    first.tensors = second.tensors = (np.ones(4, np.float32),)
    _, result = compare([first, second])
    assert result.agreement is not None
    assert result.agreement.of == "tensors"
    assert result.note == "nothing was found in the pictures"


def test_a_file_without_a_decoder_says_so() -> None:
    (result,) = compare([measured("a.onnx", model="", objects=())])
    assert (result.is_reference, result.note) == (True, "no decoder known")


def test_files_of_a_classifier_or_a_segmentation_network_are_compared_by_what_they_tell() -> None:
    scores, other = (np.array([[0.9, 0.1]], np.float32),), (np.array([[0.1, 0.9]], np.float32),)
    for task, of, wrong in (("classify", "labels", other), ("segment", "pixels", (np.array([1, 0]),))):
        files = [measured(name, task=task, objects=(), is_quantized=name == "q.onnx") for name in ("f.onnx", "q.onnx")]
        files[0].tensors = scores if task == "classify" else (np.array([0, 1]),)
        for tensors, value in ((files[0].tensors, 1.0), (wrong, 0.0)):
            files[1].tensors = tensors
            plain, quantized = compare(files)
            assert (plain.is_reference, plain.note) == (True, "")
            assert quantized.agreement is not None
            assert (quantized.agreement.of, quantized.agreement.value) == (of, value)


def test_what_failed_is_no_reference_and_has_no_agreement() -> None:
    broken = measured("a.onnx")
    broken.error = "gone"
    first, second = compare([broken, measured("b.onnx")])
    assert (first.is_reference, first.agreement, second.is_reference) == (False, None, True)


def of_model(folder: Path, objects: tuple[GoldenObject, ...]) -> Measured:
    import hashlib

    (one,) = find_candidates(ModelSettings(use=str(folder)), pictures=(), here=("cpu",), threads=(1,))
    digest = hashlib.sha256(one.file.read_bytes()).hexdigest()
    return Measured(one, first=answer(objects=(objects,), sha256=digest))


def test_a_model_with_golden_frames_is_compared_with_what_it_found_where_it_was_made(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", {"fp32": yolox(yolox_answer((0, 2, 0.9)))})
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "black.png"), np.zeros((64, 64, 3), np.uint8))
    make_golden(folder, own_frames(tmp_path / "frames"), Tolerance())
    (same,) = compare([of_model(folder, (CAR,))])
    assert same.agreement is not None
    assert (same.agreement.value, same.note, same.golden) == (1.0, "golden frames", "")
    (other,) = compare([of_model(folder, (BUS,))])
    assert other.agreement is not None
    assert other.agreement.value == 0.0
    assert other.golden.startswith("2 objects are not as they were where it was made")
