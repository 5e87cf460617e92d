"""Ways from one file of weights to another in fewer bytes; kept where they pay. Pure."""

import lzma
from dataclasses import dataclass
from typing import Final

import bsdiff4

MOST_SHARE: Final = 0.6
"""Of the compressed whole file: a delta that is larger saves too little for what a device does for it."""

LEAST_BYTES: Final = 16 << 10
"""A smaller file comes whole: the request costs as much."""


@dataclass(frozen=True, slots=True)
class Made:
    """A delta that was tried.

    Attributes:
        content: In the format of bsdiff 4.
        size: Bytes.
        whole: Bytes of the whole file.
        packed: Bytes of the whole file, compressed.
    """

    content: bytes
    size: int
    whole: int
    packed: int

    @property
    def is_worth_it(self) -> bool:
        """It is published."""
        return self.size <= MOST_SHARE * self.packed

    @property
    def share(self) -> float:
        """Of the whole file, 0..1 where it helps."""
        return self.size / self.whole


def make_delta(base: bytes, content: bytes) -> Made:
    """Give the delta from one file to another.

    Takes memory of some 17 times `base` for a moment (bsdiff's suffix sort).

    Args:
        base: What devices have.
        content: What they are to have.
    """
    delta = bsdiff4.diff(base, content)
    return Made(delta, len(delta), len(content), len(lzma.compress(content)))


def is_tried(content: bytes) -> bool:
    """Tell whether a file is large enough for a delta."""
    return len(content) >= LEAST_BYTES
