"""The measuring process: runs one file in one way, and answers what it took.

``python -m appliance.inference.measuring.child`` takes a `Request` as JSON on standard input. It ends with the process
that started it.
"""

import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# before OpenCV is loaded: what a file claims to unpack to is bounded before it is unpacked
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(50_000_000))

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from appliance.config import ModelSettings
from appliance.core.errors import EdgecamError, ModelError, UnsupportedError
from appliance.core.files import write_atomically
from appliance.core.manifest import TensorSpec
from appliance.inference.artifacts import LocatedModel, identify, locate_artifact, locate_model
from appliance.inference.detector import Detector
from appliance.inference.golden import golden_objects, look
from appliance.inference.measuring.request import Answer, Request
from appliance.inference.runtimes import OpenedSession, Plan

MOST_REQUEST_BYTES = 1 << 20
MOST_PICTURE_BYTES = 32 << 20
WARM_UP = 2  # frames before any is timed: the first ones touch memory and fill caches
OPEN_SIDE = 224  # pixels, for a picture's side that a bare file leaves open
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_QUANTIZED = re.compile(rb"QuantizeLinear|QLinearConv|ConvInteger|MatMulInteger")

Image = NDArray[np.uint8]


def main() -> int:
    """Answer the request on standard input; the status says whether it could be read."""
    end_with_the_parent()
    try:
        request = Request.model_validate_json(sys.stdin.buffer.read(MOST_REQUEST_BYTES))
    except ValidationError as error:
        sys.stderr.write(f"no request that can be read: {error}\n")
        return 2
    try:
        answer = measure(request)
    except EdgecamError as error:
        answer = Answer(error=" ".join(str(error).split())[:4000], kind=type(error).__name__)
    write_atomically(Path(request.answer), answer.model_dump_json().encode())
    return 0


def measure(request: Request) -> Answer:
    """Load the file, run it on the pictures, time it.

    Raises:
        EdgecamError: It cannot be loaded or run.
    """
    cv2.setNumThreads(1)
    pictures = [read_picture(Path(one)) for one in request.pictures]
    started = time.perf_counter()
    located = _locate(request)
    plan = request.way.plan(located.artifact, Plan(cache=Path(request.cache) if request.cache else None))
    session = located.open(request.threads, plan)
    with closing(session):
        if session.shortfalls:  # else another one would be timed under its name
            raise UnsupportedError("; ".join(session.shortfalls))
        subject = _subject(located, session)
        subject.run(pictures[0])
        load_s = time.perf_counter() - started
        facts = subject.facts | _seen(subject, pictures, request.outputs)
        facts |= _timed(subject, pictures, request)
        placements = tuple((one.provider, one.nodes) for one in session.placements)
    facts |= {"sha256": located.sha256, "is_quantized": is_quantized(located), "placements": placements}
    return Answer.model_validate(facts | {"load_s": load_s, "peak_mb": peak_memory()})


def is_quantized(located: LocatedModel) -> bool:
    """Tell whether a file calculates in 8 bits: what its manifest says, else whether it has such operators."""
    if located.artifact is not None:
        return located.artifact.precision in {"int8", "mixed"}
    return _QUANTIZED.search(located.content) is not None


def read_picture(path: Path) -> Image:
    """Read a picture, shape (H, W, 3), BGR.

    Raises:
        ModelError: It cannot be read, or is no picture.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_PICTURE_BYTES + 1)
    except OSError as error:
        raise ModelError(f"cannot read the picture {path}: {error.strerror}") from error
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error:
        image = None
    if image is None or len(content) > MOST_PICTURE_BYTES:
        raise ModelError(f"{path} is no picture of up to {MOST_PICTURE_BYTES >> 20} MiB that can be read")
    return np.asarray(image, np.uint8)


def peak_memory() -> float | None:
    """Give the peak of this process's resident memory in MB; None where /proc does not tell.

    Not getrusage: its figure begins with that of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / 1e6 if found else None


def waited_ms() -> float | None:
    """Give how long this thread has waited for a processor so far, in milliseconds; None where the kernel is silent.

    The second figure of schedstat: https://docs.kernel.org/scheduler/sched-stats.html.
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e6
    except (OSError, ValueError, IndexError):
        return None


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is timed.

    Attributes:
        run: Takes a picture, gives the milliseconds of the session.
        raw: Gives the session's outputs for the last picture.
        facts: For the answer.
        detector: None where no decoder is known.
    """

    run: Callable[[Image], float]
    raw: Callable[[], Sequence[NDArray[Any]]]
    facts: dict[str, Any]
    detector: Detector | None


def _locate(request: Request) -> LocatedModel:
    if request.artifact is not None:
        return locate_artifact(Path(request.use), request.artifact)
    return locate_model(ModelSettings(use=request.use, directories=tuple(map(Path, request.directories))))


