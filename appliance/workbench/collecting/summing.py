"""Adds up devices' reports for a rollout, as `promotion` judges them. Pure."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from appliance.updates.formats import Rollout, Trial
from appliance.updates.refusals import Code
from appliance.workbench.collecting.devices import Device
from appliance.workbench.publishing.promotion import Counts, Reports

SLACK: Final = 3600
"""Seconds beside those of a trial that a device may say nothing before it counts as silent."""

SETTLED: Final = 300
"""Seconds that must have been listened without a break before anybody counts as silent."""

_TOLD_TO: Final = Code.HALTED.value  # the fleet's own doing, and no failure of the release


def silent_after(trial: Trial) -> int:
    """Give for how many seconds a device that has begun may say nothing."""
    return trial.shadow_seconds + trial.active_seconds + SLACK


def reports_of(rollout: Rollout, devices: Iterable[Device], taken: str, listened: int = SETTLED) -> Reports:
    """Add up what devices report of a rollout.

    Args:
        rollout: Which.
        devices: All that were heard of.
        taken: Until when messages were taken in, UTC.
        listened: Seconds without a break until then.
    """
    chosen = {one.sha256 for one in rollout.choose}
    states: dict[str, Counter[str]] = {sha256: Counter() for sha256 in chosen}
    codes: dict[str, Counter[str]] = {sha256: Counter() for sha256 in chosen}
    now, most = _moment(taken), silent_after(rollout.trial)
    for device in devices:
        is_trying = device.candidate in chosen and device.rollout == rollout.id
        if is_trying and device.candidate is not None:
            is_silent = listened >= SETTLED and (now - _moment(device.heard)).total_seconds() > most
            states[device.candidate]["silent" if is_silent else "trying"] += 1
        for sha256, end in device.ends.items():
            if sha256 not in chosen or end.rollout != rollout.id or (is_trying and sha256 == device.candidate):
                continue
            if end.outcome == "rolled_back" and end.code == _TOLD_TO:
                continue
            states[sha256][end.outcome] += 1
            if end.code is not None:
                codes[sha256][end.code] += 1
    return Reports(
        schema=1,
        rollout=rollout.id,
        taken=taken,
        releases={sha256: Counts(**states[sha256], codes=dict(codes[sha256].most_common(64))) for sha256 in chosen},
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
