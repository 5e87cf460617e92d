"""`edgecam tune`: measures how a model is best run on this device, and has the daemon run it so."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.bench import agreement_told, find, machine_facts, progress
from appliance.cli.configured import load_configured
from appliance.core.command import NumberRange, left_in_order
from appliance.core.errors import ConfigError, StorageError
from appliance.core.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.config import ModelSettings
    from appliance.inference.measuring.tuner import Verdict
    from appliance.inference.tuning import Objective, Tuning

NOT_WITHIN = 1  # exit status


@click.command()
@click.argument("model", required=False, metavar="[MODEL|FOLDER|FILE]")
@click.option(
    "--objective",
    type=click.Choice(["latency", "cpu", "memory"]),
    default="latency",
    show_default=True,
    help="Least of.",
)
@click.option("--pictures", type=click.Path(path_type=Path), help="A picture or a folder; else golden frames.")
@click.option("--threads", metavar="N,N…", help="Numbers of CPU threads to try; else 1, 2, 4 and so on.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="Processes a candidate.")
@click.option("--seconds", type=NumberRange(0.0, 60.0), default=0.5, show_default=True, help="Timed in each.")
@click.option("--limit", type=NumberRange(1.0, 3600.0), default=120.0, show_default=True, help="Seconds for each.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where the choice is stored; else the daemon's.")
@click.option(
    "--verify", is_flag=True, help="Measure again: is the stored choice still the best, by its own objective?"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def tune(
    ctx: click.Context,
    model: str | None,
    *,
    objective: "Objective",
    pictures: Path | None,
    threads: str | None,
    rounds: int,
    seconds: float,
    limit: float,
    state_dir: Path | None,
    verify: bool,
    as_json: bool,
) -> None:
    """Measure how MODEL, else the configured one, is best run on this device, and store it for the daemon.

    A candidate that does not find what the float file finds is refused, however fast it is. The daemon and `edgecam
    detect` use the choice from their next start on, unless the configuration says otherwise.

    Exit status: 0 stored, or with --verify within 1.1 of the best; 1 it is not; 65 nothing may be chosen; 74 it cannot
    be stored; 78 there is no such model.
    """
    from appliance.inference.measuring.rounds import Effort

    settings, state, is_configured = _configured(model, state_dir)
    if not verify:
        _check_writable(state)
    if threads is None and "threads" in settings.model_fields_set:
        threads = str(settings.threads)
    _check_one_model(settings)
    candidates = find(settings, (settings.use,), pictures, threads)
    effort = Effort(rounds=rounds, seconds=seconds, limit=limit, cache=_cache(state))
    with left_in_order(), progress(len(candidates) * rounds) as on_step:
        done = _Run(settings, state, effort, is_configured=is_configured)
        if verify:
            ctx.exit(done.verify(candidates, on_step, as_json=as_json))
        done.tune(candidates, objective, on_step, as_json=as_json)


class _Run:
    def __init__(self, settings: "ModelSettings", state: Path, effort: Any, *, is_configured: bool) -> None:
        self._settings, self._state, self._effort = settings, state, effort
        self._is_configured = is_configured
        self._named = "" if is_configured else f" {settings.use}"

    def tune(self, candidates: Any, objective: "Objective", on_step: Any, *, as_json: bool) -> None:
        from appliance.inference.measuring.tuner import tune
        from appliance.inference.tuning import write_tuning

        before = machine_facts()
        tuning, verdicts = tune(self._settings, candidates, objective, effort=self._effort, on_step=on_step)
        path = write_tuning(self._state, tuning)
        if as_json:
            told = {"stored": str(path), "tuning": tuning.model_dump(mode="json", by_alias=True)}
            click.echo(json.dumps(told | {"before": before, "after": machine_facts(), "rows": _rows(verdicts)}))
            return
        _show(verdicts, tuning)
        click.echo(f"stored in {path}; {self._used()}")

    def _used(self) -> str:
        """Tell what the stored choice is good for."""
        if self._settings.tune == "off":
            return "it is not used: [model] tune is off"
        if not self._is_configured:
            return f"it is used wherever this model is run: [model] use, or --model {self._settings.use}"
        return "the daemon uses it from its next start on: systemctl restart edgecam"

    def verify(self, candidates: Any, on_step: Any, *, as_json: bool) -> int:
        from appliance.inference.measuring.rounds import measure_all
        from appliance.inference.measuring.tuner import FLOOR, chosen, judge_all, pick
        from appliance.inference.tuning import look_up

        tuned = look_up(self._settings, self._state)
        if tuned.state == "off":
            raise ConfigError(f"{tuned.why}: no choice is used, so that there is none to verify")
        if tuned.tuning is None or tuned.state == "stale":
            raise ConfigError(
                f"{tuned.why or 'nothing is stored for this model'}; measure it first: edgecam tune{self._named}"
            )
        verdicts = judge_all(measure_all(candidates, self._effort, on_step), self._settings)
        best, stored = pick(verdicts, tuned.tuning.objective), chosen(verdicts, tuned.tuning.choice)
        if best is None or stored is None:
            raise ConfigError(f"the stored choice cannot be run any more; measure again: edgecam tune{self._named}")
        objective = tuned.tuning.objective
        least = min(one.value(objective) for one in verdicts if not one.refusal)
        ratio = stored.value(objective) / least
        is_within = ratio <= FLOOR and not stored.refusal
        if as_json:
            told = {"ratio": round(ratio, 4), "is_within": is_within, "floor": FLOOR, "rows": _rows(verdicts)}
            click.echo(json.dumps(told))
        else:
            _show(verdicts, tuned.tuning)
            click.echo(
                f"by {objective} the stored choice takes {ratio:.3f} of the best of now; up to {FLOOR} is accepted"
            )
        return 0 if is_within else NOT_WITHIN


def _configured(model: str | None, state_dir: Path | None) -> tuple["ModelSettings", Path, bool]:
    """Give what is said of the model, the state's folder, and whether it is the configured model."""
    configured = load_configured()
    settings = configured.model
    is_configured = model is None or model == settings.use
    if model is not None and not is_configured:
        folder = Path(model).expanduser()
        use = str(folder.resolve()) if folder.is_dir() else model  # one in the working directory looks like a name
        kept = {"use": use, "directories": settings.directories, "tune": settings.tune}
        settings = type(settings).model_validate(kept)  # the rest was said of the configured model
    return settings, state_dir or configured.device.state_dir, is_configured


