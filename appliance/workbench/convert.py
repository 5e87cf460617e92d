"""edgecam-workbench convert: one trained network in the formats of other runtimes, compared before it is written."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.core.command import NumberRange
from appliance.core.errors import UnsupportedError
from appliance.workbench.evaluate import percent
from appliance.workbench.table import markdown

if TYPE_CHECKING:
    from appliance.workbench.conversion.run import Report

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_TARGETS = ("tflite", "coreml", "tensorrt", "hailo")
_ON_HARDWARE = {
    "coreml": "checked here; running it needs a Mac: not yet run",
    "tensorrt": "not yet run on hardware",
    "hailo": "not yet run on hardware",
}


@click.command()
@click.argument("model", metavar="NAME|FOLDER|FILE")
@click.option("--dataset", type=_FOLDER, required=True, help="Pictures to calibrate on: a folder, or its images/.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder, named as the model is.")
@click.option("--to", "targets", multiple=True, type=click.Choice(_TARGETS), help="Only this; may be repeated.")
@click.option("--judge", type=_FOLDER, help="Dataset (COCO) to measure AP on; else golden frames alone decide.")
@click.option("--limit", type=click.IntRange(1), help="Judge on the first so many pictures only.")
@click.option(
    "--drop",
    type=NumberRange(0.0, 100.0),
    default=10.0,
    show_default=True,
    help="Detections in the golden frames that may be lost, per cent.",
)
@click.option("--drop-ap", type=NumberRange(0.0, 100.0), default=1.0, show_default=True, help="AP that may be lost.")
@click.option("--calibrate-on", type=click.IntRange(1), default=64, show_default=True, help="Pictures, at most.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Chooses calibration pictures.")
@click.option("--opset", type=click.IntRange(16, 21), default=17, show_default=True, help="Of the ONNX file.")
@click.option(
    "--machine",
    "machines",
    multiple=True,
    type=click.Choice(["aarch64", "x86_64"]),
    help="Kind of processor that .tflite files are for; may be repeated.  [default: any]",
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def convert(model: str, *, dataset: Path, drop: float, drop_ap: float, as_json: bool, **choices: Any) -> None:
    """Make .tflite files, a Core ML package and what TensorRT and Hailo build from, of one trained network.

    All that can run here is compared with the network on its golden frames; where one that was made lost more
    detections than --drop, or more AP than --drop-ap, nothing is written and the exit status is 65.
    """
    import cv2

    try:
        from appliance.workbench.conversion.run import Order, convert_network
    except ImportError as error:
        raise UnsupportedError(f"convert needs onnx ({error}); do: pip install 'edgecam[convert]'") from error

    cv2.setNumThreads(choices["threads"])
    choices["targets"] = choices["targets"] or _TARGETS
    order = Order(model=model, pictures=dataset, drop=drop / 100, drop_ap=drop_ap / 100, **choices)
    report = convert_network(order)
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        _show(report)


def _show(report: "Report") -> None:
    by = f"simplified by {report.simplifier}" if report.simplifier else "not simplified: onnxslim is not installed"
    click.echo(
        f"{report.source}: opset {report.opset}, {report.nodes_before} nodes, now {report.nodes} ({by})\n"
        f"calibrated on {report.calibrated_on} pictures, compared on {report.frames} golden frames"
        + (f", judged on {report.judged_on} pictures" if report.judged_on else "")
        + "\n"
    )
    unknown = ("",) * 5
    rows = [("the network itself", "onnx", "fp32", *unknown, _ap(report.source_ap), f"{report.source_ms:.1f}")]
    for row in report.rows:
        one = row.agreement
        figures = (f"{one.matched} of {one.expected}", str(one.unexpected), f"{max(one.largest):.2g}")
        size = str(row.size) if row.size else ""
        rows.append(
            (row.file, row.runtime, row.precision, size, *figures, f"{one.sqnr_db:.1f}", _ap(row.ap), f"{one.ms:.1f}")
        )
    columns = (
        "file",
        "runtime",
        "precision",
        "bytes",
        "found",
        "not expected",
        "difference",
        "SQNR, dB",
        "AP",
        "ms",
    )
    click.echo(markdown(columns, rows))
    for file, why in report.skipped.items():
        click.echo(f"{file} was not compared: {why}")
    click.echo("")
    for place, state in _ON_HARDWARE.items():
        sizes = [size for file, size in report.made.items() if file.startswith(f"{place}/")]
        if sizes:
            click.echo(f"{report.out}/{place}: {len(sizes)} files, {sum(sizes)} bytes; {state}")
    if report.coreml is not None:
        operators = ", ".join(f"{count} {name}" for name, count in report.coreml.operators.items())
        click.echo(
            f"Core ML specification {report.coreml.version}: {report.coreml.input} -> "
            f"{', '.join(report.coreml.outputs)}; {operators}"
        )
    click.echo(f"written: {report.out}")


def _ap(value: float | None) -> str:
    return "-" if value is None else percent(value)
