"""A Debian that has booted from a card with the first-boot bundle: dpkg, apt and the shell are real, systemd is not."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_OWN: Final = ("unshare", "--mount", "--map-root-user", "--propagation", "private")


def can_be_had() -> bool:
    """Tell whether this machine is a Debian that lets one have mounts of one's own."""
    if not all(shutil.which(name) for name in ("unshare", "dpkg-deb", "apt-get", "systemd-analyze")):
        return False
    tried = subprocess.run([*_OWN, "mount", "-t", "tmpfs", "tmpfs", "/var"], capture_output=True, check=False)
    return tried.returncode == 0


class System:
    """A boot partition, and a system of which only /var and /etc are its own.

    Args:
        folder: An empty one, for both.

    Attributes:
        boot: The boot partition.
        etc: What the system sees as /etc.
        units: Where it has systemd's units.
    """

    def __init__(self, folder: Path) -> None:
        self.boot, self._var, self.etc, self._tools = (folder / name for name in ("boot", "var", "etc", "tools"))
        shutil.copytree(_REPOSITORY / "image/bundle", self.boot)
        for place in (
            "lib/dpkg/info",
            "lib/dpkg/updates",
            "lib/dpkg/triggers",
            "lib/apt/lists",
            "cache/apt",
            "log/apt",
        ):
            (self._var / place).mkdir(parents=True)
        (self._var / "lib/dpkg/status").touch()
        self.etc.mkdir()
        for name in ("alternatives", "apt", "dpkg", "group", "ld.so.cache", "ld.so.conf", "nsswitch.conf", "passwd"):
            # who is not root here cannot read all of it, nor need to
            subprocess.run(["cp", "-R", f"/etc/{name}", self.etc], check=False, capture_output=True, timeout=60)
        self.units = self.etc / "systemd/system"
        self.units.mkdir(parents=True)
        self._tools.mkdir()
        asked = self._tools / "systemctl"
        asked.write_text(f'#!/bin/sh\necho "$@" >>"{self._tools}/asked"\n')
        asked.chmod(0o755)

    @property
    def report(self) -> Path:
        """What is told on the card."""
        return self.boot / "edgecam-setup-report.txt"

    @property
    def marker(self) -> Path:
        """What says that all was installed, and of which bundle."""
        return self._var / "lib/edgecam-setup/installed"

    @property
    def packages(self) -> list[str]:
        """The packages that lie on the card."""
        return sorted(path.name for path in (self.boot / "edgecam").iterdir() if path.suffix == ".deb")

    def put(self, name: str, version: str = "1", architecture: str = "all", depends: str = "") -> None:
        """Put a package onto the card, that unpacks to one file below /var."""
        root = self._tools / name
        (root / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (root / f"var/lib/{name}").mkdir(parents=True, exist_ok=True)
        (root / f"var/lib/{name}/file").write_text(version)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
        control += f"Description: a test\n{f'Depends: {depends}' if depends else ''}"
        (root / "DEBIAN/control").write_text(control.strip() + "\n")
        file = self.boot / f"edgecam/{name}_{version}_{architecture}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, file],
            check=True,
            capture_output=True,
            timeout=60,
        )
        self.sign()

    def sign(self) -> None:
        """Write the sums of the packages that lie there."""
        files = [self.boot / "edgecam" / name for name in self.packages]
        told = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
        (self.boot / "edgecam/SHA256SUMS").write_text(told)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run something there, as root."""
        enter = f'mount --bind "{self._var}" /var && mount --bind "{self.etc}" /etc && exec "$@"'
        environment = {"PATH": f"{self._tools}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        whole = [*_OWN, "sh", "-c", enter, "sh", *command]
        return subprocess.run(whole, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def begin(self) -> None:
        """Do what a boot does at first."""
        done = self.run("sh", str(self.boot / "edgecam/begin"))
        assert done.returncode == 0, done.stderr

    def install(self, before: str = "true") -> int:
        """Do what the unit does, after a shell's command, and give its exit status."""
        return self.run("sh", "-c", f'{before} && exec sh "$1"', "sh", str(self.boot / "edgecam/install")).returncode

    def fail(self, program: str, where: str) -> Path:
        """Have a program fail where its arguments are like this, until the file that it gives is removed."""
        file = self._tools / program
        file.write_text(f'#!/bin/sh\ncase "$*" in {where}) exit 1 ;; esac\nexec "{shutil.which(program)}" "$@"\n')
        file.chmod(0o755)
        return file

    def set(self, name: str, text: str) -> Path:
        """Write a file below /etc."""
        return self._write(self.etc / name, text)

    def set_state(self, name: str, text: str) -> Path:
        """Write a file below /var."""
        return self._write(self._var / name, text)

    @staticmethod
    def _write(file: Path, text: str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def asked(self) -> list[str]:
        """Give what systemd was asked since the last time."""
        file = self._tools / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines
