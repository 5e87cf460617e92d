import time
from pathlib import Path

import pytest

from appliance.core.clock import ClockQuality, SystemClock
from appliance.core.errors import UnavailableError
from appliance.core.kernel_clock import KernelClock, Told
from appliance.core.witness import FRESH_NS, Witness, ask_kernel, read_witness, utc_offset, write_witness


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_what_is_written_down_is_read_again_and_grows_less_sure(tmp_path: Path) -> None:
    path = tmp_path / "witness"
    write_witness(path, Witness(_now() - 60 * 10**9, is_synced=True, offset_ns=0, error_ns=1_000_000))
    read = read_witness(path)
    assert read is not None
    assert read.is_synced
    assert 31_000_000 <= read.error_ns < 40_000_000  # 60 s at 500 millionths


@pytest.mark.parametrize("age_ns", [FRESH_NS + 10**9, -60 * 10**9])
def test_a_witness_of_another_time_counts_for_nothing(tmp_path: Path, age_ns: int) -> None:
    path = tmp_path / "witness"
    write_witness(path, Witness(_now() - age_ns, is_synced=True, offset_ns=0, error_ns=0))
    assert read_witness(path) is None


@pytest.mark.parametrize("content", [b"", b"1 1\n", b"1 1 1\n", b"a b c d\n", b"\xff" * 64, b"1" * 5000])
def test_nonsense_counts_for_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "witness"
    path.write_bytes(content)
    assert read_witness(path) is None


def test_the_kernel_is_asked_as_the_clock_asks_it() -> None:
    try:
        asked = ask_kernel()
    except UnavailableError as error:
        pytest.skip(str(error))
    assert asked.is_synced == (SystemClock().quality() is ClockQuality.SYNCED)
    assert asked.error_ns >= 0


class ShutKernel(KernelClock):
    """A kernel that a sandbox forbids to ask."""

    def told(self) -> Told | None:
        """Say nothing."""
        return None


@pytest.mark.parametrize(("is_synced", "quality"), [(True, ClockQuality.SYNCED), (False, ClockQuality.UNSYNCED)])
def test_a_daemon_that_may_not_ask_takes_the_witness_word(
    tmp_path: Path, *, is_synced: bool, quality: ClockQuality
) -> None:
    path = tmp_path / "witness"
    write_witness(path, Witness(*_now_synced(is_synced=is_synced), error_ns=40_000_000))
    clock = SystemClock(path, ShutKernel())
    assert clock.quality() is quality
    reading = clock.reading()
    assert reading.quality is quality
    assert 40_000_000 <= reading.error_ns < 45_000_000


def test_a_witness_of_before_utc_was_set_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "witness"
    mono_ns, is_synced, offset_ns = _now_synced(is_synced=True)
    write_witness(path, Witness(mono_ns, is_synced, offset_ns - 10**9, error_ns=0))
    assert SystemClock(path, ShutKernel()).quality() is ClockQuality.UNSYNCED


def _now_synced(*, is_synced: bool) -> tuple[int, bool, int]:
    mono_ns, offset_ns = utc_offset()
    return mono_ns, is_synced, offset_ns
