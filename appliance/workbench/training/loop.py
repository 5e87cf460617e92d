"""The training loop: steps, averaged weights, a curve, and checkpoints from which the same curve goes on."""

import copy
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from appliance.core.errors import ModelError
from appliance.workbench.recipe import Recipe
from appliance.workbench.training.augment import Augmenter
from appliance.workbench.training.checkpoints import Checkpoint
from appliance.workbench.training.corpus import Corpus
from appliance.workbench.training.lessons import Lessons
from appliance.workbench.training.losses import cost
from appliance.workbench.training.network import PIXEL_SCALE, Network, cells
from appliance.workbench.training.start import start_from

_SPREAD = 0x9E3779B97F4A7C15  # 2 ** 64 / golden ratio: seeds of neighbouring steps lie far apart
_SEEDS = 1 << 63
_BATCHES = 4  # that show how the maps of an exported network are spread


@dataclass(frozen=True, slots=True)
class Watch:
    """What a run tells while it goes on.

    Attributes:
        step: Told the number of steps done, after each.
        point: Told each new point of the curve.
        checkpoint: Told where the run stands, every so often.
        evaluate: Gives figures of the averaged weights, for the curve.
    """

    step: Callable[[int], None]
    point: Callable[[dict[str, Any]], None]
    checkpoint: Callable[[Checkpoint], None]
    evaluate: Callable[[nn.Module, int], dict[str, Any]]


