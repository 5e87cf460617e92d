"""`edgecam-workbench flash`: writes a card with Raspberry Pi OS Lite and the first-boot bundle."""

import json
import os
import re
import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.core.command import answered, left_in_order
from appliance.core.digest import sha256_of_file
from appliance.core.errors import ConfigError, UnavailableError
from appliance.workbench.flashing.bootfs import check_tools, put_files
from appliance.workbench.flashing.released import PINNED, Release, newest
from appliance.workbench.flashing.target import Target, is_another, read_target, refusal
from appliance.workbench.flashing.writing import claimed, look_through, read_back, write_image

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from appliance.provisioning import Asked

_BUNDLE = Path("dist/card")
_LEAST = 1 << 30  # bytes that a system needs, where nothing is known of it
_SETUP = "edgecam-setup.toml"


@click.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="DEVICE|FILE")
@click.option(
    "--setup", type=click.Path(path_type=Path), help="What the device is to be; else to be edited on the card."
)
@click.option("--bundle", type=click.Path(path_type=Path), default=_BUNDLE, show_default=True, help="Of `make image`.")
@click.option("--image", type=click.Path(path_type=Path), help="An image in place of the one that is brought.")
@click.option("--sha256", metavar="HEX", help="SHA-256 that --image has, packed or unpacked.")
@click.option("--newest", "is_newest", is_flag=True, help=f"The newest system, not the one of {PINNED.release_date}.")
@click.option("--fixed", is_flag=True, help="The disk cannot be pulled out, and is meant nevertheless.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def flash(
    target: Path,
    *,
    setup: Path | None,
    bundle: Path,
    image: Path | None,
    sha256: str | None,
    is_newest: bool,
    fixed: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Write Raspberry Pi OS Lite (64-bit) and the first-boot bundle to DEVICE, a card such as /dev/sdb, or to FILE.

    All that was there is lost. The system is brought with its published SHA-256, checked, written, read back. An image
    of yours is read to its end before anything is lost. A disk that this system uses is never written to.

    Exit status: 0 it can be started, 65 the image is not the one that is meant, 69 it cannot be had, 74 the card does
    not take it or the image cannot be read, 78 DEVICE or the setup file is not accepted.
    """
    asked = _check_setup(setup)
    if not (bundle / "user-data").is_file():
        raise ConfigError(f"{bundle} is no first-boot bundle; do: make deb image")
    _check_words(target, setup, image, sha256, is_newest=is_newest)
    release = None if image is not None else newest() if is_newest else PINNED
    place = read_target(target)
    needed = release.extract_size if release else max(_LEAST, _size(image))
    _check(place, needed, is_fixed_wanted=fixed, is_sure=yes, may_ask=not as_json)
    check_tools()  # not once the card is written, minutes later
    with left_in_order(), tempfile.TemporaryDirectory(prefix="edgecam-card-") as folder:
        _gather(Path(folder), bundle, setup, asked)
        source = image if release is None else bring(release, is_quiet=as_json)
        assert source is not None  # noqa: S101 - for the types: one of the two is there
        wanted = release.extract_sha256 if release else sha256.lower() if sha256 else None
        if release is None:
            with _bar("checking", is_quiet=as_json) as progress:
                needed = max(needed, look_through(source, wanted, progress))
        _check_again(place, needed, is_fixed_wanted=fixed)
        with claimed(target) as disk:
            with _bar("writing", is_quiet=as_json) as progress:
                digest, size = write_image(source, disk, wanted, release.extract_size if release else None, progress)
            with _bar("reading back", is_quiet=as_json) as progress:
                read_back(target, digest, size, progress)
            put_files(target, Path(folder))
    _tell(target, digest, size, asked, is_checked=wanted is not None, as_json=as_json)


def _check_setup(setup: Path | None) -> "Asked | None":
    """Check here what the device would refuse there."""
    if setup is None:
        return None
    from appliance.provisioning import Places, read_setup

    with tempfile.TemporaryDirectory() as nowhere:
        zones = Path(nowhere, "usr/share/zoneinfo")
        zones.parent.mkdir(parents=True)
        zones.symlink_to("/usr/share/zoneinfo")
        return read_setup(setup, Places(Path(nowhere)), lambda _: False)


def _check_words(target: Path, setup: Path | None, image: Path | None, sha256: str | None, *, is_newest: bool) -> None:
    """Refuse what was asked and cannot be meant, before anything is brought or lost."""
    if image is None and sha256 is not None:
        raise ConfigError("--sha256 is that of --image, which was not given; what is brought is checked by its own")
    if image is not None and is_newest:
        raise ConfigError("--image and --newest say two different things; leave one of them out")
    if sha256 is not None and not re.fullmatch("[0-9A-Fa-f]{64}", sha256):
        raise ConfigError(f"--sha256 has {len(sha256)} characters; accepted: 64 hexadecimal digits")
    if image is not None and not image.is_file():
        raise ConfigError(f"{image} is no file; accepted: .img or .img.xz of Raspberry Pi OS Lite (64-bit)")
    for named, what in ((image, "the image"), (setup, "the setup file")):
        if named is not None and target.exists() and named.samefile(target):
            raise ConfigError(f"{target} is {what} itself: give the card or another file")


def _size(image: Path | None) -> int:
    return image.stat().st_size if image is not None else 0


def _check(place: Target, needed: int, *, is_fixed_wanted: bool, is_sure: bool, may_ask: bool) -> None:
    if why := refusal(place, needed, is_fixed_wanted=is_fixed_wanted):
        raise ConfigError(why)
    if (place.is_disk or place.is_used) and not is_sure:
        if not may_ask:
            raise ConfigError(f"all that is on {place.path} will be lost: with --json, say --yes")
        question = f"ALL that is on {place.path} ({place.title}) will be lost. Go on?"
        with answered(f"whether all that is on {place.path} may be lost", "to agree to it without being asked: --yes"):
            click.confirm(question, default=False, abort=True, err=True)


def _check_again(before: Target, needed: int, *, is_fixed_wanted: bool) -> None:
    """Refuse what has changed while the owner was asked and the system brought: that takes minutes."""
    now = read_target(before.path)
    if is_another(before, now):
        raise ConfigError(f"{now.path} was {before.title}, and is another disk now ({now.title}); nothing was written")
    if why := refusal(now, needed, is_fixed_wanted=is_fixed_wanted):
        raise ConfigError(why)


def bring(release: Release, *, is_quiet: bool, may_be_local: bool = False) -> Path:
    """Bring a system, or take the one that was brought before, if that is still what was published; blocks.

    Args:
        release: Which.
        is_quiet: Without a progress bar.
        may_be_local: ``http://`` of this machine is accepted too, for tests.

    Raises:
        ModelError: What came is another file.
        StorageError: It cannot be kept.
        UnavailableError: It cannot be had; what came is gone on from.
    """
    from appliance.core.download import Wanted, download
    from appliance.core.files import make_folder

    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "edgecam/images")
    make_folder(folder)
    path, size = folder / release.url.rpartition("/")[2], release.image_download_size
    if path.exists() and path.stat().st_size == size:
        if sha256_of_file(path) == release.image_download_sha256:
            return path
        click.echo(
            f"{path} is damaged: its SHA-256 is not the published one. It is removed and brought again", err=True
        )
        path.unlink()
    wanted = Wanted(release.url, release.image_download_sha256, size, size, may_be_local=may_be_local)
    try:
        with _bar("bringing", is_quiet=is_quiet) as progress:
            download(wanted, path, progress)
    except UnavailableError as error:
        raise UnavailableError(
            f"{str(error).partition('; ')[0]}; bring {release.url} by hand, and name it: --image FILE "
            f"--sha256 {release.extract_sha256}"
        ) from error
    return path


def _gather(folder: Path, bundle: Path, setup: Path | None, asked: "Asked | None") -> None:
    """Put together what goes onto the boot partition."""
    shutil.copytree(bundle, folder, dirs_exist_ok=True)
    if setup is None or asked is None:
        return
    (folder / _SETUP).write_text(asked.text, encoding="utf-8")
    named = [asked.setup.fleet.root_file] if asked.setup.fleet else []
    if broker := asked.setup.broker:
        named += [name for name in (broker.ca_file, broker.cert_file, broker.key_file) if name is not None]
    for name in named:
        if (folder / name).exists():
            raise ConfigError(f"{setup}: a file of the bundle is called {name}, too; give yours another name")
        shutil.copy(setup.parent / name, folder / name)


def _tell(target: Path, digest: str, size: int, asked: "Asked | None", *, is_checked: bool, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {"target": str(target), "sha256": digest, "bytes": size, "is_checked": is_checked}
        click.echo(json.dumps(told))
        return
    click.echo(f"{target} has the system ({size / 1e9:.2f} GB, SHA-256 {digest[:12]}…) and Edgecam beside it.")
    if not is_checked:
        click.echo("The image was not checked against anything: give --sha256.")
    if asked is None:
        click.echo(f"Now change {_SETUP} on its boot partition: who may log in, which broker, which cameras.")
    elif asked.setup.ssh is None or not asked.setup.ssh.keys:
        click.echo("Nobody will be able to log in: the setup file has no [ssh] keys.")
    click.echo(
        "Start the device with it; minutes later edgecam-setup-report.txt beside the setup file says how it went."
    )


def _bar(title: str, *, is_quiet: bool) -> "AbstractContextManager[Any]":
    """Give what shows how many bytes are done: a bar when a person looks at it."""
    if is_quiet or not sys.stderr.isatty():
        return nullcontext(lambda _there, _whole: None)
    return _Bar(title)


class _Bar:
    """A progress bar on standard error."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (TextColumn(title), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(title, total=None)

    def __enter__(self) -> Any:
        self._progress.start()
        return lambda there, whole: self._progress.update(self._task, completed=there, total=whole)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
