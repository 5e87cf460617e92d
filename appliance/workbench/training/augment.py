"""Pictures varied and put together where the corpus lies; whole batches at once, from a seeded source of chance."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from appliance.workbench.recipe import AugmentRecipe
from appliance.workbench.training.corpus import Corpus
from appliance.workbench.training.lessons import Layout, Lesson, Lessons, part_of

PAD = 114.0  # around pictures, as the manifest says to the device
_PARTS = 4  # of a mosaic: left and right above, left and right below
_LEAST_SIDE = 2.0  # pixels; nothing smaller can be learned
_LUMA = (0.114, 0.587, 0.299)  # of blue, green, red; ITU-R BT.601


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures as the network takes them, and what is in them.

    Attributes:
        pictures: Shape (B, 3, S, S), float32, 0..255, channels last in memory.
        boxes: Shape (B, K, 4), xyxy in pixels.
        classes: Shape (B, K); -1 where there is no box.
        ignored: Shape (B, K).
        scope: Shape (B, 4, classes): what was labelled in each part.
        middle: Shape (B, 2): x and y at which the four parts meet; with one part alone, the lower right corner.
        lesson: What another detector sees there, if there is one to learn from.
    """

    pictures: Tensor
    boxes: Tensor
    classes: Tensor
    ignored: Tensor
    scope: Tensor
    middle: Tensor
    lesson: Lesson | None = None

    def scope_at(self, centres: Tensor) -> Tensor:
        """Give what was labelled around each of the points (A, 2): shape (B, classes, A)."""
        part = part_of(centres, self.middle)
        index = part[..., None].expand(-1, -1, self.scope.shape[2])
        return self.scope.gather(1, index).transpose(1, 2)


