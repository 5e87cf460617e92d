"""The steps of setting up: each looks first whether it is done, so that it can be done over and over."""

import os
import secrets as randomness
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from appliance.config import Settings, parse_table
from appliance.core.errors import ConfigError, StorageError, UnsupportedError
from appliance.core.files import make_folder, sync_directory
from appliance.provisioning import configuration
from appliance.provisioning.asked import Setup
from appliance.provisioning.configuration import document, merged, read_current
from appliance.provisioning.identity import (
    Identity,
    is_another_machine,
    load_identity,
    new_id,
    read_hardware,
    store_identity,
)
from appliance.provisioning.login import restart_ssh, set_login
from appliance.provisioning.reading import camera_secret
from appliance.provisioning.system import Places, System, is_placed, place_file
from appliance.provisioning.wireless import WIFI_PASSWORD, join_network

BROKER_PASSWORD = "/etc/credstore/edgecam.broker-password"  # noqa: S105 - where it lies
_USER = "edgecam"
_OWN_FILES = {"broker.ca_file": configuration.CA, "broker.cert_file": configuration.CERTIFICATE}
_MEND = "Correct it there (edgecam config check), or move it away; then: sudo edgecam setup --boot"
_CLOUD = "/etc/cloud/cloud.cfg.d"


@dataclass(frozen=True, slots=True)
class Task:
    """What a step gets.

    Attributes:
        setup: What is asked.
        secrets: Passwords by key path; those that were moved before are in their places.
        files: Contents of files by key path, likewise.
    """

    setup: Setup
    secrets: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(repr=False)
    places: Places
    system: System

    @property
    def identity_file(self) -> Path:
        """Where the identity is stored."""
        return self.places.state / "identity.json"

    def owner(self) -> tuple[int, int] | None:
        """Give the daemon's user and group; None: it is not installed, or files cannot be given away."""
        account = self.system.account(_USER)
        return (account.uid, account.gid) if account and os.geteuid() == 0 else None


Step = Callable[[Task], str]
"""Does its part and says in words what is so now; raises `UnsupportedError` where it cannot be done on this machine."""


def secret_place(path: str) -> str:
    """Give where the secret or file of a key path is kept on the device."""
    known = {
        "wifi.password": WIFI_PASSWORD,
        "broker.password": BROKER_PASSWORD,
        "broker.key_file": configuration.KEY,
        "fleet.root_file": configuration.FLEET_ROOT,
        **_OWN_FILES,
    }
    return known.get(path) or camera_secret(path.split(".")[1])


def _store_secrets(task: Task) -> str:
    """Put each secret into a file of its own, for whom it is needed by alone."""
    for path, content in {**task.secrets, **task.files}.items():
        place = task.places.at(secret_place(path))
        if place == task.places.at(configuration.KEY) and not is_placed(place, content.encode(), 0o600, task.owner()):
            task.places.at(configuration.REQUEST).unlink(missing_ok=True)  # it was signed with the key before
        is_daemons = path not in ("wifi.password", "broker.password")
        if is_daemons:
            _private_folder(place.parent, task.owner())
        is_secret = path in task.secrets or path.endswith("key_file")
        line = content if path in task.files else f"{content}\n"
        place_file(place, line.encode(), 0o600 if is_secret else 0o644, task.owner() if is_daemons else None)
    return "no password given" if not task.secrets else f"in files for one user each: {', '.join(sorted(task.secrets))}"


def _private_folder(folder: Path, owner: tuple[int, int] | None) -> None:
    """Make a folder within the configuration's that the daemon may look into."""
    make_folder(folder)
    if owner is not None and folder.stat().st_gid != owner[1]:
        os.chown(folder, 0, owner[1])
        folder.chmod(0o750)
        sync_directory(folder.parent)


