"""Measures candidates in rounds, so that what else the machine does hits all of them alike."""

import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from appliance.inference.measuring.process import ask
from appliance.inference.measuring.request import Answer, Candidate, Request

MOST_OUTPUT_BYTES = 256 << 20
NO_ANSWER: Final = Answer(error="was not measured")
Ask = Callable[[Request, float], Answer]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: Each candidate is measured once in each, in a new process.
        frames: A candidate is timed for in a round, at the least.
        seconds: Likewise.
        limit: Seconds for one process, after which it is killed.
        cache: Folder for what a provider compiles; None: the measuring's own, which goes with it.
    """

    rounds: int = 3
    frames: int = 10
    seconds: float = 0.5
    limit: float = 120.0
    cache: Path | None = None


@dataclass(slots=True)
class Measured:
    """A candidate and what was measured.

    Attributes:
        candidate: What was run.
        first: The first answer: what it is and what it found.
        tensors: What it told of the pictures, else its outputs for the first one; see `Subject`.
        wall_ms: From picture to result, of each round.
        quiet_ms: The same without the time in which the processor was busy with others.
        cpu_ms: CPU time a frame, of each round.
        peak_mb: Peak memory of each round.
        error: Why it is out; empty: it is not.
        kind: Name of the error's class, ``hang`` or ``crash``.
    """

    candidate: Candidate
    first: Answer = NO_ANSWER
    tensors: tuple[NDArray[Any], ...] = ()
    wall_ms: list[tuple[float, ...]] = field(default_factory=list)
    quiet_ms: list[tuple[float, ...]] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    error: str = ""
    kind: str = ""

    def take(self, answer: Answer) -> None:
        """Add a round."""
        if answer.error:
            self.error, self.kind = answer.error, answer.kind
            return
        self.wall_ms.append(answer.wall_ms)
        waits = answer.waited_ms or (0.0,) * len(answer.wall_ms)
        self.quiet_ms.append(tuple(wall - wait for wall, wait in zip(answer.wall_ms, waits, strict=True)))
        self.cpu_ms.append(answer.cpu_ms)
        if answer.peak_mb is not None:
            self.peak_mb.append(answer.peak_mb)

    def figures(self) -> dict[str, float]:
        """Give the figures. `p50_ms` and `p95_ms` are of all frames, as they were.

        `latency_ms` and `cpu_ms` are what candidates are chosen by: of the best round, since what else the machine does
        only ever adds; and the latency without the time in which the processor was busy with others.
        """
        every = np.concatenate([np.asarray(one) for one in self.wall_ms])
        return {
            "latency_ms": min(statistics.median(one) for one in self.quiet_ms),
            "p50_ms": float(np.percentile(every, 50)),
            "p95_ms": float(np.percentile(every, 95)),
            "cpu_ms": min(self.cpu_ms),
            "memory_mb": statistics.median(self.peak_mb) if self.peak_mb else 0.0,
            "load_s": self.first.load_s,
            "frames": float(every.size),
        }


def measure_all(
    candidates: Sequence[Candidate],
    effort: Effort,
    on_step: Callable[[Candidate], None] = lambda _: None,
    ask_child: Ask = ask,
) -> list[Measured]:
    """Measure each candidate in a process of its own, all of them in each round; blocks.

    One that fails is out for the rounds to come, with its error.

    Args:
        candidates: What to measure.
        effort: How much.
        on_step: Called after each process, for a progress bar.
        ask_child: Runs one process.
    """
    measured = [Measured(one) for one in candidates]
    with tempfile.TemporaryDirectory(prefix="edgecam-measuring-") as directory:
        folder = Path(directory)
        for number in range(effort.rounds):
            for at, one in enumerate(measured):
                if not one.error:
                    outputs = folder / f"{at}.npz" if number == 0 else None
                    answer = ask_child(_request(one.candidate, effort, folder, outputs), effort.limit)
                    one.take(answer)
                    if outputs is not None and not answer.error:
                        one.first, one.tensors = answer, _tensors(outputs)
                on_step(one.candidate)
    return measured


def _request(candidate: Candidate, effort: Effort, folder: Path, outputs: Path | None) -> Request:
    return Request(
        use=candidate.use,
        artifact=candidate.artifact,
        directories=tuple(map(str, candidate.directories)),
        providers=candidate.way.providers,
        is_plain=candidate.way.is_plain,
        threads=candidate.way.threads,
        cache=str(effort.cache or folder / "compiled"),
        pictures=tuple(map(str, candidate.pictures)),
        outputs=str(outputs) if outputs is not None else None,
        answer=str(folder / "answer.json"),
        least_frames=effort.frames,
        seconds=effort.seconds,
        most_seconds=max(effort.seconds * 4, 2.0),
    )


def _tensors(path: Path) -> tuple[NDArray[Any], ...]:
    try:
        if os.path.getsize(path) > MOST_OUTPUT_BYTES:  # noqa: PTH202 - nothing to compare is worth so much memory
            return ()
        with np.load(path, allow_pickle=False) as stored:
            return tuple(stored[name] for name in stored.files)
    except (OSError, ValueError):
        return ()  # written by a process that we measure: without it there is nothing to compare
    finally:
        path.unlink(missing_ok=True)
