from pathlib import Path

from appliance.messaging import ballast
from appliance.messaging.ballast import Ballast


def test_it_takes_up_a_part_of_the_quota_and_gives_it_back(tmp_path: Path) -> None:
    held = Ballast(tmp_path / "ballast", 32 << 20)
    assert held.hold()
    file = (tmp_path / "ballast").stat()
    assert file.st_size == 2 << 20
    assert file.st_blocks * 512 >= 2 << 20, "the room is taken, not only promised"
    assert held.hold()
    assert held.release()
    assert not held.release()
    assert not (tmp_path / "ballast").exists()


def test_of_a_large_quota_it_takes_no_more_than_it_needs(tmp_path: Path) -> None:
    assert Ballast(tmp_path / "ballast", 1 << 40).hold()
    assert (tmp_path / "ballast").stat().st_size <= ballast.MOST_BYTES


def test_of_a_quota_that_is_too_small_it_takes_nothing(tmp_path: Path) -> None:
    assert not Ballast(tmp_path / "ballast", 1 << 20).hold()
    assert not (tmp_path / "ballast").exists()


def test_where_nothing_can_be_written_there_is_none(tmp_path: Path) -> None:
    assert not Ballast(tmp_path / "no" / "ballast", 64 << 20).hold()
