"""A card is written with what was meant, and nothing else is ever written to."""

import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.core.errors import EdgecamError, ModelError, StorageError, UnavailableError, UnsupportedError
from appliance.workbench.flash import bring, flash
from appliance.workbench.flashing.bootfs import put_files, with_memory_limits
from appliance.workbench.flashing.released import Release
from appliance.workbench.flashing.writing import read_back
from tests.simulators.file_server import Served, serve
from tests.simulators.system_image import make_image, read_boot, with_table
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


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "system.img"
    make_image(path)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "card"
    (folder / "edgecam").mkdir(parents=True)
    for name in ("user-data", "network-config", "meta-data", "edgecam-setup.toml", "edgecam/edgecam_1_all.deb"):
        (folder / name).write_text(f"{name} of the bundle\n")
    return folder


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


def test_a_card_that_is_too_small_for_the_image_is_told_before_it_is_written(bundle: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(with_table(bytes(4096), end=3 << 30))
    for path, size in ((image, 3 << 30), (tmp_path / "disk", 1 << 30)):
        with path.open("ab") as file:
            file.truncate(size)
    with looped(tmp_path / "disk") as disk:
        why = run(disk, "--image", image, "--bundle", bundle, "--fixed", "--yes").exception
        assert "has 1.1 GB, and the system needs 3.2" in str(why)


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


def damaged(image: Path) -> None:
    packed = lzma.compress(with_table(os.urandom(1 << 20)))
    image.write_bytes(packed[:-1000])


def cut_short(image: Path) -> None:
    image.write_bytes(with_table(os.urandom(6 << 20), end=7 << 20))


def another(image: Path) -> None:
    image.write_bytes(with_table(os.urandom(6 << 20)))


def no_image(image: Path) -> None:
    image.write_bytes(b"PK" + bytes(4096))


def too_large(image: Path) -> None:
    space = os.statvfs(image.parent)
    with image.open("wb") as file:
        file.write(with_table(bytes(4096)))
        file.truncate(space.f_bavail * space.f_frsize + (2 << 30))  # a hole: it takes no room


@needs_tools
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (damaged, "is damaged"),
        (cut_short, "is cut short"),
        (another, "another image than the one that is meant"),
        (no_image, "no table of partitions"),
        (too_large, "and the system needs"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
@pytest.mark.parametrize("is_there", [True, False])
def test_an_image_is_looked_through_before_a_file_loses_what_is_in_it(
    bundle: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str, *, is_there: bool
) -> None:
    card, image = tmp_path / "card.img", tmp_path / "image"
    spoil(image)
    if is_there:
        card.write_bytes(b"what was there before")
    hashed = () if spoil in (too_large, cut_short) else ("--sha256", "0" * 64)
    why = run(card, "--image", image, *hashed, "--bundle", bundle, "--yes").exception
    assert isinstance(why, EdgecamError)
    assert said in str(why)
    assert (card.read_bytes() if card.exists() else None) == (b"what was there before" if is_there else None)


@needs_tools
def test_a_packed_image_that_the_disk_has_no_room_for_once_unpacked_costs_it_nothing(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.workbench.flash._LEAST", 1 << 20)  # or it would be an image of more than 1 GB
    image, disk = tmp_path / "image.xz", tmp_path / "disk"
    image.write_bytes(lzma.compress(with_table(bytes(100 << 20)), preset=0))
    disk.write_bytes(b"what was there before")
    with disk.open("ab") as file:
        file.truncate(50 << 20)
    with looped(disk) as device:
        why = run(device, "--image", image, "--bundle", bundle, "--fixed", "--yes").exception
    assert "has 0.1 GB, and the system needs 0.1" in str(why)
    with disk.open("rb") as file:
        assert file.read(21) == b"what was there before"


@needs_tools
def test_a_file_of_the_owner_s_with_the_bundle_s_name_is_told_before_anything_is_lost(
    bundle: Path, tmp_path: Path
) -> None:
    card, image, setup = tmp_path / "card.img", tmp_path / "image", tmp_path / "my.toml"
    another(image)
    card.write_bytes(b"what was there before")
    setup.write_text(SETUP.replace("ca.pem", "meta-data"))
    (tmp_path / "meta-data").write_text("-----BEGIN CERTIFICATE-----\n")
    why = run(card, "--image", image, "--bundle", bundle, "--setup", setup, "--yes").exception
    assert "a file of the bundle is called meta-data" in str(why)
    assert card.read_bytes() == b"what was there before"


@needs_tools
def test_an_image_without_a_boot_partition_is_told(bundle: Path, tmp_path: Path) -> None:
    source = tmp_path / "other.img"
    make_image(source, kind=0x83)
    why = run(tmp_path / "card.img", "--image", source, "--bundle", bundle).exception
    assert "not FAT" in str(why)


def test_a_setup_file_that_the_device_would_refuse_is_refused_before_anything_is_written(
    bundle: Path, tmp_path: Path
) -> None:
    setup, card = tmp_path / "my.toml", tmp_path / "card.img"
    setup.write_text('hostname = "My Door"\n')
    why = run(card, "--bundle", bundle, "--image", tmp_path / "none", "--setup", setup).exception
    assert "hostname: is" in str(why)
    assert not card.exists()


def test_the_script_finds_files_where_the_caller_is(bundle: Path, tmp_path: Path) -> None:
    if not (ROOT / ".venv/bin/edgecam-workbench").exists():
        pytest.skip("needs .venv; do: make setup")
    (tmp_path / "door.toml").write_text('hostname = "My Door"\n')
    command = [ROOT / "scripts/flash", "card.img", "--setup", "door.toml", "--bundle", bundle.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "hostname: is" in done.stderr) == (78, True), done.stderr


def published(address: str, content: bytes) -> Release:
    return Release(
        url=address,
        image_download_sha256=hashlib.sha256(content).hexdigest(),
        image_download_size=len(content),
        extract_sha256="cd" * 32,
        extract_size=1,
        release_date="2026-06-18",
    )


def test_a_system_is_brought_once_and_gone_on_with_where_it_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = os.urandom(300_000)
    served = Served(content, cut_after=[100_000])
    with serve(served) as address:
        release = published(address, content)
        for _ in range(2):
            assert bring(release, is_quiet=True, may_be_local=True).read_bytes() == content
    assert [wanted for _, wanted in served.asked] == ["", "bytes=100000-"]


def test_another_system_than_the_published_one_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = os.urandom(300_000)
    with serve(Served(content[::-1])) as address, pytest.raises(ModelError, match="not the file that is meant"):
        bring(published(address, content), is_quiet=True, may_be_local=True)
    assert list((tmp_path / "edgecam/images").iterdir()) == []


def test_a_system_that_was_kept_and_is_damaged_is_told_removed_and_brought_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = os.urandom(300_000)
    kept = tmp_path / "edgecam/images/system.img.xz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with serve(Served(content)) as address:
        release = published(address, content).model_copy(update={"url": f"{address}/system.img.xz"})
        assert bring(release, is_quiet=True, may_be_local=True).read_bytes() == content
        told = capsys.readouterr().err
        assert f"{kept} is damaged" in told
        assert "removed and brought again" in told
        # and without a network it is not taken for whole
        kept.write_bytes(content[::-1])
    with pytest.raises(UnavailableError, match=r"bring .* by hand"):
        bring(release, is_quiet=True, may_be_local=True)
    assert not kept.exists()


def test_without_a_network_it_says_what_to_bring_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UnavailableError, match="by hand, and name it: --image FILE --sha256 cdcd"):
        bring(published("http://127.0.0.1:1/system.img.xz", b"x"), is_quiet=True, may_be_local=True)


def test_an_image_is_never_written_over_by_itself(bundle: Path, tmp_path: Path) -> None:
    image = tmp_path / "system.img"
    image.write_bytes(b"the only one")
    (tmp_path / "link").symlink_to(image)
    why = run(tmp_path / "link", "--image", image, "--bundle", bundle, "--yes").exception
    assert isinstance(why, EdgecamError)
    assert "is the image itself" in str(why)
    assert image.read_bytes() == b"the only one"
