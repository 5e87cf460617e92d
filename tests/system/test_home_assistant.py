"""A whole daemon and a whole Home Assistant, with a real broker between them."""

import json
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.shared_data import needs
from tests.simulators.broker import Mosquitto, free_port
from tests.simulators.home_assistant import PYTHON, needs_home_assistant
from tests.simulators.subscriber import Subscriber
from tests.system.hall import NEEDS, hall
from tests.system.process import EdgecamProcess, wait_for

LIVE = Path(__file__).parents[1] / "simulators" / "home_assistant_live.py"
pytestmark = [needs_home_assistant, *NEEDS]
MESSAGING = """commands = true
pictures = true
[messaging.homeassistant]
enabled = HOME"""
LABELS = 'labels = ["person", "vehicle"]'


class HomeAssistant:
    """A running Home Assistant.

    Args:
        port: The broker's port on loopback.
        errors: Where its log goes.
    """

    def __init__(self, port: int, errors: Path) -> None:
        self.states: dict[str, Any] = {}
        self.events: list[str] = []
        self._errors = errors.open("wb")
        self._process = subprocess.Popen(
            [PYTHON, "-c", LIVE.read_text(), str(port), str(free_port())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._thread.join(10)
            self._errors.close()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def call(self, domain: str, service: str, **data: Any) -> None:
        """Call a service."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"domain": domain, "service": service, "data": data}) + "\n")
        self._process.stdin.flush()

    def state(self, entity: str) -> str:
        """Give an entity's state; empty when there is none."""
        found: str = self.states.get(entity, {}).get("state", "")
        return found

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self.states = json.loads(line)
                self.events.append(self.states.get("event.test_hall_event", {}).get("event_type", ""))


def command_the_hall(home: HomeAssistant) -> None:
    """Press and turn everything that there is."""
    switch, number = "switch.test_hall_detection", "number.test_hall_threshold"
    wait_for(lambda: home.state(switch) == "on", 10, "the switch")
    home.call("switch", "turn_off", entity_id=switch)
    wait_for(lambda: home.state(switch) == "off", 10, "the device said that it is off")
    wait_for(lambda: home.state("binary_sensor.test_hall_occupied") == "off", 10, "nothing is in sight")
    home.call("switch", "turn_on", entity_id=switch)
    wait_for(lambda: home.state(switch) == "on", 10, "the device said that it is on")
    home.call("number", "set_value", entity_id=number, value=0.6)
    wait_for(lambda: home.state(number) == "0.6", 10, "the device said that it looks so")
    home.call("button", "press", entity_id="button.test_hall_snapshot")
    wait_for(lambda: home.state("image.test_hall_picture").startswith("20"), 10, "a picture of now")


def test_home_assistant_shows_what_the_device_sees_and_forgets_it_when_it_is_told_to(
    tmp_path: Path, broker: Mosquitto
) -> None:
    def config(home: str) -> str:
        return hall(broker, MESSAGING.replace("HOME", home), LABELS, pace="real-time")

    log = tmp_path / "log"
    with HomeAssistant(broker.port, log) as home:
        with EdgecamProcess(tmp_path, config=config("true")) as edgecam:
            wait_for(lambda: home.state("binary_sensor.test_hall_person") == "on", 60, "somebody in the hall")
            wait_for(lambda: home.state("sensor.test_hall_person_count").isdigit(), 10, "how many")
            wait_for(lambda: float(home.state("sensor.test_hall_frame_rate") or 0) > 1, 30, "a frame rate")
            wait_for(lambda: {"start", "end"} <= set(home.events), 60, "events")
            assert home.state("binary_sensor.test_problem") == "off"
            assert home.state("sensor.test_model") == "fastestdet"
            assert home.states["event.test_hall_event"]["label"]
            wait_for(lambda: home.state("binary_sensor.test_hall_floor_person"), 10, "the zone")
            command_the_hall(home)
            with Subscriber(broker.port, pattern="homeassistant/#") as listener, HomeAssistant(broker.port, log):
                wait_for(lambda: b"online" in listener.at("homeassistant/status"), 30, "a birth")
                wait_for(
                    lambda: len(listener.at("homeassistant/device/edgecam-test/config")) > 1, 20, "discovery again"
                )
            assert edgecam.stop() == 0
            wait_for(lambda: home.state("binary_sensor.test_hall_person") == "unavailable", 10, "it is away")
        with EdgecamProcess(tmp_path, config=config("false")) as edgecam:
            wait_for(lambda: not [one for one in home.states if "test_hall" in one], 30, "nothing of the device")
            assert edgecam.stop() == 0
    assert "homeassistant.components.mqtt" not in log.read_text(), "its MQTT integration has nothing to complain of"


@needs("footage/people-detection.preview.mp4")
@pytest.mark.timeout(600)
def test_home_assistant_shows_a_release_that_waits_and_installs_it(tmp_path: Path, broker: Mosquitto) -> None:
    pytest.importorskip("tuf", reason="needs tuf: make setup")
    from tests.simulators.fleet import Fleet, served
    from tests.system.fleet_waiting import FACTORY, HINT, VERSION, daemon, publish

    log, entity, fleet = tmp_path / "log", "update.test_model", Fleet(tmp_path / "fleet")
    versions = ("state", "installed_version", "latest_version")

    def shown(*names: str) -> tuple[Any, ...]:
        return tuple(home.states.get(entity, {}).get(name) for name in names)

    with (
        served(fleet.folder) as web,
        HomeAssistant(broker.port, log) as home,
        daemon(tmp_path, fleet, web, broker) as edgecam,
    ):
        wait_for(lambda: shown(*versions) == ("off", FACTORY, FACTORY), 180, "the factory model")
        publish(tmp_path, fleet)
        with Subscriber(broker.port) as subscriber:
            subscriber.publish(HINT, b'{"timestamp": 1}', retain=True)
            wait_for(lambda: shown(*versions) == ("on", FACTORY, VERSION), 90, "a release that waits for its moment")
        assert shown("in_progress", "title") == (False, "edgecam-nano")
        home.call("update", "install", entity_id=entity)
        wait_for(lambda: shown("in_progress") == (True,), 90, "an update on its way")
        wait_for(lambda: shown(*versions, "in_progress") == ("off", VERSION, VERSION, False), 200, "it is in service")
        home.call("switch", "turn_on", entity_id="switch.test_model_pinned")
        wait_for(lambda: home.state("switch.test_model_pinned") == "on", 20, "the device said that it is pinned")
        assert edgecam.stop() == 0
    assert "homeassistant.components.mqtt" not in log.read_text(), "its MQTT integration has nothing to complain of"
