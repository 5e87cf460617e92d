"""Reads the processor's own energy counter, where there is one and it may be read.

https://docs.kernel.org/power/powercap/powercap.html
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import UnavailableError

POWERCAP: Final = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class EnergyMeter:
    """The counters of all processor packages; each covers all that runs on its package.

    Attributes:
        zones: Folders of the counters, and how far each counts before it begins again, microjoules.
        absent: Why nothing can be measured; empty when it can.
    """

    zones: tuple[tuple[Path, int], ...]
    absent: str

    def read(self) -> tuple[int, ...]:
        """Give the counters, microjoules.

        Raises:
            UnavailableError: They cannot be read any more.
        """
        try:
            return tuple(_number(zone / "energy_uj") for zone, _ in self.zones)
        except (OSError, ValueError) as error:
            raise UnavailableError(f"the energy counter cannot be read any more ({error}); try again") from error

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """Give the energy between two readings that are less than one turn of a counter apart."""
        turns = [most for _, most in self.zones]
        used = [
            last - first + (most + 1 if last < first else 0)
            for first, last, most in zip(before, after, turns, strict=True)
        ]
        return sum(used) / 1e6


def find_meter(folder: Path = POWERCAP) -> EnergyMeter:
    """Find the counters of this machine."""
    zones = []
    for zone in sorted(folder.glob("intel-rapl:*")):  # AMD's are called so too
        try:
            if not (zone / "name").read_text(encoding="ascii").startswith("package"):
                continue  # a part of a package, or the whole platform
            _number(zone / "energy_uj")
            zones.append((zone, _number(zone / "max_energy_range_uj")))
        except PermissionError:
            return EnergyMeter((), "the energy counter may be read by root only")
        except (OSError, ValueError) as error:
            return EnergyMeter((), f"the energy counter cannot be read ({error})")
    return EnergyMeter(tuple(zones), "" if zones else "no energy counter")


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
