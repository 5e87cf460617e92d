"""The still part of the drawn street: sky, houses, pavements and road."""

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.cameras.street import HOUSES_AT, KERBS_AT, View

_BRICKS = ((95, 115, 150), (150, 165, 180), (120, 135, 160), (165, 175, 175), (100, 105, 125), (140, 150, 165))
_DOORS = ((60, 80, 50), (110, 60, 40), (45, 45, 110), (70, 70, 75))
STOREY = 3.1  # metres


def draw_backdrop(view: View, seed: int) -> NDArray[np.uint8]:
    """Draw the empty street; shape (H, W, 3), BGR. The same for the same view and seed."""
    random = np.random.default_rng(seed)
    picture = np.empty((view.height, view.width, 3), np.uint8)
    _draw_sky(picture, view)
    _draw_houses(picture, view, random)
    _draw_ground(picture, view, random)
    _draw_trees(picture, view, random)
    return _roughen(picture, random)


def _row(view: View, depth: float, height: float = 0.0) -> int:
    """Give the row of a point `height` metres above the ground at `depth`."""
    return round(view.ground(0.0, depth)[1] - height * view.scale(depth))


def _column(view: View, x: float, depth: float) -> int:
    return round(view.ground(x, depth)[0])


def _draw_sky(picture: NDArray[np.uint8], view: View) -> None:
    slope = np.linspace(0.0, 1.0, view.height, dtype=np.float32)[:, None]
    top, bottom = np.array([225, 190, 150], np.float32), np.array([240, 232, 222], np.float32)
    picture[:] = (top + (bottom - top) * slope)[:, None, :].astype(np.uint8)


def _draw_houses(picture: NDArray[np.uint8], view: View, random: np.random.Generator) -> None:
    depth, x, reach = HOUSES_AT, -view.reach(HOUSES_AT) - 3.0, view.reach(HOUSES_AT)
    while x < reach:
        wide = float(random.uniform(5.0, 8.5))
        storeys = int(random.integers(2, 4))
        brick = _BRICKS[int(random.integers(len(_BRICKS)))]
        left, right = _column(view, x, depth), _column(view, x + wide, depth)
        eaves, ground = _row(view, depth, storeys * STOREY + 0.5), _row(view, depth)
        _draw_roof(picture, left, right, eaves, round(1.7 * view.scale(depth)))
        cv2.rectangle(picture, (left, eaves), (right, ground), brick, -1)
        cv2.rectangle(picture, (left, eaves), (right, eaves + 4), tuple(c * 0.7 for c in brick), -1)
        cv2.line(picture, (right, eaves), (right, ground), tuple(c * 0.6 for c in brick), 2)
        _draw_openings(picture, view, (x, wide, storeys), random)
        x += wide


