"""Clock, disk, heat and memory: what the kernel's files say, and what the doctor makes of it."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.core.checkup import CheckState, Outcome
from appliance.core.clock import ClockQuality
from appliance.diagnostics.doctor.disk import Disk, judge_disk, read_disk
from appliance.diagnostics.doctor.heat import judge_heat, read_heat
from appliance.diagnostics.doctor.memory import judge_memory, read_memory
from appliance.diagnostics.doctor.utc import judge_clock

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WELL = Disk(Path("/var/lib/edgecam"), free_mb=5000.0, size_mb=30000.0, free_files=100_000, is_read_only=False)


def write(root: Path, **files: str) -> Path:
    """Write files of the kernel's; in the names `__` stands for a slash."""
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_a_synced_clock_is_well_and_others_are_not() -> None:
    assert judge_clock(NOW, ClockQuality.SYNCED, 12.0).state is CheckState.OK
    for quality in (ClockQuality.UNSYNCED, ClockQuality.HOLDOVER):
        told = judge_clock(NOW, quality, 0.0)
        assert told.state is CheckState.WARNING
        assert "set-ntp" in told.fix
    assert judge_clock(NOW, ClockQuality.SYNCED, 16_000.0).state is CheckState.WARNING


@pytest.mark.parametrize("year", [1970, 2060])
def test_a_clock_that_cannot_be_right_has_failed(year: int) -> None:
    told = judge_clock(NOW.replace(year=year), ClockQuality.UNSYNCED, 0.0)
    assert told.state is CheckState.FAILED
    assert "certificate" in told.seen


def room(disk: Disk) -> Outcome:
    return judge_disk(disk)[0]


def wear(disk: Disk) -> Outcome:
    return judge_disk(disk)[1]


@pytest.mark.parametrize(
    ("disk", "state", "words"),
    [
        (WELL, CheckState.OK, "5,000 of 30,000 MB free"),
        (replace(WELL, free_mb=50.0), CheckState.WARNING, "50 of"),
        (replace(WELL, free_mb=1.0), CheckState.FAILED, "full"),
        (replace(WELL, free_files=3), CheckState.FAILED, "3 more files"),
        (replace(WELL, is_read_only=True), CheckState.FAILED, "read-only"),
    ],
)
def test_a_disk_without_room_is_told(disk: Disk, state: CheckState, words: str) -> None:
    told = room(disk)
    assert told.state is state
    assert words in told.seen
    assert bool(told.fix) is (state is not CheckState.OK)


def test_the_fix_of_a_read_only_disk_can_be_pasted(tmp_path: Path) -> None:
    disk = replace(WELL, is_read_only=True, mount_point=Path("/mnt/a card"))
    assert room(disk).fix.startswith("sudo mount -o remount,rw '/mnt/a card'; ")
    assert read_disk(Path("/proc/self/nothing")).mount_point == Path("/proc")
    assert os.path.ismount(read_disk(tmp_path).mount_point)


def test_of_a_state_folder_that_is_a_link_the_mount_is_named_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "edgecam").symlink_to("/proc/self")
    for state_dir in (tmp_path / "edgecam", tmp_path / "edgecam" / "fd"):
        assert read_disk(state_dir).mount_point == Path("/proc")


@pytest.mark.parametrize(
    ("disk", "state", "words"),
    [
        (WELL, CheckState.SKIPPED, "tells nothing"),
        (replace(WELL, worn=2, near_end=1), CheckState.OK, "up to 20 %"),
        (replace(WELL, worn=9, near_end=1), CheckState.WARNING, "up to 90 %"),
        (replace(WELL, worn=11, near_end=3), CheckState.WARNING, "its life is over"),
        (replace(WELL, written_gb=12.5), CheckState.OK, "12.5 GB written"),
        (replace(WELL, errors=4, written_gb=12.5), CheckState.FAILED, "4 errors"),
    ],
)
def test_a_worn_disk_is_told(disk: Disk, state: CheckState, words: str) -> None:
    told = wear(disk)
    assert told.state is state
    assert words in told.seen


