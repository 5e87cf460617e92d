import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError
from appliance.core.manifest import read_manifest
from appliance.inference.artifacts import locate_model, manifest_named, resolve_model
from appliance.inference.folders import artifacts_present, bundled_models, find_models
from tests.shared_data import SHARED, needs
from tests.simulators import tiny_onnx
from tests.simulators.models import write_folder, write_yolox, yolox_answer
from tests.simulators.models import yolox as yolox_bytes

MODELS = SHARED / "models"
FAMILIES = (
    "d-fine",
    "efficientdet",
    "fastestdet",
    "nanodet",
    "picodet",
    "rf-detr",
    "ssd-mobilenet",
    "yolox",
)


def add_model(directory: Path, name: str, weights: bytes | None = None, sha256: str | None = None) -> Path:
    """Write a model's folder: the YOLOX manifest under another name, with weights if given."""
    folder = directory / name
    folder.mkdir(parents=True)
    content = (bundled_models() / "yolox" / "manifest.toml").read_text(encoding="utf-8")
    labels = (bundled_models() / "labels" / "coco80.txt").read_text(encoding="utf-8")
    (folder / "labels.txt").write_text(labels, encoding="utf-8")
    content = content.replace('name = "yolox"', f'name = "{name}"').replace("../labels/coco80.txt", "labels.txt")
    if weights is not None:
        (folder / "w.onnx").write_bytes(weights)
        digest = sha256 or hashlib.sha256(weights).hexdigest()
        content += f'[[artifacts]]\nfile = "w.onnx"\nformat = "onnx"\nprecision = "fp32"\nsha256 = "{digest}"\n'
        content += f"size = {len(weights)}\n"
    (folder / "manifest.toml").write_text(content, encoding="utf-8")
    return folder


def use(what: object, *directories: Path) -> ModelSettings:
    return ModelSettings(use=str(what), directories=directories)


@pytest.fixture
def yolox(tmp_path: Path) -> Path:
    return write_yolox(tmp_path / "some.onnx", yolox_answer())


def test_our_own_families_are_found_and_say_that_they_have_no_weights() -> None:
    found = {model.manifest.name: model.weights for model in find_models()}
    assert set(FAMILIES) <= found.keys()
    assert all(found[name] is None for name in FAMILIES)


def test_models_are_listed_without_numpy_or_a_runtime() -> None:
    code = "import sys; from appliance.inference.folders import find_models; assert find_models(); \
sys.exit(bool({'numpy', 'cv2', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=bundled_models().parent, timeout=30, check=False)
    assert done.returncode == 0


def test_an_owners_model_goes_before_ours_of_the_same_name(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "yolox", b"weights")
    mine = next(model for model in find_models([tmp_path]) if model.manifest.name == "yolox")
    assert mine.folder == folder
    assert mine.weights == folder / "w.onnx"


def test_a_bare_file_is_matched_to_its_family_by_its_signature(yolox: Path) -> None:
    resolved = resolve_model(use(yolox))
    assert resolved.manifest.name == "yolox"
    assert resolved.manifest.input.width == 64
    assert resolved.sha256 == hashlib.sha256(yolox.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("yolox_nano_416_coco80", "yolox"),
        ("yolox_nano_416_int8_mixed_qdq", "yolox"),
        ("picodet_s_416_coco80", "picodet"),
        ("nanodet_m_320_coco80", "nanodet"),
        ("nanodet_m_320_int8_qdq", "nanodet"),
        ("fastestdet_352_coco80", "fastestdet"),
        ("fastestdet_352_int8_qdq", "fastestdet"),
    ],
)
@needs("models")
def test_real_files_are_matched_to_their_families(file: str, name: str) -> None:
    assert resolve_model(use(MODELS / f"{file}.onnx")).manifest.name == name


def test_where_two_manifests_fit_the_error_names_them_and_the_way_out(tmp_path: Path, yolox: Path) -> None:
    add_model(tmp_path / "mine", "my-yolox")
    with pytest.raises(ModelError) as caught:
        resolve_model(use(yolox, tmp_path / "mine"))
    assert "fits more than one model: my-yolox, yolox" in str(caught.value)
    assert f"say which: my-yolox={yolox}" in str(caught.value)


def test_name_and_file_together_settle_it(tmp_path: Path, yolox: Path) -> None:
    add_model(tmp_path / "mine", "my-yolox")
    assert resolve_model(use(f"my-yolox={yolox}", tmp_path / "mine")).manifest.name == "my-yolox"


