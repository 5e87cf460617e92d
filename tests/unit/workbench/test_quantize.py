import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.core.errors import ConfigError, ModelError
from appliance.workbench.main import main, workbench

pytest.importorskip("onnx", reason="needs the onnx package: pip install 'edgecam[workbench]'")
pytest.importorskip("pycocotools", reason="needs pycocotools: pip install 'edgecam[workbench]'")
from appliance.workbench.quantization import Order, Report, choose_pictures, quantize_detector
from appliance.workbench.ranges import write_ranges
from tests.simulators import seeing_yolox


@pytest.fixture
def order(tmp_path: Path) -> Order:
    """A detector that goes blind in 8 bits, and pictures to calibrate and to judge on."""
    model = seeing_yolox.write_model(tmp_path / "seeing.onnx", planted=True, weights_are_inputs=True)
    calibration = seeing_yolox.write_dataset(tmp_path / "calibration", range(100, 108))
    judge = seeing_yolox.write_dataset(tmp_path / "judge", range(6))
    return Order(model=f"yolox={model}", pictures=calibration, judge=judge, quick=3)


def test_the_layers_that_go_blind_stay_in_float_and_are_named(order: Order, tmp_path: Path) -> None:
    report, content = quantize_detector(order, tmp_path / "search.json")
    exact, naive, ours = report.variants
    assert (exact.ap, naive.ap) == (pytest.approx(1.0), pytest.approx(0.0, abs=0.01))
    assert ours.ap >= exact.ap - order.drop
    assert {seeing_yolox.BAD, seeing_yolox.EYE} <= set(report.in_float)
    assert ours.in_float == len(report.in_float) < len(report.nodes)
    assert len(content) == ours.size <= exact.size / 2
    assert report.nodes[0].alone_db == min(node.alone_db for node in report.nodes)


def test_the_same_order_gives_the_same_file_and_report(order: Order, tmp_path: Path) -> None:
    first, second = (quantize_detector(order, tmp_path / f"{name}.json") for name in ("first", "second"))
    assert first[1] == second[1]
    assert without_times(first[0]) == without_times(second[0])


