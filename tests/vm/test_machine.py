"""The real packages on an emulated machine: limits that no container enforces, a camera's driver, a hardware watchdog.

The order counts: all share one boot, and the last test hangs the machine.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.broker import Mosquitto
from tests.simulators.guest import Appliance, wait_for
from tests.simulators.subscriber import Subscriber
from tests.simulators.virtual_machine import HOST, VirtualMachine
from tests.vm.conftest import LADDER, MODEL, SEES, STATE

WITHIN = 900.0  # seconds: the processor is emulated, and may be busy
OPEN = """
import json, os
found = {}
for name in ("/dev/vcio", "/dev/null", "/dev/video0", "/dev/media0", "/dev/dma_heap/system"):
    try:
        os.close(os.open(name, os.O_RDWR if name != "/dev/vcio" else os.O_RDONLY))
        found[name] = ""
    except OSError as error:
        found[name] = os.strerror(error.errno)
open("/var/lib/edgecam/opened.json", "w").write(json.dumps(found))
"""
HOLD = "exec 3</dev/video0; exec sleep infinity"
# threads first: what was taken of memory would be in their way
TAKE = """
import sys, threading, time
from pathlib import Path
told, over, threads = Path("/var/lib/edgecam/taken.json"), threading.Event(), 0
try:
    while threads < 1000:
        threading.Thread(target=over.wait, daemon=True).start()
        threads += 1
except RuntimeError:
    pass
over.set()
began, taken = time.monotonic(), []
while True:
    taken.append(b"x" * (8 << 20))
    told.write_text('{"threads": %d, "mib": %d, "s": %.1f}' % (threads, 8 * len(taken), time.monotonic() - began))
"""
CONTROLLED = "/run/systemd/system.control/edgecam.service.d"  # what `systemctl set-property --runtime` wrote
LITTLE = "24M"  # of memory: the daemon cannot be without four times as much


@pytest.fixture
def appliance(machine: VirtualMachine, broker: Mosquitto) -> Appliance:
    """The appliance with a synthetic camera; nothing runs."""
    machine.run("systemctl", "stop", "edgecam", check=True)
    machine.run("rm", "-rf", "/etc/systemd/system/edgecam.service.d/test.conf", CONTROLLED, check=True)
    machine.run("sh", "-c", "rm -rf /var/lib/edgecam/*", check=True)
    machine.run("systemctl", "daemon-reload", check=True)
    machine.run("systemctl", "reset-failed", "edgecam")
    machine.run("dmesg", "--clear", check=True)
    appliance = Appliance(machine, f"mqtt://{HOST}:{broker.port}")
    _configure(appliance, 'kind = "synthetic"', "width = 320", "height = 240", "fps = 2")
    return appliance


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that is not there yet."""
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def video(machine: VirtualMachine) -> None:
    """A camera by the kernel's driver vivid at /dev/video0."""
    machine.run("modprobe", "vivid", "n_devs=1", "node_types=0x1", check=True)
    wait_for(lambda: machine.run("test", "-e", "/dev/video0").returncode == 0, 120, "/dev/video0")


def _configure(appliance: Appliance, *camera: str) -> None:
    """Write a configuration with one camera."""
    lines = ("[messaging]", f'broker = "{appliance.broker}"', "[cameras.door]", *camera, "")
    appliance.guest.write("/etc/edgecam/edgecam.toml", "\n".join(lines))


def _see_few(appliance: Appliance, *more: str, model: str = MODEL, isolate: str = "auto") -> None:
    """Write a configuration with which the same few objects are seen, each in a message of its own."""
    appliance.guest.write(
        "/etc/edgecam/edgecam.toml",
        "\n".join(
            (
                "[messaging]",
                f'broker = "{appliance.broker}"',
                "[model]",
                f'use = "{model}"',
                f'isolate = "{isolate}"',
                "timeout = 10",
                "open_timeout = 3600",
                "[tracking]",
                "confirm_frames = 1",
                "lost_after = 600",
                "[cameras.door]",
                'kind = "synthetic"',
                "width = 320",
                "height = 240",
                "fps = 2",
                *more,
                "",
            )
        ),
    )


def _watch(appliance: Appliance, more_than: int = 3) -> int:
    """Wait until the camera has given so many frames; the detector may be minutes behind."""
    found = appliance.wait_for(
        lambda now: (
            now["cameras"].get("door", {}).get("state") == "online" and now["cameras"]["door"]["frames"] > more_than
        ),
        WITHIN,
        "frames of the camera",
    )
    return int(found["cameras"]["door"]["frames"])


def _away(now: dict[str, Any]) -> float:
    """Give for how many seconds the camera has been away."""
    found = next(one for one in now["findings"] if one["component"] == "camera:door")
    return 0.0 if found["state"] == "ok" else float(found["for_s"])


