"""A good release passes the gates; each kind of bad one is refused for what is wrong with it, and harms nothing."""

import hashlib
import json
import sys
import threading
import tracemalloc
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
from tests.simulators.bad_models import NANO, WEIGHTS, released, spoilt
from tests.simulators.sealed import seal_folder

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


def sealed(folder: Path, key: Path) -> tuple[Path, Release]:
    """Give a release whose weights are encrypted, and what was signed about it."""
    pytest.importorskip("pyrage", reason="needs pip install 'edgecam[protect]'")
    from appliance.core.sealing import Keys, make_key

    key.write_text(make_key()[0])
    key.chmod(0o600)
    plain = (folder / WEIGHTS).read_bytes()
    held = {"sha256": hashlib.sha256(plain).hexdigest(), "size": len(plain)}
    seal_folder(folder, key)
    signed = release().model_dump(mode="json", by_alias=True, exclude_none=True)
    file = {"path": f"models/p/{WEIGHTS}.age", "plain": held}
    recipients = list(Keys(key.read_text(), "the test").recipients)
    signed |= {"files": {f"{WEIGHTS}.age": file}, "recipients": recipients}
    return folder, Release.model_validate(signed)


def test_an_encrypted_release_passes_and_processes_that_look_at_it_get_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, signed = sealed(released(tmp_path / "release", "9"), tmp_path / "key")
    orders: list[bytes] = []
    settings = ModelSettings.model_validate({"key": {"file": str(tmp_path / "key")}})
    gates = Gates(settings, MANIFEST, threading.Event())
    lines = gates._child.lines
    monkeypatch.setattr(module, "ROUNDS", 1)
    monkeypatch.setattr(gates._child, "lines", lambda order, *rest: orders.append(order) or lines(order, *rest))
    gates.inspect(folder, signed)
    assert gates.smoke(folder, folder, latency_percent=1000, memory_percent=1000).best_ms > 0
    assert len(orders) == 4  # what both may cost is timed, of the one in service twice
    assert not any(b"AGE-SECRET" in order or b'"key"' in order for order in orders)
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.mark.parametrize("is_another", [True, False])
def test_an_encrypted_release_that_cannot_be_opened_is_refused_by_a_code_of_its_own(
    tmp_path: Path,
    is_another: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    folder, signed = sealed(released(tmp_path / "release", "9"), tmp_path / "key")
    settings = ModelSettings()
    if is_another:
        sealed(released(tmp_path / "other", "9"), tmp_path / "other-key")
        settings = ModelSettings.model_validate({"key": {"file": str(tmp_path / "other-key")}})
    with pytest.raises(RefusedError, match=r"encrypted|decrypted") as refused:
        Gates(settings, MANIFEST, threading.Event()).inspect(folder, signed)
    assert refused.value.code is Code.KEY


def test_an_encrypted_release_that_holds_something_else_than_was_signed_is_refused(tmp_path: Path) -> None:
    folder, signed = sealed(released(tmp_path / "release", "9"), tmp_path / "key")
    file = signed.files[f"{WEIGHTS}.age"]
    assert file.plain is not None
    other = file.model_copy(update={"plain": file.plain.model_copy(update={"size": file.plain.size + 1})})
    settings = ModelSettings.model_validate({"key": {"file": str(tmp_path / "key")}})
    with pytest.raises(RefusedError, match="than was signed") as refused:
        Gates(settings, MANIFEST, threading.Event()).inspect(
            folder, signed.model_copy(update={"files": {f"{WEIGHTS}.age": other}})
        )
    assert refused.value.code is Code.CONTRACT


def test_encrypted_files_that_would_fill_the_memory_are_refused_before_they_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, signed = sealed(released(tmp_path / "release", "9"), tmp_path / "key")
    monkeypatch.setattr(module, "MOST_MODEL_BYTES", 1 << 20)
    settings = ModelSettings.model_validate({"key": {"file": str(tmp_path / "key")}})
    with pytest.raises(RefusedError, match="are larger than 1 MiB") as refused:
        Gates(settings, MANIFEST, threading.Event()).inspect(folder, signed)
    assert refused.value.code is Code.MEMORY


def test_what_is_hostile_is_refused_though_it_was_encrypted(tmp_path: Path) -> None:
    folder, signed = sealed(released(tmp_path / "release", "9", spoilt("external")), tmp_path / "key")
    settings = ModelSettings.model_validate({"key": {"file": str(tmp_path / "key")}})
    with pytest.raises(RefusedError, match="in another file") as refused:
        Gates(settings, MANIFEST, threading.Event()).inspect(folder, signed)
    assert refused.value.code is Code.INSPECTION


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Code.CRASH),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Code.MEMORY),
        ("import sys; sys.exit(1)", Code.CRASH),
        ("print('nonsense')", Code.CRASH),
        ("print('x' * 300_000, end='')", Code.CRASH),
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


def test_a_model_that_has_its_process_write_on_and_on_fills_no_memory_of_the_daemon(good: Path) -> None:
    script = "for _ in range(2000): print('x' * 30_000)"  # 60 MB
    gates = Gates(ModelSettings(), MANIFEST, threading.Event(), command=(sys.executable, "-c", script))
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError) as refused:
            gates.smoke(good, None, 125, 120)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.code is Code.CRASH
    assert peak < 4 << 20


def test_the_end_of_the_daemon_is_no_fault_of_the_candidate(good: Path) -> None:
    stop = threading.Event()
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(StoppedError):
        Gates(ModelSettings(), MANIFEST, stop, beat=stop.set, command=command).smoke(good, None, 125, 120)
