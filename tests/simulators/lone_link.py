"""A link without an outbox: the real thread, a listener that notes, waits that are short."""

import threading
from collections.abc import Sequence
from typing import Any, Self

from appliance.config import MessagingSettings
from appliance.core.health import Finding, HealthBoard
from appliance.messaging.link import MqttLink
from appliance.messaging.manners import Manners
from appliance.messaging.parcels import Answer, LinkDown, LinkUp, News, Parcel
from appliance.messaging.reasons import Pace


class Hasty(Manners):
    """Waits no longer than a tenth of a second, and notes how long it would have."""

    def __init__(self) -> None:
        super().__init__("dev", reconnect_spread=50.0, start_spread=10.0)
        self.paces: list[Pace] = []

    def wait(self, pace: Pace) -> float:
        self.paces.append(pace)
        return min(0.1, super().wait(pace))


class LoneLink:
    """Runs a link until the block ends.

    Attributes:
        news: What it told.
        manners: Its manners.
        board: Where it reports.
    """

    is_settled = True

    def __init__(self, broker: str, **settings: Any) -> None:
        self.news: list[News] = []
        self.board, self.manners = HealthBoard(), Hasty()
        self.link = MqttLink(
            device_id="dev",
            settings=MessagingSettings.model_validate({"broker": broker, **settings}),
            board=self.board,
            listener=self,
            manners=self.manners,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.link.run, args=(self._stop,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(15.0)
        assert not self._thread.is_alive()

    def tell(self, news: Sequence[News]) -> None:
        self.news += news

    @property
    def session(self) -> int:
        """The connection there is; 0: none."""
        ups = [item for item in self.news if isinstance(item, LinkUp | LinkDown)]
        return ups[-1].session if ups and isinstance(ups[-1], LinkUp) else 0

    def send(self, *parcels: Parcel) -> None:
        """Send numbered parcels on the connection there is."""
        self.link.send(self.session, parcels)

    def codes(self) -> dict[int, int]:
        """Give the answers by ticket."""
        return {item.ticket: item.code for item in list(self.news) if isinstance(item, Answer)}

    def finding(self, component: str) -> Finding | None:
        return next((finding for finding in self.board.findings() if finding.component == component), None)