def _opened(appliance: Appliance, more: str = "") -> dict[str, str]:
    """Tell what the unit may open: "" or why not."""
    appliance.guest.write("/usr/local/lib/opened.py", OPEN)
    start = "Type=oneshot\nRestart=no\nExecReload=\nExecStart=\nExecStart=/usr/bin/python3 -S /usr/local/lib/opened.py"
    appliance.drop_in(f"{start}\n{more}")
    appliance.start()
    found = json.loads(appliance.guest.run("cat", "/var/lib/edgecam/opened.json", check=True).stdout)
    return dict(found)


def _failures(appliance: Appliance) -> list[dict[str, Any]]:
    """Give what the failure unit wrote down."""
    return [
        json.loads(line) for line in appliance.guest.run("cat", "/var/lib/edgecam/failures.jsonl").stdout.splitlines()
    ]


def _doctor(appliance: Appliance) -> dict[str, dict[str, Any]]:
    """Give what the doctor tells, by id."""
    checks = json.loads(appliance.guest.run("edgecam", "doctor", "--json").stdout)["checks"]
    return {check["id"]: check for check in checks}


def _assert_memory_is_named(appliance: Appliance) -> None:
    """See that the kernel, the failure unit and the doctor say that memory was why, and the doctor what to do."""
    assert "memory cgroup out of memory" in appliance.guest.run("dmesg").stdout.lower()
    wait_for(lambda: "oom-kill" in {one["result"] for one in _failures(appliance)}, WITHIN, "the record")
    unit = _doctor(appliance)["unit"]
    assert unit["state"] == "warning", unit
    assert "started it again once, last: the kernel ended it: out of memory" in unit["seen"], unit
    assert "smaller model" in unit["fix"]


def test_the_unit_is_held_to_its_limits_of_memory_and_tasks(appliance: Appliance) -> None:
    guest = appliance.guest
    guest.write("/usr/local/lib/take.py", TAKE)
    appliance.drop_in(
        "Type=oneshot\nRestart=no\nExecReload=\nExecStart=\nExecStart=/usr/bin/python3 -S /usr/local/lib/take.py"
    )
    total = int(re.findall(r"MemTotal:\s+(\d+) kB", guest.run("cat", "/proc/meminfo").stdout)[0]) << 10
    limit = int(guest.show("MemoryMax"))
    assert 0.55 * total < limit < 0.65 * total
    assert guest.run("systemctl", "start", "edgecam", within=WITHIN).returncode != 0
    taken = json.loads(guest.run("cat", "/var/lib/edgecam/taken.json", check=True).stdout)
    print(f"of {total >> 20} MiB {limit >> 20} allowed: {taken}; {guest.show('Result')}")
    assert 100 < taken["threads"] < 128 == int(guest.show("TasksMax"))
    assert limit - (64 << 20) < taken["mib"] << 20 <= limit
    assert "memory cgroup out of memory" in guest.run("dmesg").stdout.lower()
    wait_for(lambda: "oom-kill" in {one["result"] for one in _failures(appliance)}, WITHIN, "the record")


def test_a_daemon_that_the_kernel_ends_for_its_memory_comes_back_says_so_and_has_lost_nothing(
    appliance: Appliance, away: Mosquitto
) -> None:
    guest, appliance.broker = appliance.guest, f"mqtt://{HOST}:{away.port}"
    _see_few(appliance)
    appliance.drop_in("RestartSec=30")  # time to give the memory back
    appliance.start()
    waited = appliance.wait_for(lambda now: now["messaging"]["rows"] >= len(SEES), WITHIN, "messages that wait")
    limit, before = guest.show("MemoryMax"), guest.show("MainPID")
    guest.run("systemctl", "set-property", "--runtime", "edgecam", f"MemoryMax={LITTLE}", check=True)
    wait_for(lambda: guest.show("SubState") == "auto-restart", WITHIN, "the end of the daemon")
    guest.run("systemctl", "set-property", "--runtime", "edgecam", f"MemoryMax={limit}", check=True)
    wait_for(lambda: guest.show("MainPID") not in {before, "0"}, WITHIN, "another daemon")
    _watch(appliance)
    assert guest.show("NRestarts") == "1"
    _assert_memory_is_named(appliance)
    with Subscriber(away.port, within=None) as subscriber:
        away.start()
        appliance.wait_for(
            lambda now: now["messaging"]["connected"] and now["messaging"]["rows"] == 0, WITHIN, "delivery"
        )
        numbered = subscriber.numbered()
    numbers = {one["seq"] for one in numbered}
    assert len({one["gen"] for one in numbered}) == 1  # the outbox is the one of before
    assert numbers == set(range(1, max(numbers) + 1))
    assert max(numbers) > waited["messaging"]["rows"]


def test_a_model_in_a_process_of_its_own_that_takes_too_much_memory_leaves_the_daemon_alone(
    appliance: Appliance,
) -> None:
    guest = appliance.guest
    _see_few(appliance, model=LADDER, isolate="always")
    appliance.start()
    _watch(appliance)
    found = appliance.wait_for(lambda now: now["cameras"]["door"]["frames_processed"] > 3, WITHIN, "frames looked at")
    assert "memory cgroup out of memory" in guest.run("dmesg").stdout.lower()
    model = next(one for one in found["findings"] if one["component"] == "model")
    assert model["state"] == "degraded", model
    assert guest.show("NRestarts") == "0"


