"""docs/mqtt.md: its example runs, its examples are valid, and its table of fields is the code's."""

import json
import re
import subprocess
import sys
from pathlib import Path

from appliance.messaging import payloads
from tests.simulators.broker import REPOSITORY, Mosquitto
from tests.simulators.messaging_device import Device, wait_until

PAGE = (REPOSITORY / "docs" / "mqtt.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_example_subscriber_prints_each_message_once_and_that_nothing_is_missing(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    (example,) = blocks("python")
    assert len(example.splitlines()) <= 45
    script = tmp_path / "subscriber.py"
    script.write_text(example)
    mosquitto.start()
    with subprocess.Popen(
        [sys.executable, str(script), "127.0.0.1", str(mosquitto.port), "dev"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        wait_until(
            lambda: "example" in mosquitto.log.read_text() and "SUBACK" in mosquitto.log.read_text(), "subscribed"
        )
        with Device(tmp_path / "state", mosquitto.url) as device:
            assert process.stdout.readline() == "device is online\n"
            device.send(3)
            lines = [process.stdout.readline() for _ in range(3)]
        assert lines == [f"{seq} edgecam/dev/door/events complete\n" for seq in (1, 2, 3)]
        assert process.stdout.readline() == "device is offline\n"
        process.terminate()


def test_the_examples_are_valid_json_with_documented_envelopes() -> None:
    examples = [json.loads(block) for block in blocks("json")]
    assert len(examples) >= 6
    envelope = PAGE.partition("\n## The envelope\n")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", envelope, re.MULTILINE))
    assert documented == payloads.RESERVED | {"model"}
    for example in examples:
        assert example["v"] == payloads.SCHEMA_VERSION
        assert {"boot", "time", "mono_ns", "clock"} <= example.keys()


def test_every_figure_of_messaging_is_documented(tmp_path: Path) -> None:
    with Device(tmp_path, "mqtt://127.0.0.1:1") as device:
        for name in device.messaging.figures():
            assert f"`{name}`" in PAGE
