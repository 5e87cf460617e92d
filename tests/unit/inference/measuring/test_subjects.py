"""What is measured when a model, a file or a folder is named."""

from pathlib import Path

import pytest

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError
from appliance.inference.folders import bundled_models
from appliance.inference.measuring.subjects import default_pictures, expand, find_candidates
from tests.simulators.models import write_folder, write_yolox, yolox, yolox_answer


def found(use: Path | str, **more: object) -> list[tuple[str, str, int]]:
    arguments: dict[str, object] = {"pictures": (), "here": ("cpu",), "threads": (1, 2)}
    candidates = find_candidates(ModelSettings(use=str(use)), **arguments | more)  # type: ignore[arg-type] # by name
    return [(one.file.name, one.by, one.way.threads) for one in candidates]


def test_of_a_model_it_is_each_file_that_is_here_in_each_way(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", {"int8": yolox(yolox_answer()), "fp32": yolox(yolox_answer())})
    both = [(name, "cpu", count) for name in ("int8.onnx", "fp32.onnx") for count in (1, 2)]
    assert found(folder) == both
    (folder / "int8.onnx").unlink()
    assert found(folder) == both[2:]


def test_a_provider_that_is_here_is_tried_with_the_cpu_behind_it(tmp_path: Path) -> None:
    model = write_yolox(tmp_path / "a.onnx", yolox_answer())
    assert found(model, here=("cuda", "cpu"), threads=(1, 4)) == [
        ("a.onnx", "cpu", 1),
        ("a.onnx", "cpu", 4),
        ("a.onnx", "cuda + cpu", 1),
    ]


def test_what_is_for_another_machine_is_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", {"int8": yolox(yolox_answer())})
    with (folder / "manifest.toml").open("a") as manifest:
        manifest.write('needs = { machines = ["aarch64"] }\n')
    assert found(folder, machine="x86_64") == []
    assert found(folder, machine="aarch64", threads=(1,)) == [("int8.onnx", "cpu", 1)]


def test_a_tflite_file_is_run_with_xnnpack_and_without(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"whatever")
    assert found(tmp_path / "a.tflite", threads=(1,)) == [("a.tflite", "plain", 1), ("a.tflite", "xnnpack", 1)]


def test_a_folder_without_a_manifest_stands_for_its_files_of_weights(tmp_path: Path) -> None:
    for name in ("b.onnx", "a.tflite", "notes.txt"):
        (tmp_path / name).write_bytes(b"whatever")
    assert [Path(one).name for one in expand(str(tmp_path))] == ["a.tflite", "b.onnx"]
    assert expand("edgecam-nano") == ["edgecam-nano"]
    assert expand(str(bundled_models() / "edgecam-nano")) == [str(bundled_models() / "edgecam-nano")]


def test_what_is_not_there_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 files of weights"):
        expand(str(tmp_path))
    with pytest.raises(ConfigError, match="edgecam model list"):
        found(tmp_path / "missing.onnx")
    with pytest.raises(ConfigError, match="no weights for it"):
        found("yolox")


def test_files_without_golden_frames_are_shown_the_drawn_streets_of_the_bundled_model() -> None:
    pictures = default_pictures()
    assert len(pictures) >= 4
    assert all(path.is_file() for path in pictures)
