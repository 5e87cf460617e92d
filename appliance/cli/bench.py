"""`edgecam bench`: what each model costs on this device, in each way that can run it."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.configured import load_configured
from appliance.core.command import NumberRange, left_in_order
from appliance.core.errors import ConfigError, ModelError, UnsupportedError

if TYPE_CHECKING:
    from appliance.config import ModelSettings
    from appliance.inference.measuring.comparing import Compared
    from appliance.inference.measuring.request import Candidate
    from appliance.inference.measuring.rounds import Measured


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL|FILE|NAME=FILE|FOLDER…]")
@click.option(
    "--pictures", type=click.Path(path_type=Path), help="A picture or a folder, of which 64 count; else golden frames."
)
@click.option("--threads", metavar="N,N…", help="Numbers of CPU threads to try; else 1, 2, 4 and so on.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Processes a candidate.")
@click.option("--seconds", type=NumberRange(0.0, 60.0), default=0.5, show_default=True, help="Timed in each.")
@click.option("--limit", type=NumberRange(1.0, 3600.0), default=120.0, show_default=True, help="Seconds for each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def bench(
    ctx: click.Context,
    models: tuple[str, ...],
    *,
    pictures: Path | None,
    threads: str | None,
    rounds: int,
    seconds: float,
    limit: float,
    as_json: bool,
) -> None:
    """Time each model on this device: each file, runtime, provider and number of threads that can run it.

    Without a name it is the configured model; of a FOLDER without a manifest it is each file.

    Exit status: 0 every model ran; 65 one at least is broken, 70 one at least cannot run here; 78 there is no such
    model or picture, or it cannot be read.
    """
    from appliance.inference.measuring.comparing import compare
    from appliance.inference.measuring.rounds import Effort, measure_all

    settings = load_configured().model
    candidates = find(settings, models or (settings.use,), pictures, threads)
    before = machine_facts()
    with left_in_order(), progress(len(candidates) * rounds) as on_step:
        measured = measure_all(candidates, Effort(rounds=rounds, seconds=seconds, limit=limit), on_step)
    compared = compare(measured)
    after = machine_facts()
    if as_json:
        rows = [row_facts(*pair) for pair in zip(measured, compared, strict=True)]
        click.echo(json.dumps({"before": before, "after": after, "rows": rows}))
    else:
        show(measured, compared)
        for one, result in zip(measured, compared, strict=True):
            if result.golden:
                click.echo(f"{one.candidate.file.name} by {one.candidate.by}: {result.golden}")
        click.echo(f"\nbefore: {_told(before)}\nafter:  {_told(after)}")
    ctx.exit(tell_refused(measured))


def find(
    settings: "ModelSettings", named: Sequence[str], pictures: Path | None, threads: str | None
) -> list["Candidate"]:
    """Give the candidates of all that was named.

    Raises:
        EdgecamError: A model, file or picture is not there or not accepted.
    """
    from appliance.inference.measuring.here import processors_here, providers_here
    from appliance.inference.measuring.subjects import expand, find_candidates
    from appliance.inference.ways import thread_counts

    counts = _counts(threads) if threads else thread_counts(processors_here())
    shown = _pictures(pictures)
    here = providers_here()
    return [
        candidate
        for one in named
        for use in expand(one)
        for candidate in find_candidates(
            settings.model_copy(update={"use": use}), pictures=shown, here=here, threads=counts
        )
    ]


def _counts(threads: str) -> tuple[int, ...]:
    try:
        counts = tuple(sorted({int(word) for word in threads.split(",")}))
    except ValueError:
        counts = ()
    if not counts or not all(1 <= count <= 64 for count in counts):  # noqa: PLR2004 - as [model] threads accepts
        raise click.BadParameter(
            f"{threads!r} is no list of numbers from 1 to 64, such as 1,2,4", param_hint="--threads"
        )
    return counts


def _pictures(path: Path | None) -> list[Path]:
    if path is None:
        return []
    from appliance.cameras.pictures import ACCEPTED, list_pictures
    from appliance.inference.measuring.request import MOST_PICTURES

    found = list_pictures(path) if path.is_dir() else [path] if path.is_file() else []
    if not found:
        raise ConfigError(f"there is no picture in {path}; accepted: {ACCEPTED}")
    for one in found[:MOST_PICTURES]:
        _check_picture(one)
    return found


def _check_picture(path: Path) -> None:
    """Look at a picture's header; else each model would be told to have failed on it.

    Raises:
        ConfigError: It cannot be read, or is none that is accepted.
    """
    from appliance.cameras.pictures import picture_size
    from appliance.inference.measuring.request import MOST_PICTURE_BYTES, MOST_PICTURE_PIXELS

    try:
        with path.open("rb") as file:
            content = file.read(MOST_PICTURE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the picture {path}: {error.strerror}; remove or replace it") from error
    size = picture_size(content)
    if size is None or len(content) > MOST_PICTURE_BYTES or size[0] * size[1] > MOST_PICTURE_PIXELS:
        raise ConfigError(
            f"{path} is no picture that can be shown; accepted: JPEG, PNG, BMP or WebP up to "
            f"{MOST_PICTURE_BYTES >> 20} MiB and {MOST_PICTURE_PIXELS // 1_000_000} megapixels; remove or replace it"
        )


def progress(total: int) -> AbstractContextManager[Callable[["Candidate"], None]]:
    """Give what is to be called after each process; it moves a bar on standard error when a person looks at it."""
    if not sys.stderr.isatty():
        return nullcontext(lambda _: None)
    return _Bar(total)


class _Bar(AbstractContextManager[Callable[["Candidate"], None]]):
    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("measuring", total=total)

    def __enter__(self) -> Callable[["Candidate"], None]:
        self._progress.start()
        return lambda candidate: self._progress.update(self._task, advance=1, description=candidate.file.name)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def machine_facts() -> dict[str, Any]:
    """Give temperature, throttling, clock and load of this moment; None where the machine does not tell."""
    from appliance.core.machine import read_frequency, read_machine

    machine = read_machine(Path("/"))
    return {
        "temperature_c": machine.temperature_c,
        "throttled": None if machine.throttled is None else list(machine.throttled),
        "clock_mhz": read_frequency(),
        "load": round(machine.load, 2),
    }


def _told(facts: dict[str, Any]) -> str:
    temperature, clock, throttled = facts["temperature_c"], facts["clock_mhz"], facts["throttled"]
    parts = [
        "temperature not told" if temperature is None else f"{temperature:.1f} °C",
        "throttling not told" if throttled is None else ", ".join(throttled) or "not throttled",
        "clock not told" if clock is None else f"{clock:.0f} MHz",
        f"load {facts['load']:.1f}",
    ]
    return ", ".join(parts)


def row_facts(one: "Measured", compared: "Compared") -> dict[str, Any]:
    """Give a row as JSON types."""
    facts = one.candidate.facts()
    if one.error:
        return facts | {"error": one.error, "kind": one.kind}
    return facts | {
        "task": one.first.task,
        "decoder_of": one.first.model or None,
        "sha256": one.first.sha256,
        "placements": [{"provider": name, "nodes": nodes} for name, nodes in one.first.placements],
        **{name: round(value, 3) for name, value in one.figures().items()},
        "agreement": None if compared.agreement is None else asdict(compared.agreement),
        "is_reference": compared.is_reference,
        "note": compared.note,
        "golden": compared.golden,
    }


def show(measured: Sequence["Measured"], compared: Sequence["Compared"]) -> None:
    """Print the table of what could be measured."""
    from rich.table import Table

    from appliance.cli.plain import plain_console

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name in ("file", "task", "runtime"):
        table.add_column(name, no_wrap=True)
    for name in ("thr.", "ms", "p50", "p95", "CPU ms", "MB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("agreement")
    for one, result in zip(measured, compared, strict=True):
        if one.error:
            continue
        figures = one.figures()
        told = [f"{figures[name]:.1f}" for name in ("latency_ms", "p50_ms", "p95_ms", "cpu_ms")]
        runtime = f"{one.candidate.format} {one.candidate.by}"
        table.add_row(
            one.candidate.file.name,
            one.first.task,
            runtime,
            str(one.candidate.way.threads),
            *told,
            f"{figures['memory_mb']:.0f}",
            agreement_told(result),
        )
    if table.row_count:
        plain_console(is_wide=True).print(table)


def agreement_told(compared: "Compared") -> str:
    """Give an agreement for the table, short."""
    if compared.golden:
        return "golden frames NOT passed"
    parts = []
    if compared.agreement is not None:
        one = compared.agreement
        of = "pictures" if one.of == "labels" else one.of
        parts.append(f"{one.value:.4f} of outputs" if of == "tensors" else f"{one.value:.2f} of {one.compared} {of}")
    if compared.is_reference:
        parts.append("reference")
    if compared.note:
        parts.append(compared.note)
    return ", ".join(parts)


def _status(kind: str) -> int:
    return ConfigError.exit_code if kind == "ConfigError" else UnsupportedError.exit_code


def tell_refused(measured: Sequence["Measured"]) -> int:
    """Name on standard error what could not be run, a line each; give the exit status."""
    ran = {one.candidate.file for one in measured if not one.error}
    status = 0
    told: set[tuple[Path, str]] = set()
    for one in measured:
        file = one.candidate.file
        if not one.error or (file, one.error) in told:
            continue
        told.add((file, one.error))
        way = f" by {one.candidate.by}" if file in ran else ""
        click.echo(f"edgecam: {file.name}{way} was refused: {one.error}", err=True)
        if file not in ran:
            status = ModelError.exit_code if one.kind == "ModelError" else status or _status(one.kind)
    return status
