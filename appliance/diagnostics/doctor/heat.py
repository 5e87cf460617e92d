"""Temperature, and whether the processor is slowed down: by heat, by its power supply, now or before."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.checkup import CheckState, Outcome
from appliance.core.machine import HOT_C

_FLAGS: Final = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_BEFORE: Final = 16  # bits above which the same is told of the time before (Raspberry Pi documentation, vcgencmd)
_FIRMWARE: Final = "devices/platform/soc/soc:firmware/get_throttled"
_JETSON: Final = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "instantaneous over-current"}
_SLOWING: Final = ("cpufreq", "thermal-cpufreq", "devfreq", "thermal-devfreq", "cpu-", "gpu-")
_POWER_FIX: Final = "use the power supply that is meant for this board, and a short, thick cable"
_HEAT_FIX: Final = "improve the cooling, or lower the camera's fps"


@dataclass(frozen=True, slots=True)
class Heat:
    """Readings of one moment.

    Attributes:
        temperatures_c: Of each place that tells, by its name, degrees Celsius.
        slowed: What slows the processor down now.
        before: What did so since the machine was started.
        is_told: The machine has something that tells whether it is slowed down.
    """

    temperatures_c: dict[str, float]
    slowed: tuple[str, ...]
    before: tuple[str, ...]
    is_told: bool


def read_heat(system: Path = Path("/sys")) -> Heat:
    """Take the readings: thermal zones, hwmon, a Raspberry Pi's firmware, a Jetson's over-current counters."""
    temperatures = dict(_zones(system)) or dict(_sensors(system))
    slowed, before, is_told = _firmware(system)
    for name, what, value in _alarms(system):
        is_told = True
        if value and name == "rpi_volt":
            slowed.append(what)
        elif value:
            before.append(f"{what} ({value} times)")
    coolers = list(_coolers(system))
    slowed += [f"slowed by heat ({name})" for name, step in coolers if step]
    return Heat(temperatures, tuple(dict.fromkeys(slowed)), tuple(dict.fromkeys(before)), is_told or bool(coolers))


def judge_heat(heat: Heat) -> list[Outcome]:
    """Tell how warm the machine is (``temperature``), and whether it is slowed down (``throttling``)."""
    return [_judge_temperature(heat), _judge_throttling(heat)]


def _judge_temperature(heat: Heat) -> Outcome:
    if not heat.temperatures_c:
        return Outcome("temperature", CheckState.SKIPPED, "this machine does not tell its temperature")
    place, hottest = max(heat.temperatures_c.items(), key=lambda item: item[1])
    seen = f"{hottest:.0f} °C ({place})"
    if hottest >= HOT_C:
        return Outcome("temperature", CheckState.WARNING, seen, _HEAT_FIX)
    return Outcome("temperature", CheckState.OK, seen)


def _judge_throttling(heat: Heat) -> Outcome:
    told = f"now: {', '.join(heat.slowed)}" if heat.slowed else ""
    if heat.before:
        told += f"{'; ' if told else ''}since the start: {', '.join(heat.before)}"
    fix = _POWER_FIX if "voltage" in told or "current" in told else _HEAT_FIX
    if any("voltage" in one or "current" in one for one in heat.slowed):
        return Outcome("throttling", CheckState.FAILED, told, fix)
    if told:
        return Outcome("throttling", CheckState.WARNING, told, fix)
    if not heat.is_told:
        return Outcome("throttling", CheckState.SKIPPED, "this machine does not tell whether it is slowed down")
    return Outcome("throttling", CheckState.OK, "not slowed down")


def _zones(system: Path) -> Iterator[tuple[str, float]]:
    for zone in sorted(system.glob("class/thermal/thermal_zone*")):
        if (reading := _read(zone / "temp")) is not None:
            with suppress(ValueError):  # a zone that is switched off
                yield _read(zone / "type") or zone.name, int(reading) / 1000.0


def _sensors(system: Path) -> Iterator[tuple[str, float]]:
    for sensor in sorted(system.glob("class/hwmon/hwmon*/temp*_input")):
        if (reading := _read(sensor)) is not None:
            with suppress(ValueError):
                yield _read(sensor.parent / "name") or sensor.parent.name, int(reading) / 1000.0


def _firmware(system: Path) -> tuple[list[str], list[str], bool]:
    """Give what a Raspberry Pi's firmware says: what slows it down, what did, and whether it says anything."""
    try:
        bits = int(_read(system / _FIRMWARE) or "", 16)
    except ValueError:
        return [], [], False
    now = [name for bit, name in _FLAGS.items() if bits >> bit & 1]
    return now, [name for bit, name in _FLAGS.items() if bits >> _BEFORE >> bit & 1 and name not in now], True


def _alarms(system: Path) -> Iterator[tuple[str, str, int]]:
    """Give the name of each power alarm's device, what it tells of, and its reading."""
    for device in sorted(system.glob("class/hwmon/hwmon*")):
        name = _read(device / "name") or ""
        alarms = {"in0_lcrit_alarm": "under-voltage"} if name == "rpi_volt" else {}
        if name == "soctherm_oc":
            alarms = {f"{key}_event_cnt": what for key, what in _JETSON.items()}
        for file, what in alarms.items():
            if (reading := _read(device / file) or "").isdecimal():
                yield name, what, int(reading)


def _coolers(system: Path) -> Iterator[tuple[str, int]]:
    """Give the kernel's own ways to slow a processor down, and at which step each is; a fan is none."""
    for device in sorted(system.glob("class/thermal/cooling_device*")):
        name, step = _read(device / "type") or "", _read(device / "cur_state") or ""
        if name.startswith(_SLOWING) and step.isdecimal():
            yield name, int(step)


def _read(path: Path) -> str | None:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(200).strip("\0\n ")
    except OSError:
        return None
