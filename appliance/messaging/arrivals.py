"""Takes the word of a subscriber that messages arrived, as it comes off the link."""

import logging
from collections.abc import Callable

from appliance.messaging.inbox import MOST_BYTES, Inbox, Received
from appliance.messaging.requests import Arrived, read_arrived

_logger = logging.getLogger(__name__)


class ArrivalsInbox(Inbox):
    """Checks each message on the topic ``ack`` and passes it on at once; nothing ever waits in it.

    Args:
        arrived: Takes the word from any thread; False: there is no room for it now.
    """

    def __init__(self, arrived: Callable[[Arrived], bool]) -> None:
        super().__init__()
        self._arrived = arrived

    def put(self, received: Received) -> bool:
        """Pass a message on; False when it is retained, too large, no such word, or there is no room: it is counted."""
        is_taken = False
        if received.is_retained:
            _logger.warning("%s must not be retained: it would come again with every connection", received.topic)
        elif len(received.payload) <= MOST_BYTES:
            try:
                is_taken = self._arrived(read_arrived(received.payload))
            except ValueError as error:
                _logger.warning("%s: %s", received.topic, error)
        self.taken += is_taken
        self.dropped += not is_taken
        return is_taken
