"""Masks as short text: lengths of runs, as COCO writes them. Pure.

The runs go down the columns, one after the other; the first is of pixels outside the mask and may be empty. From the
fourth on, the difference to the last but one is written, in groups of five bits, lowest first: rleEncode and
rleToString in common/maskApi.c of https://github.com/cocodataset/cocoapi. pycocotools reads it:
``pycocotools.mask.decode({"size": [height, width], "counts": counts})``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError

MOST_PIXELS = 1 << 26  # 8192 x 8192; what a short text claims to unpack to is bounded before it is unpacked
_BITS, _MORE, _SIGN, _FIRST_CHARACTER = 5, 0x20, 0x10, 48
_MOST_GROUPS = 7  # five bits each: a difference of two runs of MOST_PIXELS takes six


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask as text.

    Attributes:
        height: Of the mask, pixels.
        width: Of the mask, pixels.
        counts: Its runs, in characters from ``0`` to ``o``.
    """

    height: int
    width: int
    counts: str


def encode_mask(mask: NDArray[np.bool_]) -> Rle:
    """Write a mask, shape (height, width), as text.

    Raises:
        ModelError: It has no pixels, or more than `MOST_PIXELS`.
    """
    height, width = mask.shape
    _check_size(height, width)
    pixels = mask.T.reshape(-1)
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = np.concatenate(([0], changes, [pixels.size]))
    runs = np.diff(starts)
    if pixels[0]:
        runs = np.concatenate(([0], runs))
    return Rle(height, width, _to_text(runs))


def decode_mask(rle: Rle) -> NDArray[np.bool_]:
    """Read a mask, shape (height, width), from text.

    Raises:
        ModelError: The text is damaged, or of a mask of another size.
    """
    _check_size(rle.height, rle.width)
    if not 1 <= len(rle.counts) <= (rle.height * rle.width + 1) * _MOST_GROUPS:
        raise ModelError(f"mask of {rle.width} x {rle.height}: {len(rle.counts)} characters cannot be its runs")
    runs = _from_text(rle.counts)
    # the sum alone could hide a run that is longer than the mask behind one that is negative
    if runs.min() < 0 or runs.max() > MOST_PIXELS or runs.sum() != rle.height * rle.width:
        raise ModelError(f"mask of {rle.width} x {rle.height}: its runs do not add up to its pixels")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(pixels.reshape(rle.width, rle.height).T)


def _check_size(height: int, width: int) -> None:
    if not (height >= 1 and width >= 1 and height * width <= MOST_PIXELS):
        raise ModelError(f"a mask of {width} x {height} pixels; it has 1 to {MOST_PIXELS}")


def _to_text(runs: NDArray[np.int64]) -> str:
    values = runs.astype(np.int64)
    values[3:] -= runs[1:-2]
    places = np.arange(_MOST_GROUPS) * _BITS
    groups = (values[:, None] >> places) & (_MORE - 1)
    rest = values[:, None] >> (places + _BITS)
    # the top bit of the last group is the sign: what is left beyond must be all zeros, or all ones
    has_more = np.where(groups & _SIGN, rest != -1, rest != 0)
    is_written = np.ones_like(has_more)
    is_written[:, 1:] = np.logical_and.accumulate(has_more, axis=1)[:, :-1]
    characters = groups + np.where(has_more, _MORE, 0) + _FIRST_CHARACTER
    text: bytes = characters[is_written].astype(np.uint8).tobytes()
    return text.decode("ascii")


def _from_text(counts: str) -> NDArray[np.int64]:
    codes = np.frombuffer(counts.encode("utf-8"), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if codes.min() < 0 or codes.max() >= 2 * _MORE:  # bytes beyond ASCII lie above
        raise ModelError("mask: its text has a character that no run is written with")
    ends = np.flatnonzero(codes < _MORE)
    firsts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    lengths = ends - firsts + 1
    if len(ends) == 0 or ends[-1] != len(codes) - 1 or lengths.max() > _MOST_GROUPS:
        raise ModelError("mask: its text breaks off within a run, or has one that is too long")
    places = (np.arange(len(codes)) - np.repeat(firsts, lengths)) * _BITS
    values = np.add.reduceat((codes & (_MORE - 1)) << places, firsts)
    values -= np.where(codes[ends] & _SIGN, np.int64(1) << (lengths * _BITS), 0)
    # from the fourth on: the difference to the last but one
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
