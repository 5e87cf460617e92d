"""edgecam-workbench compare: several detectors on the same pictures, side by side."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.core.command import NumberRange
from appliance.workbench.evaluate import FIGURES, Dataset, measure, percent
from appliance.workbench.table import markdown

if TYPE_CHECKING:
    from appliance.workbench.evaluate import Accuracy


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="NAME|FILE|NAME=FILE…")
@click.option(
    "--dataset",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder with instances.json (COCO) and images/.",
)
@click.option("--min-score", type=NumberRange(0.01, 1.0), default=0.01, show_default=True, help="Lowest score.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many pictures.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each, a line each.")
def compare(
    models: tuple[str, ...], *, dataset: Path, min_score: float, limit: int | None, threads: int, as_json: bool
) -> None:
    """Measure several detectors on the same pictures; the first is what the others are compared with."""
    import cv2

    from appliance.config import ModelSettings
    from appliance.inference.artifacts import locate_model
    from appliance.inference.detector import open_detector

    cv2.setNumThreads(threads)
    truth = Dataset(dataset)
    found: list[tuple[str, int, Accuracy]] = []
    for model in models:
        settings = ModelSettings(use=model, threads=threads)
        located = locate_model(settings)
        with open_detector(settings, min_score=min_score, every_class=True) as detector:
            accuracy = measure(detector, truth, limit, title=located.path.name)
        found.append((located.path.name, len(located.content), accuracy))
        if as_json:
            click.echo(json.dumps({"file": str(located.path), "size": len(located.content), **asdict(accuracy)}))
    if not as_json:
        _show(found)


def _show(found: "list[tuple[str, int, Accuracy]]") -> None:
    first = found[0][2]
    rows = [
        (
            name,
            *(percent(accuracy.figures[figure]) for figure in FIGURES),
            f"{(first.figures['ap'] - accuracy.figures['ap']) * 100:.1f}",
            str(size),
            f"{accuracy.inference_ms:.1f}",
        )
        for name, size, accuracy in found
    ]
    click.echo(f"{first.pictures} pictures of {first.dataset}\n")
    click.echo(markdown(("file", *FIGURES, "lost AP", "bytes", "ms"), rows))
