"""Secrets leave no trace in a report, and what helps stays."""

import time

import pytest

from appliance.diagnostics.report.scrubbing import HIDDEN, Scrubber

SECRET = "Tr0ub4dor&3"  # noqa: S105 - planted

PLANTED = [
    f"mqtt://door:{SECRET}@broker.local:1883",
    f"mqtt://door:a@b/{SECRET}@broker.local:1883/x",
    f"rtsp://10.0.0.7/user=admin&password={SECRET}&channel=1",
    f"rtsp://10.0.0.7/stream?token={SECRET}",
    f"https://fleet.example/models?sig={SECRET}#x",
    "rtsp://10.0.0.7/live/Tr0ub4dor3/ch1",
    f"password={SECRET}",
    f"pwd={SECRET}",
    f"user_pwd: {SECRET}",
    f"userpwd={SECRET}",
    f"dbpwd: {SECRET}",
    f"brokerpw={SECRET}",
    f"pw: {SECRET}",
    f"pin={SECRET}",
    f"sim_pin_code: {SECRET}",
    f"password = '{SECRET} with blanks'",
    f'wpa_passphrase="{SECRET} two"',
    f"psk={SECRET}",
    f'network psk "{SECRET}"',
    f"wifi-password: {SECRET}",
    f"MQTT_PASSWORD={SECRET} FOO=1",
    f"--password {SECRET} --verbose",
    f"--api-key={SECRET}",
    f"Authorization: Bearer {SECRET}abcdef",
    f'{{"token": "{SECRET}", "n": 1}}',
    f"username = {SECRET}",
    f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJUcjB1YjRkb3IifQ.Tr0ub4dor",
]


@pytest.mark.parametrize("text", PLANTED)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    scrubbed = Scrubber().text(f"before {text} after")
    assert "Tr0ub4dor" not in scrubbed
    assert HIDDEN in scrubbed
    assert scrubbed.startswith("before ")


def test_a_known_secret_is_hidden_wherever_it_stands() -> None:
    assert Scrubber([SECRET, "abc"]).text(f"it said x{SECRET}x, abc") == f"it said x{HIDDEN}x, abc"


def test_a_user_name_is_hidden_where_it_is_a_word_of_its_own() -> None:
    scrubber = Scrubber([SECRET], ["doorkeeper", "door+1", "abc"])
    assert (
        scrubber.text("user doorkeeper, 'door+1' not authorised; abc")
        == f"user {HIDDEN}, '{HIDDEN}' not authorised; abc"
    )
    assert scrubber.text("doorkeepers_door door+10") == "doorkeepers_door door+10"


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ("mqtt", f"connecting to mqtt://bob:{SECRET}@host:1883/x failed"),
        ("rtsp", f"rtsp://10.0.0.7/live/{SECRET}"),
        ("password", f"password={SECRET}"),
        ("word", f"--password {SECRET}"),
        ("Bearer", f"authorised: Bearer {SECRET}abcdef"),
    ],
)
def test_a_known_word_that_another_secret_is_found_by_does_not_give_that_away(known: str, text: str) -> None:
    for scrubber in (Scrubber([], [known]), Scrubber([known])):
        scrubbed = scrubber.text(text)
        assert "Tr0ub4dor" not in scrubbed
        assert scrubber.text(f"x {known} x") == f"x {HIDDEN} x"


@pytest.mark.parametrize("name", ["mqtt-ws", "coap+tcp"])
def test_a_name_that_is_an_address_s_kind_does_not_give_its_password_away(name: str) -> None:
    scrubbed = Scrubber([], [name]).text(f"{name} to {name}://bob:{SECRET}@host:1883/x")
    assert scrubbed.startswith(f"{HIDDEN} to ")
    assert "Tr0ub4dor" not in scrubbed


def test_a_known_secret_of_several_words_is_hidden_whole_where_a_pattern_would_take_one() -> None:
    assert Scrubber(["correct horse, battery"]).text("password=correct horse, battery") == f"password={HIDDEN}"


def test_of_two_secrets_one_within_the_other_both_are_hidden_whole() -> None:
    assert Scrubber(["hunter", "hunter2000"]).text("hunter2000 hunter") == f"{HIDDEN} {HIDDEN}"


def test_values_are_hidden_by_their_names_and_where_a_secret_is_kept_is_told() -> None:
    values = {
        "messaging": {"username": "door", "password": {"file": "/etc/edgecam/password"}, "keepalive": 30},
        "said": [f"password={SECRET}"],
        "token": None,
    }
    assert Scrubber().value(values) == {
        "messaging": {"username": HIDDEN, "password": {"file": "/etc/edgecam/password"}, "keepalive": 30},
        "said": [f"password={HIDDEN}"],
        "token": None,
    }


@pytest.mark.parametrize(
    "text",
    [
        "user name or password is wrong; check [messaging] username and password, and the broker's own list of users",
        "mqtts://broker.local:8883: connection refused",
        "the owner has pinned the model: edgecam model pin --off lets go of it; typing: fast, mapping=none",
        "pwm=50, http://host/pwa, typing: fast",
        "sha256 69c0ef813ca6aa, 725 nodes on cpu",
        "cannot read /etc/edgecam/tls/device.key",
        "messaging.password: cannot read the secret /etc/edgecam/broker-password: Permission denied",
        "messaging.password: others can read /etc/edgecam/password; do: chmod 600 /etc/edgecam/password",
        "2026-11-22 20:00:00 camera door is online, 10.0 fps",
        "-> correct [messaging] broker; see https://example.org/docs",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert Scrubber([SECRET]).text(text) == text


@pytest.mark.parametrize(
    "piece", ["pass", "password", "a://", "a.", "eyJ-", "://", "--token-", "a" * 40, "rtsp://a/", "BEGIN PRIVATE KEY "]
)
def test_text_that_was_made_to_hold_us_up_does_not(piece: str) -> None:
    began = time.process_time()
    Scrubber([SECRET]).text(piece * (100_000 // len(piece)))
    assert time.process_time() - began < 5.0  # without bounds it takes minutes
