"""Certificates and passwords against a real mosquitto: wrong in every way, and replaced while the link is up."""

import threading
from pathlib import Path

import pytest

from appliance.core.health import HealthState
from tests.simulators.authority import WRONG, Authority, Pair
from tests.simulators.broker import Mosquitto, free_port
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.subscriber import Subscriber

# paho leaves the socket of a failed handshake to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def listen(mosquitto: Mosquitto, pair: Pair, *lines: str, plain: int = 0) -> str:
    """Have the broker speak TLS with this certificate, and none on the port `plain`; give its address."""
    more = (f"listener {plain} 127.0.0.1",) if plain else ()
    mosquitto.configure(*more, listener=(f"certfile {pair.certificate}", f"keyfile {pair.key}", *lines))
    mosquitto.start()
    return f"mqtts://localhost:{mosquitto.port}"


def replace(file: Path, content: bytes) -> None:
    """Replace a file as a careful tool does: another one takes its place."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.rename(file)


def told(device: Device, component: str, words: str) -> None:
    wait_until(lambda: (found := device.finding(component)) and words in found.what, f"told: {words}", 30.0)


@WRONG
def test_each_way_in_which_the_brokers_certificate_is_wrong_is_named(
    mosquitto: Mosquitto,
    authority: Authority,
    tmp_path: Path,
    *,
    hosts: str,
    days: int,
    begin: int,
    words: str,
    fix: str,
) -> None:
    url = listen(mosquitto, authority.issue("broker", hosts=hosts, days=days, begin=begin))
    with Device(tmp_path, url, tls={"ca_file": str(authority.certificate)}) as device:
        told(device, "broker", words)
        finding = device.finding("broker")
        assert finding is not None
        assert fix in finding.fix


def test_a_broker_of_another_authority_is_not_trusted_unless_checking_is_off_which_is_said_loudly(
    mosquitto: Mosquitto, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "Another authority")
    url = listen(mosquitto, authority.issue("broker", hosts="DNS:localhost"))
    with Device(tmp_path / "one", url, tls={"ca_file": str(other.certificate)}) as device:
        told(device, "broker", "certificate is not trusted")
        assert not device.figure("connects")
    with Device(tmp_path / "two", url, tls={"verify": False}) as device:
        wait_until(lambda: device.figure("connected"), "connected all the same")
        finding = device.finding("tls")
        assert finding is not None
        assert finding.state is HealthState.DEGRADED
        assert "anybody can pose as the broker" in finding.what


def test_a_device_without_its_certificate_is_told_that_the_broker_wants_one_and_with_it_is_taken(
    mosquitto: Mosquitto, authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue("broker", hosts="DNS:localhost")
    plain = free_port()
    url = listen(mosquitto, pair, f"cafile {authority.certificate}", "require_certificate true", plain=plain)
    with Device(tmp_path / "one", url, tls={"ca_file": str(authority.certificate)}) as device:
        told(device, "broker", "wants a certificate of this device")
        finding = device.finding("broker")
        assert finding is not None
        assert "cert_file and key_file" in finding.fix
    mine = authority.issue("device")
    tls = {"ca_file": str(authority.certificate), "cert_file": str(mine.certificate), "key_file": str(mine.key)}
    with Subscriber(plain), Device(tmp_path / "two", url, tls=tls) as device:
        device.send(3)
        device.wait_drained()
    stranger = Authority(tmp_path, "Another authority").issue("stranger")
    tls |= {"cert_file": str(stranger.certificate), "key_file": str(stranger.key)}
    with Device(tmp_path / "three", url, tls=tls) as device:
        told(device, "broker", "does not know who signed this device's certificate")


def test_a_certificate_that_is_replaced_is_shown_within_a_minute_and_a_broken_one_leaves_the_old_in_use(
    mosquitto: Mosquitto, authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue("broker", hosts="DNS:localhost")
    wanted = (f"cafile {authority.certificate}", "require_certificate true", "use_identity_as_username true")
    plain = free_port()
    url = listen(mosquitto, pair, *wanted, plain=plain)
    first, second = authority.issue("first"), authority.issue("second")
    certificate, key = tmp_path / "device.pem", tmp_path / "device.key"
    replace(certificate, first.certificate.read_bytes())
    replace(key, first.key.read_bytes())
    tls = {"ca_file": str(authority.certificate), "cert_file": str(certificate), "key_file": str(key)}
    with Subscriber(plain), Device(tmp_path / "state", url, tls=tls) as device:
        wait_until(lambda: "u'first'" in mosquitto.log.read_text(), "the first is shown")
        device.wait_drained()
        replace(certificate, second.certificate.read_bytes())
        told(device, "credentials", "does not belong to cert_file")
        assert device.figure("connected")
        assert device.figure("connects") == 1, "half of a pair is no reason to hang up"
        replace(key, second.key.read_bytes())
        wait_until(lambda: "u'second'" in mosquitto.log.read_text(), "the second is shown", 60.0)
        device.send(1)
        device.wait_drained()
        wait_until(
            lambda: (found := device.finding("credentials")) and found.state is HealthState.OK, "nothing to complain of"
        )
        assert device.figure("connects") == 2


def test_a_password_that_is_replaced_is_used_within_a_minute_and_until_it_works_the_old_one_is(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    users, secret = tmp_path / "broker" / "users", tmp_path / "password"
    mosquitto.add_user(users, "camera", "old")
    mosquitto.configure("allow_anonymous false", f"password_file {users}")
    mosquitto.start()
    replace(secret, b"old\n")
    with (
        Subscriber(mosquitto.port, username="camera", password="old"),
        Device(tmp_path / "state", mosquitto.url, username="camera", password={"file": str(secret)}) as device,
    ):
        device.wait_drained()
        replace(secret, b"new\n")
        told(device, "credentials", "user name or password is wrong")
        wait_until(lambda: device.figure("connected"), "connected with the old one")
        device.send(1)
        device.wait_drained()
        assert device.figure("acknowledged") == 1
        users.unlink()
        mosquitto.add_user(users, "camera", "new")
        mosquitto.reload()
        connects = device.figure("connects")
        replace(secret, b"new\n")
        wait_until(lambda: device.figure("connects") > connects, "connected anew", 60.0)
        wait_until(
            lambda: (found := device.finding("credentials")) and found.state is HealthState.OK, "nothing to complain of"
        )
        device.send(1)
        device.wait_drained()


def test_a_password_that_is_corrected_ends_the_wait(mosquitto: Mosquitto, tmp_path: Path) -> None:
    users, secret = tmp_path / "broker" / "users", tmp_path / "password"
    mosquitto.add_user(users, "camera", "right")
    mosquitto.configure("allow_anonymous false", f"password_file {users}")
    mosquitto.start()
    replace(secret, b"wrong\n")
    with Device(tmp_path / "state", mosquitto.url, username="camera", password={"file": str(secret)}) as device:
        told(device, "broker", "user name or password is wrong")
        pause = threading.Event()
        pause.wait(0.1)
        replace(secret, b"right\n")
        wait_until(lambda: device.figure("connected"), "connected", 12.0)