def test_a_search_that_was_killed_goes_on_where_it_was(order: Order, tmp_path: Path) -> None:
    ledger = tmp_path / "search.json"
    whole, content = quantize_detector(order, ledger)
    kept = json.loads(ledger.read_text(encoding="utf-8"))
    (search,) = kept["searches"].values()
    found = list(search["found"].items())
    for key, value in found:
        if key.startswith("accuracy"):
            value["ms"] = 1234.5  # tells what is remembered from what is measured
    search["found"] = dict(found[: len(found) * 2 // 3])
    ledger.write_text(json.dumps(kept), encoding="utf-8")
    again, content_again = quantize_detector(order, ledger)
    assert content_again == content
    assert without_times(again) == without_times(whole)
    assert again.variants[0].inference_ms == 1234.5
    after = json.loads(ledger.read_text(encoding="utf-8"))
    assert [*next(iter(after["searches"].values()))["found"]] == [key for key, _ in found]


def test_a_ledger_that_speaks_of_other_files_is_not_believed(order: Order, tmp_path: Path) -> None:
    ledger = tmp_path / "search.json"
    quantize_detector(order, ledger)
    content = re.sub(r'"sha256": "\w+"', f'"sha256": "{"0" * 64}"', ledger.read_text(encoding="utf-8"))
    ledger.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"search\.json tells of files that are not made any more"):
        quantize_detector(order, ledger)


def test_a_model_that_lost_more_is_refused_and_nothing_is_written(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.onnx"
    model = seeing_yolox.write_model(tmp_path / "hopeless.onnx", hopeless=True)
    command = ["edgecam-workbench", "quantize", f"yolox={model}", "--out", str(out), "--quick", "3"]
    command += ["--dataset", str(order.pictures), "--judge", str(order.judge)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == ModelError.exit_code == 65
    assert "cannot be quantized within 1 AP" in capsys.readouterr().err
    assert not out.exists()


def test_the_command_writes_the_model_and_names_what_stayed_in_float(order: Order, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    command = ["quantize", order.model, "--dataset", str(order.pictures), "--judge", str(order.judge)]
    command += ["--out", str(out), "--quick", "3"]
    result = CliRunner().invoke(workbench, command)
    assert result.exit_code == 0, result.output
    assert f"Stayed in float: {seeing_yolox.BAD}" in result.output or f", {seeing_yolox.BAD}" in result.output
    assert out.exists()
    result = CliRunner().invoke(workbench, [*command, "--json"])
    said = json.loads(result.stdout)
    assert said["variants"][2]["size"] == out.stat().st_size
    assert seeing_yolox.EYE in said["in_float"]
    assert said["tensors"]["eye_8_out"] < said["tensors"]["eye_16_out"]


def test_the_seed_chooses_and_none_of_the_judges_is_calibrated_on(order: Order, tmp_path: Path) -> None:
    both = seeing_yolox.write_dataset(tmp_path / "both", range(20))
    judges = sorted((both / "images").iterdir())[:10]
    few = replace(order, calibrate_on=4)
    chosen = choose_pictures(both, judges, few)
    assert chosen == choose_pictures(both, judges, few) == sorted(chosen)
    assert chosen != choose_pictures(both, judges, replace(few, seed=1))
    copies = seeing_yolox.write_dataset(tmp_path / "copies", range(10))  # the same pictures in another folder
    assert not {path.name for path in choose_pictures(copies, judges[:6], order)} & {path.name for path in judges[:6]}
    with pytest.raises(ConfigError, match="no picture to calibrate on that is not one of those that judge"):
        choose_pictures(copies, judges, order)


def test_without_a_judge_half_of_the_pictures_judge(order: Order, tmp_path: Path) -> None:
    report, _ = quantize_detector(replace(order, judge=None), tmp_path / "search.json")
    assert (report.judged_on, report.calibrated_on) == (4, 4)


def without_times(report: Report) -> Report:
    variants = tuple(replace(variant, inference_ms=0.0) for variant in report.variants)
    return replace(report, variants=variants, tried=0)


def test_equalised_and_corrected_models_are_told_apart_from_plain_ones(order: Order, tmp_path: Path) -> None:
    ledger = tmp_path / "search.json"
    plain, _ = quantize_detector(order, ledger)
    tuned, content = quantize_detector(replace(order, equalise=True, correct_biases=True), ledger)
    assert (plain.equalised, plain.corrected) == (0, 0)
    assert (tuned.equalised, tuned.corrected) == (1, 4)
    assert len(json.loads(ledger.read_text(encoding="utf-8"))["searches"]) == 2
    assert len(content) <= plain.variants[0].size / 2
    assert tuned.variants[2].ap >= tuned.variants[0].ap - order.drop


def test_a_model_with_rounded_ranges_is_told_apart_and_keeps_within_the_drop(order: Order, tmp_path: Path) -> None:
    ledger = tmp_path / "search.json"
    _, content = quantize_detector(order, ledger)
    steady, rounded = quantize_detector(replace(order, steady=True), ledger)
    assert rounded != content
    assert len(json.loads(ledger.read_text(encoding="utf-8"))["searches"]) == 2
    assert steady.variants[2].ap >= steady.variants[0].ap - order.drop


def test_learned_ranges_stand_in_for_a_calibration_and_go_with_nothing_that_changes_weights(
    order: Order, tmp_path: Path
) -> None:
    file = seeing_yolox.write_model(tmp_path / "plain.onnx")
    onnx = pytest.importorskip("onnx")
    names = {output for node in onnx.load(file).graph.node for output in node.output}
    too_wide = write_ranges(file, dict.fromkeys({*names, "images"}, (-1e6, 1e6)))
    plain = replace(order, model=f"yolox={file}", ranges=too_wide)
    report, _ = quantize_detector(plain, tmp_path / "search.json")
    assert (report.calibration, report.calibrated_on) == ("learned", 0)
    assert report.variants[1].ap < 0.01  # blind, as nothing that was calibrated on pictures would be
    assert report.in_float
    with pytest.raises(ConfigError, match="--ranges goes without --equalise and --correct-biases"):
        quantize_detector(replace(plain, equalise=True), tmp_path / "search.json")
    with pytest.raises(ConfigError, match="learned with 8 bits, not 7"):
        quantize_detector(replace(plain, scheme="u8s7"), tmp_path / "search.json")
    with pytest.raises(ConfigError, match="belongs to other weights"):
        quantize_detector(replace(order, ranges=too_wide), tmp_path / "search.json")
