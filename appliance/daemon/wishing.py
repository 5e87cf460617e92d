"""What commands ask of the worker of updates, and what they are answered."""

import threading
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from appliance.updates.wishes import Wish, Wishes

CHECK_WITHIN: Final = 60.0  # seconds for a look at the fleet; four small files
HEARD_WITHIN: Final = 10.0  # seconds for all else that can be asked
_LOOK: Final = 0.2  # seconds between two looks at whether it is done
_TOLD: Final = ("stage", "active", "previous", "candidate", "rollout", "pinned", "why", "code")


class Asked(Protocol):
    """The worker of updates (updates.updater.Updater fits)."""

    wishes: Wishes

    def history(self) -> Mapping[str, Any]:
        """Give what `model` says, and how much was asked and done."""


def ask(asked: Asked, wish: Wish, stop: threading.Event) -> dict[str, Any]:
    """Ask for something and wait until it is done, a while; give how things are then.

    Args:
        asked: The worker.
        wish: What is asked for.
        stop: Set when the daemon is to end.

    Returns:
        `done`: it is; else it waits until what is under way, such as a download, lets it. The rest is as in `model`.

    Raises:
        UnavailableError: Too much was asked for already.
    """
    checks = asked.history()["checks"]
    number = asked.wishes.ask(wish)
    is_check = wish is Wish.CHECK
    deadline = time.monotonic() + (CHECK_WITHIN if is_check else HEARD_WITHIN)
    while True:
        now = asked.history()
        is_done = now["heard"] >= number and (not is_check or now["checks"] > checks)
        if is_done or time.monotonic() > deadline or stop.wait(_LOOK):
            return {"done": is_done, **{name: now[name] for name in _TOLD}}
