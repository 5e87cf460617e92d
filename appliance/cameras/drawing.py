"""Draws sprites: shapes in metres, smoothed, with the share of each pixel that they cover."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

FINER = 2  # drawn so much larger and averaged down: soft edges
Colour = tuple[float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Sprite:
    """A figure ready to be laid over a picture.

    Attributes:
        colours: Shape (H, W, 3), uint8, BGR, already multiplied with what the figure and its shadow cover.
        behind: Shape (H, W, 3), uint8: 255 where the picture behind shows fully, 0 where nothing of it does.
        solid: Shape (H, W), bool: the figure itself, without its shadow.
        left: Columns from the sprite's left edge to the figure's foot point.
        top: Rows from the sprite's upper edge to the figure's foot point.
    """

    colours: NDArray[np.uint8]
    behind: NDArray[np.uint8]
    solid: NDArray[np.bool_]
    left: int
    top: int


def shade(colour: Colour, factor: float) -> Colour:
    """Give `colour` darker (below 1) or lighter (above)."""
    blue, green, red = (min(255.0, channel * factor) for channel in colour)
    return blue, green, red


class Canvas:
    """A sheet on which one figure is drawn in metres: x to the right of its foot point, y up from the ground.

    Args:
        scale: Pixels a metre in the finished sprite.
        box: Left, right, lower and upper edge of the sheet in metres.
    """

    def __init__(self, scale: float, box: tuple[float, float, float, float]) -> None:
        left, right, lower, upper = box
        self._left, self._top = max(1, round(-left * scale)), max(1, round(upper * scale))
        self._size = self._left + max(1, round(right * scale)), self._top + max(1, round(-lower * scale))
        self._scale = scale * FINER
        rows, columns = self._size[1] * FINER, self._size[0] * FINER
        self._sheet = np.zeros((rows, columns, 4), np.uint8)  # BGR and coverage
        self._shadow = np.zeros((self._size[1], self._size[0]), np.uint8)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        corners = np.array([self._to_pixels(point) for point in points], np.int32)
        cv2.fillPoly(self._sheet, [corners], (*colour, 255.0))

    def limb(self, points: Sequence[Point], widths: Sequence[float], colour: Colour) -> None:
        """Draw a chain of rounded links whose width changes from point to point, in metres."""
        for (start, end), (wide, narrow) in zip(pairwise(points), pairwise(widths), strict=True):
            across = np.array([end[1] - start[1], start[0] - end[0]])
            across = across / max(1e-6, float(np.hypot(*across))) / 2
            (x, y), (to_x, to_y) = start, end
            self.polygon(
                [
                    (x + across[0] * wide, y + across[1] * wide),
                    (to_x + across[0] * narrow, to_y + across[1] * narrow),
                    (to_x - across[0] * narrow, to_y - across[1] * narrow),
                    (x - across[0] * wide, y - across[1] * wide),
                ],
                colour,
            )
        for point, width in zip(points, widths, strict=True):
            self.ellipse(point, width / 2, width / 2, colour)

    def ellipse(self, centre: Point, wide: float, high: float, colour: Colour, angle: float = 0.0) -> None:
        """Fill an ellipse of the half axes `wide` and `high`, turned by `angle` degrees anticlockwise."""
        axes = max(1, round(wide * self._scale)), max(1, round(high * self._scale))
        cv2.ellipse(self._sheet, self._to_pixels(centre), axes, -angle, 0, 360, (*colour, 255.0), -1)

    def ring(self, centre: Point, radius: float, thick: float, colour: Colour) -> None:
        """Draw a circle."""
        width = max(1, round(thick * self._scale))
        reach = max(1, round(radius * self._scale))
        cv2.circle(self._sheet, self._to_pixels(centre), reach, (*colour, 255.0), width)

    def shadow(self, centre: Point, wide: float, high: float) -> None:
        """Darken the ground in an ellipse; belongs to the sprite, not to the figure."""
        x, y = self._to_pixels(centre)
        axes = max(1, round(wide * self._scale / FINER)), max(1, round(high * self._scale / FINER))
        cv2.ellipse(self._shadow, (x // FINER, y // FINER), axes, 0, 0, 360, (105.0,), -1)

    def finish(self, direction: int, seed: int) -> Sprite:
        """Give the sprite, facing right (1) or left (-1), with light from above and a rough surface."""
        sheet = np.asarray(cv2.resize(self._sheet, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        figure = np.ascontiguousarray(sheet[..., 3])
        covered = np.maximum(figure, cv2.blur(self._shadow, (5, 5)))
        colours = _light(np.ascontiguousarray(sheet[..., :3]), figure, seed)
        left = self._left
        if direction < 0:
            figure, covered, colours = (np.ascontiguousarray(part[:, ::-1]) for part in (figure, covered, colours))
            left = self._size[0] - left
        behind = cv2.merge([255 - covered] * 3)
        return Sprite(np.asarray(colours, np.uint8), np.asarray(behind, np.uint8), figure >= 128, left, self._top)  # noqa: PLR2004 - half covered

    def _to_pixels(self, point: Point) -> tuple[int, int]:
        return round(self._left * FINER + point[0] * self._scale), round(self._top * FINER - point[1] * self._scale)


def _light(colours: NDArray[np.uint8], figure: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Give the figure lit from above and with grain: upper edges are lighter, lower ones darker."""
    reach = figure.shape[0] // 8 * 2 + 1
    slope = cv2.Sobel(cv2.blur(figure, (reach, reach)), cv2.CV_16S, 0, 1, ksize=3, scale=0.04 * reach)
    grain = np.random.default_rng(seed).integers(-9, 10, figure.shape, np.int16)
    light = cv2.add(np.clip(slope, -16, 16), grain)
    lit = cv2.add(colours, cv2.merge([light] * 3), dtype=cv2.CV_8U)
    inside = cv2.threshold(figure, 16, 255, cv2.THRESH_BINARY)[1]  # the shadow around the figure stays as it is
    return np.asarray(cv2.copyTo(lit, inside, colours), np.uint8)
