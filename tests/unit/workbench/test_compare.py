import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.workbench.main import workbench
from tests.simulators.models import write_yolox, yolox_answer

pytest.importorskip("onnx", reason="needs the onnx package: pip install 'edgecam[workbench]'")
pytest.importorskip("pycocotools", reason="needs pycocotools: pip install 'edgecam[workbench]'")
from tests.simulators import seeing_yolox


def test_models_are_compared_with_the_first_on_the_same_pictures(tmp_path: Path) -> None:
    dataset = seeing_yolox.write_dataset(tmp_path / "judge", range(3))
    seeing = seeing_yolox.write_model(tmp_path / "seeing.onnx")
    blind = write_yolox(tmp_path / "blind.onnx", yolox_answer())
    command = ["compare", f"yolox={seeing}", f"yolox={blind}", "--dataset", str(dataset)]
    result = CliRunner().invoke(workbench, command)
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.output.splitlines() if "|" in line]
    assert [row[0] for row in rows] == ["file", rows[1][0], "seeing.onnx", "blind.onnx"]
    lost = rows[0].index("lost AP")
    assert (rows[2][1], rows[2][lost], rows[3][1], rows[3][lost]) == ("100.0", "0.0", "0.0", "100.0")
    result = CliRunner().invoke(workbench, [*command, "--json", "--limit", "1"])
    said = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["figures"]["ap"] for one in said] == pytest.approx([1.0, 0.0])
    assert said[1]["size"] == blind.stat().st_size
    assert said[0]["pictures"] == 1
