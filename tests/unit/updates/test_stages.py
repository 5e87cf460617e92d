"""The table of an update: what a crash, a power cut, a bad candidate or an owner's word lead to, at any stage."""

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import integers, sampled_from

from appliance.updates import stages
from appliance.updates.formats import Trial
from appliance.updates.refusals import Code
from appliance.updates.stages import NEXT, TRIED
from appliance.updates.state import MOST_STEPS, Held, Reference, Stage, State, Update

NOW = "2026-11-22T12:00:00Z"
BOOT, NEXT_BOOT = "a" * 32, "b" * 32
ORDER = [
    Stage.PLANNED,
    Stage.DOWNLOADING,
    Stage.VERIFYING,
    Stage.STAGED,
    Stage.INSPECTING,
    Stage.SMOKE,
    Stage.SHADOW,
    Stage.TRIAL,
]


def held(number: int) -> Held:
    return Held(sha256=f"{number:064x}", name="persons", version=f"{number}", counter=number)


def under_way(number: int = 2, stage: Stage = Stage.PLANNED, *, state: State | None = None, crashes: int = 0) -> State:
    trial = Trial(crashes=crashes)
    begun = stages.begin(state or State(active=held(1)), Update(release=held(number), rollout="r", trial=trial))
    for each in ORDER[1 : ORDER.index(stage) + 1]:
        begun = stages.advance(begun, each, NOW)
    return begun


def test_every_stage_leads_to_an_end_and_none_out_of_the_table() -> None:
    assert set(NEXT) == set(Stage)
    assert all(following <= set(Stage) for following in NEXT.values())
    for stage in ORDER:
        assert NEXT[stage] & {Stage.IDLE, Stage.ROLLED_BACK}


@pytest.mark.parametrize("stage", ORDER)
def test_no_stage_is_left_out(stage: Stage) -> None:
    state = under_way(stage=stage)
    for other in Stage:
        if other in NEXT[stage] and other not in {Stage.IDLE, Stage.ROLLED_BACK, Stage.COMMITTED}:
            assert stages.advance(state, other, NOW).stage is other
        else:
            with pytest.raises(ValueError, match=r"does not follow|is an end"):
                stages.advance(state, other, NOW)


def test_a_commit_makes_the_candidate_active_and_keeps_the_one_before() -> None:
    state = stages.commit(stages.attempt(under_way(stage=Stage.TRIAL), BOOT), NOW)
    assert (state.active, state.previous, state.update) == (held(2), held(1), None)
    assert state.floor("persons").counter == 2
    assert state.past[-1].outcome == "committed"
    assert state.kept == {held(1).sha256, held(2).sha256}


@pytest.mark.parametrize("stage", sorted(TRIED))
def test_a_crash_while_the_candidate_is_tried_condemns_it(stage: Stage) -> None:
    begun = stages.attempt(under_way(stage=stage), BOOT)
    state = stages.resumed(begun, BOOT, NOW)
    assert (state.active, state.update) == (held(1), None)
    assert state.is_blocked(held(2).sha256)
    assert state.past[-1].code is Code.CRASH


def test_what_a_trial_is_judged_by_stays_from_its_first_attempt_to_its_end() -> None:
    first, later = Reference(fps=15.0), Reference(fps=5.0)
    state = stages.attempt(under_way(stage=Stage.TRIAL), BOOT, first)
    for change in (stages.released, lambda state: stages.resumed(state, NEXT_BOOT, NOW)):
        state = stages.attempt(stages.attempt(change(state), BOOT), BOOT, later)
        assert state.update is not None
        assert state.update.before == first
    again = State.model_validate_json(state.model_dump_json(by_alias=True))
    assert again == state


def test_as_many_crashes_are_forgiven_as_the_rollout_says() -> None:
    state = under_way(stage=Stage.TRIAL, crashes=1)
    state = stages.resumed(stages.attempt(state, BOOT), BOOT, NOW)
    assert state.stage is Stage.TRIAL
    state = stages.resumed(stages.attempt(state, BOOT), BOOT, NOW)
    assert state.update is None
    assert state.is_blocked(held(2).sha256)


def test_a_power_cut_counts_half_and_six_of_them_condemn() -> None:
    state = under_way(stage=Stage.TRIAL)
    for number in range(5):
        state = stages.resumed(stages.attempt(state, BOOT), f"{number:032x}", NOW)
        assert state.stage is Stage.TRIAL
    state = stages.resumed(stages.attempt(state, BOOT), NEXT_BOOT, NOW)
    assert state.update is None
    assert state.past[-1].code is Code.POWER


def test_ending_in_good_order_says_nothing_about_the_candidate() -> None:
    state = under_way(stage=Stage.TRIAL)
    for _ in range(20):
        state = stages.resumed(stages.released(stages.attempt(state, BOOT)), BOOT, NOW)
    assert state == under_way(stage=Stage.TRIAL)


def test_a_download_that_is_cut_short_goes_on() -> None:
    state = under_way(stage=Stage.DOWNLOADING)
    assert stages.resumed(state, BOOT, NOW) == stages.resumed(state, NEXT_BOOT, NOW) == state
    with pytest.raises(ValueError, match="nothing is tried"):
        stages.attempt(state, BOOT)