def _draw_roof(picture: NDArray[np.uint8], left: int, right: int, eaves: int, height: int) -> None:
    corners = [(left - 4, eaves), (left + height // 2, eaves - height), (right - height // 2, eaves - height)]
    cv2.fillPoly(picture, [np.array([*corners, (right + 4, eaves)], np.int32)], (75, 80, 95), cv2.LINE_AA)


def _draw_openings(
    picture: NDArray[np.uint8], view: View, house: tuple[float, float, int], random: np.random.Generator
) -> None:
    x, wide, storeys = house
    columns = max(2, int(wide / 2.1))
    door_at = int(random.integers(columns))
    door = _DOORS[int(random.integers(len(_DOORS)))]
    for storey in range(storeys):
        for column in range(columns):
            middle = x + wide * (column + 0.5) / columns
            if storey == 0 and column == door_at:
                _draw_box(picture, view, (middle - 0.6, middle + 0.6, 0.0, 2.4), (215, 215, 215))
                _draw_box(picture, view, (middle - 0.48, middle + 0.48, 0.0, 2.25), door)
                continue
            lower = storey * STOREY + 0.95
            _draw_box(picture, view, (middle - 0.62, middle + 0.62, lower - 0.08, lower + 1.5), (222, 222, 220))
            glass = float(random.uniform(0.6, 1.1))
            shade = tuple(channel * glass for channel in (118, 104, 92))
            _draw_box(picture, view, (middle - 0.52, middle + 0.52, lower, lower + 1.4), shade)
            _draw_box(picture, view, (middle - 0.03, middle + 0.03, lower, lower + 1.4), (222, 222, 220))


def _draw_box(
    picture: NDArray[np.uint8],
    view: View,
    box: tuple[float, float, float, float],
    colour: tuple[float, ...],
) -> None:
    """Fill a rectangle on the front of the houses: left, right, lower and upper edge in metres."""
    left, right, lower, upper = box
    corner = _column(view, left, HOUSES_AT), _row(view, HOUSES_AT, upper)
    cv2.rectangle(picture, corner, (_column(view, right, HOUSES_AT), _row(view, HOUSES_AT, lower)), colour, -1)


def _draw_ground(picture: NDArray[np.uint8], view: View, random: np.random.Generator) -> None:
    far, near = KERBS_AT[1], KERBS_AT[0]
    picture[_row(view, HOUSES_AT) :] = (158, 162, 165)
    picture[_row(view, far) : _row(view, near)] = (88, 87, 86)
    for kerb, height in ((far, 3), (near, 6)):
        row = _row(view, kerb)
        picture[row : row + height] = (178, 180, 182)
        picture[row + height : row + height + 2] = (70, 70, 70)
    middle = 12.5
    for dash in np.arange(-view.reach(middle) - 3, view.reach(middle) + 3, 4.5):
        corners = [
            (dash, middle + 0.12),
            (dash + 2.4, middle + 0.12),
            (dash + 2.4, middle - 0.12),
            (dash, middle - 0.12),
        ]
        points = np.array([view.ground(float(x), depth) for x, depth in corners], np.float32).round().astype(np.int32)
        cv2.fillPoly(picture, [points], (205, 208, 210), cv2.LINE_AA)
    for joint in np.arange(-30.0, 30.0, 1.2):
        for edge, end in ((HOUSES_AT, far), (near, 5.0)):
            start, stop = (tuple(map(round, view.ground(float(joint), depth))) for depth in (edge, end))
            cv2.line(picture, start, stop, (140, 144, 147), 1, cv2.LINE_AA)
    for _ in range(14):  # patches and stains of the road
        x, depth = float(random.uniform(-9, 9)), float(random.uniform(near + 0.6, far - 0.6))
        centre = tuple(map(round, view.ground(x, depth)))
        axes = round(random.uniform(0.3, 1.1) * view.scale(depth)), max(1, round(0.05 * view.scale(depth)))
        grey = int(random.integers(74, 98))
        cv2.ellipse(picture, centre, axes, 0, 0, 360, (grey, grey, grey), -1, cv2.LINE_AA)


def _draw_trees(picture: NDArray[np.uint8], view: View, random: np.random.Generator) -> None:
    depth = 17.9
    for place in np.arange(-view.reach(depth) + float(random.uniform(0, 4)), view.reach(depth) + 2, 7.5):
        x = float(place)
        trunk = _column(view, x - 0.12, depth), _row(view, depth, 3.0)
        cv2.rectangle(picture, trunk, (_column(view, x + 0.12, depth), _row(view, depth)), (52, 66, 82), -1)
        for _ in range(260):
            turn, out = float(random.uniform(0, 2 * np.pi)), 1.35 * float(random.uniform()) ** 0.6
            leaf_x, leaf_y = x + 1.15 * out * np.cos(turn), 4.2 + out * np.sin(turn)
            centre = _column(view, leaf_x, depth), _row(view, depth, leaf_y)
            green = float(random.uniform(0.6, 1.25))
            radius = max(1, round(random.uniform(0.06, 0.22) * view.scale(depth)))
            cv2.circle(picture, centre, radius, (48 * green, 96 * green, 62 * green), -1, cv2.LINE_AA)


def _roughen(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Soften the drawing and give it grain, coarse and fine, as surfaces have."""
    height, width = picture.shape[:2]
    grain = random.normal(0.0, 3.5, (height, width)).astype(np.float32)
    coarse = random.normal(0.0, 5.0, (height // 12 + 1, width // 12 + 1)).astype(np.float32)
    grain += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(picture, (0, 0), 0.8).astype(np.float32)
    rough: NDArray[np.uint8] = np.clip(soft + grain[..., None], 0, 255).astype(np.uint8)
    return rough
