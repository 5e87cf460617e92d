"""Draws a pruning curve as SVG: accuracy against CPU time and against size. Pure; numbers in, text out."""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

from appliance.workbench.points import Point

_WIDTH, _HEIGHT = 460, 340  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 56, 48  # around its field
_TICKS = 5
_LINE_HEIGHT = 14
_MARGIN = 0.12  # of the range of the figures, free on either side
_LINE, _CHOSEN, _GREY = "#2563a8", "#c2410c", "#6b7280"

Scale = Callable[[float], float]


def draw_chart(points: Sequence[Point], chosen: Point | None, lowest: float, title: str) -> str:
    """Give an SVG file.

    Args:
        points: The curve.
        chosen: Is marked; None: none of them.
        lowest: AP that was to be kept, 0..1; a dashed line.
        title: Of the model.
    """
    aps = [point.ap * 100 for point in points]
    sides = [("CPU time, ms", [one.cpu_ms for one in points]), ("file, KiB", [one.size / 1024 for one in points])]
    body = [
        line
        for at, (name, across) in enumerate(sides)
        for line in _panel(
            at * _WIDTH, name, (across, aps), [_mark(point, chosen) for point in points], max(lowest, 0.0) * 100
        )
    ]
    whole = f'width="{2 * _WIDTH}" height="{_HEIGHT}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH} {_HEIGHT}" {whole}>',
            "<style>text { font: 12px sans-serif }</style>",
            f'<rect {whole} fill="white"/>',
            f'<text x="{_LEFT}" y="24">{escape(title)}: what pruning costs and saves</text>',
            *body,
            "</svg>\n",
        ]
    )


def _mark(point: Point, chosen: Point | None) -> tuple[str, str]:
    """Give a point's name and colour."""
    if point == chosen:
        return f"{point.name}, chosen", _CHOSEN
    return point.name, _LINE if point.share else _GREY


def _panel(
    left: int, name: str, values: tuple[list[float], list[float]], marks: list[tuple[str, str]], lowest: float
) -> Iterator[str]:
    across, up = values
    x = _scale(across, left + _LEFT, left + _WIDTH - _RIGHT)
    y = _scale([*up, lowest], _HEIGHT - _BOTTOM, _TOP)
    start, end, floor = left + _LEFT, left + _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for value in _ticks(across):
        yield _text(x(value), floor + 18, f"{value:.4g}", "middle", _GREY)
    for value in _ticks([*up, lowest]):
        yield f'<path d="M{start} {y(value):.1f}H{end}" stroke="#e5e7eb"/>'
        yield _text(start - 6, y(value) + 4, f"{value:.4g}", "end", _GREY)
    yield f'<path d="M{start} {_TOP}V{floor}H{end}" fill="none" stroke="{_GREY}"/>'
    yield f'<path d="M{start} {y(lowest):.1f}H{end}" stroke="{_CHOSEN}" stroke-dasharray="5 4"/>'
    yield _text((start + end) / 2, _HEIGHT - 10, name, "middle", "black")
    yield _text(start, _TOP - 8, "AP", "middle", "black")
    heights = _apart([y(value) for value in up])
    for at_x, at_y, height, (text, colour) in zip(map(x, across), map(y, up), heights, marks, strict=True):
        yield f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="4.5" fill="{colour}"/>'
        side, away = ("end", -8) if at_x > (start + end) / 2 else ("start", 8)
        yield _text(at_x + away, height + 4, text, side, colour)


def _apart(heights: Sequence[float]) -> list[float]:
    """Give heights in the same order that leave each line of text its room, moved down as far as that takes."""
    moved = list(heights)
    lowest = -math.inf
    for at in sorted(range(len(heights)), key=heights.__getitem__):
        lowest = max(heights[at], lowest + _LINE_HEIGHT)
        moved[at] = lowest
    return moved


def _text(x: float, y: float, text: str, anchor: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    """Give what puts the smallest of the values near `start` and the largest near `end`."""
    low, high = _range(values)
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _range(values: Sequence[float]) -> tuple[float, float]:
    spread = max(values) - min(values) or abs(max(values)) or 1.0
    return min(values) - spread * _MARGIN, max(values) + spread * _MARGIN


def _ticks(values: Sequence[float]) -> list[float]:
    """Give some round numbers over the range of the values."""
    low, high = _range(values)
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [at * step for at in range(math.ceil(low / step), math.floor(high / step) + 1)]
