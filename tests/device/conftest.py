"""A root with the packages installed, and boots of it. `make test-system` says where both are."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.simulators.broker import Mosquitto, find_mosquitto
from tests.simulators.guest import Device, Guest, Network, install

ROOT, PACKAGES = os.environ.get("EDGECAM_ROOT", ""), os.environ.get("EDGECAM_PACKAGES", "")
PORT = 18831  # of the broker, on this machine's end of the guest's cable


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="needs root, a bare system and the packages: sudo make test-system")
    for item in items:
        if Path(__file__).parent in item.path.parents and not (ROOT and PACKAGES):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def packages() -> list[Path]:
    """The application and its libraries, in the order in which they are installed."""
    found = sorted(Path(PACKAGES).resolve().glob("edgecam*_*.deb"))
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout
    ours = [path for path in found if path.stem.endswith((f"_{architecture.strip()}", "_all"))]
    assert len(ours) == 2, f"{PACKAGES}: {[path.name for path in found]}"
    return ours


@pytest.fixture(scope="session")
def bare() -> Iterator[Path]:
    """A system without the packages."""
    # in memory where that is ample: ten thousand files take their time on a disk. Not pytest's folder: it keeps three
    memory = Path("/dev/shm")  # noqa: S108 - tempfile makes the folder
    is_ample = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    with tempfile.TemporaryDirectory(prefix="edgecam-root-", dir=memory if is_ample else None) as folder:
        subprocess.run(
            ["tar", "--extract", "--preserve-permissions", f"--file={ROOT}", f"--directory={folder}"], check=True
        )
        yield Path(folder)


@pytest.fixture(scope="session")
def installed(bare: Path, packages: list[Path]) -> Path:
    """The system with the packages, as an image is built: while nothing runs."""
    install(bare, packages)
    return bare


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def broker(network: Network, tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto that listens on the guest's cable, too; not started yet."""
    assert find_mosquitto(), "mosquitto is not installed"
    broker = Mosquitto(tmp_path, (f"listener {PORT} {network.here}",))
    yield broker
    broker.stop()


@pytest.fixture
def boot(installed: Path, network: Network, tmp_path: Path) -> Callable[[], AbstractContextManager[Guest]]:
    """Boots the system with the packages; no camera is configured yet."""
    return lambda: Guest(installed, network, tmp_path / "console")


@pytest.fixture
def device(boot: Callable[[], AbstractContextManager[Guest]], network: Network) -> Iterator[Device]:
    """The system, booted, with a synthetic camera configured and nothing running."""
    with boot() as guest:
        device = Device(guest, f"mqtt://{network.here}:{PORT}")
        device.configure("street")
        yield device