class Training:
    """A run of a recipe. Used by one thread.

    Args:
        recipe: What to do.
        corpus: What to learn from, on the device that learns.
        compiled: Compile the network: worth it for long runs on an accelerator.
        network: What learns; None: the recipe's, from random weights.
        lessons: What the recipe's teacher sees in the corpus.
        begun_with: See `Checkpoint`.

    Attributes:
        step: Steps done.
        average: The network with averaged weights.
        curve: A point for every so many steps: step, loss, loss_scores, loss_boxes, rate, pictures_a_second, and
            from time to time figures.
    """

    def __init__(
        self,
        recipe: Recipe,
        corpus: Corpus,
        *,
        compiled: bool = False,
        network: nn.Module | None = None,
        lessons: Lessons | None = None,
        begun_with: str = "",
    ) -> None:
        self._recipe = recipe
        self._corpus = corpus
        self._begun_with = begun_with
        self._device = corpus.pixels.device
        torch.manual_seed(recipe.schedule.seed)
        network = network or Network(recipe.network, len(recipe.labels))
        network = network.to(self._device, memory_format=torch.channels_last)
        self._is_fast = self._device.type == "cuda"
        if self._is_fast:
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")
        self._network = network
        self._forward = torch.compile(network, dynamic=False) if compiled else network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        pairs = zip(self.average.state_dict().values(), network.state_dict().values(), strict=True)
        self._pairs = [(ours, theirs) for ours, theirs in pairs if ours.dtype.is_floating_point]
        self._optimiser = _optimiser(network, recipe)
        self._generator = torch.Generator(device=self._device)
        taught = lessons.to(self._device) if lessons else None
        self._augmenter = Augmenter(corpus, recipe.augment, self._generator, taught)
        self._cells = {size: cells(size, size, self._device) for size in recipe.schedule.sizes}
        self.step = 0
        self.curve: list[dict[str, Any]] = []
        self._sums = torch.zeros(4, dtype=torch.float64, device=self._device)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint was made."""
        self._network.load_state_dict(checkpoint.network)
        self.average.load_state_dict(checkpoint.average)
        self._optimiser.load_state_dict(checkpoint.optimiser)
        self.step = checkpoint.step
        self.curve = [dict(point) for point in checkpoint.curve]
        self._sums.copy_(torch.tensor(checkpoint.sums, dtype=torch.float64))

    def start_from(self, path: Path) -> tuple[str, ...]:
        """Begin with the weights of another run or model; see `start.start_from`.

        Raises:
            ConfigError: It cannot be read, or its network has another shape.
            ModelError: The manifest beside it is not accepted.
            UnsupportedError: The onnx package is missing.
        """
        schedule = self._recipe.schedule
        self._generator.manual_seed(schedule.seed)
        batches = (
            self._augmenter.batch(self._pictures(step), schedule.sizes[-1], late=True) for step in range(_BATCHES)
        )
        pictures = (batch.pictures * PIXEL_SCALE for batch in batches)
        left = start_from(self._network, path, pictures, self._recipe.labels)
        self.average.load_state_dict(self._network.state_dict())
        return left

    def checkpoint(self) -> Checkpoint:
        """Give where the run stands.

        Raises:
            ModelError: The loss or a weight is no number any more; such a run does not go on.
        """
        sums = self._sums.tolist()
        if not (math.isfinite(sums[0]) and self._are_weights_numbers()):
            raise self._no_number()
        return Checkpoint(
            digest=self._recipe.digest(),
            step=self.step,
            network=self._network.state_dict(),
            average=self.average.state_dict(),
            optimiser=self._optimiser.state_dict(),
            curve=self.curve,
            sums=sums,
            begun_with=self._begun_with,
        )

    def run(self, watch: Watch, stop: threading.Event) -> bool:
        """Take the steps that are left; give whether all are done, and not stopped.

        Raises:
            ModelError: The loss is no number any more.
        """
        schedule = self._recipe.schedule
        started, first = time.monotonic(), self.step
        while self.step < schedule.iterations and not stop.is_set():
            self._take_step()
            watch.step(self.step)
            is_last = self.step == schedule.iterations
            if self.step % schedule.log_every == 0 or is_last:
                point = self._point()
                pictures = (self.step - first) * schedule.batch
                point["pictures_a_second"] = round(pictures / (time.monotonic() - started), 1)
                if is_last or (schedule.evaluate_every and self.step % schedule.evaluate_every == 0):
                    point["figures"] = watch.evaluate(self.average, self.step)
                self.curve.append(point)
                watch.point(point)
                started, first = time.monotonic(), self.step
            if self.step % schedule.checkpoint_every == 0 or is_last or stop.is_set():
                watch.checkpoint(self.checkpoint())
        return self.step >= schedule.iterations

    def _take_step(self) -> None:
        schedule = self._recipe.schedule
        self._generator.manual_seed((schedule.seed * _SPREAD + self.step * 0xBF58476D1CE4E5B9) % _SEEDS)
        size = schedule.sizes[self.step % len(schedule.sizes)]
        late = self.step >= schedule.iterations * (1 - schedule.late)
        batch = self._augmenter.batch(self._pictures(self.step), size, late=late)
        for group in self._optimiser.param_groups:
            group["lr"] = rate(self._recipe, self.step)
        self._network.train()
        pictures = batch.pictures * PIXEL_SCALE
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_fast):
            logits, distances = self._forward(pictures)
        recipe = self._recipe
        losses = cost(logits, distances, batch, self._cells[size], recipe.loss, distillation=recipe.distillation)
        self._optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), schedule.most_gradient)
        self._optimiser.step()
        self._follow()
        with torch.no_grad():
            told = (losses.total, losses.scores, losses.boxes, torch.ones_like(losses.total))
            self._sums += torch.stack(told).double()
        self.step += 1

    def _pictures(self, step: int) -> Tensor:
        """Give the numbers of a step's pictures: epochs follow each other, each in an order of its own."""
        order, batch = self._corpus.order, self._recipe.schedule.batch
        first = step * batch
        epochs = range(first // len(order), (first + batch - 1) // len(order) + 1)
        found = []
        for epoch in epochs:
            chance = torch.Generator().manual_seed((self._recipe.schedule.seed + 1) * 1_000_003 + epoch)
            shuffled = torch.randperm(len(order), generator=chance)
            low, high = first - epoch * len(order), first + batch - epoch * len(order)
            found.append(shuffled[max(0, low) : high])
        return order[torch.cat(found).to(self._device)]

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights towards the network's."""
        schedule = self._recipe.schedule
        decay = schedule.ema * (1 - math.exp(-(self.step + 1) / schedule.ema_steps))
        ours, theirs = zip(*self._pairs, strict=True)
        torch._foreach_lerp_(ours, theirs, 1 - decay)

    def _point(self) -> dict[str, Any]:
        total, scores, boxes, steps = self._sums.tolist()
        self._sums.zero_()
        if not math.isfinite(total):
            raise self._no_number()
        return {
            "step": self.step,
            "loss": total / steps,
            "loss_scores": scores / steps,
            "loss_boxes": boxes / steps,
            "rate": rate(self._recipe, self.step - 1),
        }

    def _are_weights_numbers(self) -> bool:
        """Look at all weights, where an accelerator is waited for anyway: a step that spoiled them had a loss still."""
        return bool(torch.stack([each.isfinite().all() for pair in self._pairs for each in pair]).all())

    def _no_number(self) -> ModelError:
        return ModelError(
            f"the loss is no number after step {self.step}; lower schedule.learning_rate (the folder's checkpoint, if "
            "there is one, is from before that)"
        )


def rate(recipe: Recipe, step: int) -> float:
    """Give the learning rate of a step: linear up to the highest, then half a cosine down (arXiv:1608.03983)."""
    schedule = recipe.schedule
    warm_up = min(schedule.warm_up, schedule.iterations // 5)
    if step < warm_up:
        return schedule.learning_rate * (step + 1) / warm_up
    way = (step - warm_up) / max(1, schedule.iterations - warm_up)
    down = (1 + math.cos(math.pi * way)) / 2
    return schedule.learning_rate * (schedule.final_rate + (1 - schedule.final_rate) * down)


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    decayed = [one for one in network.parameters() if one.ndim > 1]
    kept = [one for one in network.parameters() if one.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.schedule.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.schedule.learning_rate)
