"""What cannot be run is never silently green."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.powercut.report import UNAVAILABLE, unavailable

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("bash", "dirname", "uname", "id")  # what the scripts take until they look for programs


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of programs that has what a shell needs, and nothing to test with."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in SHELLS:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def run(script: str, path: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = ["/bin/bash", str(ROOT / "scripts" / script), *(["packages"] if script == "test-arm64" else [])]
    return subprocess.run(
        command, env={"PATH": path, **variables}, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize("script", ["test-vm", "test-system", "test-firstboot", "test-arm64", "lint-deb"])
def test_what_this_machine_cannot_run_ends_with_69_and_in_ci_it_is_listed(
    script: str, bare: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "skipped"
    done = run(script, str(bare), SKIPPED=str(listed))
    assert done.returncode == 69, done.stderr
    assert not listed.exists()
    done = run(script, str(bare), SKIPPED=str(listed), CI="true")
    assert done.returncode == 0, done.stderr
    [line] = listed.read_text().splitlines()
    assert line.startswith(f"{script}: ")
    assert line.removeprefix(f"{script}: ") in done.stderr


SUITE = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_that_needs_a_tool(number):
    pytest.skip("mtools is missing:\\n do: " + "x" * 200)

@pytest.mark.skip(reason="needs root: sudo make test-vm")
def test_that_has_a_script(): ...

def test_of_a_contract():
    pytest.skip("does not apply: there is no end")

@pytest.mark.xfail
def test_that_fails():
    assert False

def test_that_runs(): ...
"""


def run_suite(suite: str, workers: str, listed: Path) -> None:
    given = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    given |= {"PYTHONPATH": str(ROOT), "SKIPPED": str(listed)}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-n", workers, suite]
    done = subprocess.run(
        command, cwd=listed.parent, env=given, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_tests_that_this_machine_cannot_run_are_listed_once(workers: str, tmp_path: Path) -> None:
    listed, suite = tmp_path / "skipped", tmp_path / "suite"
    suite.mkdir()
    (suite / "test_some.py").write_text(SUITE)
    (suite / "test_another.py").write_text('import pytest\npytest.importorskip("no_torch", reason="no PyTorch")\n')
    run_suite("suite", workers, listed)
    assert listed.read_text() == "suite: 3 skipped: mtools is missing: do: …; no PyTorch\n"


def test_where_every_test_runs_nothing_is_listed(tmp_path: Path) -> None:
    listed, suite = tmp_path / "skipped", tmp_path / "test_all.py"
    suite.write_text("def test_that_runs(): ...\n")
    run_suite(suite.name, "0", listed)
    assert not listed.exists()


def test_a_system_that_cannot_be_fetched_is_told_apart_from_a_machine_that_cannot_run_it(
    bare: Path, tmp_path: Path
) -> None:
    for name in ("systemd-nspawn", "nsenter", "ip", "dpkg-deb", "unshare"):
        put(bare, name, "exit 0")
    put(bare, "id", "echo 0")
    put(bare, "mmdebstrap", "echo no network >&2; exit 1")
    listed, path = tmp_path / "skipped", f"{bare}:{os.defpath}"
    given = {"SKIPPED": str(listed), "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    assert run("test-system", path, **given).returncode == 69
    done = run("test-system", path, CI="true", **given)
    assert done.returncode == 0
    assert listed.read_text() == "test-system: a bare bookworm could not be fetched or made (see above)\n"
    assert "no network" in done.stderr


def test_first_boots_without_mounts_of_their_own_are_told_before_anything_is_fetched(
    bare: Path, tmp_path: Path
) -> None:
    for name in ("systemd-nspawn", "nsenter", "ip", "dpkg-deb", "mkfs.ext2", "mkfs.ext4", "e2fsck"):
        put(bare, name, "exit 0")
    put(bare, "id", "echo 0")
    put(bare, "unshare", "echo not allowed >&2; exit 1")
    put(bare, "mmdebstrap", f"touch {tmp_path}/fetched; exit 1")
    listed, path = tmp_path / "skipped", f"{bare}:{os.defpath}"
    given = {"PYTHON": sys.executable, "SKIPPED": str(listed), "HOME": str(tmp_path)}
    given["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    done = run("test-firstboot", path, **given)
    assert (done.returncode, (tmp_path / "fetched").exists()) == (69, False), done.stderr
    assert "test-firstboot: needs " in done.stderr
    assert run("test-firstboot", path, CI="true", **given).returncode == 0
    assert listed.read_text().startswith("test-firstboot: needs ")


@pytest.mark.parametrize(("may_skip", "status"), [(True, 0), (False, UNAVAILABLE)])
def test_power_cuts_that_cannot_be_tried_are_listed_where_they_may_be_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, may_skip: bool, status: int
) -> None:
    listed = tmp_path / "skipped"
    monkeypatch.setenv("SKIPPED", str(listed))
    assert unavailable("needs root", may_skip=may_skip) == status
    assert listed.exists() is may_skip
    assert not may_skip or listed.read_text() == "power cuts cannot be tried here: needs root\n"
