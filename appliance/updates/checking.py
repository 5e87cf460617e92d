"""What the fleet wants of this device: its metadata verified, a rollout read, and the releases that it names found."""

from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from appliance.core.errors import ConfigError, UnavailableError
from appliance.core.files import make_folder
from appliance.updates.bringing import bring_file
from appliance.updates.fetcher import MetadataFetcher
from appliance.updates.formats import Release, Rollout, Selection
from appliance.updates.orders import CheckAnswer, CheckOrder, Known, Offer
from appliance.updates.places import local_path
from appliance.updates.refusals import Code, RefusedError
from appliance.updates.troubles import unreached
from appliance.updates.trust import Target, Trust

MOST_ROLLOUT: Final = 256 << 10
_MOST_ROOT: Final = 512 << 10  # as the library has it
_RUNTIMES: Final = ("onnxruntime", "onnxruntime-gpu", "ai-edge-litert", "hailo_platform")
_CUSTOM: Final = "edgecam"


def check(order: CheckOrder) -> CheckAnswer:
    """Ask a fleet; blocks for as long as it takes to bring what has changed, nothing of it large.

    Raises:
        ConfigError: The root of trust cannot be read.
        RefusedError: Something is not signed as it must be, or is not what it must be.
        StorageError: Metadata cannot be kept.
        UnreachedError: The fleet cannot be had now; with the time that it asked for, if any.
    """
    url = order.repository.url.rstrip("/")
    fetcher = MetadataFetcher(folder=local_path(url), is_dated=order.is_dated)
    try:
        trust = Trust(
            order.folder,
            f"{url}/metadata/",
            f"{url}/targets/",
            read_root(order.repository.root),
            now=lambda: datetime.fromisoformat(order.now),
            fetcher=fetcher,
        )
        trust.refresh()
        path = f"rollout/{order.repository.channel}/{order.repository.model}.json"
        target = trust.find(path)
        rollout = None if target is None else _read_rollout(order, target)
        offers, unsigned = _offers(trust, rollout)
    except UnavailableError as error:
        raise unreached(fetcher.trouble or error) from error
    return CheckAnswer(
        rollout=rollout,
        offers=offers,
        unsigned=unsigned,
        timestamp=trust.timestamp,
        issued=trust.issued,
        runtimes={name: found for name in _RUNTIMES if (found := _version(name))},
    )


def read_root(path: Path) -> bytes:
    """Read the root of trust that came with the device.

    Raises:
        ConfigError: It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_ROOT + 1)
    except OSError as error:
        raise ConfigError(
            f"[fleet] root: cannot read {path}: {error.strerror or error}; it is the root.json that the fleet's owner "
            "gives to each device"
        ) from error
    if len(content) > _MOST_ROOT:
        raise ConfigError(f"[fleet] root: {path} is larger than {_MOST_ROOT} bytes, and no root of trust")
    return content


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _read_rollout(order: CheckOrder, target: Target) -> Rollout:
    if target.size > MOST_ROLLOUT:
        raise RefusedError(Code.INVALID, f"{target.path} has {target.size} bytes, and a rollout at most {MOST_ROLLOUT}")
    folder = order.folder / "rollouts"
    make_folder(folder)
    file = folder / f"{order.repository.model}.json"
    bring_file(_known(target), file, lambda _: None, is_dated=order.is_dated)
    try:
        rollout = Rollout.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise RefusedError(Code.INVALID, f"{target.path} is not accepted: {_first(error)}") from error
    if rollout.name != order.repository.model:
        raise RefusedError(Code.INVALID, f"{target.path} is for {rollout.name}, not for {order.repository.model}")
    return rollout


def _offers(trust: Trust, rollout: Rollout | None) -> tuple[dict[str, Offer], dict[str, str]]:
    """Find the releases that a rollout names, and tell why others cannot be."""
    offers: dict[str, Offer] = {}
    unsigned: dict[str, str] = {}
    named = () if rollout is None else (*rollout.choose, *([rollout.rollback_to] if rollout.rollback_to else []))
    for selection in named:
        try:
            offers[selection.sha256] = _offer(trust, selection, rollout.name if rollout else "")
        except RefusedError as error:
            if error.code not in {Code.MISSING, Code.INVALID}:
                raise
            unsigned[selection.sha256] = str(error)
    return offers, unsigned


def _offer(trust: Trust, selection: Selection, name: str) -> Offer:
    manifest = _find(trust, selection.path)
    if manifest.digest != selection.sha256:
        raise RefusedError(Code.MISSING, f"{selection.path} is signed as {manifest.digest}, not {selection.sha256}")
    try:
        release = Release.model_validate(manifest.custom.get(_CUSTOM, {}))
        if release.name != name:
            raise RefusedError(Code.INVALID, f"{selection.path} is a release of {release.name}, not of {name}")
        paths = {delta.path for file in release.files.values() for delta in file.deltas}
        return Offer(
            release=release,
            manifest=_known(manifest),
            files={name: _known(_find(trust, file.path)) for name, file in release.files.items()},
            deltas={path: _known(_find(trust, path)) for path in paths},
        )
    except ValidationError as error:
        raise RefusedError(Code.INVALID, f"{selection.path} is not accepted: {_first(error)}") from error


def _find(trust: Trust, path: str) -> Target:
    target = trust.find(path)
    if target is None:
        raise RefusedError(Code.MISSING, f"{path} is signed by nobody who may")
    return target


def _known(target: Target) -> Known:
    if target.algorithm != "sha256":
        raise RefusedError(Code.INVALID, f"{target.path} is signed without a SHA-256")
    try:
        return Known(url=target.url, sha256=target.digest, size=target.size)
    except ValidationError as error:
        raise RefusedError(Code.INVALID, f"{target.path} is not accepted: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg'].removeprefix('Value error, ')}"
