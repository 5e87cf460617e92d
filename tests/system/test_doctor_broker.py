"""The doctor's way to the broker, against a real mosquitto: each fault is named at its stage, with what to do."""

import os
from pathlib import Path
from typing import Any

import pytest

from appliance.config import MessagingSettings
from appliance.core.checkup import CheckState, Outcome
from appliance.core.message import Message
from appliance.messaging import path
from appliance.messaging.glance import check_outbox
from appliance.messaging.stages import STAGES, BrokerStages
from tests.simulators.authority import WRONG, Authority, Pair
from tests.simulators.broker import Mosquitto, free_port
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.scripted_broker import ScriptedBroker

NOBODY = 65534
# paho leaves the socket of a failed handshake to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def look(broker: str, *patterns: str, is_guest: bool = False, **settings: Any) -> dict[str, Outcome]:
    """Give what the doctor sees at each stage."""
    asked = MessagingSettings.model_validate({"broker": broker, **settings})
    outcomes = BrokerStages("dev", asked, patterns, is_guest=is_guest).look()
    assert [outcome.id for outcome in outcomes] == list(STAGES)
    assert all(outcome.fix for outcome in outcomes if outcome.state is CheckState.FAILED)
    return {outcome.id: outcome for outcome in outcomes}


def failed_at(outcomes: dict[str, Outcome], stage: str, words: str) -> Outcome:
    """See that everything before a stage is well, and nothing behind it was looked at; give the stage's outcome."""
    states = [outcomes[each].state for each in STAGES]
    at = STAGES.index(stage)
    assert CheckState.FAILED not in states[:at]
    assert states[at] is CheckState.FAILED, outcomes[stage]
    assert words in outcomes[stage].seen
    assert set(states[at + 1 :]) <= {CheckState.SKIPPED}
    return outcomes[stage]


def listen(mosquitto: Mosquitto, pair: Pair, *lines: str) -> str:
    """Have the broker speak TLS with this certificate; give its address."""
    mosquitto.configure(listener=(f"certfile {pair.certificate}", f"keyfile {pair.key}", *lines))
    mosquitto.start()
    return f"mqtts://localhost:{mosquitto.port}"


def secret(tmp_path: Path, word: str) -> dict[str, str]:
    file = tmp_path / "password"
    file.write_text(f"{word}\n")
    file.chmod(0o600)
    return {"file": str(file)}


def test_a_broker_that_is_well_is_well_at_every_stage(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    outcomes = look(mosquitto.url, "edgecam/dev/cmd/+/+")
    assert {stage for stage, outcome in outcomes.items() if outcome.state is not CheckState.OK} == {"broker.tls"}
    assert "not encrypted" in outcomes["broker.tls"].seen
    assert "MQTT 5" in outcomes["broker.mqtt"].seen
    assert "edgecam/dev/doctor" in outcomes["broker.publish"].seen


def test_a_name_that_nobody_knows_is_told() -> None:
    told = failed_at(look("mqtt://broker.invalid"), "broker.name", "its name is not known")
    assert "name server" in told.fix


def test_a_port_on_which_nobody_listens_is_told() -> None:
    told = failed_at(look(f"mqtt://127.0.0.1:{free_port()}"), "broker.tcp", "connection refused")
    assert "start the broker" in told.fix


def test_tls_tells_for_whom_the_certificate_is_and_until_when(mosquitto: Mosquitto, authority: Authority) -> None:
    url = listen(mosquitto, authority.issue("broker", hosts="DNS:localhost", days=90))
    outcomes = look(url, tls={"ca_file": str(authority.certificate)})
    assert outcomes["broker.tls"].state is CheckState.OK
    assert "for localhost, valid" in outcomes["broker.tls"].seen
    assert outcomes["broker.publish"].state is CheckState.OK


def test_a_certificate_that_soon_ends_is_a_warning(mosquitto: Mosquitto, authority: Authority) -> None:
    url = listen(mosquitto, authority.issue("broker", hosts="DNS:localhost", days=5))
    outcomes = look(url, tls={"ca_file": str(authority.certificate)})
    assert outcomes["broker.tls"].state is CheckState.WARNING
    assert "days are left" in outcomes["broker.tls"].seen
    assert outcomes["broker.mqtt"].state is CheckState.OK


@WRONG
def test_a_wrong_certificate_is_told_with_what_it_says_of_itself(
    mosquitto: Mosquitto, authority: Authority, *, hosts: str, days: int, begin: int, words: str, fix: str
) -> None:
    url = listen(mosquitto, authority.issue("broker", hosts=hosts, days=days, begin=begin))
    told = failed_at(look(url, tls={"ca_file": str(authority.certificate)}), "broker.tls", words)
    assert f"it is for {hosts.removeprefix('DNS:')}, valid 20" in told.seen
    assert fix in told.fix


def test_the_wrong_authority_is_told(mosquitto: Mosquitto, authority: Authority, tmp_path: Path) -> None:
    url = listen(mosquitto, authority.issue("broker", hosts="DNS:localhost"))
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "Other authority")
    told = failed_at(look(url, tls={"ca_file": str(other.certificate)}), "broker.tls", "is not trusted")
    assert "for localhost" in told.seen
    assert "ca_file" in told.fix


