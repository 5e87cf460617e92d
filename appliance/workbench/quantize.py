"""edgecam-workbench quantize: an 8-bit model that was measured before it is written."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.core.command import NumberRange
from appliance.core.errors import UnsupportedError
from appliance.core.files import write_atomically
from appliance.workbench.evaluate import percent
from appliance.workbench.table import markdown

if TYPE_CHECKING:
    from appliance.workbench.quantization import Report

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_WORST = 15  # nodes and tensors shown in the table; --json gives all


@click.command()
@click.argument("model", metavar="NAME|FILE|NAME=FILE")
@click.option("--dataset", type=_FOLDER, required=True, help="Pictures to calibrate on: a folder, or its images/.")
@click.option("--judge", type=_FOLDER, help="Dataset (COCO) to judge on; else --dataset, whose first half judges then.")
@click.option("--drop", type=NumberRange(0.0, 100.0), default=1.0, show_default=True, help="AP that may be lost.")
@click.option(
    "--scheme",
    type=click.Choice(["u8s8", "s8s8", "u8s7"]),
    default="u8s8",
    show_default=True,
    help="Activations and weights: u unsigned, s signed; u8s7 is quicker on x86-64 without VNNI.",
)
@click.option(
    "--calibration",
    type=click.Choice(["minmax", "entropy", "percentile"]),
    default="minmax",
    show_default=True,
    help="How the range of each activation is chosen.",
)
@click.option(
    "--ranges",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="ranges.json that `train` wrote beside MODEL ([quantize_aware]), in place of a calibration.",
)
@click.option("--equalise", is_flag=True, help="Make neighbouring convolutions' weights of alike size first.")
@click.option("--correct-biases", is_flag=True, help="Take off the biases by what 8 bits shift the means.")
@click.option(
    "--steady", is_flag=True, help="Round ranges to a grid: calibrating anew changes little, its delta is small."
)
@click.option("--calibrate-on", type=click.IntRange(1), default=64, show_default=True, help="Pictures, at most.")
@click.option("--quick", type=click.IntRange(1), default=100, show_default=True, help="Pictures during the search.")
@click.option("--limit", type=click.IntRange(1), help="Judge on the first so many pictures only.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Chooses calibration pictures.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="CPU threads.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Else beside FILE: NAME.int8.onnx.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all nodes and tensors.")
def quantize(model: str, *, out: Path | None, drop: float, as_json: bool, **choices: Any) -> None:
    """Make an 8-bit model that loses no more AP than --drop, in at most half the size, or none at all.

    What the search finds is kept in OUT.search.json: a run that was killed goes on there.
    """
    import cv2

    try:
        from appliance.workbench.quantization import Order, quantize_detector
    except ImportError as error:
        raise UnsupportedError(f"quantize needs onnx ({error}); do: pip install 'edgecam[workbench]'") from error

    cv2.setNumThreads(choices["threads"])
    target = out or _beside(model)
    order = Order(model=model, pictures=choices.pop("dataset"), drop=drop / 100, **choices)
    report, content = quantize_detector(order, target.with_name(f"{target.name}.search.json"))
    write_atomically(target, content)
    if as_json:
        click.echo(json.dumps({"out": str(target), **asdict(report)}))
    else:
        _show(report, target)


def _beside(model: str) -> Path:
    from appliance.config import ModelSettings
    from appliance.inference.artifacts import locate_model

    path = locate_model(ModelSettings(use=model)).path
    return path.with_name(f"{path.stem}.int8.onnx")


def _show(report: "Report", target: Path) -> None:
    full = report.variants[0].size
    ranges = (
        "ranges as learned"
        if report.calibration == "learned"
        else f"{report.calibration} on {report.calibrated_on} pictures"
    )
    click.echo(
        f"{report.model}, {report.scheme}, {ranges}; pairs equalised: {report.equalised}, "
        f"biases corrected: {report.corrected}\n"
        f"judged on {report.judged_on} of {report.dataset}; {report.tried} measurements\n"
    )
    rows = [
        (
            one.name,
            percent(one.ap),
            percent(one.ap50),
            str(one.size),
            f"{one.size / full:.2f}",
            f"{one.in_float} of {len(report.nodes)}",
            f"{one.inference_ms:.1f}",
        )
        for one in report.variants
    ]
    click.echo(markdown(("variant", "AP", "AP50", "bytes", "of fp32", "nodes in float", "ms"), rows))
    click.echo(f"\nStayed in float: {', '.join(report.in_float) or 'none'}")
    always = ", ".join(f"{count} {operator}" for operator, count in report.always_float.items())
    click.echo(f"No form in 8 bits: {always or 'none'}\n")
    worst = [(node.name, node.operator, f"{node.alone_db:.1f}") for node in report.nodes[:_WORST]]
    click.echo(markdown(("node", "operator", "SQNR of the outputs when it alone is in 8 bits, dB"), worst))
    noisy = [(name, f"{quality:.1f}") for name, quality in list(report.tensors.items())[:_WORST]]
    click.echo(f"\n{markdown(('tensor', 'its SQNR when all is in 8 bits, dB'), noisy)}\n\nwritten: {target}")
