"""Models as people export them may be loaded; what refers elsewhere, loops or is damaged may not."""

import random
from pathlib import Path

import pytest

from appliance.core.errors import ModelError
from appliance.inference.folders import bundled_models
from appliance.inference.inspection import inspect_onnx
from tests.shared_data import SHARED
from tests.simulators.bad_models import spoilt

GOOD = sorted([*bundled_models().rglob("*.onnx"), *(SHARED / "models").glob("[!b]*.onnx")])


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_models_as_they_are_exported_may_be_loaded(path: Path) -> None:
    seen = inspect_onnx(path.read_bytes(), path.name)
    assert seen.nodes > 20
    assert seen.elements > 100_000


@pytest.mark.parametrize(
    ("kind", "why"),
    [("external", "another file"), ("loop", "Loop"), ("strange", r"evil\.example"), ("truncated", "damaged")],
)
def test_what_may_not_be_loaded_is_told(kind: str, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        inspect_onnx(spoilt(kind), "it")


@pytest.mark.parametrize("content", [b"", b"\x00", b"<html>", b"\x3a\xff\xff\xff\xff\x0f", b"\x0a" * 1000])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError):
        inspect_onnx(content, "it")


def test_no_damage_ends_otherwise_than_in_a_refusal() -> None:
    source = random.Random(6)
    whole = min((path.read_bytes() for path in GOOD), key=len)
    at = whole.index(b"Conv")
    for _ in range(60):
        bad = bytearray(whole)
        for _ in range(20):
            bad[source.randrange(min(len(bad), at + 4000))] = source.randrange(256)
        try:
            inspect_onnx(bytes(bad), "it")
        except ModelError:
            continue
