"""The power cut search itself: real messaging passes a few cuts, and what breaks its promises on purpose is found."""

import json
import os
import subprocess
import sys

import pytest

from tests.powercut.cuts import SECTOR, cuts
from tests.powercut.judge import Known
from tests.powercut.recorder import FLUSH, MARK, WRITE, Operation
from tests.powercut.recording import missing
from tests.simulators.broker import REPOSITORY


def searched(*arguments: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "tests.powercut", "--json", *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "EDGECAM_POWERCUT"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)
    assert done.stdout.endswith("}\n"), done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_power_cuts_break_no_promise_and_a_database_that_never_flushes_is_found_out() -> None:
    status, told = searched("--cuts", "40", "--scenario", "append", "--scenario", "canary")
    assert (status, told["broken"], told["is_blind"]) == (0, 0, False)


LOG = [
    Operation(WRITE, 0, b"a" * SECTOR * 2),
    Operation(MARK, 0, b'{"promised": [1, 1]}\n'),
    Operation(FLUSH),
    Operation(WRITE, SECTOR * 2, b"b" * SECTOR * 2),
    Operation(WRITE, SECTOR * 4, b"c" * SECTOR * 2),
    Operation(MARK, 0, b'{"promised": [2, 2]}\n'),
]


def test_what_was_flushed_is_on_every_disk_and_what_was_not_is_on_some_in_any_order_and_in_part() -> None:
    seen = set()
    for cut in cuts(bytes(SECTOR * 6), LOG, 2000, seed=1):
        words = "".join(chr(cut.disk[at * SECTOR]) if cut.disk[at * SECTOR] else "." for at in range(6))
        if cut.at > 2:
            assert words.startswith("aa")
            assert 1 in Known.of(cut.marks).promised
        if cut.at < len(LOG):
            assert 2 not in Known.of(cut.marks).promised
        seen.add(words)
    assert {"......", "aa....", "aabb..", "aa..cc", "aabbcc"} <= seen
    assert {"aab...", "aa.b..", "aabbc."} <= seen, "torn in its sectors"
