"""What an owner may write, and what is said to what is not accepted."""

import random
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.provisioning import Asked, read_setup
from tests.simulators.new_device import NewDevice

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd0DjK3Fq2Yp5nq0wmyhR8D0cMpaXBc0Q0vZ1m4nnP me@desk"


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
        ("hostname = \u00bbdoor\u00ab", "curly quotation marks"),
        ("hostname = \u2033door\u2033", "curly quotation marks"),
        ("Hostname = 'door'", "Hostname: unknown setting; did you mean hostname?"),
        ("[WiFi]\nssid = 'home'", "WiFi: unknown setting; did you mean wifi?"),
        ('hostname = "door\ntime_zone = "UTC"', "line 1, column 17); a quotation mark at the end of a text is missing"),
        ("[wifi\nssid = 'home'", "the name of a table stands in square brackets: [wifi]"),
        ("[ssh]\nkeys = ['a',\n", "a list does not end with ]"),
        ('network={\n ssid="home"\n}', "a setting is written NAME = VALUE"),
        ("{\\rtf1\\ansi hostname}", "it is rich text, as TextEdit and WordPad save it; save it as plain text"),
        ("<!DOCTYPE html>\n<html>", "it is a web page; bring the file itself"),
        ("hostname\u00a0= 'door'", "a character that is not seen: type the line anew"),
        ('hostname: "door"', "a setting is written NAME = VALUE"),
        (r'[wifi]\nssid = "my\home"'.replace(r"\n", "\n"), "a \\ is written"),
        ('[wifi]\nssid = "a "home" b"', "a quotation mark within a text is written"),
        (f'time_zone = "Europe/{"x" * 300}"', "time_zone: is no time zone"),
        ('[wifi]\nssid = "home"\ncountry = "Germany"', "wifi.country: has 7 characters; accepted: two capital letters"),
        ('[wifi]\nssid = "home"\ncountry = "gb"', 'wifi.country: is "gb"; accepted: two capital letters'),
        ('time_zone = "GMT+1"', "accepted: a name such as Europe/London"),
        ('wifi = "home"', "wifi: is text; accepted: a table"),
        ('[[wifi]]\nssid = "home"', "wifi: is a list; accepted: a table"),
        ('[broker]\nurl = "mqtt://:1883"', "broker.url: is"),
        ('[broker]\nurl = "mqtt://my host"', "and nothing behind it"),
        ('[broker]\nurl = "mqtt://me:secret@host"', "they go into `username` and `password`"),
        ('[wifi]\nssid = "home"\ncountry = "UK"', '"UK" is no country of ISO 3166; Britain is GB; accepted'),
        ('[wifi]\nssid = "home"\ncountry = "XX"', '"XX" is no country of ISO 3166; accepted'),
        (f'[ssh]\nkeys = ["""{KEY}\n{KEY}"""]', "has more than one line"),
    ],
)
def test_a_mistake_is_answered_by_where_it_is_and_what_is_accepted(device: NewDevice, text: str, said: str) -> None:
    assert said in refusal(device, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[cameras.door]\nkind = "synthetic"\n# the other one\n[cameras.door] # again\nkind = "synthetic"\n',
            "in lines 1 and 4: [cameras.door]; give each camera a name of its own",
        ),
        (
            '[wifi]\nssid = "a"\ncountry = "GB"\n\n[wifi]\nssid = "b"\n',
            "in lines 1 and 5: [wifi]; a device joins one network",
        ),
        (
            '[ssh]\nuser = "a"\n[ssh]\nuser = "b"\n',
            "in lines 1 and 3: [ssh]; there is one account: put all keys into one",
        ),
        ("[broker]\n[broker]\n", "in lines 1 and 2: [broker]; a device has one broker"),
        (
            "[cameras]\ndoor = {}\n[cameras.door]\n",
            "again in line 3: [cameras.door]; give each camera a name of its own",
        ),
        (
            'hostname = "a"\nhostname = "b"\n',
            "a setting is given twice, again in line 2: hostname; leave one of them out",
        ),
        ('wifi = { ssid = "a", ssid = "b" }\n', "a setting is given twice, again in line 1: wifi"),
    ],
)
def test_what_stands_twice_is_told_with_both_places_and_what_to_do(device: NewDevice, text: str, said: str) -> None:
    told = refusal(device, text)
    assert said in told
    assert "quotation marks" not in told  # that is not what is wrong


