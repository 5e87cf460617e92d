"""`make powercut CUTS=3000`: cut the power of real messaging at random writes, and see whether every promise held.

Each scenario is run once on a recorded disk; each cut then begins with a disk of its own, on which the real outbox is
opened. Needs root, /dev/fuse and loop devices; without them it says so and ends with 69.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.powercut.cuts import cuts
from tests.powercut.judge import judge
from tests.powercut.recording import after, missing, move_to_own_mounts, record
from tests.powercut.report import outcome, parser_of, report, unavailable
from tests.powercut.scenarios import POWER_CUTS, SCENARIOS
from tests.powercut.stage import Stage

LEAST_FOR_CANARY: Final = 60  # cuts: one in six finds it, so that not to find it at all means that nobody is looking


def main() -> int:
    """Read the arguments, do it, and give the exit status: 0 when nothing was broken, 1 otherwise."""
    # the verdict counts what is broken; that the canary's outbox is corrupt is no news worth a line for each cut
    logging.getLogger("appliance").setLevel(logging.CRITICAL)
    parser = parser_of("powercut", __doc__.splitlines()[0], 300, POWER_CUTS)
    parser.add_argument("--stage", nargs=4, help=argparse.SUPPRESS)  # what a recording starts
    options = parser.parse_args()
    if options.stage:
        name, *places = options.stage
        with Stage(*map(Path, places)) as stage:
            SCENARIOS[name].run(stage)
        return 0
    if reason := missing():
        return unavailable(reason, may_skip=options.may_skip)
    move_to_own_mounts("tests.powercut")
    tried = _outcomes(options.scenario or POWER_CUTS, options.cuts, options.seed)
    return report(tried, options.cuts, options.seed, is_json=options.json)


def _outcomes(names: Sequence[str], total: int, seed: int) -> Iterator[dict[str, Any]]:
    for at, name in enumerate(names):
        share = total // len(names) + (at < total % len(names))
        yield _tried(name, max(share, LEAST_FOR_CANARY) if SCENARIOS[name].is_canary else share, seed + at)


def _tried(name: str, count: int, seed: int) -> dict[str, Any]:
    recording = record(name)
    rules, broken = SCENARIOS[name].rules, []
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="powercut-") as folder:
        for cut in cuts(recording.base, recording.log, count, seed):
            try:
                with after(cut, Path(folder)) as disk:
                    found = judge(disk / "state", [*recording.marks, *cut.marks], rules)
            except OSError as error:
                found = [f"the file system: {error}"]
            if found:
                broken.append({"at": cut.at, "broken": found})
    seconds = time.monotonic() - begin
    return outcome(name, recording, count, broken, seconds, is_canary=SCENARIOS[name].is_canary)


if __name__ == "__main__":
    sys.exit(main())
