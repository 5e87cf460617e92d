"""What of all that the fleet offers this device is to run, or why nothing of it. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, Self

from appliance.updates.formats import Licence, Release, Requirements, Rollout, Selection
from appliance.updates.orders import CheckAnswer, Offer
from appliance.updates.refusals import Code
from appliance.updates.rollout import Whom, is_given, is_meant
from appliance.updates.state import Held, State, Update

WARN_DAYS: Final = 30
"""Days before a licence ends from which on its end is told."""


@dataclass(frozen=True, slots=True)
class Device:
    """What of a device decides what it can run, and may.

    Attributes:
        whom: Its id and cohorts.
        edgecam: Version of Edgecam.
        machine: Kind of processor, as ``uname -m`` says.
        board: Its name, as the device tree says.
        runtimes: Versions by the name of the Python package.
        accelerators: Names of providers that are there.
        memory_mb: Of the machine.
        use: What models are used for here; empty: the owner does not say.
        today: By which licences end.
        keys: Public keys of the private ones that are here, for releases that are encrypted.
        task: Of the model in service.
    """

    whom: Whom
    edgecam: str
    machine: str
    board: str = ""
    runtimes: Mapping[str, str] = field(default_factory=dict)
    accelerators: frozenset[str] = frozenset()
    memory_mb: float = 0.0
    use: str = ""
    today: date = date.max
    keys: frozenset[str] = frozenset()
    task: str = "detect"

    def on(self, day: date, runtimes: Mapping[str, str]) -> Self:
        """Give the same device on a day, with the runtimes that are installed."""
        return replace(self, today=day, runtimes=runtimes)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release that this device is to run.

    Attributes:
        offer: As it was signed.
        update: As it begins.
    """

    offer: Offer
    update: Update


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is to be done.

    Attributes:
        why: For people.
        code: For reports, where something was refused.
    """

    why: str
    code: Code | None = None


def choose(answer: CheckAnswer, state: State, device: Device) -> Wanted | Nothing:
    """Decide what a device is to run, whatever the time of day.

    Args:
        answer: What the fleet wants; verified.
        state: What is here. What is under way is not looked at.
        device: This one.
    """
    rollout = answer.rollout
    if rollout is None:
        return Nothing("the fleet has no rollout of this model in this channel")
    if state.is_pinned:
        return Nothing("the owner has pinned the model: edgecam model pin --off lets go of it")
    if not is_meant(rollout, device.whom):
        return Nothing(f"rollout {rollout.id} is not for this device")
    if rollout.state == "rollback":
        return _return(rollout, answer, state, device)
    if rollout.state == "halted":
        return Nothing(f"rollout {rollout.id} is halted")
    return _update(rollout, answer, state, device)


def is_halted(answer: CheckAnswer, update: Update) -> bool:
    """Tell whether an update under way is to be given up: its rollout was halted, or is to be undone."""
    rollout = answer.rollout
    return (
        rollout is not None
        and rollout.id == update.rollout
        and (rollout.state == "halted" or (rollout.state == "rollback" and not update.is_return))
    )


def licence_trouble(licence: Licence, use: str, today: date) -> tuple[str, bool]:
    """Tell what is the matter with a licence, and whether it forbids to run the model; empty: nothing is.

    Args:
        licence: Of the release.
        use: What models are used for here.
        today: By which it ends.
    """
    if licence.uses and use not in licence.uses:
        shown = f"is {use!r} here" if use else "is not told here"
        return f"its licence allows use for {', '.join(licence.uses)}, and that {shown}: [fleet] use", True
    if licence.expires is None:
        return "", False
    left = (date.fromisoformat(licence.expires) - today).days
    if left < 0:
        return f"its licence ended on {licence.expires}", True
    if left <= WARN_DAYS:
        return (
            f"its licence ends on {licence.expires}, in {left} days: ask the fleet's owner for a newer release",
            False,
        )
    return "", False


def locked(release: Release, keys: frozenset[str]) -> str:
    """Tell why a release cannot be decrypted with these keys; nothing when it can, or is in the clear.

    Args:
        release: As it was signed.
        keys: Public keys of the private ones that are here.
    """
    if not release.recipients or not keys.isdisjoint(release.recipients):
        return ""
    have = f"none of the {len(keys)} keys that are here opens it" if keys else "there is no key here"
    return f"is encrypted, and {have}: [model] key (docs/fleet.md)"


def misfit(release: Release, device: Device) -> str:
    """Tell why a release cannot take the place of the model in service, whatever it finds; nothing when it may."""
    if release.task == device.task:
        return ""
    return (
        f"is for task {release.task!r}, and {device.task!r} is in service; tasks are the owner's to choose: [model] use"
    )


def unmet(requires: Requirements, device: Device) -> str:
    """Tell what a device lacks for a release; nothing when it has all."""
    return next(_lacking(requires, device), "")


def _lacking(requires: Requirements, device: Device) -> Iterator[str]:
    if _is_older(device.edgecam, requires.edgecam):
        yield f"needs Edgecam {requires.edgecam}, and this is {device.edgecam}"
    if requires.machines and device.machine not in requires.machines:
        yield f"is for {' or '.join(requires.machines)}, and this is {device.machine}"
    if requires.boards and not device.board.startswith(requires.boards):
        yield f"is for {' or '.join(requires.boards)}, and this is {device.board or 'none that says its name'}"
    for name, least in requires.runtimes.items():
        here = device.runtimes.get(name)
        if here is None or _is_older(here, least):
            yield f"needs {name} {least}, and {here or 'none'} is here"
    if requires.accelerators and device.accelerators.isdisjoint(requires.accelerators):
        yield f"needs {' or '.join(requires.accelerators)}, which is not here"
    if device.memory_mb and requires.memory_mb > device.memory_mb:
        yield f"needs {requires.memory_mb} MB of memory, and this machine has {device.memory_mb:.0f}"


def _update(rollout: Rollout, answer: CheckAnswer, state: State, device: Device) -> Wanted | Nothing:
    reasons: list[str] = []
    given = [one for one in rollout.choose if is_given(one, device.whom)]
    if not given:
        return Nothing(f"rollout {rollout.id} has no release for this device's cohorts")
    for selection in given:
        offer = answer.offers.get(selection.sha256)
        if offer is None:
            reasons.append(answer.unsigned.get(selection.sha256, f"{selection.path} is not signed"))
        elif why := next(filter(None, _obstacles(offer.release, device)), ""):
            reasons.append(f"{offer.release.version} {why}")
        else:
            return _forward(rollout, selection, offer, state, device)
    is_unsigned = any(selection.sha256 in answer.unsigned for selection in given)
    offers = [answer.offers[one.sha256] for one in given if one.sha256 in answer.offers]
    is_locked = any(locked(one.release, device.keys) for one in offers)
    is_other = bool(offers) and all(misfit(one.release, device) for one in offers)
    code = Code.KEY if is_locked else Code.CONTRACT if is_other else Code.UNSUPPORTED
    why = f"rollout {rollout.id} has nothing for this device: {'; '.join(reasons)}"
    return Nothing(why, Code.MISSING if is_unsigned else code)


def _obstacles(release: Release, device: Device) -> tuple[str, ...]:
    return misfit(release, device), unmet(release.requires, device), locked(release, device.keys)


def _forward(rollout: Rollout, selection: Selection, offer: Offer, state: State, device: Device) -> Wanted | Nothing:
    release, floor = offer.release, state.floor(rollout.name)
    if state.active is not None and state.active.sha256 == selection.sha256:
        return Nothing(f"{release.name} {release.version} is in service")
    least = max(floor.counter, floor.security)
    if release.counter < least:
        shown = f"{release.name} {release.version} has counter {release.counter}"
        return Nothing(f"{shown}, and none below {least} is taken", Code.COUNTER)
    return _allowed(rollout, selection, offer, state, device)


def _return(rollout: Rollout, answer: CheckAnswer, state: State, device: Device) -> Wanted | Nothing:
    """Go back to an older release, where what is in service came with this rollout and may be left for it."""
    active, back = state.active, rollout.rollback_to
    if active is None or active.sha256 not in {one.sha256 for one in rollout.choose}:
        return Nothing(f"rollout {rollout.id} is taken back, and nothing of it is in service here")
    if back is None:
        return Nothing(f"rollout {rollout.id} is taken back, and does not say to what", Code.INVALID)
    offer, leaving = answer.offers.get(back.sha256), answer.offers.get(active.sha256)
    if offer is None or leaving is None:
        return Nothing(f"rollout {rollout.id} goes back to what is not signed", Code.MISSING)
    security = max(state.floor(rollout.name).security, leaving.release.security_floor)
    if back.sha256 not in leaving.release.may_downgrade_to or offer.release.counter < security:
        shown = f"{leaving.release.version} may not be left for {offer.release.version}"
        return Nothing(f"{shown}: that is not signed, or lies below the security floor of {security}", Code.COUNTER)
    return _allowed(rollout, back, offer, state, device)


def _allowed(rollout: Rollout, selection: Selection, offer: Offer, state: State, device: Device) -> Wanted | Nothing:
    release = offer.release
    shown = f"{release.name} {release.version}"
    blocked = next((one.code for one in state.blocked if one.sha256 == selection.sha256), None)
    if blocked is not None:
        return Nothing(f"{shown} was refused here before ({blocked}), and is not tried again")
    if why := misfit(release, device):
        return Nothing(f"{shown} {why}", Code.CONTRACT)
    if why := unmet(release.requires, device):
        return Nothing(f"{shown} {why}", Code.UNSUPPORTED)
    if why := locked(release, device.keys):
        return Nothing(f"{shown} {why}", Code.KEY)
    trouble, is_forbidden = licence_trouble(release.licence, device.use, device.today)
    if is_forbidden:
        return Nothing(f"{shown} may not be run: {trouble}", Code.LICENCE)
    held = Held(sha256=selection.sha256, name=release.name, version=release.version, counter=release.counter)
    is_return = rollout.state == "rollback"
    return Wanted(offer, Update(release=held, rollout=rollout.id, is_return=is_return, trial=rollout.trial))


def _is_older(version: str, than: str) -> bool:
    """Compare versions by their leading numbers: 1.20 is later than 1.9, and what follows them does not count."""
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d{1,9}(?:\.\d{1,9}){0,5}", version)
    numbers = [int(part) for part in found[0].split(".")] if found else [0]
    return (*numbers, *[0] * (6 - len(numbers)))
