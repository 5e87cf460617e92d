"""The broker, stage by stage, as the daemon would come to it: name, TCP, TLS, credentials, MQTT, publish, subscribe."""

import os
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from appliance.config import MessagingSettings
from appliance.core.checkup import CheckState, Outcome
from appliance.core.errors import ConfigError
from appliance.messaging import path, reasons, topics
from appliance.messaging.approach import Approach
from appliance.messaging.credentials import Credentials, Papers
from appliance.messaging.mqtt import Conversation, Dialler, Protocol
from appliance.messaging.parcels import TEXT, Parcel
from appliance.messaging.path import Address, Handshake
from appliance.messaging.reasons import Reason

if TYPE_CHECKING:
    import ssl

STAGES: Final = tuple(
    f"broker.{name}" for name in ("name", "tcp", "tls", "credentials", "mqtt", "publish", "subscribe")
)
"""What is looked at, in this order; what cannot be reached because of one before it is skipped."""
PATIENCE: Final = 40.0  # seconds for MQTT's own answers in all
SOON_DAYS: Final = 21.0  # a certificate that ends within is worth a warning: Let's Encrypt renews 30 days ahead

_TURN: Final = 0.1
_AS_ROOT: Final = "run sudo edgecam doctor: it is kept from this user"


def patterns_of(device_id: str, settings: MessagingSettings) -> list[str]:
    """Give what a daemon with these settings subscribes to."""
    wanted = [f"{topics.root(device_id)}/{topics.CMD}/+/+"] if settings.commands else []
    wanted += [topics.full(device_id, topics.ACK)] if settings.ack == "end-to-end" else []
    return [*wanted, *([settings.homeassistant.birth_topic] if settings.homeassistant.enabled else [])]


