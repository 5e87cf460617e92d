"""`edgecam doctor`, `logs` and `report` under a real systemd, as an operator runs them over SSH."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.simulators.broker import Mosquitto, free_port
from tests.simulators.faked_clock import FakedClock
from tests.simulators.fleet import Fleet
from tests.simulators.guest import Device, Guest, Network, wait_for
from tests.simulators.ssh import log_in

PASSWORD = "Planted-Password-1"  # noqa: S105 - planted
MODEL = "/usr/lib/edgecam/app/models/edgecam-nano/edgecam-nano-int8.onnx"
SHIM = "/usr/local/lib"  # in the guest
HEAT = {
    "thermal_zone0/type": "cpu-thermal",
    "thermal_zone0/temp": "91000",
    "cooling_device0/type": "cpufreq-cpu0",
    "cooling_device0/cur_state": "2",
}


def doctor(guest: Guest) -> dict[str, dict[str, Any]]:
    """Give what the doctor tells, by id."""
    done = guest.run("edgecam", "doctor", "--json")
    assert done.stderr == ""
    return {check["id"]: check for check in json.loads(done.stdout)["checks"]}


def said(check: dict[str, Any]) -> str:
    return f"{check['state']}: {check['seen']} -> {check['fix']}"


def test_a_service_that_is_well_is_well_and_one_that_crashed_tells_how(device: Device, broker: Mosquitto) -> None:
    broker.start()
    guest = device.guest
    device.start()
    device.watch()
    device.wait_for(lambda now: now["messaging"]["connected"], 30, "the connection")
    checks = doctor(guest)
    for name in ("unit", "daemon", "config", "access", "camera.street", "model", "runtime", "broker.mqtt", "outbox"):
        assert checks[name]["state"] == "ok", checks[name]
    assert "active since" in checks["unit"]["seen"]
    done = guest.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "edgecam", "doctor", "--json")
    others = {check["id"]: check for check in json.loads(done.stdout)["checks"]}
    assert others["unit"]["state"] == "ok"
    for name in ("daemon", "config", "outbox"):
        assert others[name]["state"] == "skipped", others[name]
        assert "sudo" in others[name]["fix"]
    device.drop_in("RestartSec=0.2")
    guest.run("kill", "-SEGV", guest.show("MainPID"), check=True)
    wait_for(lambda: guest.show("NRestarts") == "1" and guest.show("ActiveState") == "active", 40, "the restart")
    assert "warning: " in said(checks := doctor(guest)["unit"])
    assert "started it again once, last: ended by signal SIGSEGV" in checks["seen"]
    lines = guest.run("edgecam", "logs", "--since", "10min").stdout.splitlines()
    assert any(line.endswith("camera=street") and " info " in line for line in lines), lines[-5:]
    assert any("systemd: " in line for line in lines)
    warnings = guest.run("edgecam", "logs", "--level", "warning").stdout
    assert "Main process exited" in warnings
    assert "camera street is online" not in warnings


def test_a_service_that_is_down_tells_why_and_its_credentials_are_tried_all_the_same(
    device: Device, broker: Mosquitto, tmp_path: Path
) -> None:
    guest, users = device.guest, tmp_path / "users"
    broker.add_user(users, "door", PASSWORD)
    broker.configure(
        f"listener {broker_port(device)} {broker_host(device)}", "allow_anonymous false", f"password_file {users}"
    )
    broker.start()
    device.configure("street", messaging='username = "door"\npassword = { credential = "broker-password" }')
    guest.write("/etc/credstore/edgecam.broker-password", f"{PASSWORD}\n")
    guest.run("chmod", "600", "/etc/credstore/edgecam.broker-password", check=True)
    guest.run("systemctl", "reset-failed", "edgecam", check=True)  # it was refused at the boot, without a camera
    checks = doctor(guest)
    assert "failed: inactive: stopped at" in said(checks["unit"])
    assert checks["unit"]["fix"] == "sudo systemctl start edgecam"
    assert "failed: no daemon answers" in said(checks["daemon"])
    for name in ("config", "camera.street", "runtime", "broker.credentials", "broker.mqtt", "broker.publish"):
        assert checks[name]["state"] == "ok", checks[name]
    guest.write("/etc/credstore/edgecam.broker-password", "wrong\n")
    assert "failed: " in said(told := doctor(guest)["broker.mqtt"])
    assert "user name or password is wrong" in told["seen"]
    guest.write("/etc/credstore/edgecam.broker-password", f"{PASSWORD}\n")
    device.start()
    device.wait_for(lambda now: now["messaging"]["connected"], 30, "the connection")
    guest.run("systemd-cat", "--identifier=edgecam", "echo", f"a slip: {PASSWORD}", check=True)
    done = guest.run("edgecam", "report", "--output", "/root/report.tar.gz", check=True)
    assert "journal.txt" in done.stdout
    unpacked = guest.run(
        "tar", "--extract", "--gzip", "--to-stdout", "--file", "/root/report.tar.gz", check=True
    ).stdout
    assert "MainPID" in unpacked
    assert PASSWORD not in unpacked


def test_a_configuration_without_a_camera_is_what_is_named(
    boot: Callable[[], AbstractContextManager[Guest]],
) -> None:
    with boot() as guest:
        wait_for(lambda: guest.show("ActiveState") == "failed", 20, "the refusal")
        checks = doctor(guest)
    assert "exit status 78: the configuration is not accepted -> edgecam config check" in said(checks["unit"])
    assert "has no camera -> add a section [cameras.NAME]" in said(checks["config"])


def test_over_ssh_the_doctor_names_each_fault_with_what_to_do(
    device: Device, network: Network, key: Path, tmp_path: Path
) -> None:
    guest = device.guest
    guest.write("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text())
    guest.run("chmod", "-R", "go=", "/root/.ssh", check=True)
    clock = _break_all(device, Fleet(tmp_path).root.read_text(), f"http://{network.here}:{free_port()}")

    def ask() -> dict[str, dict[str, Any]]:
        shim = [f"{name}={value}" for name, value in clock.items()]
        done = log_in(key, network, "env", *shim, "edgecam", "doctor", "--json", user="root")
        assert done.returncode == 3, done
        return {check["id"]: check for check in json.loads(done.stdout)["checks"]}

    checks = ask()
    for name, words in {
        "unit": "failed: failed at ",
        "camera.gate": "failed: [cameras.gate] device: there is no camera at /dev/video99",
        "runtime": "does so here: provider tensorrt not in ONNX Runtime",
        "broker.tcp": "connection refused -> start the broker",
        "fleet": "cannot be reached: [Errno 111] Connection refused -> mend the clock first",
        "clock": "failed: 1986-",
        "disk": "failed: full: 0 of 1 MB free at /var/lib/edgecam",
        "temperature": "warning: 91 °C (cpu-thermal) -> improve the cooling",
        "throttling": "warning: now: slowed by heat (cpufreq-cpu0) -> improve the cooling",
        "outbox": "warning: a corrupt one was put aside as outbox.db.corrupt-1",
    }.items():
        assert words in said(checks[name]), said(checks[name])
        assert checks[name]["fix"], name
    assert checks["model"]["state"] == checks["camera.street"]["state"] == "ok"
    guest.run("sh", "-c", f"printf x >>{MODEL}", check=True)
    assert "is not the file that its manifest names" in said(told := ask()["model"])
    assert (told["state"], told["fix"]) == ("failed", "copy it again")


def _break_all(device: Device, root: str, fleet: str) -> dict[str, str]:
    """Break what the doctor looks at, the model apart; give the variables of a process that sees a wrong clock."""
    guest = device.guest
    for name, reading in HEAT.items():
        guest.write(f"/root/thermal/{name}", f"{reading}\n")
    guest.run("mount", "--bind", "/root/thermal", "/sys/class/thermal", check=True)
    guest.run("mkdir", "-p", "/var/lib/edgecam", check=True)
    guest.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/var/lib/edgecam", check=True)
    guest.write("/var/lib/edgecam/outbox.db.corrupt-1", "")
    guest.run("dd", "if=/dev/zero", "of=/var/lib/edgecam/ballast", "bs=64k")
    guest.write("/etc/edgecam/fleet-root.json", root)
    device.write(
        "[cameras.street]",
        'kind = "synthetic"',
        "[cameras.gate]",
        'kind = "v4l2"',
        'device = "/dev/video99"',
        "[model]",
        'providers = ["tensorrt"]',
        "[fleet]",
        f'url = "{fleet}"',
        'root = "/etc/edgecam/fleet-root.json"',
    )
    device.drop_in("ExecStart=\nExecStart=/bin/false\nRestart=no")
    assert guest.run("systemctl", "start", "edgecam").returncode != 0
    guest.path(SHIM).mkdir(parents=True, exist_ok=True)
    FakedClock(guest.path(SHIM), wrong_s=-40 * 365.25 * 86400.0, synced=False)
    return {"LD_PRELOAD": f"{SHIM}/clock_shim.so", "CLOCK_SHIM": f"{SHIM}/clock"}


def broker_host(device: Device) -> str:
    return device.broker.rpartition("/")[2].partition(":")[0]


def broker_port(device: Device) -> int:
    return int(device.broker.rpartition(":")[2])
