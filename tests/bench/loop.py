"""What Edgecam's loop costs beside the bare inference session: CPU time, interleaved in one process.

``make bench`` prints a table; ``make -s bench JSON=1`` prints one JSON object on the last line. Other harnesses time
the same loop through `factory`.

Machines are noisy and clocks vary, so each round times the bare session and the loop right after one another, the order
changing from frame to frame because the second finds warm caches; the figure is the ratio of the two, its median and
spread over the rounds. CPU time is that of the whole process: threads that work in the background count.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.config import ModelSettings, OutboxSettings, TrackingSettings
from appliance.core.clock import SystemClock, read_boot_id
from appliance.core.errors import EdgecamError
from appliance.core.frame import Frame, PixelLayout
from appliance.core.latest import Latest
from appliance.core.message import Message
from appliance.daemon.pipeline import Pipeline
from appliance.inference.detector import open_detector
from appliance.messaging.outbox import Outbox
from appliance.messaging.payloads import Identity, ModelInfo, Origin, encode, envelope
from appliance.messaging.rows import Draft
from appliance.tracking.scene import Scene

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT.parent / "shared" / "data" / "footage" / "one-by-one-person-detection.mp4"
MODEL = ROOT.parent / "shared" / "data" / "models" / "yolox_nano_416_coco80.onnx"
FRAMES, SKIP = 60, 200  # a round's frames; people are in view from about frame 200 of the clip on
ROUNDS = 9
EDGECAM = "from appliance.cli.main import main; main()"  # the command, whether it is on PATH or not

Image = NDArray[np.uint8]
Step = Callable[[Image], object]


class DurableSink:
    """A real outbox on disk: group commits as the daemon makes them, rows acknowledged with the next commit.

    Args:
        directory: Where the database is put.
    """

    def __init__(self, directory: Path) -> None:
        self._clock, self._settings, self._boot = SystemClock(), OutboxSettings(), read_boot_id()
        self.outbox = Outbox(
            directory / "outbox.db",
            self._settings,
            device_id="bench",
            boot_id=self._boot,
            encode_gap=lambda _gen, _seq, _gap: b"{}",
            now=self._clock.now,
        )
        self.outbox.open()
        self._drafts: list[Draft] = []
        self._since = 0.0
        self.events = 0

    def publish(self, message: Message) -> None:
        """Take a message as the daemon's messaging does; one that is not durable is only encoded."""
        origin = Origin(message.time_ns, message.mono_ns, self._clock.quality(), self._boot)

        def payload(gen: str, seq: int) -> bytes:
            return encode(envelope("bench", origin, Identity(gen, seq), message.camera) | dict(message.body))

        if not message.durable:
            payload("", 0)
            return
        if not self._drafts:
            self._since = time.monotonic()
        self._drafts.append(Draft(message.topic, payload, message.time_ns, message.mono_ns))
        self.events += 1

    def settle(self) -> None:
        """Commit when the group is full or old enough."""
        due = self._drafts and time.monotonic() - self._since >= self._settings.commit_interval
        if len(self._drafts) >= self._settings.commit_rows or due:
            with self.outbox.transaction():
                self.outbox.acknowledge([row.seq for row in self.outbox.pending(0, 1000)])
                self.outbox.append(self._drafts)
            self._drafts.clear()


def factory(model_path: str | os.PathLike[str]) -> tuple[Step, Step]:
    """Give ``(bare, step)``, both taking one BGR frame of shape (H, W, 3), uint8.

    `bare` runs the inference session alone, on the tensor that the last `step` prepared: call `step` once before it.
    `step` runs the whole loop: letterbox, inference, decode, NMS, tracker, events, durable outbox.

    Raises:
        EdgecamError: The model cannot be used.
    """
    cv2.setNumThreads(1)
    detector = open_detector(ModelSettings(use=str(model_path)), min_score=TrackingSettings().least_score)
    manifest, min_score = detector.manifest, detector.manifest.decoder.min_score
    directory = tempfile.TemporaryDirectory(prefix="edgecam-bench-")
    sink = DurableSink(Path(directory.name))
    pipeline = Pipeline(
        camera="bench",
        slot=Latest(),
        source_ended=threading.Event(),
        detector=detector,
        scene=Scene("bench", manifest.vocabulary, TrackingSettings(), {}, {}, high_score=min_score, run="bench"),
        labels=manifest.labels,
        model=ModelInfo(manifest.name, manifest.version, detector.digest),
        min_score=min_score,
        detections_interval=1.0,
        publish=sink.publish,
        tell=lambda _event, _message: None,
    )
    number = 0

    def step(image: Image) -> None:
        nonlocal number
        height, width = image.shape[:2]
        # frames come ten a second as in the clip, however fast they are worked through
        mono_ns = number * 100_000_000
        frame = Frame(image, PixelLayout.BGR, width, height, "bench", number, datetime.now(UTC), mono_ns)
        number += 1
        pipeline.step(frame)
        sink.settle()

    def bare(_image: Image) -> object:
        return detector._session.run(detector._inputs)

    step.sink, step.directory = sink, directory  # type: ignore[attr-defined]  # kept alive with the loop; read by `main`
    return bare, step


def read_frames(clip: Path, count: int) -> list[Image]:
    """Give `count` consecutive frames of a clip, or of the drawn street when there is no clip."""
    if clip.exists():
        capture = cv2.VideoCapture(str(clip))
        frames = [capture.read()[1] for _ in range(SKIP + count)][SKIP:]
        capture.release()
        return [np.ascontiguousarray(frame, np.uint8) for frame in frames]
    return list(_street(count))


