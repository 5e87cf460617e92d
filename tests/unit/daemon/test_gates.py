"""A good release passes the gates; each kind of bad one is refused for what is wrong with it, and harms nothing."""

import json
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from appliance.config import ModelSettings
from appliance.core.child import StoppedError
from appliance.core.manifest import read_manifest
from appliance.daemon import gates as module
from appliance.daemon.gates import Gates
from appliance.updates.formats import Release
from appliance.updates.refusals import Code, RefusedError
from tests.simulators.bad_models import NANO, released, spoilt

MANIFEST = read_manifest(NANO)


def release(**changes: str) -> Release:
    return Release.model_validate(
        {
            "schema": 1,
            "name": changes.get("name", "edgecam-nano"),
            "version": "9",
            "counter": 9,
            "task": "detect",
            "metrics": {"dataset": "d", "pictures": 1, "figures": {"ap": 1}},
            "licence": {"spdx": changes.get("licence", "Apache-2.0")},
            "provenance": "p",
            "files": {"w.onnx": {"path": "models/p/w.onnx"}},
        }
    )


@pytest.fixture(scope="module")
def gates() -> Gates:
    return Gates(ModelSettings(), MANIFEST, threading.Event())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("good") / "release", "9")


def test_a_good_release_passes_and_its_figures_are_told(gates: Gates, good: Path) -> None:
    gates.inspect(good, release())
    seen = gates.smoke(good, good, latency_percent=300, memory_percent=300)
    assert 0 < seen.best_ms <= seen.p95_ms
    assert 0 < seen.memory_mb < 200


def test_the_memory_of_a_release_is_its_own_however_much_the_daemon_takes(gates: Gates, good: Path) -> None:
    ballast = b"\xff" * (300 << 20)
    seen = gates.smoke(good, None, latency_percent=300, memory_percent=300)
    assert 0 < seen.memory_mb < 200
    assert ballast


@pytest.mark.parametrize(
    ("kind", "code", "why"),
    [
        ("truncated", Code.INSPECTION, "damaged"),
        ("external", Code.INSPECTION, "in another file"),
        ("loop", Code.INSPECTION, "Loop"),
        ("strange", Code.INSPECTION, "evil.example"),
    ],
)
def test_what_may_not_be_loaded_is_not(gates: Gates, tmp_path: Path, kind: str, code: Code, why: str) -> None:
    folder = released(tmp_path / "release", "9", spoilt(kind))
    with pytest.raises(RefusedError, match=why) as refused:
        gates.inspect(folder, release())
    assert refused.value.code is code


@pytest.mark.parametrize(
    ("kind", "code"),
    [("blind", Code.GOLDEN), ("flood", Code.GOLDEN), ("numbers", Code.NUMBERS), ("huge", Code.MEMORY)],
)
def test_what_does_not_do_as_it_should_is_refused(gates: Gates, tmp_path: Path, kind: str, code: Code) -> None:
    folder = released(tmp_path / "release", "9", spoilt(kind))
    gates.inspect(folder, release())
    with pytest.raises(RefusedError) as refused:
        gates.smoke(folder, None, 125, 120)
    assert refused.value.code is code


def test_a_slow_release_is_told_by_the_one_in_service(gates: Gates, good: Path, tmp_path: Path) -> None:
    folder = released(tmp_path / "release", "9", spoilt("slow"))
    with pytest.raises(RefusedError, match="of the model in service") as refused:
        gates.smoke(folder, good, latency_percent=150, memory_percent=1000)
    assert refused.value.code is Code.LATENCY


@pytest.mark.parametrize(
    ("release_ms", "before_ms", "ends"),
    [
        ((90.0, 12.0), (10.0, 10.0), nullcontext()),
        ((90.0, 40.0, 31.0), (90.0, 10.0, 11.0), pytest.raises(RefusedError, match=r"takes 31\.0 ms")),
    ],
)
def test_what_was_disturbed_while_it_was_timed_is_timed_again(
    good: Path,
    tmp_path: Path,
    release_ms: tuple[float, ...],
    before_ms: tuple[float, ...],
    ends: AbstractContextManager[object],
) -> None:
    """The process stands in for both models, and takes as long for a frame as it is told, one time after the other."""
    before = released(tmp_path / "before", "8")
    script = (
        "import json, pathlib, sys; order = json.load(sys.stdin); done = pathlib.Path(sys.argv[1])\n"
        "times = json.loads(done.read_text()); told = times[order['folder'] == sys.argv[2]].pop(0)\n"
        "done.write_text(json.dumps(times))\n"
        "print(json.dumps({'best_ms': told, 'p95_ms': told, 'memory_mb': 50.0}))"
    )
    (tmp_path / "times").write_text(json.dumps([before_ms, release_ms]), encoding="utf-8")
    command = (sys.executable, "-c", script, str(tmp_path / "times"), str(good))
    gates = Gates(ModelSettings(), MANIFEST, threading.Event(), command=command)
    with ends:
        gates.smoke(good, before, latency_percent=200, memory_percent=200)
    assert json.loads((tmp_path / "times").read_text()) == [[], []]


@pytest.mark.parametrize(
    ("said", "signed", "code"),
    [
        ({"name": '"other"'}, {}, Code.CONTRACT),
        ({}, {"name": "other"}, Code.CONTRACT),
        ({"labels": '["cat"]'}, {}, Code.CONTRACT),
        ({"licence": '"GPL-3.0-only"'}, {}, Code.LICENCE),
        ({"min_score": "0.3"}, {}, Code.CONTRACT),
        ({"task": '"pour"'}, {}, Code.INSPECTION),
    ],
)
def test_what_is_not_as_it_was_signed_or_does_not_fit_is_refused(
    gates: Gates, tmp_path: Path, said: dict[str, str], signed: dict[str, str], code: Code
) -> None:
    folder = released(tmp_path / "release", "9", **said)
    with pytest.raises(RefusedError) as refused:
        gates.inspect(folder, release(**signed))
    assert refused.value.code is code


def test_weights_that_did_not_come_or_are_others_are_refused(gates: Gates, tmp_path: Path) -> None:
    folder = released(tmp_path / "release", "9")
    (folder / "edgecam-nano-fp32.onnx").write_bytes(b"other")
    with pytest.raises(RefusedError, match="not the file that its manifest names"):
        gates.inspect(folder, release())
    (folder / "edgecam-nano-fp32.onnx").unlink()
    with pytest.raises(RefusedError, match="did not come"):
        gates.inspect(folder, release())


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Code.CRASH),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Code.MEMORY),
        ("import sys; sys.exit(1)", Code.CRASH),
        ("print('nonsense')", Code.CRASH),
        ("import time; time.sleep(60)", Code.HANG),
    ],
)
def test_however_a_model_ends_its_process_it_is_refused(
    good: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: Code
) -> None:
    monkeypatch.setattr(module, "SMOKE_WITHIN", 1.0 if code is Code.HANG else 60.0)
    gates = Gates(ModelSettings(), MANIFEST, threading.Event(), command=(sys.executable, "-c", script))
    with pytest.raises(RefusedError) as refused:
        gates.smoke(good, None, 125, 120)
    assert refused.value.code is code


def test_the_end_of_the_daemon_is_no_fault_of_the_candidate(good: Path) -> None:
    stop = threading.Event()
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(StoppedError):
        Gates(ModelSettings(), MANIFEST, stop, beat=stop.set, command=command).smoke(good, None, 125, 120)
