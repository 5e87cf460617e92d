"""What it costs to watch a session, and to isolate it: time and CPU of a frame, memory.

`python -m tests.bench.isolation MODEL…`; each way runs in a process of its own, three times, by turns.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from appliance.config import ModelSettings
from appliance.core.clock import SystemClock
from appliance.core.frame import Frame, PixelLayout
from appliance.inference.ladder import open_best_model, open_climbing_model

WAYS = {"plain": "never", "watched": "never", "isolated": "always"}
WARM, ROUNDS = 30, 3
_MB = 1e6


def measure(way: str, model: str, frames: int) -> dict[str, float]:
    """Run one way, and give milliseconds of a frame, its CPU milliseconds, and memory in MB."""
    settings = ModelSettings.model_validate({"use": model, "isolate": WAYS[way]})
    started = time.monotonic()
    detector = open_best_model(settings) if way == "plain" else open_climbing_model(settings)
    opening = time.monotonic() - started
    image = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    stamp = SystemClock().now()
    frame = Frame(image, PixelLayout.BGR, 1280, 720, "camera", 0, stamp.time, stamp.mono_ns)
    times = []
    for number in range(WARM + frames):
        if number == WARM:
            before = _cpu()
        at = time.perf_counter()
        detector.detect(frame)
        times.append(time.perf_counter() - at)
    used = _cpu() - before
    ours, theirs = _memory(os.getpid()), [_memory(pid) for pid in _children()]
    detector.close()
    return {
        "open_s": opening,
        "p50_ms": float(np.percentile(times[WARM:], 50) * 1e3),
        "p95_ms": float(np.percentile(times[WARM:], 95) * 1e3),
        "cpu_ms": used / frames * 1e3,
        "own_mb": ours["Pss"],
        "child_rss_mb": sum(one["Rss"] for one in theirs),
        "child_pss_mb": sum(one["Pss"] for one in theirs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="*")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--way", choices=WAYS, help="measure this way in this process, and print JSON")
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(measure(asked.way, asked.model[0], asked.frames)))
        return
    for model in asked.model:
        print(Path(model).name)
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, found in runs.items():
                command = [sys.executable, "-m", "tests.bench.isolation", "--way", way, "--frames", str(asked.frames)]
                found.append(json.loads(subprocess.run([*command, model], capture_output=True, check=True).stdout))
        for way, found in runs.items():
            medians = {name: float(np.median([one[name] for one in found])) for name in found[0]}
            print(f"  {way:9}", "  ".join(f"{name} {value:.2f}" for name, value in medians.items()))


def _children() -> list[int]:
    return [
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text(encoding="ascii").split()
    ]


def _cpu() -> float:
    """Give the seconds of CPU that this process and its children have used."""
    ticks = 0
    for pid in _children():
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime; proc_pid_stat(5)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> dict[str, float]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return {name: int(size) * 1024 / _MB for name, size in re.findall(r"(?m)^(Rss|Pss): +(\d+) kB", text)}


if __name__ == "__main__":
    main()
