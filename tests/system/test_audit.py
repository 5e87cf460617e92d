"""`edgecam-workbench audit` and the example of docs/mqtt.md at a real broker that goes away, and that they agree."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import CallbackAPIVersion, Client
from paho.mqtt.enums import MQTTProtocolVersion

from tests.simulators.broker import REPOSITORY, Mosquitto
from tests.simulators.deliveries import DELIVERIES
from tests.simulators.messaging_device import Device, wait_until

WORKBENCH = "from appliance.workbench.main import main; main()"


@contextmanager
def auditing(broker: Mosquitto, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", WORKBENCH, "audit", "--broker", broker.url, "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY) as one:
        try:
            wait_until(lambda: "SUBACK to edgecam-audit" in broker.log.read_text(), "the audit is subscribed")
            yield one
        finally:
            one.kill()


def verdict(audit: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    """End an audit as Ctrl-C does, and give its exit status and what it says."""
    audit.send_signal(2)
    out, err = audit.communicate(timeout=20)
    assert "Traceback" not in err, err
    assert out, (audit.returncode, err)
    return audit.returncode, json.loads(out)


def subscriptions(broker: Mosquitto) -> int:
    return broker.log.read_text().count("SUBACK to edgecam-audit")


def events_in(saved: Path) -> set[str]:
    """Give the numbers of the events that were saved, whether they came once or again."""
    return set(re.findall(r'/events".*\\"seq\\":(\d+)', saved.read_text()))


def test_an_audit_outlives_the_broker_and_finds_everything(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.keep_sessions(tmp_path)
    mosquitto.start()
    saved = tmp_path / "saved.jsonl"
    with (
        auditing(mosquitto, "--save", str(saved)) as audit,
        Device(tmp_path / "state", mosquitto.url, health_interval=1.0) as device,
    ):
        device.send(50)
        device.wait_drained()
        mosquitto.stop()
        device.send(50)
        mosquitto.start()
        wait_until(lambda: subscriptions(mosquitto) >= 2, "the audit is back", 30.0)
        device.wait_drained(60.0)
        wait_until(lambda: len(events_in(saved)) >= 100, "all have come", 30.0)
        status, told = verdict(audit)
    assert (status, told["complete"], told["reconnects"], told["forgotten"]) == (0, True, 1, 0)
    (account,) = told["accounts"]
    assert (account["first"], account["last"], account["came"]) == (1, 100, 100)


def test_a_named_audit_that_was_away_goes_on_where_it_was(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    saved = tmp_path / "saved.jsonl"
    options = ("--name", "edgecam-audit-test", "--save", str(saved))
    with Device(tmp_path / "state", mosquitto.url) as device:
        with auditing(mosquitto, *options) as audit:
            device.send(20)
            device.wait_drained()
            audit.kill()
        device.send(20)
        device.wait_drained()
        with auditing(mosquitto, *options) as audit:
            wait_until(lambda: subscriptions(mosquitto) == 2, "back")
            device.send(5)
            wait_until(lambda: len(events_in(saved)) == 45, "the last one")
            status, told = verdict(audit)
    assert status == 0
    assert (told["accounts"][0]["first"], told["accounts"][0]["last"], told["accounts"][0]["missing"]) == (1, 45, [])


def test_the_example_and_the_audit_agree_on_every_delivery(mosquitto: Mosquitto, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "mqtt.md").read_text(encoding="utf-8")
    example = tmp_path / "subscriber.py"
    example.write_text(re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[0])
    mosquitto.start()
    publisher = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    publisher.connect("127.0.0.1", mosquitto.port)
    publisher.loop_start()
    command = [sys.executable, str(example), "127.0.0.1", str(mosquitto.port), "dev"]
    saved = tmp_path / "saved.jsonl"
    with (
        auditing(mosquitto, "--save", str(saved)) as audit,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shown,
    ):
        try:
            wait_until(lambda: "SUBACK to example" in mosquitto.log.read_text(), "the example is subscribed")
            said: dict[str, str] = {}
            total = 0
            for number, delivery in enumerate(DELIVERIES):
                gen = f"{number:016x}"
                for topic, payload in delivery.messages:
                    sent = json.loads(payload)
                    sent |= {"gen": gen, "id": f"dev/{gen}/{sent['seq']}"}
                    publisher.publish(f"edgecam/dev/{topic}", json.dumps(sent), qos=1).wait_for_publish(10)
                    total += 1
                assert shown.stdout is not None
                for _ in {payload for _, payload in delivery.messages}:
                    said[gen] = shown.stdout.readline().split(" ", 2)[2].strip()
            wait_until(lambda: len(saved.read_text().splitlines()) == total, "the audit has all")
            status, told = verdict(audit)
        finally:
            shown.kill()
            publisher.loop_stop()
    assert status == 65
    for account, delivery in zip(told["accounts"], DELIVERIES, strict=True):
        numbers = [number for first, last in account["missing"] for number in range(first, last + 1)]
        assert account["missing"] == [list(run) for run in delivery.missing], delivery.name
        assert said[account["gen"]] == (f"missing {numbers}" if numbers else "complete"), delivery.name
