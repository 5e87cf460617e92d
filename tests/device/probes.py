"""Tries, in the daemon's place and sandbox, what should work and what should not, and writes down what came of it.

``probes.py user|root FILE``: run as the daemon's user once within the unit and once without, so that it is known what
refuses: the sandbox or the user. What the user is refused anyway is run as root, within and without, too. Where one
could do harm, or would be refused for want of a right, its request is nonsense: the kernel names the nonsense, and the
sandbox refuses before that.
"""

import ctypes
import errno
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STATE = Path("/var/lib/edgecam")
OPEN = "open-to-all"  # folders and files of this name are, by owner and mode
GAINS = "/usr/local/bin/effective-user"  # a program with root's setuid bit, which prints its effective user
DONE = "done"
_IS_X86 = os.uname().machine == "x86_64"
_NEW_USER_NAMESPACE, _NO_FLAG = 0x10000000, 0x1
libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Probe:
    """What is tried, and what comes of it: `DONE`, or errors by name (several: by release of systemd)."""

    attempt: Callable[[], object]
    within: str
    without: str = DONE


def _call(name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _connect() -> None:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        one.listen()
        other.connect(one.getsockname())


def _write(path: str) -> Callable[[], object]:
    return lambda: Path(path).write_text("x")


def _read(path: str) -> Callable[[], object]:
    return lambda: Path(path).read_bytes()


def _setuid_file() -> None:
    path = STATE / "setuid"
    path.write_bytes(b"")
    path.chmod(0o4755)


def _gain_rights() -> None:
    done = subprocess.run([GAINS, "--user"], check=True, capture_output=True, text=True, timeout=10)
    if done.stdout.strip() != "0":
        raise PermissionError(errno.EPERM, f"it runs as {done.stdout.strip()}")


def _make_control_group() -> None:
    folder = Path(f"/sys/fs/cgroup/{OPEN}/inner")
    folder.mkdir()
    folder.rmdir()


def _make_device() -> None:
    path = STATE / "null"
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    path.unlink()


def _set_clock() -> None:
    # nanoseconds that cannot be, so that nothing is set: the clock would be this machine's
    _call("syscall", 227 if _IS_X86 else 112, 0, (ctypes.c_long * 2)(0, -1))


USER = {
    "write to the state directory": Probe(_write(f"{STATE}/probe"), DONE),
    "read its configuration": Probe(_read("/etc/edgecam/edgecam.toml"), DONE),
    "connect to a socket": Probe(_connect, DONE),
    "write its configuration": Probe(_write("/etc/edgecam/edgecam.toml"), "EROFS"),
    "write to /etc": Probe(_write(f"/etc/{OPEN}/probe"), "EROFS"),
    "write to /usr": Probe(_write(f"/usr/lib/{OPEN}/probe"), "EROFS"),
    "write to /var/lib": Probe(_write(f"/var/lib/{OPEN}/probe"), "EROFS"),
    "write to /run": Probe(_write(f"/run/{OPEN}/probe"), "EROFS"),
    "write what the clock is told by": Probe(_write("/run/edgecam-clock/witness"), "EROFS"),
    "read a home": Probe(_read("/home/somebody/diary"), "EACCES ENOENT"),
    "list homes": Probe(lambda: list(Path("/home").iterdir()), "EACCES"),
    "read others' temporary files": Probe(_read(f"/tmp/{OPEN}"), "ENOENT"),  # noqa: S108 - the guest's
    "see other processes": Probe(_read("/proc/1/status"), "ENOENT"),
    "open the kernel's log": Probe(lambda: os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)), "EACCES"),
    "make a control group": Probe(_make_control_group, "EROFS"),
    "open a packet socket": Probe(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW), "EAFNOSUPPORT", "EPERM"),
    "open a netlink socket": Probe(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), "EAFNOSUPPORT"),
    "change its user": Probe(lambda: os.setuid(os.getuid()), "EPERM"),
    "gain rights by a program": Probe(_gain_rights, "EPERM"),
    "make a setuid file": Probe(_setuid_file, "EPERM"),
    "make a namespace": Probe(lambda: _call("unshare", _NEW_USER_NAMESPACE | _NO_FLAG), "EPERM", "EINVAL"),
    "mount": Probe(lambda: _call("mount", b"none", b"/nowhere", b"tmpfs", 0, None), "EPERM", "ENOENT"),
    "change the root": Probe(lambda: os.chroot("/nowhere"), "EPERM", "ENOENT"),
    "ask the clock": Probe(lambda: _call("adjtimex", ctypes.create_string_buffer(256)), "EPERM"),
    "set the clock": Probe(_set_clock, "EPERM", "EINVAL"),
    "run at real time": Probe(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1000)), "EPERM", "EINVAL"),
    "change its priority": Probe(lambda: os.setpriority(os.PRIO_PROCESS, 0, 5), "EPERM"),
    "trace": Probe(lambda: _call("ptrace", 0, 0, None, None), "EPERM"),
    "write code and run it": Probe(
        lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC), "EPERM EACCES"
    ),
    # the user alone keeps these shut, by owner and mode; a sandbox without that would not
    "read the shadow file, as this user": Probe(_read("/etc/shadow"), "EACCES", "EACCES"),
    "list secrets at rest, as this user": Probe(lambda: list(Path("/etc/credstore").iterdir()), "EACCES", "EACCES"),
}
ROOT = {
    "open a raw socket": Probe(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), "EPERM"),
    "make a device": Probe(_make_device, "EPERM"),
    # no such command, and none of the two numbers that it asks for
    "restart the machine": Probe(lambda: _call("syscall", 169 if _IS_X86 else 142, 0, 0, 0, None), "EPERM", "EINVAL"),
}
PROBES = {"user": USER, "root": ROOT}


def _outcome(probe: Probe) -> str:
    try:
        probe.attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except subprocess.SubprocessError as error:
        return str(error)
    return DONE


def _apart(probe: Probe) -> str:
    """Try it in a process of its own: what one probe changes is not there for the next one."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writing, _outcome(probe).encode()[:1000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        outcome = told.read().decode()
    os.waitpid(child, 0)
    return outcome


def main(who: str, file: str) -> None:
    Path(file).write_text(json.dumps({name: _apart(probe) for name, probe in PROBES[who].items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
