"""`edgecam doctor` and `edgecam report` as an operator runs them: each fault is named, and no secret leaves."""

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.messaging.stages import STAGES
from tests.simulators.broker import Mosquitto, free_port
from tests.simulators.faked_clock import FakedClock
from tests.simulators.programs import put_program
from tests.system.process import EdgecamProcess

CONFIG = """
[device]
id = "test"
state_dir = "{state_dir}"

[messaging]
broker = "{broker}"
commands = true
reconnect_spread = 0.0
start_spread = 0.0
{messaging}

[cameras.street]
kind = "synthetic"
{more}
"""
SECRETS = {
    "password": "Planted-Password-1",
    "username": "planted-user-2",
    "camera": "Planted-Camera-3",
    "query": "PlantedQuery4",
    "environment": "PlantedEnvironment5",
    "journal": "PlantedJournal6",
    "wifi": "PlantedWifi7",
    "token": "PlantedToken8",
    "failure": "PlantedFailure9",
    "viewer": "planted-viewer-10",
}


def write_config(directory: Path, *, broker: str, messaging: str = "", more: str = "") -> Path:
    path = directory / "edgecam.toml"
    path.write_text(
        CONFIG.format(state_dir=directory / "state", broker=broker, messaging=messaging, more=more), encoding="utf-8"
    )
    return path


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `edgecam` as a command of its own."""
    edgecam = [sys.executable, "-c", "from appliance.cli.main import main; main()", *arguments]
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(edgecam, capture_output=True, text=True, timeout=90, env=variables, check=False)


def looked_at(
    directory: Path, *, environment: Mapping[str, str] | None = None
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Give the doctor's exit status and what it tells, by id; every failure and warning has a fix."""
    places = ["--config", str(directory / "edgecam.toml"), "--socket", str(directory / "edgecam.sock")]
    done = run("doctor", "--json", *places, environment=environment)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    checks = {check["id"]: check for check in told["checks"]}
    assert len(checks) == len(told["checks"]), "an id stands for one outcome"
    assert done.returncode == {"ok": 0, "warning": 1, "failed": 3}[told["state"]]
    assert [check for check in checks.values() if check["state"] in {"warning", "failed"} and not check["fix"]] == []
    assert all("\n" not in check["seen"] + check["fix"] for check in checks.values())
    return done.returncode, checks


def said(check: dict[str, Any]) -> str:
    return f"{check['state']}: {check['seen']} -> {check['fix']}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte where the state is kept."""
    place = tmp_path / "state"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_while_the_daemon_is_down_each_fault_is_named_beside_all_others(tmp_path: Path) -> None:
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"no model at all")
    more = '[cameras.gate]\nkind = "v4l2"\ndevice = "/dev/video99"\n[model]\nuse = "' + str(model) + '"\n'
    write_config(tmp_path, broker=f"mqtt://127.0.0.1:{free_port()}", more=more)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "outbox.db.corrupt-1").touch()
    clock = FakedClock(tmp_path, wrong_s=0.0, synced=False)
    status, checks = looked_at(tmp_path, environment=clock.environment)
    assert status == 3
    for name, words in {
        "daemon": "failed: no daemon answers",
        "config": "ok: ",
        "camera.street": "ok: a frame of 1280x720",
        "camera.gate": "failed: [cameras.gate] device: there is no camera at /dev/video99",
        "runtime": f"failed: {model}",
        "broker.tcp": "connection refused -> start the broker",
        "clock": "warning: ",
        "outbox": "warning: a corrupt one was put aside as outbox.db.corrupt-1",
    }.items():
        assert words in said(checks[name]), name
    assert "not synchronised" in checks["clock"]["seen"]
    assert {checks[stage]["state"] for stage in STAGES[2:]} == {"skipped"}


def test_a_full_disk_a_clock_that_is_years_off_and_a_model_that_is_not_there_are_named(
    tmp_path: Path, small_disk: Path
) -> None:
    write_config(tmp_path, broker="none", more='[model]\nuse = "/none/model.onnx"\n')
    (small_disk / "ballast").write_bytes(bytes(1 << 20))
    clock = FakedClock(tmp_path, wrong_s=-40 * 365.25 * 86400.0, synced=False)
    status, checks = looked_at(tmp_path, environment=clock.environment)
    assert status == 3
    assert f"failed: full: 0 of 1 MB free at {small_disk}" in said(checks["disk"])
    assert "failed: 1986-" in said(checks["clock"])
    assert "failed: [model] use: cannot read /none/model.onnx: No such file" in said(checks["model"])
    assert "skipped: [messaging] broker is none" in said(checks["broker"])


def test_of_a_configuration_that_is_refused_every_mistake_is_told_and_the_rest_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "edgecam.toml").write_text('[cameras.door]\nkind = "picam"\n[messaging]\nkeepalive = 0\n')
    status, checks = looked_at(tmp_path)
    assert status == 3
    assert checks["config"]["state"] == "failed"
    assert "picam" in checks["config"]["seen"]
    assert "keepalive" in checks["config"]["seen"]
    assert "edgecam config check" in checks["config"]["fix"]
    assert {checks[name]["state"] for name in ("camera", "model", "runtime", "broker")} == {"skipped"}
    shown = run("doctor", "--config", str(tmp_path / "edgecam.toml"), "--socket", str(tmp_path / "none.sock"))
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["config", "failed"] in [line[:2] for line in lines], "people see a table"
    assert ["->", "edgecam", "config", "check"] in lines
    assert lines[-1][-1] == "failed", "and a sum at its end"