def _set_hostname(task: Task) -> str:
    name, places = task.setup.hostname, task.places
    if name is None:
        return "stays as it is"
    if places.at(_CLOUD).is_dir():
        # cloud-init writes its own name at every boot otherwise
        place_file(places.at(f"{_CLOUD}/90-edgecam.cfg"), b"preserve_hostname: true\n", 0o644)
    hosts = places.at("/etc/hosts")
    lines = hosts.read_text(encoding="utf-8", errors="replace").splitlines() if hosts.exists() else []
    kept = [line for line in lines if line.split()[:1] != ["127.0.1.1"]]
    place_file(hosts, "\n".join([*kept, f"127.0.1.1\t{name}", ""]).encode(), 0o644)
    place_file(places.at("/etc/hostname"), f"{name}\n".encode(), 0o644)
    task.system.run("hostname", name)
    if task.system.has("avahi-daemon"):
        task.system.run("systemctl", "--no-block", "try-restart", "avahi-daemon.service")
    return name


def _set_time_zone(task: Task) -> str:
    zone = task.setup.time_zone
    if zone is None:
        return "stays as it is"
    target = Path("/usr/share/zoneinfo", zone)
    if not task.places.at(target).is_file():
        raise UnsupportedError(f"{zone} is not among this machine's time zones; do: sudo apt-get install tzdata")
    link = task.places.at("/etc/localtime")
    if not link.is_symlink() or link.readlink() != target:
        beside = link.with_name(".localtime.edgecam")
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        os.replace(beside, link)  # noqa: PTH105 - a link is replaced as a file is: never absent
        sync_directory(link.parent)
    place_file(task.places.at("/etc/timezone"), f"{zone}\n".encode(), 0o644)
    return zone


def _set_identity(task: Task) -> str:
    """Give the device an id and a key of its own; anew where its card was copied."""
    now, known = read_hardware(task.places), load_identity(task.identity_file)
    asked = task.setup.device_id
    is_copied = known is not None and is_another_machine(known.hardware, now)
    if known is not None and not is_copied and asked in (None, known.device_id, known.declined or None):
        if asked is None and known.declined:
            store_identity(task.identity_file, Identity(known.device_id, known.hardware))
        return f"{known.device_id}; {_make_key(task, known.device_id)}{_said_of(known, asked)}"
    if is_copied:
        # before the new identity is stored: where this is cut, it is found to be a copy again
        _forget_keys(task)
    name = task.places.at("/etc/hostname")
    host = task.setup.hostname or (name.read_text(encoding="ascii", errors="ignore").strip() if name.exists() else "")
    device_id = asked if asked and not is_copied else new_id(host, randomness.token_bytes(5))
    # it asks in the name of another id, which a cut may have kept from being stored; first: where this is cut, the id
    # is found to be another one again
    task.places.at(configuration.REQUEST).unlink(missing_ok=True)
    made = _make_key(task, device_id)
    # a copied file that says it again, because something else in it was changed, does not mean it
    fresh = Identity(device_id, now, asked if asked and is_copied else "")
    store_identity(task.identity_file, fresh)
    if known is None or not is_copied:
        return f"{device_id}; {made}"
    hint = _said_of(fresh, asked) or f". To go on as {known.device_id}, where that machine is gone: set device_id"
    return (
        f"{device_id}; this card was set up on another machine as {known.device_id}, so id and keys are new, those of "
        f"SSH, too{hint}"
    )


def _said_of(identity: Identity, asked: str | None) -> str:
    if not asked or asked != identity.declined:
        return ""
    return (
        f". device_id {asked} of the setup file is another machine's, of which it is a copy: write another, or none. "
        "Where that machine is gone, take the line out, start once, and write it again"
    )


def _forget_keys(task: Task) -> None:
    """Remove what two devices must not share, and have SSH make its own again."""
    paths = [task.places.at(path) for path in (configuration.KEY, configuration.REQUEST, configuration.CERTIFICATE)]
    paths += sorted(task.places.at("/etc/ssh").glob("ssh_host_*_key*"))
    try:
        for path in paths:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot remove the other machine's keys: {error.strerror}") from error
    if key := task.files.get("broker.key_file"):
        place_file(task.places.at(configuration.KEY), key.encode(), 0o600, task.owner())
    if task.system.has("sshd"):
        restart_ssh(task, "try-restart")


