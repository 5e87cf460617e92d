"""How a model is trained: recipe.toml becomes typed values; what is not accepted is told all at once."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from appliance.core.errors import ConfigError
from appliance.core.files import read_bounded
from appliance.core.manifest import Label, Source
from appliance.core.mistakes import parse_toml
from appliance.core.part import Part

MOST_RECIPE_BYTES = 64 << 10
LEAST_RISE = 0.001  # from one share of multiply-adds to the next: they have folders by their per cent
COARSEST = 32  # stride of the network's last map: inputs are multiples of it

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Factor = Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)]
Channels = Annotated[int, Field(ge=4, le=2048, multiple_of=2)]
Pixels = Annotated[int, Field(ge=64, le=1280, multiple_of=COARSEST)]
Inner = tuple[Annotated[int, Field(ge=1, le=2048)], ...]


def _rises(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"the smallest comes first, then the largest: [{span[1]:g}, {span[0]:g}]")
    return span


Span = Annotated[tuple[Factor, Factor], AfterValidator(_rises)]


class Widths(Part):
    """Channels inside the network's parts, where they are not those that follow from the outer ones.

    Attributes:
        stages: For each stage, channels inside each unit's branch; else half of the stage's.
        scores: For each level, channels that each layer of the head's branch for scores gives; else the neck's.
        distances: The same of the branch for distances.
    """

    stages: tuple[Inner, Inner, Inner]
    scores: tuple[Inner, Inner, Inner]
    distances: tuple[Inner, Inner, Inner]


class NetworkRecipe(Part):
    """The network: ShuffleNetV2 (arXiv:1807.11164), a pyramid in both directions, a head with two branches.

    Attributes:
        stem: Channels of the first map.
        stages: Channels of the maps with strides 8, 16 and 32.
        repeats: Units of each stage, the first of which halves the map.
        neck: Channels of the pyramid and the head.
        head_layers: Depthwise separable layers of each branch.
        kernel: Size of the depthwise filters of pyramid and head.
        widths: Of a pruned network, as `edgecam-workbench prune` writes them.
    """

    stem: Channels = 24
    stages: tuple[Channels, Channels, Channels] = (116, 232, 464)
    repeats: tuple[int, int, int] = (4, 8, 4)
    neck: Channels = 96
    head_layers: Annotated[int, Field(ge=1, le=8)] = 2
    kernel: Literal[3, 5, 7] = 5
    widths: Widths | None = None

    @model_validator(mode="after")
    def _has_units(self) -> Self:
        if min(self.repeats) < 1:
            raise ValueError("repeats must be 1 or more each")
        return self

    @model_validator(mode="after")
    def _widths_fit(self) -> Self:
        if self.widths is not None:
            if tuple(map(len, self.widths.stages)) != self.repeats:
                raise ValueError("widths.stages must have a number for each unit of repeats")
            for branches in (self.widths.scores, self.widths.distances):
                if any(len(branch) != self.head_layers for branch in branches):
                    raise ValueError("widths.scores and widths.distances must have a number for each of head_layers")
        return self

    def all_widths(self) -> Widths:
        """Give the widths, also those that follow from the outer channels."""
        if self.widths is not None:
            return self.widths
        first, second, third = (
            (channels // 2,) * repeats for channels, repeats in zip(self.stages, self.repeats, strict=True)
        )
        branch = (self.neck,) * self.head_layers
        return Widths(stages=(first, second, third), scores=(branch,) * 3, distances=(branch,) * 3)


class DataRecipe(Part):
    """What is learned from.

    Attributes:
        long_side: Pictures larger than this are scaled down to it when they are read, pixels.
        repeat: How often pictures whose file name begins so are taken in an epoch; others once.
        pictures: Only so many, spread over the corpus; 0: all.
        street: How many drawn pictures are added.
        street_seed: The first of the drawn streets.
    """

    long_side: Annotated[int, Field(ge=64, le=1280)] = 352
    repeat: dict[str, Annotated[int, Field(ge=1, le=20)]] = Field(default_factory=dict)
    pictures: Annotated[int, Field(ge=0)] = 0
    street: Annotated[int, Field(ge=0, le=10_000)] = 0
    street_seed: Annotated[int, Field(ge=0)] = 1000


class AugmentRecipe(Part):
    """How pictures are varied.

    Attributes:
        mosaic: Share of pictures put together from four.
        mosaic_scale: Smallest and largest scale of a part; 1: the part alone would fill the input.
        scale: The same for pictures that are not put together.
        late_scale: The same towards the end, when nothing is put together.
        stretch: A side is stretched by up to this factor, or shrunk.
        flip: Share that is mirrored.
        light: Share whose brightness, contrast and gamma are changed.
        grey: Share without colour, as infrared cameras give.
        dark: Share that looks as at night: little light, much noise.
        noise: Largest standard deviation of noise, 0..255.
        least_visible: An object of which less than this share is left in the picture is neither looked for nor denied.
    """

    mosaic: Share = 0.6
    mosaic_scale: Span = (0.35, 1.1)
    scale: Span = (0.6, 1.5)
    late_scale: Span = (0.85, 1.15)
    stretch: Annotated[float, Field(ge=1.0, le=2.0)] = 1.2
    flip: Share = 0.5
    light: Share = 0.6
    grey: Share = 0.1
    dark: Share = 0.08
    noise: Annotated[float, Field(ge=0.0, le=64.0)] = 10.0
    least_visible: Share = 0.3


class LossRecipe(Part):
    """What is learned towards.

    Attributes:
        scores: Varifocal (arXiv:2008.13367) or quality focal loss (arXiv:2006.04388).
        boxes: Generalized (arXiv:1902.09630) or distance IoU (arXiv:1911.08287).
        box_weight: Weight of the boxes beside the scores.
        candidates: Cells that an object gets at most.
        alpha: Power of the score in the alignment of a cell with an object (TOOD, arXiv:2108.07755).
        beta: Power of the overlap in it.
    """

    scores: Literal["varifocal", "quality"] = "varifocal"
    boxes: Literal["giou", "diou"] = "giou"
    box_weight: Factor = 2.5
    candidates: Annotated[int, Field(ge=1, le=64)] = 13
    alpha: Annotated[float, Field(ge=0.0, le=4.0)] = 1.0
    beta: Annotated[float, Field(ge=0.5, le=10.0)] = 6.0


class DistillationRecipe(Part):
    """What is learned from another detector (Hinton et al., arXiv:1503.02531): from all its cells, not its detections.

    Attributes:
        teacher: SHA-256 of its weights, so that a recipe means one teacher; the file itself is given to the command.
        scores: Weight of its scores beside the labels.
        boxes: Weight of its boxes.
        least: What it scores lower than this has no box to learn from.
    """

    teacher: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scores: Factor = 1.0
    boxes: Factor = 2.0
    least: Share = 0.1


class ScheduleRecipe(Part):
    """How long and how fast.

    Attributes:
        iterations: Steps of the optimiser (AdamW).
        batch: Pictures of a step.
        sizes: Sizes of the input, one step each in turn, pixels.
        learning_rate: Highest.
        final_rate: Lowest at the end, as a share of the highest; on a cosine between them.
        warm_up: Steps to the highest.
        weight_decay: Of convolutions' weights alone.
        late: Share of the steps at the end without mosaic.
        ema: Decay of the averaged weights, which are those that are evaluated and exported.
        ema_steps: In which that decay grows from 0 to (almost) its full size; a short run wants few.
        most_gradient: Longest gradient; longer ones are shortened.
        seed: Of everything that is left to chance.
        checkpoint_every: Steps between checkpoints.
        evaluate_every: Steps between evaluations; 0: only at the end.
        log_every: Steps between points of the curve.
    """

    iterations: Annotated[int, Field(ge=1, le=10_000_000)]
    batch: Annotated[int, Field(ge=1, le=4096)]
    sizes: Annotated[tuple[Pixels, ...], Field(min_length=1, max_length=8)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 2e-3
    final_rate: Share = 0.02
    warm_up: Annotated[int, Field(ge=0)] = 500
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    late: Share = 0.1
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9998
    ema_steps: Annotated[int, Field(ge=1)] = 2000
    most_gradient: Annotated[float, Field(gt=0.0, le=1000.0)] = 20.0
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 1
    checkpoint_every: Annotated[int, Field(ge=1)] = 500
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    log_every: Annotated[int, Field(ge=1)] = 50


class QuantizeAwareRecipe(Part):
    """How the trained network learns to be in 8 bits, after the schedule; without this table it does not.

    Normalisations are folded from the first step on, the input has the recipe's size, and nothing is put together.

    Attributes:
        iterations: Steps.
        learning_rate: Highest; it falls as in the schedule.
        warm_up: Steps to the highest.
        observe: Share of the steps in which the ranges of the activations follow what is seen; then they stay.
        smoothing: Share of a range that stays from step to step; `inertia` in older recipes.
    """

    iterations: Annotated[int, Field(ge=1, le=1_000_000)]
    learning_rate: Annotated[float, Field(gt=0.0, le=0.1)] = 1e-4
    warm_up: Annotated[int, Field(ge=0)] = 100
    observe: Share = 0.5
    smoothing: Annotated[float, Field(ge=0.0, lt=1.0, validation_alias=AliasChoices("smoothing", "inertia"))] = 0.98


class PruneRecipe(Part):
    """How a trained network is made smaller, and what it may lose.

    Attributes:
        shares: Of the multiply-adds that go, 0..0.9, rising: a network each. 0: nothing goes, but that network learns
            on like the others, so that what pruning costs is not hidden by what learning on brings.
        iterations: Steps that each learns on for.
        learning_rate: Highest; the rest of the schedule is as in training.
        warm_up: Steps to the highest.
        batches: So many of the schedule's batches tell which channels of a place are worth least.
        trials: On so many each place is tried with ever fewer channels.
        recalibration: So many tell the normalisations of a pruned network what its maps look like.
        least: Share of the channels that stays in each place.
        multiple: Channels that stay are a multiple of this, as processors calculate so many at once.
        max_drop: AP that may be lost, 0..100.
    """

    shares: Annotated[
        tuple[Annotated[float, Field(ge=0.0, le=0.9)], ...],
        Field(min_length=1, max_length=16),
    ] = (0.0, 0.1, 0.2, 0.3, 0.45)
    iterations: Annotated[int, Field(ge=1, le=10_000_000)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 5e-4
    warm_up: Annotated[int, Field(ge=0)] = 100
    batches: Annotated[int, Field(ge=1, le=10_000)] = 32
    trials: Annotated[int, Field(ge=1, le=1000)] = 4
    recalibration: Annotated[int, Field(ge=1, le=10_000)] = 32
    least: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    multiple: Annotated[int, Field(ge=2, le=64, multiple_of=2)] = 8
    max_drop: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0

    @model_validator(mode="after")
    def _shares_rise(self) -> Self:
        if any(after - before < LEAST_RISE for before, after in itertools.pairwise(self.shares)) or not self.shares[-1]:
            raise ValueError(f"shares: each must be larger by {LEAST_RISE} than the one before, and the last above 0")
        return self


class DetectorRecipe(Part):
    """What the manifest says of decoding.

    Attributes:
        min_score: Lowest score of a detection.
        nms_iou: Of two boxes of one class that overlap more than this, the lower score goes.
    """

    min_score: Annotated[float, Field(ge=0.01, le=1.0)] = 0.4
    nms_iou: Annotated[float, Field(ge=0.05, le=1.0)] = 0.6


class Recipe(Part):
    """A model and how it is trained.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        name: Of the model.
        version: Of the model.
        title: One line for people.
        licence: SPDX expression for the weights.
        source: Provenance.
        labels: Names of the classes, as the corpus has them; others are background.
        size: Width and height of the model's input, pixels.
        quantize_aware: How it learns to be in 8 bits, in the end.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+() -]{1,200}$")]
    source: Source
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=1000)]
    size: Pixels
    network: NetworkRecipe = NetworkRecipe()
    data: DataRecipe = DataRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    loss: LossRecipe = LossRecipe()
    distillation: DistillationRecipe | None = None
    schedule: ScheduleRecipe
    quantize_aware: QuantizeAwareRecipe | None = None
    detector: DetectorRecipe = DetectorRecipe()
    prune: PruneRecipe | None = None

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: each must be there once")
        return self

    def with_iterations(self, iterations: int) -> Self:
        """Give the same recipe with another number of steps."""
        schedule = self.schedule.model_copy(update={"iterations": iterations})
        return self.model_copy(update={"schedule": schedule})

    def without_quantization(self) -> Self:
        """Give the recipe of the training in float alone: it stays the same whatever comes thereafter."""
        return self.model_copy(update={"quantize_aware": None})

    def for_quantization(self, aware: QuantizeAwareRecipe) -> Self:
        """Give the recipe of the steps that come thereafter, with a schedule of their own."""
        own = {"iterations": aware.iterations, "learning_rate": aware.learning_rate, "warm_up": aware.warm_up}
        # no decay: folded weights have the size that their normalisation gave them; no mosaic: ranges as in use
        always = {"sizes": (self.size,), "weight_decay": 0.0, "late": 1.0}
        schedule = self.schedule.model_copy(update={**own, **always})
        return self.model_copy(update={"schedule": schedule, "quantize_aware": aware})

    def digest(self) -> str:
        """Give the SHA-256 of all values that are set, but those of `prune`: what a checkpoint belongs to."""
        values = self.model_dump(mode="json", exclude={"prune"}, exclude_none=True)
        if self.quantize_aware is not None:  # as it was called when the first checkpoints were made: they go on
            values["quantize_aware"]["inertia"] = values["quantize_aware"].pop("smoothing")
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ConfigError: It is missing, too large, no TOML, or has entries that are not accepted: all of them in one
            message, a line each with its key path.
    """
    content = read_bounded(path, MOST_RECIPE_BYTES, ConfigError, "a recipe")
    return parse_toml(content, path, Recipe, ConfigError)
