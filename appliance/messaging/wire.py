"""The socket below a connection: its options, its waiting, and whether anything still comes and goes."""

import array
import fcntl
import os
import select
import socket
import termios
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from appliance.messaging import reasons
from appliance.messaging.reasons import Reason

USER_TIMEOUT_MS: Final = 20_000  # TCP gives up on bytes that nobody acknowledges (tcp(7), TCP_USER_TIMEOUT)
SILENCE: Final = 1.45  # keepalives without a byte from the broker after which the link counts as dead


@dataclass(frozen=True, slots=True)
class Ready:
    """What a socket is ready for.

    Attributes:
        to_read: Bytes have come, or the connection has ended.
        to_write: There is room for bytes.
        trouble: Number of the error by which it ended; 0: none is known.
    """

    to_read: bool
    to_write: bool
    trouble: int


def tune(wire: Any) -> None:
    """Set what keeps delays and dead connections short."""
    _set(wire, socket.TCP_NODELAY, 1)
    _set(wire, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def is_near(wire: Any) -> bool:
    """Tell whether the peer is this machine."""
    if isinstance(wire, socket.socket):
        with suppress(OSError):  # the connection may be gone already
            peer = str(wire.getpeername()[0])
            return peer.startswith("127.") or peer == "::1"
    return False


def wait(wire: Any, wake: int, timeout: float, *, wants_to_write: bool) -> Ready:
    """Wait for the peer or for a wake-up call, at most `timeout` seconds."""
    pending = getattr(wire, "pending", None)  # of TLS; to ask for its class would load OpenSSL for a plain link too
    has_bytes = pending is not None and pending() > 0
    poll, number = select.poll(), wire.fileno()
    poll.register(number, select.POLLIN | (select.POLLOUT if wants_to_write else 0))
    poll.register(wake, select.POLLIN)
    ready = dict(poll.poll(0 if has_bytes else timeout * 1000.0))
    if wake in ready:
        os.eventfd_read(wake)
    happened = ready.get(number, 0)
    trouble = 0
    if happened & select.POLLERR:
        trouble = wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return Ready(has_bytes or bool(happened & ~select.POLLOUT), bool(happened & select.POLLOUT), trouble)


def _set(wire: Any, option: int, value: int) -> None:
    if isinstance(wire, socket.socket):
        with suppress(OSError):  # the connection may be gone already
            wire.setsockopt(socket.IPPROTO_TCP, option, value)


def _unacknowledged(wire: Any) -> int:
    """Give how many bytes the peer's TCP has not yet acknowledged (tcp(7), SIOCOUTQ, which is TIOCOUTQ)."""
    number = array.array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(wire.fileno(), termios.TIOCOUTQ, number)
    return number[0]


class Ear:
    """Notices that nothing comes any more, though the connection looks well.

    Args:
        ack_timeout: Seconds without any acknowledgement after which a broker that owes some counts as gone.
    """

    def __init__(self, ack_timeout: float) -> None:
        self._ack_timeout = ack_timeout
        self._heard = self._progress = time.monotonic()
        self._left = 0

    def heard(self) -> None:
        """Note that bytes came."""
        self._heard = time.monotonic()

    def got_on(self) -> None:
        """Note that something was acknowledged, or that the first acknowledgement is owed from now on."""
        self._progress = time.monotonic()

    def lost(self, wire: Any, keepalive: int, *, is_owed: bool) -> Reason | None:
        """Give why the connection counts as lost; None when it does not.

        Args:
            wire: The socket.
            keepalive: Seconds, as agreed with the broker; 0: it wants no sign of life, and gives none.
            is_owed: Acknowledgements are owed.
        """
        now = time.monotonic()
        if keepalive and now - self._heard > SILENCE * keepalive:
            return reasons.SILENT
        half = self._ack_timeout / 2.0
        if is_owed and now - self._progress > half:
            left = _unacknowledged(wire)
            if left < self._left:  # a large message on a slow link: it leaves, and is acknowledged late
                self._progress = now - half
            self._left = left
        return reasons.UNACKNOWLEDGED if is_owed and now - self._progress > self._ack_timeout else None
