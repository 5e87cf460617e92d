"""Energy is what a counter says, or it is not told at all."""

from pathlib import Path

import pytest

from appliance.workbench.energy import find_meter


def add_zone(folder: Path, zone: str, name: str, microjoules: int, most: int = 1_000_000) -> Path:
    path = folder / zone
    path.mkdir(parents=True)
    for file, content in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", most)):
        (path / file).write_text(f"{content}\n", encoding="ascii")
    return path


def test_all_packages_count_and_neither_their_parts_nor_the_platform(tmp_path: Path) -> None:
    packages = [add_zone(tmp_path, f"intel-rapl:{at}", f"package-{at}", 100) for at in range(2)]
    add_zone(tmp_path, "intel-rapl:0:0", "core", 7)
    add_zone(tmp_path, "intel-rapl:2", "psys", 7)
    meter = find_meter(tmp_path)
    before = meter.read()
    for path, now in zip(packages, (300_100, 500_100), strict=True):
        (path / "energy_uj").write_text(str(now), encoding="ascii")
    assert meter.absent == ""
    assert meter.joules(before, meter.read()) == pytest.approx(0.8)


def test_a_counter_that_began_again_is_counted_on(tmp_path: Path) -> None:
    path = add_zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    meter = find_meter(tmp_path)
    before = meter.read()
    (path / "energy_uj").write_text("99999", encoding="ascii")
    assert meter.joules(before, meter.read()) == pytest.approx(0.2)


def test_without_a_counter_that_says_something_the_reason_is_told(tmp_path: Path) -> None:
    assert find_meter(tmp_path / "absent").absent == "no energy counter"
    path = add_zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (path / "energy_uj").write_text("", encoding="ascii")
    assert find_meter(tmp_path).absent.startswith("the energy counter cannot be read")
