"""The daemon in a process whose table of runtimes is the one with faults: what a test starts in the command's place.

Where the variable `THROTTLED` names a file, the firmware of the board tells there whether the processor is slowed down.
"""

import os
import sys
from pathlib import Path
from typing import Final

import pytest

from appliance.core import machine
from appliance.daemon.main import main
from tests.simulators.faulty_runtime import install

THROTTLED: Final = "EDGECAM_TEST_THROTTLED"

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        if THROTTLED in os.environ:
            patch.setattr(machine, "THROTTLED", Path(os.environ[THROTTLED]))
        sys.exit(main(sys.argv[1:]))