def _street(count: int) -> Iterator[Image]:
    from appliance.cameras import make_camera
    from appliance.config import SyntheticCameraSettings

    camera = make_camera(
        "bench", SyntheticCameraSettings(kind="synthetic", pace="fastest", frames=count), SystemClock()
    )
    camera.open()
    while (frame := camera.read(5.0)) is not None:
        yield frame.image
    camera.close()


def measure(model: Path, frames: list[Image], rounds: int) -> dict[str, Any]:
    """Time both in turn, `rounds` times over all frames, and give figures per frame in milliseconds of CPU time."""
    bare, step = factory(model)
    for image in frames[:5]:
        step(image)
        bare(image)
    times: dict[str, list[float]] = {"bare": [], "loop": []}
    for _ in range(rounds):
        spent = {"bare": 0.0, "loop": 0.0}
        for number, image in enumerate(frames):
            for name, work in (("loop", step), ("bare", bare))[:: 1 - 2 * (number % 2)]:
                started = time.process_time()
                work(image)
                spent[name] += time.process_time() - started
        for name, seconds in spent.items():
            times[name].append(1e3 * seconds / len(frames))
    ratios = [loop / alone for loop, alone in zip(times["loop"], times["bare"], strict=True)]
    return {
        "bare_cpu_ms": _spread(times["bare"]),
        "loop_cpu_ms": _spread(times["loop"]),
        "loop_over_bare": _spread(ratios),
        "frames": len(frames) * rounds,
        "events": step.sink.events,  # type: ignore[attr-defined]  # see `factory`
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
    }


def measure_start(model: Path, clip: Path) -> dict[str, Any]:
    """Run the daemon over the first seconds of a clip and give its CPU time to the first result and its peak memory."""
    source = str(clip) if clip.exists() else "synthetic"
    with tempfile.TemporaryDirectory(prefix="edgecam-bench-") as directory, ExitStack() as stack:
        environment = {**os.environ, "EDGECAM_SOCKET": f"{directory}/edgecam.sock"}
        command = [sys.executable, "-c", EDGECAM, "run", "--config", os.devnull, "--camera", source]
        command += ["--model", str(model), "--broker", "none", "--state-dir", directory, "--device-id", "bench"]
        log = stack.enter_context(Path(directory, "log").open("w+"))
        daemon = stack.enter_context(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        stack.callback(daemon.terminate)
        first = _cpu_at_first_result(daemon, Path(directory, "edgecam.sock"))
        if first is None:
            log.seek(0)
            raise SystemExit(f"the daemon gave no result:\n{log.read()}")
        time.sleep(10.0)
        peak = next(
            int(line.split()[1])
            for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
            if "VmHWM" in line
        )
        return {"cpu_s_to_first_result": round(first, 2), "daemon_peak_memory_mb": round(peak * 1024 / 1e6, 1)}


def _cpu_at_first_result(daemon: "subprocess.Popen[bytes]", path: Path) -> float | None:
    from appliance.cli.client import Daemon
    from appliance.core.errors import UnavailableError

    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and daemon.poll() is None:
        time.sleep(0.02)
        try:
            cameras = Daemon(path).status()["cameras"]
        except UnavailableError:
            continue
        if any(camera["frames_processed"] for camera in cameras.values()):
            fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return None


def measure_command() -> dict[str, Any]:
    """Give the CPU time of ``edgecam --help`` in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(5):
        subprocess.run([sys.executable, "-c", EDGECAM, "--help"], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"help_cpu_s": round(used / 5, 3)}


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def show(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{figures['model']} over {figures['frames']} frames, {figures['events']} durable events")
    for column in ("", "median", "least", "most"):
        table.add_column(column, justify="left" if not column else "right")
    for name, title in (
        ("bare_cpu_ms", "bare session, CPU ms a frame"),
        ("loop_cpu_ms", "whole loop, CPU ms a frame"),
        ("loop_over_bare", "loop over bare"),
    ):
        spread = figures[name]
        table.add_row(title, *(f"{spread[key]:.3f}" for key in ("median", "min", "max")))
    table.add_row("daemon, CPU s to the first result", f"{figures['cpu_s_to_first_result']:.2f}", "", "")
    table.add_row("daemon, peak memory MB", f"{figures['daemon_peak_memory_mb']:.1f}", "", "")
    table.add_row("edgecam --help, CPU s", f"{figures['help_cpu_s']:.3f}", "", "")
    Console().print(table)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", type=Path, default=MODEL, help="an .onnx file")
    parser.add_argument("--clip", type=Path, default=CLIP, help="a video")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    asked = parser.parse_args()
    try:
        if not asked.model.exists():
            raise SystemExit(
                f"no model at {asked.model}; name a YOLOX, NanoDet, PicoDet or FastestDet in ONNX: "
                "make bench MODEL=detector.onnx"
            )
        if not asked.clip.exists():
            message = f"no clip at {asked.clip}: timing a drawn street; for one of people: make bench CLIP=clip.mp4"
            print(message, file=sys.stderr)
        figures = {"model": asked.model.name, **measure(asked.model, read_frames(asked.clip, FRAMES), asked.rounds)}
        figures |= measure_start(asked.model, asked.clip) | measure_command()
    except EdgecamError as error:
        raise SystemExit(str(error)) from error
    if asked.json:
        print(json.dumps(figures))
    else:
        show(figures)


if __name__ == "__main__":
    main()
