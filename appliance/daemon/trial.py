"""The rule by which a new version stays: it has to bring the detector to where the one before had it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

GOOD_FOR: Final = 20.0  # seconds for which all has to be well
READY_WITHIN: Final = 300.0  # seconds from the end of dpkg
LOADING_WITHIN: Final = 1800.0  # seconds, while the daemon asks systemd for time: TensorRT compiles for minutes
FAILED_FOR: Final = 15.0  # seconds after which `failed` counts: a restart may be on its way
MOST_RESTARTS: Final = 3
HALF_CONFIGURED_FOR: Final = 30.0  # seconds; a script of the package failed
HALF_INSTALLED_FOR: Final = 300.0  # seconds; somebody installs one package after the other


class Verdict(Enum):
    """What is to be done."""

    WAIT = "wait"
    STAY = "stay"
    GO_BACK = "go back"


@dataclass(frozen=True, slots=True)
class Before:
    """How the version before ran.

    Attributes:
        version: Of the application.
        libraries: Version of the package with its libraries.
        cameras: Those whose frames were looked at.
        has_failed: It said of itself that it had failed.
    """

    version: str
    libraries: str
    cameras: frozenset[str]
    has_failed: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """One look.

    Attributes:
        at: Monotonic seconds.
        package: dpkg's state of the packages, the worst of them: `installed`, `half-configured` or another word.
        version: Of the application as dpkg has it.
        libraries: Likewise, of the package with its libraries.
        unit: `ActiveState` of the daemon's unit: `active`, `activating`, `failed`, ….
        restarts: How often systemd has started it again.
        status: What the daemon tells of itself; empty where it does not answer.
    """

    at: float
    package: str
    version: str
    libraries: str
    unit: str
    restarts: int
    status: Mapping[str, Any]


def frames_by_camera(status: Mapping[str, Any]) -> dict[str, int]:
    """Give how many frames of each camera were looked at, by what the daemon tells of itself."""
    cameras = status.get("cameras")
    if not isinstance(cameras, Mapping):
        return {}
    found = {str(name): one.get("frames_processed") for name, one in cameras.items() if isinstance(one, Mapping)}
    return {name: frames for name, frames in found.items() if isinstance(frames, int)}


class Trial:
    """Judges a version by one look after another. Only looks that fall outside of dpkg's own runs count.

    Args:
        before: How the version before ran.

    Attributes:
        why: The verdict's reason.
    """

    def __init__(self, before: Before) -> None:
        self._before = before
        self._begin: Seen | None = None
        self._state: tuple[float, str] = (0.0, "")
        self._good: Seen | None = None
        self.why = ""

    def pause(self) -> None:
        """Begin again: dpkg runs."""
        self._begin = self._good = None

    def look(self, seen: Seen) -> Verdict:
        """Judge what is seen."""
        if self._begin is None or self._begin.version != seen.version:
            self._begin, self._good, self._state = seen, None, (seen.at, "")
        is_other = (seen.version != self._before.version, seen.libraries != self._before.libraries)
        if seen.package != "installed" or is_other == (False, True):
            return self._of_half(seen)
        if not any(is_other):
            return self._says(Verdict.STAY, f"version {seen.version} was not replaced")
        lasts = self._lasts(seen, seen.unit)
        if seen.unit == "failed" and lasts >= FAILED_FOR:
            return self._says(Verdict.GO_BACK, "the daemon has failed and is not started again")
        if seen.restarts - self._begin.restarts >= MOST_RESTARTS:
            return self._says(Verdict.GO_BACK, f"the daemon ended {MOST_RESTARTS} times")
        if seen.unit in {"inactive", "deactivating"}:
            return self._of_stopped(lasts)
        return self._of_running(seen, self._begin)

    def _of_half(self, seen: Seen) -> Verdict:
        allowed = HALF_CONFIGURED_FOR if seen.package == "half-configured" else HALF_INSTALLED_FOR
        if self._lasts(seen, seen.package) >= allowed:
            state = "of two versions" if seen.package == "installed" else seen.package
            return self._says(Verdict.GO_BACK, f"dpkg left the packages {state}")
        return Verdict.WAIT

    def _of_stopped(self, lasts: float) -> Verdict:
        if lasts >= READY_WITHIN:
            return self._says(Verdict.STAY, "the daemon was stopped, so nothing can be said of the new version")
        return Verdict.WAIT

    def _of_running(self, seen: Seen, begin: Seen) -> Verdict:
        if self._is_good(seen):
            if self._good is None or self._good.restarts != seen.restarts:
                self._good = seen
            elif seen.at - self._good.at >= GOOD_FOR and self._goes_on(seen, self._good):
                return self._says(Verdict.STAY, f"version {seen.version} does what {self._before.version} did")
        else:
            self._good = None
        is_loading = seen.unit == "activating" and seen.restarts == begin.restarts
        if seen.at - begin.at >= (LOADING_WITHIN if is_loading else READY_WITHIN):
            return self._says(Verdict.GO_BACK, self._missing(seen))
        return Verdict.WAIT

    def _is_good(self, seen: Seen) -> bool:
        has_failed = seen.status.get("state") == "failed" and not self._before.has_failed
        return seen.unit == "active" and bool(seen.status) and not has_failed and self._goes_on(seen, None)

    def _goes_on(self, seen: Seen, since: Seen | None) -> bool:
        """Tell whether frames were looked at of a camera that had them before; true where none had."""
        earlier = frames_by_camera(since.status) if since else {}
        now = frames_by_camera(seen.status)
        return not self._before.cameras or any(now.get(name, 0) > earlier.get(name, 0) for name in self._before.cameras)

    def _missing(self, seen: Seen) -> str:
        if seen.unit != "active":
            return f"the daemon is {seen.unit}"
        if not seen.status:
            return "the daemon does not answer"
        if not self._goes_on(seen, None):
            return f"no frame of {', '.join(sorted(self._before.cameras))} was looked at"
        return f"the daemon is {seen.status.get('state')}"

    def _lasts(self, seen: Seen, state: str) -> float:
        """Give for how many seconds this state has lasted."""
        if self._state[1] != state:
            self._state = (seen.at, state)
        return seen.at - self._state[0]

    def _says(self, verdict: Verdict, why: str) -> Verdict:
        self.why = why
        return verdict