def _subject(located: LocatedModel, session: OpenedSession) -> _Subject:
    tap = _Tap(session)
    try:
        model = identify(located, session.inputs, session.outputs)
    except ModelError:
        if located.artifact is not None or len(located.candidates) == 1:
            raise  # it was said what it is
        return _bare(tap, guess_task(session.outputs))
    task = str(model.manifest.task)
    if task != "detect":
        return _bare(tap, task)
    detector = Detector(model, tap)

    def run(image: Image) -> float:
        look(detector, image)
        return detector.last_inference_ms

    spec = model.manifest.input
    facts = {"model": model.manifest.name, "task": "detect", "min_score": detector.min_score}
    return _Subject(run, lambda: tap.last, facts | {"input": (spec.width, spec.height)}, detector)


class _Tap:
    """A session that keeps its last outputs."""

    def __init__(self, session: OpenedSession) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self.run_session, self.close = session.run, session.close
        self.last: Sequence[NDArray[Any]] = ()

    def run(self, inputs: Any) -> Sequence[NDArray[Any]]:
        """Run the session once; see `Session.run`."""
        self.last = self.run_session(inputs)
        return self.last


def _bare(tap: _Tap, task: str) -> _Subject:
    """Time a session with input of the right shape: a picture where it takes one, else zeros."""

    def run(image: Image) -> float:
        inputs = {spec.name: fill(spec, image) for spec in tap.inputs}
        started = time.perf_counter()
        tap.run(inputs)
        return (time.perf_counter() - started) * 1e3

    return _Subject(run, lambda: tap.last, {"task": task}, None)


def fill(spec: TensorSpec, image: Image) -> NDArray[Any]:
    """Give an input of the shape and type that a file asks for.

    Args:
        spec: Of the input; an axis that is left open is 1, or 224 where it is a side of a picture.
        image: Shape (H, W, 3), BGR; scaled into an input that takes a picture, to -1..1 where that is of floats.
    """
    shape = list(spec.shape)
    is_nhwc = len(shape) == 4 and shape[3] == 3  # noqa: PLR2004 - N, H, W, C
    is_nchw = len(shape) == 4 and shape[1] == 3 and not is_nhwc  # noqa: PLR2004 - N, C, H, W
    sides = (1, 2) if is_nhwc else (2, 3) if is_nchw else ()
    sizes = [size or (OPEN_SIDE if axis in sides else 1) for axis, size in enumerate(shape)]
    if not sides:
        return np.zeros(sizes, spec.dtype)
    scaled = cv2.resize(image, (sizes[sides[1]], sizes[sides[0]]))[..., ::-1].astype(np.float32)
    if spec.dtype.startswith("float"):
        scaled = scaled / np.float32(127.5) - np.float32(1.0)
    elif spec.dtype == "int8":
        scaled -= np.float32(128.0)
    ordered = scaled.transpose(2, 0, 1) if is_nchw else scaled
    return np.ascontiguousarray(np.broadcast_to(ordered, sizes).astype(spec.dtype))


def guess_task(outputs: Sequence[TensorSpec]) -> str:
    """Guess what a file without a decoder gives, from its outputs; with a question mark, since nothing says so."""
    sizes = [[size or 1 for size in spec.shape] for spec in outputs]
    if len(sizes) == 1:
        wide = [size for size in sizes[0][1:] if size > 1]
        if len(wide) == 1:
            return "classify?"
        if len(sizes[0]) in {3, 4} and len(wide) >= 2 and min(wide[:2]) > 16:  # noqa: PLR2004 - rows and columns
            return "segment?"
    return "?"


def _seen(subject: _Subject, pictures: Sequence[Image], outputs: str | None) -> dict[str, Any]:
    """Give what it finds in the pictures, and keep its outputs for the first one."""
    if outputs is None:
        return {}
    subject.run(pictures[0])
    np.savez(outputs, *subject.raw())
    detector = subject.detector
    if detector is None:
        return {}
    return {"objects": tuple(golden_objects(detector, look(detector, image)) for image in pictures)}


def _timed(subject: _Subject, pictures: Sequence[Image], request: Request) -> dict[str, Any]:
    for at in range(WARM_UP):
        subject.run(pictures[at % len(pictures)])
    walls: list[float] = []
    waits: list[float] = []
    inner: list[float] = []
    begun, cpu = time.perf_counter(), time.process_time()
    while True:
        spent = time.perf_counter() - begun
        if (len(walls) >= request.least_frames and spent >= request.seconds) or (
            walls and spent > request.most_seconds
        ):
            break
        waited, started = waited_ms(), time.perf_counter()
        inner.append(subject.run(pictures[len(walls) % len(pictures)]))
        walls.append((time.perf_counter() - started) * 1e3)
        if waited is not None and (now := waited_ms()) is not None:
            waits.append(min(now - waited, walls[-1]))
        if len(walls) == 10_000:  # noqa: PLR2004 - as many as an answer may hold
            break
    cpu_ms = (time.process_time() - cpu) * 1e3 / len(walls)
    waited_for = tuple(waits) if len(waits) == len(walls) else ()
    return {"wall_ms": tuple(walls), "waited_ms": waited_for, "inference_ms": tuple(inner), "cpu_ms": cpu_ms}


def end_with_the_parent() -> None:
    """Have the kernel end this process when the one that started it is gone; elsewhere its time limit has to do."""
    set_option = getattr(ctypes.CDLL(None), "prctl", None)
    if set_option is not None:
        set_option(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
