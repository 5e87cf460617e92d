"""`edgecam bench` as an operator meets it: real processes, with small files that are made here."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from appliance.cli.bench import bench
from appliance.core.errors import ConfigError
from tests.shared_data import SHARED, needs
from tests.simulators import tiny_onnx
from tests.simulators.messaging_device import wait_until
from tests.simulators.models import write_folder, write_yolox, yolox, yolox_answer

QUICK = ("--rounds", "1", "--seconds", "0", "--threads", "1")


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(bench, arguments, catch_exceptions=False)


def test_a_folder_of_files_is_one_table_and_a_broken_one_is_one_line_and_the_status(tmp_path: Path) -> None:
    write_yolox(tmp_path / "good.onnx", yolox_answer((0, 2, 0.9)))
    other = tiny_onnx.model({"x": (1, 3, 32, 32)}, {"y": np.zeros((1, 10), np.float32)})
    (tmp_path / "other.onnx").write_bytes(other)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    done = run(str(tmp_path), *QUICK)
    assert done.exit_code == 65
    lines = done.stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["good.onnx", "detect", "onnx"],
        ["other.onnx", "classify?", "onnx"],
    ]
    assert "no decoder known" in lines[2]
    assert lines[-2].startswith("before: ")
    assert [line.split(" was refused: ")[0] for line in done.stderr.splitlines()] == ["edgecam: bad.onnx"]


def test_a_file_may_be_called_anything(tmp_path: Path) -> None:
    write_yolox(tmp_path / "[] [red].onnx", yolox_answer())
    assert run(str(tmp_path), *QUICK).stdout.splitlines()[1].startswith("[] [red].onnx")


def test_every_artifact_of_a_model_has_a_row_with_how_far_it_agrees_with_the_float_one(tmp_path: Path) -> None:
    blind = yolox(yolox_answer())
    folder = write_folder(tmp_path / "mine", {"int8": blind, "fp32": yolox(yolox_answer((0, 2, 0.9)))})
    done = run(str(folder), *QUICK, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    rows = {Path(row["file"]).name: row for row in told["rows"]}
    assert rows["fp32.onnx"]["is_reference"]
    assert rows["int8.onnx"]["agreement"]["value"] == 0.0
    assert rows["int8.onnx"]["agreement"]["of"] == "objects"
    row = rows["fp32.onnx"]
    assert 0.0 < row["p50_ms"] <= row["p95_ms"]
    assert row["cpu_ms"] > 0.0
    assert 30.0 < row["memory_mb"] < 1000.0
    assert {"temperature_c", "throttled", "clock_mhz", "load"} == set(told["before"]) == set(told["after"])


def test_mistakes_are_told_before_anything_is_measured(tmp_path: Path) -> None:
    for threads in ("0", "two", "1,65"):
        assert run("edgecam-nano", "--threads", threads).exit_code == 2
    with pytest.raises(ConfigError, match="no picture"):
        run("edgecam-nano", "--pictures", str(tmp_path))
    with pytest.raises(ConfigError, match="known: "):
        run("no-such-model")
    (tmp_path / "notes.txt").write_text("no model", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"notes\.txt is of no known format; known: \.onnx"):
        run(str(tmp_path / "notes.txt"))
    write_yolox(tmp_path / "a.onnx", yolox_answer())
    with pytest.raises(ConfigError, match="'nothing'; known: "):
        run(f"nothing={tmp_path / 'a.onnx'}")


def test_a_file_that_is_no_picture_is_told_and_not_blamed_on_the_models(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for named in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(ConfigError, match=r"a\.png is no picture that can be shown"):
            run("edgecam-nano", "--pictures", str(named))


@needs("models/nanodet_m_320_coco80.onnx", "models/nanodet_m_320_int8_qdq.onnx")
def test_eight_bits_of_a_real_detector_agree_with_its_float_file() -> None:
    files = [str(SHARED / "models" / name) for name in ("nanodet_m_320_int8_qdq.onnx", "nanodet_m_320_coco80.onnx")]
    done = run(*files, *QUICK, "--json")
    assert done.exit_code == 0
    quantized, plain = json.loads(done.stdout)["rows"]
    assert plain["is_reference"]
    assert quantized["agreement"]["of"] == "objects"
    assert quantized["agreement"]["compared"] >= 10
    assert quantized["agreement"]["value"] >= 0.8
    assert quantized["cpu_ms"] > 1.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_ended_leaves_no_file_and_no_process(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "temporary").mkdir()
    write_yolox(tmp_path / "a.onnx", yolox_answer())
    command = [sys.executable, "-c", "from appliance.cli.main import main; main()", "bench", str(tmp_path / "a.onnx")]
    running = subprocess.Popen(
        [*command, "--seconds", "60", "--threads", "1"],
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # what it told of the pictures is there: it is being timed
        wait_until(lambda: list(tmp_path.glob("temporary/edgecam-measuring-*/0.npz")), "a candidate is timed", 60.0)
        running.send_signal(number)
        assert running.wait(20.0) == 128 + number
    finally:
        running.kill()
        running.wait(20.0)
    assert not list((tmp_path / "temporary").glob("edgecam-measuring-*"))
