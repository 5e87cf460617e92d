"""Times models beside each other: a frame each in turn, so that what else the machine does falls on all alike."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from appliance.inference.artifacts import LocatedModel, identify
from appliance.inference.detector import Detector
from appliance.workbench.progress import with_progress

if TYPE_CHECKING:
    from appliance.core.frame import Frame
    from appliance.inference.runtimes import Session
    from appliance.workbench.energy import EnergyMeter

_WARM_UP = 3  # rounds that do not count
_ENERGY_ROUNDS = 3  # through all frames: the counter moves in steps of a millisecond


@dataclass(frozen=True, slots=True)
class Timing:
    """What a model costs on one thread of this machine.

    Attributes:
        name: Of its file.
        frame_ms: Median CPU time from a frame to its detections, milliseconds.
        model_ms: Median CPU time of the network alone, milliseconds.
        ratio: Median over frames of its time by that of the reference for the same frame; None without a reference.
        joules: Energy of the whole processor for a frame while only this model was asked for; None: not measured.
    """

    name: str
    frame_ms: float
    model_ms: float
    ratio: float | None
    joules: float | None


@dataclass(frozen=True, slots=True)
class Costs:
    """What models cost, measured in one run.

    Attributes:
        processor: This machine's.
        frames: How many each was given.
        rows: The model's artifacts, then the reference.
        energy_absent: Why no energy was measured; empty when it was.
    """

    processor: str
    frames: int
    rows: tuple[Timing, ...]
    energy_absent: str


class _Watched:
    """A session that tells how much CPU time its last run took."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.inputs, self.outputs = session.inputs, session.outputs
        self.last_ms = 0.0

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        started = time.process_time_ns()
        outputs = self._session.run(inputs)
        self.last_ms = (time.process_time_ns() - started) / 1e6
        return outputs

    def close(self) -> None:
        self._session.close()


def measure_costs(
    models: Sequence[LocatedModel], reference: LocatedModel | None, frames: "Sequence[Frame]", meter: "EnergyMeter"
) -> Costs:
    """Give each model each frame, in turn, on one thread, at its own lowest score as the daemon does.

    Raises:
        ModelError: A model cannot be run.
        UnsupportedError: The runtime for a format is not installed here.
    """
    every = [*models, reference] if reference is not None else list(models)
    opened: list[tuple[Detector, _Watched]] = []
    try:
        for located in every:
            session = _Watched(located.open(1))
            opened.append((Detector(identify(located, session.inputs, session.outputs), session), session))
        rounds = [frames[at % len(frames)] for at in range(_WARM_UP)] + list(frames)
        times = [_round(opened, frame) for frame in with_progress(rounds, "times")][_WARM_UP:]
        joules = [_joules(detector, frames, meter) for detector, _ in opened]
    finally:
        for detector, _ in opened:
            detector.close()
    rows = [
        Timing(
            name=located.path.name,
            frame_ms=median(one[at][0] for one in times),
            model_ms=median(one[at][1] for one in times),
            ratio=median(one[at][0] / one[-1][0] for one in times) if reference is not None else None,
            joules=joules[at],
        )
        for at, located in enumerate(every)
    ]
    return Costs(processor_name(), len(frames), tuple(rows), meter.absent)


def processor_name() -> str:
    """Give the processor's name as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown processor"
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return named[0] if named else "unknown processor"


def _round(opened: Sequence[tuple[Detector, _Watched]], frame: "Frame") -> list[tuple[float, float]]:
    """Give CPU milliseconds of each model for the frame, and of its network alone."""
    times = []
    for detector, session in opened:
        started = time.process_time_ns()
        detector.detect(frame)
        times.append(((time.process_time_ns() - started) / 1e6, session.last_ms))
    return times


def _joules(detector: Detector, frames: "Sequence[Frame]", meter: "EnergyMeter") -> float | None:
    if meter.absent:
        return None
    before = meter.read()
    for _ in range(_ENERGY_ROUNDS):
        for frame in frames:
            detector.detect(frame)
    return meter.joules(before, meter.read()) / (_ENERGY_ROUNDS * len(frames))
