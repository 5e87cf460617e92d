"""Which disks may be written over."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.workbench.flashing.target import Target, read_target, refusal

CARD = Target(Path("/dev/sdb"), is_disk=True, size=32 * 10**9, title="SanDisk, 32.0 GB", is_card=True)
NEEDED = 3 * 10**9


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (CARD, ""),
        (replace(CARD, mounts=("/media/me/bootfs",)), "is mounted at /media/me/bootfs; do: sudo umount"),
        (replace(CARD, mounts=("/media/me/x", "/")), "in use by this system (/): it is never written to"),
        (replace(CARD, mounts=("/boot/efi",)), "never written to"),
        (replace(CARD, uses=("swap",)), "in use by this system (swap)"),
        (replace(CARD, uses=("/dev/dm-0",)), "in use by this system (/dev/dm-0)"),
        (replace(CARD, is_card=False), "cannot be pulled out: is it meant? Then say so with --fixed"),
        (replace(CARD, whole="sdb"), "is a part of a disk: give the whole, /dev/sdb"),
        (replace(CARD, size=10**9), "has 1.0 GB, and the system needs 3.0"),
    ],
)
def test_a_disk_is_refused_with_the_reason(target: Target, said: str) -> None:
    told = refusal(target, NEEDED, is_fixed_wanted=False)
    assert said in told
    assert bool(told) == bool(said)


def test_a_system_s_disk_is_refused_whatever_is_said() -> None:
    assert refusal(replace(CARD, is_card=False), NEEDED, is_fixed_wanted=True) == ""
    assert refusal(replace(CARD, mounts=("/",)), NEEDED, is_fixed_wanted=True) != ""


def test_the_disk_of_this_system_is_known_as_such() -> None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        source = line.partition(" - ")[2].split()[1]
        if line.split()[4] == "/" and source.startswith("/dev/") and Path(source).is_block_device():
            assert "/" in read_target(Path(source)).mounts
            return
    pytest.skip("the root of this machine is on no disk")


def test_what_is_neither_disk_nor_file_is_refused(tmp_path: Path) -> None:
    for path in (Path("/dev/null"), tmp_path, Path("/dev/no-such-disk"), tmp_path / "no/such/file"):
        with pytest.raises(ConfigError):
            read_target(path)