def _check_one_model(settings: "ModelSettings") -> None:
    """Refuse a folder that is no model: which of its files is to be run nobody would ask for.

    Raises:
        ConfigError: It is one.
    """
    folder = Path(settings.use).expanduser()
    if folder.is_dir() and not (folder / MANIFEST_NAME).is_file():
        raise ConfigError(
            f"{folder} is a folder without a {MANIFEST_NAME}; name a model or a file; edgecam bench measures them all"
        )


def _check_writable(state: Path) -> None:
    """Tell before minutes are spent that the choice could not be stored.

    Raises:
        StorageError: It could not.
    """
    import os

    if not state.is_dir() or not os.access(state, os.W_OK | os.X_OK):
        raise StorageError(
            f"cannot write to {state}, where the state is kept; run it as root or with --state-dir, "
            "or set [device] state_dir"
        )


def _cache(state: Path) -> Path | None:
    """Give the daemon's folder for what is compiled, where it is ours to write to: engines take minutes to build."""
    import os

    return state / "compiled" if state.is_dir() and state.stat().st_uid == os.geteuid() else None


def _rows(verdicts: "Sequence[Verdict]") -> list[dict[str, Any]]:
    from appliance.cli.bench import row_facts

    return [row_facts(one.measured, one.compared) | {"refusal": one.refusal} for one in verdicts]


def _show(verdicts: "Sequence[Verdict]", tuning: "Tuning") -> None:
    from rich.table import Table

    from appliance.cli.plain import plain_console
    from appliance.inference.measuring.tuner import chosen, name

    best = chosen(verdicts, tuning.choice)
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for column in ("", "file", "runs on"):
        table.add_column(column, no_wrap=True)
    for column in ("thr.", "latency ms", "CPU ms", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("agreement")
    for one in verdicts:
        candidate = one.measured.candidate
        figures = {} if one.measured.error else one.measured.figures()
        told = [f"{figures[key]:.1f}" if figures else "" for key in ("latency_ms", "cpu_ms", "memory_mb")]
        mark = "refused" if one.refusal else "best" if one is best else ""
        agreement = "" if one.measured.error else agreement_told(one.compared)
        table.add_row(mark, candidate.file.name, candidate.by, str(candidate.way.threads), *told, agreement)
    plain_console(is_wide=True).print(table)
    for one in verdicts:
        if one.refusal:
            click.echo(f"refused: {name(one)}: {one.refusal}")
    if best is not None:
        click.echo(f"\nby {tuning.objective}: {name(best)}")
