"""What a collector of devices' reports takes: ``python -m tests.bench.collecting [DEVICES]``."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from appliance.updates.state import Compared
from appliance.workbench.collecting.devices import Devices
from tests.simulators.reporting_fleet import Reporter

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HEALTHS = 4


def messages(device: str) -> list[tuple[str, bytes]]:
    """Give what a device says that takes a release and works on for some minutes."""
    cam = Reporter(device)
    cam.begin("a" * 64, "rollout-1")
    cam.end(compared=Compared(frames=500, active=90, candidate=88, both=80))
    for _ in range(HEALTHS):
        cam.health()
        cam.work(60, 300, 1)
    return [(topic, payload) for topic, payload, _ in cam.sent]


def resident_kb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4.096


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    said = [one for number in range(count) for one in messages(f"cam-{number}")]
    devices, before, began = Devices(), resident_kb(), time.process_time()
    for topic, payload in said:
        devices.take(topic, payload, NOW)
    took, kept = time.process_time() - began, resident_kb() - before
    lines = sum(len(one.model_dump_json(by_alias=True, exclude_none=True)) + 1 for one in devices.all())
    print(
        json.dumps(
            {
                "messages": devices.messages,
                "messages_per_cpu_second": round(devices.messages / took),
                "memory_kb_a_device": round(kept / count, 1),
                "bytes_a_line": round(lines / count),
            }
        )
    )


if __name__ == "__main__":
    main()
