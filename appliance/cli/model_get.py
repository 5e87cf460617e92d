"""`edgecam model get`: brings a well-known detector from its publisher and makes a model of it."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.model_written import drawn_frames, labels_named, models_directory, report
from appliance.core.command import left_in_order
from appliance.core.errors import ModelError

if TYPE_CHECKING:
    from appliance.inference.adding.catalogue import Catalogue, Entry


@click.command("get")
@click.argument("name", required=False)
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to; else the first of [model] directories.",
)
@click.option("--replace", "is_replaced", is_flag=True, help="Take the place of a model of this name.")
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Another catalogue; its addresses may be http:// of this machine.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, or the catalogue as an array.")
def get_model(
    name: str | None, *, directory: Path | None, is_replaced: bool, catalogue: Path | None, as_json: bool
) -> None:
    """Bring the detector NAME from its publisher, check it, and make a model of it; without NAME list them.

    A download that was cut goes on where it was with the same command. Nothing is loaded before its SHA-256 is that of
    the catalogue.

    Exit status: 0 it is there; 2 there is no such detector; 65 what came is another file; 69 its server cannot be
    reached; 74 the disk; 78 no folder for models, or the name is taken.
    """
    from appliance.inference.adding.catalogue import read_catalogue

    known = read_catalogue(catalogue)
    if name is None:
        _list(known, as_json=as_json)
        return
    if name not in known.models:
        raise click.BadParameter(f"no detector is called {name!r}; known: {', '.join(known.models)}", param_hint="NAME")
    _get(
        name,
        known.models[name],
        directory,
        is_replaced=is_replaced,
        may_be_local=catalogue is not None,
        as_json=as_json,
    )


def _get(
    name: str, entry: "Entry", directory: Path | None, *, is_replaced: bool, may_be_local: bool, as_json: bool
) -> None:
    import cv2

    from appliance.cli.configured import load_configured
    from appliance.core.download import Wanted, download
    from appliance.inference.adding.writing import check_free, check_room

    settings = load_configured().model
    cv2.setNumThreads(settings.threads)
    place = models_directory(settings, directory)
    check_free(place, name, replace=is_replaced)
    check_room(place, 2 * entry.most)  # the download, and the model beside it
    file = place / f".{name}.{entry.format}"
    wanted = Wanted(entry.url, entry.sha256, entry.most, entry.size, may_be_local=may_be_local)
    with left_in_order():
        with _bar(name, is_quiet=as_json) as progress:
            download(wanted, file, progress)
        try:
            folder, found_out, frames = _written(name, entry, file, place, is_replaced=is_replaced)
        finally:
            file.unlink(missing_ok=True)
    report(folder, frames, found_out, threads=settings.threads, as_json=as_json)


def _written(
    name: str, entry: "Entry", file: Path, place: Path, *, is_replaced: bool
) -> tuple[Path, dict[str, Any], list[Any]]:
    """Make a model of a file that was verified."""
    from appliance.inference.adding.deciding import Wishes
    from appliance.inference.adding.model_file import open_model_file
    from appliance.inference.adding.writing import write_model
    from appliance.inference.folders import find_models

    frames = drawn_frames()
    known = [one.manifest for one in find_models()]
    wishes = Wishes(labels=labels_named("coco80") if entry.labels == "coco80" else None)
    with open_model_file(file, known, frames, size=None, threads=1) as opened:
        if opened.reading.family != entry.family:
            raise ModelError(
                f"{entry.url} is of {opened.reading.family} and not of {entry.family}, as the catalogue says"
            )
        draft = opened.draft(wishes)
        if not draft.labels:
            raise ModelError(f"{entry.url} has no labels in it, as the catalogue says it has")
        source = {"url": entry.project, "notes": f"From {entry.url}"}
        files = opened.folder_files(draft, wishes, name=name, title=entry.title, licence=entry.licence, source=source)
    folder = write_model(place, name, files, replace=is_replaced)
    found_out = {"model": entry.title, "licence": entry.licence, "from": entry.url, "sha256": entry.sha256, "notes": []}
    return folder, found_out, frames


def _list(known: "Catalogue", *, as_json: bool) -> None:
    if as_json:
        entries = [{"name": name, **entry.model_dump()} for name, entry in known.models.items()]
        click.echo(json.dumps(entries))
        return
    from rich.table import Table

    from appliance.cli.plain import plain_console

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for column in ("model", "MB", "mAP", "licence", "what it is"):
        table.add_column(column, no_wrap=True)
    for name, entry in known.models.items():
        size = f"{entry.size / 1e6:.1f}" if entry.size else "-"
        accuracy = f"{entry.expected_map:.1f}" if entry.expected_map is not None else "-"
        table.add_row(name, size, accuracy, entry.licence, entry.title)
    plain_console().print(table)
    click.echo("\nmAP is what the publisher gives, on COCO. Bring one: edgecam model get NAME", err=True)


def _bar(name: str, *, is_quiet: bool) -> AbstractContextManager[Any]:
    """Give what shows how a download gets on: a bar when a person looks at it."""
    if is_quiet or not sys.stderr.isatty():
        return nullcontext(lambda _there, _whole: None)
    return _Bar(name)


class _Bar:
    """A progress bar on standard error."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(name), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(name, total=None)

    def __enter__(self) -> Any:
        self._progress.start()
        return self._update

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _update(self, there: int, whole: int | None) -> None:
        self._progress.update(self._task, completed=there, total=whole)
