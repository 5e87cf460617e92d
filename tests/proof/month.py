"""`make month`: 30 days without a broker, accelerated, and then the way back.

518,400 events, one in five seconds for 30 days, are put into an outbox with default settings: it must stay within its
quota, and whatever it gives up must be named. Then the broker comes: what waited is drained in order and at the pace
that is set, and meanwhile an event that happens now arrives within two seconds (p95).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from appliance.config import MessagingSettings, OutboxSettings
from appliance.core.message import Message
from appliance.workbench.accounts import Accounts, count
from appliance.workbench.listening import Listening
from tests.simulators.broker import REPOSITORY, Mosquitto
from tests.simulators.messaging_device import Device, wait_until

MONTH: Final = 518_400  # events
PAD: Final = "x" * 440  # with it an event has some 680 bytes, as real ones have
LIVE_INTERVAL: Final = 0.25  # seconds
MOST_LATENCY: Final = 2.0  # seconds, p95
CROWD: Final = 1500  # messages at once: the door holds 2,000


def listen(url: str, total: int) -> None:
    """Subscribe until all has come; print what came, as JSON."""
    accounts, delays, moments = Accounts(), list[float](), list[float]()
    last, disorder, backlog = 0, 0, 0
    over = threading.Event()

    def take(topic: str, payload: bytes) -> None:
        nonlocal last, disorder, backlog
        new = accounts.take(topic, payload)
        if new is None:
            return
        if b'"live"' in payload:  # the rest is not read twice: a slow subscriber is what would be measured
            body = json.loads(payload)
            delays.append(time.monotonic() - body["live"])
            if body.get("end"):
                over.set()
        elif topic.endswith("/events"):
            disorder += new[2] < last
            last = new[2]
            backlog += 1
            moments.append(time.monotonic())

    settings = MessagingSettings.model_validate({"broker": url})
    with Listening(settings, name="month", topics="edgecam/#", take=take) as listening:
        print("ready", flush=True)
        listening.listen(over.is_set)
    delays.sort()
    missing = sum(count(account.missing(is_whole=True)) for account in accounts)
    given_up = {reason: number for account in accounts for reason, number in account.reasons.items()}
    answer = {
        "backlog": backlog,
        "disorder": disorder,
        "missing": missing,
        "given_up": given_up,
        "expected": total,
        "drain_s": round(moments[-1] - moments[0], 1),
        "per_s": round(backlog / (moments[-1] - moments[0]), 1),
        "live": len(delays),
        "live_p50_s": round(delays[len(delays) // 2], 3),
        "live_p95_s": round(delays[len(delays) * 95 // 100], 3),
        "live_max_s": round(delays[-1], 3),
    }
    print(json.dumps(answer), flush=True)


def offline(directory: Path, events: int) -> dict[str, Any]:
    """Put a month's events into the outbox, with nobody there; give what the disk says."""
    begin = time.monotonic()
    with Device(directory, "mqtt://127.0.0.1:1") as device:
        for first in range(0, events, CROWD):
            goal = min(first + CROWD, events)
            device.send(goal - first, pad=PAD)
            wait_until(lambda goal=goal: device.figure("appended") >= goal, "on disk", 120.0)
            _tell(f"{goal} of {events} events on disk")
        evicted, lost = device.figure("evicted"), device.figure("declared_lost")
    files = sum(file.stat().st_size for file in directory.iterdir())
    quota = OutboxSettings().max_bytes
    return {
        "put_s": round(time.monotonic() - begin, 1),
        "bytes": files,
        "quota": quota,
        "evicted": evicted,
        "lost": lost,
    }


def drain(directory: Path, rate: float) -> dict[str, Any]:
    """Bring the broker back; give what a subscriber saw."""
    broker = Mosquitto(directory)
    broker.configure("max_queued_messages 0", "max_inflight_messages 0")
    broker.start()
    command = [sys.executable, "-m", "tests.proof.month", "--listen", broker.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as listener:
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
            with Device(directory / "state", broker.url, replay_rate=rate, replay_spread=0) as device:
                while not device.messaging.is_drained() or not device.figure("connected"):
                    _publish_live(device)
                    device.stop.wait(LIVE_INTERVAL)
                    _tell(f"{device.figure('rows')} wait")
                _publish_live(device, end=True)
                device.wait_drained(60.0)
                answer: dict[str, Any] = json.loads(listener.stdout.readline())
                return answer
        finally:
            listener.kill()
            broker.stop()


def _publish_live(device: Device, *, end: bool = False) -> None:
    body = {"live": time.monotonic(), **({"end": True} if end else {})}
    device.messaging.publish(Message("door/events", body, durable=True, qos=1, camera="door"))


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Read the arguments, do it, print what came of it, and give the exit status."""
    parser = argparse.ArgumentParser(prog="month", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=MONTH)
    parser.add_argument("--rate", type=float, default=500.0, help="replay_rate; with its default of 50 it takes hours")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listen:
        listen(options.listen, options.events)
        return 0
    with tempfile.TemporaryDirectory(prefix="month-") as folder:
        put = offline(Path(folder) / "state", options.events)
        print(
            f"{options.events} events on disk in {put['put_s']} s: {put['bytes']} bytes of {put['quota']}, "
            f"{put['evicted']} evicted, {put['lost']} declared lost",
            flush=True,
        )
        came = drain(Path(folder), options.rate)
    print(
        f"drained in {came['drain_s']} s, {came['per_s']} a second of {options.rate:g} allowed: {came['backlog']} "
        f"events, {came['disorder']} out of order, {came['missing']} missing; {came['live']} live events meanwhile, "
        f"p50 {came['live_p50_s']} s, p95 {came['live_p95_s']} s, longest {came['live_max_s']} s"
    )
    if options.json:
        print(json.dumps(put | came))
    is_well = put["bytes"] <= put["quota"] and not came["missing"] and not came["disorder"]
    is_well &= came["backlog"] + sum(came["given_up"].values()) >= options.events
    return 0 if is_well and came["live_p95_s"] < MOST_LATENCY else 1


if __name__ == "__main__":
    sys.exit(main())
