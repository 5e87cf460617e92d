"""A machine to install packages on: a real systemd in a container, its network a namespace of its own.

What systemd-nspawn does not enforce here, so that no test may rely on it: MemoryMax, TasksMax, CPUQuota, DeviceAllow,
and IPAddressDeny.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.cli.client import Daemon
from appliance.core.errors import UnavailableError
from tests.simulators.control_group import ControlGroup

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def wait_for(question: Callable[[], Any], within: float, what: str, every: float = 0.1) -> Any:
    """Ask until the answer is true and give it."""
    deadline = time.monotonic() + within
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(every)
    return answer


class Network:
    """A namespace for the guest, joined to this machine by one cable.

    Attributes:
        here: This machine's address on the cable.
        there: The guest's.
        path: What systemd-nspawn is given.
    """

    def __init__(self) -> None:
        number = os.getpid() % 8192
        self._name, self._cable = f"edgecam-{number}", f"ec{number}"
        subnet = f"10.213.{number // 32 % 256}.{number % 32 * 8}"
        first, _, last = subnet.rpartition(".")
        self.here, self.there = f"{first}.{int(last) + 1}", f"{first}.{int(last) + 2}"
        self.path = f"/run/netns/{self._name}"

    def __enter__(self) -> Self:
        _ip("netns", "add", self._name)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        _ip("address", "add", f"{self.here}/29", "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        for arguments in (
            ("address", "add", f"{self.there}/29", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", self._name, *arguments)
        return self

    def __exit__(self, *error: object) -> None:
        _ip("netns", "delete", self._name)  # the cable goes with it

    def plug(self, *, is_in: bool) -> None:
        """Plug the cable in, or pull it."""
        _ip("link", "set", self._cable, "up" if is_in else "down")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


class Machine(ABC):
    """A machine with the appliance on it, as its owner's shell sees it."""

    @abstractmethod
    def run(self, *command: str, check: bool = False, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command there, as root."""

    @abstractmethod
    def write(self, inside: str, content: str) -> None:
        """Write a file there."""

    def show(self, name: str, unit: str = "edgecam.service") -> str:
        """Give a property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit, check=True).stdout.strip()

    def status(self) -> dict[str, Any]:
        """Give what the daemon says of itself; empty while it does not answer."""
        done = self.run("edgecam", "status", "--json")
        try:
            found = json.loads(done.stdout)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def journal(self, unit: str = "edgecam.service") -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout


# the daemon as its unit starts it, until it has seen something
_START_ONCE = """\
install --directory --owner=edgecam --group=edgecam --mode=750 /var/cache/edgecam
printf '[messaging]\\nbroker = "mqtt://127.0.0.1:1"\\n[cameras.street]\\nkind = "synthetic"\\n' >/tmp/edgecam.toml
export PYTHONPATH=/usr/lib/edgecam/app PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1 PYTHONPYCACHEPREFIX=/var/cache/edgecam/python
setpriv --reuid=edgecam --regid=edgecam --clear-groups /usr/bin/python3 -OO -m appliance.daemon \
  --config /tmp/edgecam.toml --state-dir /tmp/edgecam >/tmp/said 2>&1 &
for _ in $(seq 300); do ! grep -q appeared /tmp/said || break; sleep 0.2; done
kill $! && wait $! && grep appeared /tmp/said
"""


def install(root: Path, packages: list[Path]) -> None:
    """Install packages into a root as an image is built: while nothing of it runs. They stay in its /packages."""
    (root / "packages").mkdir()
    for package in packages:
        shutil.copy(package, root / "packages")
    _run_offline(root, "dpkg -i /packages/*.deb")


def start_once(root: Path) -> None:
    """Have the daemon run once: what Python compiles is kept, as on a device, or each boot of the root compiled it."""
    _run_offline(root, _START_ONCE)


