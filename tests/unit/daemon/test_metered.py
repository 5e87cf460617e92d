"""Whether a connection costs: what the owner says, else what NetworkManager answers through busctl."""

import logging
import sys
from pathlib import Path

import pytest

from appliance.daemon.metered import COMMAND, Metered

ABSENT = "Failed to get property Metered on interface org.freedesktop.NetworkManager: "
ABSENT += "The name org.freedesktop.NetworkManager was not provided by any .service files"  # busctl 252 on a real bus


def stand_in(folder: Path, output: str, status: int = 0, error: str = "") -> tuple[str, ...]:
    """Give a command that answers as busctl was recorded to, if it is asked as busctl must be."""
    script = folder / "busctl.py"
    script.write_text(
        "import pathlib, sys\n"
        f"assert sys.argv[1:] == {list(COMMAND[1:])!r}\n"
        f"pathlib.Path({str(folder / 'asked')!r}).open('a').write('.')\n"
        f"sys.stdout.write({output!r}); sys.stderr.write({error!r}); sys.exit({status})\n",
        encoding="utf-8",
    )
    return (sys.executable, str(script), *COMMAND[1:])


@pytest.mark.parametrize(("value", "costs"), [(0, False), (1, True), (2, False), (3, True), (4, False), (5, False)])
def test_what_networkmanager_knows_or_guesses_counts(tmp_path: Path, value: int, costs: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert Metered(None, stand_in(tmp_path, f"u {value}\n"))() is costs


def test_what_the_owner_says_counts_more_and_nobody_is_asked(tmp_path: Path) -> None:
    for said in (True, False):
        assert Metered(said, stand_in(tmp_path, "u 1\n"))() is said
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("output", "status"), [("", 1), ("u 1\n", 1), ("s yes\n", 0), ("u 1\nu 2\n", 0), ("u " * 999, 0)]
)
def test_where_nobody_says_so_it_does_not_cost(tmp_path: Path, output: str, status: int) -> None:
    assert Metered(None, stand_in(tmp_path, output, status, ABSENT))() is False
    assert (tmp_path / "asked").read_text() == "."


def test_without_the_tool_or_where_it_hangs_it_does_not_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Metered(None, ("no-such-tool",))() is False
    monkeypatch.setattr("appliance.daemon.metered._WITHIN", 0.2)
    assert Metered(None, (sys.executable, "-c", "import time; time.sleep(60)"))() is False


def test_it_is_not_asked_again_and_again_and_a_change_is_noticed_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metered = Metered(None, stand_in(tmp_path, "u 4\n"), holds=3600.0)
    assert [metered() for _ in range(5)] == [False] * 5
    assert (tmp_path / "asked").read_text() == "."
    quick = Metered(None, stand_in(tmp_path, "u 2\n"), holds=0.0)
    with caplog.at_level(logging.INFO):
        assert quick() is False
        stand_in(tmp_path, "u 1\n")
        assert quick() is True
        assert quick() is True
    assert [record.getMessage().split(" that the ")[1] for record in caplog.records] == [
        "connection does not cost",
        "connection costs",
    ]
