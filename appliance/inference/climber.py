"""Stands on a rung of a model's ladder: falls when it fails while it runs, and climbs back on a schedule."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from appliance.core.backoff import Backoff
from appliance.core.errors import EdgecamError, ModelError, UnavailableError
from appliance.inference.faults import fault_of
from appliance.inference.running import Refusal, Running

if TYPE_CHECKING:
    from appliance.core.manifest import ModelManifest
    from appliance.inference.watch import Wedged

PATIENCE: Final = 1.0  # seconds that a frame waits for a rung to be opened; the next one is newer
PICTURE: Final = 5.0  # seconds that a trial waits for a frame; a camera that gives none is no reason to stay below
LONGEST: Final = 3600.0  # seconds between two tries
_BLIND_LEAST, _BLIND_MOST = 0.5, 30.0  # seconds between two rounds while nothing is in service
_ENDING = 2.0  # seconds that the thread may take to end


class Opened(Protocol):
    """What a rung gives, whatever its task: it has answered one picture, and looks at frames."""

    manifest: "ModelManifest"
    digest: str
    running: Running
    min_score: float
    last_inference_ms: float

    def close(self) -> None:
        """Let go of it, in bounded time."""


OpenedT = TypeVar("OpenedT", bound=Opened)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Rung(Generic[OpenedT]):
    """One artifact of a ladder.

    Attributes:
        file: Its name.
        missing: Tells why it need not even be tried on this machine; nothing when it is to be.
        open: Loads it and has it answer one picture, in bounded time.
        open_apart: The same for one that hung or crashed: in a process of its own, where the owner allows that.
    """

    file: str
    missing: Callable[[], str]
    open: Callable[[], OpenedT]
    open_apart: Callable[[], OpenedT]


@dataclass
class _Standing:
    """How a rung has done so far.

    Attributes:
        refusal: Why it is not in use; None: nothing is known against it.
        due: Monotonic seconds from which on it may be tried again.
        is_suspect: It hung or crashed.
        tries: How often it has failed in this process.
    """

    backoff: Backoff
    refusal: Refusal | None = None
    due: float = float("-inf")
    is_suspect: bool = False
    tries: int = 0

    @property
    def is_out(self) -> bool:
        """It is for another machine, or not here: it is never tried."""
        return self.refusal is not None and self.refusal.is_expected

    def fail(self, refusal: Refusal, *, is_suspect: bool, now: float) -> None:
        self.refusal, self.tries = refusal, self.tries + 1
        self.is_suspect = self.is_suspect or is_suspect
        self.due = now + self.backoff.next_wait()


@dataclass
class _Blindness:
    """The rounds of tries while nothing is in service."""

    tried: set[int] = field(default_factory=set)
    due: float = float("-inf")
    backoff: Backoff = field(default_factory=lambda: Backoff(_BLIND_LEAST, _BLIND_MOST, _BLIND_MOST))


class Climber(Generic[OpenedT]):
    """Looks at frames with the best rung that works.

    `use` belongs to one thread; everything else may be called from any.

    Args:
        rungs: The ladder, best first.
        first: Number of the rung that is in service.
        opened: What it gave.
        refused: The rungs before it, which were refused.
        retry: Longest wait in seconds before a rung that failed is tried again; it doubles up to an hour.
        wedged: The calls made for it that hang.
        on_change: Called when what is in service has changed, from whichever thread noticed; must not block.
    """

    def __init__(
        self,
        rungs: Sequence[Rung[OpenedT]],
        *,
        first: int,
        opened: OpenedT,
        refused: Sequence[Refusal],
        retry: float,
        wedged: "Wedged",
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.on_change = on_change
        self._rungs = tuple(rungs)
        self.wedged = wedged
        self._changed = threading.Condition()
        self._standings = [_Standing(Backoff(retry, max(retry, LONGEST), 10 * retry)) for _ in self._rungs]
        self._at: int | None = first
        self._opened: OpenedT | None = opened
        self._last = opened  # what the model is stays known while nothing is in service
        self._told = opened.running
        self.fallen: Refusal | None = None
        """What failed last while it was in service, whatever has taken its place since; None: nothing has."""
        self._candidate: tuple[int, OpenedT] | None = None
        self._look: Callable[[OpenedT], Any] | None = None
        self._wants_look = False
        self._blindness = _Blindness()
        self._stop = False
        self._thread: threading.Thread | None = None
        for standing, refusal in zip(self._standings, refused, strict=False):
            standing.fail(refusal, is_suspect=refusal.is_suspect, now=time.monotonic())
        with self._changed:
            self._begin_when_needed()

    @property
    def manifest(self) -> "ModelManifest":
        """What the model is."""
        return self._last.manifest

    @property
    def digest(self) -> str:
        """SHA-256 of the weights that are, or were last, in service."""
        return self._last.digest

    @property
    def min_score(self) -> float:
        """Lowest score of what it gives."""
        return self._last.min_score

    @property
    def last_inference_ms(self) -> float:
        """Milliseconds that the model itself took for the last frame."""
        return self._last.last_inference_ms

    @property
    def running(self) -> Running:
        """What it runs on, and why not on what would be better."""
        with self._changed:
            before = self._standings if self._at is None else self._standings[: self._at]
            refused = tuple(one.refusal for one in before if one.refusal is not None)
            return replace(self._last.running, refused=refused, is_blind=self._at is None)

    def retries(self) -> dict[str, dict[str, float]]:
        """Give for each rung that failed how often it did, and in how many seconds it may be tried again."""
        now = time.monotonic()
        with self._changed:
            return {
                rung.file: {"failures": one.tries, "retry_in_s": round(max(0.0, self._due(at) - now), 1)}
                for at, (rung, one) in enumerate(zip(self._rungs, self._standings, strict=True))
                if one.refusal is not None and not one.is_out
            }

    def use(self, look: Callable[[OpenedT], ResultT]) -> ResultT:
        """Give what `look` gives for what is in service; blocks for the time of one inference.

        Args:
            look: Has it look at a frame. A trial may call it too, later, from another thread.

        Raises:
            UnavailableError: It has failed, or nothing is in service yet: go on with the next frame.
            ModelError: Nothing is in service, and nothing can be opened in this process any more.
        """
        opened = self._in_service(look)
        if opened is None:
            raise self._blind()
        try:
            result = look(opened)
        except EdgecamError as error:
            self._fall(opened, error)
            raise UnavailableError(str(error)) from error
        if opened.running is not self._told:  # what a camera's network lacks is known from its first answer on
            self._told = opened.running
            self.on_change()
        return result

    def close(self) -> bool:
        """Let go of everything; tell whether the thread has ended."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()
            left = [self._opened, self._candidate[1] if self._candidate else None]
            self._opened = self._candidate = None
        for one in left:
            if one is not None:
                one.close()
        if self._thread is not None:
            self._thread.join(_ENDING)
        return self._thread is None or not self._thread.is_alive()

    def _in_service(self, look: Callable[[OpenedT], Any]) -> OpenedT | None:
        """Take over what a trial has opened; give what is in service, waiting a moment where there is nothing."""
        with self._changed:
            if self._opened is None:
                self._changed.wait_for(lambda: (self._opened or self._candidate) is not None or self._stop, PATIENCE)
            if self._wants_look:
                self._wants_look, self._look = False, look
                self._changed.notify_all()
            if self._candidate is None:
                return self._opened
            before = self._opened
            at, opened = self._candidate
            self._candidate = None
            self._put_in_service(at, opened)
        self.on_change()
        if before is not None:
            before.close()
        return opened

    def _put_in_service(self, at: int, opened: OpenedT) -> None:
        self._at, self._opened, self._last, self._told = at, opened, opened, opened.running
        self._blindness = _Blindness()
        self._standings[at].backoff.succeeded()
        for standing in self._standings[at:]:
            if not standing.is_out:
                standing.refusal, standing.due = None, float("-inf")
        self._begin_when_needed()

    def _fall(self, opened: OpenedT, error: EdgecamError) -> None:
        opened.close()  # first: the next rung may need its memory, or its accelerator
        with self._changed:
            at, self._at, self._opened = self._at, None, None
            if at is not None:
                self.fallen = self._note(at, error, is_running=True)
            self._begin_when_needed()
        self.on_change()

    def _blind(self) -> EdgecamError:
        if self.wedged.is_full:
            return ModelError(
                f"nothing of model {self.manifest.name!r} works, and {self.wedged.count} calls hang in their "
                "runtimes: it takes a new process to try again"
            )
        return UnavailableError(f"nothing of model {self.manifest.name!r} is in service now; it is tried again")

    def _note(self, at: int, error: EdgecamError, *, is_running: bool) -> Refusal:
        why, is_suspect = " ".join(str(error).split()), isinstance(error, UnavailableError)
        refusal = Refusal(self._rungs[at].file, why, False, is_running, is_suspect, fault_of(error))
        self._standings[at].fail(refusal, is_suspect=is_suspect, now=time.monotonic())
        return refusal

    def _begin_when_needed(self) -> None:
        """Start the thread where there is anything to try, now or later; it costs nothing until then."""
        self._changed.notify_all()
        if self._thread is None and not self._stop and (self._at is None or self._due_above()):
            # daemon: it may be inside a runtime that takes its time
            self._thread = threading.Thread(target=self._climb, name="model:climber", daemon=True)
            self._thread.start()

    def _climb(self) -> None:
        try:
            self._climb_on()
        finally:
            with self._changed:
                if not self._stop:  # what nobody foresaw ends this thread, and is in the log; another one goes on
                    self._thread = None
                    self._begin_when_needed()

    def _climb_on(self) -> None:
        while True:
            with self._changed:
                if self._stop:
                    return
                at, wait = self._choose(time.monotonic())
                if at is None:
                    self._changed.wait(wait)
                    continue
                self._blindness.tried.add(at)
            self._try(at)

    def _choose(self, now: float) -> tuple[int | None, float]:
        """Give the rung that is to be tried now, or none and for how long to wait."""
        if self._candidate is not None:
            return None, LONGEST
        if self._at is not None:
            due = self._due_above()
            ready = [at for at in due if self._standings[at].due <= now]
            earliest = min((self._standings[at].due for at in due), default=now + LONGEST)
            return (ready[0], 0.0) if ready else (None, max(0.01, earliest - now))
        usable = [at for at, one in enumerate(self._standings) if not one.is_out]
        untried = [at for at in usable if at not in self._blindness.tried]
        if not untried:
            self._blindness.tried.clear()
            self._blindness.due = now + self._blindness.backoff.next_wait()
            untried = usable
        if self._blindness.due > now:
            return None, self._blindness.due - now
        ready = [at for at in untried if self._standings[at].due <= now]
        return (ready[0] if ready else untried[-1]), 0.0  # the lowest needs least

    def _due_above(self) -> list[int]:
        return [at for at in range(self._at or 0) if not self._standings[at].is_out]

    def _due(self, at: int) -> float:
        return self._standings[at].due if self._at is not None else min(self._standings[at].due, self._blindness.due)

    def _try(self, at: int) -> None:
        """Have a rung opened, and look at the newest frame where another one is in service meanwhile."""
        rung, opened = self._rungs[at], None
        error: EdgecamError | None = ModelError(f"{rung.file} failed in a way that nobody foresaw; the log has it")
        try:
            if missing := rung.missing():
                self._leave_out(at, missing)
            else:
                opened = rung.open_apart() if self._standings[at].is_suspect else rung.open()
                self._check_what_it_is(opened)
                if (look := self._borrow_look()) is not None:
                    look(opened)
            error = None
        except EdgecamError as raised:
            error = raised
        finally:
            if error is not None:
                self._give_up(at, opened, error)
        if error is None and opened is not None:
            self._offer(at, opened)

    def _check_what_it_is(self, opened: OpenedT) -> None:
        """Refuse what is another model: a file that belongs to no manifest may be another one by now."""
        known, found = self._last.manifest, opened.manifest
        if (found.name, found.task, found.labels) != (known.name, known.task, known.labels):
            raise ModelError(
                f"{opened.running.file} is another model now, {found.name!r} ({found.task}) with {len(found.labels)} "
                f"labels: restart edgecam to run it, or put {known.name!r} back"
            )

    def _give_up(self, at: int, opened: OpenedT | None, error: EdgecamError) -> None:
        if opened is not None:
            opened.close()
        with self._changed:
            was = self._standings[at].refusal
            self._note(at, error, is_running=was is not None and was.while_running)
        self.on_change()

    def _offer(self, at: int, opened: OpenedT) -> None:
        """Put in service what has passed its trial: at once where nothing is, else between two frames."""
        with self._changed:
            is_wanted, was_blind = not self._stop, self._at is None
            if is_wanted and was_blind:
                self._put_in_service(at, opened)
            elif is_wanted:
                self._candidate = (at, opened)  # the hot path takes it between two frames
        if not is_wanted:
            opened.close()
        elif was_blind:
            self.on_change()

    def _leave_out(self, at: int, missing: str) -> None:
        """Note what a rung lacks: for good where it never was there, else until its next try."""
        with self._changed:
            if self._standings[at].tries:
                self._note(at, ModelError(missing), is_running=True)  # it did not hang, nor did it crash
            else:
                self._standings[at].refusal = Refusal(self._rungs[at].file, missing, is_expected=True)
        self.on_change()

    def _borrow_look(self) -> Callable[[OpenedT], Any] | None:
        """Ask the hot path for what it does with the next frame; None where it is blind and waits, or none comes."""
        with self._changed:
            if self._at is None:
                return None
            self._wants_look = True
            self._changed.wait_for(lambda: not self._wants_look or self._stop, PICTURE)
            look, self._look, self._wants_look = self._look, None, False
            return look
