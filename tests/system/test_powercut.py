"""The power cut search itself: real messaging passes a few cuts, and what breaks its promises on purpose is found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.powercut import kernel
from tests.powercut.cuts import SECTOR, cuts
from tests.powercut.forgetful import ForgetfulDisk
from tests.powercut.judge import Known
from tests.powercut.recorder import FLUSH, MARK, WRITE, Operation
from tests.powercut.recording import make_file_system, missing
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


def write_flushed(path: Path) -> None:
    with path.open("w") as file:
        file.write("before")
        file.flush()
        os.fsync(file.fileno())


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_disk_that_forgets_keeps_what_was_flushed_and_not_what_was_only_written(tmp_path: Path, share: float) -> None:
    image, root = tmp_path / "image", tmp_path / "root"
    make_file_system(image)
    root.mkdir()
    with ForgetfulDisk(image, tmp_path) as disk:
        kernel.mount_image(disk.file, root)
        try:
            write_flushed(root / "flushed")
            (root / "unflushed").write_text("before")
            disk.cut(share, seed=1)
            write_flushed(root / "after")
        finally:
            kernel.unmount(root)
    with image.open("r+b") as file:
        kernel.mount_image(file.fileno(), root)
        try:
            assert {path.name for path in root.iterdir()} == {"lost+found", "flushed"}
            assert (root / "flushed").read_text() == "before"
        finally:
            kernel.unmount(root)


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_of_what_reached_a_disk_that_forgets_and_was_not_flushed_a_cut_leaves_a_share(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(SECTOR * 800))
    with ForgetfulDisk(image, tmp_path) as disk:
        os.pwrite(disk.file, b"a" * SECTOR, 0)
        os.fsync(disk.file)
        for at in range(1, 400):
            os.pwrite(disk.file, b"b" * SECTOR, at * SECTOR)
        assert os.pread(disk.file, 1, SECTOR) == b"b", "it is read as written while the power is there"
        lost = disk.cut(0.3, seed=1)
        os.pwrite(disk.file, b"c" * SECTOR, SECTOR * 500)
        os.fsync(disk.file)
    left = image.read_bytes()
    assert left.startswith(b"a" * SECTOR)
    assert b"c" not in left
    assert lost.writes == 399
    assert lost.lost_bytes == 399 * SECTOR - left.count(b"b")
    assert 80 < left.count(b"b") // SECTOR < 160


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_disk_that_forgets_holds_everything_where_its_power_stays(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(SECTOR))
    with ForgetfulDisk(image, tmp_path) as disk:
        os.pwrite(disk.file, b"a" * SECTOR, 0)
    assert image.read_bytes() == b"a" * SECTOR
