"""edgecam-workbench card: what a model is for and what it is worth, measured, on one page beside it."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.core.errors import ConfigError
from appliance.core.files import make_folder, write_atomically

if TYPE_CHECKING:
    from appliance.inference.artifacts import LocatedModel
    from appliance.workbench.card_text import Measured
    from appliance.workbench.costs import Costs
    from appliance.workbench.evaluate import Dataset

CARD_NAME = "README.md"
PICTURES = "card"  # folder of the pictures, in the model's
_SECTIONS = ("model", "accuracy", "failures", "costs", "method")  # that are measured
_DATASET_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="MODEL_FOLDER")
@click.option("--data", "data", multiple=True, required=True, metavar="NAME=FOLDER", help="A dataset (COCO); several.")
@click.option("--beside", metavar="NAME|FILE|NAME=FILE", help="A model to be timed beside.")
@click.option("--frames", type=click.IntRange(1, 1000), default=60, show_default=True, help="Frames to be timed on.")
@click.option("--keep-times", is_flag=True, help="Leave the section about time and energy as it is.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many pictures of each dataset.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="CPU threads for accuracy.")
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keeps what was measured.  [default: runs/card-NAME.json]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all figures.")
def card(
    model: Path,
    *,
    data: tuple[str, ...],
    beside: str | None,
    frames: int,
    keep_times: bool,
    limit: int | None,
    threads: int,
    ledger: Path | None,
    as_json: bool,
) -> None:
    """Measure the model in MODEL_FOLDER, and write its card: MODEL_FOLDER/README.md.

    Measured sections stand between marks and are replaced; what people write around them is kept. Accuracy that was
    measured of the same weights, pictures and code is taken from the ledger: a run that was stopped goes on there.
    """
    import cv2

    from appliance.workbench.card_measure import measure_card
    from appliance.workbench.card_page import with_sections

    cv2.setNumThreads(threads)
    datasets = _datasets(data)
    command = _command(model, datasets, beside, limit)
    ledger = ledger or Path("runs") / f"card-{model.resolve().name}.json"
    make_folder(ledger.parent)
    page = _page(model)
    with_sections(page, dict.fromkeys(_SECTIONS, ""), str(model / CARD_NAME))  # marks: told before all measuring
    reference = _reference(beside) if beside and not keep_times else None
    measured = measure_card(model, datasets, ledger, command, limit=limit, threads=threads)
    costs = None if keep_times else _costs(model, measured, datasets, reference, frames)
    _write(model, measured, costs, page)
    if as_json:
        click.echo(json.dumps(_values(measured, costs)))
    else:
        _show(model, measured)


def _datasets(data: tuple[str, ...]) -> "dict[str, Dataset]":
    from appliance.workbench.evaluate import Dataset

    datasets = {}
    for one in data:
        name, equals, folder = one.partition("=")
        if not equals or not re.fullmatch(_DATASET_NAME, name) or name in datasets:
            raise click.BadParameter(
                f"{one!r} is not NAME=FOLDER with a name of its own of letters, digits, '.', '_' and '-'",
                param_hint="--data",
            )
        datasets[name] = Dataset(Path(folder))
    return datasets


def _command(model: Path, datasets: "dict[str, Dataset]", beside: str | None, limit: int | None) -> str:
    """Give the command without the places of one machine."""
    words = ["edgecam-workbench", "card", "/".join(model.resolve().parts[-2:])]
    for name in datasets:
        words += ["--data", f"{name}=FOLDER"]
    if beside:
        name, equals, file = beside.partition("=")
        words += ["--beside", f"{name}={Path(file).name}" if equals else Path(beside).name]
    if limit:
        words += ["--limit", str(limit)]
    return " ".join(words)


def _page(model: Path) -> str:
    """Read the card that is there, or begin one with what the manifest says."""
    from appliance.core.manifest import read_manifest
    from appliance.workbench.card_page import new_page

    try:
        return (model / CARD_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        manifest = read_manifest(model)
        known = {"Licences": f"The weights: {manifest.licence}.", "What it learned from": manifest.source.notes}
        if (model / "recipe.toml").is_file():
            known["How it is made"] = "From [recipe.toml](recipe.toml): `edgecam-workbench train`."
        return new_page(f"{manifest.name}: {manifest.title}", known)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {model / CARD_NAME}: {error}") from error


def _reference(beside: str) -> "LocatedModel":
    """Locate the model to be timed beside, and load it once: a mistake is told before all measuring."""
    from appliance.config import ModelSettings
    from appliance.inference.artifacts import locate_model
    from appliance.inference.detector import load_detector

    located = locate_model(ModelSettings(use=beside))
    load_detector(located).close()
    return located


def _costs(
    model: Path, measured: "Measured", datasets: "dict[str, Dataset]", reference: "LocatedModel | None", frames: int
) -> "Costs":
    import cv2

    from appliance.inference.artifacts import read_artifact
    from appliance.workbench.costs import measure_costs
    from appliance.workbench.energy import find_meter
    from appliance.workbench.evaluate import read_frame

    cv2.setNumThreads(1)
    first = next(iter(datasets.values()))
    pictures = [read_frame(path) for _, path in first.pictures(frames)]
    entries = {one.file: one for one in measured.manifest.artifacts}
    models = [read_artifact(model, measured.manifest, entries[one.file]) for one in measured.artifacts]
    return measure_costs(models, reference, pictures, find_meter())


def _write(model: Path, measured: "Measured", costs: "Costs | None", page: str) -> None:
    from appliance.workbench import card_text
    from appliance.workbench.card_page import with_sections
    from appliance.workbench.heatmap import confusion_png

    first = measured.artifacts[0]
    pictures = {name: f"{PICTURES}/confusion-{name}.png" for name in measured.datasets}
    sections = {
        "model": card_text.model_section(measured),
        "accuracy": card_text.accuracy_section(measured),
        "failures": card_text.failure_section(measured, pictures),
        **({"costs": card_text.cost_section(costs)} if costs else {}),
        "method": card_text.method_section(measured),
    }
    text = with_sections(page, sections, str(model / CARD_NAME))
    make_folder(model / PICTURES)
    for name, file in pictures.items():
        write_atomically(model / file, confusion_png(first.judgements[name].confusion, f"{first.file} on {name}"))
    write_atomically(model / CARD_NAME, text.encode())


def _values(measured: "Measured", costs: "Costs | None") -> dict[str, Any]:
    from dataclasses import asdict

    artifacts = [
        {
            **{
                key: getattr(one, key) for key in ("file", "precision", "sha256", "size", "parameters", "multiply_adds")
            },
            "datasets": {name: judgement.as_values() for name, judgement in one.judgements.items()},
        }
        for one in measured.artifacts
    ]
    return {
        "model": measured.manifest.name,
        "version": measured.manifest.version,
        "datasets": dict(measured.datasets),
        "artifacts": artifacts,
        "skipped": dict(measured.skipped),
        "costs": asdict(costs) if costs else None,
        "versions": dict(measured.versions),
    }


def _show(model: Path, measured: "Measured") -> None:
    from appliance.workbench.card_page import unwritten
    from appliance.workbench.evaluate import percent
    from appliance.workbench.table import markdown

    rows = [
        (one.file, name, percent(found.accuracy.figures["ap"]), percent(found.accuracy.figures["ap50"]))
        for one in measured.artifacts
        for name, found in one.judgements.items()
    ]
    click.echo(f"{markdown(('file', 'dataset', 'AP', 'AP50'), rows)}\n\nwritten: {model / CARD_NAME}")
    if headings := unwritten((model / CARD_NAME).read_text(encoding="utf-8")):
        click.echo(f"to be written by hand: {', '.join(headings)}", err=True)