def test_a_model_on_trial_that_takes_the_daemons_memory_is_refused_for_that_and_the_one_before_is_back(
    appliance: Appliance, broker: Mosquitto
) -> None:
    guest = appliance.guest
    _see_few(appliance, "[fleet]", f'url = "http://{HOST}:9/"', 'root = "/etc/edgecam/root.json"', "first = 86400")
    appliance.drop_in("RestartSec=1")
    guest.run("sh", "-c", f"cp -r {STATE}/. /var/lib/edgecam/ && chown -R edgecam: /var/lib/edgecam", check=True)
    with Subscriber(broker.port, "trial") as subscriber:
        guest.run("systemctl", "--no-block", "start", "edgecam", check=True)
        _watch(appliance)
        assert guest.show("NRestarts") == "1"
        ended = wait_for(lambda: subscriber.bodies("/model/events"), WITHIN, "what came of the trial")
    assert [one["code"] for one in ended] == ["E_MEMORY"], ended
    kept = json.loads(guest.run("cat", "/var/lib/edgecam/models/state.json", check=True).stdout)
    assert (kept["update"], kept["active"], [one["code"] for one in kept["blocked"]]) == (None, None, ["E_MEMORY"])
    _assert_memory_is_named(appliance)


@pytest.mark.usefixtures("video")
def test_the_mailbox_of_the_firmware_stays_shut_and_cameras_open(appliance: Appliance) -> None:
    guest = appliance.guest
    # the number of a device that is there, with the rights that the Pi's mailbox has
    number = guest.run("cat", "/sys/class/misc/hw_random/dev", check=True).stdout.strip().split(":")
    guest.run("mknod", "-m", "660", "/dev/vcio", "c", *number, check=True)
    guest.run("chgrp", "video", "/dev/vcio", check=True)
    cameras = dict.fromkeys(("/dev/video0", "/dev/media0", "/dev/dma_heap/system"), "")
    assert _opened(appliance) == {"/dev/vcio": "Operation not permitted", "/dev/null": "", **cameras}
    # it is the unit's policy that shut it, not the rights
    assert _opened(appliance, "DevicePolicy=auto\nDeviceAllow=\n")["/dev/vcio"] == ""


@pytest.mark.usefixtures("video")
def test_a_camera_that_stops_giving_frames_is_noticed_and_taken_up_again(
    appliance: Appliance, broker: Mosquitto
) -> None:
    guest = appliance.guest
    _configure(appliance, 'kind = "v4l2"', 'device = "/dev/video0"', "width = 320", "height = 180", "fps = 5")
    with Subscriber(broker.port, "vivid") as subscriber:
        appliance.start()
        _watch(appliance)
        # vivid comes back when its last user has let go: this one keeps it away
        guest.run("systemd-run", "--unit=holder", "/bin/sh", "-c", HOLD, check=True)
        wait_for(lambda: guest.show("ActiveState", "holder.service") == "active", 60, "the holder")
        guest.run("v4l2-ctl", "--device=/dev/video0", "--set-ctrl=disconnect=1", check=True)
        # longer than a busy processor alone keeps a picture waiting
        gone = appliance.wait_for(lambda now: _away(now) > 30, WITHIN, "the loss")
        assert gone["cameras"]["door"]["why"]
        assert guest.run("test", "-e", "/dev/video0").returncode == 0  # as if nothing had happened
        guest.run("systemctl", "stop", "holder", check=True)
        _watch(appliance, gone["cameras"]["door"]["frames"] + 3)
        wait_for(lambda: subscriber.bodies("/door/status")[-1]["state"] == "online", 60, "the return, told")
        states = [body["state"] for body in subscriber.bodies("/door/status")]
    assert guest.show("NRestarts") == "0"
    assert states[-2:] == ["offline", "online"], states


def test_a_machine_whose_kernel_hangs_is_started_again_by_its_hardware_watchdog(
    appliance: Appliance, machine: VirtualMachine
) -> None:
    identity = machine.run("cat", "/sys/class/watchdog/watchdog0/identity", check=True).stdout
    assert "6300ESB" in identity
    assert machine.run("systemctl", "show", "--property=RuntimeWatchdogUSec", "--value").stdout.strip() == "1min"
    # systemd feeds it: the kernel says so
    assert machine.run("cat", "/sys/class/watchdog/watchdog0/state").stdout.strip() == "active"
    _see_few(appliance)
    machine.run("systemctl", "enable", "edgecam", check=True)
    machine.run("sync", check=True)
    boots = machine.shown().count("initrd: the kernel runs")
    machine.tell_kernel("c")  # a crash: nothing is scheduled from here on
    assert machine.event("WATCHDOG", 600)["data"]["action"] == "reset"
    wait_for(lambda: machine.shown().count("initrd: the kernel runs") > boots, WITHIN, "the next boot")
    machine.wait_until_up()
    _watch(appliance)  # nobody has started it
