"""What both commands of power cuts have in common: their options, a line for each scenario, the verdict."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.powercut.recording import Recording

UNAVAILABLE: Final = 69
MOST_EXAMPLES: Final = 3


def parser_of(program: str, purpose: str, cuts: int, scenarios: Iterable[str]) -> argparse.ArgumentParser:
    """Give what reads the options.

    Args:
        program: Its name.
        purpose: The first line of its documentation.
        cuts: How many are made unless it is said.
        scenarios: That can be chosen.
    """
    parser = argparse.ArgumentParser(prog=program, description=purpose)
    parser.add_argument("--cuts", type=int, default=cuts, help="over all scenarios")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=scenarios, help="only this one; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--may-skip", action="store_true", help="end with 0 where cuts cannot be tried, and say so")
    return parser


def unavailable(reason: str, *, may_skip: bool) -> int:
    """Tell that cuts cannot be tried here, to CI's list of what was passed over, too; give the exit status."""
    said = f"power cuts cannot be tried here: {reason}"
    print(said, file=sys.stderr)
    if may_skip and (listed := os.environ.get("SKIPPED")):
        with Path(listed).open("a", encoding="utf-8") as file:
            file.write(f"{said}\n")
    return 0 if may_skip else UNAVAILABLE


def outcome(
    name: str, recording: Recording, count: int, broken: Sequence[dict[str, Any]], seconds: float, *, is_canary: bool
) -> dict[str, Any]:
    """Give what came of a scenario, JSON types only.

    Args:
        name: Its name.
        recording: What was cut.
        count: How many cuts there were.
        broken: Before which operation a cut broke which promises.
        seconds: That the cuts took.
        is_canary: It breaks its promises on purpose.
    """
    return {
        "scenario": name,
        "is_canary": is_canary,
        "cuts": count,
        "broken": len(broken),
        "operations": len(recording.log),
        "bytes_written": recording.bytes_written,
        "flushes": recording.flushes,
        "cuts_per_second": round(count / seconds, 1),
        "examples": list(broken[:MOST_EXAMPLES]),
    }


def report(outcomes: Iterable[dict[str, Any]], cuts: int, seed: int, *, is_json: bool) -> int:
    """Tell each outcome as it comes, and then the verdict; give the exit status.

    Args:
        outcomes: As `outcome` gives them.
        cuts: How many were asked for.
        seed: Of the cuts.
        is_json: All of it is told once more, as one JSON object.
    """
    results = []
    for one in outcomes:
        results.append(one)
        print(
            f"{one['scenario']:14} {one['cuts']:5} cuts  {one['broken']:3} broken"
            f"{' on purpose' if one['is_canary'] else ''}  {one['operations']:5} operations recorded, "
            f"{one['flushes']} flushes; {one['cuts_per_second']:.1f} cuts/s",
            flush=True,
        )
        for example in one["examples"] if not one["is_canary"] else ():
            print(f"  before operation {example['at']}: {'; '.join(example['broken'])}")
    real = [one for one in results if not one["is_canary"]]
    broken = sum(one["broken"] for one in real)
    blind = any(one["is_canary"] and not one["broken"] for one in results)
    print(f"{sum(one['cuts'] for one in real)} power cuts, {broken} of them broke a promise")
    if blind:
        print("a canary was not seen: promises that are broken on purpose went unnoticed", file=sys.stderr)
    if is_json:
        print(json.dumps({"cuts": cuts, "seed": seed, "broken": broken, "is_blind": blind, "scenarios": results}))
    return 1 if broken or blind else 0