class BrokerStages:
    """Goes the daemon's way to the broker once. Used by one thread; blocks for a bounded time.

    Args:
        device_id: The device's name.
        settings: The broker, credentials, limits.
        patterns: What the daemon subscribes to.
        is_guest: The daemon may be connected: come under another client id, and only look.
    """

    def __init__(self, device_id: str, settings: MessagingSettings, patterns: Sequence[str], *, is_guest: bool) -> None:
        self._device_id, self._settings, self._patterns, self._is_guest = device_id, settings, patterns, is_guest

    @property
    def address(self) -> str:
        """The broker, as the daemon tells it: ``mqtts://broker.local:8883``."""
        with closing(_Wake()) as wake:
            return str(Dialler(self._device_id, self._settings, wake.number))

    def look(self, known: Sequence[Outcome] = ()) -> list[Outcome]:
        """Give what every stage of `STAGES` was like; what is behind one that failed is skipped.

        Args:
            known: What is known of the stages from the credentials on, in place of another connection to find out.
        """
        told = self._path()
        if told[-1].state is not CheckState.FAILED:
            told += known or self._conversation()
        reached = {outcome.id for outcome in told}
        behind = [stage for stage in STAGES if stage not in reached]
        return [*told, *(Outcome(stage, CheckState.SKIPPED, f"{told[-1].id} comes first") for stage in behind)]

    def _path(self) -> list[Outcome]:
        """Look at name, TCP and TLS: what can be seen without speaking MQTT."""
        with closing(_Wake()) as wake:
            dialler = Dialler(self._device_id, self._settings, wake.number)
        found = path.resolve(dialler.host, dialler.port)
        if isinstance(found, Reason):
            return [_failed("broker.name", f"{dialler}: {found.what}", found.fix)]
        name = Outcome("broker.name", CheckState.OK, _addresses(dialler.host, found))
        address = path.reach(found)
        if isinstance(address, Reason):
            return [name, _failed("broker.tcp", f"{dialler}: {address.what}", address.fix)]
        tcp = Outcome("broker.tcp", CheckState.OK, f"{dialler} takes connections")
        if dialler.is_secure:
            return [name, tcp, self._tls(dialler, address)]
        return [name, tcp, Outcome("broker.tls", CheckState.SKIPPED, "mqtt:// is not encrypted")]

    def _conversation(self) -> list[Outcome]:
        """Look at credentials, and have MQTT's own answers to CONNECT, PUBLISH and SUBSCRIBE."""
        with closing(_Wake()) as wake:
            dialler = Dialler(self._device_id, self._settings, wake.number, is_guest=self._is_guest)
            credentials = Credentials(self._settings, is_secure=dialler.is_secure)
            try:
                papers = credentials.choose()
            except ConfigError as error:
                return [_unread("broker.credentials", error)]
            shown = Outcome("broker.credentials", CheckState.OK, self._described(papers))
            deadline = time.monotonic() + PATIENCE
            found = Approach(dialler, credentials, lambda: time.monotonic() > deadline).connect()
            if isinstance(found, Reason):
                return [shown, _failed("broker.mqtt", f"{dialler}: {found.what}", found.fix)]
            with found as conversation:
                told = [shown, *self._spoken(conversation, deadline)]
                conversation.say_goodbye()
            return told

    def _described(self, papers: Papers) -> str:
        what = ["a user name"] if papers.username is not None else []
        what += ["a password"] if papers.password is not None else []
        what += ["a certificate"] if papers.context is not None and self._settings.tls.cert_file is not None else []
        return f"{' and '.join(what) or 'nothing'} to show"

    def _tls(self, dialler: Dialler, address: Address) -> Outcome:
        # a password that may not be read is no reason not to look at the certificate
        settings = self._settings.model_copy(update={"password": None, "username_from": None})
        try:
            context = Credentials(settings, is_secure=True).choose().context
        except ConfigError as error:
            return _unread("broker.tls", error)
        found = path.shake_hands(address, dialler.host, cast("ssl.SSLContext", context))  # is_secure: there is one
        if isinstance(found, Reason):
            shown = path.look_at(address, dialler.host) if found.what.startswith("its certificate") else None
            seen = f"{dialler}: {found.what}" + (f"; it is {shown}" if shown else "")
            return _failed("broker.tls", seen, found.fix)
        return self._judge(found)

    def _judge(self, shaken: Handshake) -> Outcome:
        certificate = shaken.certificate
        seen = f"{shaken.version}, certificate {certificate or 'unknown'}"
        if not self._settings.tls.verify:
            fix = "remove verify = false, and set ca_file"
            return Outcome("broker.tls", CheckState.WARNING, f"{seen}; it is not checked", fix)
        if certificate is not None and path.days_left(certificate) < SOON_DAYS:
            what = f"{seen}: {path.days_left(certificate):.0f} days are left"
            return Outcome("broker.tls", CheckState.WARNING, what, "renew the broker's certificate")
        return Outcome("broker.tls", CheckState.OK, seen)

    def _spoken(self, conversation: Conversation, deadline: float) -> list[Outcome]:
        whose = "a guest's client id, as the daemon may use its own" if self._is_guest else "the device's client id"
        mqtt = Outcome("broker.mqtt", CheckState.OK, f"MQTT {conversation.protocol.value}, accepted under {whose}")
        publish = self._publish(conversation, deadline)
        subscribe = [self._subscribe(conversation, deadline)] if conversation.is_alive else []
        return [mqtt, publish, *subscribe]

    def _publish(self, conversation: Conversation, deadline: float) -> Outcome:
        topic = topics.full(self._device_id, topics.DOCTOR)
        with conversation.corked():
            conversation.publish(topic, Parcel(topic, b"", 1, ticket=1, expiry_s=1, content_type=TEXT))
        while conversation.is_alive and not conversation.answers and time.monotonic() < deadline:
            conversation.turn(_TURN)
        if not conversation.answers:
            end = reasons.UNACKNOWLEDGED if conversation.is_alive else conversation.end
            return _failed("broker.publish", f"{topic}: {end.what}", end.fix)
        _, code = conversation.answers.pop()
        if code >= reasons.REFUSED:
            reason = reasons.of_publish(code, topics.root(self._device_id))
            return _failed("broker.publish", f"{topic}: {reason.what}", reason.fix)
        unsure = ", but MQTT 3.1.1 does not tell whether it was allowed"
        seen = f"{topic} was taken{unsure if conversation.protocol is Protocol.MQTT_3_1_1 else ''}"
        return Outcome("broker.publish", CheckState.OK, seen)

    def _subscribe(self, conversation: Conversation, deadline: float) -> Outcome:
        if not self._patterns:
            return Outcome("broker.subscribe", CheckState.SKIPPED, "the device reads nothing: commands are off")
        conversation.subscribe(self._patterns)
        while conversation.is_alive and conversation.subscriptions is None and time.monotonic() < deadline:
            conversation.turn(_TURN)
        if conversation.subscriptions is None:
            end = reasons.UNACKNOWLEDGED if conversation.is_alive else conversation.end
            return _failed("broker.subscribe", end.what, end.fix)
        for pattern, code in zip(self._patterns, conversation.subscriptions, strict=False):
            if code >= reasons.REFUSED:
                reason = reasons.of_subscribe(code, pattern)
                return _failed("broker.subscribe", f"{pattern}: {reason.what}", reason.fix)
        return Outcome("broker.subscribe", CheckState.OK, f"{', '.join(self._patterns)} may be read")


class _Wake:
    """The eventfd that a conversation waits for; nobody writes to it."""

    def __init__(self) -> None:
        self.number = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.number)


def _failed(stage: str, seen: str, fix: str) -> Outcome:
    return Outcome(stage, CheckState.FAILED, seen, fix or "wait, and run it again")


def _unread(stage: str, error: ConfigError) -> Outcome:
    """Tell of papers that cannot be read: that others may not read them is as it should be."""
    told = Outcome.of_error(stage, error)
    is_kept = isinstance(error.__cause__, PermissionError) or "handed over no credentials" in told.seen
    if is_kept and os.geteuid() != 0:
        return Outcome(stage, CheckState.SKIPPED, told.seen, _AS_ROOT)
    return replace(told, fix=told.fix or "correct it; no restart is needed")


def _addresses(host: str, found: Sequence[Address]) -> str:
    shown = list(dict.fromkeys(str(address[0]) for _, address in found))
    if shown == [host]:
        return f"{host} is an address"
    more = f" and {len(shown) - path.MOST_ADDRESSES} more" if len(shown) > path.MOST_ADDRESSES else ""
    return f"{host} is {', '.join(shown[: path.MOST_ADDRESSES])}{more}"
