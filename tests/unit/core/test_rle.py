import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.core.errors import ModelError
from appliance.core.rle import Rle, decode_mask, encode_mask

MASKS = st.builds(
    lambda seed, height, width, share: np.random.default_rng(seed).random((height, width)) < share,
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]),
)


@given(mask=MASKS)
@settings(max_examples=150, deadline=None)
def test_a_mask_comes_back_as_it_was(mask: np.ndarray) -> None:
    decoded = decode_mask(encode_mask(mask))
    assert decoded.dtype == np.bool_
    assert (decoded == mask).all()


@given(mask=MASKS)
@settings(max_examples=150, deadline=None)
def test_it_is_what_pycocotools_writes_and_reads(mask: np.ndarray) -> None:
    reference = pytest.importorskip("pycocotools.mask")
    theirs = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = encode_mask(mask)
    assert (ours.height, ours.width) == tuple(theirs["size"])
    assert ours.counts.encode() == theirs["counts"]
    with warnings.catch_warnings(action="ignore"):  # its NumPy is not the newest
        decoded = reference.decode({"size": [ours.height, ours.width], "counts": ours.counts})
    assert (decoded == mask).all()


def test_long_runs_too_are_what_pycocotools_writes() -> None:
    reference = pytest.importorskip("pycocotools.mask")
    mask = np.zeros((2000, 3000), bool)
    mask[5:1500, 1:2900] = True
    mask[700:720, 1000] = False
    ours = encode_mask(mask)
    assert ours.counts.encode() == reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert (decode_mask(ours) == mask).all()


def test_runs_go_down_the_columns_and_begin_outside() -> None:
    mask = np.array([[1, 0, 0], [1, 0, 1]], bool)
    # 0 outside, 2 inside, 3 outside, then 1 - 2 = -1
    assert encode_mask(mask) == Rle(2, 3, "023O")


@given(
    counts=st.text(st.characters(min_codepoint=40, max_codepoint=130), max_size=12),
    height=st.integers(0, 9),
    width=st.integers(0, 9),
)
@example(counts="é", height=1, width=1)
@example(counts="ooooooooooo0", height=3, width=3)
@settings(max_examples=300, deadline=None)
def test_damaged_text_is_refused_or_is_a_mask_of_its_size(counts: str, height: int, width: int) -> None:
    try:
        mask = decode_mask(Rle(height, width, counts))
    except ModelError:
        return
    assert mask.shape == (height, width)


@pytest.mark.parametrize(
    ("rle", "expected"),
    [
        (Rle(2, 3, "025"), "do not add up"),
        (Rle(2, 3, "04O3"), "do not add up"),  # 0, 4, -1, 7
        (Rle(2, 3, "02"), "do not add up"),
        (Rle(2, 3, "6P"), "breaks off within a run"),
        (Rle(2, 3, "0 6"), "a character that no run"),
        (Rle(2, 3, ""), "0 characters cannot be its runs"),
        (Rle(2, 3, "0" * 60), "60 characters cannot be its runs"),
        (Rle(100_000, 100_000, "0"), "a mask of 100000 x 100000 pixels"),
    ],
)
def test_text_that_is_not_of_this_mask_says_what_is_wrong(rle: Rle, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        decode_mask(rle)


def test_a_mask_without_pixels_is_refused() -> None:
    with pytest.raises(ModelError, match="a mask of 0 x 4 pixels"):
        encode_mask(np.zeros((4, 0), bool))
