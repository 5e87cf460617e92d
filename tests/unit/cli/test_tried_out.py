"""What the doctor tries out by itself, as far as no daemon, camera or model is needed."""

import os
import pwd
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from appliance.cli.checks import credentials_at_hand
from appliance.cli.situation import Situation, is_locked
from appliance.cli.tried_out import check_access, try_fleet
from appliance.config import Settings, parse_settings
from appliance.core.checkup import CheckState
from appliance.daemon.lock import locked
from appliance.diagnostics.doctor.unit import Unit
from tests.simulators.fleet import Fleet, served

root = pytest.mark.skipif(os.geteuid() != 0, reason="files of another user need root")
NOBODY = "nobody"


def settings_with(password: Path) -> Settings:
    return parse_settings({"messaging": {"password": {"file": str(password)}}}, "test")


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@root
def test_a_file_that_the_daemons_user_may_not_read_is_named_with_its_fix(open_path: Path) -> None:
    config, password = open_path / "edgecam.toml", open_path / "password"
    config.touch(0o644)
    password.touch(0o600)
    told = check_access(settings_with(password), config, NOBODY)[0]
    assert told.state is CheckState.FAILED
    assert f"{NOBODY} may not read {password}" in told.seen
    assert told.fix == f"sudo chown {NOBODY} {password}"
    os.chown(password, pwd.getpwnam(NOBODY).pw_uid, 0)
    assert check_access(settings_with(password), config, NOBODY)[0].state is CheckState.OK


@root
def test_a_folder_that_is_closed_is_what_is_named(open_path: Path) -> None:
    folder = open_path / "closed"
    folder.mkdir(mode=0o700)
    (folder / "edgecam.toml").touch(0o644)
    told = check_access(Settings(), folder / "edgecam.toml", NOBODY)[0]
    assert f"{folder} is closed to it" in told.seen
    assert f"chgrp {NOBODY} {folder}" in told.fix


def test_without_such_a_user_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert check_access(Settings(), tmp_path / "x", "no-such-user")[0].state is CheckState.SKIPPED


def test_a_lock_that_a_daemon_holds_is_seen_without_touching_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    with locked(tmp_path):
        assert is_locked(tmp_path / "lock")
    assert not is_locked(tmp_path / "lock")


def test_a_credential_of_a_unit_that_is_down_is_read_from_where_the_unit_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    source = tmp_path / "source"
    source.write_text("planted\n")
    unit = Unit({}, credentials={"broker-password": str(source), "other": "/none"})
    settings = parse_settings({"messaging": {"password": {"credential": "broker-password"}}}, "test")
    situation = Situation(tmp_path, settings, None, True, unit, "", None, "", tmp_path)
    assert settings.messaging.password is not None
    with credentials_at_hand(situation):
        assert settings.messaging.password.read("") == "planted"
        made = Path(os.environ["CREDENTIALS_DIRECTORY"])
    assert "CREDENTIALS_DIRECTORY" not in os.environ
    assert not made.exists()
    assert source.read_text() == "planted\n"


def fleet_settings(fleet: Fleet, url: str, **more: str) -> Settings:
    return parse_settings({"fleet": {"url": url, "root": str(fleet.root), "model": "persons", **more}}, "test")


def test_a_fleet_is_asked_and_its_signatures_are_verified(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet")
    fleet.roll_out("persons")
    fleet.sign()
    with served(fleet.folder) as web:
        told = try_fleet(fleet_settings(fleet, web.url))[0]
        other = try_fleet(fleet_settings(fleet, web.url, channel="beta"))[0]
    assert told.state is CheckState.OK
    assert "rollout of persons in channel stable" in told.seen
    assert other.state is CheckState.WARNING
    assert "[fleet] channel" in other.fix


def test_a_fleet_that_is_gone_expired_or_signed_by_others_is_told(tmp_path: Path) -> None:
    fleet, stranger = Fleet(tmp_path / "fleet"), Fleet(tmp_path / "stranger")
    fleet.sign(timestamp=datetime.now(UTC) - timedelta(days=1))
    with served(fleet.folder) as web:
        expired = try_fleet(fleet_settings(fleet, web.url))[0]
        foreign = try_fleet(fleet_settings(stranger, web.url))[0]
    gone = try_fleet(fleet_settings(fleet, web.url))[0]
    assert [each.state for each in (expired, foreign, gone)] == [CheckState.FAILED] * 3
    assert "expired" in expired.seen
    assert "sign" in foreign.seen
    assert "refused" in gone.seen
    assert all(each.fix for each in (expired, foreign, gone))
    assert gone.fix.startswith("check clock, network and [fleet] url")


def test_without_a_fleet_nothing_is_asked() -> None:
    assert try_fleet(Settings())[0].state is CheckState.SKIPPED
