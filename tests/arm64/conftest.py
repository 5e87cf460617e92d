"""A Debian for arm64 with the packages installed, under qemu. `make test-arm64` says where both come from."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.emulated import Emulated

ROOT, PACKAGES = os.environ.get("EDGECAM_ARM64_ROOT", ""), os.environ.get("EDGECAM_ARM64_PACKAGES", "")
BESIDES = "agreement"  # what needs none of this


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="needs root, qemu, an arm64 system and the packages: sudo make test-arm64")
    for item in items:
        if Path(__file__).parent in item.path.parents and BESIDES not in item.path.name and not (ROOT and PACKAGES):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def packages() -> list[Path]:
    """The libraries and the application, in the order in which they are installed."""
    folder = Path(PACKAGES).resolve()
    found = [*sorted(folder.glob("edgecam-runtime_*_arm64.deb")), *sorted(folder.glob("edgecam_*_all.deb"))]
    assert len(found) == 2, f"{PACKAGES}: {[path.name for path in found]}"
    return found


@pytest.fixture(scope="session")
def installed(packages: list[Path]) -> Iterator[Emulated]:
    """The system with the packages, installed by dpkg for arm64 while nothing runs, as an image is built."""
    with tempfile.TemporaryDirectory(prefix="edgecam-arm64-") as folder:
        subprocess.run(
            ["tar", "--extract", "--preserve-permissions", f"--file={ROOT}", f"--directory={folder}"], check=True
        )
        system = Emulated(Path(folder))
        for package in packages:
            shutil.copy(package, system.path(package.name))
        # what is thrown away afterwards need not be on the disk; the system leaves documentation out, ours is looked at
        options = ["--force-unsafe-io", "--path-include=/usr/share/*"]
        system.run("dpkg", *options, "-i", *(f"/{package.name}" for package in packages), within=2400)
        for package in packages:
            system.path(package.name).unlink()
        yield system
