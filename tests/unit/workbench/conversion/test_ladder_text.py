"""Entries of artifacts: what is written is read again as it was meant, and the rest of the manifest stays."""

import hashlib
import tomllib
from pathlib import Path

import pytest

from appliance.core.errors import ModelError
from appliance.core.manifest import MANIFEST_NAME, Quantization, TensorPattern, read_manifest
from appliance.workbench.conversion.ladder_text import (
    Entry,
    artifact_text,
    split_artifacts,
    with_artifacts,
    with_content,
    with_first_artifact,
)

TEXT = (Path(__file__).resolve().parents[4] / "models" / "edgecam-nano" / MANIFEST_NAME).read_text(encoding="utf-8")


def write(folder: Path, text: str) -> Path:
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("quantization", [None, Quantization(scale=1 / 255, zero_point=-128)])
def test_an_artifact_with_channels_last_is_read_as_it_was_meant(
    quantization: Quantization | None, tmp_path: Path
) -> None:
    before = read_manifest(write(tmp_path, TEXT))
    dtype = before.input.dtype if quantization is None else "int8"
    spec = before.input.model_copy(update={"layout": "nhwc", "dtype": dtype, "quantization": quantization})
    pattern = TensorPattern(shape=(1, "height", "width", 3), dtype="uint8")
    entry = Entry("a.tflite", "tflite", "int8", b"weights", ("aarch64",), spec, pattern)
    _, known = split_artifacts(TEXT)
    blocks = [*known.values(), artifact_text(entry, before.signature.outputs)]
    after = read_manifest(write(tmp_path, with_artifacts(TEXT, blocks)))
    assert [one.file for one in after.artifacts] == [*(one.file for one in before.artifacts), "a.tflite"]
    last = after.artifacts[-1]
    assert (last.size, last.sha256) == (7, hashlib.sha256(b"weights").hexdigest())
    assert last.needs.machines == ("aarch64",)
    assert last.input == spec
    assert last.signature is not None
    assert last.signature.input == pattern
    assert last.signature.outputs == before.signature.outputs
    assert after.model_copy(update={"artifacts": before.artifacts}) == before


def test_what_stood_between_artifacts_stays_and_their_order_is_ours() -> None:
    text = TEXT.replace("[[artifacts]]", "[[artifacts]]\n# ours", 1) + "\n[groups]\nwheels = ['bicycle']\n"
    rest, known = split_artifacts(text)
    assert tomllib.loads(rest)["groups"] == {"wheels": ["bicycle"]}
    assert list(known) == ["edgecam-nano-int8.onnx", "edgecam-nano-fp32.onnx"]
    turned = tomllib.loads(with_artifacts(text, list(reversed(known.values()))))
    assert [one["file"] for one in turned["artifacts"]] == ["edgecam-nano-fp32.onnx", "edgecam-nano-int8.onnx"]
    assert turned["groups"] == {"wheels": ["bicycle"]}


def test_another_content_changes_size_and_digest_alone(tmp_path: Path) -> None:
    artifact = read_manifest(write(tmp_path, TEXT)).artifacts[1]
    block = split_artifacts(TEXT)[1][artifact.file] + 'needs = { machines = ["x86_64"] }\n'
    changed = tomllib.loads(with_content(block, artifact, b"new"))["artifacts"][0]
    expected = {**tomllib.loads(block)["artifacts"][0], "size": 3, "sha256": hashlib.sha256(b"new").hexdigest()}
    assert changed == expected


def test_a_first_artifact_comes_before_the_others() -> None:
    found = tomllib.loads(with_first_artifact(TEXT, Entry("new.onnx", "onnx", "int8", b"x")))["artifacts"]
    assert [one["file"] for one in found] == ["new.onnx", "edgecam-nano-int8.onnx", "edgecam-nano-fp32.onnx"]


def test_artifacts_that_are_no_tables_are_refused() -> None:
    rest, _ = split_artifacts(TEXT)
    with pytest.raises(ModelError, match="must be tables"):
        split_artifacts(f'artifacts = [{{ file = "a.onnx" }}]\n{rest}')
