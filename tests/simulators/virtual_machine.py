"""A whole machine, its processor emulated: what a container does not enforce is enforced here, and takes minutes."""

import json
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.simulators.guest import PATH, Machine

HOST = "10.0.2.2"  # this machine, as QEMU's network shows it to the guest
PATIENCE = 900.0  # seconds for a boot; one takes half a minute to a minute where the processor is free
_PROCESSOR = "max,-cx16,-la57"  # QEMU 7.2 does cmpxchg16b wrongly


class VirtualMachine(Machine):
    """One boot of a disk; whatever it writes is gone afterwards.

    Args:
        disk: A file system, ext4.
        kernel: Folder with `vmlinuz` and `initrd`.
        folder: For sockets and what the console shows; its path must be short.
    """

    def __init__(self, disk: Path, kernel: Path, folder: Path) -> None:
        self._disk, self._kernel, self._folder = disk, kernel, folder
        self.console = folder / "console"
        self._number = 0
        self._rest = b""

    def __enter__(self) -> Self:
        port, events = self._folder / "port", self._folder / "events"
        program = shutil.which("qemu-system-x86_64")
        assert program, "qemu-system-x86_64 is not installed"
        drive = f"file={self._disk},if=none,id=root,format=raw,snapshot=on"
        command = [program, "-accel", "tcg,thread=multi", "-cpu", _PROCESSOR, "-smp", "2", "-m", "1024", "-M", "q35"]
        command += ["-nodefaults", "-display", "none", "-kernel", str(self._kernel / "vmlinuz")]
        command += ["-initrd", str(self._kernel / "initrd"), "-serial", f"file:{self.console}"]
        command += ["-append", "console=ttyS0 net.ifnames=0 mitigations=off quiet systemd.show_status=1"]
        command += ["-drive", drive, "-device", "virtio-blk-pci,drive=root,addr=0x8", "-device", "virtio-rng-pci"]
        command += ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net", "-device", "virtio-serial-pci"]
        command += ["-chardev", f"socket,id=port,path={port},server=on,wait=off"]
        command += ["-device", "virtserialport,chardev=port,name=edgecam"]
        command += ["-device", "i6300esb", "-action", "watchdog=reset"]
        command += ["-qmp", f"unix:{events},server=on,wait=off"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._port, self._events = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        try:
            self._connect(self._port, port)
            self._connect(self._events, events)
            self._events.sendall(b'{"execute": "qmp_capabilities"}\n')
            self.wait_until_up()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._port.close()
        self._events.close()
        self._process.kill()  # what it would write in an orderly end is thrown away as well
        self._process.wait(20)

    def _connect(self, connection: socket.socket, path: Path) -> None:
        deadline = time.monotonic() + 60
        while connection.connect_ex(str(path)):
            assert self._process.poll() is None, "QEMU has ended"
            assert time.monotonic() < deadline, f"{path}: QEMU does not listen"
            select.select([], [], [], 0.1)

    def wait_until_up(self, within: float = PATIENCE) -> None:
        """Wait until the guest answers."""
        said = self._answer(0, within)
        assert said is not None, f"the guest does not answer within {within} s: {self.shown()[-2000:]}"

    def shown(self) -> str:
        """Give what the console shows."""
        return self.console.read_text(errors="replace")

    def _answer(self, number: int, within: float) -> dict[str, Any] | None:
        """Give the answer of this number; what comes late of another one is dropped."""
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            line, end, rest = self._rest.partition(b"\n")
            if end:
                self._rest = rest
                found = json.loads(line)
                if found["number"] == number:
                    return dict(found)
                continue
            if select.select([self._port], [], [], left)[0]:
                piece = self._port.recv(1 << 16)
                assert piece, f"QEMU has ended: {self.shown()[-2000:]}"
                self._rest += piece
        return None

    def _order(self, command: list[str], given: str, within: float) -> subprocess.CompletedProcess[str]:
        self._number += 1
        order = {"number": self._number, "command": command, "input": given, "within": within}
        self._port.sendall(json.dumps(order).encode() + b"\n")
        answer = self._answer(self._number, within + 60)
        assert answer is not None, f"{command}: no answer within {within} s: {self.shown()[-2000:]}"
        return subprocess.CompletedProcess(command, answer["code"], answer["out"], answer["err"])

    def run(self, *command: str, check: bool = False, within: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the guest, as root."""
        clean = ["/usr/bin/env", "-i", f"PATH={PATH}", "TERM=dumb", "LC_ALL=C.UTF-8"]
        done = self._order([*clean, *command], "", within)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def write(self, inside: str, content: str) -> None:
        done = self._order(["/usr/bin/install", "-D", "-m", "644", "/dev/stdin", inside], content, 60)
        assert done.returncode == 0, done.stderr

    def tell_kernel(self, letter: str) -> None:
        """Press SysRq and a letter; the guest may be past answering."""
        order = {
            "number": -1,
            "command": ["/bin/sh", "-c", f"echo {letter} >/proc/sysrq-trigger"],
            "input": "",
            "within": 9,
        }
        self._port.sendall(json.dumps(order).encode() + b"\n")

    def event(self, name: str, within: float) -> dict[str, Any]:
        """Wait for what QEMU tells, such as WATCHDOG."""
        deadline, heard = time.monotonic() + within, b""
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._events], [], [], left)[0]:
                heard += self._events.recv(1 << 16)
                *lines, heard = heard.split(b"\n")
                for found in map(json.loads, filter(None, lines)):
                    if found.get("event") == name:
                        return dict(found)
        raise AssertionError(f"QEMU told nothing of {name} within {within} s")
