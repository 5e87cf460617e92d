"""What may not be run any more leaves the service, says so ahead, and comes back once it may."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.config import ModelSettings
from appliance.core.clock import ClockQuality
from appliance.core.errors import UnavailableError
from appliance.core.health import HealthBoard, HealthState
from appliance.daemon.permitted import known_keys, tell_permit
from appliance.updates.permits import FREE, Permit, Permits
from appliance.updates.refusals import Code
from appliance.updates.starting import find_model
from appliance.updates.state import State
from appliance.updates.store import Store
from appliance.updates.withholding import Withholding
from tests.simulators.updating import Rest, TurnedClock
from tests.unit.updates import test_store
from tests.unit.updates.test_store import install

BOOT = "a" * 32
RECIPIENT = "age1ekhnat5ml6p5awz20tq3d66javqjr7fcn63s206kkc3qke6lu9rqh5yayx"


def at(day: str, how: ClockQuality = ClockQuality.SYNCED) -> TurnedClock:
    return TurnedClock(datetime.fromisoformat(f"{day}T12:00:00+00:00"), how)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def licensed(store: Store, monkeypatch: pytest.MonkeyPatch, counter: int = 1, **changes: Any) -> State:
    """Put a release in service with such a licence, or encrypted; give the state."""
    own = test_store.release
    licence = {"spdx": "MIT", **changes.pop("licence", {})}

    def release(number: int) -> Any:
        made = own(number).model_dump(mode="json", by_alias=True, exclude_none=True)
        return test_store.Release.model_validate({**made, "licence": licence, **changes})

    monkeypatch.setattr(test_store, "release", release)
    install(store, counter)
    return store.read()


@pytest.mark.parametrize(
    ("day", "code", "days", "told"),
    [
        ("2027-11-30", None, 31, ""),
        ("2027-12-01", None, 30, "its licence ends on 2027-12-31, in 30 days"),
        ("2027-12-31", None, 0, "in 0 days"),
        ("2028-01-01", Code.LICENCE, -1, "its licence ended on 2027-12-31"),
    ],
)
def test_a_licence_warns_thirty_days_ahead_and_holds_to_its_last_day(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, day: str, code: Code | None, days: int, told: str
) -> None:
    state = licensed(store, monkeypatch, licence={"expires": "2027-12-31"})
    permit = Permits(store, at(day)).of_active(state)
    assert (permit.code, permit.expires, permit.days) == (code, "2027-12-31", days)
    assert (told in permit.why) if told else not permit.why


@pytest.mark.parametrize("year", [1970, 2040])
def test_a_clock_that_was_never_synchronised_ends_no_licence_and_what_the_fleet_has_signed_does(
    store: Store, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    state = licensed(store, monkeypatch, licence={"expires": "2027-12-31"})
    clock = at(f"{year}-06-01", ClockQuality.UNSYNCED)
    assert Permits(store, clock).of_active(state).code is None
    signed = state.model_copy(update={"issued": "2028-01-02T00:00:00Z"})
    assert Permits(store, clock).of_active(signed).code is Code.LICENCE


@pytest.mark.parametrize(("use", "code"), [("research", None), ("commercial", Code.LICENCE), ("", Code.LICENCE)])
def test_a_use_that_is_not_allowed_is_heeded_when_the_owner_changes_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, use: str, code: Code | None
) -> None:
    state = licensed(store, monkeypatch, licence={"uses": ["research"]})
    assert Permits(store, at("2027-01-01"), use).of_active(state).code is code


@pytest.mark.parametrize(("keys", "code"), [((RECIPIENT,), None), (("age1other",), Code.KEY), ((), Code.KEY)])
def test_what_cannot_be_decrypted_any_more_waits_for_its_key(
    store: Store, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...], code: Code | None
) -> None:
    file = {"path": "models/persons/1/w.onnx.age", "plain": {"sha256": "e" * 64, "size": 1}}
    state = licensed(store, monkeypatch, files={"weights.onnx.age": file}, recipients=[RECIPIENT])
    assert Permits(store, at("2027-01-01"), "", frozenset(keys)).of_active(state).code is code


def test_the_factory_model_needs_no_licence_of_the_fleets(store: Store) -> None:
    assert Permits(store, at("2040-01-01")).of_active(State()) == FREE


def test_a_start_after_the_end_loads_the_factory_model_and_neither_counts_nor_blocks_anything(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = licensed(store, monkeypatch, licence={"expires": "2027-12-31"})
    judge = Permits(store, at("2028-01-01")).of_active
    for _ in range(12):
        begun = find_model(store, BOOT, lambda: "2028-01-01T12:00:00Z", judge)
        assert (begun.folder, begun.permit.code, begun.ended) == (None, Code.LICENCE, ())
    assert store.read() == before
    again = find_model(store, BOOT, lambda: "2027-12-31T12:00:00Z", Permits(store, at("2027-12-31")).of_active)
    assert again.folder is not None


class Watched:
    """A device whose active release is licensed until 2027-12-31, and a clock that can be turned."""

    def __init__(self, store: Store, state: State, day: str) -> None:
        self.clock, self.rest, self.board, self.state = at(day), Rest(), HealthBoard(), state
        permits = Permits(store, self.clock)
        begun = find_model(store, BOOT, lambda: "2027-01-01T12:00:00Z", permits.of_active)
        self.told: list[Permit] = []
        self.withholding = Withholding(permits.of_active, self.rest, store, begun.permit, self.tell)

    def tell(self, permit: Permit) -> None:
        self.told.append(permit)
        tell_permit(self.board, permit)

    def look(self, day: str) -> bool:
        self.clock.time = at(day).time
        self.withholding._next = 0.0  # it is time again
        return self.withholding.look(self.state)

    def finding(self) -> tuple[HealthState, str]:
        found = next(one for one in self.board.findings() if one.component == "release")
        return found.state, found.what


def test_while_it_runs_a_licence_is_told_ahead_ends_loudly_and_comes_back_with_the_right_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = licensed(store, monkeypatch, licence={"expires": "2027-12-31"})
    site = Watched(store, state, "2027-01-01")
    site.look("2027-01-02")
    assert (site.rest.in_service, site.finding()) == ([], (HealthState.OK, ""))
    assert site.look("2027-12-20")
    assert site.rest.in_service == []
    assert site.finding()[0] is HealthState.DEGRADED
    assert "in 11 days" in site.finding()[1]
    assert site.look("2028-01-01")
    assert site.rest.in_service == [None]
    assert "the factory model is in service (E_LICENCE)" in site.finding()[1]
    assert site.look("2027-12-21")  # somebody had set the clock wrong
    assert state.active is not None
    assert site.rest.in_service == [None, store.release_folder(state.active.sha256)]
    assert store.read() == state.model_copy(update={"starts": store.read().starts, "started": BOOT})


def test_each_look_is_told_though_it_found_nothing_new(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Watched(store, licensed(store, monkeypatch, licence={"expires": "2027-12-31"}), "2027-01-01")
    for _ in range(3):  # what else is told with it, as of a damaged record that was removed, is told in time
        site.look("2027-01-02")
    assert len(site.told) == 3


def test_an_exchange_for_which_no_frame_came_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Watched(store, licensed(store, monkeypatch, licence={"expires": "2027-12-31"}), "2027-01-01")
    site.rest.faults["put"] = UnavailableError("no frame came")
    with pytest.raises(UnavailableError):
        site.look("2028-01-01")
    assert not site.withholding.look(site.state)  # the fleet is asked meanwhile
    assert site.look("2028-01-01")
    assert site.rest.in_service == [None]


def test_a_candidate_that_failed_does_not_bring_back_what_may_not_be_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Watched(store, licensed(store, monkeypatch, licence={"expires": "2027-12-31"}), "2027-01-01")
    site.clock.time = datetime(2028, 1, 1, tzinfo=UTC)
    site.withholding.restore(site.state)
    assert site.rest.in_service == [None]


def test_without_pyrage_a_key_is_a_finding_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    board, file = HealthBoard(), tmp_path / "key"
    file.write_text(f"AGE-SECRET-KEY-1{'Q' * 58}\n")
    file.chmod(0o600)
    assert known_keys(ModelSettings.model_validate({"key": {"file": str(file)}}), board) == frozenset()
    assert "pip install 'edgecam[protect]'" in board.findings()[0].what


@pytest.mark.parametrize("text", [None, "nonsense"])
def test_keys_that_cannot_be_read_are_a_finding_and_no_end(tmp_path: Path, text: str | None) -> None:
    board, file = HealthBoard(), tmp_path / "key"
    if text is not None:
        file.write_text(text)
        file.chmod(0o600)
    assert known_keys(ModelSettings.model_validate({"key": {"file": str(file)}}), board) == frozenset()
    assert [(one.component, one.state) for one in board.findings()] == [("key", HealthState.DEGRADED)]
    assert "[model] key" in board.findings()[0].fix
