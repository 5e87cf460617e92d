"""Whether a candidate does as well as the model that it is to replace. Pure: numbers in, a code and a reason out.

What two models find in a frame is compared as their task says: objects here, labels and label maps in modules of their
own.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np

from appliance.core.boxes import overlap
from appliance.core.registry import load
from appliance.core.results import Detections
from appliance.updates.formats import Trial
from appliance.updates.refusals import Code
from appliance.updates.state import Reference

MATCH_IOU: Final = 0.5  # as COCO's AP50 counts an object as found
ENOUGH: Final = 20  # objects; of fewer no share is told
SUSTAINED: Final = 60.0
"""Seconds for which a figure must be bad in a row to count; a trial that is shorter: half of it."""

_SLACK_MS: Final = 2.0
_SLACK_MB: Final = 16.0
_FRAME_RATE: Final = 0.8  # of the rate before

COMPARISONS: Final = {
    "detect": "appliance.updates.judging:Comparison",
    "classify": "appliance.updates.judging_labels:LabelComparison",
    "segment": "appliance.updates.judging_maps:MapComparison",
}
"""What compares two models of a task."""

Verdict = tuple[Code, str]


class Comparing(Protocol):
    """What two models of one task found in the same frames; `Comparison` fits.

    Attributes:
        frames: How many.
    """

    frames: int

    def add(self, active: Any, candidate: Any) -> None:
        """Count a frame: what the model in service found, and what the candidate found."""

    def verdict(self, trial: Trial) -> Verdict | None:
        """Tell what is wrong with the candidate; None: nothing."""

    def facts(self) -> dict[str, int]:
        """Give the counts, for reports."""


def comparing(task: str) -> Comparing:
    """Begin to compare two models of a task."""
    kind = load(COMPARISONS, task, "task")
    begun: Comparing = kind()
    return begun


@dataclass(slots=True)
class Found:
    """How much two models found in the same frames: objects, labels, or pictures that labels cover.

    Attributes:
        active: The model in service.
        candidate: The candidate.
        both: What both of them found, once.
    """

    active: float = 0
    candidate: float = 0
    both: float = 0

    def add(self, active: float, candidate: float, both: float) -> None:
        """Count what was found in one frame more."""
        self.active += active
        self.candidate += candidate
        self.both += both

    def blindness(self, told: str, trial: Trial) -> Verdict | None:
        """Tell whether the candidate found too little; `told` says in words what each found."""
        least = trial.rate_percent[0]
        if self.candidate >= self.active * least / 100.0:
            return None
        return Code.BLIND, f"{told}: at least {least} % must be"

    def disagreement(self, told: str, trial: Trial) -> Verdict | None:
        """Tell whether they found too little together (Dice, 1945), where either found anything; see `blindness`."""
        agreement = 200.0 * self.both / (self.active + self.candidate)
        if agreement >= trial.agreement_percent:
            return None
        return Code.DISAGREEMENT, f"{told}, and they agree on {agreement:.0f} %, not {trial.agreement_percent}"

    def facts(self, frames: int, parts: int = 1) -> dict[str, int]:
        """Give the counts, for reports; of pictures in so many parts of one."""
        found = {"active": self.active, "candidate": self.candidate, "both": self.both}
        return {"frames": frames, **{name: round(parts * count) for name, count in found.items()}}


class Comparison:
    """What two detectors found in the same frames."""

    def __init__(self) -> None:
        self.frames = 0
        self._found = Found()

    def add(self, active: Detections, candidate: Detections) -> None:
        """Count a frame.

        Args:
            active: What the model in service found, from its own lowest score on.
            candidate: What the candidate found, likewise.
        """
        self.frames += 1
        self._found.add(len(active.scores), len(candidate.scores), _matches(active, candidate))

    def verdict(self, trial: Trial) -> Verdict | None:
        """Tell what is wrong with the candidate; None: nothing."""
        found, most = self._found, trial.rate_percent[1]
        told = f"it found {found.candidate} objects in {self.frames} frames, the model in service {found.active}"
        if found.candidate > found.active * most / 100.0 + ENOUGH:
            return Code.FLOOD, f"{told}: at most {most} % may be"
        if found.active < ENOUGH:
            return None
        return found.blindness(told, trial) or found.disagreement(told, trial)

    def facts(self) -> dict[str, int]:
        """Give the counts, for reports."""
        return self._found.facts(self.frames)


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the model in service does at one moment.

    Attributes:
        failure: Why it failed while it was in service, even where it works again; empty: it has not.
        fault: What kind of failure that is.
        latency_ms: 95th percentile of an inference, over the last half minute; 0: nobody knows yet.
        fps: Frames a second that it has seen, likewise.
        memory_mb: Of the daemon.
        is_throttled: The machine slows itself down for heat or power.
        idle: Cameras whose frames somebody has commanded it to pass over, or that are offline.
        is_looking: There are others.
        setup: What such figures depend on beside the model, as a digest; of two setups they are not compared.
    """

    failure: str = ""
    fault: Code = Code.NUMBERS
    latency_ms: float = 0.0
    fps: float = 0.0
    memory_mb: float = 0.0
    is_throttled: bool = False
    idle: frozenset[str] = frozenset()
    is_looking: bool = True
    setup: str = ""

    @classmethod
    def of(cls, kept: Reference) -> "Vitals":
        """Give what was kept."""
        return cls(**dict(kept))

    def kept(self) -> Reference:
        """Give what is to be kept."""
        return Reference(
            latency_ms=round(self.latency_ms, 1),
            fps=round(self.fps, 1),
            memory_mb=round(self.memory_mb, 1),
            is_throttled=self.is_throttled,
            idle=self.idle,
            setup=self.setup,
        )

    def at_its_best(self, other: "Vitals") -> "Vitals":
        """Give these with the lower latency and the higher rate of two moments at which the same cameras looked."""
        if other.idle != self.idle or not other.latency_ms:
            return self
        latency_ms = min(self.latency_ms or other.latency_ms, other.latency_ms)
        return replace(self, latency_ms=latency_ms, fps=max(self.fps, other.fps))


