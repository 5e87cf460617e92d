"""Messaging as the rest of the appliance sees it: publish, and know how delivery goes."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from appliance.config import MessagingSettings
from appliance.core.clock import Clock
from appliance.core.health import HealthBoard
from appliance.core.message import Message
from appliance.core.worker import Pulse, Worker
from appliance.messaging import topics
from appliance.messaging.arrivals import ArrivalsInbox
from appliance.messaging.courier import Courier
from appliance.messaging.inbox import Inbox
from appliance.messaging.inlet import Inlet
from appliance.messaging.link import MqttLink
from appliance.messaging.pacing import Pacer
from appliance.messaging.parcels import Parcel
from appliance.messaging.rendering import Renderer
from appliance.messaging.timekeeper import Timekeeper

if TYPE_CHECKING:
    from appliance.messaging.commands import Commands, Performer


class _Delivery(Protocol):
    """What happens to published messages: the broker gets them, or they are only counted."""

    workers: tuple[Worker, ...]

    def publish(self, message: Message) -> None: ...

    def subscribe(self, pattern: str, inbox: Inbox) -> None: ...

    def figures(self) -> dict[str, object]: ...

    def clock(self) -> dict[str, object]: ...

    def is_drained(self) -> bool: ...

    def obey(self, performer: "Performer") -> tuple[Worker, ...]: ...

    def replay(self, gen: str, first: int, last: int) -> int: ...


class Messaging:
    """Takes messages from any thread and sees them to the broker, or to nobody when the settings say ``none``.

    Args:
        device_id: The device's name: second level of every topic.
        settings: Broker and outbox.
        state_dir: Where the outbox is kept; made when it is not there.
        clock: The clock.
        boot_id: The kernel's id of this boot.
        board: Where ``broker``, ``outbox`` and ``delivery`` report.
    """

    def __init__(
        self,
        *,
        device_id: str,
        settings: MessagingSettings,
        state_dir: Path,
        clock: Clock,
        boot_id: str,
        board: HealthBoard,
    ) -> None:
        self._delivery: _Delivery = (
            _Nowhere(clock)
            if settings.broker == "none"
            else _Broker(device_id, settings, state_dir, clock=clock, boot_id=boot_id, board=board)
        )

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The threads that the supervisor runs, in the order in which they start."""
        return self._delivery.workers

    def publish(self, message: Message) -> None:
        """Take a message; never blocks. When too many wait it is dropped and counted, durable ones in a gap record."""
        self._delivery.publish(message)

    def subscribe(self, pattern: str, inbox: Inbox) -> None:
        """Have what others publish under a pattern, a whole topic, put into an inbox; call it before workers run."""
        self._delivery.subscribe(pattern, inbox)

    def figures(self) -> dict[str, object]:
        """Give figures for status and health: JSON types only, no secrets."""
        return self._delivery.figures()

    def clock(self) -> dict[str, object]:
        """Give what is known of UTC: its quality, by how many milliseconds it may be off, how often it was set."""
        return self._delivery.clock()

    def is_drained(self) -> bool:
        """Tell whether the broker has all that it takes; never while there is no connection."""
        return self._delivery.is_drained()

    def obey(self, performer: "Performer") -> tuple[Worker, ...]:
        """Take commands from the broker, from the next connection on; give the worker for that, to be run as well.

        Args:
            performer: Who does what is commanded.
        """
        return self._delivery.obey(performer)

    def replay(self, gen: str, first: int, last: int) -> int:
        """Send again what the broker had and the outbox still keeps; give how many messages that are.

        Args:
            gen: The generation; empty: that of new messages.
            first: The lowest sequence number.
            last: The highest.

        Raises:
            UnavailableError: The outbox is closed or busy: ask again later.
        """
        return self._delivery.replay(gen, first, last)


class _Broker:
    """Through the outbox and MQTT."""

    def __init__(
        self,
        device_id: str,
        settings: MessagingSettings,
        state_dir: Path,
        *,
        clock: Clock,
        boot_id: str,
        board: HealthBoard,
    ) -> None:
        self._device_id = device_id
        self._timekeeper = Timekeeper(clock)
        self._renderer = Renderer(device_id, boot_id, clock, self._timekeeper)
        self._commands: Commands | None = None
        prefixes = (settings.homeassistant.prefix, settings.frigate.prefix, settings.onvif.prefix or device_id)
        self._foreign = tuple(f"{prefix}/" for prefix in prefixes)
        self._inlet = Inlet()
        self._link = MqttLink(device_id=device_id, settings=settings, board=board, listener=self._inlet)
        self._courier = Courier(
            device_id=device_id,
            settings=settings.outbox,
            state_dir=state_dir,
            clock=clock,
            timekeeper=self._timekeeper,
            renderer=self._renderer,
            boot_id=boot_id,
            board=board,
            inlet=self._inlet,
            link=self._link,
            inflight=settings.inflight,
            pacer=Pacer(settings.replay_rate, settings.replay_spread),
            is_end_to_end=settings.ack == "end-to-end",
        )
        if settings.ack == "end-to-end":
            self._link.subscribe(topics.full(device_id, topics.ACK), ArrivalsInbox(self._courier.arrived))
        self.workers: tuple[Worker, ...] = (self._courier, self._link)

    def publish(self, message: Message) -> None:
        self._inlet.put(self._renderer.arrival(message))

    def subscribe(self, pattern: str, inbox: Inbox) -> None:
        self._link.subscribe(pattern, inbox)

    def figures(self) -> dict[str, object]:
        mine: dict[str, object] = {"waiting": self._inlet.depth, "dropped_inlet": self._inlet.dropped}
        if self._commands is not None:
            mine["commands"] = self._commands.figures()
        return self._link.figures() | self._courier.figures() | mine

    def clock(self) -> dict[str, object]:
        return self._timekeeper.figures()

    def is_drained(self) -> bool:
        return self._courier.is_drained

    def obey(self, performer: "Performer") -> tuple[Worker, ...]:
        from appliance.messaging.commands import Commands  # noqa: PLC0415 - only for who allows commands

        inbox = Inbox()
        self._commands = Commands(
            device_id=self._device_id, inbox=inbox, performer=performer, post=self, reserved=self._foreign
        )
        self._link.subscribe(self._commands.pattern, inbox)
        return (self._commands,)

    def post(self, parcel: Parcel) -> None:
        self._link.post(parcel)

    def render(self, message: Message) -> bytes:
        return self._renderer.render(self._renderer.arrival(message))

    def replay(self, gen: str, first: int, last: int) -> int:
        return self._courier.replay(gen, first, last)


class _Nowhere:
    """Messages are counted, and that is all."""

    name = "mqtt"

    def __init__(self, clock: Clock) -> None:
        self.pulse = Pulse(limit=30.0)
        self.workers: tuple[Worker, ...] = (self,)
        self._published = 0
        self._timekeeper = Timekeeper(clock)

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(5.0):
            self._timekeeper.look()
            self.pulse.beat()

    def publish(self, message: Message) -> None:
        del message
        self._published += 1

    def subscribe(self, pattern: str, inbox: Inbox) -> None:
        del pattern, inbox  # nobody ever says anything

    def figures(self) -> dict[str, object]:
        return {"connected": False, "broker": "none", "published": self._published, "rows": 0}

    def clock(self) -> dict[str, object]:
        return self._timekeeper.figures()

    def is_drained(self) -> bool:
        return True

    def obey(self, performer: "Performer") -> tuple[Worker, ...]:
        del performer
        return ()

    def replay(self, gen: str, first: int, last: int) -> int:
        del gen, first, last
        return 0
