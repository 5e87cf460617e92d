"""A copied card becomes a device of its own."""

from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.provisioning import Provisioner, read_setup
from tests.simulators.new_device import NewDevice
from tests.simulators.owner import WHOLE, boot, new_device


def test_a_copied_card_becomes_a_device_of_its_own_and_says_so(device: NewDevice) -> None:
    first = boot(device)
    key, host_key = device.read("/etc/edgecam/tls/device.key"), device.read("/etc/ssh/ssh_host_ed25519_key")
    device.move("20000000bb")
    report = boot(device)
    assert first is not None
    assert report is not None
    assert report.verdict == "done"
    assert report.device_id != first.device_id
    assert first.device_id in device.read("/boot/firmware/edgecam-setup-report.txt")
    assert device.read("/etc/edgecam/tls/device.key") != key
    assert device.read("/etc/ssh/ssh_host_ed25519_key") != host_key
    assert load_settings(device.places.configuration).device.id == report.device_id
    assert boot(device) is None


def test_a_copied_file_that_names_the_device_does_not_make_two_of_one_name(device: NewDevice) -> None:
    def change(old: str, new: str) -> str:
        path = "/boot/firmware/edgecam-setup.toml"
        device.write(path, device.read(path).replace(old, new))
        report = boot(device)
        assert report is not None
        return report.device_id

    device.write("/boot/firmware/edgecam-setup.toml", f'device_id = "door-1"\n{WHOLE}')
    assert boot(device) is not None
    assert load_settings(device.places.configuration).device.id == "door-1"
    device.move("20000000bb")
    report = boot(device)
    assert report is not None
    own = report.device_id
    assert own != "door-1"
    assert "device_id door-1 of the setup file is another machine's" in report.as_text()
    # its owner changes something else: the line is as it was copied, and not meant
    assert change('hostname = "door"', 'hostname = "gate"') == own
    assert change('device_id = "door-1"', 'device_id = "gate-1"') == "gate-1"
    # the other machine is gone: the line is taken out, and written again
    assert change('device_id = "gate-1"', 'device_id = "door-1"') == "door-1"


def test_a_copied_file_can_be_made_to_mean_its_name_after_all(device: NewDevice) -> None:
    path = "/boot/firmware/edgecam-setup.toml"
    device.write(path, f'device_id = "door-1"\n{WHOLE}')
    boot(device)
    device.move("20000000bb")
    boot(device)
    left = device.read(path)
    device.write(path, left.replace('device_id = "door-1"\n', ""))
    between = boot(device)
    device.write(path, left)
    report = boot(device)
    assert between is not None
    assert report is not None
    assert between.device_id != "door-1"
    assert report.device_id == load_settings(device.places.configuration).device.id == "door-1"


@pytest.mark.parametrize("is_copied_first", [False, True])
def test_a_copied_name_is_not_taken_for_meant_though_something_was_asked_over_ssh(
    device: NewDevice, tmp_path: Path, *, is_copied_first: bool
) -> None:
    path, said, provisioner = "/boot/firmware/edgecam-setup.toml", tmp_path / "said", Provisioner(device.places, device)
    device.write(path, f'device_id = "door-1"\n{WHOLE}')
    said.write_text('time_zone = "Europe/London"\n')
    boot(device)
    for is_copying in (is_copied_first, not is_copied_first):
        if is_copying:
            device.move("20000000bb")
            boot(device)
        else:
            provisioner.carry_out(read_setup(said, device.places, provisioner.is_kept), said, lambda *_: None)
    device.write(path, device.read(path).replace('hostname = "door"', 'hostname = "gate"'))
    report = boot(device)
    assert report is not None
    assert (report.verdict, report.hostname) == ("done", "gate")
    assert report.device_id != "door-1"


def test_a_copied_card_becomes_its_own_device_though_its_file_has_a_mistake(device: NewDevice) -> None:
    first = boot(device)
    device.write("/boot/firmware/edgecam-setup.toml", "hostname = 7\n")
    device.move("20000000bb")
    report = boot(device)
    assert first is not None
    assert report is not None
    assert report.verdict == "refused"
    for _ in range(2):  # the file is as it was at the boot after it, and the id is as new
        text = device.read("/boot/firmware/edgecam-setup-report.txt")
        assert "Nothing was changed" not in text
        assert "Nothing of the changed edgecam-setup.toml was carried out" in text
        assert "hostname: is 7" in text
        assert f"set up on another machine as {first.device_id}, so id and keys are new" in text
        assert f"edgecam/{report.device_id}/#" in text
        boot(device)
    assert load_settings(device.places.configuration).device.id == report.device_id != first.device_id


def test_two_devices_from_one_card_image_have_different_ids(tmp_path: Path) -> None:
    reports = [boot(new_device(tmp_path / name)) for name in ("one", "two")]
    assert len({report.device_id for report in reports if report}) == 2
