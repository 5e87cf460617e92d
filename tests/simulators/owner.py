"""A setup file that asks for nearly all, a device that it is for, and what is so once it was carried out."""

import json
import stat
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from appliance.config import load_settings
from appliance.provisioning import Provisioner, Report
from tests.simulators.new_device import Cut, Moments, NewDevice

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd0DjK3Fq2Yp5nq0wmyhR8D0cMpaXBc0Q0vZ1m4nnP me@desk"
WIFI, BROKER, CAMERA = "a wireless secret", "the broker secret", "cam #1 secret"
WHOLE = f"""\
# my door
hostname = "door"
time_zone = "Europe/London"

[wifi]
ssid = "home"
country = "GB"
password = "{WIFI}" # from the router

[ssh]
keys = ["{KEY}"]

[broker]
url = "mqtts://broker.example.org"
username = "door"
password = '{BROKER}'
ca_file = "ca.pem"

[cameras.door]
kind = "rtsp"
url = "rtsp://192.0.2.10/stream1"
username = "watch"
password = "{CAMERA}"
"""
ON_THE_CARD = ("edgecam-setup.toml", "edgecam-setup-report.txt", "edgecam-setup-report.json", "ca.pem")
PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


def new_device(root: Path) -> NewDevice:
    device = NewDevice(root, programs=("nmcli", "rfkill", "raspi-config"))
    device.places.at("/etc/NetworkManager").mkdir()
    device.write("/boot/firmware/edgecam-setup.toml", WHOLE)
    device.write("/boot/firmware/ca.pem", PEM)
    return device


def boot(device: NewDevice) -> Report | None:
    return Provisioner(device.places, device).at_boot(lambda *_: None)


def on_the_card(device: NewDevice) -> str:
    return "".join(path.read_text() for path in device.places.boot.iterdir() if path.is_file())


def mode(device: NewDevice, path: str) -> int:
    return stat.S_IMODE(device.places.at(path).stat().st_mode)


def check_set_up(device: NewDevice) -> None:
    """Everything that was asked is so, and no secret is where others could read it."""
    assert device.read("/etc/hostname") == "door\n"
    assert "127.0.1.1\tdoor" in device.read("/etc/hosts")
    assert str(device.places.at("/etc/localtime").readlink()) == "/usr/share/zoneinfo/Europe/London"
    assert device.read("/home/admin/.ssh/authorized_keys").splitlines() == [KEY]
    assert "NOPASSWD" in device.read("/etc/sudoers.d/010-edgecam-admin")
    assert f"psk={WIFI}\n" in device.read("/etc/NetworkManager/system-connections/edgecam.nmconnection")
    assert device.read("/etc/credstore/edgecam.broker-password") == f"{BROKER}\n"
    assert device.read("/etc/edgecam/secrets/camera-door") == f"{CAMERA}\n"
    secret = (
        "/etc/NetworkManager/system-connections/edgecam.nmconnection",
        "/etc/credstore/edgecam.broker-password",
        "/etc/edgecam/secrets/camera-door",
        "/etc/edgecam/tls/device.key",
        "/var/lib/edgecam-setup/plan.json",
    )
    assert {path: mode(device, path) for path in secret} == dict.fromkeys(secret, 0o600)
    settings = load_settings(device.places.configuration)
    identity = json.loads(device.read("/var/lib/edgecam-setup/identity.json"))
    assert settings.device.id == identity["device_id"]
    assert device.read("/etc/edgecam/tls/device.csr").split()[:2] == ["req", f"/CN={identity['device_id']}"]
    assert settings.messaging.broker == "mqtts://broker.example.org"
    assert str(settings.messaging.tls.ca_file) == "/etc/edgecam/tls/ca.pem"
    assert device.read("/etc/edgecam/tls/ca.pem") == PEM
    assert ("systemctl", "--no-block", "restart", "edgecam.service") in device.asked
    kept = device.read("/var/lib/edgecam-setup/plan.json")
    told = device.read("/etc/edgecam/edgecam.toml")
    assert not any(secret in text for secret in (WIFI, BROKER, CAMERA) for text in (on_the_card(device), kept, told))


def cut_boots(
    folder: Path, moments: Moments, *, each: int = 1, prepare: Callable[[NewDevice], object] = lambda _: None
) -> Iterator[tuple[int, NewDevice]]:
    """Give a device for each moment at which the power of its boot is cut, with the moment's number.

    Args:
        folder: Where they are made.
        moments: What cuts.
        each: Only each so many-th moment.
        prepare: What is done with a new one before.
    """
    for number in count(each, each):
        device = new_device(folder / str(number))
        prepare(device)
        moments.arm(device, number)
        try:
            boot(device)
        except Cut:
            moments.disarm()
            yield number, device
        else:
            return
