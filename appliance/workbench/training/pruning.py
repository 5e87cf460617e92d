"""Makes a trained network narrower, several times by different shares, lets each learn on, and measures each."""

import functools
import hashlib
import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

from appliance.config.toml import format_document
from appliance.core.errors import ModelError
from appliance.core.files import make_folder, write_atomically
from appliance.workbench.ledger import Ledger
from appliance.workbench.progress import with_progress
from appliance.workbench.recipe import NetworkRecipe, PruneRecipe, Recipe
from appliance.workbench.training.channels import (
    Rung,
    build_ladder,
    count_costs,
    count_steps,
    cut,
    find_groups,
    find_stops,
    find_widths,
    narrow,
    rank,
)
from appliance.workbench.training.checkpoints import CHECKPOINT_NAME, Checkpoint, read_checkpoint, write_checkpoint
from appliance.workbench.training.corpus import read_corpus
from appliance.workbench.training.loop import Training, Watch
from appliance.workbench.training.network import Network
from appliance.workbench.training.run import export_and_measure, show_steps, tell
from appliance.workbench.training.validation import Validation
from appliance.workbench.training.worth import (
    draw_batches,
    mean_loss,
    measure_harm,
    measure_worth,
    recalibrate,
    training_loss,
)

RECIPE_NAME = "recipe.toml"
_WORTH, _RECALIBRATION, _TRIALS = 1, 2, 3  # what batches are drawn for


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted.

    Attributes:
        recipe: Of the trained network, with `prune`.
        trained: Folder of the run that trained it.
        data: Folder of the corpus.
        device: ``cpu`` or ``cuda``.
        folder: Of this run; made if it is not there.
        resume: Go on with what the folder holds.
        threads: CPU threads.
        max_drop: AP that may be lost, 0..1.
    """

    recipe: Recipe
    trained: Path
    data: Path
    device: str
    folder: Path
    resume: bool
    threads: int
    max_drop: float


class Pruner:
    """Makes and measures the points, each once.

    Args:
        order: What is wanted.
        wanted: Its recipe's `prune`.
        trained: The whole network.
        ledger: Keeps what was found.
        stop: Ends the work after the present step.
    """

    def __init__(
        self, order: Order, wanted: PruneRecipe, trained: Checkpoint, ledger: Ledger, stop: threading.Event
    ) -> None:
        self._order = order
        # the one that it was trained by
        self._recipe = order.recipe.without_quantization().with_iterations(trained.step)
        self._wanted = wanted
        self._state = trained.average
        self._step = trained.step
        self._ledger = ledger
        self._stop = stop
        self._groups = find_groups(order.recipe.network)
        self._stops = {group.name: find_stops(group, wanted) for group in self._groups}
        self._loss = functools.partial(training_loss, recipe=order.recipe.loss)
        self._validation = Validation(order.data, order.folder / "val", order.recipe.labels)
        _say(f"reading {order.data}")
        corpus = read_corpus(order.data, order.recipe.data, order.recipe.labels)
        self._corpus = corpus.to(torch.device(order.device))
        ledger.put("began", {"pictures": len(corpus)})

    def run(self) -> list[dict[str, Any]] | None:
        """Give what is known of each point, the whole network first; None when it was stopped before."""
        if self._stop.is_set():
            return None
        found = [self._as_trained()]
        if found[0]["figures"]["ap"] <= 0:
            raise ModelError(
                f"the network of {self._order.trained} finds nothing in val.json's pictures; train it longer"
            )
        worth = self._worth()
        ladder = None if worth is None else self._ladder(worth)
        if worth is None or ladder is None:
            return None
        for share in self._wanted.shares:
            point = None if self._stop.is_set() else self._point(share, worth, ladder)
            if point is None:
                return None
            found.append(point)
        return found

    def _as_trained(self) -> dict[str, Any]:
        key = "as trained"
        if self._ledger.get(key) is None:
            network = self._network(self._recipe.network, self._state)
            folder = self._order.folder / "as-trained"
            figures = self._measure(network, self._step, self._recipe, folder)
            self._ledger.put(key, self._about(None, self._recipe, folder, figures))
        return dict(self._ledger.get(key))

    def _worth(self) -> Mapping[str, Sequence[float]] | None:
        """Give what each channel is worth; None when it was stopped before all batches were seen."""
        if self._ledger.get("worth") is None:
            network = self._network(self._recipe.network, self._state)
            number = self._wanted.batches
            batches = draw_batches(self._corpus, self._recipe, number, _WORTH)
            shown = with_progress(batches, "what channels are worth", number)
            seen = itertools.takewhile(lambda _: not self._stop.is_set(), shown)
            worth = measure_worth(network, self._groups, seen, self._loss)
            if self._stop.is_set():
                return None
            self._ledger.put("worth", worth)
        return dict(self._ledger.get("worth"))

    def _ladder(self, worth: Mapping[str, Sequence[float]]) -> list[Rung] | None:
        """Give all steps down; None when it was stopped before all groups were tried."""
        unknown = [group for group in self._groups if self._ledger.get(f"harm {group.name}") is None]
        if unknown:
            network = self._network(self._recipe.network, self._state)
            batches = list(draw_batches(self._corpus, self._recipe, self._wanted.trials, _TRIALS))
            loss = functools.partial(mean_loss, batches=batches, loss=self._loss)
            for group in with_progress(unknown, "places, one by one"):
                if self._stop.is_set():
                    return None
                ranked = rank(worth[group.name])
                harm = measure_harm(network, group, ranked, self._stops[group.name], loss)
                self._ledger.put(f"harm {group.name}", harm)
        harm = {group.name: self._ledger.get(f"harm {group.name}") for group in self._groups}
        costs = count_costs(self._recipe.network, len(self._recipe.labels), self._recipe.size)
        return build_ladder(self._groups, self._stops, harm, costs)

    def _point(
        self, share: float, worth: Mapping[str, Sequence[float]], ladder: Sequence[Rung]
    ) -> dict[str, Any] | None:
        """Prune by a share, learn on, measure; None when it was stopped before."""
        key = f"share {share:g}"
        if self._ledger.get(key) is not None:
            return dict(self._ledger.get(key))
        kept = self._choose(share, worth, ladder)
        widths = {name: len(channels) for name, channels in kept.items()}
        recipe = fine_tuning(self._recipe, narrow(self._recipe.network, widths), self._wanted, share)
        folder = self._order.folder / f"share-{share * 100:g}"
        make_folder(folder)
        write_atomically(folder / RECIPE_NAME, to_toml(recipe).encode())
        training = Training(recipe, self._corpus)
        if (folder / CHECKPOINT_NAME).exists():
            training.restore(read_checkpoint(folder, recipe.digest()))
            _say(f"{key}: going on after step {training.step}")
        else:
            write_checkpoint(folder, self._begin(training, recipe, kept))
            training.restore(read_checkpoint(folder, recipe.digest()))
            _say(f"{key}: {recipe.schedule.iterations} steps")
        with show_steps(recipe, training.step) as progress:
            watch = Watch(
                step=progress,
                point=lambda point: tell(folder, training.curve, point),
                checkpoint=lambda checkpoint: write_checkpoint(folder, checkpoint),
                evaluate=lambda network, step: self._measure(network, step, recipe, folder),
            )
            if not training.run(watch, self._stop):
                return None
        self._ledger.put(key, self._about(share, recipe, folder, training.curve[-1]["figures"]))
        return dict(self._ledger.get(key))

    def _choose(
        self, share: float, worth: Mapping[str, Sequence[float]], ladder: Sequence[Rung]
    ) -> dict[str, list[int]]:
        """Give the channels that stay, by group; groups that keep all are left out."""
        network, labels, size = self._recipe.network, len(self._recipe.labels), self._recipe.size
        most = count_steps(network, labels, size)[1] * (1 - share)
        widths = find_widths(
            ladder, self._stops, lambda widths: count_steps(narrow(network, widths), labels, size)[1] <= most
        )
        return {
            group.name: sorted(rank(worth[group.name])[group.width - widths[group.name] :])
            for group in self._groups
            if group.name in widths
        }

    def _begin(self, training: Training, recipe: Recipe, kept: Mapping[str, Sequence[int]]) -> Checkpoint:
        """Give where learning on begins: what is left of the network, with statistics of its own."""
        network = self._network(recipe.network, cut(self._state, self._groups, kept))
        number = self._wanted.recalibration
        batches = draw_batches(self._corpus, recipe, number, _RECALIBRATION)
        recalibrate(network, with_progress(batches, "recalibration", number))
        state = network.state_dict()
        return replace(training.checkpoint(), network=state, average=state)

    def _network(self, shape: NetworkRecipe, state: Mapping[str, Any]) -> Network:
        network = Network(shape, len(self._recipe.labels))
        network.load_state_dict(state)
        network.to(self._corpus.pixels.device).eval()
        return network

    def _measure(self, network: Network, step: int, recipe: Recipe, folder: Path) -> dict[str, float]:
        make_folder(folder)
        return export_and_measure(
            network, step, recipe, folder, validation=self._validation, threads=self._order.threads
        )

    def _about(self, share: float | None, recipe: Recipe, folder: Path, figures: Mapping[str, float]) -> dict[str, Any]:
        parameters, steps = count_steps(recipe.network, len(recipe.labels), recipe.size)
        model = folder / recipe.name
        content = find_file(model, recipe.name).read_bytes()
        return {
            "share": share,
            "multiply_adds": steps,
            "parameters": parameters,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "model": str(model.relative_to(self._order.folder)),
            "figures": dict(figures),
        }


def fine_tuning(recipe: Recipe, network: NetworkRecipe, wanted: PruneRecipe, share: float) -> Recipe:
    """Give the recipe by which a pruned network learns on: a recipe for itself, whose version says what it is."""
    changed = {
        "iterations": wanted.iterations,
        "learning_rate": wanted.learning_rate,
        "warm_up": wanted.warm_up,
        "evaluate_every": 0,
    }
    return recipe.model_copy(
        update={
            "version": f"{recipe.version}+pruned.{share * 100:g}"[:64],
            "network": network,
            "schedule": recipe.schedule.model_copy(update=changed),
            "prune": None,
            "distillation": None,  # by the labels alone
            "quantize_aware": None,
        }
    )


def to_toml(recipe: Recipe) -> str:
    """Give a recipe as a file that `read_recipe` takes."""
    values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return "\n".join(["# Written by `edgecam-workbench prune`.", *format_document(values)])


def find_file(model: Path, name: str) -> Path:
    """Give the file of weights in a model's folder."""
    return model / f"{name}-fp32.onnx"


def _say(text: str) -> None:
    click.echo(text, err=True)
