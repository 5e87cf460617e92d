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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from appliance.workbench.publishing.serving import RepositoryServer, serving
from tests.powercut.cuts import cuts
from tests.powercut.recorder import MARK, WRITE
from tests.powercut.recording import Recording, after, left_by, missing, move_to_own_mounts, record_program
from tests.powercut.report import outcome, parser_of, report, unavailable
from tests.powercut.update_device import Place
from tests.powercut.update_judge import judge
from tests.powercut.update_scenarios import SCENARIOS, World
from tests.simulators.breaking_proxy import BreakingProxy

IMAGE_BYTES: Final = 104 << 20  # 64 MB stay free on a device, whatever comes
READY: Final = {"ready": True}
CANARY_CUTS: Final = 12  # of each canary: one that was not seen by then means that nobody is looking


def main() -> int:
    """Read the arguments, do it, and give the exit status: 0 when nothing was broken, 1 otherwise."""
    parser = parser_of("powercut-update", __doc__.splitlines()[0], 600, SCENARIOS)
    parser.add_argument("--stage", nargs=5, help=argparse.SUPPRESS)  # what a recording starts
    options = parser.parse_args()
    if options.stage:
        _play(*options.stage)
        return 0
    if reason := missing():
        return unavailable(reason, may_skip=options.may_skip)
    move_to_own_mounts("tests.powercut.updates")
    tried = _outcomes(options.scenario or list(SCENARIOS), options.cuts, options.seed)
    return report(tried, options.cuts, options.seed, is_json=options.json)


def _outcomes(names: Sequence[str], total: int, seed: int) -> Iterator[dict[str, Any]]:
    real = [name for name in names if not SCENARIOS[name].is_canary]
    for at, name in enumerate(names):
        share = total // len(real) + (real.index(name) < total % len(real)) if name in real else CANARY_CUTS
        yield _tried(name, share, seed + at)


def _tried(name: str, count: int, seed: int) -> dict[str, Any]:
    scenario, broken = SCENARIOS[name], []
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
                    broken.append({"at": cut.at, "broken": found})
    return outcome(name, recording, count, broken, time.monotonic() - begin, is_canary=scenario.is_canary)


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
