"""The same photographs on x86-64 and on aarch64: the same detections, within a tolerance that is measured here."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytest

from tests.arm64.agreement import compare
from tests.shared_data import SHARED, needs
from tests.simulators.emulated import Emulated

REPOSITORY = Path(__file__).resolve().parents[2]
SHOWN = {"person", "bicycle", "car", "motorcycle", "bus", "truck"}
LEAST_HEIGHT = 100  # pixels
SIDE = 320  # of both networks' input
# Pixels of the photograph, and score; wider than what was measured: docs/hardware.md. OpenCV scales pictures otherwise
# on aarch64, by a grey level.
AS_THEY_ARE = (5.0, 0.06)

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="compares with x86-64, which this is not"),
    needs("eval/coco_val400", "models/nanodet_m_320_int8_qdq.onnx"),
]


class Asked(NamedTuple):
    """What is asked of a model: of how many photographs, from which score on, and how near where nothing is scaled."""

    photographs: int
    certain: float
    scaled: tuple[float, float]  # pixels, score


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("", Asked(photographs=30, certain=0.5, scaled=(0.01, 0.001))),
        ("nanodet_m_320_int8_qdq.onnx", Asked(photographs=10, certain=0.6, scaled=(2.0, 0.02))),
    ],
    ids=["edgecam-nano", "NanoDet-m int8"],
)
def test_pictures_show_the_same_on_arm64_as_on_x86(
    installed: Emulated, file: str, asked: Asked, request: pytest.FixtureRequest
) -> None:
    inside = {kind: installed.path(f"/{kind}") for kind in ("scaled", "photographs")}
    for folder in inside.values():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for path in _photographs()[: asked.photographs]:
        shutil.copy(path, inside["photographs"])
        square = cv2.resize(cv2.imread(str(path)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(inside["scaled"] / f"{path.stem}.png"), square)
    if file:
        shutil.copy(SHARED / "models" / file, installed.root)
    options = ["--json", "--threads", "1", "--min-score", "0.3"]
    here = _detections(_here(*map(str, inside.values()), *options, *_model(installed.root, file)))
    there_too = [*(f"/{kind}" for kind in inside), *options, *_model(Path("/"), file)]
    told = installed.run("edgecam", "detect", *there_too, within=1500)
    there = _detections(told.stdout)
    for kind, (box, score) in (("scaled", asked.scaled), ("photographs", AS_THEY_ARE)):
        ours, theirs = ({name: all_[name] for name in all_ if name.startswith(kind)} for all_ in (here, there))
        agreement = compare(ours, theirs, certain=asked.certain)
        print(
            f"\n{request.node.callspec.id}, {kind}: {len(ours)} pictures, {agreement.detections} looked for; at most "
            f"{agreement.box:.2f} px and {agreement.score:.5f} of score apart; alone: {agreement.alone or 'none'}"
        )
        assert len(ours) == asked.photographs
        assert agreement.detections >= asked.photographs
        assert agreement.alone == []
        assert agreement.box <= box
        assert agreement.score <= score


def _photographs() -> list[Path]:
    """Give photographs in which there are people or vehicles that are not tiny."""
    folder = SHARED / "eval/coco_val400"
    truth = json.loads((folder / "instances.json").read_text())
    wanted = {one["id"] for one in truth["categories"] if one["name"] in SHOWN}
    objects = [one for one in truth["annotations"] if one["category_id"] in wanted and one["bbox"][3] >= LEAST_HEIGHT]
    shown = {one["image_id"] for one in objects}
    names = sorted(one["file_name"] for one in truth["images"] if one["id"] in shown)
    return [folder / "images" / name for name in names]


def _model(folder: Path, file: str) -> list[str]:
    return ["--model", f"nanodet={folder / file}"] if file else []


def _here(*arguments: str) -> str:
    command = [sys.executable, "-c", "from appliance.cli.main import main; main()", "detect", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _detections(printed: str) -> Mapping[str, list[dict[str, Any]]]:
    records = [json.loads(line) for line in printed.splitlines()]
    return {"/".join(Path(record["source"]).parts[-2:]): record["detections"] for record in records}
