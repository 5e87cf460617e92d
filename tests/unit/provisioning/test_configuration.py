"""A configuration that the daemon refuses by itself keeps neither network nor login, and is told."""

import pytest

from tests.simulators.new_device import NewDevice
from tests.simulators.owner import KEY, WIFI, boot, check_set_up

CARD = "/boot/firmware/edgecam-setup.toml"
LOGIN = f'[wifi]\nssid = "home"\ncountry = "GB"\npassword = "{WIFI}"\n[ssh]\nkeys = ["{KEY}"]\n'
FLEET = '[fleet]\nurl = "https://f"\nroot_file = "root.json"\n'
MISTYPED = '[cameras.door]\nkind = "picamra2"\n'


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (MISTYPED, "cameras.door"),
        ("[messaging]\nkeepalive = 1\n", "messaging.keepalive"),
        ("device = 5\n", "device"),
        ("messaging = 5\n", "messaging"),
        ("[messaging]\ntls = 5\n", "tls"),
        ("fleet = 5\n", "fleet"),
    ],
)
def test_a_configuration_that_is_refused_by_itself_keeps_neither_network_nor_login_and_is_told(
    device: NewDevice, there: str, said: str
) -> None:
    device.places.configuration.write_text(there)
    device.write("/boot/firmware/root.json", '{"signed": {}}')
    device.write(CARD, f'{LOGIN}[broker]\nurl = "mqtt://b"\n{FLEET}')
    report = boot(device)
    assert report is not None
    assert report.verdict == "not done"
    assert [name for name, one in report.steps if one.state != "done"] == ["configuration", "service"]
    assert "admin" in device.accounts
    assert f"psk={WIFI}\n" in device.read("/etc/NetworkManager/system-connections/edgecam.nmconnection")
    told = dict(report.steps)["configuration"].said
    assert said in told
    assert "\n" not in told
    assert "move it away; then: sudo edgecam setup --boot" in told
    assert device.places.configuration.read_text() == there
    assert not any("edgecam.service" in command for command in device.asked), "it could not start"


def test_once_it_is_corrected_what_waited_for_it_is_done(device: NewDevice) -> None:
    device.places.configuration.write_text("[messaging]\nkeepalive = 1\n")
    boot(device)
    device.places.configuration.write_text("[messaging]\nkeepalive = 60\n")
    boot(device)
    check_set_up(device)
    assert boot(device) is None


def test_a_mistake_that_a_setup_takes_the_place_of_is_no_mistake_any_more(device: NewDevice) -> None:
    device.places.configuration.write_text(MISTYPED)
    boot(device)
    check_set_up(device)
