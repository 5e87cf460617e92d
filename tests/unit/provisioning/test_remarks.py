"""Passwords are taken out of a setup file's text, and of its remarks; all else stays."""

from pathlib import Path

import pytest

from appliance.provisioning import read_setup
from tests.simulators.new_device import NewDevice
from tests.unit.provisioning.test_reading import read


@pytest.fixture
def device(tmp_path: Path) -> NewDevice:
    return NewDevice(tmp_path)


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


_ASKED = 'hostname = "door"\n{}\n[broker]\nurl = "mqtt://host"\nusername = "me" {}\npassword = "the newest one"\n{}\n'


@pytest.mark.parametrize(
    ("remark", "left"),
    [
        ('# password = "hunter2"', '# password = ""'),
        ("#password='hunter2'  # of the old router", '#password=""  # of the old router'),
        ('# password = "hunter2" or hunter2', '# password = ""'),
        ('# password = "hun"hunter2"', '# password = ""'),
        ("# password = \u201chunter2\u201d", '# password = ""'),
        ("# password = hunter2 # hunter2", '# password = ""'),
        ('# wifi.Password: "hunter2"', '# wifi.Password: ""'),
        ("# the password: hunter2", '# the password: ""'),
        ('# "psk" = "hunter2"', '# "psk" = ""'),
        ('# wifi = { ssid = "a", password = "hunter2" }', '# wifi = { ssid = "a", password = "" }'),
        (r'# password = "hunter\"2" # password = "hunter2"', '# password = "" # password = ""'),
        ('# password = """hunter2"""', '# password = ""'),
        ("# was the newest one until May", "# was \u2026 until May"),
        # and what is no password stays as it is
        ('#password = "its password"         # 8 to 63 characters', None),
        ("# password = { moved = true }", None),
        ('# password = ""', None),
        ("# the password: as on the router", None),
        ("# passwords = are moved", None),
    ],
)
def test_passwords_in_remarks_are_taken_out_and_all_else_stays(
    device: NewDevice, remark: str, left: str | None
) -> None:
    left = remark if left is None else left
    live, moved = 'password = "the newest one"', "password = { moved = true }"
    for places in ((remark, "", ""), ("", remark, ""), ("", "", remark)):
        given = _ASKED.format(*places)
        asked = read(device, given)
        wanted = _ASKED.format(*(left if place else "" for place in places)).replace(live, moved)
        assert asked.redacted == wanted
        assert asked.setup == read(device, _ASKED.format("", "", "")).setup
        if "newest" not in remark:
            # as if its owner had put it there later
            device.places.setup_file.write_text(given.replace(live, moved), encoding="utf-8")
            assert read_setup(device.places.setup_file, device.places, lambda _: True).redacted == wanted


@pytest.mark.parametrize(
    "name",
    [
        '"# password = hunter2"',
        "'# password = hunter2'",
        '"""# password = hunter2"""',
        r'''"a\" # password = 'hunter2'"''',
        "'''\n# password = hunter2'''",
        '"""two quotes at its end""""" # password = hunter2',
        "'''and here''''' # password = hunter2",
        '"" # password = hunter2',
    ],
)
def test_what_only_looks_like_a_remark_is_a_setting_and_stays(device: NewDevice, name: str) -> None:
    text = '[wifi]\ncountry = "GB"\nssid = "home"\npassword = "a wireless secret" # password = "another"\n'
    text += f'[broker]\nurl = "mqtt://host"\nusername = {name}\n'
    asked = read(device, text)
    assert asked.setup.broker is not None
    assert ("hunter2" in asked.redacted) == ("hunter2" in str(asked.setup.broker.username))
    assert "another" not in asked.redacted
    assert read(device, asked.redacted.replace("{ moved = true }", '"a wireless secret"')).setup == asked.setup


def test_the_file_that_comes_with_a_card_stays_as_it_is(device: NewDevice) -> None:
    text = (Path(__file__).resolve().parents[3] / "image/bundle/edgecam-setup.toml").read_text()
    assert read(device, text).redacted == text
