"""A disk with the packages installed, and boots of it in an emulated machine. `make test-vm` says where both are."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.simulators.broker import Mosquitto, find_mosquitto
from tests.simulators.greedy import greedy, put_on_trial
from tests.simulators.models import write_folder, yolox, yolox_answer
from tests.simulators.virtual_machine import VirtualMachine

KERNEL, PACKAGES = os.environ.get("EDGECAM_VM", ""), os.environ.get("EDGECAM_VM_PACKAGES", "")
AGENT = """
[Unit]
After=systemd-udevd.service dev-virtio\\x2dports-edgecam.device
Wants=dev-virtio\\x2dports-edgecam.device
[Service]
ExecStartPre=/bin/sh -c 'ip address add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.2.2'
ExecStart=/usr/bin/python3 /usr/local/lib/edgecam-agent.py
Restart=always
[Install]
WantedBy=multi-user.target
"""
# what an emulated processor needs is time: 10 times that of a slow board
PATIENT = "[Service]\nTimeoutStartSec=1200\nWatchdogSec=600\n"
WATCHDOG = "[Manager]\nRuntimeWatchdogSec=60\n"
MODEL = "/srv/models/few"  # a detector that is quick on any processor: it always sees the same four
LADDER = "/srv/models/ladder"  # its best file takes too much memory, the next is the one above
STATE = "/srv/state"  # of a device that has another version of it on trial
SEES = ((9, 0, 0.9), (27, 2, 0.9), (45, 7, 0.8), (66, 5, 0.8))  # cell, label, score
GREEDY_MB = 800  # of 1,024 in the machine; the unit's limit lies at 60 %


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="needs root, a kernel to emulate and the packages: sudo make test-vm")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(3600))
            if not (KERNEL and PACKAGES):
                item.add_marker(skip)


def _put_models(root: Path) -> None:
    """Put a model there, and the state of a device on which one is on trial that cannot but take too much memory."""
    weights = yolox(yolox_answer(*SEES))
    too_much = greedy(weights, GREEDY_MB)
    write_folder(root / MODEL[1:], {"fp32": weights})
    write_folder(root / LADDER[1:], {"fp32": too_much, "fp16": weights})
    with tempfile.TemporaryDirectory() as name:
        folder = write_folder(Path(name) / Path(MODEL).name, {"fp32": too_much})
        put_on_trial(root / STATE[1:], folder)


def _put(root: Path, inside: str, content: str) -> None:
    path = root / inside
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture(scope="session")
def disk() -> Iterator[Path]:
    """A file system with the packages, installed as in an image: while nothing runs."""
    with tempfile.TemporaryDirectory(prefix="edgecam-vm-") as name:
        root = Path(name) / "root"
        root.mkdir()
        archive = f"--file={KERNEL}/root.tar"
        subprocess.run(["tar", "--extract", "--preserve-permissions", archive, f"--directory={root}"], check=True)
        (root / "packages").mkdir()
        for package in Path(PACKAGES).glob("edgecam*_*.deb"):
            shutil.copy(package, root / "packages")
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe"]
        command += [f"--directory={root}", f"--machine=edgecam-vm-{os.getpid()}", "sh", "-c"]
        install = (
            "dpkg -i /packages/*.deb && rm -r /packages && systemctl enable edgecam-agent && systemctl disable edgecam"
        )
        _put(root, "usr/local/lib/edgecam-agent.py", (Path(__file__).parent / "agent.py").read_text())
        _put(root, "etc/systemd/system/edgecam-agent.service", AGENT)
        _put(root, "etc/systemd/system/edgecam.service.d/patient.conf", PATIENT)
        _put(root, "etc/systemd/system.conf.d/watchdog.conf", WATCHDOG)
        _put_models(root)
        _put(root, "etc/modules-load.d/vm.conf", "virtio_console\nvirtio_net\nvirtio_rng\n")
        done = subprocess.run([*command, install], capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        disk = Path(name) / "disk"
        with disk.open("wb") as file:
            file.truncate(2 << 30)
        subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root), str(disk)], check=True)
        shutil.rmtree(root)
        yield disk


@pytest.fixture(scope="session")
def boot(disk: Path) -> Iterator[Callable[[], AbstractContextManager[VirtualMachine]]]:
    """Boots the disk."""
    with tempfile.TemporaryDirectory(prefix="edgecam-vm-") as folder:
        yield lambda: VirtualMachine(disk, Path(KERNEL), Path(folder))


@pytest.fixture(scope="session")
def machine(boot: Callable[[], AbstractContextManager[VirtualMachine]]) -> Iterator[VirtualMachine]:
    """One boot for all tests: it takes minutes."""
    with boot() as machine:
        yield machine


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    assert find_mosquitto(), "mosquitto is not installed"
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()