class Augmenter:
    """Makes batches from a corpus.

    Args:
        corpus: On the device on which batches are wanted.
        recipe: How much is varied.
        generator: Source of chance, on the same device.
        lessons: What another detector sees in each picture of the corpus, on the same device.
    """

    def __init__(
        self, corpus: Corpus, recipe: AugmentRecipe, generator: Generator, lessons: Lessons | None = None
    ) -> None:
        self._corpus = corpus
        self._lessons = lessons
        self._recipe = recipe
        self._generator = generator
        self._device = corpus.pixels.device

    def batch(self, first: Tensor, size: int, *, late: bool) -> Batch:
        """Make a batch.

        Args:
            first: Shape (B,): number of each picture; the other parts of a mosaic are taken by chance.
            size: Width and height, pixels.
            late: Nothing is put together, and scales vary less.
        """
        count = len(first)
        order = self._corpus.order
        others = (self._chance(count, _PARTS - 1) * len(order)).long().clamp(max=len(order) - 1)
        chosen = torch.cat((first[:, None], order[others]), dim=1)
        share = 0.0 if late else self._recipe.mosaic
        mosaic = self._chance(count) < share
        middle = ((0.3 + 0.4 * self._chance(count, 2)) * size).round()
        middle = torch.where(mosaic[:, None], middle, float(size))
        layout = self._lay_out(chosen, middle, mosaic, size, late=late)
        pictures = self._vary(self._sample(chosen, layout, middle, size))
        boxes, classes, ignored = self._place(chosen, layout)
        scope = self._corpus.scope[chosen]
        lesson = self._lessons.of(chosen, layout, middle, size) if self._lessons else None
        return Batch(pictures, boxes, classes, ignored, scope, middle, lesson)

    def _chance(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._generator, device=self._device)

    def _lay_out(self, chosen: Tensor, middle: Tensor, mosaic: Tensor, size: int, *, late: bool) -> Layout:
        count = len(chosen)
        part = torch.arange(_PARTS, device=self._device)
        beyond = torch.stack((part % 2, part // 2), dim=1).bool()[None]
        low = torch.where(beyond, middle[:, None], 0.0)
        high = torch.where(beyond, float(size), middle[:, None])
        sizes = self._corpus.sizes[chosen]
        recipe = self._recipe
        alone = torch.tensor(recipe.late_scale if late else recipe.scale, device=self._device).log()
        together = torch.tensor(recipe.mosaic_scale, device=self._device).log()
        span = torch.where(mosaic[:, None, None], together, alone)  # (B, 1, 2)
        factor = (span[..., 0] + (span[..., 1] - span[..., 0]) * self._chance(count, _PARTS)).exp()
        stretch = recipe.stretch ** (self._chance(count, _PARTS) - 0.5)
        scale = (factor * size / sizes.amax(dim=2))[..., None] * torch.stack((stretch, 1 / stretch), dim=2)
        # by chance where it fits, and a part of it by chance where it does not
        offset = low + (high - low - sizes * scale) * self._chance(count, _PARTS, 2)
        return Layout(low, high, scale, offset, sizes, self._chance(count, _PARTS) < recipe.flip)

    def _sample(self, chosen: Tensor, layout: Layout, middle: Tensor, size: int) -> Tensor:
        """Give (B, S, S, 3), float32: each pixel interpolated from the part that it lies in."""
        along = torch.arange(size, device=self._device) + 0.5
        # in the coordinates of the source, (B, parts, S) each
        across = (along - layout.offset[..., :1]) / layout.scale[..., :1]
        across = torch.where(layout.mirrored[..., None], layout.sizes[..., :1] - across, across)
        down = (along - layout.offset[..., 1:]) / layout.scale[..., 1:]
        right = (along >= middle[:, :1]).long()
        below = (along >= middle[:, 1:]).long()
        part = right[:, None, :] + 2 * below[:, :, None]  # (B, S, S)
        x = across[:, :, None, :].expand(-1, -1, size, -1).gather(1, part[:, None])[:, 0]
        y = down[:, :, :, None].expand(-1, -1, -1, size).gather(1, part[:, None])[:, 0]
        flat = part.flatten(1)
        width, height = (layout.sizes[..., axis].gather(1, flat).view_as(x) for axis in (0, 1))
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        base = chosen.gather(1, flat).view_as(part) * self._corpus.side**2
        x = torch.minimum((x - 0.5).clamp(min=0), width - 1)
        y = torch.minimum((y - 0.5).clamp(min=0), height - 1)
        left, top = x.long(), y.long()
        step_x = (left + 1 < width).long()
        step_y = (top + 1 < height).long() * self._corpus.side
        place = base + top * self._corpus.side + left
        weight_x, weight_y = (x - left)[..., None], (y - top)[..., None]
        upper = torch.lerp(self._colours(place), self._colours(place + step_x), weight_x)
        lower = torch.lerp(self._colours(place + step_y), self._colours(place + step_y + step_x), weight_x)
        return torch.where(inside[..., None], torch.lerp(upper, lower, weight_y), PAD)

    def _colours(self, place: Tensor) -> Tensor:
        packed = self._corpus.pixels[place]
        return packed[..., None].view(torch.uint8)[..., :3].float()

    def _place(self, chosen: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """Give boxes, classes and what is ignored, as in `Batch`."""
        boxes, classes = self._corpus.boxes[chosen], self._corpus.classes[chosen]
        width = layout.sizes[..., :1]
        mirrored = layout.mirrored[..., None]
        left = torch.where(mirrored, width - boxes[..., 2], boxes[..., 0])
        right = torch.where(mirrored, width - boxes[..., 0], boxes[..., 2])
        low = torch.stack((left, boxes[..., 1]), dim=-1) * layout.scale[:, :, None] + layout.offset[:, :, None]
        high = torch.stack((right, boxes[..., 3]), dim=-1) * layout.scale[:, :, None] + layout.offset[:, :, None]
        whole = (high - low).clamp(min=1e-3).prod(dim=-1)
        low = torch.minimum(torch.maximum(low, layout.low[:, :, None]), layout.high[:, :, None])
        high = torch.minimum(torch.maximum(high, layout.low[:, :, None]), layout.high[:, :, None])
        shown = (high - low).prod(dim=-1)
        is_there = (classes >= 0) & (shown > 0)
        too_little = (shown < self._recipe.least_visible * whole) | ((high - low).amin(dim=-1) < _LEAST_SIDE)
        ignored = self._corpus.ignored[chosen] | too_little
        classes = torch.where(is_there, classes, -1).flatten(1)
        # the fewest columns that hold every picture's boxes
        first = (classes >= 0).to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        most = max(1, int((classes >= 0).sum(dim=1).max()))
        first = first[:, :most]
        placed = torch.cat((low, high), dim=-1).flatten(1, 2).gather(1, first[..., None].expand(-1, -1, 4))
        return placed, classes.gather(1, first), ignored.flatten(1).gather(1, first)

    def _vary(self, pictures: Tensor) -> Tensor:
        """Change light, colour and noise of (B, S, S, 3); give (B, 3, S, S), whole numbers of 0 to 255."""
        count, recipe = len(pictures), self._recipe
        light = (self._chance(count) < recipe.light).float()
        dark = (self._chance(count) < recipe.dark).float()
        gamma = (light * (self._chance(count) - 0.5) * 0.8 + dark * 0.3).exp()
        gain = (light * (self._chance(count) - 0.5) * 0.7 - dark * (1.0 + self._chance(count))).exp()
        shift = light * (self._chance(count) - 0.5) * 40.0
        tint = 1.0 + light[:, None] * (self._chance(count, 3) - 0.5) * 0.2
        grey = (self._chance(count) < recipe.grey).float()
        colour = torch.where(grey > 0, 0.0, 1.0 - light * (self._chance(count) - 0.3).clamp(min=0))
        noise = self._chance(count) ** 2 * recipe.noise + dark * 6.0
        column = (-1, 1, 1, 1)
        luma = (pictures * pictures.new_tensor(_LUMA)).sum(dim=-1, keepdim=True)
        varied = torch.lerp(luma, pictures, colour.view(column)) * tint.view(-1, 1, 1, 3)
        varied = (varied / 255).clamp(min=1e-4).pow(gamma.view(column)) * (255 * gain.view(column))
        grain = torch.randn(varied.shape, generator=self._generator, device=self._device)
        varied = varied + shift.view(column) + grain * noise.view(column)
        return varied.round().clamp(0, 255).permute(0, 3, 1, 2)
