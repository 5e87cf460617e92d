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
from tests.simulators.guest import Device, Guest, Network, install, start_once
from tests.simulators.held import held
from tests.simulators.ssh import make_key

ROOT, PACKAGES = os.environ.get("EDGECAM_ROOT", ""), os.environ.get("EDGECAM_PACKAGES", "")
PORT = 18831  # of the broker, on this machine's end of the guest's cable


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="needs root, a bare system and the packages: sudo make test-system")
    for item in items:
        if Path(__file__).parent in item.path.parents and not (ROOT and PACKAGES):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def packages() -> list[Path]:
    """The libraries and the application, in the order in which they are installed."""
    found = sorted(Path(PACKAGES).resolve().glob("edgecam*_*.deb"))
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout
    ours = [path for path in found if path.stem.endswith((f"_{architecture.strip()}", "_all"))]
    assert len(ours) == 2, f"{PACKAGES}: {[path.name for path in found]}"
    return ours


def roomy() -> Path:
    """Give the folder for systems and packages: in memory where that is ample, as so many files take their time."""
    memory = Path("/dev/shm")  # noqa: S108 - what lies there has a name of its own
    is_ample = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    return memory if is_ample else Path(tempfile.gettempdir())


def unpack(folder: Path) -> None:
    """Put a system without the packages into a folder."""
    subprocess.run(
        ["tar", "--extract", "--preserve-permissions", f"--file={ROOT}", f"--directory={folder}"], check=True
    )


@pytest.fixture(scope="session")
def bare() -> Iterator[Path]:
    """A system without the packages."""
    with tempfile.TemporaryDirectory(prefix="edgecam-root-", dir=roomy()) as folder:
        unpack(Path(folder))
        yield Path(folder)


@pytest.fixture(scope="session")
def installed(packages: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The system with the packages, as an image is built: while nothing runs. All workers have the same one."""

    def fill(folder: Path) -> None:
        unpack(folder)
        install(folder, packages)
        start_once(folder)

    run, ours = os.environ.get("PYTEST_XDIST_TESTRUNUID"), tmp_path_factory.getbasetemp()
    with held(roomy() / f"edgecam-installed-{run or os.getpid()}", fill, ours.parent if run else ours) as folder:
        yield folder


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The owner's key."""
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not installed: apt-get install openssh-client")
    return make_key(tmp_path_factory.mktemp("owner"))


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
