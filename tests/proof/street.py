"""How much of the drawn street the daemon tells, against the street's exact truth.

``make prove`` prints it as a table for the model that ``make run`` would take; ``python -m tests.proof.street --help``.

The rule, by which every figure here is counted:

- A figure is **in view** in a frame when at least half of it shows (`SHOWS`); the rest is outside the picture or behind
  something nearer. It is **due** when it is in view for 2 seconds without a break (`DUE_AFTER`).
- An event **fits** a figure when, in the very frame of the event, the figure shows at all, their boxes overlap by an
  IoU of at least 0.3 (`PLACE`; the true box is of the part that shows, detectors guess the rest), and the event's label
  is the figure's or of the figure's group. Of several figures it fits the one that it overlaps most.
- A figure is **told** when an event fits it.
- An object **follows** a figure from one event that fits it to the next event, when that fits it too.
- An object is **false** when none of its events fits anything, or when it follows a figure for more than a second
  (`DOUBLE`) while another object that began before it follows the same one: there is one thing, and two are told.
- A **split** is an object that begins where an earlier one was told, and is no double; a **switch** is an object that
  fits another figure than at its event before. Both are counted and neither is false: who stands behind a bus for
  longer than `lost_after` comes back as somebody new.
- **share**: told of those due; vehicles are the group's labels: car, truck, bus. Bicycles stand in a line of their own
  and count for false objects alone; their riders are people.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise

import cv2

from appliance.cameras.spec import parse_camera
from appliance.cameras.synthetic import TrueObject
from appliance.config import Settings, SyntheticCameraSettings
from appliance.core.errors import EdgecamError
from appliance.core.events import Event
from appliance.core.vocabulary import Vocabulary, default_groups
from appliance.inference.detector import Detector
from appliance.workbench.table import markdown
from tests.proof.watch import lives, minutes, open_model, seconds_of, watch, whole

SHOWS = 0.5
DUE_AFTER = 2.0  # seconds
PLACE = 0.3
DOUBLE = 1.0  # seconds
LEAST_SHARE, MOST_FALSE = 0.95, 2.0  # the promise: told of those due, false objects a minute

_LABELS = ("person", "bicycle", "car", "truck", "bus")
_WORDS = Vocabulary(_LABELS, default_groups(_LABELS))

Box = tuple[float, float, float, float]
Truth = Sequence[tuple[TrueObject, ...]]
"""What is in each frame, in order."""


@dataclass(frozen=True)
class Share:
    """How many figures of a kind are due, and how many of those were told."""

    due: int
    told: int

    @property
    def share(self) -> float:
        return self.told / self.due if self.due else 1.0


@dataclass(frozen=True)
class Verdict:
    """What a street's events are worth.

    Attributes:
        minutes: Of the street.
        shares: By `person`, `vehicle` and `bicycle`.
        false: One line for each false object.
        missed: One line for each figure that was due and not told.
        splits: Objects that began where an earlier one was told.
        switches: How often an object went over to another figure.
    """

    minutes: float
    shares: Mapping[str, Share]
    false: tuple[str, ...]
    missed: tuple[str, ...]
    splits: int
    switches: int

    @property
    def share(self) -> float:
        """Of people and vehicles together."""
        promised = [self.shares[kind] for kind in ("person", "vehicle")]
        return Share(sum(one.due for one in promised), sum(one.told for one in promised)).share

    @property
    def false_a_minute(self) -> float:
        return len(self.false) / self.minutes

    @property
    def holds(self) -> bool:
        """The promise is kept; of a street on which nothing was due nothing can be promised."""
        is_any_due = any(self.shares[kind].due for kind in ("person", "vehicle"))
        return is_any_due and self.share >= LEAST_SHARE and self.false_a_minute <= MOST_FALSE

    def table(self) -> str:
        rows = [(kind, str(one.due), str(one.told), f"{one.share:.1%}") for kind, one in self.shares.items()]
        rows.append(("people and vehicles", "", "", f"{self.share:.1%} (at least {LEAST_SHARE:.0%})"))
        rows.append(("false a minute", "", str(len(self.false)), f"{self.false_a_minute:.2f} (at most {MOST_FALSE:g})"))
        rows.append(("splits", "", str(self.splits), f"{self.splits / self.minutes:.2f} a minute"))
        rows.append(("switches", "", str(self.switches), f"{self.switches / self.minutes:.2f} a minute"))
        return markdown((f"{self.minutes:g} minutes", "due", "told", "share"), rows)


def run_street(
    detector: Detector, settings: Settings, minutes: float, street: SyntheticCameraSettings | None = None
) -> Verdict:
    """Let the daemon's chain watch the street of `make run` for so long, and judge what it tells.

    Args:
        detector: Open.
        settings: What else is configured.
        minutes: Of the street's own time.
        street: Another street than that of `make run`.
    """
    chosen = street or parse_camera("synthetic")
    frames = round(minutes * 60 * chosen.fps)
    camera = chosen.model_copy(update={"pace": "fastest", "frames": frames})
    truth: list[tuple[TrueObject, ...]] = []
    events = watch(camera, detector, settings, on_frame=lambda frame, source: truth.append(source.truth(frame.number)))
    return judge(truth, events, camera.fps)


def judge(truth: Truth, events: list[Event], fps: float) -> Verdict:
    """Compare events with the truth, by the rule of this module."""
    objects = [_Object(truth, life, fps) for life in lives(events).values()]
    told: set[int] = set()
    false: list[str] = []
    splits = 0
    for at, one in enumerate(objects):  # in the order in which they began
        if not one.figures:
            false.append(_line(one.life, "is nothing"))
        elif any(one.doubles(earlier) for earlier in objects[:at]):
            false.append(_line(one.life, "is a double"))
        else:
            splits += one.figures[0] in told
        told.update(one.figures)
    due = _due(truth, fps)
    shares = {}
    for kind in ("person", "vehicle", "bicycle"):
        numbers = {number for number, (label, _) in due.items() if _kind(label) == kind}
        shares[kind] = Share(len(numbers), len(numbers & told))
    missed = [
        f"{label} {number}, due at {at / fps:.1f} s"
        for number, (label, at) in sorted(due.items())
        if number not in told
    ]
    switches = sum(before != after for one in objects for before, after in pairwise(one.figures))
    return Verdict(len(truth) / fps / 60, shares, tuple(false), tuple(missed), splits, switches)


class _Object:
    """What was told of one object, beside the truth.

    Attributes:
        life: Its events.
        figures: The number that each event fits, for those that fit one.
    """

    def __init__(self, truth: Truth, life: list[Event], fps: float) -> None:
        self.life = life
        fits = [_fitting(truth, event, fps) for event in life]
        self.figures = [number for number in fits if number is not None]
        self._followed = [
            (before, seconds_of(first), seconds_of(last))
            for (before, first), (after, last) in pairwise(zip(fits, life, strict=True))
            if before == after and before is not None
        ]

    def doubles(self, earlier: "_Object") -> bool:
        """Tell whether it follows what an earlier object follows at the same time."""
        return any(
            number == other and min(last, their_last) - max(first, their_first) > DOUBLE
            for number, first, last in self._followed
            for other, their_first, their_last in earlier._followed
        )


def _kind(label: str) -> str:
    return _WORDS.group_of(label) or label


def _due(truth: Truth, fps: float) -> dict[int, tuple[str, int]]:
    """Give label and first frame of those that are in view for long enough, by number."""
    frames: dict[int, list[int]] = {}
    labels: dict[int, str] = {}
    for at, figures in enumerate(truth):
        for figure in figures:
            labels[figure.number] = figure.label
            if figure.visible >= SHOWS:
                frames.setdefault(figure.number, []).append(at)
    due = {}
    for number, seen in frames.items():
        for run in _runs(seen):
            if (run[-1] - run[0]) / fps >= DUE_AFTER:
                due[number] = (labels[number], run[0])
                break
    return due


def _runs(numbers: Sequence[int]) -> Iterable[list[int]]:
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        yield [number for _, number in run]


def _fitting(truth: Truth, event: Event, fps: float) -> int | None:
    """Give the number of the figure that an event fits."""
    figures = truth[round(seconds_of(event) * fps)]
    fits = [
        (overlap, figure.number)
        for figure in figures
        if (event.label == figure.label or event.group == _WORDS.group_of(figure.label) is not None)
        and (overlap := iou(event.box, figure.box)) >= PLACE
    ]
    return max(fits)[1] if fits else None


def _line(life: list[Event], why: str) -> str:
    start = life[0]
    box = ", ".join(f"{side:.0f}" for side in start.box)
    return f"{start.object_id} {start.label} {start.best_score:.2f} at {seconds_of(start):.1f} s [{box}] {why}"


def iou(a: Box, b: Box) -> float:
    """Give the overlap of two boxes."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    joint = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / joint if joint > 0 else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 when the promise holds, 1 when not, the error's own status when it cannot be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.street", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="", help="a name, file or folder; else the daemon's default")
    parser.add_argument("--minutes", type=minutes, default=5.0, help="of the street's time (default: 5)")
    seed = SyntheticCameraSettings(kind="synthetic").seed
    parser.add_argument("--seed", type=whole(0), default=seed, help=f"which street (default: {seed})")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    asked = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    settings = Settings()
    street = parse_camera("synthetic").model_copy(update={"seed": asked.seed})
    try:
        with open_model(asked.model, settings) as detector:
            verdict = run_street(detector, settings, asked.minutes, street)
    except EdgecamError as error:
        print(f"street: {error}", file=sys.stderr)
        return error.exit_code
    if asked.json:
        figures = {"share": verdict.share, "false_a_minute": verdict.false_a_minute, "holds": verdict.holds}
        print(json.dumps(asdict(verdict) | figures))
    else:
        lines = [verdict.table(), "", *(f"missed: {line}" for line in verdict.missed)]
        print("\n".join(lines + [f"false: {line}" for line in verdict.false]))
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
