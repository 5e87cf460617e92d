"""Puts the libraries for the Python that runs in front of the distribution's; Python imports it by itself.

Only where /usr/lib/edgecam/app is on PYTHONPATH: in the unit, in ``edgecam``, and in what they start.
"""

import os
import sys

APPLICATION = os.path.dirname(__file__)  # noqa: PTH120 - at every start: pathlib takes longer than all of this
VENDOR = os.path.join(os.path.dirname(APPLICATION), "vendor")  # noqa: PTH118, PTH120
MINOR = f"cp{sys.version_info[0]}{sys.version_info[1]}"

if not os.path.isdir(os.path.join(VENDOR, MINOR)):  # noqa: PTH112, PTH118
    sys.stderr.write(
        f"edgecam: the package edgecam-runtime has no libraries for Python {sys.version.split()[0]}; "
        f"it has: {', '.join(sorted(name for name in os.listdir(VENDOR) if name.startswith('cp')))}; "  # noqa: PTH208
        "install an edgecam-runtime for this release\n"
        if os.path.isdir(VENDOR)  # noqa: PTH112
        else "edgecam: the package edgecam-runtime is missing: sudo apt-get install edgecam-runtime\n"
    )
else:
    place = sys.path.index(APPLICATION) + 1 if APPLICATION in sys.path else 0
    sys.path[place:place] = [os.path.join(VENDOR, MINOR), os.path.join(VENDOR, "any")]  # noqa: PTH118
