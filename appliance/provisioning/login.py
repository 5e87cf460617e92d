"""Lets the owner in over SSH: by key alone, into an account without a password."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ELOOP, ENOTDIR
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.core.errors import StorageError, UnavailableError, UnsupportedError
from appliance.core.files import make_folder
from appliance.provisioning.system import Account, place_file

if TYPE_CHECKING:
    from appliance.provisioning.steps import Task

_GROUPS = ("sudo", "adm", "systemd-journal", "edgecam", "video", "netdev", "gpio", "i2c", "spi", "render")
_ASKING = ("edgecam", "systemd-journal")  # what an account that was there gets: it may ask the daemon
_FIRST_USER, _NOBODY = 1000, 65534  # Debian policy, section 9.2.2
_MOST = 256 << 10  # bytes of authorized_keys
_DAEMON = """\
# Written by `edgecam setup`: by key alone.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""


def set_login(task: "Task") -> str:
    """Make the account where it is not there, add the keys, and let nobody in by password."""
    ssh = task.setup.ssh
    if ssh is None or not ssh.keys:
        return "stays as it is"
    if not task.system.has("sshd"):
        raise UnsupportedError("no SSH server is installed; do: sudo apt-get install openssh-server")
    account = _account(task, ssh.user)
    _add_keys(task, account, ssh.keys)
    # only now: with keys in place nobody is locked out
    place_file(task.places.at("/etc/ssh/sshd_config.d/10-edgecam.conf"), _DAEMON.encode(), 0o644)
    restart_ssh(task, "restart")
    # last: where accounts and units are part of a read-only root, the owner gets in nevertheless
    _may_ask(task, account, ssh.user)
    task.system.run("systemctl", "enable", "ssh.service")
    return f"{ssh.user} logs in with {len(ssh.keys)} key{'s' if len(ssh.keys) > 1 else ''}, nobody with a password"


def restart_ssh(task: "Task", how: str) -> None:
    """Have the SSH server begin anew, with keys of the host's own.

    Args:
        task: Where.
        how: ``restart``, or ``try-restart``: if it runs.
    """
    # what is missing only: cloud-init makes them once, and where it was cut there are none and SSH does not start
    task.system.run("ssh-keygen", "-A")
    folder = task.places.at("/etc/ssh")
    # it does not flush them, nor does cloud-init: a power cut left them empty, and this is not done again
    task.system.run("sync", *map(str, [*sorted(folder.glob("ssh_host_*_key*")), folder]))
    with suppress(UnavailableError):  # where systemd has not loaded it yet it never failed either
        # it may have been started in vain too often by then for systemd to start it once more
        task.system.run("systemctl", "reset-failed", "ssh.service")
    # not reloaded: where a socket listens for it (Debian 13), the daemon cannot bind again and ends
    task.system.run("systemctl", "--no-block", how, "ssh.service")


def _account(task: "Task", user: str) -> Account:
    """Give the account, and have it made where it is not there."""
    if (found := task.system.account(user)) is not None:
        if 0 < found.uid < _FIRST_USER or found.uid == _NOBODY:
            raise UnsupportedError(f"{user} is an account of the system's own, with which nobody logs in; name another")
        return found
    # before the account: where this is cut in between, the account would never get it
    _may_administer(task, user)
    existing = _existing_groups(task)
    groups = ",".join(name for name in _GROUPS if name in existing)
    task.system.run("useradd", "--create-home", "--shell", "/bin/bash", *(("--groups", groups) if groups else ()), user)
    account = task.system.account(user)
    if account is None:
        raise StorageError(f"the account {user} was made and is not there")
    return account


def _may_ask(task: "Task", account: Account, user: str) -> None:
    """Let an account that was there ask the daemon; one that was made here may already."""
    existing = _existing_groups(task)
    groups = ",".join(name for name in _ASKING if name in existing)
    if groups and account.uid != 0:
        task.system.run("usermod", "--append", "--groups", groups, user)


def _rule(user: str) -> str:
    return f"/etc/sudoers.d/010-edgecam-{user}"


def _may_administer(task: "Task", user: str) -> None:
    """Let an account that has no password use sudo; only one that was made here."""
    if task.places.at("/etc/sudoers.d").is_dir():
        place_file(task.places.at(_rule(user)), f"{user} ALL=(ALL) NOPASSWD: ALL\n".encode(), 0o440)


def _existing_groups(task: "Task") -> set[str]:
    path = task.places.at("/etc/group")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return {line.partition(":")[0] for line in lines}


def _add_keys(task: "Task", account: Account, keys: tuple[str, ...]) -> None:
    home = task.places.at(account.home)
    make_folder(home / ".ssh")
    with _opened(home / ".ssh") as folder:
        owner = (account.uid, account.gid) if os.geteuid() == 0 else None
        os.fchmod(folder, 0o700)
        if owner is not None:
            os.fchown(folder, *owner)
        # by its descriptor: the account could move the folder away and put a link to another one there
        there = _lines_of(folder, home / ".ssh/authorized_keys")
        bodies = {line.split()[1] for line in there if len(line.split()) > 1}
        added = {key.split()[1]: key for key in keys if key.split()[1] not in bodies}
        path = Path(f"/proc/self/fd/{folder}/authorized_keys")
        content = "\n".join([*there, *added.values(), ""]).encode()
        place_file(path, content, 0o600, owner, shown=home / ".ssh/authorized_keys")


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Give a descriptor of a folder that belongs to an account, and is no link."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (ELOOP, ENOTDIR):
            raise UnsupportedError(f"{folder} is a link, which root does not follow; add the keys by hand") from error
        raise StorageError(f"cannot look into {folder}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lines_of(folder: int, path: Path) -> list[str]:
    """Give the lines of authorized_keys in an opened folder; none where there is no such file."""
    try:
        # not waited for: where the account has put a pipe, opening it would never end
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno == ELOOP:
            raise UnsupportedError(f"{path} is a link, which root does not follow; add the keys by hand") from error
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnsupportedError(f"{path} is no file; add the keys by hand")
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise UnsupportedError(f"{path} is larger than {_MOST} bytes; add the keys by hand")
    return content.decode("utf-8", "replace").splitlines()
