"""Who runs which release: how a rollout begins and changes; `refreshing` signs it for devices."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError
from tuf.api.metadata import TargetFile, Targets

from appliance.core.errors import ConfigError, ModelError
from appliance.core.files import read_bounded
from appliance.core.mistakes import parse_toml
from appliance.core.part import Part
from appliance.updates.formats import MILLION, Moment, Parts, Rollout, Seconds, Selection, Trial
from appliance.updates.rollout import hidden
from appliance.workbench.publishing.adding import Released, find_release
from appliance.workbench.publishing.keys import AskSecret, ask_secret
from appliance.workbench.publishing.refreshing import delegator_of, publish_rollout
from appliance.workbench.publishing.repository import MODELS, ROLLOUT, Repository

PLAN: Final = "edgecam-plan"
"""Under what a rollout's plan stands in its target's custom metadata; devices do not look at it."""

STEPS: Final = (10_000, 100_000, 500_000, MILLION)
"""Shares of a rollout, millionths: 1, 10, 50, 100 %."""

PER_CENT: Final = 10_000
"""Millionths of one."""

_MOST_TRIAL: Final = 64 << 10


_ACCEPTED: Final = {
    "window": "two times, from 00:00 to 23:59",
    "not_before": "a time in UTC: 2026-12-01T02:00:00Z",
    "cohorts": "names of a-z, A-Z, 0-9 and . _ + -, at most 64 characters",
    "choose": "up to 16 releases, whose cohorts are names of a-z, A-Z, 0-9 and . _ + -, at most 64 characters",
}


class Plan(Part):
    """How a rollout is to go on; signed with it, so that whoever runs `auto` needs to remember nothing.

    Attributes:
        since: When share or state were last changed.
        steps: Shares, in millionths, rising.
        soak_seconds: That it stays at a share, at least.
        least_reports: Devices that must have reported an end before it is widened.
        most_failed_ppm: Of the devices that came to an end with a release, so many in a million may have failed.
        least_failed: So many must have failed with a release before it is halted.
    """

    since: Moment
    steps: Annotated[tuple[Parts, ...], Field(min_length=1, max_length=32)] = STEPS
    soak_seconds: Seconds = 86_400
    least_reports: Annotated[int, Field(ge=1)] = 20
    most_failed_ppm: Parts = 20_000
    least_failed: Annotated[int, Field(ge=1)] = 2


@dataclass(frozen=True, slots=True)
class Running:
    """A rollout that is signed.

    Attributes:
        channel: In which.
        rollout: What devices are told.
        plan: How it is to go on.
    """

    channel: str
    rollout: Rollout
    plan: Plan


@dataclass(frozen=True, slots=True)
class Order:
    """What a rollout begins with.

    Attributes:
        releases: Name, version and cohorts (empty: any) of each, best first.
        share_ppm: How many of the devices, in millionths.
        cohorts: Only devices of these; empty: of any.
        allow: Ids of devices that are in whatever the share.
        deny: Ids of devices that are out.
        window: Local times between which devices start.
        not_before: Nobody starts earlier.
        metered: What is brought over a connection that costs.
        jitter_seconds: Over which starts are spread.
        trial: What a candidate must stand.
    """

    releases: Sequence[tuple[str, str, tuple[str, ...]]]
    share_ppm: int = STEPS[0]
    cohorts: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    window: tuple[str, str] | None = None
    not_before: str | None = None
    metered: Literal["none", "deltas", "all"] = "deltas"
    jitter_seconds: int = 6 * 3600
    trial: Trial = field(default_factory=Trial)


def begin(order: Order, models: Targets, salt: str, now: datetime) -> Rollout:
    """Give the rollout that an order begins. Pure.

    Args:
        order: What it begins with.
        models: Published metadata of the releases.
        salt: That no rollout had before.
        now: UTC.

    Raises:
        ConfigError: A release is not published, they are of several models, or a value is not accepted.
    """
    names = {name for name, _, _ in order.releases}
    if len(names) != 1:
        raise ConfigError(f"a rollout is of one model, not of {', '.join(sorted(names)) or 'none'}")
    found = [(find_release(models, name, version), cohorts) for name, version, cohorts in order.releases]
    try:
        return Rollout(
            schema=1,
            id=_id(found[0][0], now),
            name=names.pop(),
            choose=tuple(Selection(path=one.path, sha256=one.sha256, cohorts=cohorts) for one, cohorts in found),
            salt=salt,
            share_ppm=order.share_ppm,
            cohorts=order.cohorts,
            allow=tuple(map(hidden, order.allow)),
            deny=tuple(map(hidden, order.deny)),
            not_before=order.not_before,
            window=order.window,
            metered=order.metered,
            jitter_seconds=order.jitter_seconds,
            trial=order.trial,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0])
        accepted = _ACCEPTED.get(option, first["msg"])
        raise ConfigError(
            f"{option} of the rollout is not accepted: {first['input']!r}; accepted: {accepted}"
        ) from error


def widened(running: Running, share_ppm: int | None) -> Rollout:
    """Give a rollout with a larger share. Pure.

    Args:
        running: The rollout.
        share_ppm: The new share, millionths; None: the plan's next.

    Raises:
        ConfigError: It is not under way, or the share does not grow: devices would be left out that were in.
    """
    rollout = running.rollout
    _check(rollout, {"active", "paused"}, "widened")
    share = next_share(running) if share_ppm is None else share_ppm
    if share is None:
        raise ConfigError(f"rollout {rollout.id} is for all devices already")
    if share <= rollout.share_ppm:
        raise ConfigError(
            f"rollout {rollout.id} is at {percent(rollout.share_ppm)}, and only ever widened; to take it back: rollout "
            "halt, or rollout rollback"
        )
    return rollout.model_copy(update={"share_ppm": share, "state": "active"})


def next_share(running: Running) -> int | None:
    """Give the next share of the plan, millionths; None: it is at its end. Pure."""
    return next((share for share in running.plan.steps if share > running.rollout.share_ppm), None)


def paused(rollout: Rollout, *, is_paused: bool) -> Rollout:
    """Give a rollout that nobody starts with, or one that goes on. Pure.

    Raises:
        ConfigError: It is halted or taken back.
    """
    _check(rollout, {"active", "paused"}, "paused")
    return rollout.model_copy(update={"state": "paused" if is_paused else "active"})


def halted(rollout: Rollout) -> Rollout:
    """Give a rollout that whoever has not committed gives up. Pure.

    Raises:
        ConfigError: It is taken back already, which is more.
    """
    _check(rollout, {"active", "paused", "halted"}, "halted")
    return rollout.model_copy(update={"state": "halted"})


def rolled_back(rollout: Rollout, version: str, models: Targets) -> Rollout:
    """Give a rollout whose devices return to an older release. Pure.

    Args:
        rollout: The rollout.
        version: Of the release to return to.
        models: Published metadata of the releases.

    Raises:
        ConfigError: It is not signed offline that devices may return to it.
    """
    back = find_release(models, rollout.name, version)
    for one in rollout.choose:
        leaving = _release_of(models, rollout.name, one)
        if back.sha256 not in leaving.release.may_downgrade_to:
            raise ConfigError(
                f"{leaving.release.version} is not signed as one that may be left for {version}; add a release with a "
                f"higher counter, or have one signed: publish add … --may-return-to {version}"
            )
        if back.release.counter < leaving.release.security_floor:
            raise ConfigError(
                f"{version} lies below the security floor of {leaving.release.version}: no device returns there"
            )
    target = Selection(path=back.path, sha256=back.sha256)
    return rollout.model_copy(update={"state": "rollback", "rollback_to": target})


def read_trial(file: Path) -> Trial:
    """Read what a candidate must stand.

    Raises:
        ConfigError: It cannot be read, or has what is not accepted.
    """
    return parse_toml(read_bounded(file, _MOST_TRIAL, ConfigError, "a trial"), file, Trial, ConfigError)


def read(repository: Repository, channel: str, name: str) -> Running:
    """Give a rollout that is signed.

    Raises:
        ConfigError: There is none, or no such channel.
        ModelError: It is not as the format has it.
    """
    path, role = f"rollout/{channel}/{name}.json", f"{ROLLOUT}{channel}"
    delegator_of(repository, role)
    metadata = repository.current(role)
    target = metadata.signed.targets.get(path) if metadata is not None else None
    if target is None:
        raise ConfigError(
            f"there is no rollout of {name} in channel {channel}; begin one: edgecam-workbench rollout start "
            f"{repository.folder} {channel} {name}@VERSION"
        )
    try:
        rollout = Rollout.model_validate_json(repository.read_file(path, target.hashes["sha256"]))
        plan = Plan.model_validate((target.unrecognized_fields.get("custom") or {}).get(PLAN))
    except ValidationError as error:
        raise ModelError(f"{path} is no rollout that edgecam-workbench has made: {error}") from error
    return Running(channel, rollout, plan)


def read_all(repository: Repository, channel: str) -> list[Running]:
    """Give all rollouts of a channel; see `read`."""
    delegator_of(repository, f"{ROLLOUT}{channel}")
    metadata = repository.current(f"{ROLLOUT}{channel}")
    paths = sorted(metadata.signed.targets) if metadata is not None else []
    return [read(repository, channel, path.rpartition("/")[2].removesuffix(".json")) for path in paths]


def write(repository: Repository, running: Running, now: datetime, ask: AskSecret = ask_secret) -> Running:
    """Sign a rollout; devices see it after the next `refresh` and `push`.

    Args:
        repository: The publisher's folder, locked.
        running: The rollout; `since` of its plan becomes now where share or state are others than before.
        now: UTC.
        ask: For secrets of the online key.

    Raises:
        ConfigError: There is no such channel, or its key is not there.
        UnavailableError: The key did not sign.
    """
    path = f"rollout/{running.channel}/{running.rollout.name}.json"
    plan = running.plan.model_copy(update={"since": moment(now)})
    rollout = json.dumps(
        running.rollout.model_dump(mode="json", by_alias=True, exclude_none=True), separators=(",", ":")
    )
    content = rollout.encode()

    def change(targets: Targets) -> None:
        target = TargetFile.from_data(path, content, ["sha256"])
        target.unrecognized_fields["custom"] = {PLAN: plan.model_dump(mode="json")}
        targets.targets[path] = target

    repository.add_file(path, content)
    publish_rollout(repository, f"{ROLLOUT}{running.channel}", change, now, ask)
    return Running(running.channel, running.rollout, plan)


def published_models(repository: Repository) -> Targets:
    """Give the releases that a rollout may name: those that are published.

    Raises:
        ConfigError: Nothing is published yet.
    """
    found: Any = repository.current(MODELS)
    if found is None or not isinstance(found.signed, Targets):
        raise ConfigError(f"{repository.folder} has nothing published yet; do: edgecam-workbench publish refresh")
    return found.signed


def moment(now: datetime) -> str:
    """Give a time as formats have it: UTC, to the second."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def percent(share_ppm: int) -> str:
    """Give a share for people."""
    return f"{share_ppm / PER_CENT:g} %"


def _release_of(models: Targets, name: str, selection: Selection) -> Released:
    version = selection.path.split("/")[2]
    return find_release(models, name, version)


def _check(rollout: Rollout, accepted: set[str], what: str) -> None:
    if rollout.state not in accepted:
        raise ConfigError(
            f"rollout {rollout.id} is {rollout.state} and cannot be {what}; begin another one: rollout start"
        )


def _id(released: Released, now: datetime) -> str:
    release = released.release
    return f"{release.name[:20]}-{release.version[:20]}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
