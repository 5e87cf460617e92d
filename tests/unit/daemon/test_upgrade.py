import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.daemon.upgrade import SCHEMAS, go_back, interrupted, set_newer_outbox_aside

SAYS = """#!/bin/sh
for package; do :; done
cat "{folder}/$package"
"""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Packages of version 1 as they are kept, which know two schemas."""
    folder = tmp_path / "kept"
    for name in ("edgecam", "edgecam-runtime"):
        (folder / name / "DEBIAN").mkdir(parents=True)
        (folder / name / "DEBIAN/control").write_text(f"Package: {name}\nVersion: 1\n")
    (folder / "edgecam" / SCHEMAS).mkdir(parents=True)
    for number in (1, 2):
        (folder / "edgecam" / SCHEMAS / f"{number:03}.sql").touch()
    return folder


@pytest.fixture
def dpkg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a dpkg-query in front of the system's, which says this of edgecam and its runtime."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dpkg-query").write_text(SAYS.format(folder=folder))
    (folder / "dpkg-query").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def say(application: str, runtime: str) -> None:
        (folder / "edgecam").write_text(application)
        (folder / "edgecam-runtime").write_text(runtime)

    return say


@pytest.mark.parametrize(
    ("application", "runtime", "goes_on"),
    [
        ("installed 2", "installed 2", True),
        ("installed 2", "installed 1", True),
        ("unpacked 1", "installed 1", True),
        ("installed 1", "installed 1", True),
        ("half-installed 3", "installed 3", True),
        ("installed 3", "installed 3", False),
    ],
)
def test_a_way_back_goes_on_after_a_cut_unless_its_owner_has_installed_something_else(
    kept: Path, dpkg_says: Callable[[str, str], None], application: str, runtime: str, *, goes_on: bool
) -> None:
    assert interrupted(kept) is None
    (kept / "rolling-back").write_text("2")
    dpkg_says(application, runtime)
    assert interrupted(kept) == ("2" if goes_on else None)
    assert (kept / "rolling-back").exists() == goes_on


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found; its systemctl writes down in `asked` what it is asked for."""
    folder = tmp_path / "system"
    folder.mkdir()
    for name, script in (("systemctl", f'echo "$*" >>{folder}/asked'), ("dpkg-query", ":"), ("dpkg-deb", ":")):
        program(folder / name, script)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    "trouble",
    ["dpkg is not there", "dpkg refuses", "dpkg hangs", "dpkg-deb refuses", "the outbox cannot be moved"],
)
def test_a_way_back_that_fails_starts_the_daemon_again_and_is_written_down(
    kept: Path, system: Path, tmp_path: Path, trouble: str
) -> None:
    state = tmp_path / "state"
    if trouble == "dpkg refuses":
        program(system / "dpkg", "printf '\\377'; exit 1")  # what it says may be no text
    elif trouble == "dpkg hangs":
        program(system / "dpkg", "exec /bin/sleep 60")
    elif trouble == "dpkg-deb refuses":
        program(system / "dpkg-deb", "printf '\\377' >&2; exit 1")
    elif trouble == "the outbox cannot be moved":
        outbox(state, 3, "first")
        (state / ("outbox.db-" + "n" * 245)).touch()  # with a longer name there can be none
    with pytest.raises(StorageError, match="cannot be"):
        go_back(kept, "", "no detector works", state=state, within=0.5)
    asked = (system / "asked").read_text().splitlines()
    assert asked == [
        "stop edgecam.service",
        "start --no-block edgecam-failure@upgrade:not-rolled-back:.service",
        "start --no-block edgecam.service",
    ]
    assert (kept / "rolling-back").exists()  # it is tried again


def outbox(state: Path, schema: int, row: str) -> None:
    state.mkdir(exist_ok=True)
    with closing(sqlite3.connect(state / "outbox.db")) as connection:
        connection.execute("CREATE TABLE rows (row)")
        connection.execute("INSERT INTO rows VALUES (?)", (row,))
        connection.execute(f"PRAGMA user_version={schema}")
        connection.commit()


def rows(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row for (row,) in connection.execute("SELECT row FROM rows")]


def test_an_outbox_of_a_newer_schema_is_set_aside_and_none_that_was_before_is_lost(kept: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    outbox(state, 3, "first")
    (state / "outbox.db-note").touch()
    set_newer_outbox_aside(kept / "edgecam", state)
    assert sorted(path.name for path in state.iterdir()) == ["newer-outbox.db", "newer-outbox.db-note"]
    outbox(state, 3, "second")
    set_newer_outbox_aside(kept / "edgecam", state)
    assert not (state / "outbox.db").exists()
    assert rows(state / "newer-outbox.db") == ["first"]
    assert rows(state / "newer-2-outbox.db") == ["second"]


def test_an_outbox_that_the_version_before_can_read_stays(kept: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    outbox(state, 2, "first")
    set_newer_outbox_aside(kept / "edgecam", state)
    assert rows(state / "outbox.db") == ["first"]


def test_an_outbox_that_is_damaged_or_a_link_to_nowhere_stops_no_way_back(kept: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    set_newer_outbox_aside(kept / "edgecam", state)
    (state / "outbox.db").write_bytes(b"no database" * 100)
    set_newer_outbox_aside(kept / "edgecam", state)
    (state / "outbox.db").unlink()
    (state / "outbox.db").symlink_to("/nowhere/at/all")
    set_newer_outbox_aside(kept / "edgecam", state)
    assert [path.name for path in state.iterdir()] == ["outbox.db"]
