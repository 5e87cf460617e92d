"""Runs checks side by side, each in a thread of its own and no longer than its time."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from appliance.core.checkup import CheckState, Outcome
from appliance.core.errors import EdgecamError

TURN: Final = 0.2  # seconds between two looks at what is late


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at.

    Attributes:
        id: Its name; what it finds has names of its own.
        run: Looks, and tells; blocks.
        timeout: Seconds after which it counts as failed.
    """

    id: str
    run: Callable[[], Sequence[Outcome]]
    timeout: float = 10.0


_Answers = queue.SimpleQueue[tuple[str, Sequence[Outcome] | None]]


def examine(checks: Sequence[Check], on_wait: Callable[[Sequence[str]], None] = lambda _: None) -> list[Outcome]:
    """Run all checks at once and give what they found, in their order.

    One that raises an error of ours has failed with what it says; one that is late is left to itself; what a defect
    ends is told as such, and Python writes its page to standard error.

    Args:
        checks: Each with a name of its own.
        on_wait: Told several times a second the names of those that are still awaited.
    """
    answers: _Answers = queue.SimpleQueue()
    for check in checks:
        threading.Thread(target=_run, args=(check, answers), name=f"check:{check.id}", daemon=True).start()
    began = time.monotonic()
    found: dict[str, Sequence[Outcome]] = {}
    while awaited := [check for check in checks if check.id not in found]:
        on_wait([check.id for check in awaited])
        with suppress(queue.Empty):
            name, outcomes = answers.get(timeout=TURN)
            found[name] = _broke_off(name) if outcomes is None else outcomes
            continue
        lasted = time.monotonic() - began
        found |= {check.id: _late(check) for check in awaited if lasted > check.timeout}
    return [outcome for check in checks for outcome in found[check.id]]


def _run(check: Check, answers: _Answers) -> None:
    outcomes: Sequence[Outcome] | None = None
    try:
        outcomes = check.run()
    except EdgecamError as error:
        outcomes = [Outcome.of_error(check.id, error)]
    finally:
        answers.put((check.id, outcomes))


def _late(check: Check) -> list[Outcome]:
    what = f"no answer within {check.timeout:.0f} s"
    return [Outcome(check.id, CheckState.FAILED, what, "run it again; if it stays so, look at the kernel's log: dmesg")]


def _broke_off(name: str) -> list[Outcome]:
    what = "the check broke off over a defect of Edgecam"
    return [Outcome(name, CheckState.FAILED, what, "please report it, with what was written above")]
