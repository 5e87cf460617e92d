"""A drawn street as a camera, with exact ground truth; the same for the same seed."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.cameras.backdrop import draw_backdrop
from appliance.cameras.drawing import Sprite
from appliance.cameras.figures import draw, phase_of
from appliance.cameras.pacing import Pacer, SystemTimer, Timer
from appliance.cameras.street import Actor, View, actors_at
from appliance.config import SyntheticCameraSettings
from appliance.core.clock import Clock, Stamp
from appliance.core.errors import UnavailableError
from appliance.core.frame import Frame, PixelLayout

MOST_SPRITES = 96  # about 20 MB at 1280x720
_GRAIN = 64  # the sheet of noise is so much larger than the picture, and laid over it at another place each time


@dataclass(frozen=True, slots=True)
class TrueObject:
    """What is truly in a frame.

    Attributes:
        label: Its COCO class.
        number: The same in every frame, and of no other object of this street.
        box: xyxy in pixels, of the part that shows: inside the picture and not behind something nearer.
        visible: Share of the whole figure that shows, above 0 and up to 1.
    """

    label: str
    number: int
    box: tuple[float, float, float, float]
    visible: float


class Street:
    """Draws any frame of a street; a frame depends on nothing but its number and the arguments here.

    Args:
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        fps: Frames a second.
        seed: Which street.
    """

    def __init__(self, width: int, height: int, fps: float, seed: int) -> None:
        self._view = View(width, height)
        self._fps = fps
        self._seed = seed
        self._sprites: OrderedDict[tuple[object, ...], Sprite] = OrderedDict()
        self._backdrop = np.maximum(draw_backdrop(self._view, seed), 3) - np.uint8(3)  # what the noise adds on average
        random = np.random.default_rng(seed)
        noise = random.normal(3.0, 2.2, (height + _GRAIN, width + _GRAIN)).clip(0, 9).astype(np.uint8)
        self._noise = cv2.merge([noise] * 3)

    def draw(self, number: int) -> NDArray[np.uint8]:
        """Draw frame `number`, counted from 0; shape (H, W, 3), BGR; the caller owns it."""
        picture: NDArray[np.uint8] = self._backdrop.copy()
        for _, sprite, x, y in self._placed(number):
            _lay_over(picture, sprite, x, y)
        down, right = (number * step % (_GRAIN + 1) for step in (29, 47))
        height, width = picture.shape[:2]
        cv2.add(picture, self._noise[down : down + height, right : right + width], dst=picture)
        return picture

    def truth(self, number: int) -> tuple[TrueObject, ...]:
        """Give what is in frame `number`, nearest last; what is hidden altogether is left out."""
        placed = list(self._placed(number))
        owners = np.zeros((self._view.height, self._view.width), np.int16)
        for place, (_, sprite, x, y) in enumerate(placed, start=1):
            rows, columns, part = _overlap(owners.shape, sprite, x, y)
            owners[rows, columns][sprite.solid[part]] = place
        return tuple(_true_objects(placed, owners))

    def _placed(self, number: int) -> Iterator[tuple[Actor, Sprite, int, int]]:
        """Give the figures with their sprites and the pixel of each sprite's upper left corner."""
        for actor in actors_at(self._view, self._seed, number / self._fps):
            sprite = self._sprite(actor)
            x, y = self._view.ground(actor.x, actor.depth)
            yield actor, sprite, round(x) - sprite.left, round(y) - sprite.top

    def _sprite(self, actor: Actor) -> Sprite:
        key = (actor.label, actor.is_rider, actor.look, actor.direction, actor.depth, phase_of(actor))
        sprite = self._sprites.pop(key, None) or draw(actor, self._view.scale(actor.depth))
        self._sprites[key] = sprite
        if len(self._sprites) > MOST_SPRITES:
            self._sprites.popitem(last=False)
        return sprite


def _overlap(shape: tuple[int, ...], sprite: Sprite, x: int, y: int) -> tuple[slice, slice, tuple[slice, slice]]:
    """Give rows and columns of the picture that a sprite covers, and the part of the sprite that falls there."""
    high, wide = sprite.solid.shape
    rows = slice(min(max(0, y), shape[0]), max(0, min(shape[0], y + high)))
    columns = slice(min(max(0, x), shape[1]), max(0, min(shape[1], x + wide)))
    return rows, columns, (slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))