def test_a_broker_without_tls_is_told(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    told = failed_at(look(f"mqtts://127.0.0.1:{mosquitto.port}"), "broker.tls", "no TLS")
    assert "mqtts://" in told.fix


def test_a_certificate_that_the_broker_wants_and_does_not_get_is_told(
    mosquitto: Mosquitto, authority: Authority
) -> None:
    pair = authority.issue("broker", hosts="DNS:localhost")
    url = listen(mosquitto, pair, f"cafile {authority.certificate}", "require_certificate true")
    told = failed_at(
        look(url, tls={"ca_file": str(authority.certificate)}), "broker.tls", "wants a certificate of this device"
    )
    assert "cert_file" in told.fix


def test_a_wrong_password_is_told_at_connect(mosquitto: Mosquitto, tmp_path: Path) -> None:
    users = tmp_path / "users"
    mosquitto.add_user(users, "door", "right")
    mosquitto.configure("allow_anonymous false", f"password_file {users}")
    mosquitto.start()
    outcomes = look(mosquitto.url, username="door", password=secret(tmp_path, "wrong"))
    assert outcomes["broker.credentials"].seen == "a user name and a password to show"
    told = failed_at(outcomes, "broker.mqtt", "user name or password is wrong")
    assert "[messaging] username and password" in told.fix


def test_a_password_that_is_not_there_is_told_without_it(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    told = failed_at(
        look(mosquitto.url, username="door", password={"file": str(tmp_path / "none")}), "broker.credentials", "none"
    )
    assert "messaging.password" in told.seen


def test_what_this_user_may_not_read_is_skipped_with_how_to_run_it(mosquitto: Mosquitto, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming a user who may not read a secret needs root")
    mosquitto.start()
    password = secret(tmp_path, "right")
    (tmp_path / "state").mkdir(mode=0o700)
    look(mosquitto.url, username="door", password=password)  # loads all that another user may not even load
    os.seteuid(NOBODY)
    try:
        told = look(mosquitto.url, username="door", password=password)["broker.credentials"]
        outbox = check_outbox(tmp_path / "state")
    finally:
        os.seteuid(0)
    for outcome in (told, outbox):
        assert outcome.state is CheckState.SKIPPED
        assert "Permission denied" in outcome.seen
        assert "sudo edgecam doctor" in outcome.fix


def test_what_may_not_be_published_is_told_with_the_right_that_is_missing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    rights = tmp_path / "rights"
    rights.write_text("topic write edgecam/dev/#\n")
    mosquitto.configure(f"acl_file {rights}")
    mosquitto.start()
    outcomes = look(mosquitto.url, "edgecam/dev/cmd/+/+")
    assert outcomes["broker.publish"].state is CheckState.OK
    rights.write_text("topic read edgecam/dev/#\n")
    mosquitto.stop()
    mosquitto.start()
    outcomes = look(mosquitto.url, "edgecam/dev/cmd/+/+")
    assert outcomes["broker.publish"].state is CheckState.FAILED
    assert "not allowed to publish" in outcomes["broker.publish"].seen
    assert "edgecam/dev/" in outcomes["broker.publish"].fix


def test_what_may_not_be_read_is_told_and_the_message_that_is_tried_is_empty_and_not_kept() -> None:
    with ScriptedBroker() as broker:
        broker.granted = 0x87
        told = failed_at(look(broker.url, "edgecam/dev/cmd/+/+"), "broker.subscribe", "not allowed to subscribe")
        assert "edgecam/dev/cmd/+/+" in told.fix
        (published,) = broker.published
    assert (published.topic, published.payload, published.qos) == ("edgecam/dev/doctor", b"", 1)


@pytest.mark.parametrize(("code", "words"), [(0x8A, "banned"), (0x85, "client id"), (0x89, "busy")])
def test_the_brokers_reason_code_is_told_in_words(code: int, words: str) -> None:
    with ScriptedBroker(code=code) as broker:
        failed_at(look(broker.url), "broker.mqtt", words)


def test_a_guest_throws_nobody_out_and_leaves_nothing_behind(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    with Device(tmp_path, mosquitto.url, start_spread=0.0) as device:
        wait_until(lambda: device.messaging.figures()["connected"], "the device is connected")
        before = device.messaging.figures()
        assert look(mosquitto.url, is_guest=True)["broker.publish"].state is CheckState.OK
        device.messaging.publish(Message("door/status"))
        wait_until(device.messaging.is_drained, "what is published after it arrives")
        after = device.messaging.figures()
    assert (after["connects"], after["takeovers"]) == (before["connects"], before["takeovers"])


def test_a_certificate_is_shown_with_nothing_that_a_terminal_obeys() -> None:
    told = {
        "notBefore": "Jan  1 00:00:00 2026 GMT",
        "notAfter": "Jan  1 00:00:00 2027 GMT",
        "subjectAltName": [("DNS", "evil\x1b[31m")] * 9,
    }
    certificate = path.read_certificate(told)
    assert certificate is not None
    assert "\x1b" not in str(certificate)
    assert "5 more" in str(certificate)
