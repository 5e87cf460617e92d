"""What the daemon tells of a clip in which people cross a room one by one, against what can be seen in it.

`make prove` prints it for the model that `make run` would take; ``python -m tests.proof.clip --help``.

The promise: everybody who crosses is one object, a person, with one start and one end while they are there; and what is
told of nobody, while the room is empty, is nothing.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from appliance.cameras.spec import parse_camera
from appliance.config import Settings
from appliance.core.errors import ConfigError, EdgecamError
from appliance.core.events import Event
from appliance.inference.detector import Detector
from appliance.workbench.table import markdown
from tests.proof.watch import lives, open_model, seconds_of, watch, whole
from tests.shared_data import SHARED

CLIP = "footage/one-by-one-person-detection.mp4"
"""Relative to `SHARED`: 1394 pictures of 768 x 432, ten a second. What follows are facts about it."""

SHA256 = "a5964aa259099a482a8b360ffc2c57b5a30f84d5919236a4dad01f8e929ac07c"
ORIGIN = "one-by-one-person-detection.mp4 of https://github.com/intel-iot-devkit/sample-videos (CC BY 4.0, Intel)"

FPS = 10.0

PEOPLE = ((60, 199), (227, 449), (502, 700), (744, 869), (921, 1200), (1234, 1360))
"""First and last frame, counted from 0, in which any part of somebody shows, by eye from the pictures themselves.

They come in at the bottom left, head first, stand with their backs to the camera and go out at the right; what shows
last is a foot. The shadow on the floor is there for some frames more. Nobody is there in between.
"""

LABELS = ("person", "bicycle", "vehicle")
"""What the promise speaks of; a detector of 80 classes also sees the table."""

Stay = tuple[float, float]
"""First and last frame in which an object was seen."""


@dataclass(frozen=True)
class Verdict:
    """What the clip's events are worth.

    Attributes:
        objects: For each of `PEOPLE` the objects told while they are there: label and stay.
        false: The objects told while nobody is there, and those that outlast the one they begin with.
    """

    objects: tuple[tuple[tuple[str, Stay], ...], ...]
    false: tuple[tuple[str, Stay], ...]

    @property
    def holds(self) -> bool:
        """The promise is kept."""
        return not self.false and all([label for label, _ in told] == ["person"] for told in self.objects)

    def table(self) -> str:
        rows = [
            (f"{came} to {went}", ", ".join(f"{label} {first:.0f} to {last:.0f}" for label, (first, last) in told))
            for (came, went), told in zip(PEOPLE, self.objects, strict=True)
        ]
        rows += [("nobody", f"{label} {first:.0f} to {last:.0f}") for label, (first, last) in self.false]
        return markdown(("in the clip, frames", "told"), rows)


def run_clip(detector: Detector, settings: Settings, *, every: int = 1, file: Path = SHARED / CLIP) -> Verdict:
    """Let the daemon's chain watch the clip, and judge what it tells.

    Args:
        detector: Open, for `LABELS`.
        settings: What else is configured.
        every: Take only every Nth frame.
        file: The clip.
    """
    camera = parse_camera(str(file)).model_copy(update={"pace": "fastest"})
    return judge(watch(camera, detector, settings, every=every))


def judge(events: list[Event]) -> Verdict:
    """Compare events with what can be seen."""
    objects: list[list[tuple[str, Stay]]] = [[] for _ in PEOPLE]
    false = []
    for life in lives(events).values():
        end = life[-1]
        stay = ((seconds_of(end) - end.duration) * FPS, seconds_of(end) * FPS)
        at = _whose(stay)
        if at is None:
            false.append((end.label, stay))
        else:
            objects[at].append((end.label, stay))
    return Verdict(tuple(map(tuple, objects)), tuple(false))


def _whose(stay: Stay) -> int | None:
    """Give which of `PEOPLE` is there during all of an object's stay."""
    first, last = round(stay[0]), round(stay[1])
    return next((at for at, (came, went) in enumerate(PEOPLE) if came <= first and last <= went), None)


def for_people(settings: Settings) -> Settings:
    """Give the settings with the model asked for `LABELS` only."""
    return settings.model_copy(update={"model": settings.model.model_copy(update={"labels": LABELS})})


def _check_clip(file: Path) -> None:
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}; it is {ORIGIN}") from error
    if digest != SHA256:
        raise ConfigError(f"{file} is another clip than the one whose people are known: {ORIGIN}, SHA-256 {SHA256}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 when the promise holds, 1 when not, the error's own status when it cannot be run.

    Where no clip is named and it does not lie beside the repository, nothing is checked: that is said, and 0.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.proof.clip", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="", help="a name, file or folder; else the daemon's default")
    parser.add_argument("--every", type=whole(1), default=1, help="take only every Nth frame")
    parser.add_argument("--clip", type=Path, help=f"{ORIGIN}; without it that in ../shared/data, if it is there")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    asked = parser.parse_args(arguments)
    file: Path = asked.clip or SHARED / CLIP
    if asked.clip is None and not file.is_file():
        print(f"clip: NOT CHECKED: the clip is not here; give --clip (make: CLIP=) {ORIGIN}", file=sys.stderr)
        if asked.json:
            print(json.dumps({"holds": None}))
        return 0
    cv2.setNumThreads(1)
    settings = for_people(Settings())
    try:
        _check_clip(file)
        with open_model(asked.model, settings) as detector:
            verdict = run_clip(detector, settings, every=asked.every, file=file)
    except EdgecamError as error:
        print(f"clip: {error}", file=sys.stderr)
        return error.exit_code
    told = json.dumps({"holds": verdict.holds, "objects": verdict.objects, "false": verdict.false})
    print(told if asked.json else verdict.table())
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
