"""What commands do to the running parts."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from appliance.config import ModelSettings, Settings
from appliance.core.errors import ConfigError, UnavailableError, UnsupportedError
from appliance.core.frame import Frame
from appliance.core.message import Message
from appliance.daemon.chain import Chain
from appliance.daemon.model_check import check_model
from appliance.daemon.wishing import Asked, ask
from appliance.diagnostics.picture import encode_jpeg
from appliance.messaging.commands import Outcome
from appliance.messaging.orders import Order
from appliance.messaging.payloads import settings_message
from appliance.updates.wishes import Wish

PICTURE_WITHIN: Final = 5.0  # seconds for the next frame


@dataclass(frozen=True, slots=True)
class Powers:
    """What can be done besides steering cameras.

    Attributes:
        replay: Sends again what the broker had, for a generation and two numbers; gives how many.
        restart: Ends the daemon so that it is started again; None: nobody would.
        check_model: Checks the model in service; ends early when the event is set.
        fleet: The worker that takes models from a fleet; None: there is no fleet.
        encode: Makes a JPEG of a frame; None: the owner does not allow pictures.
    """

    replay: Callable[[str, int, int], int]
    restart: Callable[[], None] | None
    check_model: Callable[[threading.Event], Mapping[str, Any]]
    fleet: Asked | None
    encode: Callable[[Frame], bytes] | None


def build_control(
    chains: Mapping[str, Chain],
    settings: Settings,
    *,
    model: Callable[[], ModelSettings],
    fleet: Asked | None,
    publish: Callable[[Message], None],
    replay: Callable[[str, int, int], int],
    restart: Callable[[], None] | None,
) -> "Control":
    """Build what performs commands.

    Args:
        chains: The cameras' chains by name.
        settings: The whole configuration.
        model: Gives the ``[model]`` section that names what is in service.
        fleet: See `Powers`.
        publish: Takes a message; never blocks.
        replay: See `Powers`.
        restart: See `Powers`.
    """
    powers = Powers(
        replay=replay,
        restart=restart,
        check_model=lambda stop: check_model(model(), stop),
        fleet=fleet,
        encode=encode_jpeg if settings.messaging.pictures else None,
    )
    return Control(chains, publish=publish, powers=powers, least_score=settings.tracking.least_score)


class Control:
    """Performs commands; used by the thread of the commands' worker alone.

    Args:
        chains: The cameras' chains by name.
        publish: Takes a message; never blocks.
        powers: What can be done besides steering cameras.
        least_score: The lowest score that the model was opened for.
    """

    def __init__(
        self,
        chains: Mapping[str, Chain],
        *,
        publish: Callable[[Message], None],
        powers: Powers,
        least_score: float,
    ) -> None:
        self._chains, self._publish, self._powers, self._least = chains, publish, powers, least_score
        self._known: Mapping[str, Callable[[Mapping[str, Any], threading.Event], Outcome]] = {
            "detect": self._detect,
            "threshold": self._threshold,
            "snapshot": self._snapshot,
            "restart": self._restart,
            "replay": self._replay,
            "model-check": self._check_model,
            "fleet-check": partial(self._ask, Wish.CHECK),
            "model-update": partial(self._ask, Wish.UPDATE),
            "model-rollback": partial(self._ask, Wish.ROLLBACK),
            "model-pin": self._pin,
        }

    def perform(self, order: Order, stop: threading.Event) -> Outcome:
        """Do what is commanded; see `messaging.commands.Performer`.

        Raises:
            EdgecamError: It is refused or has failed.
        """
        return self._known[order.name](order.fields, stop)

    def announce(self) -> None:
        """Tell what commands can change, as it is now."""
        for name in self._chains:
            self._tell(name)

    def _detect(self, fields: Mapping[str, Any], _: threading.Event) -> Outcome:
        pipeline = self._chain(fields).pipeline
        pipeline.steering = replace(pipeline.steering, is_looking=fields["on"])
        return self._tell(fields["camera"])

    def _threshold(self, fields: Mapping[str, Any], _: threading.Event) -> Outcome:
        pipeline, score = self._chain(fields).pipeline, float(fields["min_score"])
        if pipeline.steering.min_score is None:
            raise UnsupportedError("this model's task has no lowest score")
        if score < self._least:
            raise ConfigError(f"the model looks for nothing below {self._least:g}; set [tracking] low_score lower")
        pipeline.steering = replace(pipeline.steering, min_score=score)
        return self._tell(fields["camera"])

    def _snapshot(self, fields: Mapping[str, Any], stop: threading.Event) -> Outcome:
        encode = self._powers.encode
        if encode is None:
            raise ConfigError("pictures are not allowed to leave this device; its owner may set [messaging] pictures")
        pipeline = self._chain(fields).pipeline
        pipeline.pictures.take(0.0)  # one that came too late for who wanted it
        pipeline.is_picture_wanted.set()
        frame = None if stop.is_set() else pipeline.pictures.take(PICTURE_WITHIN)
        pipeline.is_picture_wanted.clear()
        if frame is None:
            raise UnavailableError(f"no frame came within {PICTURE_WITHIN:g} s; see the camera's status")
        picture = encode(frame)
        return Outcome({"bytes": len(picture), "frame": frame.number}, picture)

    def _restart(self, _: Mapping[str, Any], __: threading.Event) -> Outcome:
        if self._powers.restart is None:
            raise UnsupportedError("nothing would start it again: it does not run under systemd")
        return Outcome(then=self._powers.restart)

    def _replay(self, fields: Mapping[str, Any], _: threading.Event) -> Outcome:
        return Outcome({"messages": self._powers.replay(fields.get("gen", ""), fields["from"], fields["to"])})

    def _check_model(self, _: Mapping[str, Any], stop: threading.Event) -> Outcome:
        return Outcome(self._powers.check_model(stop))

    def _pin(self, fields: Mapping[str, Any], stop: threading.Event) -> Outcome:
        return self._ask(Wish.PIN if fields["on"] else Wish.UNPIN, fields, stop)

    def _ask(self, wish: Wish, _: Mapping[str, Any], stop: threading.Event) -> Outcome:
        if self._powers.fleet is None:
            raise UnsupportedError("this device takes no models from a fleet; its owner may set [fleet] url")
        return Outcome(ask(self._powers.fleet, wish, stop))

    def _chain(self, fields: Mapping[str, Any]) -> Chain:
        chain = self._chains.get(fields["camera"])
        if chain is None:
            raise ConfigError(f"no camera {fields['camera']!r} is enabled; there are {', '.join(self._chains)}")
        return chain

    def _tell(self, name: str) -> Outcome:
        steering = self._chains[name].pipeline.steering
        self._publish(settings_message(name, detect=steering.is_looking, min_score=steering.min_score))
        return Outcome({"detect": steering.is_looking, "min_score": steering.min_score})
