"""`edgecam model add`: makes a model of a file, finding out what it expects and gives."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from appliance.cli.model_written import drawn_frames, labels_named, models_directory, report, sample_frames
from appliance.core.command import NumberRange, answered
from appliance.core.manifest import MODEL_NAME, Precision

if TYPE_CHECKING:
    from appliance.inference.adding.deciding import Basis, Draft
    from appliance.inference.adding.model_file import ModelFile

SCALES = ("0..255", "0..1", "-1..1", "imagenet")
FITS = ("letterbox-topleft", "letterbox-centre", "stretch", "crop-centre")
_LICENCE = r"[A-Za-z0-9.+() -]{1,200}"
_SOURCE = r"https://\S{1,490}"
_NO_LICENCE = "NOASSERTION"  # SPDX: nobody has said


def _matching(pattern: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Give a check of an option's text against what a manifest accepts."""

    def check(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(pattern, value):
            raise click.BadParameter(f"{value!r} is not accepted; it must match {pattern}")
        return value

    return check


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line says beside the wishes."""

    directory: Path
    name: str
    licence: str
    source: str
    precision: Precision | None
    is_interactive: bool
    is_agreed: bool


@click.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="The model's name; else the file's.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to; else the first of [model] directories.",
)
@click.option("--labels", metavar="FILE|coco80|coco90", help="Names of its classes, one a line.")
@click.option("--colour", type=click.Choice(["rgb", "bgr"]), help="Order of the channels.")
@click.option("--scale", type=click.Choice(SCALES), help="What a pixel's 0..255 becomes.")
@click.option("--fit", type=click.Choice(FITS), help="How the frame becomes the input.")
@click.option("--size", metavar="WxH", help="Of the input, where the file takes any.")
@click.option("--min-score", type=NumberRange(0.01, 1.0), help="Lowest score of a detection.")
@click.option("--precision", type=click.Choice(get_args(Precision)), help="Of the weights; else as they are.")
@click.option("--licence", metavar="SPDX", callback=_matching(_LICENCE), help="Of the weights.")
@click.option("--source", metavar="URL", callback=_matching(_SOURCE), help="Where it is from: https://…")
@click.option(
    "--sample", "samples", multiple=True, type=click.Path(path_type=Path), metavar="PICTURE", help="To try it on."
)
@click.option("--replace", "is_replaced", is_flag=True, help="Take the place of a model of this name.")
@click.option("--yes", "is_agreed", is_flag=True, help="Ask nothing: take what is likeliest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; asks nothing.")
def add_model(
    file: Path,
    *,
    name: str | None,
    directory: Path | None,
    labels: str | None,
    samples: tuple[Path, ...],
    size: str | None,
    is_replaced: bool,
    is_agreed: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Make a model of FILE, .onnx or .tflite: find out what it expects and gives, and write its manifest.

    What the file does not tell is tried on sample frames, asked for on a terminal, or given by options.

    Exit status: 0 it is written; 2 something has to be given; 65 the file is broken or of no known family; 70 it is of
    a kind that Edgecam does not run; 74 the disk; 78 there is no such file or folder, or the name is taken.
    """
    import cv2

    from appliance.cli.configured import load_configured
    from appliance.inference.adding.deciding import Wishes
    from appliance.inference.adding.model_file import open_model_file
    from appliance.inference.adding.writing import check_free, write_model
    from appliance.inference.folders import find_models

    settings = load_configured().model
    cv2.setNumThreads(settings.threads)
    asked = _Asked(
        directory=models_directory(settings, directory),
        name=_name(name, file),
        licence=rest["licence"] or "",
        source=rest["source"] or "",
        precision=rest["precision"],
        is_interactive=not (is_agreed or as_json) and sys.stdin.isatty() and sys.stderr.isatty(),
        is_agreed=is_agreed,
    )
    check_free(asked.directory, asked.name, replace=is_replaced)
    chosen = {key: rest[key] for key in ("colour", "scale", "fit", "min_score")}
    wishes = Wishes(labels=labels_named(labels) if labels else None, **chosen)
    frames = sample_frames(samples) if samples else drawn_frames()
    known = [one.manifest for one in find_models(settings.directories)]
    with open_model_file(file, known, frames, size=_size(size), threads=settings.threads) as opened:
        draft = _tried(opened, opened.draft(wishes), is_quiet=as_json)
        draft = _agreed(draft, asked)
        facts = _facts(opened, asked)
        files = opened.folder_files(draft, wishes, precision=asked.precision, **facts)
    folder = write_model(asked.directory, asked.name, files, replace=is_replaced)
    report(folder, frames, _found_out(opened, draft), threads=settings.threads, as_json=as_json)


def _name(given: str | None, file: Path) -> str:
    name = given or re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-._")[:64]
    if not re.fullmatch(MODEL_NAME, name):
        raise click.BadParameter(
            f"{name!r} is no name for a model: small letters, digits, '.', '_' and '-', at most 64", param_hint="--name"
        )
    return name


def _size(given: str | None) -> tuple[int, int] | None:
    if given is None:
        return None
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", given)
    if found is None:
        raise click.BadParameter(f"{given!r} is no size; give it as 640x480", param_hint="--size")
    return int(found[1]), int(found[2])


def _tried(opened: "ModelFile", draft: "Draft", *, is_quiet: bool) -> "Draft":
    """Try what nobody has said, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    inputs = opened.inputs_to_try(draft)
    if len(inputs) < 2:  # noqa: PLR2004 - one way leaves nothing to compare
        return draft
    outcomes = opened.try_inputs(draft, inputs)
    if sys.stderr.isatty() and not is_quiet:
        outcomes = iter(track(outcomes, "trying", total=len(inputs), console=Console(stderr=True), transient=True))
    return opened.weigh(draft, list(outcomes))


def _agreed(draft: "Draft", asked: _Asked) -> "Draft":
    """Ask for what is not known, or refuse to guess where nobody can be asked and nobody agreed to it."""
    if not draft.labels and not asked.is_interactive:
        count = draft.reading.classes
        raise click.UsageError(
            f"its {count or ''} labels are nowhere in the file".replace("  ", " ")
            + "; give a text file with one a line: --labels FILE, or coco80, coco90"
        )
    if asked.is_interactive:
        with answered(
            "what the file does not tell", "give it: --labels, --colour, --scale; or take what is likeliest: --yes"
        ):
            return _asked_for(draft)
    guessed = [key for key in ("labels", "colour", "scale") if draft.basis[key] == "assumed"]
    if guessed and not asked.is_agreed:
        values = {"colour": draft.input.colour, "scale": _scale(draft), "labels": f"COCO's {len(draft.labels)}"}
        told = ", ".join(f"--{key} (likeliest: {values[key]})" for key in guessed)
        raise click.UsageError(
            f"nothing tells its {', '.join(guessed)}; give {told}, or --yes to take what is likeliest"
        )
    return draft


def _asked_for(draft: "Draft") -> "Draft":
    from appliance.inference.adding.trial import numbers_of

    basis: dict[str, Basis] = dict(draft.basis)
    labels, spec = draft.labels, draft.input
    if basis["labels"] == "assumed":
        default = "coco80" if draft.labels else None
        many = f"{draft.reading.classes} classes" if draft.reading.classes else "classes"
        given = click.prompt(f"Labels of its {many}: FILE, coco80 or coco90", default=default, err=True)
        labels, basis["labels"] = labels_named(given), "given"
    if basis["colour"] == "assumed":
        colour = click.prompt("Order of the channels", default=spec.colour, type=click.Choice(["rgb", "bgr"]), err=True)
        if colour != spec.colour:
            spec = spec.model_copy(update={"colour": colour, "mean": spec.mean[::-1], "std": spec.std[::-1]})
        basis["colour"] = "given"
    if basis["scale"] == "assumed":
        given = click.prompt("A pixel's 0..255 becomes", default=_scale(draft), type=click.Choice(SCALES), err=True)
        mean, std = numbers_of(given, spec.colour)
        spec, basis["scale"] = spec.model_copy(update={"mean": mean, "std": std}), "given"
    return replace(draft, labels=labels, input=spec, basis=basis)


def _facts(opened: "ModelFile", asked: _Asked) -> dict[str, Any]:
    """Give what the manifest says beside the contract."""
    about, reading = opened.about, opened.reading
    notes = f"From {opened.located.path.name}, SHA-256 {opened.located.sha256}."
    title = about.title or f"{reading.family} from {opened.located.path.name}"
    return {
        "name": asked.name,
        "title": title[:200],
        "licence": asked.licence or about.licence or reading.licence or _NO_LICENCE,
        "source": {"url": asked.source or about.url or reading.url, "notes": notes},
    }


def _found_out(opened: "ModelFile", draft: "Draft") -> dict[str, Any]:
    """Give what was found out, and how, as JSON types."""
    from appliance.inference.adding.deciding import TOLD

    picture = opened.seen.picture
    count = sum(1 for label in draft.labels if label)
    values = {"labels": f"{count}", "colour": draft.input.colour, "scale": _scale(draft), "fit": draft.input.fit}
    return {
        "family": opened.reading.family,
        "task": opened.reading.task,
        "decoder": opened.reading.decoder.get("kind", "-"),
        "input": f"{picture.width}x{picture.height} {picture.layout} {picture.spec.dtype}",
        "precision": opened.about.precision,
        **{
            key: {"value": value, "basis": draft.basis[key], "because": TOLD[draft.basis[key]]}
            for key, value in values.items()
        },
        "notes": list(draft.notes),
    }


def _scale(draft: "Draft") -> str:
    from appliance.inference.adding.trial import scale_of

    return (
        "pixels as they are" if draft.input.is_integer and draft.input.quantization is None else scale_of(draft.input)
    )
