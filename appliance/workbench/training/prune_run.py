"""A run of `edgecam-workbench prune`: what it goes on from, and what becomes of the points that were measured."""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import torch

from appliance import __version__
from appliance.core.errors import ConfigError, StorageError, UnsupportedError
from appliance.core.files import make_folder, write_atomically
from appliance.core.manifest import MANIFEST_NAME
from appliance.workbench.chart import draw_chart
from appliance.workbench.ledger import Ledger
from appliance.workbench.points import Point, choose_point, reference_ap
from appliance.workbench.recipe import PruneRecipe, Recipe
from appliance.workbench.timing import time_in_turns
from appliance.workbench.training.channels import count_steps, find_groups, find_stops, narrow
from appliance.workbench.training.checkpoints import CHECKPOINT_NAME, Checkpoint, digest_weights, read_any_checkpoint
from appliance.workbench.training.pruning import RECIPE_NAME, Order, Pruner, find_file
from appliance.workbench.training.run import stopped_by_signals

LEDGER_NAME = "ledger.json"
CHART_NAME = "curve.svg"
REPORT_NAME = "report.json"


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an order.

    Attributes:
        name: Of the model.
        is_done: All points were measured.
        max_drop: AP that may be lost, 0..1.
        reference: AP that the drop counts from, 0..1; None while it is not known.
        points: The network as it was trained, then those of the recipe's shares; empty while not all are measured.
        chosen: Place of the chosen one in `points`; None where none but the whole network is within the drop.
        model: Folder of the chosen model.
        chart: Picture of the curve.
    """

    name: str
    is_done: bool
    max_drop: float
    reference: float | None = None
    points: tuple[Point, ...] = ()
    chosen: int | None = None
    model: str | None = None
    chart: str | None = None

    def as_values(self) -> dict[str, Any]:
        """Give plain values, as for JSON."""
        return asdict(self)


def prune_network(order: Order) -> Report:
    """Carry out an order; what the folder holds already is not done again.

    Raises:
        ConfigError: The corpus, the trained network or the recipe cannot be used, or the folder holds a run already
            and `resume` was not asked.
        UnsupportedError: There is no such device, or pycocotools is missing.
        StorageError: The folder cannot be written to, or an earlier choice not be removed from it.
        ModelError: The loss is no number any more, or the trained network finds nothing.
    """
    if order.device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError("PyTorch finds no CUDA device here; use --device cpu")
    wanted = order.recipe.prune
    if wanted is None:
        raise ConfigError(
            "the recipe has no table [prune]; add one, with iterations = … and what else docs/pruning.md names"
        )
    trained = _read_trained(order)
    _check_reach(order.recipe, wanted)
    ledger = _open_ledger(order, wanted, trained)
    cv2.setNumThreads(order.threads)
    torch.set_num_threads(order.threads)
    stop = threading.Event()
    with stopped_by_signals(stop):
        found = Pruner(order, wanted, trained, ledger, stop).run()
    if found is None:
        return Report(order.recipe.name, is_done=False, max_drop=order.max_drop)
    report = _finish(order, found)
    write_atomically(order.folder / REPORT_NAME, (json.dumps(report.as_values(), indent=1) + "\n").encode())
    return report


def _read_trained(order: Order) -> Checkpoint:
    checkpoint = read_any_checkpoint(order.trained, "--from takes the folder of a run of `edgecam-workbench train`")
    # a run's --iterations are part of its digest: those of one that is done are its steps
    if checkpoint.digest != order.recipe.without_quantization().with_iterations(checkpoint.step).digest():
        raise ConfigError(
            f"{order.trained} holds no finished run of this recipe, its checkpoint is of step {checkpoint.step}: "
            "let it end with train --resume, or give the recipe that it was made with; only [prune] may differ"
        )
    return checkpoint


def _check_reach(recipe: Recipe, wanted: PruneRecipe) -> None:
    """Refuse, before anything is computed, a share that cannot be reached whatever channels are worth."""
    stops = {group.name: find_stops(group, wanted) for group in find_groups(recipe.network)}
    narrowest = {name: widths[-1] for name, widths in stops.items() if widths}
    whole, least = (
        count_steps(network, len(recipe.labels), recipe.size)[1]
        for network in (recipe.network, narrow(recipe.network, narrowest))
    )
    if (most := 1 - least / whole) < wanted.shares[-1]:
        raise ConfigError(
            f"prune.shares: {wanted.shares[-1]:g} cannot be reached: with least = {wanted.least:g} and multiple = "
            f"{wanted.multiple} at most {most:.3f} of the multiply-adds can go"
        )


def _open_ledger(order: Order, wanted: PruneRecipe, trained: Checkpoint) -> Ledger:
    folder = order.folder
    begun = (folder / LEDGER_NAME).exists() or any(folder.glob(f"share-*/{CHECKPOINT_NAME}"))
    if begun and not order.resume:
        raise ConfigError(f"{folder} holds a run already; go on with --resume, or give another --run")
    make_folder(folder)
    ledger = Ledger(folder / LEDGER_NAME, _about_search(order, wanted, trained))
    if order.resume and ledger.get("began") is None:
        raise ConfigError(
            f"{folder} holds no pruning of this network with this data and [prune]; give the same "
            "(shares and max_drop may differ), or begin again without --resume and with another --run"
        )
    return ledger


def _about_search(order: Order, wanted: PruneRecipe, trained: Checkpoint) -> dict[str, Any]:
    """Give all that a point depends on but its share: another of these is another search."""
    return {
        "network": digest_weights(trained.average),
        "recipe": trained.digest,
        "prune": wanted.model_dump(mode="json", exclude={"shares", "max_drop"}),
        "data": [_digest(order.data / f"{split}.json") for split in ("train", "val")],
        "edgecam": __version__,
        "torch": str(torch.__version__),
    }


def _finish(order: Order, found: Sequence[Mapping[str, Any]]) -> Report:
    """Time all models, choose, write the chosen one, the picture of the curve and the report."""
    folder = order.folder
    models = [folder / str(one["model"]) for one in found]
    for one, model in zip(found, models, strict=True):
        if _digest(find_file(model, order.recipe.name)) != one["sha256"]:
            raise ConfigError(f"{folder / LEDGER_NAME} tells of another file than is in {model}; move {folder} away")
    timings = time_in_turns(models)
    points = tuple(
        Point(
            share=one["share"],
            multiply_adds=one["multiply_adds"],
            parameters=one["parameters"],
            size=one["size"],
            ap=one["figures"]["ap"],
            ap50=one["figures"]["ap50"],
            cpu_ms=round(timing.cpu_ms, 3),
            ratio=round(timing.ratio, 3),
            model=str(model),
        )
        for one, timing, model in zip(found, timings, models, strict=True)
    )
    reference = reference_ap(points)
    chosen = choose_point(points, order.max_drop)
    chart = folder / CHART_NAME
    write_atomically(chart, draw_chart(points, chosen, reference - order.max_drop, order.recipe.name).encode())
    if chosen is None:
        _take_away(folder / order.recipe.name, order.recipe.name)
    else:
        _copy(Path(chosen.model), folder / order.recipe.name)
    return Report(
        name=order.recipe.name,
        is_done=True,
        max_drop=order.max_drop,
        reference=reference,
        points=points,
        chosen=None if chosen is None else points.index(chosen),
        model=None if chosen is None else str(folder / order.recipe.name),
        chart=str(chart),
    )


def _copy(model: Path, target: Path) -> None:
    """Copy a model and the recipe by which its network can be built again; the manifest last."""
    make_folder(target)
    files = [*model.iterdir(), model.parent / RECIPE_NAME]
    for path in sorted(files, key=lambda path: path.name == MANIFEST_NAME):
        write_atomically(target / path.name, path.read_bytes())


def _take_away(target: Path, name: str) -> None:
    """Remove what `_copy` left there for an earlier choice, the manifest first; what others put there stays.

    Nothing is lost: it is a copy of what lies in the folder of its share.
    """
    try:
        for path in (target / MANIFEST_NAME, find_file(target, name), target / RECIPE_NAME):
            path.unlink(missing_ok=True)
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
    except OSError as error:
        raise StorageError(
            f"cannot remove {target}, the model of an earlier choice: {error.strerror}; remove it by hand, it is not "
            "within the drop"
        ) from error


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
