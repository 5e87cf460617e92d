"""What an owner may write, and what is said to what is not accepted."""

from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.provisioning import Asked, read_setup
from tests.simulators.new_device import NewDevice


def read(device: NewDevice, text: str) -> Asked:
    path = device.places.setup_file
    path.write_text(text, encoding="utf-8")
    return read_setup(path, device.places, lambda _: False)


def refusal(device: NewDevice, text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read(device, text)
    return str(refused.value)


@pytest.fixture
def device(tmp_path: Path) -> NewDevice:
    return NewDevice(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('hostname = "My Door"', 'hostname: is "My Door"; accepted: 1 to 63 of a-z, 0-9 and -'),
        ('hostnam = "door"', "hostnam: unknown setting; did you mean hostname?"),
        ('time_zone = "Europe/Londn"', "time_zone: no such time zone; did you mean Europe/London?"),
        ('[wifi]\nssid = "home"\npassword = "long enough"', "wifi.country: is required: two capital letters"),
        (
            '[wifi]\nssid = "home"\ncountry = "GB"\npassword = "short"',
            "wifi.password: has 5 characters",
        ),
        (
            '[ssh]\nkeys = ["ssh-ed25519 AAAA me"]',
            "ssh.keys[0]: is no public key; accepted: the one line",
        ),
        (
            '[ssh]\nkeys = ["-----BEGIN OPENSSH PRIVATE KEY-----"]',
            "keys[0]: is a private key: take it off the card",
        ),
        ('[broker]\nurl = "mqtt://me:secret@host"', "broker.url: carries a user name"),
        ('[broker]\nurl = "http://host"', 'broker.url: is "http://host"; accepted: mqtt://HOST[:PORT] or mqtts://HOST'),
        ('[broker]\nurl = "mqtt://host"\nca_file = "ca.pem"', "broker.ca_file: cannot read"),
        ('[cameras.door]\nkind = "picam"', 'cameras.door.kind: is "picam"; known: file, imx500, picamera2'),
        ("hostname = door", "text stands in quotation marks"),
        ("hostname = \u201cdoor\u201d", "curly quotation marks"),
    ],
)
def test_a_mistake_is_answered_by_where_it_is_and_what_is_accepted(device: NewDevice, text: str, said: str) -> None:
    assert said in refusal(device, text)


def test_all_mistakes_are_told_at_once_and_no_secret_among_them(device: NewDevice) -> None:
    told = refusal(
        device,
        'hostname = "Ä"\ntime_zone = "Mars/Base"\n[wifi]\nssid = ""\ncountry = "gb"\npassword = "kurz"\n'
        '[broker]\nurl = "mqtt://h"\npassword = ""',
    )
    assert "6 settings are not accepted" in told
    assert "kurz" not in told


def test_a_file_that_is_too_large_or_no_text_is_not_read_on(device: NewDevice) -> None:
    device.places.setup_file.write_bytes(b"#" * (65 << 10))
    with pytest.raises(ConfigError, match="larger than 65536 bytes"):
        read_setup(device.places.setup_file, device.places, lambda _: False)
    device.places.setup_file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_setup(device.places.setup_file, device.places, lambda _: False)


def test_a_configuration_that_the_daemon_would_refuse_is_refused_before_anything_changes(device: NewDevice) -> None:
    device.places.configuration.write_text("[messaging]\nkeepalive = 1\n")
    assert "would not be accepted with the configuration that is there" in refusal(device, 'hostname = "door"')


@pytest.mark.parametrize(
    "line",
    [
        "password = 'plain'",
        'password="plain"  # a remark',
        'password = """\nplain"""',
        'password = "pl\\u0061in"',
        'password = "plain"\n# before it was plain',
    ],
)
def test_however_a_password_is_written_it_is_gone_and_all_else_stays(device: NewDevice, line: str) -> None:
    asked = read(device, f'hostname = "door"\n[broker]\nurl = "mqtt://host"\n{line}\n')
    assert asked.secrets == {"broker.password": "plain"}
    assert "plain" not in asked.redacted
    device.places.setup_file.write_text(asked.redacted)
    again = read_setup(device.places.setup_file, device.places, lambda path: path == "broker.password")
    assert again.setup == asked.setup
    assert again.secrets == {}


def test_windows_line_ends_and_a_byte_order_mark_are_taken(device: NewDevice) -> None:
    device.places.setup_file.write_bytes(b'\xef\xbb\xbfhostname = "door"\r\n[broker]\r\nurl = "mqtt://host"\r\n')
    assert read_setup(device.places.setup_file, device.places, lambda _: False).setup.hostname == "door"
