"""`make powercut CUTS=3000`: cut the power of real messaging at random writes, and see whether every promise held.

Each scenario is run once on a recorded disk; each cut then begins with a disk of its own, on which the real outbox is
opened. Needs root, /dev/fuse and loop devices; without them it says so and ends with 69.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.powercut.cuts import cuts
from tests.powercut.judge import judge
from tests.powercut.recording import after, missing, move_to_own_mounts, record
from tests.powercut.scenarios import POWER_CUTS, SCENARIOS
from tests.powercut.stage import Stage

UNAVAILABLE: Final = 69
MOST_EXAMPLES: Final = 3
LEAST_FOR_CANARY: Final = 60  # cuts: one in six finds it, so that not to find it at all means that nobody is looking


def main() -> int:
    """Read the arguments, do it, and give the exit status: 0 when nothing was broken, 1 otherwise."""
    # the verdict counts what is broken; that the canary's outbox is corrupt is no news worth a line for each cut
    logging.getLogger("appliance").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(prog="powercut", description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=300, help="over all scenarios")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=POWER_CUTS, help="only this one; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--may-skip", action="store_true", help="end with 0 where cuts cannot be tried, and say so")
    parser.add_argument("--stage", nargs=4, help=argparse.SUPPRESS)  # what a recording starts
    options = parser.parse_args()
    if options.stage:
        name, *places = options.stage
        with Stage(*map(Path, places)) as stage:
            SCENARIOS[name].run(stage)
        return 0
    if reason := missing():
        print(f"power cuts cannot be tried here: {reason}", file=sys.stderr)
        return 0 if options.may_skip else UNAVAILABLE
    move_to_own_mounts("tests.powercut")
    return _report(options.scenario or POWER_CUTS, options.cuts, options.seed, is_json=options.json)


def _report(names: Sequence[str], total: int, seed: int, *, is_json: bool) -> int:
    results = []
    for at, name in enumerate(names):
        share = total // len(names) + (at < total % len(names))
        if SCENARIOS[name].is_canary:
            share = max(share, LEAST_FOR_CANARY)
        one = _tried(name, share, seed + at)
        results.append(one)
        print(
            f"{name:14} {one['cuts']:5} cuts  {one['broken']:3} broken{' on purpose' if one['is_canary'] else ''}  "
            f"{one['operations']:5} operations recorded, {one['flushes']} flushes; {one['cuts_per_second']:.1f} cuts/s",
            flush=True,
        )
        for example in one["examples"] if not one["is_canary"] else ():
            print(f"  before operation {example['at']}: {'; '.join(example['broken'])}")
    real = [one for one in results if not one["is_canary"]]
    broken = sum(one["broken"] for one in real)
    blind = any(one["is_canary"] and not one["broken"] for one in results)
    print(f"{sum(one['cuts'] for one in real)} power cuts, {broken} of them broke a promise")
    if blind:
        print("the canary was not seen: promises that are broken on purpose went unnoticed", file=sys.stderr)
    if is_json:
        print(json.dumps({"cuts": total, "seed": seed, "broken": broken, "is_blind": blind, "scenarios": results}))
    return 1 if broken or blind else 0


def _tried(name: str, count: int, seed: int) -> dict[str, Any]:
    recording = record(name)
    rules, examples, broken = SCENARIOS[name].rules, [], 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="powercut-") as folder:
        for cut in cuts(recording.base, recording.log, count, seed):
            try:
                with after(cut, Path(folder)) as disk:
                    found = judge(disk / "state", [*recording.marks, *cut.marks], rules)
            except OSError as error:
                found = [f"the file system: {error}"]
            if found:
                broken += 1
                examples.append({"at": cut.at, "broken": found})
    seconds = time.monotonic() - begin
    return {
        "scenario": name,
        "is_canary": SCENARIOS[name].is_canary,
        "cuts": count,
        "broken": broken,
        "operations": len(recording.log),
        "bytes_written": recording.bytes_written,
        "flushes": recording.flushes,
        "cuts_per_second": round(count / seconds, 1),
        "examples": examples[:MOST_EXAMPLES],
    }


if __name__ == "__main__":
    sys.exit(main())
