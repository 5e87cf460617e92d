"""How fast what waits on disk is delivered, and what it costs, beside bare paho with everything in memory.

Rounds are interleaved in one run at one mosquitto: the durable path (outbox, courier, link) drains events that are on
disk and notes acknowledgements there; bare paho publishes payloads of the same size with the same window. CPU time is
that of this process; broker and subscriber have their own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from paho.mqtt.client import CallbackAPIVersion, Client
from paho.mqtt.enums import MQTTProtocolVersion

from tests.simulators.broker import Mosquitto
from tests.simulators.messaging_device import Device, wait_until

EVENTS, ROUNDS, WINDOW = 10_000, 5, 64
PAYLOAD_BYTES: Final = 300
PAD: Final = "x" * 60  # an event of this body has some 300 bytes with its envelope
LEAST_DRAIN, MOST_CPU = 0.7, 1.5  # of paho's

SUBSCRIBER: Final = """
import sys
from paho.mqtt.client import CallbackAPIVersion, Client
client = Client(CallbackAPIVersion.VERSION2)
client.on_connect = lambda client, *_: client.subscribe("edgecam/#", qos=0)
client.on_subscribe = lambda *_: print("ready", flush=True)
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_forever()
"""


def durable(broker: Mosquitto, directory: Path, count: int) -> tuple[float, float, float]:
    """Give seconds to drain, CPU seconds for that, and CPU seconds to put the events on disk before."""
    begin = time.process_time()
    with Device(directory, "mqtt://127.0.0.1:1") as device:
        for first in range(0, count, 1000):
            device.send(min(1000, count - first), pad=PAD)
            wait_until(lambda first=first: device.figure("appended") >= min(first + 1000, count), "on disk", 60.0)
    put = time.process_time() - begin
    with Device(directory, broker.url, inflight=WINDOW, replay_rate=0, replay_spread=0) as device:
        wait_until(lambda: device.figure("acknowledged") > 0, "the first is delivered", 60.0)
        begin, cpu, before = time.perf_counter(), time.process_time(), device.figure("acknowledged")
        wait_until(lambda: device.figure("acknowledged") >= count, "drained", 120.0)
        share = count / (count - before)
        return (time.perf_counter() - begin) * share, (time.process_time() - cpu) * share, put


def bare(broker: Mosquitto, count: int) -> tuple[float, float]:
    """Give seconds and CPU seconds until paho's broker has acknowledged so many payloads."""
    done = threading.Event()
    left = count
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(WINDOW)
    client.max_queued_messages_set(0)

    def acknowledged(*_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    client.on_publish = acknowledged
    client.connect("127.0.0.1", broker.port)
    payload = b"x" * PAYLOAD_BYTES
    begin, cpu = time.perf_counter(), time.process_time()
    client.loop_start()
    for _ in range(count):
        client.publish("edgecam/bench/door/events", payload, qos=1)
    assert done.wait(120.0), "paho did not deliver everything"
    result = time.perf_counter() - begin, time.process_time() - cpu
    client.disconnect()
    client.loop_stop()
    return result


def main() -> int:
    """Measure, print a table, and give the exit status: 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="delivery", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        broker = Mosquitto(Path(folder))
        broker.configure("max_queued_messages 0", "max_inflight_messages 0")
        broker.start()
        subscriber = subprocess.Popen([sys.executable, "-c", SUBSCRIBER, str(broker.port)], stdout=subprocess.PIPE)
        try:
            assert subscriber.stdout is not None
            assert subscriber.stdout.readline() == b"ready\n"
            for number in range(options.rounds):
                state = Path(folder) / f"state{number}"
                ours, theirs = durable(broker, state, options.events), bare(broker, options.events)
                rounds.append(_figures(options.events, ours, theirs))
        finally:
            subscriber.kill()
            subscriber.wait()
            broker.stop()
    told = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    _show(told, _spread(rounds))
    if options.json:
        print(json.dumps({"events": options.events, "rounds": rounds, **told}))
    return int(told["drain_ratio"] < LEAST_DRAIN or told["cpu_ratio"] > MOST_CPU)


def _figures(count: int, ours: tuple[float, float, float], theirs: tuple[float, float]) -> dict[str, float]:
    return {
        "drain_per_s": count / ours[0],
        "paho_per_s": count / theirs[0],
        "drain_ratio": theirs[0] / ours[0],
        "send_us": ours[1] / count * 1e6,
        "put_us": ours[2] / count * 1e6,
        "paho_us": theirs[1] / count * 1e6,
        "cpu_ratio": ours[1] / theirs[1],
        "cpu_ratio_with_put": (ours[1] + ours[2]) / theirs[1],
    }


def _spread(rounds: list[dict[str, float]]) -> Callable[[str], str]:
    return lambda name: f"{min(one[name] for one in rounds):.2f} to {max(one[name] for one in rounds):.2f}"


def _show(told: dict[str, float], spread: Callable[[str], str]) -> None:
    print(f"durable drain {told['drain_per_s']:7.0f} events/s, paho from memory {told['paho_per_s']:7.0f}")
    print(f"  ratio {told['drain_ratio']:.2f} ({spread('drain_ratio')}); at least {LEAST_DRAIN} is promised")
    print(
        f"CPU to send {told['send_us']:.0f} us, paho {told['paho_us']:.0f} us; to put on disk {told['put_us']:.0f} us"
    )
    print(f"  ratio {told['cpu_ratio']:.2f} ({spread('cpu_ratio')}); at most {MOST_CPU} is promised")
    print(f"  with putting it on disk {told['cpu_ratio_with_put']:.2f} ({spread('cpu_ratio_with_put')})")


if __name__ == "__main__":
    sys.exit(main())
