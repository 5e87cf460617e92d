"""edgecam-workbench publish: what a fleet is given, from the key ceremony to the files on a web server."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from appliance.core.command import answered
from appliance.core.errors import ConfigError
from appliance.workbench.publishing.extras import loaded

if TYPE_CHECKING:
    from appliance.workbench.publishing.refreshing import Refreshed
    from appliance.workbench.publishing.signing import Standing

FOLDER: Final = click.Path(file_okay=False, path_type=Path)
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_MODEL: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_OFFLINE: Final = ("root", "targets", "models")
_TRIAL_KEYS: Final = {"root": 3, "targets": 3, "models": 2}


@click.group()
def publish() -> None:
    """Publish models to a fleet: signed offline, served as static files; see docs/fleet.md."""


@publish.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--no-passphrase", is_flag=True, help="Leave it unencrypted: for a key that signs online.")
def key(file: Path, *, no_passphrase: bool) -> None:
    """Make an Ed25519 key: FILE, which stays with its holder, and FILE.pub, which is given to the ceremony.

    Without a terminal the passphrase is the first line of the file that EDGECAM_PASSPHRASE_FILE names.
    """
    with loaded():
        from appliance.workbench.publishing.keys import ask_new_secret, make_key
    made = make_key(file, "" if no_passphrase else ask_new_secret(f"passphrase for {file}"))
    click.echo(f"{file}: keep it; {file}.pub: give it away\nkey id {made.keyid}")


@publish.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def cohort_key(file: Path) -> None:
    """Make a key that opens encrypted models: FILE for a cohort's devices, and FILE.pub for --encrypt-to."""
    with loaded():
        from appliance.workbench.publishing.sealing import make_cohort_key
    public = make_cohort_key(file)
    click.echo(f"{file}: for the devices, and nobody else; {file}.pub: for publish add --encrypt-to\n{public}")


