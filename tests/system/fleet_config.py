"""What the configurations of daemons with a fleet have in common: a street that goes on for ever, and the fleet."""

from pathlib import Path

from tests.shared_data import SHARED
from tests.simulators.fleet import Web


def configured(footage: str, root: Path, web: Web, more: str) -> str:
    """Give a configuration.

    Args:
        footage: That the camera shows, of the shared data.
        root: The fleet's root of trust.
        web: Where the fleet lies.
        more: The rest of ``[fleet]``, and other sections behind it.
    """
    return f"""
[cameras.street]
kind = "file"
path = "{SHARED / footage}"
loop = true
fps = 15
[fleet]
url = "{web.url}"
root = "{root}"
{more}
"""
