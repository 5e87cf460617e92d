"""From sixty devices' messages on a real broker to a rollout that is widened, compared, and halted by itself."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from paho.mqtt.client import CallbackAPIVersion, Client

from appliance.core.errors import ModelError
from appliance.updates.refusals import Code
from appliance.updates.state import Compared
from appliance.workbench.publishing import rollouts
from appliance.workbench.rollout import rollout as command
from appliance.workbench.rollout_reports import TOPICS
from tests.simulators.broker import REPOSITORY, Mosquitto
from tests.simulators.messaging_device import wait_until
from tests.simulators.publishing import Fleet, write_model
from tests.simulators.reporting_fleet import Reporter, spread

WORKBENCH = "from appliance.workbench.main import main; main()"
EACH = 30
NAME = "collector"


@contextmanager
def collecting(broker: Mosquitto, save: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    begun = broker.log.read_text().count(f"SUBACK to {NAME}")
    options = ["--broker", broker.url, "--save", str(save), "--name", NAME, "--json", *arguments]
    line = [sys.executable, "-c", WORKBENCH, "rollout", "collect", *options]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY) as one:
        try:
            wait_until(lambda: broker.log.read_text().count(f"SUBACK to {NAME}") > begun, "it is subscribed", 30.0)
            yield one
        finally:
            one.kill()


def ended(collector: "subprocess.Popen[str]") -> dict[str, Any]:
    """End it as Ctrl-C does; give what it says."""
    collector.send_signal(2)
    out, err = collector.communicate(timeout=20)
    assert collector.returncode == 0, err
    told: dict[str, Any] = json.loads(out)
    return told


def known(save: Path) -> dict[str, Any]:
    """Give what a file says of each device; the last line counts."""
    lines = save.read_text().splitlines() if save.is_file() else []
    found = [json.loads(line) for line in lines if line.startswith('{"schema":1,"device"')]
    return {one["device"]: one for one in found}


class Site:
    """A fleet with two releases for two cohorts, and the devices of both."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.fleet = Fleet(folder / "publisher", now=datetime.now(UTC).replace(microsecond=0))
        for number, score in enumerate((0.9, 0.8)):
            self.fleet.add(write_model(folder / str(number) / "mine", f"1.{number}", (score,)))
        self.fleet.publish()
        order = rollouts.Order([("mine", "1.0", ("blue",)), ("mine", "1.1", ("green",))], share_ppm=100_000)
        begun = rollouts.begin(order, rollouts.published_models(self.fleet.repository), "salt", self.fleet.now)
        plan = rollouts.Plan(since=rollouts.moment(self.fleet.now), soak_seconds=0)
        running = rollouts.Running("stable", begun, plan)
        self.rollout = rollouts.write(self.fleet.repository, running, self.fleet.now).rollout
        self.fleet.refresh()
        self.devices = [self._device(cohort, at) for at in range(EACH) for cohort in (0, 1)]
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _device(self, cohort: int, at: int) -> Reporter:
        """Give a device that was brought its release two hours ago, and has worked since."""
        name = f"{('blue', 'green')[cohort]}-{at}"
        cam = Reporter(name, now=datetime.now(UTC) - timedelta(hours=2))
        cam.begin(self.rollout.choose[cohort].sha256, self.rollout.id)
        cam.end(compared=Compared(frames=500, active=100, candidate=100, both=90 - cohort))
        cam.health(p95=spread(at, EACH, 40 + 10 * cohort, 3))
        for _ in range(3):
            cam.work(2000, 20_000, round(spread(at, EACH, 100, 10)))
            cam.health(p95=spread(at, EACH, 40 + 10 * cohort, 3))
        return cam

    def send(self, *devices: Reporter) -> None:
        for one in devices:
            for topic, payload, is_retained in one.sent:
                self._client.publish(topic, payload, 1, is_retained).wait_for_publish(10)
            one.sent.clear()

    def run(self, *arguments: object) -> tuple[int, str]:
        name, *rest = map(str, arguments)
        folder = str(self.fleet.repository.folder)
        done = CliRunner().invoke(command, [name, folder, "stable", "mine", *rest], catch_exceptions=True)
        status = done.exception.exit_code if isinstance(done.exception, ModelError) else done.exit_code
        return status, done.output


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Iterator[Site]:
    site = Site(tmp_path, broker)
    yield site
    site.close()


def test_sixty_devices_are_collected_through_a_kill_and_their_rollout_is_widened_compared_and_halted(
    site: Site, broker: Mosquitto, tmp_path: Path
) -> None:
    save = tmp_path / "reports.jsonl"
    with collecting(broker, save) as first:
        site.send(*site.devices[:EACH])
        wait_until(lambda: len(known(save)) == EACH, "the first half is on disk", 30.0)
        first.kill()
        first.wait(10)
    site.send(*site.devices[EACH:])
    with collecting(broker, save) as second:
        wait_until(lambda: len(known(save)) == 2 * EACH, "all are on disk", 30.0)
        told = ended(second)
    assert (told["devices"], told["unreadable"], told["left_out"]) == (2 * EACH, 0, 0)
    status, out = site.run("auto", "--reports", save, "--json")
    assert (status, json.loads(out)["action"], json.loads(out)["share_ppm"]) == (0, "promote", 500_000), out

    status, out = site.run("compare", "--reports", save, "--json")
    blue, green = json.loads(out)["releases"]
    assert [one["counts"]["committed"] for one in (blue, green)] == [EACH, EACH]
    assert (blue["version"], blue["cohorts"], blue["p95_ms"]["devices"]) == ("1.0", ["blue"], EACH)
    assert blue["agreement"]["value"] == pytest.approx(0.9)
    (apart,) = json.loads(out)["differences"]
    assert apart["p95_ms"]["value"] == pytest.approx(10.0, abs=0.1)
    assert apart["p95_ms"]["low"] > 0
    assert apart["objects_per_hour"]["low"] < 0 < apart["objects_per_hour"]["high"]
    shown = site.run("compare", "--reports", save)[1]
    assert "p95 ms: +10.0" in shown
    assert "objects/h: +0.0" in shown

    failing = site.devices[:8]
    for one in failing:
        one.work(60, 0, 0)
        one.give_up(Code.STARTS)
    site.send(*failing)
    with collecting(broker, save) as third:
        wait_until(lambda: sum("E_STARTS" in json.dumps(one) for one in known(save).values()) == 8, "they came", 30.0)
        ended(third)
    status, out = site.run("auto", "--reports", save)
    assert status == 65
    running = rollouts.read(site.fleet.repository, "stable", "mine")
    assert running.rollout.state == "halted"


def test_a_collector_needs_leave_to_read_three_topics_and_no_more(mosquitto: Mosquitto, tmp_path: Path) -> None:
    users, access, password = tmp_path / "broker" / "users", tmp_path / "broker" / "acl", tmp_path / "password"
    mosquitto.add_user(users, "fleet", "right")
    leave = "".join(f"topic read {topic}\n" for topic in TOPICS)
    access.write_text(f"topic readwrite #\nuser fleet\n{leave}")
    mosquitto.configure("allow_anonymous true", f"password_file {users}", f"acl_file {access}")
    mosquitto.start()
    cam, client = Reporter("cam", now=datetime.now(UTC)), Client(CallbackAPIVersion.VERSION2)
    cam.tell()
    cam.health()
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    for topic, payload, is_retained in cam.sent:
        client.publish(topic, payload, 1, is_retained).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()
    line = [sys.executable, "-c", WORKBENCH, "rollout", "collect", "--broker", mosquitto.url, "--json"]
    line += ["--save", str(tmp_path / "r"), "--seconds", "2", "--username", "fleet", "--password-file", str(password)]
    password.touch(0o600)
    for secret, status in (("wrong", 69), ("right", 0)):
        password.write_text(f"{secret}\n")
        done = subprocess.run(line, capture_output=True, text=True, cwd=REPOSITORY, check=False)
        assert done.returncode == status, done.stderr
        assert secret not in done.stdout + done.stderr
    assert json.loads(done.stdout)["devices"] == 1
    assert known(tmp_path / "r")["cam"]["in_service"] == "factory"


def test_a_broker_without_devices_and_no_broker_are_told_with_what_to_do(broker: Mosquitto, tmp_path: Path) -> None:
    line = [sys.executable, "-c", WORKBENCH, "rollout", "collect", "--save", str(tmp_path / "r"), "--seconds", "0.3"]
    nobody = subprocess.run(
        [*line, "--broker", broker.url], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert nobody.returncode == 69
    assert "no device was heard of" in nobody.stderr
    broker.stop()
    gone = subprocess.run([*line, "--broker", broker.url], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert gone.returncode == 69
    assert "no broker at" in gone.stderr
