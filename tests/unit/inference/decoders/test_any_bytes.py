"""Whatever bytes a broken model or runtime hands over: detections, or a ModelError, and nothing else."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.registry import load
from appliance.inference.decoders import DECODERS, Choice
from appliance.inference.nms import suppress
from tests.unit.inference.decoders.reference import manifest_of

LAYERS = [{"stride": 32, "anchors": [[0.2, 1.0], [0.2, 2.0]]}]
LISTED = {"kind": "listed", "box_order": "yxyx", "unit": "normalised"}
COLUMNS = ["batch", "x1", "y1", "x2", "y2", "class", "score"]
Tensor = tuple[str, tuple[int, ...]]
CASES: list[tuple[dict[str, Any], list[Tensor]]] = [
    ({"kind": "yolox", "strides": [32]}, [("f4", (1, 6, 8))]),
    ({"kind": "distances", "strides": [32]}, [("f4", (1, 3, 6)), ("f4", (1, 4, 6))]),
    ({"kind": "yolov5"}, [("f4", (1, 9, 8))]),
    ({"kind": "yolov8", "unit": "normalised"}, [("f4", (1, 7, 9))]),
    (
        {"kind": "ssd", "layers": LAYERS, "activation": "softmax", "background": "first"},
        [("f4", (1, 12, 4)), ("f4", (1, 12, 4))],
    ),
    (
        {"kind": "ssd", "layers": LAYERS, "activation": "sigmoid", "background": "none", "class_numbers": [0, 2, 3]},
        [("f4", (1, 12, 4)), ("f4", (1, 12, 4))],
    ),
    ({"kind": "detr", "activation": "sigmoid", "background": "none"}, [("f4", (1, 9, 4)), ("f4", (1, 9, 3))]),
    ({"kind": "detr", "activation": "none", "background": "last"}, [("f4", (1, 9, 4)), ("f4", (1, 9, 4))]),
    (LISTED, [("f4", (1, 9, 4)), ("f4", (1, 9)), ("f4", (1, 9)), ("f4", (1,))]),
    (
        {**LISTED, "outputs": ["count", "boxes", "scores", "classes"]},
        [("i4", (1, 1)), ("f4", (1, 9, 4)), ("f4", (1, 9)), ("i4", (1, 9))],
    ),
    ({**LISTED, "outputs": ["classes", "boxes", "scores"]}, [("i8", (1, 9)), ("f4", (1, 9, 4)), ("f4", (1, 9))]),
    ({"kind": "by-class"}, [("f4", (1, 3, 4, 5))]),
    ({"kind": "rows"}, [("f4", (1, 9, 6))]),
    ({"kind": "rows", "columns": COLUMNS, "class_numbers": [1, 2, 7]}, [("f4", (1, 1, 9, 7))]),
]


def any_tensor(random: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Half of it likely values, the rest any bits, and what is special among them."""
    count = int(np.prod(shape))
    bits = np.frombuffer(random.bytes(count * np.dtype(dtype).itemsize), dtype)
    if dtype == "f4":
        special = random.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 3e38, 1e-45], dtype), count)
        likely = (random.random(count) * random.choice([1.0, 4.0])).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        special = random.choice(np.array([limits.min, limits.max, 0, 1, 9], dtype), count)
        likely = random.integers(0, 4, count).astype(dtype)
    kinds = random.choice(4, count, p=random.dirichlet([4, 4, 1, 1]))
    return np.choose(kinds, [likely, np.round(likely), special, bits]).astype(dtype).reshape(shape)


@pytest.mark.parametrize(("spec", "tensors"), CASES, ids=[spec["kind"] for spec, _ in CASES])
@given(seed=st.integers(0, 2**32 - 1), every_class=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_detections_or_a_model_error(
    spec: dict[str, Any],
    tensors: list[Tensor],
    seed: int,
    every_class: bool,  # noqa: FBT001 - drawn
) -> None:
    random = np.random.default_rng(seed)
    outputs = [any_tensor(random, dtype, shape) for dtype, shape in tensors]
    choice = Choice(0.3, random.random(3) < 0.8, every_class)
    decoder = load(DECODERS, spec["kind"], "kind")(manifest_of(spec, tensors=len(tensors)), choice)
    with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings(action="error"):  # as in the detector
        try:
            found = decoder.decode(outputs)
        except ModelError:
            return
    assert found.boxes.shape == (len(found), 4)
    assert len(found.class_ids) == len(found)
    assert ((found.class_ids >= 0) & (found.class_ids < 3)).all()
    assert not (found.scores < np.float32(0.3)).any()
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = np.isfinite(found.boxes.sum() + found.scores.sum())
    if is_finite:  # else the detector refuses it
        assert choice.wanted[found.class_ids].all()
        assert len(suppress(found, 0.5, 5)) <= 5
