"""How long models take beside each other: CPU time of one thread, taken in turns so that all have the same weather."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from appliance.config import ModelSettings
from appliance.inference.artifacts import identify, locate_model
from appliance.inference.preprocess import Preprocessor

_WARM = 3  # runs that do not count: the first ones still allocate


@dataclass(frozen=True, slots=True)
class Timing:
    """What a model takes.

    Attributes:
        cpu_ms: Median CPU time of the network for one picture, milliseconds.
        ratio: To the first model's, the median over the rounds.
    """

    cpu_ms: float
    ratio: float


def time_in_turns(models: Sequence[Path], rounds: int = 100) -> list[Timing]:
    """Time the networks of several models; each of them has its turn in each round.

    Args:
        models: Folders with a manifest, named as the model is; the others are compared with the first.
        rounds: How many.

    Raises:
        ModelError: One cannot be run.
    """
    with ExitStack() as stack:
        ready = []
        for model in models:
            located = locate_model(ModelSettings(use=model.name, directories=(model.parent,), threads=1))
            session = stack.enter_context(closing(located.open(1)))
            resolved = identify(located, session.inputs, session.outputs)
            tensor = Preprocessor(resolved.manifest.input).tensor
            tensor[...] = np.random.default_rng(0).integers(0, 256, tensor.shape)
            ready.append((session, {resolved.binding.input: tensor}))
        taken = np.zeros((rounds + _WARM, len(ready)))
        for number, each in enumerate(taken):
            # another one begins each round, and each runs once untimed: what came before it would be felt, by 10 %
            for at in (*range(number % len(ready), len(ready)), *range(number % len(ready))):
                session, inputs = ready[at]
                session.run(inputs)
                # with one thread the runtime calculates in the one that calls it
                started = time.thread_time_ns()
                session.run(inputs)
                each[at] = (time.thread_time_ns() - started) / 1e6
    counted = taken[_WARM:]
    ratios = counted / counted[:, :1]
    return [Timing(median(counted[:, at].tolist()), median(ratios[:, at].tolist())) for at in range(len(models))]
