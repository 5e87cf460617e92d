"""A model's folder appears whole, or not at all."""

import os
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import ConfigError, ModelError, StorageError
from appliance.core.manifest import read_manifest
from appliance.inference.adding.writing import check_free, check_room, manifest_text, write_model

VALUES = {
    "schema": 1,
    "version": "1.0",
    "task": "detect",
    "name": "mine",
    "title": 'Birds, "our own"\n',
    "licence": "Apache-2.0",
    "labels": ["robin", "it's \\ a wren", "\u202eright"],
    "source": {"url": "", "notes": "x"},
    "input": {"width": 64, "height": 64, "colour": "rgb", "fit": "stretch", "std": [255.0, 255.0, 255.0]},
    "decoder": {"kind": "yolov8", "nms_iou": 0.7, "min_score": 0.25},
    "signature": {
        "input": {"shape": [1, 3, "height", "width"]},
        "outputs": [{"shape": [1, "4+classes", "cells(8,16,32)"]}],
    },
    "artifacts": [
        {"file": "mine.onnx", "format": "onnx", "precision": "fp32", "sha256": "0" * 64, "size": 3},
    ],
}
FILES = {"mine.onnx": b"abc", "manifest.toml": manifest_text(VALUES, "Written by a test.").encode()}


def test_what_is_written_reads_back_as_it_was(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "mine", FILES)
    manifest = read_manifest(folder)
    assert list(manifest.labels) == VALUES["labels"]
    assert manifest.title == VALUES["title"]
    assert manifest.artifacts[0].file == "mine.onnx"
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
    assert oct(folder.stat().st_mode & 0o777) == "0o755"


def test_a_name_that_is_taken_is_not_written_over_unless_that_is_meant(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "mine", FILES)
    (folder / "own.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        write_model(tmp_path, "mine", FILES)
    assert (folder / "own.txt").exists()
    write_model(tmp_path, "mine", FILES, replace=True)
    assert sorted(entry.name for entry in folder.iterdir()) == ["manifest.toml", "mine.onnx"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_manifest_that_is_not_accepted_leaves_everything_as_it_was(tmp_path: Path, *, is_there: bool) -> None:
    if is_there:
        write_model(tmp_path, "mine", FILES)
    broken = FILES | {"manifest.toml": FILES["manifest.toml"].replace(b'"yolov8"', b'"yolov99"')}
    with pytest.raises(ModelError, match="known: "):
        write_model(tmp_path, "mine", broken, replace=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"] * is_there


def test_a_folder_that_cannot_take_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder for models"):
        check_free(tmp_path / "nosuch", "mine", replace=False)
    with pytest.raises(StorageError, match="make room"):
        check_room(tmp_path, 1 << 62)
    if os.geteuid():
        tmp_path.chmod(0o500)
        with pytest.raises(ConfigError, match="cannot be written to"):
            check_free(tmp_path, "mine", replace=False)


class _Interrupted(dict[str, bytes]):
    """Files of which the second is being written when Ctrl-C comes."""

    def items(self) -> Any:
        yield next(iter(super().items()))
        raise KeyboardInterrupt


@pytest.mark.parametrize("is_there", [True, False])
def test_an_interruption_leaves_everything_as_it_was(tmp_path: Path, *, is_there: bool) -> None:
    if is_there:
        write_model(tmp_path, "mine", FILES)
    with pytest.raises(KeyboardInterrupt):
        write_model(tmp_path, "mine", _Interrupted(FILES), replace=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"] * is_there
