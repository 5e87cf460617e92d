"""Tries, in the daemon's place and sandbox, what should work and what should not; writes down why not."""

import ctypes
import json
import mmap
import os
import resource
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

STATE = Path("/var/lib/edgecam")
libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _connect() -> None:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        one.listen()
        other.connect(one.getsockname())


def _setuid_file() -> None:
    path = STATE / "setuid"
    path.write_bytes(b"")
    path.chmod(0o4755)


def _sudo() -> None:
    # a program that gains rights when it starts: here it must not
    subprocess.run(["/usr/bin/su", "--command", "true"], check=True, capture_output=True, timeout=10)


def _written_code() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


PROBES: dict[str, Callable[[], object]] = {
    "write to the state directory": lambda: (STATE / "probe").write_text("x"),
    "read its configuration": lambda: Path("/etc/edgecam/edgecam.toml").read_text(),
    "connect to a socket": _connect,
    "write its configuration": lambda: Path("/etc/edgecam/edgecam.toml").write_text("x"),
    "write to /etc": lambda: Path("/etc/probe").write_text("x"),
    "write to /usr": lambda: Path("/usr/lib/edgecam/app/probe").write_text("x"),
    "write to /var/lib": lambda: Path("/var/lib/probe").write_text("x"),
    "write to /run": lambda: Path("/run/probe").write_text("x"),
    "write what the clock is told by": lambda: Path("/run/edgecam-clock/witness").write_text("0 1 0 0"),
    "read a home": lambda: Path("/home/somebody/diary").read_text(),
    "list homes": lambda: next(Path("/home").iterdir()),
    "read the shadow file": lambda: Path("/etc/shadow").read_text(),
    "read secrets at rest": lambda: list(Path("/etc/credstore").iterdir()),
    "see other processes": lambda: Path("/proc/1/status").read_text(),
    "open the memory": lambda: os.close(os.open("/dev/mem", os.O_RDONLY)),
    "open the kernel's log": lambda: os.close(os.open("/dev/kmsg", os.O_RDONLY)),
    "set a kernel variable": lambda: Path("/proc/sys/kernel/hostname").write_text("x"),
    "make a control group": lambda: Path("/sys/fs/cgroup/probe").mkdir(),
    "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "open a Bluetooth socket": lambda: socket.socket(31, socket.SOCK_RAW, 1),
    "become root": lambda: os.setuid(0),
    "gain rights by a program": _sudo,
    "make a setuid file": _setuid_file,
    "make a device": lambda: os.mknod(STATE / "null", 0o600 | 0o020000, os.makedev(1, 3)),
    "make a namespace": lambda: _call("unshare", 0x10000000),
    "mount": lambda: _call("mount", b"none", str(STATE).encode(), b"tmpfs", 0, None),
    "change the root": lambda: os.chroot(STATE),
    "ask the clock": lambda: _call("adjtimex", ctypes.create_string_buffer(256)),
    "set the clock": lambda: _call("clock_settime", 0, ctypes.create_string_buffer(16)),
    "run at real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "raise its priority": lambda: os.nice(-5),
    "raise its limits": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)),
    "trace": lambda: _call("ptrace", 0, 0, None, None),
    "write code and run it": _written_code,
    "load a kernel module": lambda: _call("syscall", 175 if os.uname().machine == "x86_64" else 105, b"", 0, b""),
    "restart the machine": lambda: _call("reboot", 0),
}


def main() -> None:
    refused: dict[str, str] = {}
    for name, probe in PROBES.items():
        try:
            probe()
        except (OSError, subprocess.SubprocessError, StopIteration, ValueError) as error:
            refused[name] = f"{type(error).__name__}: {error}"
        else:
            refused[name] = ""
    (STATE / "probes.json").write_text(json.dumps(refused))


if __name__ == "__main__":
    main()
