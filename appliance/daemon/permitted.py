"""What the board and the log say of releases: licences, keys that open encrypted models, a record that was damaged."""

import logging

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, UnsupportedError
from appliance.core.health import HealthBoard, HealthState
from appliance.core.sealing import Keys
from appliance.updates.permits import Permit
from appliance.updates.refusals import Code
from appliance.updates.store import Store, how_to_forget

FIX_LICENCE = "the fleet's owner has a release with a later end, or none; the factory model needs no licence of theirs"
FIX_KEY = "give the device its cohort's key: [model] key, /etc/credstore/edgecam.model-key (docs/fleet.md)"

log = logging.getLogger(__name__)


def known_keys(settings: ModelSettings, board: HealthBoard) -> frozenset[str]:
    """Give the public keys of the private ones that are here; what is wrong with those is a finding, and no end.

    Args:
        settings: The ``[model]`` section.
        board: Health board.
    """
    if settings.key is None:
        return frozenset()
    try:
        return Keys(settings.key.read_lines("model.key"), "[model] key").recipients
    except (ConfigError, UnsupportedError) as error:
        board.report("key", HealthState.DEGRADED, str(error), FIX_KEY)
        log.warning("%s", error, extra={"component": "key"})
        return frozenset()


def tell_lost(board: HealthBoard, store: Store, active: object) -> None:
    """Tell that the record of releases was damaged, and what to do about it.

    Until a release is in service again, or the owner has removed what lies aside: then somebody knows.

    Args:
        board: Health board.
        store: Where releases lie.
        active: The active release; None: there is none.
    """
    if not store.lost or active is not None:
        board.clear("releases")
        return
    what = f"{store.lost}; what was in service, and what was refused, is forgotten"
    if board.report("releases", HealthState.DEGRADED, what, how_to_forget(store.folder.parent)):
        log.error("%s", what, extra={"component": "releases"})


def tell_permit(board: HealthBoard, permit: Permit) -> None:
    """Tell whether the active release may be run, and for how long.

    Args:
        board: Health board.
        permit: As it was found.
    """
    if permit.code is None:
        state, what = (HealthState.DEGRADED, permit.why) if permit.why else (HealthState.OK, "")
    else:
        state, what = HealthState.DEGRADED, f"{permit.why}; the factory model is in service ({permit.code})"
    fix = "" if not what else FIX_KEY if permit.code is Code.KEY else FIX_LICENCE
    if board.report("release", state, what, fix) and what:
        level = logging.ERROR if permit.code is not None else logging.WARNING
        log.log(level, "%s", what, extra={"component": "release"})
