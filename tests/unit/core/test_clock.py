import subprocess

from appliance.core.clock import ClockQuality, SystemClock, read_boot_id


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


def test_boot_id_is_stable() -> None:
    assert read_boot_id() == read_boot_id()
    assert len(read_boot_id()) == 32
