"""A card is written with what was meant, and nothing else is ever written to."""

import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.core.errors import EdgecamError, StorageError, UnsupportedError
from appliance.workbench.flash import flash
from appliance.workbench.flashing.bootfs import put_files, with_memory_limits
from appliance.workbench.flashing.writing import read_back
from tests.simulators.system_image import read_boot, with_table
from tests.unit.workbench.flashing.test_writing import quiet, write

NEEDED = [
    tool
    for tool in ("mcopy", "mkfs.vfat", "mke2fs")
    if shutil.which(tool, path=f"{os.defpath}:/usr/sbin:/sbin") is None
]
needs_tools = pytest.mark.skipif(
    bool(NEEDED), reason=f"not installed: {', '.join(NEEDED)} (mtools, dosfstools, e2fsprogs)"
)
ROOT = Path(__file__).resolve().parents[4]
SETUP = '[broker]\nurl = "mqtts://broker.example.org"\npassword = "a secret"\nca_file = "ca.pem"\n'


def run(*arguments: object) -> Result:
    return CliRunner().invoke(flash, [str(one) for one in arguments])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@needs_tools
def test_a_packed_image_is_unpacked_checked_and_gets_the_bundle(image: Path, bundle: Path, tmp_path: Path) -> None:
    packed, card, setup = tmp_path / "system.img.xz", tmp_path / "card.img", tmp_path / "my.toml"
    packed.write_bytes(lzma.compress(image.read_bytes(), preset=0))
    setup.write_text(SETUP)
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    options = ("--image", packed, "--sha256", digest(image), "--bundle", bundle, "--setup", setup, "--json")
    done = run(card, *options)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "target": str(card),
        "sha256": digest(image),
        "bytes": image.stat().st_size,
        "is_checked": True,
    }
    assert read_boot(card, "config.txt") == b"# of the system\n"
    assert read_boot(card, "cmdline.txt") == b"console=tty1 rootwait cgroup_enable=memory\n"
    assert read_boot(card, "user-data") == b"user-data of the bundle\n"
    assert read_boot(card, "edgecam/edgecam_1_all.deb") == b"edgecam/edgecam_1_all.deb of the bundle\n"
    assert read_boot(card, "edgecam-setup.toml").decode() == SETUP
    assert read_boot(card, "ca.pem") == b"-----BEGIN CERTIFICATE-----\n"


