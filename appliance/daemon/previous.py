"""The packages that an upgrade replaces, kept as they are installed, so that they can be installed again.

Nothing is copied: kept files are further names of the installed ones, and dpkg puts new files in place of old names.
Standard library alone: it runs where the libraries of a new version may be missing.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from appliance.core.errors import StorageError, UnavailableError
from appliance.core.files import write_atomically

PACKAGES: Final = ("edgecam-runtime", "edgecam")  # in the order in which they are installed
SHIPPED: Final = Path("/usr/share/edgecam/etc")  # the configuration as it came, where the owner does not change it
_STATES: Final = frozenset({"Status", "Config-Version", "Conffiles"})  # fields that only dpkg's own records have
_SCRIPTS: Final = ("md5sums", "conffiles", "preinst", "postinst", "prerm", "postrm", "triggers")
_ASK_WITHIN, _BUILD_WITHIN = 60.0, 900.0  # seconds; a card writes 400 MB slowly


def keep(package: str, tree: Path, *, admin: Path = Path("/var/lib/dpkg"), shipped: Path = SHIPPED) -> None:
    """Keep an installed package in an empty folder, laid out as ``dpkg-deb --build`` wants it.

    Args:
        package: Its name.
        tree: The folder; made.
        admin: Where dpkg has its records.
        shipped: Where configuration files are as they came.

    Raises:
        UnavailableError: dpkg does not know the package, or does not answer.
        StorageError: A file cannot be kept.
    """
    listed = _dpkg_query(admin, "--listfiles", package).splitlines()
    scripts = {name: admin / "info" / f"{package}.{name}" for name in _SCRIPTS}
    control = _dpkg_query(admin, "--status", package)
    try:
        (tree / "DEBIAN").mkdir(parents=True)
        conffiles = scripts["conffiles"].read_text().split() if scripts["conffiles"].is_file() else []
        for path in map(Path, listed):
            # the owner's configuration is not kept: dpkg would take it for what the package brings
            is_conffile = str(path) in conffiles
            # what is not there was left out when it was installed: dpkg.cfg(5), path-exclude
            if is_conffile or os.path.lexists(path):
                _keep_file(shipped / path.name if is_conffile else path, tree / path.relative_to("/"))
        for name, script in scripts.items():
            if script.is_file():
                shutil.copy2(script, tree / "DEBIAN" / name)
        write_atomically(tree / "DEBIAN/control", without_state(control).encode(errors="surrogateescape"))
    except OSError as error:
        raise StorageError(f"{package} cannot be kept below {tree}: {error}") from error


def without_state(status: str) -> str:
    """Give the control file of a package from what ``dpkg-query --status`` tells of it."""
    kept, is_kept = [], True
    for line in status.splitlines():
        if not line.startswith(" "):
            is_kept = line.partition(":")[0] not in _STATES
        if is_kept and line:
            kept.append(line)
    return "\n".join([*kept, ""])


def _keep_file(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)


def version_of(tree: Path) -> str:
    """Give the version of a kept package; empty where none is kept."""
    try:
        lines = (tree / "DEBIAN/control").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Version:")), "")


def build(tree: Path, package: Path) -> None:
    """Make a package of what was kept.

    Raises:
        StorageError: It cannot be written.
    """
    # not compressed: it is installed at once and removed, and a Pi would take minutes for it
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(package)]
    try:
        done = subprocess.run(  # noqa: S603 - dpkg's own
            command, capture_output=True, text=True, errors="replace", timeout=_BUILD_WITHIN, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StorageError(f"{package} cannot be made of what was kept in {tree}: {error}") from error
    if done.returncode != 0:
        raise StorageError(f"{package} cannot be made of what was kept in {tree}: {done.stderr.strip()[-500:]}")


def _dpkg_query(admin: Path, *arguments: str) -> str:
    command = ["dpkg-query", f"--admindir={admin}", *arguments]
    try:
        # what is no text comes back as it was: under another name a file would not be kept
        done = subprocess.run(  # noqa: S603 - dpkg's own
            command, capture_output=True, text=True, errors="surrogateescape", timeout=_ASK_WITHIN, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"dpkg cannot be asked for its packages: {error}") from error
    if done.returncode != 0:
        raise UnavailableError(f"dpkg does not tell of a package: {done.stderr.strip()[-500:]}")
    return done.stdout