def test_what_was_refused_is_not_begun_again() -> None:
    state = stages.roll_back(under_way(stage=Stage.SMOKE), Code.GOLDEN, "it is blind", NOW)
    with pytest.raises(ValueError, match="blocked"):
        under_way(state=state)


def test_an_update_that_goes_in_circles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEXT, Stage.VERIFYING, NEXT[Stage.VERIFYING] | {Stage.DOWNLOADING})
    state = under_way(stage=Stage.DOWNLOADING)
    for _ in range(MOST_STEPS):
        if state.update is None:
            break
        to = Stage.VERIFYING if state.stage is Stage.DOWNLOADING else Stage.DOWNLOADING
        state = stages.advance(state, to, NOW)
    assert state.past[-1].code is Code.LOOP


def test_an_active_release_that_keeps_the_daemon_from_working_makes_room() -> None:
    state = State(active=held(2), previous=held(1))
    for _ in range(3):
        state = stages.started(state, BOOT, NOW)
        assert state.active == held(2)
    state = stages.started(state, BOOT, NOW)
    assert (state.active, state.previous) == (held(1), None)
    assert state.is_blocked(held(2).sha256)
    for _ in range(3):
        state = stages.started(state, BOOT, NOW)
    assert state.active is None, "the factory model is the last resort"
    assert stages.started(state, BOOT, NOW) == state


def test_starts_that_worked_are_forgotten() -> None:
    state = State(active=held(2), previous=held(1))
    for _ in range(20):
        state = stages.works(stages.started(state, BOOT, NOW))
    assert state.active == held(2)


def test_the_fleets_time_only_rises_and_a_standstill_is_counted() -> None:
    state = stages.seen(State(), "2026-11-22T00:00:00Z", 5, 0)
    state = stages.seen(state, "2020-01-01T00:00:00Z", 5, 3600.4)
    assert (state.issued, state.unchanged) == ("2026-11-22T00:00:00Z", 3600)
    assert stages.seen(state, None, 6, 3600).unchanged == 0


class Device(RuleBasedStateMachine):
    """Any order of what can happen to a device; what must hold, holds after each."""

    @initialize()
    def begin_afresh(self) -> None:
        self.state, self.boot, self.number = State(), 0, 0
        self.committed: list[str] = []
        self.refused: set[str] = set()

    def _boot(self) -> str:
        return f"{self.boot:032x}"

    @precondition(lambda self: self.state.update is None)
    @rule(crashes=integers(0, 2))
    def plan(self, crashes: int) -> None:
        self.number += 1
        update = Update(release=held(self.number), rollout="r", trial=Trial(crashes=crashes))
        self.state = stages.begin(self.state, update)

    @precondition(lambda self: self.state.update is not None)
    @rule()
    def go_on(self) -> None:
        if self.state.stage in TRIED:
            self.state = stages.attempt(self.state, self._boot())
        update = self.state.update
        assert update is not None
        if self.state.stage is Stage.TRIAL:
            self.state = stages.commit(self.state, NOW)
            self.committed.append(update.release.sha256)
        else:
            self.state = stages.advance(self.state, ORDER[ORDER.index(self.state.stage) + 1], NOW)

    @precondition(lambda self: self.state.stage in TRIED)
    @rule()
    def try_it(self) -> None:
        self.state = stages.attempt(self.state, self._boot())

    @precondition(lambda self: self.state.update is not None)
    @rule(code=sampled_from(Code))
    def refuse(self, code: Code) -> None:
        self.state = stages.roll_back(self.state, code, "why", NOW)

    @precondition(lambda self: Stage.IDLE in NEXT[self.state.stage] and self.state.update is not None)
    @rule()
    def put_off(self) -> None:
        self.state = stages.put_off(self.state)

    @rule()
    def crash(self) -> None:
        self.state = stages.resumed(self._kept(), self._boot(), NOW)

    @rule()
    def lose_power(self) -> None:
        self.boot += 1
        self.state = stages.resumed(self._kept(), self._boot(), NOW)

    @rule()
    def end_in_good_order(self) -> None:
        self.state = stages.works(stages.released(self.state))

    @rule()
    def start(self) -> None:
        before = self.state.active
        self.state = stages.started(self.state, self._boot(), NOW)
        if before is not None and self.state.active != before:
            self.committed.remove(before.sha256)

    def _kept(self) -> State:
        return State.model_validate_json(self.state.model_dump_json(by_alias=True))

    @invariant()
    def what_is_kept_is_read_again_as_it_was(self) -> None:
        assert self._kept() == self.state

    @invariant()
    def what_is_in_service_was_committed_or_is_on_trial(self) -> None:
        if self.state.stage is not Stage.TRIAL and self.state.in_service is not None:
            assert self.state.in_service.sha256 in self.committed

    @invariant()
    def no_commit_is_lost(self) -> None:
        assert (self.state.active.sha256 if self.state.active else None) == (
            self.committed[-1] if self.committed and self.state.active else None
        )

    @invariant()
    def nothing_refused_is_in_a_slot(self) -> None:
        slots = [self.state.active, self.state.update.release if self.state.update else None]
        assert not any(self.state.is_blocked(one.sha256) for one in slots if one is not None)

    @invariant()
    def what_is_in_service_stays_on_disk(self) -> None:
        if self.state.in_service is not None:
            assert self.state.in_service.sha256 in self.state.kept


Device.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestDevice = Device.TestCase
