"""Passwords are taken out of a setup file's text, and of its remarks; all else stays."""

import time
from pathlib import Path

import pytest

from appliance.provisioning import read_setup
from appliance.provisioning.scrub import remarks_with_passwords
from appliance.provisioning.secrets import in_remarks
from tests.simulators.new_device import NewDevice
from tests.simulators.owner import BROKER, WHOLE, WIFI, boot, new_device
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
        ("# psk: hunter2 # was here", '# psk: ""'),
        ("# psk: hunter2# was here", '# psk: ""'),
        ("# password: hunter2 (old)", '# password: ""'),
        ("# password: hunter2 - old", '# password: ""'),
        ("# password: hunter2 \u2013 old", '# password: ""'),
        ("# was the newest one until May", "# was \u2026 until May"),
        # and what is no password stays as it is
        ('#password = "its password"         # 8 to 63 characters', None),
        ("# password = { moved = true }", None),
        ('# password = ""', None),
        ("# the password: as on the router", None),
        ("# the password: as on the router (see there)", None),
        ("# the password: check-in desk", None),
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


def test_each_line_whose_remark_loses_a_password_is_told_once_it_is_moved_or_out_of_use(tmp_path: Path) -> None:
    device = new_device(tmp_path)
    told = f"# it was {WIFI} until May\n# and by it\n# psk: hunter2 (old)\n"
    device.write("/boot/firmware/edgecam-setup.toml", WHOLE.replace("# from the router", f"# {WIFI}") + told)
    given = device.read("/boot/firmware/edgecam-setup.toml").splitlines()
    report = boot(device)
    assert report is not None
    left = device.read("/boot/firmware/edgecam-setup.toml").splitlines()
    assert len(left) == len(given)
    moved = ("password = ", "# it was", "# psk")
    changed = [number for number, (one, other) in enumerate(zip(given, left, strict=True), start=1) if one != other]
    assert all(given[number - 1].startswith(moved) for number in changed)
    remarks = [number for number in changed if "#" in left[number - 1]]
    assert len(remarks) == 3
    assert f"of edgecam-setup.toml in line {', '.join(map(str, remarks))}" in report.as_text()
    assert not any(secret in "".join(left) for secret in (WIFI, BROKER, "hunter2"))


def test_where_a_short_password_costs_the_remarks_the_lines_that_had_it_are_told(tmp_path: Path) -> None:
    device = new_device(tmp_path)
    asked = '# it was abc once\n[broker]\nurl = "mqtt://b"\nusername = "me"\npassword = "abc"\n# nothing here\n'
    device.write("/boot/firmware/edgecam-setup.toml", asked)
    report = boot(device)
    assert report is not None
    assert device.read("/boot/firmware/edgecam-setup.toml").startswith("# Written again by Edgecam")
    assert "of edgecam-setup.toml in line 1\n" in report.as_text()


def test_what_is_no_toml_has_no_remarks_that_anything_was_taken_out_of(device: NewDevice) -> None:
    device.places.setup_file.write_text('hostname = \n# password = "hunter2"\n')
    assert remarks_with_passwords(device.places.setup_file) == []


def test_a_remark_that_is_made_to_be_slow_is_read_through_at_once() -> None:
    started = time.process_time()
    assert in_remarks(f"# {'password:' * 7000} as on the router\n") == []
    assert time.process_time() - started < 2.0