@pytest.mark.parametrize(
    "text",
    [
        '[wifi]\npassword = "hunter2 hunter2"\npassword = "hunter2 hunter2"\n',
        "[wifi]\npassword = '''a\nhunter2=b'''\npassword = '''a\nhunter2=b'''\n",
        '[wifi]\npassword = "hunter2',
        '[wifi]\npassword = "hunter2" hunter2\n',
        'wifi = "home hunter2"\n',
        '[cameras]\ndoor = "rtsp://h/hunter2"\n',
        '[broker]\nurl = "mqtt://host?password=hunter2"\n',
        '[broker]\nurl = "mqtt://host#hunter2"\n',
        '[broker]\nurl = "mqtt://me:hunter2@host"\n',
        '[wifi]\npsk = "hunter2"\n',
    ],
)
def test_whatever_is_wrong_with_a_line_its_password_is_not_told(device: NewDevice, text: str) -> None:
    assert "hunter2" not in refusal(device, text)


def test_all_mistakes_are_told_at_once_and_no_secret_among_them(device: NewDevice) -> None:
    told = refusal(
        device,
        'hostname = "Ä"\ntime_zone = "Mars/Base"\n[wifi]\nssid = ""\ncountry = "gb"\npassword = "kurz"\n'
        '[broker]\nurl = "mqtt://h"\npassword = ""',
    )
    assert "6 settings are not accepted" in told
    assert "kurz" not in told


@pytest.mark.parametrize("written", ["12345678", "12345678.5", "2026-11-23", "[12345678]"])
def test_a_password_without_quotation_marks_is_not_shown(device: NewDevice, written: str) -> None:
    why = refusal(device, f'[wifi]\nssid = "x"\ncountry = "GB"\npassword = {written}\n')
    assert "wifi.password: is no text in quotation marks" in why
    assert written.strip("[]") not in why


def test_a_file_that_is_too_large_or_no_text_is_not_read_on(device: NewDevice) -> None:
    device.places.setup_file.write_bytes(b"#" * (65 << 10))
    with pytest.raises(ConfigError, match="larger than 65536 bytes"):
        read_setup(device.places.setup_file, device.places, lambda _: False)
    device.places.setup_file.write_bytes(b"hostname = 't\xfcr'")
    with pytest.raises(ConfigError, match=r"byte 13 is not UTF-8 \(in line 1\)"):
        read_setup(device.places.setup_file, device.places, lambda _: False)
    device.places.setup_file.unlink()
    device.places.setup_file.mkdir()
    with pytest.raises(ConfigError, match="is a folder; accepted: a text file"):
        read_setup(device.places.setup_file, device.places, lambda _: False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('hostname = "door"\r\n'.encode("utf-16"), "saved as UTF-16, which Notepad calls"),
        ('\ufeffhostname = "door"\r\n'.encode("utf-16-be"), "saved as UTF-16"),
        ('hostname = "door"\r\n'.encode("utf-16-le"), "byte 1 is zero"),
        (bytes(4096), "byte 0 is zero, so it is no plain text, or damaged"),
        (b'hostname = "door"\n' + bytes(512), "byte 18 is zero"),
    ],
)
def test_a_file_that_an_editor_or_a_card_has_spoilt_says_so(device: NewDevice, content: bytes, said: str) -> None:
    device.places.setup_file.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read_setup(device.places.setup_file, device.places, lambda _: False)


PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
PRIVATE = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ca_file", PEM + PRIVATE, "holds a private key, and others may read what goes here"),
        ("cert_file", PRIVATE, "holds a private key"),
        ("key_file", PEM, "holds no private key"),
        ("key_file", PRIVATE.replace("PRIVATE", "ENCRYPTED PRIVATE"), "locked with a passphrase"),
        ("key_file", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", "locked with a passphrase"),
        ("ca_file", "0\x82", "is no PEM file"),
    ],
)
def test_a_file_beside_it_that_is_not_what_is_meant_is_told(
    device: NewDevice, name: str, content: str, said: str
) -> None:
    (device.places.boot / "given.pem").write_text(content)
    assert said in refusal(device, f'[broker]\nurl = "mqtts://host"\n{name} = "given.pem"\n')


def test_a_fleet_s_root_of_trust_is_signed_json(device: NewDevice) -> None:
    (device.places.boot / "root.json").write_text("<html>404</html>")
    told = refusal(device, '[fleet]\nurl = "https://models.example.org/"\nroot_file = "root.json"\n')
    assert "fleet.root_file: root.json is no root of trust" in told


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_windows_and_old_line_ends_and_a_byte_order_mark_are_taken(device: NewDevice, end: bytes) -> None:
    lines = (b'\xef\xbb\xbfhostname = "door"', b"[broker]", b'url = "mqtt://host"', b"")
    device.places.setup_file.write_bytes(end.join(lines))
    assert read_setup(device.places.setup_file, device.places, lambda _: False).setup.hostname == "door"


_SPOILT = (
    *(
        b"\0",
        b'"',
        b"'",
        b'"""',
        b"=",
        b"[",
        b"]",
        b"[[",
        b"{",
        b"}",
        b"\n",
        b"\r",
        b"#",
        b"\\u0000",
        b"\\ud800",
        b"\xff",
    ),
    *(
        b"nan",
        b"inf",
        b"1e999",
        b"9" * 5000,
        b"1979-05-27",
        b"true",
        b"\xc2\xa0",
        b"password",
        b"wifi",
        b"cameras",
        b"broker",
    ),
    *(b"{ moved = true }", b"../", b"\x1b[2J", b"\xe2\x80\xae", b"kind", b"A" * 300, b'"a"=1\n'),
)
SECRETS = {"wifi": "a wireless secret", "broker": "the broker secret", "camera": "the camera secret"}
_RIGHT = f"""\
hostname = "door"
time_zone = "Europe/London"
[wifi]
ssid = "home"
country = "GB"
password = "{SECRETS["wifi"]}" # from the router
[ssh]
keys = ["{KEY}"]
[broker]
url = "mqtts://broker.example.org"
username = "door"
password = '{SECRETS["broker"]}'
[cameras.door]
kind = "rtsp"
url = "rtsp://192.0.2.10/stream1"
password = "{SECRETS["camera"]}"
""".encode()


def _spoil(chance: random.Random) -> bytes:
    """Give the file with something put into it, taken away, or a line that stands elsewhere, too."""
    content = bytearray(_RIGHT)
    for _ in range(chance.randint(1, 3)):
        at, what = chance.randrange(len(content)), chance.choice(_SPOILT)
        ways = (
            content[:at] + what + content[at:],
            content[:at] + content[at + chance.randint(1, 30) :],
            content[:at] + what + content[at + chance.randint(1, 12) :],
            content + b"\n" + chance.choice(content.split(b"\n")) + b"\n",
        )
        content = chance.choice(ways)
    return bytes(content)


def test_whatever_a_file_says_it_is_accepted_and_clean_or_refused_in_words(device: NewDevice) -> None:
    chance, accepted, path = random.Random(1), 0, device.places.setup_file
    refused: list[str] = []
    for number in range(300):
        content = _spoil(chance)
        path.write_bytes(content)
        try:
            asked = read_setup(path, device.places, lambda _: False)
        except ConfigError as error:
            refused.append(str(error))
            continue
        accepted += 1
        path.write_text(asked.redacted)
        again = read_setup(path, device.places, lambda _: True)
        assert (again.setup, again.secrets) == (asked.setup, {}), (number, content)
        assert not any(secret in asked.redacted for secret in asked.secrets.values()), (number, content)
    assert [why for why in refused if any(secret in why for secret in SECRETS.values())] == []
    assert min(accepted, len(refused)) > 10  # both were seen
