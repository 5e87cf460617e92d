"""Sets the releases of a rollout side by side, by what their devices report. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.updates.formats import Rollout
from appliance.workbench.collecting.devices import Device, Run
from appliance.workbench.collecting.intervals import Estimate, difference, mean, share
from appliance.workbench.collecting.summing import reports_of
from appliance.workbench.publishing.promotion import Counts

LEAST_SECONDS: Final = 600.0
"""That a device was heard with a release in service before its figures count."""

_HOUR: Final = 3600.0

FIGURES: Final[Mapping[str, Callable[[Run], float | None]]] = {
    "objects_per_hour": lambda run: run.objects / run.seconds * _HOUR,
    "p50_ms": lambda run: run.p50_ms / run.readings,
    "p95_ms": lambda run: run.p95_ms / run.readings,
    "fps": lambda run: run.frames / run.seconds,
    "temperature_c": lambda run: run.temperature_c / run.warm if run.warm else None,
}
"""What is told of each device with a release, by name; None: it does not say."""

AGREEMENT: Final = "agreement"


@dataclass(frozen=True, slots=True)
class Arm:
    """A release of a rollout, and what its devices report.

    Attributes:
        version: Of the model.
        sha256: Of its manifest.
        cohorts: That are given it; empty: any.
        counts: How it went.
        failed: Share of those that came to an end.
        hours: That devices were heard with it in service, all together.
        values: One figure of each device, by name; `agreement` is with the model before it, 0..1.
        figures: Their means.
    """

    version: str
    sha256: str
    cohorts: tuple[str, ...]
    counts: Counts
    failed: Estimate
    hours: float
    values: Mapping[str, Sequence[float]]
    figures: Mapping[str, Estimate]


def arms_of(rollout: Rollout, devices: Iterable[Device], taken: str) -> list[Arm]:
    """Give the releases of a rollout in its order.

    Args:
        rollout: Which.
        devices: All that were heard of.
        taken: Until when messages were taken in, UTC.
    """
    heard = list(devices)
    reports = reports_of(rollout, heard, taken)
    found = []
    for one in rollout.choose:
        counts = reports.releases[one.sha256]
        values = _values(one.sha256, heard)
        seconds = sum(device.runs[one.sha256].seconds for device in heard if one.sha256 in device.runs)
        found.append(
            Arm(
                version=one.path.split("/")[2],
                sha256=one.sha256,
                cohorts=one.cohorts,
                counts=counts,
                failed=share(counts.failed, counts.done),
                hours=seconds / _HOUR,
                values=values,
                figures={name: mean(each) for name, each in values.items()},
            )
        )
    return found


def apart(first: Arm, second: Arm) -> dict[str, Estimate]:
    """Give by how much the second's figures are above the first's."""
    return {name: difference(values, second.values[name]) for name, values in first.values.items()}


def _values(sha256: str, devices: Iterable[Device]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {name: [] for name in (*FIGURES, AGREEMENT)}
    for device in devices:
        run = device.runs.get(sha256)
        if run is not None and run.seconds >= LEAST_SECONDS and run.readings:
            for name, figure in FIGURES.items():
                if (value := figure(run)) is not None:
                    values[name].append(value)
        end = device.ends.get(sha256)
        found = end.compared if end is not None else None
        if found is not None and found.active + found.candidate:
            values[AGREEMENT].append(2 * found.both / (found.active + found.candidate))
    return values
