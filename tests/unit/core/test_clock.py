import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.core.clock import ClockQuality, SystemClock, read_boot_id
from tests.simulators.faked_clock import FakedClock, true_offset_ns


def test_both_clocks_move_forward() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert second.mono_ns >= first.mono_ns
    assert first.time.utcoffset() is not None


def test_quality_is_what_the_kernel_says() -> None:
    quality = SystemClock().quality()
    try:
        command = ["timedatectl", "show", "-p", "NTPSynchronized"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        told = None
    if told is not None and told.returncode == 0:
        assert (quality is ClockQuality.SYNCED) == ("yes" in told.stdout)
    else:
        assert quality in {ClockQuality.SYNCED, ClockQuality.UNSYNCED}


def test_a_reading_ties_utc_to_the_clock_that_never_steps() -> None:
    reading = SystemClock().reading()
    assert abs(reading.offset_ns - true_offset_ns()) < 5_000_000
    assert 0 < reading.mono_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


ASK = """
from appliance.core.clock import SystemClock
clock = SystemClock()
reading = clock.reading()
print(reading.quality.value, clock.quality().value, reading.offset_ns, reading.error_ns, clock.now().time.year)
"""


@pytest.mark.parametrize(("synced", "quality"), [(True, "synced"), (False, "unsynced")])
def test_the_kernel_is_asked_where_its_answer_lies(tmp_path: Path, *, synced: bool, quality: str) -> None:
    clock = FakedClock(tmp_path, wrong_s=3600.0, synced=synced)
    environment = os.environ | clock.environment
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, env=environment, check=True)
    first, second, offset_ns, error_ns, _ = done.stdout.split()
    assert (first, second) == (quality, quality)
    assert abs(int(offset_ns) - 3600 * 10**9 - true_offset_ns()) < 50_000_000
    if synced:
        assert int(error_ns) == 40_000_000


def test_boot_id_is_stable() -> None:
    assert read_boot_id() == read_boot_id()
    assert len(read_boot_id()) == 32
