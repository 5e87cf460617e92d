"""The same photographs on x86-64 and on aarch64: the same detections, within a tolerance that is measured here."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.arm64.agreement import compare
from tests.shared_data import SHARED, needs
from tests.simulators.emulated import Emulated

REPOSITORY = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = 24
SHOWN = {"person", "bicycle", "car", "motorcycle", "bus", "truck"}
LEAST_HEIGHT = 100  # pixels
# Seen is less: docs/hardware.md. Kernels of another processor may round otherwise, in 8 bits by a whole step.
BOX_TOLERANCE = 2.0  # pixels of a photograph of 640 x 480 or so
SCORE_TOLERANCE = 0.02

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="compares with x86-64, which this is not"),
    needs("eval/coco_val400", "models/nanodet_m_320_int8_qdq.onnx"),
]


@pytest.mark.parametrize(
    ("file", "precision", "min_score"),
    [("", "int8", 0.3), ("", "fp32", 0.3), ("nanodet_m_320_int8_qdq.onnx", "", 0.35)],
    ids=["edgecam-nano int8", "edgecam-nano fp32", "NanoDet-m int8"],
)
def test_photographs_show_the_same_on_arm64_as_on_x86(
    installed: Emulated, file: str, precision: str, min_score: float, request: pytest.FixtureRequest
) -> None:
    pictures = _photographs()
    inside = installed.path("/photographs")
    inside.mkdir(exist_ok=True)
    for path in [*pictures, *([SHARED / "models" / file] if file else [])]:
        shutil.copy(path, inside if path.suffix == ".jpg" else installed.root)
    options = ["--json", "--threads", "1", "--min-score", str(min_score)]
    options += ["--artifact", precision] if precision else []
    here = _detections(_here(*(str(path) for path in pictures), *options, *(_model(SHARED / "models", file))))
    there = _detections(installed.run("edgecam", "detect", "/photographs", *options, *_model(Path("/"), file)).stdout)
    agreement = compare(here, there, min_score=min_score, score_tolerance=SCORE_TOLERANCE)
    print(
        f"\n{request.node.callspec.id}: {len(here)} photographs, {agreement.detections} detections; at most "
        f"{agreement.box:.2f} px and {agreement.score:.5f} of score apart; alone: {agreement.alone or 'none'}"
    )
    assert agreement.detections >= PHOTOGRAPHS
    assert agreement.alone == []
    assert agreement.box <= BOX_TOLERANCE
    assert agreement.score <= SCORE_TOLERANCE


def _photographs() -> list[Path]:
    """Give photographs in which there are people or vehicles that are not tiny."""
    folder = SHARED / "eval/coco_val400"
    truth = json.loads((folder / "instances.json").read_text())
    wanted = {one["id"] for one in truth["categories"] if one["name"] in SHOWN}
    objects = [one for one in truth["annotations"] if one["category_id"] in wanted and one["bbox"][3] >= LEAST_HEIGHT]
    shown = {one["image_id"] for one in objects}
    names = sorted(one["file_name"] for one in truth["images"] if one["id"] in shown)
    return [folder / "images" / name for name in names[:PHOTOGRAPHS]]


def _model(folder: Path, file: str) -> list[str]:
    return ["--model", f"nanodet={folder / file}"] if file else []


def _here(*arguments: str) -> str:
    command = [sys.executable, "-c", "from appliance.cli.main import main; main()", "detect", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _detections(printed: str) -> Mapping[str, list[dict[str, Any]]]:
    records = [json.loads(line) for line in printed.splitlines()]
    return {Path(record["source"]).name: record["detections"] for record in records}
