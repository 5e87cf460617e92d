"""The daemon in a process whose table of runtimes is the one with faults: what a test starts in the command's place."""

import sys

import pytest

from appliance.daemon.main import main
from tests.simulators.faulty_runtime import install

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        sys.exit(main(sys.argv[1:]))
