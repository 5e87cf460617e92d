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
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

# before OpenCV is loaded: what a file claims to unpack to is bounded before it is unpacked
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(50_000_000))  # as MOST_PICTURE_PIXELS

import cv2
import numpy as np
from pydantic import ValidationError

from appliance.config import ModelSettings
from appliance.core.errors import EdgecamError, ModelError, UnsupportedError
from appliance.core.files import write_atomically
from appliance.core.machine import peak_memory
from appliance.inference.artifacts import LocatedModel, locate_artifact, locate_model
from appliance.inference.measuring.request import MOST_PICTURE_BYTES, Answer, Request
from appliance.inference.measuring.subject import Image, Subject, open_subject
from appliance.inference.runtimes import Plan

MOST_REQUEST_BYTES = 1 << 20
WARM_UP = 2  # frames before any is timed: the first ones touch memory and fill caches
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_QUANTIZED = re.compile(rb"QuantizeLinear|QLinearConv|ConvInteger|MatMulInteger")


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
        subject = open_subject(located, session)
        subject.run(pictures[0])
        load_s = time.perf_counter() - started
        facts = dict(subject.facts) | _seen(subject, pictures, request.outputs)
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


def waited_ms() -> float | None:
    """Give how long this thread has waited for a processor so far, in milliseconds; None where the kernel is silent.

    The second figure of schedstat: https://docs.kernel.org/scheduler/sched-stats.html.
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e6
    except (OSError, ValueError, IndexError):
        return None


def _locate(request: Request) -> LocatedModel:
    if request.artifact is not None:
        return locate_artifact(Path(request.use), request.artifact)
    return locate_model(ModelSettings(use=request.use, directories=tuple(map(Path, request.directories))))


def _seen(subject: Subject, pictures: Sequence[Image], outputs: str | None) -> dict[str, Any]:
    """Give what it finds in the pictures, and keep what it tells of them."""
    if outputs is None:
        return {}
    np.savez(outputs, *subject.tell(pictures))
    return {"objects": subject.find(pictures)}


def _timed(subject: Subject, pictures: Sequence[Image], request: Request) -> dict[str, Any]:
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
