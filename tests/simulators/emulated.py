"""A system for another processor, entered without booting it: its programs run under qemu's user-mode emulation."""

import subprocess
from pathlib import Path

from tests.simulators.guest import PATH


class Emulated:
    """A folder with a system whose programs binfmt_misc hands to qemu.

    ONNX Runtime reads the processor from /sys, which would be this machine's: the system gets none. It has no network.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: str, check: bool = True, within: float = 600.0) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root; when it ends, so does all that it started."""
        enter = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", f"--mount-proc={self.root}/proc"]
        # without pointer authentication, as a Pi 4: four times as quick to emulate
        clean = ["env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "QEMU_CPU=cortex-a72"]
        done = subprocess.run(
            [*enter, *clean, "chroot", str(self.root), *command],
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
            cwd="/",
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def path(self, inside: str) -> Path:
        """Give one of its files, as seen from here."""
        return self.root / inside.lstrip("/")