def test_a_daemon_that_is_well_is_well_in_everything_that_is_its_own_and_a_hung_one_is_told(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    edgecam = EdgecamProcess(tmp_path)
    write_config(tmp_path, broker=mosquitto.url)
    with edgecam:
        edgecam.wait_for_status(
            lambda status: status["messaging"]["connected"] and status["cameras"]["street"]["state"] == "online",
            within=40,
            what="connected, with frames",
        )
        before = edgecam.status()["messaging"]
        _, checks = looked_at(tmp_path)
        for name in ("daemon", "config", "camera.street", "model", "runtime", "outbox", *STAGES):
            assert checks[name]["state"] == ("skipped" if name == "broker.tls" else "ok"), checks[name]
        assert "frames a second" in checks["camera.street"]["seen"]
        assert "nodes on cpu" in checks["runtime"]["seen"]
        assert "the daemon is connected with MQTT 5" in checks["broker.mqtt"]["seen"]
        after = edgecam.status()["messaging"]
        assert (after["connects"], after["takeovers"]) == (before["connects"], 0)
        os.kill(edgecam.pid, signal.SIGSTOP)
        try:
            status, checks = looked_at(tmp_path)
        finally:
            os.kill(edgecam.pid, signal.SIGCONT)
        assert status == 3
        assert "failed: it runs, but gives no answer" in said(checks["daemon"])
        assert "restart" in checks["daemon"]["fix"]
        assert checks["camera.street"]["state"] == "skipped"
        assert "a guest's client id" in checks["broker.mqtt"]["seen"]
        edgecam.wait_for_status(lambda status: status["messaging"]["connected"], within=20, what="still connected")
        assert edgecam.status()["messaging"]["takeovers"] == 0


def test_a_report_holds_what_helps_and_none_of_the_secrets_that_lie_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("password", "username", "camera"):
        (tmp_path / name).write_text(f"{SECRETS[name]}\n")
        (tmp_path / name).chmod(0o600)
    messaging = f'password = {{ file = "{tmp_path}/password" }}\nusername_from = {{ file = "{tmp_path}/username" }}'
    more = (
        f'[cameras.gate]\nkind = "rtsp"\nurl = "rtsp://127.0.0.1:1/user=x&password={SECRETS["query"]}"\n'
        f'username = "{SECRETS["viewer"]}"\npassword = {{ file = "{tmp_path}/camera" }}\nopen_timeout = 0.5\n'
        f'[cameras.yard]\nkind = "rtsp"\nurl = "rtsp://127.0.0.1:1/s?token={SECRETS["query"]}"\nopen_timeout = 0.5\n'
    )
    write_config(tmp_path, broker="mqtt://127.0.0.1:1", messaging=messaging, more=more)
    journal = [
        "2026-11-22T20:00:00.000000+0000 porch edgecam[7]: the broker does not answer",
        f"connecting to mqtt://door:{SECRETS['journal']}@broker.local",
        f"said {SECRETS['password']} and {SECRETS['camera']} for {SECRETS['username']}",
        f"user {SECRETS['viewer']} was not let in",
        f'wpa_supplicant: psk="{SECRETS["wifi"]}"',
        f"Authorization: Bearer {SECRETS['token']}",
    ]
    put_program(monkeypatch, tmp_path, "journalctl", "\n".join([*journal, ""]))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "failures.jsonl").write_text(
        json.dumps({"result": "exit-code", "said": [f"password={SECRETS['failure']}"]}) + "\n"
    )
    report = tmp_path / "edgecam-report.tar.gz"
    places = ["--config", str(tmp_path / "edgecam.toml"), "--socket", str(tmp_path / "edgecam.sock")]
    environment = {"EDGECAM_MQTT_PASSWORD": SECRETS["environment"]}
    done = run("report", "--output", str(report), *places, environment=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("journal.txt") < done.stdout.index(str(report)), "what is in it is listed first"
    with tarfile.open(report) as archive:
        files = {entry.name.rpartition("/")[2]: archive.extractfile(entry) for entry in archive}
        texts = {name: file.read().decode() for name, file in files.items() if file is not None}
    whole = "\n".join([*texts.values(), done.stdout, done.stderr])
    assert [name for name, secret in SECRETS.items() if secret in whole] == []
    assert "the broker does not answer" in texts["journal.txt"]
    assert str(tmp_path / "password") in texts["configuration.json"], "where a secret is kept helps"
    assert json.loads(texts["doctor.json"])["state"] == "failed"
    assert "numpy" in json.loads(texts["machine.json"])["packages"]
    assert "exit-code" in texts["failures.jsonl"]
    assert report.stat().st_mode & 0o777 == 0o600
    again = run("report", "--output", str(report), *places)
    assert again.returncode == 2
    assert "is there already" in again.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="sudo runs it as root: needs root")
def test_a_report_that_sudo_has_written_is_for_the_user_who_asked(tmp_path: Path) -> None:
    report, nobodys = tmp_path / "report.tar.gz", tmp_path / "other.tar.gz"
    write_config(tmp_path, broker="none")
    places = ["--config", str(tmp_path / "edgecam.toml"), "--socket", str(tmp_path / "edgecam.sock")]
    for file, user in ((report, "1234"), (nobodys, "-1")):
        done = run("report", "--output", str(file), *places, environment={"SUDO_UID": user, "SUDO_GID": "1235"})
        assert done.returncode == 0, done.stderr
    found = report.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 1235, 0o600)
    assert nobodys.stat().st_uid == 0
