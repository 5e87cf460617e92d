"""One board of health, shown the same everywhere: terminal, MQTT, systemd."""

import threading
import time
from dataclasses import dataclass
from enum import StrEnum


class HealthState(StrEnum):
    """How a component is, from best to worst."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one component.

    Attributes:
        component: ``camera:door``, ``model``, ``broker``, ``outbox``.
        state: How it is.
        what: What is the matter, one line; empty when all is well.
        fix: What the owner can do, one line; empty when there is nothing to do.
        since: Monotonic seconds since when it is so.
    """

    component: str
    state: HealthState
    what: str
    fix: str
    since: float


class HealthBoard:
    """Keeps the newest finding of every component. Safe to use from any thread."""

    def __init__(self) -> None:
        self._findings: dict[str, Finding] = {}
        self._lock = threading.Lock()

    def report(self, component: str, state: HealthState, what: str = "", fix: str = "") -> bool:
        """Note how a component is; tell whether its state or its message changed."""
        with self._lock:
            before = self._findings.get(component)
            if before is not None and (before.state, before.what) == (state, what):
                return False
            self._findings[component] = Finding(component, state, what, fix, time.monotonic())
            return True

    def clear(self, component: str) -> None:
        """Note that a component is well, if anything was said against it; else nothing is said of it at all."""
        with self._lock:
            is_known = component in self._findings
        if is_known:
            self.report(component, HealthState.OK)

    def findings(self) -> tuple[Finding, ...]:
        """Give the findings, worst first, then by name."""
        order = list(HealthState)
        with self._lock:
            return tuple(sorted(self._findings.values(), key=lambda f: (-order.index(f.state), f.component)))

    def state(self) -> HealthState:
        """Give the worst state on the board."""
        findings = self.findings()
        return findings[0].state if findings else HealthState.OK