def test_an_equals_sign_in_a_path_is_part_of_it(tmp_path: Path, yolox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run=3"
    folder.mkdir()
    moved = yolox.rename(folder / "w=1.onnx")
    assert resolve_model(use(moved)).path == moved
    assert resolve_model(use(f"yolox={moved}")).path == moved
    monkeypatch.chdir(tmp_path)
    assert resolve_model(use("./run=3/w=1.onnx")).path.samefile(moved)


def test_where_none_fits_the_error_shows_the_file_and_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(tiny_onnx.model({"x": (1, 3, 10, "w")}, {"y": np.zeros((1, 7), np.float32)}))
    with pytest.raises(ModelError) as caught:
        resolve_model(use(path))
    message = str(caught.value)
    assert "x float32[1,3,10,?] -> y float32[1,7]" in message
    assert "yolox: float32[1,3,height,width] -> float32[1,cells(8,16,32),5+classes]" in message


def test_a_named_family_must_fit_too(yolox: Path) -> None:
    with pytest.raises(ModelError, match="fits no known model"):
        resolve_model(use(f"nanodet={yolox}"))


def test_a_model_with_weights_is_used_by_name(tmp_path: Path, yolox: Path) -> None:
    add_model(tmp_path / "mine", "my-yolox", yolox.read_bytes())
    resolved = resolve_model(use("my-yolox", tmp_path / "mine"))
    assert resolved.path == tmp_path / "mine" / "my-yolox" / "w.onnx"


def test_a_tilde_stands_for_the_home_folder(tmp_path: Path, yolox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    add_model(tmp_path / "mine", "my-yolox", yolox.read_bytes())
    assert locate_model(use("my-yolox", Path("~/mine"))).path.is_relative_to(tmp_path / "mine")
    assert locate_model(use("~/some.onnx")).path == yolox


def test_weights_that_are_not_the_manifests_are_refused(tmp_path: Path, yolox: Path) -> None:
    add_model(tmp_path / "mine", "my-yolox", yolox.read_bytes(), sha256="0" * 64)
    with pytest.raises(ModelError, match=r"w\.onnx is not the file that its manifest names: SHA-256"):
        locate_model(use("my-yolox", tmp_path / "mine"))


def test_a_family_without_weights_asks_for_a_file() -> None:
    with pytest.raises(ConfigError, match=r"no weights .* give a file: picodet=FILE\.onnx"):
        locate_model(use("picodet"))


def test_an_unknown_name_lists_the_known_and_which_are_ready(tmp_path: Path, yolox: Path) -> None:
    add_model(tmp_path / "mine", "my-yolox", yolox.read_bytes())
    with pytest.raises(ConfigError, match=r"use is 'nosuch'; known: my-yolox \(ready\), d-fine \(no weights\)"):
        locate_model(use("nosuch", tmp_path / "mine"))


def test_the_bundled_detector_is_the_default_in_8_bits_and_in_float() -> None:
    located = locate_model(ModelSettings())
    assert located.path == bundled_models() / "edgecam-nano" / "edgecam-nano-int8.onnx"
    found = next(one for one in find_models(()) if one.manifest.name == "edgecam-nano")
    assert [one.precision for one in artifacts_present(found.folder, found.manifest)] == ["int8", "fp32"]
    sizes = [one.size for one in found.manifest.artifacts]
    assert sizes[0] <= 2_000_000
    assert sum(sizes) <= 6_000_000


def test_a_file_beside_the_manifest_that_names_it_is_what_that_says(tmp_path: Path, yolox: Path) -> None:
    folder = add_model(tmp_path / "run", "my-yolox", yolox.read_bytes())
    manifest = read_manifest(folder)
    located = locate_model(use(str(folder / manifest.artifacts[0].file)))
    assert [candidate.name for candidate in located.candidates] == ["my-yolox"]
    other = folder / "other.onnx"
    other.write_bytes(yolox.read_bytes())
    assert len(locate_model(use(str(other))).candidates) > 1


def test_a_file_that_is_not_the_one_its_manifest_names_is_refused_by_its_path_too(tmp_path: Path, yolox: Path) -> None:
    folder = add_model(tmp_path / "run", "my-yolox", yolox.read_bytes(), sha256="0" * 64)
    with pytest.raises(ModelError, match=r"w\.onnx is not the file that its manifest names: SHA-256"):
        locate_model(use(folder / "w.onnx"))


def test_what_is_named_leads_to_one_manifest_without_weights_and_whatever_lies_beside_it(tmp_path: Path) -> None:
    folder = add_model(tmp_path / "mine", "my-yolox", b"not read")
    (folder / "w.onnx").unlink()
    (tmp_path / "mine" / "broken").mkdir()
    (tmp_path / "mine" / "broken" / "manifest.toml").write_text("schema = 9", encoding="utf-8")
    for named in ("my-yolox", f"my-yolox={tmp_path}/nosuch.onnx", folder, folder / "w.onnx"):
        manifest = manifest_named(use(named, tmp_path / "nosuch", tmp_path / "mine"))
        assert manifest is not None
        assert manifest.name == "my-yolox"
    assert manifest_named(use(folder / "other.onnx")) is None
    with pytest.raises(ConfigError, match="'nosuch'; known: "):
        manifest_named(use("nosuch"))
    with pytest.raises(ModelError, match=r"broken/manifest\.toml"):
        manifest_named(use(tmp_path / "mine" / "broken"))


def test_a_broken_manifest_beside_it_is_no_reason_to_refuse_a_named_model(tmp_path: Path, yolox: Path) -> None:
    add_model(tmp_path / "mine", "my-yolox", yolox.read_bytes())
    (tmp_path / "mine" / "broken").mkdir()
    (tmp_path / "mine" / "broken" / "manifest.toml").write_text("schema = 9", encoding="utf-8")
    assert locate_model(use("my-yolox", tmp_path / "mine")).candidates[0].name == "my-yolox"
    with pytest.raises(ModelError, match=r"broken/manifest\.toml"):
        find_models([tmp_path / "mine"])


def test_a_folder_named_otherwise_than_its_model_is_refused(tmp_path: Path) -> None:
    add_model(tmp_path, "my-yolox").rename(tmp_path / "moved")
    with pytest.raises(ModelError, match="name is 'my-yolox'; it must be the folder's, 'moved'"):
        find_models([tmp_path])


@pytest.mark.parametrize("name", ["../models/yolox", "..", "."])
def test_a_name_cannot_lead_out_of_the_folders(name: str) -> None:
    with pytest.raises(ConfigError):
        locate_model(use(name))


def test_a_missing_file_or_directory_is_the_owners_to_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nosuch\.onnx: No such file"):
        locate_model(use(tmp_path / "nosuch.onnx"))
    with pytest.raises(ConfigError, match=r"directories: cannot read .*nosuch"):
        find_models([tmp_path / "nosuch"])


@pytest.mark.parametrize("name", [f"./{'x' * 300}", f"{'x' * 300}/mine.onnx", f"yolox={'x' * 300}.onnx"])
def test_a_place_that_cannot_be_looked_at_is_the_owners_to_mend(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*File name too long"):
        locate_model(ModelSettings(use=name))


def test_a_file_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is of no known format; known: \.onnx, \.tflite"):
        locate_model(use(tmp_path / "model.pb"))


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(600 << 20)  # a hole: it takes no space
    with pytest.raises(ModelError, match="is larger than 512 MiB"):
        locate_model(use(tmp_path / "huge.onnx"))


@needs("models/bad_truncated.onnx")
def test_a_truncated_file_is_one_clear_line() -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model(use(MODELS / "bad_truncated.onnx"))
    message = str(caught.value)
    assert "bad_truncated.onnx is no model that ONNX Runtime can load" in message
    assert "Copy or export it again" in message
    assert "\n" not in message


@needs("models/mobilenet_v1_0.25_128_quant.tflite")
def test_a_tflite_file_is_opened_by_its_ending_and_told_by_its_tensors() -> None:
    pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed: the extra litert")
    manifest = resolve_model(use(MODELS / "mobilenet_v1_0.25_128_quant.tflite")).manifest
    assert (manifest.name, manifest.task, manifest.input.width) == ("mobilenet", "classify", 128)


def list_file(path: Path, **dtypes: str) -> Path:
    """Write a file whose tensors are those of D-FINE as deployed, and of many others."""
    answers = {
        "labels": np.zeros((1, 3), np.int64),
        "boxes": np.zeros((1, 3, 4), np.float32),
        "scores": np.zeros((1, 3), np.float32),
    }
    inputs = {"images": (1, 3, 64, 64), "orig_target_sizes": (1, 2)}
    dtypes = {"images": "float32", "orig_target_sizes": "int64", **dtypes}
    path.write_bytes(tiny_onnx.model(inputs, answers, input_dtype=dtypes))
    return path


def test_a_file_whose_labels_its_tensors_do_not_tell_is_not_guessed_at(tmp_path: Path) -> None:
    path = list_file(tmp_path / "some.onnx")
    with pytest.raises(ModelError) as caught:
        resolve_model(use(path))
    assert "could be d-fine, or have other labels: its outputs do not tell" in str(caught.value)
    assert f"--model d-fine={path}" in str(caught.value)


def test_a_file_whose_labels_its_tensors_do_not_tell_is_what_its_owner_says(tmp_path: Path) -> None:
    path = list_file(tmp_path / "some.onnx")
    resolved = resolve_model(use(f"d-fine={path}"))
    assert resolved.binding.constants[0].values == (64, 64)


def test_a_folder_is_a_model_whatever_it_is_called_and_a_precision_chooses_among_its_artifacts(tmp_path: Path) -> None:
    weights = {"int8": yolox_bytes(yolox_answer()), "fp32": yolox_bytes(yolox_answer((0, 0, 0.5)))}
    folder = write_folder(tmp_path / "first", weights).rename(tmp_path / "candidate")
    assert locate_model(use(folder)).path == folder / "int8.onnx"
    assert locate_model(use(folder), "fp32").content == weights["fp32"]
    (folder / "int8.onnx").unlink()
    assert locate_model(use(folder)).path == folder / "fp32.onnx"
    with pytest.raises(ConfigError, match=r"no int8 weights for it in .*; there are: fp32"):
        locate_model(use(folder), "int8")


def test_a_folder_without_a_manifest_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*manifest\.toml"):
        locate_model(use(tmp_path))


def test_a_precision_cannot_be_chosen_of_a_file(yolox: Path) -> None:
    with pytest.raises(ConfigError, match="one is of one precision"):
        locate_model(use(yolox), "fp32")
    with pytest.raises(ConfigError, match="one is of one precision"):
        locate_model(use(f"yolox={yolox}"), "fp32")
