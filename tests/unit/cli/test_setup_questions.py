"""What `edgecam setup` asks, and what becomes of the answers."""

import os
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cameras.discover import Found
from appliance.cli.setup_asking import Asking, answers_path
from appliance.cli.setup_questions import ask
from appliance.core.errors import ConfigError, UnavailableError
from appliance.provisioning import Provisioner, Report, check_setup
from tests.simulators.new_device import NewDevice

STREET = Found("synthetic", "synthetic", "a drawn street", is_usable=True, why="")
WEBCAM = Found("v4l2", "/dev/video2", "webcam", is_usable=True, why="")
MODULE = Found("picamera2", "picamera2", "camera module", is_usable=False, why="picamera2 is not installed; do: get it")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd0DjK3Fq2Yp5nq0wmyhR8D0cMpaXBc0Q0vZ1m4nnP me@desk"


def questions(device: NewDevice, answers: Sequence[str], found: Sequence[Found] = (STREET,)) -> tuple[Any, str]:
    """Give what was answered, and what was shown meanwhile."""
    is_kept = Provisioner(device.places, device).is_kept
    with CliRunner().isolation(input="\n".join([*answers, ""])) as (_, told, _both):
        values = ask(Asking(device.places, is_kept), lambda: found, is_quiet=False)
        return values, told.getvalue().decode()


def carried_out(device: NewDevice, values: dict[str, Any]) -> Report:
    provisioner, path = Provisioner(device.places, device), answers_path(device.places)
    asked = check_setup(values, "", path, device.places, provisioner.is_kept)
    return provisioner.carry_out(asked, path, lambda *_: None)


@pytest.mark.parametrize("name", ["raspberrypi", "Jetson-1", "door.lan"])
def test_enter_at_every_question_keeps_what_is_so(device: NewDevice, name: str) -> None:
    device.write("/etc/hostname", f"{name}\n")
    device.places.configuration.write_text('[messaging]\nbroker = "mqtt://b"\n[cameras.yard]\nkind = "synthetic"\n')
    values, said = questions(device, [""] * 6)
    assert values == {}
    assert "Cameras stay as they are: yard" in said
    report = carried_out(device, values)
    assert report.verdict == "done"
    assert not [note for note in report.notes if "asks for nothing" in note]
    assert device.read("/etc/hostname") == f"{name}\n"


def test_a_time_zone_that_no_setup_could_say_stays(device: NewDevice) -> None:
    device.places.at("/etc/localtime").symlink_to("/usr/share/zoneinfo/Nowhere/Gone")
    values, said = questions(device, [""] * 7)
    assert "[Nowhere/Gone]" in said
    assert values == {}


def test_a_machine_without_a_name_gets_the_one_that_is_offered(device: NewDevice) -> None:
    device.places.at("/etc/hostname").unlink()
    values, _ = questions(device, [""] * 7)
    assert values == {"hostname": "edgecam"}


def test_answers_become_what_a_setup_file_would_say(device: NewDevice) -> None:
    device.write("/usr/share/zoneinfo/UTC", "TZif")
    answers = [
        "My Gate",
        "gate",
        "UTC",
        "",
        "home",
        "gb",
        "a wireless secret",
        "mqtts://b.example.org",
        "me",
        "secret 7",
        "1",
        "street",
    ]
    values, said = questions(device, answers)
    asked = check_setup(values, "", Path("the answers"), device.places, lambda _: False)
    assert "1 to 63 of a-z, 0-9 and -" in said  # and asked again
    assert asked.setup.hostname == "gate"
    assert asked.setup.wifi is not None
    assert asked.setup.wifi.country == "GB"
    assert asked.secrets == {"wifi.password": "a wireless secret", "broker.password": "secret 7"}
    assert values["cameras"] == {"street": {"kind": "synthetic"}}
    assert "secret" not in said