def test_wear_is_read_of_the_chip_that_the_folder_lies_on(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    chip = tmp_path / "sys/devices/mmc0"
    disk = chip / "block/mmcblk0"
    (disk / "mmcblk0p2").mkdir(parents=True)
    (disk / "device").symlink_to(chip)
    (chip / "life_time").write_text("0x01 0x03\n")
    (chip / "pre_eol_info").write_text("0x01\n")
    known = tmp_path / "sys/dev/block"
    known.mkdir(parents=True)
    (known / f"{os.major(device)}:{os.minor(device)}").symlink_to(disk / "mmcblk0p2")
    written = tmp_path / "sys/fs/ext4/mmcblk0p2"
    written.mkdir(parents=True)
    (written / "lifetime_write_kbytes").write_text("9765625\n")
    (written / "errors_count").write_text("0\n")
    seen = read_disk(tmp_path / "not/there/yet", tmp_path / "sys")
    assert (seen.folder, seen.worn, seen.near_end, seen.errors, seen.written_gb) == (tmp_path, 3, 1, 0, 10.0)
    assert seen.free_mb > 0


def test_a_raspberry_pi_that_is_short_of_power_is_told_now_and_after(tmp_path: Path) -> None:
    firmware = tmp_path / "devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    told = judge_heat(read_heat(tmp_path))[1]
    assert told.state is CheckState.FAILED
    assert "now: under-voltage, throttled" in told.seen
    assert "power supply" in told.fix
    (firmware / "get_throttled").write_text("50000\n")
    told = judge_heat(read_heat(tmp_path))[1]
    assert told.state is CheckState.WARNING
    assert "since the start: under-voltage, throttled" in told.seen
    (firmware / "get_throttled").write_text("0\n")
    assert judge_heat(read_heat(tmp_path))[1].state is CheckState.OK


def test_the_hottest_zone_is_told_by_its_name(tmp_path: Path) -> None:
    write(
        tmp_path,
        class__thermal__thermal_zone0__type="cpu-thermal\n",
        class__thermal__thermal_zone0__temp="82300\n",
        class__thermal__thermal_zone1__type="gpu-thermal\n",
        class__thermal__thermal_zone1__temp="41000\n",
        class__thermal__thermal_zone2__type="off-thermal\n",
        class__thermal__thermal_zone2__temp="\n",
    )
    told = judge_heat(read_heat(tmp_path))[0]
    assert told.state is CheckState.WARNING
    assert "82 °C (cpu-thermal)" in told.seen
    assert "cooling" in told.fix


def test_where_there_are_no_zones_hwmon_tells(tmp_path: Path) -> None:
    write(tmp_path, class__hwmon__hwmon0__name="rp1_adc\n", class__hwmon__hwmon0__temp1_input="38000\n")
    assert "38 °C (rp1_adc)" in judge_heat(read_heat(tmp_path))[0].seen


def test_a_jetson_that_was_throttled_for_its_current_is_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        class__hwmon__hwmon3__name="soctherm_oc\n",
        class__hwmon__hwmon3__oc1_event_cnt="0\n",
        class__hwmon__hwmon3__oc3_event_cnt="37\n",
        class__thermal__cooling_device0__type="pwm-fan\n",
        class__thermal__cooling_device0__cur_state="3\n",
    )
    told = judge_heat(read_heat(tmp_path))[1]
    assert told.state is CheckState.WARNING
    assert "instantaneous over-current (37 times)" in told.seen
    assert "fan" not in told.seen


def test_a_processor_that_the_kernel_cools_is_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        class__thermal__cooling_device0__type="cpufreq-cpu0\n",
        class__thermal__cooling_device0__cur_state="2\n",
    )
    told = judge_heat(read_heat(tmp_path))[1]
    assert told.state is CheckState.WARNING
    assert "cpufreq-cpu0" in told.seen


def test_a_machine_that_tells_nothing_is_not_called_well(tmp_path: Path) -> None:
    assert {outcome.state for outcome in judge_heat(read_heat(tmp_path))} == {CheckState.SKIPPED}
    assert judge_memory(read_memory(tmp_path)).state is CheckState.SKIPPED


def test_what_the_kernel_ended_for_want_of_memory_is_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        proc__meminfo="MemTotal:         900000 kB\nMemAvailable:     500000 kB\n",
        proc__vmstat="nr_free_pages 1\noom_kill 0\n",
    )
    assert judge_memory(read_memory(tmp_path)).state is CheckState.OK
    write(tmp_path, proc__vmstat="nr_free_pages 1\noom_kill 2\n")
    told = judge_memory(read_memory(tmp_path))
    assert told.state is CheckState.WARNING
    assert "ended 2 processes" in told.seen
    events = tmp_path / "sys/fs/cgroup/system.slice/edgecam.service/memory.events"
    events.parent.mkdir(parents=True)
    events.write_text("low 0\noom 1\noom_kill 1\n")
    assert judge_memory(read_memory(tmp_path)).state is CheckState.FAILED


def test_a_service_without_a_limit_is_told_how_it_gets_one(tmp_path: Path) -> None:
    unit = "sys__fs__cgroup__system.slice__edgecam.service"
    write(tmp_path, proc__meminfo="MemTotal: 900000 kB\nMemAvailable: 500000 kB\n")
    assert judge_memory(read_memory(tmp_path)).state is CheckState.OK  # it is no service here
    write(tmp_path, **{f"{unit}__cgroup.procs": "711\n"})
    told = judge_memory(read_memory(tmp_path))
    assert told.state is CheckState.WARNING
    assert "does not hold the service to its limit" in told.seen
    assert "cgroup_enable=memory" in told.fix
    write(tmp_path, **{f"{unit}__memory.max": "600000000\n"})
    assert judge_memory(read_memory(tmp_path)).state is CheckState.OK


def test_little_memory_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, proc__meminfo="MemTotal: 500000 kB\nMemAvailable: 20000 kB\n")
    told = judge_memory(read_memory(tmp_path))
    assert told.state is CheckState.WARNING
    assert told.fix
