"""How a connection comes about: which papers are shown, which version of MQTT is spoken."""

import time
from collections.abc import Callable
from typing import Final

from appliance.core.errors import ConfigError
from appliance.messaging import reasons
from appliance.messaging.credentials import Credentials, Papers
from appliance.messaging.mqtt import Conversation, Dialler, Protocol
from appliance.messaging.reasons import Pace, Reason

TURN: Final = 0.5  # seconds between two looks at whether to stop
MUTE_BEFORE_OLD: Final = 2  # connections without an answer to MQTT 5 before 3.1.1 is tried: one may be bad luck
OLD_FOR: Final = 86400.0  # seconds for which a broker that said that it has no MQTT 5 is not asked again
OLD_FOR_MUTE: Final = 3600.0  # seconds for one that just gave no answer: it may have been something else


class Approach:
    """Finds a way to a broker that takes the connection. Owned by the link's thread.

    Args:
        dialler: Opens connections.
        credentials: Papers to show.
        is_off: Asked several times a second; when it says so, nobody waits any longer.
    """

    def __init__(self, dialler: Dialler, credentials: Credentials, is_off: Callable[[], bool]) -> None:
        self._dialler, self._credentials, self._is_off = dialler, credentials, is_off
        self._old_until = 0.0
        self._mute = 0
        self._was_reached = False

    def connect(self) -> Conversation | Reason:
        """Give a conversation that the broker has accepted, or the reason why there is none.

        When the newest papers are refused and others worked before, those are shown at once.
        """
        try:
            papers = self._credentials.choose()
            found = self._greet(papers)
            if isinstance(found, Reason) and found.is_about_papers and self._credentials.refused(papers, found.what):
                papers = self._credentials.choose()
                found = self._greet(papers)
        except ConfigError as error:
            what, _, fix = str(error).partition("; ")
            return Reason(what, fix or "correct it; no restart is needed", Pace.LASTING)
        if isinstance(found, Conversation):
            self._credentials.worked(papers)
        return found

    def _greet(self, papers: Papers) -> Conversation | Reason:
        """Speak MQTT 5, or 3.1.1 where the broker has no more."""
        if time.monotonic() < self._old_until:
            found = self._greet_in(Protocol.MQTT_3_1_1, papers)
            if isinstance(found, Reason) and self._was_reached:
                self._old_until = 0.0  # perhaps another broker answers there now
            return found
        found = self._greet_in(Protocol.MQTT_5, papers)
        self._mute = self._mute + 1 if found is reasons.MUTE else 0
        is_unsupported = isinstance(found, Reason) and found.is_unsupported
        if (is_unsupported or self._mute >= MUTE_BEFORE_OLD) and not self._is_off():
            found = self._greet_in(Protocol.MQTT_3_1_1, papers)
            if isinstance(found, Conversation):
                self._old_until = time.monotonic() + (OLD_FOR if is_unsupported else OLD_FOR_MUTE)
        return found

    def _greet_in(self, protocol: Protocol, papers: Papers) -> Conversation | Reason:
        found = self._dialler.dial(protocol, papers, self._is_off)
        self._was_reached = isinstance(found, Conversation)
        if isinstance(found, Reason):
            return found
        deadline = time.monotonic() + found.patience
        while found.is_alive and found.connack is None and not self._is_off() and time.monotonic() < deadline:
            found.turn(TURN)
        if found.connack == 0:
            return found
        found.close()
        return found.refusal or reasons.MUTE
