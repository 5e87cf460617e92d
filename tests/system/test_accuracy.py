"""The whole path, as a user runs it, reaches the published accuracy: one wrong step and this fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.workbench.evaluate import Dataset, compare
from tests.shared_data import SHARED, needs

REFERENCE_AP = 0.298  # PicoDet-S 416 on these 400 pictures, pycocotools, scores from 0.01: README beside the pictures
TOLERANCE = 0.005
ROOT = Path(__file__).resolve().parents[2]
EVAL = SHARED / "eval" / "coco_val400"
MODEL = SHARED / "models" / "picodet_s_416_coco80.onnx"


@pytest.mark.timeout(600)
@needs("eval/coco_val400", "models/picodet_s_416_coco80.onnx")
def test_detect_reaches_the_published_accuracy_of_the_best_detector() -> None:
    pytest.importorskip("pycocotools")
    command = [sys.executable, "-c", "from appliance.cli.main import main; main()", "detect", str(EVAL / "images")]
    command += ["--model", str(MODEL), "--min-score", "0.01", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    dataset = Dataset(EVAL)
    ids = {Path(path).name: picture for picture, path in dataset.pictures(None)}
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(Path(record["source"]).name for record in records) == sorted(ids)
    found = [
        {
            "image_id": ids[Path(record["source"]).name],
            "category_id": dataset.categories[one["label"]],
            "bbox": [one["box"][0], one["box"][1], one["box"][2] - one["box"][0], one["box"][3] - one["box"][1]],
            "score": one["score"],
        }
        for record in records
        for one in record["detections"]
    ]
    figures, _ = compare(dataset, found, sorted(ids.values()), dataset.categories)
    assert figures["ap"] >= REFERENCE_AP - TOLERANCE
    assert figures["ap"] <= REFERENCE_AP + TOLERANCE  # more would mean that something else is measured