@needs_tools
def test_a_second_card_over_the_first_is_the_same(image: Path, bundle: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    for _ in range(2):
        assert run(card, "--image", image, "--bundle", bundle, "--yes").exit_code == 0
    assert read_boot(card, "meta-data") == b"meta-data of the bundle\n"
    assert read_boot(card, "cmdline.txt").count(b"cgroup_enable=memory") == 1


@contextmanager
def looped(file: Path) -> Iterator[Path]:
    """A real disk, as the kernel sees it."""
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        pytest.skip("a loop device needs root")
    done = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    try:
        yield Path(done.stdout.strip())
    finally:
        subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


@pytest.fixture
def loop(image: Path, tmp_path: Path) -> Iterator[Path]:
    """A disk that has room for the image and little else."""
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(image.stat().st_size + (1 << 20))
    with looped(disk) as device:
        yield device


@needs_tools
def test_a_disk_is_written_only_if_it_is_meant_and_not_in_use(
    image: Path, bundle: Path, loop: Path, tmp_path: Path
) -> None:
    options = ("--image", image, "--bundle", bundle, "--json")
    why = run(loop, *options).exception
    assert isinstance(why, EdgecamError)
    assert "cannot be pulled out" in str(why)
    # a small disk: the room that an unknown system needs is more than this one has
    assert "needs" in str(run(loop, *options, "--fixed").exception)
    digest_, size = write(image, loop, digest(image))
    read_back(loop, digest_, size, quiet)
    put_files(loop, bundle)
    assert read_boot(loop, "user-data") == b"user-data of the bundle\n"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", loop], check=True, capture_output=True)
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", loop, place], check=True)
    try:
        assert f"is mounted at {place}; do: sudo umount" in str(run(loop, *options, "--fixed").exception)
        with pytest.raises(StorageError, match="is it in use"):
            write(image, loop)
    finally:
        subprocess.run(["umount", place], check=True)


_NOSY = """\
#!{python}
import os, sys
try:
    os.close(os.open("{disk}", os.O_RDONLY | os.O_EXCL))  # as mount(2) does, of a desktop that mounts whatever comes
    said = "free"
except OSError as error:
    said = os.strerror(error.errno)
with open("{log}", "a") as log:
    log.write(said + "\\n")
os.execv("{mcopy}", sys.argv)
"""


@needs_tools
def test_a_disk_is_ours_from_the_first_byte_to_the_last_file(
    image: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate((1 << 30) + (1 << 20))
    with looped(tmp_path / "disk") as disk:
        log, programs = tmp_path / "log", tmp_path / "programs"
        programs.mkdir()
        nosy = programs / "mcopy"
        nosy.write_text(_NOSY.format(python=sys.executable, disk=disk, log=log, mcopy=shutil.which("mcopy")))
        nosy.chmod(0o755)
        monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        done = run(disk, "--image", image, "--bundle", bundle, "--fixed", "--yes")
        assert done.exit_code == 0, done.output
        # reading the kernel's line, putting the files there, reading both back
        assert log.read_text().splitlines() == ["Device or resource busy"] * 4
        os.close(os.open(disk, os.O_RDONLY | os.O_EXCL))  # and afterwards it is anybody's
        assert read_boot(disk, "user-data") == b"user-data of the bundle\n"


def test_without_mtools_nothing_is_written(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, image = tmp_path / "card.img", tmp_path / "image"
    image.write_bytes(with_table(bytes(4096)))
    monkeypatch.setenv("PATH", str(bundle))
    why = run(card, "--image", image, "--bundle", bundle).exception
    assert isinstance(why, UnsupportedError)
    assert "apt-get install mtools" in str(why)
    assert not card.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sha256", "0" * 64), "--sha256 is that of --image, which was not given"),
        (("--image", "IMAGE", "--newest"), "say two different things"),
        (("--image", "IMAGE", "--sha256", "abc"), "has 3 characters; accepted: 64 hexadecimal digits"),
        (("--image", "none.img"), "none.img is no file; accepted: .img or .img.xz"),
        (("--image", "IMAGE", "--json"), "with --json, say --yes"),
        (("--image", "IMAGE", "--setup", "CARD"), "is the setup file itself"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_lost(
    bundle: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    card, image = tmp_path / "card.toml", tmp_path / "image"
    card.write_text('hostname = "door"\n')
    image.write_bytes(with_table(bytes(4096)))
    paths = {"IMAGE": image, "CARD": card}
    why = run(card, "--bundle", bundle, *(paths.get(word, word) for word in options)).exception
    assert isinstance(why, EdgecamError)
    assert said in str(why)
    assert card.read_text() == 'hostname = "door"\n'


def test_a_file_that_has_something_in_it_is_asked_about(bundle: Path, tmp_path: Path) -> None:
    card, image = tmp_path / "thesis", tmp_path / "image"
    card.write_text("three years of work")
    image.write_bytes(with_table(bytes(4096)))
    done = CliRunner().invoke(flash, [str(card), "--image", str(image), "--bundle", str(bundle)], input="n\n")
    assert done.exit_code == 1
    assert "will be lost. Go on?" in done.output
    assert card.read_text() == "three years of work"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"console=tty1 rootwait", b"console=tty1 rootwait cgroup_enable=memory"),
        (b"console=tty1 \n", b"console=tty1 cgroup_enable=memory\n"),
        (b"cgroup_enable=memory quiet\n", b"cgroup_enable=memory quiet\n"),
        (b"quiet\nleft over\n", b"quiet cgroup_enable=memory\nleft over\n"),
    ],
)
def test_the_kernel_is_asked_once_and_in_its_one_line_to_hold_services_to_their_memory(
    line: bytes, wanted: bytes
) -> None:
    assert with_memory_limits(line) == wanted
    assert with_memory_limits(wanted) == wanted


def test_the_script_finds_files_where_the_caller_is(bundle: Path, tmp_path: Path) -> None:
    if not (ROOT / ".venv/bin/edgecam-workbench").exists():
        pytest.skip("needs .venv; do: make setup")
    (tmp_path / "door.toml").write_text('hostname = "My Door"\n')
    command = [ROOT / "scripts/flash", "card.img", "--setup", "door.toml", "--bundle", bundle.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "hostname: is" in done.stderr) == (78, True), done.stderr


def test_an_image_is_never_written_over_by_itself(bundle: Path, tmp_path: Path) -> None:
    image = tmp_path / "system.img"
    image.write_bytes(b"the only one")
    (tmp_path / "link").symlink_to(image)
    why = run(tmp_path / "link", "--image", image, "--bundle", bundle, "--yes").exception
    assert isinstance(why, EdgecamError)
    assert "is the image itself" in str(why)
    assert image.read_bytes() == b"the only one"
