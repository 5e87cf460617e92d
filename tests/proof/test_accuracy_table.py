"""The proof of accuracy, and that it fails when it should."""

import json
from pathlib import Path

import pytest

from appliance.workbench.evaluate import Dataset
from tests.proof.accuracy import PICTURES, REFERENCES, Row, main, measure_file, table
from tests.shared_data import SHARED, needs


def test_half_a_point_is_the_most_below_or_above() -> None:
    rows = [Row("some.onnx", ap, 41.6, 64.1, 26.9) for ap in (26.9, 26.4, 27.4, 26.3, 27.5)]
    assert [row.holds for row in rows] == [True, True, True, False, False]
    assert ["NOT KEPT" in table([row]) for row in rows] == [False, False, False, True, True]


@pytest.mark.timeout(600)
@needs(PICTURES, "models/fastestdet_352_coco80.onnx")
def test_fastestdet_finds_what_its_formulas_find_in_numpy_alone() -> None:
    pytest.importorskip("pycocotools")
    row = measure_file(SHARED / "models/fastestdet_352_coco80.onnx", Dataset(SHARED / PICTURES), limit=30)
    assert row.reference > 10.0
    assert row.holds, f"\n{table([row])}"


@needs("models")
def test_every_shared_coco_detector_is_measured() -> None:
    models = {path.name for path in (SHARED / "models").glob("*.onnx") if not path.name.startswith("bad_")}
    assert models <= set(REFERENCES)


def test_where_the_models_are_missing_nothing_is_checked_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.proof.accuracy.SHARED", tmp_path)
    assert main(["--json"]) == 0
    said = capsys.readouterr()
    assert "NOT CHECKED" in said.err
    assert json.loads(said.out) == {"holds": None}


def test_a_folder_that_is_named_must_have_photographs_and_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path)]) == 78
    assert "instances.json" in capsys.readouterr().err