def test_an_answer_that_is_not_accepted_is_asked_for_again_and_the_others_are_kept(device: NewDevice) -> None:
    wrong_and_right = {
        "hostname": ("My Gate", "gate"),
        "time zone": ("Europe/Londn", "Europe/London"),
        "key": ("ssh-ed25519 AAAA me", KEY),
        "account": ("john.doe", "john"),
        "network": ("ä" * 17, "home"),
        "country": ("uk", "gb"),
        "password": ("short", "long enough"),
        "broker": ("mqtt://me:secret@host", "mqtt://host"),
        "user": ("n" * 256, "door"),
        "password there": ("bell\a", ""),
        "camera": ("9", "2"),
        "its name": ("Gate", "gate"),
        "its address": ("http://cam", "rtsp://cam/1"),
        "user there": ("n" * 256, "watch"),
        "its password": ("bell\a", "seen by few"),
    }
    values, said = questions(device, [answer for both in wrong_and_right.values() for answer in both])
    assert values == {
        "hostname": "gate",
        "time_zone": "Europe/London",
        "ssh": {"user": "john", "keys": [KEY]},
        "wifi": {"ssid": "home", "country": "GB", "password": "long enough"},
        "broker": {"url": "mqtt://host", "username": "door"},
        "cameras": {
            "gate": {"kind": "rtsp", "url": "rtsp://cam/1", "username": "watch", "password": "seen by few"},
        },
    }
    for why in (
        "did you mean Europe/London?",
        "is no public key",
        "a-z, 0-9, - and _, the first a letter",
        "has 34 bytes",
        "Britain is GB",
        "they go into",
        "broker.username: ",
        "9 is not in the range",
        "cameras.Gate: ",
        "cameras.gate.url: ",
        "cameras.gate.username: ",
        "cameras.gate.password: ",
    ):
        assert why in said
    assert "short" not in said
    assert "seen" not in said


@pytest.mark.parametrize(("caller", "offered"), [("pi", "pi"), ("root", "admin"), ("john.doe", "admin"), ("", "admin")])
def test_the_key_opens_the_account_that_sudo_was_called_from(
    device: NewDevice, monkeypatch: pytest.MonkeyPatch, caller: str, offered: str
) -> None:
    monkeypatch.setenv("SUDO_USER", caller)
    values, said = questions(device, ["", "", KEY, *[""] * 5])
    assert values["ssh"] == {"user": offered, "keys": [KEY]}
    assert "nobody logs in over SSH by password" in said


def test_a_network_camera_and_its_password_are_asked_for(device: NewDevice) -> None:
    answers = [
        *[""] * 6,
        "2",
        "",
        "rtsp://watch:its secret@10.0.0.9/live",
        "rtsp://10.0.0.9/live",
        "watch",
        "its secret",
    ]
    values, said = questions(device, answers)
    assert "both are asked for next" in said
    assert "its secret" not in said.replace("watch:its secret@", "")
    assert carried_out(device, values).verdict == "done"
    camera = tomllib.loads(device.places.configuration.read_text())["cameras"]["door"]
    kept = "/etc/edgecam/secrets/camera-door"
    assert camera == {
        "kind": "rtsp",
        "url": "rtsp://10.0.0.9/live",
        "username": "watch",
        "password": {"file": kept},
    }
    assert device.read(kept) == "its secret\n"


def test_what_is_attached_is_offered_first_and_what_cannot_be_used_says_why(device: NewDevice) -> None:
    values, said = questions(device, [""] * 8, [MODULE, WEBCAM, STREET])
    assert values == {"cameras": {"door": {"kind": "v4l2", "device": "/dev/video2"}}}
    assert "1  webcam (/dev/video2)" in said
    assert "picamera2 is not installed; do: get it" in said
    none, said = questions(device, [*[""] * 6, "0"], [WEBCAM, STREET])
    assert none == {}
    assert "Nothing runs without a camera" in said


def test_a_drawn_street_is_not_taken_for_a_camera_unless_it_is_chosen(device: NewDevice) -> None:
    assert questions(device, [""] * 7)[0] == {}
    assert "cameras" in questions(device, [*[""] * 6, "1", ""])[0]
    asking = Asking(device.places, lambda _: False)
    assert ask(asking, lambda: [STREET], is_quiet=True) == {}
    assert ask(asking, lambda: [WEBCAM, STREET], is_quiet=True)["cameras"]["door"]["device"] == "/dev/video2"


@pytest.mark.parametrize("wrong", ["keepalive = 1", "[cameras]\nyard = 7"])
def test_a_configuration_that_is_broken_already_is_told_before_the_first_question(
    device: NewDevice, wrong: str
) -> None:
    device.places.configuration.write_text(f"[messaging]\n{wrong}\n")
    with pytest.raises(ConfigError, match=r"(?s)correct what is there first, then set up: .*(keepalive|yard)"):
        questions(device, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
@pytest.mark.parametrize("folder_mode", [0o700, 0o755])
def test_who_may_not_look_at_what_is_there_is_told_what_to_do(folder_mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        device = NewDevice(Path(folder))
        Path(folder).chmod(0o755)
        device.places.configuration.write_text('[device]\nid = "door"\n')
        device.places.configuration.chmod(0o600)
        device.places.configuration.parent.chmod(folder_mode)
        os.seteuid(65534)
        try:
            with pytest.raises(UnavailableError, match="members of the group edgecam alone; do: sudo edgecam setup"):
                ask(Asking(device.places, lambda _: False), list, is_quiet=False)
        finally:
            os.seteuid(0)
