"""Why an update waits that could go on: heat, the owner's window, its turn among the devices."""

import time
from datetime import datetime

from appliance.updates.pieces import Delivery
from appliance.updates.service import Fleet
from appliance.updates.timekeeping import is_in_window


def too_hot(fleet: Fleet) -> str:
    """Tell that the machine is too hot for more work; empty: it is not."""
    return "the machine is too hot for more work: the update waits until it has cooled down" if fleet.is_hot() else ""


def too_early(fleet: Fleet, under: Delivery, now: datetime, is_urged: bool) -> str:  # noqa: FBT001 - a state, not a choice
    """Tell why an update does not begin yet; empty: nothing keeps it.

    Args:
        fleet: With the owner's window.
        under: With the moment of its turn.
        now: In the device's own time zone.
        is_urged: The owner wants it at once.
    """
    if is_urged:
        return ""
    if fleet.window is not None and not is_in_window(fleet.window, now):
        return f"an update begins between {fleet.window[0]} and {fleet.window[1]} here: [fleet] window"
    if time.monotonic() < under.begins:
        return "devices begin one after the other, and this one's turn has not come"
    return ""