def _run_offline(root: Path, script: str) -> None:
    command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", f"--directory={root}"]
    done = subprocess.run(
        [*command, "--console=pipe", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Guest(Machine):
    """One boot of a root.

    Args:
        root: A folder with a system.
        network: Where it is attached.
        console: A file for what the console shows.
        overlaid: Files of this machine that are in place of the guest's, by their paths there; read-only.
        volatile: `overlay`: whatever it writes is gone afterwards; `state`: the root is read-only, and /var is empty
            and in memory; `no`: what it writes stays in the root.
        within: Seconds that its boot may take; None: it is not waited for.
    """

    def __init__(
        self,
        root: Path,
        network: Network,
        console: Path,
        *,
        overlaid: Mapping[str, Path] | None = None,
        volatile: str = "overlay",
        within: float | None = 30.0,
    ) -> None:
        self._root, self._network, self._console = root, network, console
        self._overlaid, self._volatile, self._within = overlaid or {}, volatile, within
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._group = ControlGroup(f"edgecam-{os.getpid()}")

    def __enter__(self) -> Self:
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={self._root}", "--boot"]
        command += [f"--machine=edgecam-{os.getpid()}", f"--volatile={self._volatile}"]
        command += [f"--bind-ro={here}:{inside}" for inside, here in self._overlaid.items()]
        if self._volatile == "no":
            command += ["--timezone=off", "--resolv-conf=off"]  # what it says itself is not to be written over
        # the clock is only asked: timesyncd does not run in a container
        command += [f"--network-namespace-path={self._network.path}", "--capability=CAP_SYS_TIME"]
        self._group.begin()
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                self._group.within(command),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "UNIFIED_CGROUP_HIERARCHY": "1"},  # a cgroup tree as devices have it
            )
        try:
            self._leader = wait_for(self._find_leader, 20, f"systemd in the container; see {self._console}")
            assert self._group.name in Path(f"/proc/{self._leader}/cgroup").read_text(), "it shares a group with others"
            if self._within is not None:
                self.wait_for_boot(self._within)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def wait_for_boot(self, within: float) -> None:
        """Wait until nothing is left to be started."""
        states = ("running", "degraded")
        wait_for(lambda: self.run("systemctl", "is-system-running").stdout.strip() in states, within, "the boot")

    def _end(self) -> None:
        assert self._process is not None
        if self._leader:
            os.kill(self._leader, signal.SIGKILL)  # what it would write in an orderly end is thrown away as well
        else:
            self._process.kill()
        self._process.wait(20)
        wait_for(self._group.end, 10, "the end of all of its processes")

    def _find_leader(self) -> int:
        """Give the container's first process, by this machine's number: the first child alone may be another one."""
        assert self._process is not None
        assert self._process.poll() is None, self._console.read_text(errors="replace")[-2000:]
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:
            try:
                status = Path(f"/proc/{child}/status").read_text()
            except OSError:
                continue
            lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            if lines.get("NSpid", "").split()[-1:] == ["1"] and lines["Name"] == "systemd":
                return int(child)
        return 0

    def run(self, *command: str, check: bool = False, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the guest, as root."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]
        clean = ["/usr/bin/env", "-i", f"PATH={PATH}", "TERM=dumb", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        done = subprocess.run(
            [*enter, *clean, *command], capture_output=True, text=True, timeout=within, check=False, cwd="/"
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def status(self) -> dict[str, Any]:
        """Give what the daemon says of itself, asked from here: the guest need not start a Python for each question."""
        try:
            return Daemon(self.path("/run/edgecam/edgecam.sock")).status()
        except UnavailableError:
            return {}

    def path(self, inside: str) -> Path:
        """Give a file of the guest, as seen from here."""
        return Path(f"/proc/{self._leader}/root{inside}")

    def write(self, inside: str, content: str) -> None:
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def number_here(self, inside: int) -> int:
        """Give this machine's number of a process of the guest."""
        ours = Path(f"/proc/{self._leader}/ns/pid").readlink()
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
                if lines["NSpid"].split()[-1] == str(inside) and (status.parent / "ns/pid").readlink() == ours:
                    return int(status.parent.name)
            except OSError:  # it has ended
                continue
        raise AssertionError(f"no process {inside} in the guest")


class Appliance:
    """The appliance on a machine.

    Args:
        guest: Where it is installed.
        broker: What it is to publish to.
    """

    def __init__(self, guest: Machine, broker: str) -> None:
        self.guest, self.broker = guest, broker

    def configure(self, camera: str, messaging: str = "", top: str = "") -> None:
        """Write its configuration: one synthetic camera of this name, and more lines."""
        self.write(f"[cameras.{camera}]", 'kind = "synthetic"', messaging=messaging, top=top)

    def write(self, *lines: str, messaging: str = "", top: str = "") -> None:
        """Write its configuration: the broker, and these lines."""
        first = [top, "[messaging]", f'broker = "{self.broker}"', messaging]
        self.guest.write("/etc/edgecam/edgecam.toml", "\n".join([*first, *lines, ""]))

    def drop_in(self, lines: str, unit: str = "edgecam.service") -> None:
        """Change a unit as `systemctl edit` does."""
        self.guest.write(f"/etc/systemd/system/{unit}.d/test.conf", f"[Service]\n{lines}\n")
        self.guest.run("systemctl", "daemon-reload", check=True)

    def start(self) -> None:
        """Start it; systemd answers once it says that it is ready."""
        done = self.guest.run("systemctl", "start", "edgecam")
        assert done.returncode == 0, self.guest.journal()[-3000:]

    def wait_for(self, question: Callable[[dict[str, Any]], Any], within: float, what: str) -> dict[str, Any]:
        """Wait until its state answers the question with yes, and give the state."""
        found: dict[str, Any] = {}

        def ask() -> bool:
            found.clear()
            found.update(self.guest.status())
            return bool(found and question(found))

        try:
            wait_for(ask, within, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(found)[:2000]}\n{self.guest.journal()[-2000:]}") from error
        return found

    def watch(self, camera: str = "street") -> dict[str, Any]:
        """Wait until frames are looked at."""
        return self.wait_for(
            lambda now: now["cameras"].get(camera, {}).get("frames_processed", 0) > 3, 40, f"frames of {camera}"
        )


class Device(Appliance):
    """The appliance in a container."""

    def __init__(self, guest: Guest, broker: str) -> None:
        super().__init__(guest, broker)
        self.guest: Guest = guest