@dataclass
class Watching:
    """A trial in service.

    Attributes:
        before: How the model before it did.
        trial: What it must stand.
    """

    before: Vitals
    trial: Trial
    _bad_since: dict[Code, float] = field(default_factory=dict)

    def verdict(self, now: Vitals, at: float) -> Verdict | None:
        """Tell what is wrong with the candidate; None: nothing yet.

        Args:
            now: How it does.
            at: Monotonic seconds; they rise from call to call.
        """
        if now.failure:
            return now.fault, now.failure
        most_mb = self.before.memory_mb * self.trial.memory_percent / 100.0 + _SLACK_MB
        if self.before.memory_mb and now.memory_mb > most_mb:
            return Code.MEMORY, f"the daemon takes {now.memory_mb:.0f} MB with it, and at most {most_mb:.0f} may be"
        bad = self._bad(now) if now.is_looking else []
        for code, why in bad:
            since = self._bad_since.setdefault(code, at)
            if at - since >= min(SUSTAINED, self.trial.active_seconds / 2):
                return code, why
        for code in set(self._bad_since) - {code for code, _ in bad}:
            del self._bad_since[code]
        return None

    def _bad(self, now: Vitals) -> list[Verdict]:
        bad: list[Verdict] = []
        most_ms = self.before.latency_ms * self.trial.latency_percent / 100.0 + _SLACK_MS
        if self.before.latency_ms and now.latency_ms > most_ms:
            bad.append((Code.LATENCY, f"takes {now.latency_ms:.0f} ms a frame, and at most {most_ms:.0f} may be"))
        is_comparable = bool(self.before.fps) and now.idle == self.before.idle
        if is_comparable and now.fps < self.before.fps * _FRAME_RATE:
            bad.append((Code.FRAME_RATE, f"{now.fps:.1f} frames a second are seen, {self.before.fps:.1f} were before"))
        if now.is_throttled and not self.before.is_throttled:
            bad.append((Code.THROTTLED, "the machine slows itself down since it is in service"))
        return bad


def _matches(first: Detections, second: Detections) -> int:
    """Count pairs of one label that overlap, best overlap first; no object is in two of them."""
    overlaps = overlap(first.boxes.astype(np.float64), second.boxes.astype(np.float64))
    overlaps *= first.class_ids[:, None] == second.class_ids[None, :]
    pairs = 0
    while overlaps.size and overlaps.max() >= MATCH_IOU:
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[row, :] = overlaps[:, column] = 0.0
        pairs += 1
    return pairs
