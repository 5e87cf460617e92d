"""A file of a family that is known only by what it gives becomes a model that sees what the file sees."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.model import model
from tests.contract.test_families import FILE, PICTURE, dress, undressed
from tests.shared_data import SHARED, needs

PHOTOGRAPHS = sorted(SHARED.glob("eval/**/*.jpg"))[::240]


@needs(FILE, PICTURE, "eval")
@pytest.mark.parametrize("family", ["yolov5", "yolov8", "rows"])
def test_a_file_that_says_nothing_of_itself_is_recognised_and_tried(tmp_path: Path, family: str) -> None:
    path = dress(tmp_path / f"my-{family}", family)
    (tmp_path / "models").mkdir()
    samples = [part for one in (SHARED / PICTURE, *PHOTOGRAPHS) for part in ("--sample", str(one))]
    # the trial tells the scale; the colour sometimes, and where the padding is, never
    given = ["--labels", "coco80", "--fit", "letterbox-topleft", "--min-score", "0.35", "--yes", "--json"]
    arguments = ["add", str(path), "--directory", str(tmp_path / "models"), *samples, *given]
    done = CliRunner().invoke(model, arguments, catch_exceptions=False)
    told = json.loads(done.stdout)["found_out"]
    assert told["decoder"] == family
    assert (told["scale"]["value"], told["scale"]["basis"]) == ("0..255", "tried")
    assert (told["colour"]["value"], told["colour"]["basis"]) in {
        ("bgr", "tried"),
        ("bgr", "assumed"),
        ("rgb", "assumed"),
    }
    alone = [*arguments[:4], "--name", "alone", "--sample", str(SHARED / PICTURE), *given]
    done = CliRunner().invoke(model, [*alone, "--colour", "bgr", "--scale", "0..255"], catch_exceptions=False)
    found = json.loads(done.stdout)["detections"]
    expected = undressed()
    sure = expected.select(expected.scores >= 0.35)
    assert [round(one["score"], 3) for one in found] == pytest.approx(
        [round(float(one), 3) for one in sure.scores], abs=2e-3
    )
