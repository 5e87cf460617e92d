"""The workers that tell Home Assistant of the device: as it is now, again at its birth message, and never more."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import StorageError
from appliance.core.health import HealthBoard, HealthState
from appliance.core.message import Message
from appliance.core.worker import Pulse
from appliance.messaging.homeassistant.discovery import MOST_GONE, DeviceFacts, discover
from appliance.messaging.homeassistant.memory import MOST_SEEN, Memory, forget, keep, recall
from appliance.messaging.homeassistant.subjects import Subject, seen_in
from appliance.messaging.inbox import Inbox

TICK: Final = 0.5  # seconds between two looks at whether to stop
GATHER: Final = 2.0  # seconds: what is seen for the first time seldom comes alone
SPREAD: Final = 10.0  # seconds: devices do not all answer a birth message at once
SETTLE: Final = 5.0  # seconds with a connection after which the broker has what it was sent
BIRTH: Final = b"online"
MOST_HEARD: Final = 4  # messages of Home Assistant's that wait

_logger = logging.getLogger(__name__)


def topic_of(prefix: str, device: str) -> str:
    """Give where Home Assistant looks for a device."""
    return f"{prefix}/device/edgecam-{device}/config"


def config_message(topic: str, payload: Mapping[str, Any] | None = None) -> Message:
    """Give the retained message of discovery; without a payload, the one that takes it away."""
    return Message(f"/{topic}", payload or {}, retain=True, qos=1)


class Announcer:
    """The worker named `homeassistant`; also an output (see `relay`): what is seen for the first time is told.

    Args:
        facts: Of the device.
        prefix: Home Assistant's discovery prefix.
        state_dir: Where what it was told of is kept.
        publish: Takes a message; never blocks.
        board: Where it reports, as ``homeassistant``.
        spread: Gives the seconds to wait after a birth message.

    Attributes:
        inbox: For what Home Assistant says of itself: at its birth everything is sent again, a little later.
    """

    name = "homeassistant"

    def __init__(
        self,
        *,
        facts: DeviceFacts,
        prefix: str,
        state_dir: Path,
        publish: Callable[[Message], None],
        board: HealthBoard,
        spread: Callable[[], float] = lambda: random.uniform(0.0, SPREAD),  # noqa: S311 - no secret hangs on it
    ) -> None:
        self.pulse = Pulse(limit=30.0)
        self.inbox = Inbox(MOST_HEARD)
        self._facts, self._topic, self._state_dir = facts, topic_of(prefix, facts.device), state_dir
        self._publish, self._board, self._spread = publish, board, spread
        self._lock = threading.Lock()
        self._due = self._born_at = float("-inf")
        self._memory = recall(state_dir)
        self._seen = set(self._memory.seen)
        self._dropped = 0

    def notice(self, message: Message) -> Sequence[Message]:
        """Take note of what a message of counts or shares tells of for the first time."""
        if message.topic.endswith(("/counts", "/segmentation")):
            subjects = set(seen_in(message.camera, message.body))
            if subjects - self._seen:
                self._add(subjects)
        return ()

    def run(self, stop: threading.Event) -> None:
        """Tell what there is until `stop` is set."""
        if self._memory.topic not in {"", self._topic}:
            self._publish(config_message(self._memory.topic))
            self._memory = Memory(seen=self._memory.seen)
        while not stop.is_set():
            now = time.monotonic()
            with self._lock:
                is_due = self._due <= now
                self._due = float("inf") if is_due else self._due
                wait = min(TICK, self._due - now)
                seen = frozenset(self._seen)
            if is_due:
                self._tell(seen)
            self.pulse.beat()
            heard = self.inbox.take(max(0.0, wait))
            if heard is not None and heard.payload == BIRTH and time.monotonic() - self._born_at >= SPREAD:
                self._born_at = time.monotonic()  # whoever says it all the time is not heard all the time
                self._tell_within(self._spread())

    def _add(self, subjects: set[Subject]) -> None:
        with self._lock:
            room = MOST_SEEN - len(self._seen)
            new = sorted(subjects - self._seen)
            self._dropped = max(self._dropped, len(new) - room)  # the same ones are seen again and again
            self._seen.update(new[:room])
        if new[:room]:
            self._tell_within(GATHER)

    def _tell_within(self, seconds: float) -> None:
        with self._lock:
            self._due = min(self._due, time.monotonic() + seconds)

    def _tell(self, seen: frozenset[Subject]) -> None:
        told = discover(self._facts, seen, self._memory.platforms)
        gone = {key: platform for key, platform in self._memory.platforms.items() if key not in told.platforms}
        platforms = {**dict(list(gone.items())[-MOST_GONE:]), **told.platforms}
        memory = Memory(self._topic, platforms, seen)
        trouble, fix = "", ""
        if left_out := told.left_out + self._dropped:
            trouble = f"{left_out} entities found no room in what Home Assistant is told"
            fix = "name the labels that matter: [model] labels, or labels of zones"
        if memory != self._memory:
            try:
                keep(self._state_dir, memory)  # before it is published, or what is told could not be taken back
            except StorageError as error:
                trouble, _, fix = str(error).partition("; ")
            else:
                self._memory = memory
        self._publish(config_message(self._topic, told.payload))
        state = HealthState.DEGRADED if trouble else HealthState.OK
        if self._board.report(self.name, state, trouble, fix) and trouble:
            _logger.warning("homeassistant: %s", trouble)


class Withdrawal:
    """The worker named `homeassistant` of a device that is no longer to be found: takes back what was told.

    Args:
        state_dir: Where what was told is kept.
        publish: Takes a message; never blocks.
        is_connected: Tells whether there is a broker.
        settle: Seconds with a connection after which the broker has what it was sent.
    """

    name = "homeassistant"

    def __init__(
        self,
        *,
        state_dir: Path,
        publish: Callable[[Message], None],
        is_connected: Callable[[], bool],
        settle: float = SETTLE,
    ) -> None:
        self.pulse = Pulse(limit=30.0)
        self._state_dir, self._publish = state_dir, publish
        self._is_connected, self._settle = is_connected, settle

    def run(self, stop: threading.Event) -> None:
        """Take it back, then wait until `stop` is set."""
        memory = recall(self._state_dir)
        if memory.topic:
            self._publish(config_message(memory.topic))
        since: float | None = None
        is_done = False
        while not stop.wait(min(TICK, self._settle)):
            self.pulse.beat()
            if is_done or not self._is_connected():
                since = None
                continue
            since = time.monotonic() if since is None else since
            if time.monotonic() - since >= self._settle:
                is_done = True
                try:
                    forget(self._state_dir)
                except StorageError as error:
                    _logger.warning("homeassistant: %s; it is taken back once more at the next start", error)
                else:
                    _logger.info("homeassistant: this device is no longer told of")
