"""Commands to the real daemon over a real broker, from a client as users write them."""

import json
import queue
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.simulators import tiny_onnx
from tests.simulators.broker import Mosquitto
from tests.simulators.models import write_ladder, yolox_answer
from tests.simulators.subscriber import Subscriber
from tests.system.process import EdgecamProcess, wait_for

ROOT = "edgecam/test/cmd"
CONFIG = """
[model]
use = "stairs"
directories = ["{models}"]
[messaging]
commands = {commands}
pictures = true
[cameras.street]
kind = "synthetic"
fps = 5
"""


class Panel:
    """Sends commands and waits for their answers; one may name the topic of its answer."""

    def __init__(self, port: int) -> None:
        self.answers: queue.Queue[MQTTMessage] = queue.Queue()
        self._client = Client(CallbackAPIVersion.VERSION2, "panel", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = lambda _, __, message: self.answers.put(message)
        self._client.connect("127.0.0.1", port)

    def __enter__(self) -> Self:
        self._client.subscribe([("replies/panel", 1), (f"{ROOT}/+/+/result", 1)])
        self._client.loop_start()
        return self

    def __exit__(self, *error: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def tell(self, command: str, *, retain: bool = False, correlation: bytes | None = None, **fields: Any) -> None:
        properties = None
        if correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic, properties.CorrelationData = "replies/panel", correlation
        payload = json.dumps(fields).encode()
        self._client.publish(f"{ROOT}/{command}", payload, 1, retain, properties).wait_for_publish(10.0)

    def ask(self, command: str, **more: Any) -> dict[str, Any]:
        """Send a command and give its answer."""
        self.tell(command, **more)
        return self.heard()

    def heard(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.answers.get(timeout=60.0).payload)
        return answer


@pytest.fixture
def edgecam(mosquitto: Mosquitto, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EdgecamProcess]:
    """A daemon that sees an object, and a stand-in for systemd that starts nothing again."""
    mosquitto.start()
    sound = tiny_onnx.model({"images": (1, 3, 64, 64)}, {"output": yolox_answer((9, 2, 0.9))})
    write_ladder(tmp_path / "models", sound)
    config = CONFIG.format(models=tmp_path / "models", commands=getattr(request, "param", "true"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with EdgecamProcess(tmp_path, "--broker", mosquitto.url, config=config, environment=environment) as process:
            process.wait_for_status(
                lambda now: now["messaging"]["connected"] and now["cameras"]["street"]["frames_processed"] > 2,
                40,
                "it sees",
            )
            yield process


def test_a_panel_steers_a_camera_and_every_command_is_answered_and_recorded(
    mosquitto: Mosquitto, edgecam: EdgecamProcess
) -> None:
    with Subscriber(mosquitto.port) as subscriber, Panel(mosquitto.port) as panel:
        wait_for(lambda: subscriber.bodies("street/settings"), 10, "what can be commanded")
        panel.tell("detect/a1", camera="street", on=False, correlation=b"\x01\xff")
        answer = panel.answers.get(timeout=20.0)
        assert (answer.topic, answer.retain) == ("replies/panel", False)
        assert answer.properties.CorrelationData == b"\x01\xff"
        body = json.loads(answer.payload)
        assert (body["command"], body["command_id"], body["ok"], body["why"]) == ("detect", "a1", True, "")
        edgecam.wait_for_status(lambda now: not now["cameras"]["street"]["looking"], 10, "it does not look")
        wait_for(lambda: [one for one in subscriber.bodies("/events") if one["type"] == "end"], 10, "the object's end")
        assert subscriber.bodies("street/settings")[-1]["detect"] is False
        assert panel.ask("detect/a1", camera="street", on=False)["repeated"]
        assert panel.ask("detect/a2", camera="street", on=True)["result"]["detect"]
        assert panel.ask("threshold/-", camera="street", min_score=0.7)["result"]["min_score"] == 0.7
        assert "needs camera" in panel.ask("snapshot/-")["why"]
        assert panel.ask("snapshot/s1", camera="street")["ok"]
        (picture,) = wait_for(
            lambda: [payload for topic, payload, _ in list(subscriber.messages) if topic.endswith("street/snapshot")],
            10,
            "the picture",
        )
        assert picture.startswith(b"\xff\xd8")
        assert "golden" in panel.ask("model-check/m1")["why"]
        wait_for(lambda: len(subscriber.bodies("test/audit")) == 5, 10, "records of what was well formed")
        edgecam.wait_for_status(lambda now: now["messaging"]["rows"] == 0, 20, "the broker has all")
        last = max(subscriber.numbers())
        before = len([1 for one in subscriber.bodies("") if isinstance(one, dict) and "seq" in one])
        assert panel.ask("replay/r1", **{"from": 1, "to": last})["result"]["messages"] > 0
        wait_for(
            lambda: (
                len([1 for one in subscriber.bodies("") if isinstance(one, dict) and "seq" in one]) >= before + last
            ),
            30,
            "all of them again",
        )
        wait_for(lambda: subscriber.bodies("test/audit")[-1]["command"] == "replay", 10, "the last record")
        counts = edgecam.status()["messaging"]["commands"]
        assert (counts["performed"], counts["repeated"], counts["refused"]) == (5, 1, 2)
    commanded = [(one["command"], one["ok"]) for one in subscriber.numbered() if "command" in one]
    assert commanded == [
        ("detect", True),
        ("detect", True),
        ("threshold", True),
        ("snapshot", True),
        ("model-check", False),
        ("replay", True),
    ]
    assert "command detect/a1" in edgecam.errors()


def test_a_restart_is_answered_first_and_one_that_is_retained_is_refused(
    mosquitto: Mosquitto, edgecam: EdgecamProcess
) -> None:
    with Panel(mosquitto.port) as panel:
        refused = panel.ask("restart/1", retain=True)
        assert (refused["ok"], "it is retained" in refused["why"]) == (False, True)
        assert edgecam.is_running()
        assert panel.ask("restart/1")["ok"]
        assert edgecam.wait(20.0) == 75
    edgecam.start()
    with Panel(mosquitto.port) as panel:
        assert not panel.heard()["ok"], "the one that the broker keeps comes with the connection"
        assert edgecam.is_running()


@pytest.mark.parametrize("edgecam", ["false"], indirect=True)
def test_a_device_whose_owner_allows_no_commands_does_not_listen(mosquitto: Mosquitto, edgecam: EdgecamProcess) -> None:
    with Panel(mosquitto.port) as panel:
        panel.tell("restart/1")
        panel.tell("detect/1", camera="street", on=False)
        frames = edgecam.status()["cameras"]["street"]["frames_processed"]
        now = edgecam.wait_for_status(
            lambda now: now["cameras"]["street"]["frames_processed"] > frames + 5, 20, "it goes on"
        )
        assert panel.answers.empty()
    assert now["cameras"]["street"]["looking"]
    assert "commands" not in now["messaging"]
