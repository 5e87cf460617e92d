"""What the doctor tries out by itself, as far as no daemon, camera or model is needed."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from appliance.cli.checks import credentials_at_hand
from appliance.cli.situation import Situation, is_locked
from appliance.cli.tried_out import check_access, check_releases, try_fleet
from appliance.config import Settings, parse_settings
from appliance.core.checkup import CheckState
from appliance.core.clock import ClockQuality
from appliance.daemon.lock import locked
from appliance.diagnostics.doctor.unit import Unit
from appliance.updates.state import Held, State
from appliance.updates.store import STATE_NAME, Store
from tests.simulators.authority import Authority
from tests.simulators.faked_clock import FakedClock
from tests.simulators.fleet import Fleet, served, text
from tests.simulators.secured import Secured
from tests.simulators.updating import TurnedClock

root = pytest.mark.skipif(os.geteuid() != 0, reason="files of another user need root")
NOBODY = "nobody"
CLOCK = TurnedClock(datetime.now(UTC))


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
        told = try_fleet(fleet_settings(fleet, web.url), CLOCK)[0]
        other = try_fleet(fleet_settings(fleet, web.url, channel="beta"), CLOCK)[0]
    assert told.state is CheckState.OK
    assert "rollout of persons in channel stable" in told.seen
    assert other.state is CheckState.WARNING
    assert "[fleet] channel" in other.fix


def test_a_fleet_that_is_gone_expired_or_signed_by_others_is_told(tmp_path: Path) -> None:
    fleet, stranger = Fleet(tmp_path / "fleet"), Fleet(tmp_path / "stranger")
    fleet.sign(timestamp=datetime.now(UTC) - timedelta(days=1))
    with served(fleet.folder) as web:
        expired = try_fleet(fleet_settings(fleet, web.url), CLOCK)[0]
        foreign = try_fleet(fleet_settings(stranger, web.url), CLOCK)[0]
    gone = try_fleet(fleet_settings(fleet, web.url), CLOCK)[0]
    assert [each.state for each in (expired, foreign, gone)] == [CheckState.FAILED] * 3
    assert "expired" in expired.seen
    assert "sign" in foreign.seen
    assert "refused" in gone.seen
    assert all(each.fix for each in (expired, foreign, gone))
    assert gone.fix.startswith("check clock, network and [fleet] url")


@pytest.mark.parametrize("wrong", [timedelta(days=-20_000), timedelta(days=5_000)], ids=["1970", "2040"])
def test_without_a_clock_a_fleet_is_judged_by_what_it_has_signed_as_the_daemon_does(
    tmp_path: Path, wrong: timedelta
) -> None:
    fleet = Fleet(tmp_path / "fleet")
    fleet.roll_out("persons")
    fleet.sign()
    clock = TurnedClock(datetime.now(UTC) + wrong, ClockQuality.UNSYNCED)
    settings = fleet_settings(fleet, str(fleet.folder))
    settings = settings.model_copy(update={"device": settings.device.model_copy(update={"state_dir": tmp_path})})
    told = try_fleet(settings, clock)[0]
    assert told.state is CheckState.OK
    assert "the clock is not synchronised" in told.seen
    Store(tmp_path).write(State(issued=text(datetime.now(UTC) + timedelta(days=30))))
    late = try_fleet(settings, clock)[0]
    assert (late.state, "expired" in late.seen) == (CheckState.FAILED, True)
    assert late.fix.startswith("mend the clock first: see clock")


def test_a_dead_clock_does_not_make_a_good_certificate_a_bad_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path / "fleet")
    fleet.roll_out("persons")
    fleet.sign()
    authority = Authority(tmp_path)
    pair = authority.issue("fleet", hosts="IP:127.0.0.1")
    clock = FakedClock(tmp_path, wrong_s=60.0 - datetime.now(UTC).timestamp(), synced=False)
    for name, value in {**clock.environment, "SSL_CERT_FILE": str(authority.certificate)}.items():
        monkeypatch.setenv(name, value)
    with Secured(fleet.folder, pair.certificate, pair.key) as secured:
        without = asked_in_1970(fleet, secured.url)
        clock.set(wrong_s=60.0 - datetime.now(UTC).timestamp(), synced=True)  # as a kernel says that somebody misled
        misled = asked_in_1970(fleet, secured.url)
    assert without["state"] == "ok", without
    assert (misled["state"], "not yet valid" in misled["seen"]) == ("failed", True)
    assert misled["fix"].startswith("mend the clock first: see clock")


def asked_in_1970(fleet: Fleet, url: str) -> dict[str, str]:
    """Ask a fleet in a process of its own, whose clock the environment turns."""
    given = {"fleet": {"url": url, "root": str(fleet.root), "model": "persons"}}
    code = f"""
import json
from dataclasses import asdict
from appliance.cli.tried_out import try_fleet
from appliance.config import parse_settings
from appliance.core.clock import SystemClock
print(json.dumps(asdict(try_fleet(parse_settings({given!r}, "test"), SystemClock())[0])))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    told: dict[str, str] = json.loads(done.stdout)
    return told


def test_a_record_of_releases_that_was_damaged_is_a_warning_with_its_file(tmp_path: Path) -> None:
    settings = fleet_settings(Fleet(tmp_path / "fleet"), "/media/fleet")
    settings = settings.model_copy(update={"device": settings.device.model_copy(update={"state_dir": tmp_path})})
    store = Store(tmp_path)
    assert check_releases(settings)[0].state is CheckState.OK
    store.write(State())
    assert check_releases(settings)[0].state is CheckState.OK
    (store.folder / STATE_NAME).write_bytes(b"{")
    store.read()
    told = check_releases(settings)[0]
    assert (told.state, told.id) == (CheckState.WARNING, "releases")
    aside = store.folder / f"{STATE_NAME}.broken"
    assert str(aside) in told.seen
    assert told.fix.endswith(f"sudo rm {aside}")
    store.write(State(active=Held(sha256="2" * 64, name="persons", version="2", counter=2)))
    told = check_releases(settings)[0]
    assert (told.state, "a release is in service again" in told.seen) == (CheckState.OK, True)


def test_without_a_fleet_nothing_is_asked() -> None:
    assert try_fleet(Settings(), CLOCK)[0].state is CheckState.SKIPPED
