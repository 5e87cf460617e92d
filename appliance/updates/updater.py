"""The worker named `updates`: takes models from the fleet through their stages, one at a time."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from appliance.core.child import StoppedError
from appliance.core.clock import Clock, ClockQuality
from appliance.core.errors import ConfigError, ModelError, StorageError, UnavailableError
from appliance.updates import stages
from appliance.updates.choosing import Wanted, choose, is_halted
from appliance.updates.keeping import Keeping
from appliance.updates.lookout import Lookout, text_of
from appliance.updates.orders import BringOrder, CheckAnswer, Progress
from appliance.updates.permits import FREE, Judge, Permit
from appliance.updates.pieces import Delivery, files_of, pieces_of, too_dear
from appliance.updates.refusals import Code, RefusedError, code_of
from appliance.updates.rollout import start_delay, why_not_now
from appliance.updates.service import Asking, Breath, Fleet, Gates, Service
from appliance.updates.stages import TRIED
from appliance.updates.starting import Beginning
from appliance.updates.state import Compared, Stage, State, Update
from appliance.updates.store import Store, StoredFile
from appliance.updates.telling import facts_of, history_of
from appliance.updates.timekeeping import FREEZE_AFTER, until_next_try
from appliance.updates.trying import Trying
from appliance.updates.waiting import too_early, too_hot
from appliance.updates.wishes import Wish, Wishes
from appliance.updates.withholding import Withholding

TRIES: Final = 6
"""How often a download is begun before the update is put off until the next check."""

ROOM: Final = 64 << 20
"""Bytes that stay free on the disk for everything else."""

WORKS_AFTER: Final = 60.0
"""Seconds after which a daemon that runs has got to work."""

_LOOK: Final = 1.0  # seconds between two looks at the time

log = logging.getLogger(__name__)


class Updater:
    """Checks, brings, tries, commits or rolls back; see `stages` for what may follow on what.

    Args:
        fleet: Where and when.
        store: Where models lie.
        begun: What the daemon found, and has loaded.
        gates: What a candidate must pass.
        service: The model in service.
        clock: Clock.
        boot: The kernel's id of this boot.
        report: Called, in this worker's thread, whenever `facts` have changed; with what came to an end, if anything.
        errands: Speaks to the fleet.
        breath: Of this worker.
        judge: Tells whether the active release may be run now.
        on_permit: Is told what that has found, each time.
    """

    def __init__(
        self,
        fleet: Fleet,
        store: Store,
        begun: Beginning,
        *,
        gates: Gates,
        service: Service,
        clock: Clock,
        boot: str,
        report: Callable[[Mapping[str, Any]], None],
        errands: Asking,
        breath: Breath,
        judge: Judge = lambda _: FREE,
        on_permit: Callable[[Permit], None] = lambda _: None,
    ) -> None:
        self.name = "updates"
        self.pulse = breath.pulse
        self._fleet, self._store, self._begun = fleet, store, begun
        self._keeping = keeping = Keeping(store, begun.state, lambda: report({}))
        self._keep, self._hold, self._tell, self._tidy = keeping.keep, keeping.hold, keeping.tell, keeping.tidy
        self._waits = keeping.waits
        self._gates, self._service, self._clock, self._boot = gates, service, clock, boot
        self._report, self._errands, self._breath = report, errands, breath
        self._source = random.Random()  # noqa: S311 - jitter is no secret
        self._under: Delivery | None = None
        self._is_urged = self._has_looked = False
        self._checks = 0
        self.wishes = Wishes()
        """What the owner asks for."""
        self._seen: dict[str, float] = {}
        self._lookout = Lookout(fleet, store, clock, errands, self._source)
        self._trying = Trying(service, self._look, breath.ending, fleet.device.task)
        self._withholding = Withholding(judge, service, store, begun.permit, on_permit)
        self._works_at = time.monotonic() + WORKS_AFTER

    def facts(self) -> dict[str, Any]:
        """Give what `model` says, JSON types only. Safe to call from any thread."""
        return facts_of(self._state, self._under, *self._keeping.last, self._withholding.permit)

    def history(self) -> dict[str, Any]:
        """Give `facts`, with all that came to an end, what was lost, and how much was asked and done. Likewise."""
        return history_of(self.facts(), self._state, self._store.lost, checks=self._checks, heard=self.wishes.heard)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; see `Worker.run`."""
        self._breath.stop = stop
        self._begin()
        while not stop.wait(0.0 if self._step() else _LOOK):
            self._breath()
            if self._state.starts and time.monotonic() > self._works_at:
                self._hold(stages.works(self._state))
        self._hold(stages.works(stages.released(self._state)))

    def _begin(self) -> None:
        """Take up what was under way, where what it needs is still known."""
        update = self._state.update
        if update is not None and update.stage not in {*TRIED, Stage.STAGED}:
            self._hold(stages.put_off(self._state))  # what came is kept until something else is begun
            self._lookout.hasten(_LOOK)
        self._tidy(keeps_incoming=True)
        self._report({})
        for past in self._begun.ended:
            self._report(past.model_dump(mode="json"))

    def _step(self) -> bool:
        """Do one thing; tell whether there is more to do at once."""
        try:
            self._hold(self._state)
            self._obey()
            was_owed = self._withholding.is_owed
            if self._withholding.look(self._state):
                self._report({})
                if was_owed:
                    self._tell("", None)
                    self._tidy()
            if self._lookout.is_due:
                self._check()  # and then go on: where asking takes longer than the interval, the next look is due
            update = None if self._withholding.is_owed else self._state.update
            return update is not None and self._go_on(update)
        except RefusedError as error:
            self._refused(error)
        except ModelError as error:  # a release's files are not what they were: the disk, or somebody
            self._refused(RefusedError(Code.HASH, str(error)))
        except StoppedError:
            return False
        except (UnavailableError, ConfigError) as error:
            self._tell(str(error), code_of(error))
        except StorageError as error:
            self._tell(str(error), Code.DISK)
            if self._state.stage in {Stage.PLANNED, Stage.DOWNLOADING, Stage.VERIFYING}:
                self._put_off(str(error), Code.DISK)
                self._tidy()  # what has come of it makes room
        finally:  # counted once it is decided what comes of it: somebody waits for that
            self._checks += self._has_looked
            self._has_looked = False
        return False

    def _obey(self) -> None:
        """Do what the owner has asked for, and heed hints.

        Raises:
            RefusedError: What is tried now is to be left.
        """
        self._lookout.heed(self._state)
        while (wish := self.wishes.take()) is not None:
            log.info("updates: the owner asks: %s", wish)
            try:
                if wish is Wish.ROLLBACK:
                    self._leave()
                elif wish in {Wish.PIN, Wish.UNPIN}:
                    self._hold(stages.pinned(self._state, is_pinned=wish is Wish.PIN))
                else:
                    self._lookout.hasten(0.0)
                    self._is_urged = wish is Wish.UPDATE
            finally:
                self.wishes.heard += 1

    def _leave(self) -> None:
        """Leave what is tried, or else what is in service, for what was before it."""
        if self._state.stage in TRIED:
            raise RefusedError(Code.OWNER, "the owner has taken it back")
        if self._state.active is None:
            self._tell("the factory model is in service: there is none before it", None)
            return
        self._hold(stages.give_up_active(self._state, Code.OWNER, "the owner has taken it back", self._now()))
        self._under = None
        self._close()

    def _go_on(self, update: Update) -> bool:
        steps: dict[Stage, Callable[[Update], bool]] = {
            Stage.PLANNED: self._plan,
            Stage.DOWNLOADING: self._download,
            Stage.VERIFYING: self._verify,
            Stage.STAGED: lambda _: not self._waits(too_hot(self._fleet)) and self._advance(Stage.INSPECTING),
            Stage.INSPECTING: self._inspect,
            Stage.SMOKE: self._smoke,
            Stage.SHADOW: self._shadow,
            Stage.TRIAL: self._trial,
        }
        return steps[update.stage](update)

    def _check(self) -> None:
        """Ask the fleet, and begin what it wants, where nothing is under way."""
        self._has_looked = True
        seen = self._lookout.look(self._state)
        self._hold(seen.state)
        if seen.state.unchanged > FREEZE_AFTER:
            raise RefusedError(
                Code.FREEZE, "the fleet has signed nothing new for a week, and this device has no clock to judge by"
            )
        self._decide(seen.answer, seen.judged)

    def _decide(self, answer: CheckAnswer, judged: datetime) -> None:
        update, rollout = self._state.update, answer.rollout
        if update is not None:
            if is_halted(answer, update):
                raise RefusedError(Code.HALTED, f"rollout {update.rollout} was halted")
            return
        wanted = choose(answer, self._state, self._fleet.device.on(judged.date(), answer.runtimes))
        if not isinstance(wanted, Wanted) or rollout is None:
            if not isinstance(wanted, Wanted):
                self._tell(wanted.why, wanted.code)
            return
        if why := why_not_now(rollout, judged.astimezone()):
            self._tell(why, None)
            return
        since = self._seen.setdefault(rollout.id, time.monotonic())
        self._under = Delivery(
            wanted.offer, since + start_delay(rollout, self._fleet.device.whom.device_id), rollout.metered
        )
        begun = stages.begin(self._state, wanted.update, wanted.offer.release.security_floor)
        self._tell("", None)
        self._keep(begun)
        self._tidy()

    def _plan(self, _: Update) -> bool:
        under = self._under
        now = self._clock.now().time.astimezone()
        if under is None or self._waits(too_hot(self._fleet) or too_early(self._fleet, under, now, self._is_urged)):
            return False
        needed = sum(one.size for one in files_of(under.offer).values())
        if self._store.free_bytes() < needed + ROOM + (under.offer.release.requires.disk_mb << 20):
            self._put_off(f"{needed} bytes are needed beside the {ROOM >> 20} MB that stay free", Code.DISK)
            return False
        return self._advance(Stage.DOWNLOADING)

    def _download(self, update: Update) -> bool:
        under = self._under
        if under is None or time.monotonic() < under.due:
            return False
        pieces = pieces_of(under.offer, self._store)
        under.dear = too_dear(pieces, under.metered)
        if under.dear and self._fleet.is_metered():
            self._put_off(f"the connection costs, and {under.dear} would come whole: it waits for another", None)
            return False
        is_dated = self._clock.quality() is not ClockQuality.UNSYNCED
        folder = self._store.incoming_folder(update.release.sha256)
        order = BringOrder(folder=folder, pieces=pieces, is_dated=is_dated)
        try:
            brought = self._errands.bring(order, self._progress)
        except UnavailableError as error:
            under.tries += 1
            if under.tries >= TRIES:
                self._put_off(str(error), code_of(error))
                return False
            under.wait = until_next_try(under.wait, error.retry_after, self._source)
            under.due = time.monotonic() + under.wait
            raise
        except RefusedError as error:  # a portal or a broken mirror sends such, which is no fault of the release
            self._put_off(str(error), error.code)
            return False
        for name, why in brought.refused_deltas.items():
            log.warning("updates: %s was brought whole: %s", name, why)
        return self._advance(Stage.VERIFYING)

    def _verify(self, update: Update) -> bool:
        if self._under is None:
            return False
        files = {
            name: StoredFile(sha256=one.sha256, size=one.size) for name, one in files_of(self._under.offer).items()
        }
        try:
            self._store.adopt(update.release.sha256, self._under.offer.release, files)
        except RefusedError as error:
            self._put_off(str(error), error.code)
            return False
        return self._advance(Stage.STAGED)

    def _inspect(self, update: Update) -> bool:
        self._attempt()
        folder, release = self._store.check(update.release.sha256), self._store.describe(update.release.sha256).release
        self._trying.note_before()
        self._gates.inspect(folder, release)
        return self._advance(Stage.SMOKE)

    def _smoke(self, update: Update) -> bool:
        self._attempt()
        active = self._state.active
        is_run = active is not None and self._withholding.permit.code is None
        beside = self._store.check(active.sha256) if active is not None and is_run else self._service.factory()
        trial = update.trial
        self._gates.smoke(self._store.check(update.release.sha256), beside, trial.latency_percent, trial.memory_percent)
        return self._advance(Stage.SHADOW if trial.shadow_frames and not update.is_return else Stage.TRIAL)

    def _shadow(self, update: Update) -> bool:
        self._attempt()
        folder = self._store.check(update.release.sha256)
        self._trying.shadow(
            folder, update.trial, lambda found: self._keep(stages.compared(self._state, Compared(**found.facts())))
        )
        return self._advance(Stage.TRIAL)

    def _trial(self, update: Update) -> bool:
        """Have the candidate in service, counted before it is loaded; then commit it."""
        before = update.before or self._trying.reference()
        self._keep(stages.attempt(self._state, self._boot, before))
        self._trying.trial(self._store.check(update.release.sha256), update.trial, before)
        self._keep(stages.commit(self._state, self._now()))
        self._trying.forget()
        self._under = None
        self._close(puts_back=False)
        return True

    def _refused(self, error: RefusedError) -> None:
        if self._state.stage in TRIED:
            self._end(error.code, error.why)
        elif error.code is Code.HALTED:
            self._put_off(error.why, error.code)
        else:
            self._tell(error.why, error.code)

    def _end(self, code: Code, why: str) -> None:
        """Roll back: what was before is the active one on disk first, where that takes it, then in service."""
        was_in_service = self._state.stage is Stage.TRIAL
        self._hold(stages.roll_back(self._state, code, why, self._now()))
        self._under = None
        self._tell(why, code)
        self._close(puts_back=was_in_service)

    def _put_off(self, why: str, code: Code | None) -> None:
        self._hold(stages.put_off(self._state))
        self._under = None
        self._tell(why, code)

    def _progress(self, progress: Progress) -> None:
        if self._under is not None:
            self._under.progress = progress.model_dump()
            self._report({})
            if self._under.dear and self._fleet.is_metered():
                raise UnavailableError(f"the connection costs now, and {self._under.dear} comes whole: it waits")

    def _advance(self, stage: Stage) -> bool:
        self._keep(stages.advance(self._state, stage, self._now()))
        self._tell("", None)
        return True

    def _attempt(self) -> None:
        self._keep(stages.attempt(self._state, self._boot))

    @property
    def _state(self) -> State:
        return self._keeping.state

    def _close(self, *, puts_back: bool = True) -> None:
        """Put what is to be in service there, tell what came to an end, and remove what nothing needs any more."""
        if why := self._withholding.restore(self._state) if puts_back else "":
            self._tell(why, None)
        self._report(self._state.past[-1].model_dump(mode="json"))
        if not why:  # else what has left is still in service, from its files
            self._tidy()

    def _look(self) -> None:
        """While a candidate is tried: note progress, and look at the fleet again where that is due.

        Raises:
            RefusedError: Its rollout was halted.
        """
        self._breath()
        self._obey()
        if not self._lookout.is_due:
            return
        try:
            self._check()
        except RefusedError as error:
            if error.code is Code.HALTED:
                raise
            self._tell(error.why, error.code)
        except (UnavailableError, ConfigError, StorageError) as error:  # which say nothing about the candidate
            self._tell(str(error), code_of(error))

    def _now(self) -> str:
        return text_of(self._clock.now().time)