def _lay_over(picture: NDArray[np.uint8], sprite: Sprite, x: int, y: int) -> None:
    rows, columns, part = _overlap(picture.shape, sprite, x, y)
    target = picture[rows, columns]
    if not target.size:
        return
    dimmed = cv2.multiply(target, sprite.behind[part], scale=1 / 255)
    target[:] = cv2.add(dimmed, sprite.colours[part])


def _true_objects(placed: list[tuple[Actor, Sprite, int, int]], owners: NDArray[np.int16]) -> Iterator[TrueObject]:
    for place, (actor, sprite, x, y) in enumerate(placed, start=1):
        rows, columns, _ = _overlap(owners.shape, sprite, x, y)
        shows = owners[rows, columns] == place
        if not shows.any():
            continue
        down, across = np.flatnonzero(shows.any(axis=1)), np.flatnonzero(shows.any(axis=0))
        left, top = columns.start, rows.start
        box = (left + across[0], top + down[0], left + across[-1] + 1, top + down[-1] + 1)
        visible = float(shows.sum()) / float(sprite.solid.sum())
        yield TrueObject(
            actor.label, actor.number, (float(box[0]), float(box[1]), float(box[2]), float(box[3])), visible
        )


class SyntheticCamera:
    """Shows the drawn street in real time or as fast as its frames are taken.

    A frame's number is its place in the street's own time: in real time, gaps show what was skipped because the
    consumer was late. As fast as possible, times run on that timeline too, from the moment of opening.

    Attributes:
        waits: It is drawn as fast as frames are taken.
    """

    def __init__(self, name: str, settings: SyntheticCameraSettings, clock: Clock, timer: Timer | None = None) -> None:
        self.waits = settings.pace == "fastest"
        self._name = name
        self._settings = settings
        self._clock = clock
        self._timer = timer or SystemTimer()
        self._street: Street | None = None

    def open(self) -> None:
        """Draw the street's still part and start at frame 0; takes a few tenths of a second."""
        chosen = self._settings
        self._street = Street(chosen.width, chosen.height, chosen.fps, chosen.seed)
        self._opened = self._clock.now()
        self._pacer = Pacer(self._timer)
        self._number = 0

    def read(self, timeout: float) -> Frame | None:
        """Draw the frame that is due, waiting for it up to `timeout` seconds; None: all frames were shown.

        Raises:
            UnavailableError: It is not open, or the next frame is due later than that.
        """
        if self._street is None:
            raise UnavailableError(f"[cameras.{self._name}] the synthetic street is not open")
        if not self.waits:
            fps = self._settings.fps
            self._number += max(0, int(self._pacer.lateness(self._number / fps) * fps))
        if self._settings.frames and self._number >= self._settings.frames:
            return None
        if not self.waits and not self._pacer.wait_until_due(self._number / self._settings.fps, timeout):
            raise UnavailableError(f"[cameras.{self._name}] the next frame is due later than in {timeout:g} s")
        number, self._number = self._number, self._number + 1
        image, stamp = self._street.draw(number), self._stamp(number)
        height, width = image.shape[:2]
        return Frame(image, PixelLayout.BGR, width, height, self._name, number, stamp.time, stamp.mono_ns)

    def close(self) -> None:
        """Let go of the pictures."""
        self._street = None

    def truth(self, number: int) -> tuple[TrueObject, ...]:
        """Give what is truly in frame `number`.

        Raises:
            UnavailableError: The camera is not open.
        """
        if self._street is None:
            raise UnavailableError(f"[cameras.{self._name}] the synthetic street is not open")
        return self._street.truth(number)

    def _stamp(self, number: int) -> Stamp:
        if not self.waits:
            return self._clock.now()
        seconds = number / self._settings.fps
        return Stamp(self._opened.time + timedelta(seconds=seconds), self._opened.mono_ns + round(seconds * 1e9))
