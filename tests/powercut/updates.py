"""`make powercut-update CUTS=600`: cut the power at random writes of an update, and see whether every promise held.

Each scenario is run once on a recorded disk, against a real web server; each cut then begins with a disk of its own, on
which the real code is started. Needs root, /dev/fuse and loop devices; without them it says so and ends with 69.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from appliance.workbench.publishing.serving import RepositoryServer, serving
from tests.powercut.cuts import cuts
from tests.powercut.recorder import MARK, WRITE
from tests.powercut.recording import Recording, after, left_by, missing, move_to_own_mounts, record_program
from tests.powercut.update_device import Place
from tests.powercut.update_judge import judge
from tests.powercut.update_scenarios import SCENARIOS, World
from tests.simulators.breaking_proxy import BreakingProxy

IMAGE_BYTES: Final = 104 << 20  # 64 MB stay free on a device, whatever comes
READY: Final = {"ready": True}
UNAVAILABLE: Final = 69
MOST_EXAMPLES: Final = 3
CANARY_CUTS: Final = 12  # of each canary: one that was not seen by then means that nobody is looking


def main() -> int:
    """Read the arguments, do it, and give the exit status: 0 when nothing was broken, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="powercut-update", description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=600, help="over all scenarios but the canaries")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--may-skip", action="store_true", help="end with 0 where cuts cannot be tried, and say so")
    parser.add_argument("--stage", nargs=5, help=argparse.SUPPRESS)  # what a recording starts
    options = parser.parse_args()
    if options.stage:
        _play(*options.stage)
        return 0
    if reason := missing():
        print(f"power cuts cannot be tried here: {reason}", file=sys.stderr)
        return 0 if options.may_skip else UNAVAILABLE
    move_to_own_mounts("tests.powercut.updates")
    return _report(options.scenario or list(SCENARIOS), options.cuts, options.seed, is_json=options.json)


def _report(names: Sequence[str], total: int, seed: int, *, is_json: bool) -> int:
    results = []
    real = [name for name in names if not SCENARIOS[name].is_canary]
    for at, name in enumerate(names):
        share = total // len(real) + (real.index(name) < total % len(real)) if name in real else CANARY_CUTS
        one = _tried(name, share, seed + at)
        results.append(one)
        print(
            f"{name:11} {one['cuts']:5} cuts  {one['broken']:3} broken{' on purpose' if one['is_canary'] else ''}  "
            f"{one['operations']:5} operations recorded, {one['flushes']} flushes; {one['cuts_per_second']:.1f} cuts/s",
            flush=True,
        )
        for example in one["examples"] if not one["is_canary"] else ():
            print(f"  before operation {example['at']}: {'; '.join(example['broken'])}")
    tried = [one for one in results if not one["is_canary"]]
    broken = sum(one["broken"] for one in tried)
    blind = any(one["is_canary"] and not one["broken"] for one in results)
    print(f"{sum(one['cuts'] for one in tried)} power cuts, {broken} of them broke a promise")
    if blind:
        print("a canary was not seen: promises that are broken on purpose went unnoticed", file=sys.stderr)
    if is_json:
        print(json.dumps({"cuts": total, "seed": seed, "broken": broken, "is_blind": blind, "scenarios": results}))
    return 1 if broken or blind else 0


def _tried(name: str, count: int, seed: int) -> dict[str, Any]:
    scenario, examples, broken = SCENARIOS[name], [], 0
    with tempfile.TemporaryDirectory(prefix="powercut-") as folder:
        aside, disk = Path(folder, "aside"), Path(folder, "disk")
        (aside / "fleet" / "metadata").mkdir(parents=True)
        server = RepositoryServer(aside / "fleet")
        with serving(server), BreakingProxy(server.server_port, lambda: scenario.breaks_after) as proxy:
            recording = _recorded(name, aside, proxy.url)
            place = Place(proxy.url, aside / "fleet" / "metadata" / "1.root.json", scenario.model)
            old = aside / "old"
            begin = time.monotonic()
            for cut in cuts(recording.base, recording.log, count, seed):
                marks = [*recording.marks, *cut.marks]
                try:
                    with after(cut, disk):
                        found = judge(disk / "state", marks, scenario, place, old if old.is_dir() else None)
                except OSError as error:
                    found = [f"the file system: {error}"]
                if found:
                    broken += 1
                    examples.append({"at": cut.at, "broken": found})
    return {
        "scenario": name,
        "is_canary": scenario.is_canary,
        "cuts": count,
        "broken": broken,
        "operations": len(recording.log),
        "bytes_written": recording.bytes_written,
        "flushes": recording.flushes,
        "cuts_per_second": round(count / (time.monotonic() - begin), 1),
        "examples": examples[:MOST_EXAMPLES],
    }


def _recorded(name: str, aside: Path, url: str) -> Recording:
    """Run a scenario; what was there before it is part of the disk that it begins with."""
    scenario = SCENARIOS[name]
    before = left_by(_recorded(scenario.begins_after, aside, url)) if scenario.begins_after else None
    command = (sys.executable, "-m", "tests.powercut.updates", "--stage", name, url)
    whole = record_program(command, aside, size=IMAGE_BYTES, before=before)
    marks = [json.loads(one.data) if one.kind == MARK else None for one in whole.log]
    ready = marks.index(READY)
    base = bytearray(whole.base)
    for one in whole.log[:ready]:
        if one.kind == WRITE:
            base[one.offset : one.offset + len(one.data)] = one.data
    known = [*whole.marks, *(mark for mark in marks[:ready] if mark is not None)]
    return replace(whole, base=bytes(base), log=whole.log[ready:], marks=known)


def _play(name: str, url: str, disk: str, marks: str, aside: str) -> None:
    """Play a scenario on a recorded disk."""
    file = os.open(marks, os.O_WRONLY | os.O_CLOEXEC)

    def mark(**fields: Any) -> None:
        os.write(file, json.dumps(fields).encode() + b"\n")

    world = World(Path(disk), mark, Path(aside), url)
    SCENARIOS[name].before(world)
    os.sync()
    mark(**READY)
    SCENARIOS[name].run(world)
    os.sync()
    os.close(file)


if __name__ == "__main__":
    sys.exit(main())