def _make_key(task: Task, device_id: str) -> str:
    """Make the device's key and a request for a certificate, where there are none."""
    key, request = task.places.at(configuration.KEY), task.places.at(configuration.REQUEST)
    if not task.system.has("openssl"):
        return "no key of its own, for openssl is not installed"
    if not key.exists():
        _private_folder(key.parent, task.owner())
        fresh = key.with_name(".device.key.new")
        options = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(fresh))
        task.system.run("openssl", "genpkey", *options)
        place_file(key, fresh.read_bytes(), 0o600, task.owner())
        fresh.unlink()
        request.unlink(missing_ok=True)
    if not request.exists():
        fresh = request.with_name(".device.csr.new")
        task.system.run("openssl", "req", "-new", "-key", str(key), "-subj", f"/CN={device_id}", "-out", str(fresh))
        place_file(request, fresh.read_bytes(), 0o644)
        fresh.unlink()
    return f"its key is its own, {configuration.REQUEST} asks for a certificate"


def _configure(task: Task) -> str:
    """Write the daemon's configuration, if it says anything else."""
    identity = load_identity(task.identity_file)
    if identity is None:
        raise StorageError("the identity is not stored; it is tried again")
    path, owner = task.places.configuration, task.owner()
    try:
        current = read_current(path)
        wanted = merged(current, task.setup, identity.device_id)
        settings = parse_table(Settings, wanted, str(path))
    except ConfigError as error:
        raise ConfigError(f"{' '.join(str(error).split())}. {_MEND}") from error
    owners = (0, owner[1]) if owner is not None else None
    if wanted != current:
        before = path.with_name(f"{path.name}.before-setup")
        if path.exists() and not before.exists():
            place_file(before, path.read_bytes(), 0o640, owners)
        place_file(path, document(wanted), 0o640, owners)
    elif path.exists() and not is_placed(path, path.read_bytes(), 0o640, owners):
        place_file(path, path.read_bytes(), 0o640, owners)
    # only now: until then the configuration before may be the one that counts, and needs them
    removed = "; passwords that it has no use for any more were removed" if _forget_secrets(task, wanted) else ""
    cameras = ", ".join(f"{name} ({camera.kind})" for name, camera in settings.cameras.items())
    return f"broker {settings.messaging.broker}; cameras: {cameras or 'none yet, so nothing runs: name one'}{removed}"


def _forget_secrets(task: Task, configured: Mapping[str, Any]) -> bool:
    """Remove passwords of the broker and the cameras whose place others have taken; give whether there were any."""
    used = set(_texts(configured))
    left = [BROKER_PASSWORD] if task.setup.broker is not None and configuration.CREDENTIAL not in used else []
    if task.setup.cameras:
        folder = Path(camera_secret("")).parent
        left += [str(folder / path.name) for path in task.places.at(folder).glob(f"{Path(camera_secret('')).name}*")]
    there = [path for name in left if name not in used and (path := task.places.at(name)).is_file()]
    for path in there:
        path.unlink()
        sync_directory(path.parent)
    return bool(there)


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            yield from _texts(value)
    elif isinstance(values, str):
        yield values


def _start(task: Task) -> str:
    """Have the daemon run with it, now and at each boot."""
    path = task.places.configuration
    try:
        settings = parse_table(Settings, read_current(path), str(path))
    except ConfigError as error:
        raise ConfigError("waits for the configuration, see above") from error
    if not settings.cameras:
        raise UnsupportedError("no camera is named: add [cameras.NAME] to the setup file, or see `edgecam camera list`")
    task.system.run("systemctl", "enable", "edgecam.service")
    # not waited for: at a boot it waits for us
    task.system.run("systemctl", "--no-block", "restart", "edgecam.service")
    return "the service starts now and with the machine"


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "secrets": _store_secrets,
        "hostname": _set_hostname,
        "time zone": _set_time_zone,
        "ssh": set_login,
        "wifi": join_network,
        "identity": _set_identity,
        "configuration": _configure,
        "service": _start,
    }
)
"""In the order in which they are done: who can reach the device comes before what it does."""