@publish.command()
@click.argument("folder", type=FOLDER)
@click.option("--root", multiple=True, type=_FILE, help="Public key (PEM) that signs root; once for each holder.")
@click.option("--targets", multiple=True, type=_FILE, help="Likewise, of who may delegate.")
@click.option("--models", multiple=True, type=_FILE, help="Likewise, of who releases models.")
@click.option("--root-threshold", type=click.IntRange(1), help="How many must sign.  [default: more than half]")
@click.option("--targets-threshold", type=click.IntRange(1), help="Likewise.")
@click.option("--models-threshold", type=click.IntRange(1), help="Likewise.")
@click.option("--online", help="Address of the key that signs rollouts and the timestamp: file2:FILE, awskms:ID, …")
@click.option("--online-public", type=_FILE, help="Its public key, where the address is no file's.")
@click.option("--channel", "channels", multiple=True, default=["stable"], show_default=True, help="Of rollouts.")
@click.option("--make-keys", type=FOLDER, help="Make all keys there, unencrypted: to try it out, for no real fleet.")
@_JSON
def init(
    folder: Path,
    *,
    online: str | None,
    online_public: Path | None,
    channels: tuple[str, ...],
    make_keys: Path | None,
    as_json: bool,
    **holders: Any,
) -> None:
    """Begin a fleet in FOLDER: who may sign what. The holders of the keys sign it next: `publish sign`."""
    with loaded():
        from appliance.workbench.publishing.ceremony import Holders, begin
        from appliance.workbench.publishing.keys import lasting, public_of, read_public
        from appliance.workbench.publishing.repository import Repository
    if make_keys is not None:
        _make_trial_keys(make_keys)
        made = {role: sorted(make_keys.glob(f"{role}-*.pub")) for role in _OFFLINE}
        holders |= {role: holders[role] or files for role, files in made.items()}
        online = online or f"file2:{make_keys / 'online-1.pem'}"
    if online is None or not all(holders[role] for role in _OFFLINE):
        raise ConfigError("--root, --targets, --models and --online are needed; to try it out: --make-keys FOLDER")
    offline: dict[str, Holders] = {}
    for role in _OFFLINE:
        keys = [read_public(file) for file in holders[role]]
        offline[role] = Holders(keys, holders[f"{role}_threshold"] or len(keys) // 2 + 1)
    repository = Repository(folder)
    with repository.locked(is_new=True):
        online = lasting(online)
        public = public_of(online, online_public)
        begin(repository, offline, online=public, address=online, channels=channels, now=_now())
    _tell_staged(repository.staging, as_json=as_json)


@publish.command()
@click.argument("folder", type=FOLDER)
@click.argument("model", type=_MODEL)
@click.option("--metrics", type=_FILE, help="What `evaluate MODEL DATASET --json` printed.")
@click.option(
    "--security-floor", type=click.IntRange(0), default=0, help="Release counter below which none runs any more."
)
@click.option("--may-return-to", multiple=True, help="Version that a rollout may go back to; may be repeated.")
@click.option(
    "--encrypt-to",
    multiple=True,
    metavar="age1…|FILE",
    help="Encrypt the weights for who has the private key of this public one; may be repeated.",
)
@_JSON
def add(
    folder: Path, model: Path, *, metrics: Path | None, encrypt_to: tuple[str, ...], as_json: bool, **choices: Any
) -> None:
    """Stage the model folder MODEL as a release; it is signed next: `publish sign`."""
    with loaded():
        from appliance.workbench.publishing import adding, sealing
        from appliance.workbench.publishing.release import read_contents
        from appliance.workbench.publishing.repository import Repository
    repository = Repository(folder)
    contents, recipients = read_contents(model, metrics), sealing.read_recipients(encrypt_to)
    with repository.locked():
        added = adding.add(repository, contents, _now(), encrypt_to=recipients, **choices)
    release = added.released.release
    if as_json:
        told = {"name": release.name, "version": release.version, "counter": release.counter}
        click.echo(
            json.dumps(
                {**told, "sha256": added.released.sha256, "size": added.size, "deltas": list(map(asdict, added.deltas))}
            )
        )
        return
    click.echo(
        f"{release.name} {release.version}, release {release.counter}: {added.size} bytes, {added.released.sha256}"
    )
    if recipients:
        click.echo(f"  its weights are encrypted for {len(recipients)} keys, and have no deltas")
    for one in added.deltas:
        share, state = one.size / one.whole, "kept" if one.is_kept else "not kept: it does not pay"
        click.echo(f"  {one.file} from {one.version}: {one.size} bytes, {share:.1%} of the whole file, {state}")
    _tell_staged(repository.staging, as_json=False)


@publish.command()
@click.argument("folder", type=FOLDER)
@click.argument("release", metavar="NAME@VERSION")
def withdraw(folder: Path, release: str) -> None:
    """Stage the releases without one of them: no rollout can choose it any more. It is signed next: `publish sign`."""
    with loaded():
        from appliance.workbench.publishing import adding
        from appliance.workbench.publishing.repository import Repository
    repository = Repository(folder)
    with repository.locked():
        adding.withdraw(repository, *name_and_version(release), _now())
    _tell_staged(repository.staging, as_json=False)


@publish.command()
@click.argument("staging", type=FOLDER)
@click.option(
    "--with", "addresses", multiple=True, required=True, help="Address of a key: file2:FILE, hsm:, awskms:ID."
)
@click.option("--public", type=_FILE, help="Its public key, where the address is no file's.")
@click.option("--root", type=_FILE, help="Your own copy of a root: what it does not vouch for is shown whole.")
@click.option("--yes", is_flag=True, help="Do not ask after showing what is signed.")
@_JSON
def sign(
    staging: Path, *, addresses: tuple[str, ...], public: Path | None, root: Path | None, yes: bool, as_json: bool
) -> None:
    """Sign what waits in STAGING, with each of the keys, where it counts. STAGING may be carried elsewhere and back."""
    with loaded():
        from appliance.workbench.publishing.keys import open_signer, public_of
        from appliance.workbench.publishing.signing import Staging, changes, read_root
    waiting = Staging(staging / "staging" if (staging / "staging").is_dir() else staging)
    if not (roles := waiting.roles()):
        raise ConfigError(f"nothing waits for signatures in {waiting.folder}")
    own = None if root is None else read_root(root)
    if not (as_json and yes):  # nobody agrees to what was not shown
        click.echo("\n".join(line for role in roles for line in changes(waiting, role, own)), err=as_json)
    if not yes:
        with answered("whether to sign this", "to agree to it without being asked: --yes"):
            click.confirm("Sign this?", abort=True, err=True)
    for address in addresses:
        held = public_of(address, public)
        if not (counting := waiting.roles_of(held)):
            raise ConfigError(f"{address} (key {held.keyid[:16]}) signs nothing of what waits: {', '.join(roles)}")
        signer = open_signer(address, held)
        for role in counting:
            waiting.sign(role, signer)
    _tell_standing([waiting.standing(role) for role in roles], as_json=as_json)


@publish.command()
@click.argument("folder", type=FOLDER)
@click.argument("role", type=click.Choice(_OFFLINE))
def renew(folder: Path, role: str) -> None:
    """Stage ROLE as it is with a later expiry. It is signed next: `publish sign`."""
    with loaded():
        from appliance.workbench.publishing.ceremony import draft
        from appliance.workbench.publishing.repository import Repository
    repository = Repository(folder)
    with repository.locked():
        repository.stage(role, draft(repository, role, _now()))
    _tell_staged(repository.staging, as_json=False)


@publish.command()
@click.argument("folder", type=FOLDER)
@click.argument("role")
@click.option("--key", "keys", multiple=True, required=True, type=_FILE, help="Public key (PEM); once for each holder.")
@click.option("--threshold", type=click.IntRange(1), help="How many must sign.  [default: more than half]")
@click.option("--online", help="Address of the private key, for snapshot, timestamp and rollout-CHANNEL.")
def rotate(folder: Path, role: str, *, keys: tuple[Path, ...], threshold: int | None, online: str | None) -> None:
    """Stage other keys for ROLE; a new rollout-CHANNEL is begun. It is signed next: `publish sign`."""
    with loaded():
        from appliance.workbench.publishing import ceremony
        from appliance.workbench.publishing.keys import check_address, lasting, read_public
        from appliance.workbench.publishing.repository import Repository
    repository, online = Repository(folder), online and lasting(online)
    if online:
        check_address(online)
    holders = ceremony.Holders([read_public(file) for file in keys], threshold or len(keys) // 2 + 1)
    with repository.locked():
        ceremony.rotate(repository, role, holders, online, _now())
    _tell_staged(repository.staging, as_json=False)


@publish.command()
@click.argument("folder", type=FOLDER)
@_JSON
def refresh(folder: Path, *, as_json: bool) -> None:
    """Publish what has its signatures, and sign rollouts, snapshot and timestamp with the online key.

    To be run by a timer, every six hours: devices take a timestamp for seven days.
    """
    with loaded():
        from appliance.workbench.publishing import refreshing
        from appliance.workbench.publishing.repository import Repository
    repository = Repository(folder)
    with repository.locked():
        done = refreshing.refresh(repository, _now())
    if as_json:
        click.echo(json.dumps(asdict(done)))
    else:
        _tell_refreshed(done)


@publish.command()
@click.argument("folder", type=FOLDER)
@click.argument("target", metavar="FOLDER|s3://BUCKET/PREFIX")
@click.option("--endpoint", help="Of an object store that is not Amazon's: https://HOST")
@_JSON
def push(folder: Path, target: str, *, endpoint: str | None, as_json: bool) -> None:
    """Write what is published to where devices get it: files first, the timestamp last.

    Credentials of a bucket are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION of the environment.
    """
    with loaded():
        from appliance.workbench.publishing import pushing
        from appliance.workbench.publishing.repository import Repository
        from appliance.workbench.publishing.stores import open_store
    repository, store = Repository(folder), open_store(target, endpoint)
    with repository.locked():
        done = pushing.push(repository, store)
    if as_json:
        click.echo(json.dumps(asdict(done)))
    else:
        click.echo(
            f"{target}: timestamp {done.timestamp}, {done.files} files written ({done.size} bytes), "
            f"{done.there} were there"
        )


@publish.command()
@click.argument("where", metavar="FOLDER|URL")
@click.option("--root", type=_FILE, help="Root metadata that devices have.  [default: FOLDER/metadata/1.root.json]")
@_JSON
def verify(where: str, *, root: Path | None, as_json: bool) -> None:
    """Look at a repository with the device's own client: every signature, file, release and rollout."""
    with loaded():
        from appliance.workbench.publishing import checking
    if root is None and "://" in where:
        raise ConfigError("--root FILE is needed for an address: a root that came the same way would prove nothing")
    found = checking.verify(where, root.read_bytes() if root is not None else checking.read_root(Path(where)))
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(f"{where}: {found.files} files are what was signed, {found.size} bytes")
    for line in (*(f"release {one}" for one in found.releases), *(f"rollout {one}" for one in found.rollouts)):
        click.echo(line)


def name_and_version(text: str) -> tuple[str, str]:
    """Read ``NAME@VERSION``.

    Raises:
        ConfigError: It is not of that form.
    """
    name, _, version = text.partition("@")
    if not name or not version:
        raise ConfigError(f"{text!r} is no release; accepted: NAME@VERSION")
    return name, version


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _make_trial_keys(folder: Path) -> None:
    from appliance.workbench.publishing.keys import make_key

    for role, count in {**_TRIAL_KEYS, "online": 1}.items():
        for number in range(1, count + 1):
            make_key(folder / f"{role}-{number}.pem", "")


def _tell_staged(folder: Path, *, as_json: bool) -> None:
    from appliance.workbench.publishing.signing import Staging

    staging = Staging(folder)
    _tell_standing([staging.standing(role) for role in staging.roles()], as_json=as_json)


def _tell_standing(standing: list["Standing"], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"staged": [asdict(one) for one in standing]}))
        return
    for one in standing:
        click.echo(_standing(one))
    if standing and all(one.is_enough for one in standing):
        click.echo("next: edgecam-workbench publish refresh FOLDER")


def _standing(one: "Standing") -> str:
    lacking = f"; would count: {', '.join(keyid[:16] for keyid in one.lacking)}" if not one.is_enough else ""
    return f"{one.role} version {one.version}: {one.signed} signed, {one.wanted} wanted{lacking}"


def _tell_refreshed(done: "Refreshed") -> None:
    for what, roles in (("published", done.accepted), ("signed", done.signed)):
        if roles:
            click.echo(f"{what}: {', '.join(roles)}")
    for one in done.waiting:
        click.echo(f"waits: {_standing(one)}")
    for reminder in done.reminders:
        click.echo(f"soon: {reminder}")
    click.echo(f"timestamp {done.timestamp}; next: edgecam-workbench publish push FOLDER TARGET")
