import os
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.daemon.previous import build, keep, version_of, without_state

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed: apt install dpkg")

STATUS = """Package: thing
Status: install ok installed
Version: 1.2
Architecture: all
Maintainer: Somebody <some@example.org>
Conffiles:
 {conffile} 0123456789abcdef0123456789abcdef
Description: a thing
 with more to say
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with a package: a file, a link, and a configuration that its owner has changed."""
    root = tmp_path / "machine"
    for name, content in {
        "usr/thing": "the thing",
        "etc/edgecam.toml": "the owner's",
        "shipped/edgecam.toml": "ours",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "usr/link").symlink_to("thing")
    conffile = root / "etc/edgecam.toml"
    info = root / "admin/info"
    info.mkdir(parents=True)
    (root / "admin/status").write_text(STATUS.format(conffile=conffile))
    names = ["usr", "usr/thing", "usr/link", "etc", "etc/edgecam.toml", "usr/left-out-when-installed"]
    (info / "thing.list").write_text("/.\n" + "".join(f"{root / name}\n" for name in names))
    (info / "thing.conffiles").write_text(f"{conffile}\n")
    (info / "thing.prerm").write_text("#!/bin/sh\n")
    (info / "thing.prerm").chmod(0o755)
    return root


def test_what_is_kept_can_be_installed_again(machine: Path, tmp_path: Path) -> None:
    tree, package = tmp_path / "tree", tmp_path / "thing.deb"
    here = tree / machine.relative_to("/")
    keep("thing", tree, admin=machine / "admin", shipped=machine / "shipped")
    assert (here / "usr/thing").stat().st_ino == (machine / "usr/thing").stat().st_ino  # no byte is copied
    build(tree, package)
    assert version_of(tree) == "1.2"
    told = subprocess.run(["dpkg-deb", "--info", package], capture_output=True, text=True, check=True).stdout
    assert "with more to say" in told
    assert "Status" not in told
    unpacked = tmp_path / "unpacked"
    subprocess.run(["dpkg-deb", "--raw-extract", package, unpacked], check=True)
    again = unpacked / machine.relative_to("/")
    assert (again / "usr/thing").read_text() == "the thing"
    assert (again / "usr/link").readlink() == Path("thing")
    assert (again / "etc/edgecam.toml").read_text() == "ours"  # or dpkg took the owner's for what is brought
    assert (unpacked / "DEBIAN/prerm").stat().st_mode & 0o777 == 0o755


def test_names_and_fields_that_are_no_text_are_kept_as_they_are(machine: Path, tmp_path: Path) -> None:
    name = b"usr/th\xefng"
    with (machine / "admin/info/thing.list").open("ab") as listed:
        listed.write(os.fsencode(machine) + b"/" + name + b"\n")
    Path(os.fsdecode(os.fsencode(machine) + b"/" + name)).write_text("another thing")
    status = machine / "admin/status"
    status.write_bytes(status.read_bytes().replace(b"a thing", b"a th\xefng"))
    tree = tmp_path / "tree"
    keep("thing", tree, admin=machine / "admin", shipped=machine / "shipped")
    kept = os.fsencode(tree / machine.relative_to("/"))
    assert Path(os.fsdecode(kept + b"/" + name)).read_text() == "another thing"
    assert b"Description: a th\xefng" in (tree / "DEBIAN/control").read_bytes()
    assert version_of(tree) == "1.2"


def test_a_package_that_is_not_installed_is_refused(machine: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nothing"):
        keep("nothing", tmp_path / "tree", admin=machine / "admin")


def test_what_only_dpkg_records_is_not_in_a_control_file() -> None:
    text = without_state(STATUS.format(conffile="/etc/x"))
    assert text.splitlines()[-3:] == [
        "Maintainer: Somebody <some@example.org>",
        "Description: a thing",
        " with more to say",
    ]
    assert "0123" not in text
