"""A whole arm64 board in qemu: kernel, disk, network, hardware watchdog, and a clock of its own."""

import contextlib
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.simulators.broker import free_port
from tests.simulators.guest import wait_for

HOST = "10.0.2.2"  # this machine's loopback, as qemu's user network shows it
ASKED = (
    "date; cat /proc/loadavg; free --mebi; findmnt --df",
    "systemctl list-jobs --no-pager; systemctl --failed --no-pager",
    "systemctl status --no-pager --full --lines 0 edgecam",
    "edgecam status --json",
    "journalctl --boot --no-pager --output short-monotonic --lines 200",
)
LONG_AGO = "2020-01-01T00:00:00"  # a clock that nobody has set: a Raspberry Pi has none of its own


class Board:
    """Boots from a disk, as often as its power comes; what it writes stays on that disk.

    While it computes, its time is what it has computed: an instruction is a nanosecond, as on a core of 1 GHz. However
    slowly this machine emulates it, neither its watchdog nor a limit of a unit runs out for that. While it waits, its
    seconds are ours.

    Args:
        image: A folder with ``disk.img``, ``vmlinuz`` and ``initrd``.
        key: The private key of somebody who may log in as root.
        console: A file for what the serial console shows.
        memory_mb: Its memory.
    """

    def __init__(self, image: Path, key: Path, console: Path, memory_mb: int = 1024) -> None:
        self._image, self._key, self.console, self._memory_mb = image, key, console, memory_mb
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_power()

    def power_on(self) -> None:
        """Begin to boot; the console is written anew."""
        command = ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72", "-accel", "tcg"]
        command += ["-icount", "shift=0,sleep=on", "-m", str(self._memory_mb)]
        command += ["-nodefaults", "-display", "none", "-no-reboot"]
        command += ["-rtc", f"base={LONG_AGO},clock=vm", "-kernel", str(self._image / "vmlinuz")]
        command += ["-initrd", str(self._image / "initrd"), "-append", "console=ttyAMA0 quiet systemd.show_status=1"]
        command += ["-drive", f"file={self._image / 'disk.img'},if=none,id=disk,format=raw"]
        command += ["-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"]
        command += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self._port}-:22"]
        command += ["-device", "virtio-net-pci,netdev=net", "-device", "i6300esb", "-action", "watchdog=reset"]
        command += ["-serial", f"file:{self.console}"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def cut_power(self) -> None:
        """Take the power away; what was not on the disk yet is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    def wait_for_login(self, within: float) -> float:
        """Wait until somebody can log in, and give the seconds that it took."""
        began = time.monotonic()
        wait_for(self._answers, within, f"SSH; the console ends with: {self._shown()}")
        return time.monotonic() - began

    def _shown(self) -> str:
        return self.console.read_text(errors="replace")[-1500:] if self.console.exists() else "nothing"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"qemu ended; the console ends with: {self._shown()}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.run("true", check=False).returncode == 0
        return False

    def account(self) -> str:
        """Give what somebody would look at who wonders why it does not do what it should."""
        told = [f"console:\n{self._shown()}"]
        for command in ASKED:
            try:
                done = self.run(command, check=False)
            except subprocess.TimeoutExpired as error:
                told.append(f"{command}: {error}")
            else:
                told.append(f"{command}:\n{done.stdout}{done.stderr}")
        return "\n\n".join(told)

    def run(self, command: str, *, check: bool = True, within: float = 600.0) -> subprocess.CompletedProcess[str]:
        """Run a line of shell on it, as root."""
        done = self.log_in(command, "-i", str(self._key), "-o", "BatchMode=yes", within=within)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def log_in(self, command: str, *options: str, within: float = 600.0) -> subprocess.CompletedProcess[str]:
        """Try to run a line of shell on it, as root, with these of ssh's options."""
        quiet = ["-F", "none", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60"]
        unknown = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes"]
        return subprocess.run(
            ["ssh", *quiet, *unknown, *options, "-p", str(self._port), "root@127.0.0.1", command],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=within,
            check=False,
        )
