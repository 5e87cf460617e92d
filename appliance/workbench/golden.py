"""edgecam-workbench golden: small drawn pictures beside a model, with what it finds in them."""

import json
from pathlib import Path

import click

from appliance.core.command import NumberRange


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="MODEL_FOLDER")
@click.option(
    "--frames",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of PNG files in place of drawn streets; they become part of the model.",
)
@click.option(
    "--iou", type=NumberRange(0.3, 1.0), default=0.8, show_default=True, help="Least overlap of boxes, or areas."
)
@click.option(
    "--score", type=NumberRange(0.0, 0.3), default=0.1, show_default=True, help="Largest difference of scores."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def golden(model: Path, *, frames: Path | None, iou: float, score: float, as_json: bool) -> None:
    """Write MODEL_FOLDER/golden/: pictures, and what each of the model's artifacts finds in them.

    `edgecam model check` then tells on any device whether the model still does there what it did here. A model that
    finds nothing in the pictures that it is sure of is refused: they would prove nothing. So is a classifier or a
    segmentation network that finds the same in all of them; a drawn street is nothing to most: give --frames.
    """
    import cv2

    from appliance.core.manifest import read_manifest
    from appliance.inference.golden import GOLDEN_FOLDER, Tolerance
    from appliance.inference.golden_task import golden_task
    from appliance.workbench.golden_frames import drawn_frames, make_golden, own_frames

    cv2.setNumThreads(1)
    pictures = own_frames(frames) if frames else drawn_frames()
    made = make_golden(model, pictures, Tolerance(iou=iou, score=score))
    target = model / GOLDEN_FOLDER
    task = golden_task(read_manifest(model).task)
    found = {one.sha256: [task.summary(frame) for frame in one.frames] for one in made.artifacts}
    if as_json:
        told = {"folder": str(target), "frames": [one.file for one in made.frames], task.of: found}
        click.echo(json.dumps(told))
        return
    size = sum(one.size for one in made.frames)
    click.echo(f"{target}: {len(made.frames)} pictures, {size} bytes")
    for digest, each in found.items():
        click.echo(f"weights {digest[:12]}: {task.of} {', '.join(map(_shown, each))}")


def _shown(summary: int | str | list[str]) -> str:
    return (" + ".join(summary) or "nothing") if isinstance(summary, list) else str(summary)
