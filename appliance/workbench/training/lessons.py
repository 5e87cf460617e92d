"""What another detector, the teacher, sees in the corpus: all its cells, looked up where a batch needs them."""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from appliance.workbench.training.network import cells


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of each picture of a batch come from and lie; shape (B, 4, 2), x and y, unless said otherwise.

    Attributes:
        low: Upper left corner of each part in the batch's picture, pixels.
        high: Lower right corner.
        scale: Pixels of the batch's picture for each of the source's.
        offset: Where the source's upper left corner comes to lie.
        sizes: Width and height of the source.
        mirrored: Shape (B, 4): left and right of the source are exchanged.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    offset: Tensor
    sizes: Tensor
    mirrored: Tensor


def part_of(points: Tensor, middle: Tensor) -> Tensor:
    """Give the part, 0 to 3, in which each of the points (A, 2) lies: shape (B, A).

    Args:
        points: In pixels.
        middle: Shape (B, 2): where the four parts meet.
    """
    beyond = (points[None] >= middle[:, None]).long()
    return beyond[..., 0] + 2 * beyond[..., 1]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the teacher sees at each cell of a batch.

    Attributes:
        scores: Shape (B, classes, cells), 0..1.
        boxes: Shape (B, cells, 4), xyxy in pixels, what lies outside of the cell's part cut off.
        known: Shape (B, cells), bool: the teacher saw this place.
    """

    scores: Tensor
    boxes: Tensor
    known: Tensor


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the teacher sees in each picture of a corpus; its cells one level after the other, row by row.

    Attributes:
        scores: Shape (N, cells, classes), uint8: 255 is 1.
        boxes: Shape (N, cells, 4), float16, xyxy in shares of the picture's width and height.
        known: Shape (N,), bool: the teacher saw this picture.
        spans: Shape (N, 4): where the picture lies in the teacher's input: left, top, width and height, pixels.
        strides: Shape (levels,): pixels of the teacher's input between cells.
        columns: Shape (levels,): cells in a row.
        rows: Shape (levels,).
    """

    scores: Tensor
    boxes: Tensor
    known: Tensor
    spans: Tensor
    strides: Tensor
    columns: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> Self:
        """Give the same on another device."""
        return type(self)(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def of(self, chosen: Tensor, layout: Layout, middle: Tensor, size: int) -> Lesson:
        """Give what the teacher sees at the cells of a batch.

        A cell looks at the cell of the teacher that lies in the same place of the source, on the level whose cells are
        nearest in size.

        Args:
            chosen: Shape (B, 4): number of each part's source.
            layout: Of the parts.
            middle: Shape (B, 2): where the parts meet, pixels.
            size: Width and height of the batch's pictures, pixels.
        """
        centres, strides = cells(size, size, chosen.device)
        part = part_of(centres, middle)
        number = chosen.gather(1, part)  # (B, A)
        scale, offset, sizes, low, high = (
            _of_part(each, part) for each in (layout.scale, layout.offset, layout.sizes, layout.low, layout.high)
        )
        mirrored = layout.mirrored.gather(1, part)
        share = (centres - offset) / scale / sizes
        share = torch.stack((torch.where(mirrored, 1 - share[..., 0], share[..., 0]), share[..., 1]), dim=-1)
        known = self.known[number] & ((share >= 0) & (share < 1)).all(dim=-1)
        index = self._cell(number, share, strides * (scale * sizes).prod(dim=-1).rsqrt())
        found = self.boxes[number, index].float()
        left = torch.where(mirrored, 1 - found[..., 2], found[..., 0])
        right = torch.where(mirrored, 1 - found[..., 0], found[..., 2])
        corners = (torch.stack((left, found[..., 1]), dim=-1), torch.stack((right, found[..., 3]), dim=-1))
        placed = [(corner * sizes * scale + offset).clamp(low, high) for corner in corners]
        scores = self.scores[number, index].transpose(1, 2).float() / 255
        return Lesson(scores, torch.cat(placed, dim=-1), known)

    def _cell(self, number: Tensor, share: Tensor, side: Tensor) -> Tensor:
        """Give the teacher's cell at a share of a picture; `side`: the asking cell's, as a share of the picture's."""
        spans = self.spans[number]
        wanted = side * spans[..., 2:].prod(dim=-1).sqrt()  # side of the asking cell in the teacher's input, pixels
        level = (wanted.log2()[..., None] - self.strides.log2()).abs().argmin(dim=-1)
        counts = self.columns * self.rows
        first = counts.cumsum(0) - counts
        at = (spans[..., :2] + share * spans[..., 2:]) / self.strides[level][..., None]
        column = torch.minimum(at[..., 0].long().clamp(min=0), self.columns[level] - 1)
        row = torch.minimum(at[..., 1].long().clamp(min=0), self.rows[level] - 1)
        return first[level] + row * self.columns[level] + column


def _of_part(values: Tensor, part: Tensor) -> Tensor:
    return values.gather(1, part[..., None].expand(-1, -1, values.shape[2]))
