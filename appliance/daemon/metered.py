"""Tells whether the connection costs: as the owner says, else as NetworkManager does, where that is in charge.

NMMetered of NetworkManager: 0 unknown, 1 yes, 2 no; where it had to guess, from DHCP options or the kind of connection,
3 yes and 4 no (https://networkmanager.dev/docs/api/latest/nm-dbus-types.html#NMMetered).
"""

import logging
import re
import subprocess
import time
from collections.abc import Sequence
from typing import Final

COMMAND: Final = (
    "busctl",
    "--system",
    "--timeout=3",
    "get-property",
    "org.freedesktop.NetworkManager",
    "/org/freedesktop/NetworkManager",
    "org.freedesktop.NetworkManager",
    "Metered",
)
HOLDS: Final = 30.0
"""Seconds for which an answer is taken for the present."""

_WITHIN: Final = 5.0  # seconds; busctl gives up after three by itself
_YES: Final = {1, 3}
_ANSWER: Final = re.compile(rb"u (\d)\s*")

log = logging.getLogger(__name__)


class Metered:
    """Answers whether the connection costs. Used by one thread; blocks for a few milliseconds, seconds at most.

    Args:
        said: What the owner says; None: NetworkManager is asked.
        command: Asks it.
        holds: Seconds for which its answer is taken for the present.
    """

    def __init__(self, said: bool | None, command: Sequence[str] = COMMAND, holds: float = HOLDS) -> None:  # noqa: FBT001 - a value of the configuration
        self._said, self._command, self._holds = said, command, holds
        self._known: int | None = None
        self._until = float("-inf")

    def __call__(self) -> bool:
        """Tell whether it costs; where nobody says so, it does not."""
        if self._said is not None:
            return self._said
        if time.monotonic() >= self._until:
            before, self._known = self._known, self._ask()
            self._until = time.monotonic() + self._holds
            if self._known != before:
                log.info("updates: NetworkManager says that the connection %s", _told(self._known))
        return self._known in _YES

    def _ask(self) -> int | None:
        """Give what NetworkManager says; None: it is not there, or does not say."""
        try:
            done = subprocess.run(self._command, capture_output=True, timeout=_WITHIN, check=False)  # noqa: S603 - ours
        except (OSError, subprocess.TimeoutExpired):  # no systemd, or a bus that hangs: nobody to ask
            return None
        found = _ANSWER.fullmatch(done.stdout[:100])
        return int(found[1]) if done.returncode == 0 and found else None


def _told(known: int | None) -> str:
    if known is None:
        return "is not its own"
    return {1: "costs", 2: "does not cost", 3: "probably costs", 4: "probably does not cost"}.get(
        known, "is unknown to it"
    )
