"""Tries a network with its input prepared in several ways: with the right one it sees most, and sees it mirrored too.

How much it sees tells nothing by itself: a network whose input is far too bright is sure of dozens of objects that are
not there. In the mirrored frame it is sure of others.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.frame import Frame
from appliance.core.manifest import InputSpec, ModelManifest
from appliance.core.results import Detections
from appliance.inference.artifacts import LocatedModel, ResolvedModel
from appliance.inference.detector import Detector
from appliance.inference.runtimes import Session
from appliance.inference.signature import bind

SCALES: Final[Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "0..255": ((0.0,), (1.0,)),
    "0..1": ((0.0,), (255.0,)),
    "-1..1": ((127.5,), (127.5,)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""Mean and std of the usual ways to scale pixels, in the order red, green, blue."""

DECISIVE: Final = 1.2
"""So many times as much must one way see as the next for it to be believed."""

_LOWEST = 0.25  # score that counts as something seen
_SAME = 0.6  # IoU from which on two boxes are the same


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a network saw with its input prepared in one way.

    Attributes:
        input: How.
        seen: Products of the scores of what it saw in a frame and in its mirror image too, less the squared scores of
            what it saw in one of them only, on average over the frames; at least 0.
    """

    input: InputSpec
    seen: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the trial says of one property.

    Attributes:
        best: The value that saw most.
        ratio: How many times as much as the next; 1 where there is none.
    """

    best: str
    ratio: float

    @property
    def is_decisive(self) -> bool:
        """It can be believed."""
        return self.ratio >= DECISIVE


def variants(start: InputSpec, colours: Sequence[str], scales: Sequence[str], fits: Sequence[str]) -> list[InputSpec]:
    """Give the ways to prepare an input that differ from `start` in these properties.

    Args:
        start: The likeliest.
        colours: Orders of channels to try; empty: only its own.
        scales: Of `SCALES`, likewise.
        fits: Likewise.
    """
    made = []
    for colour, scale, fit in itertools.product(colours or [start.colour], scales or [""], fits or [start.fit]):
        mean, std = numbers_of(scale, colour) if scale else (start.mean, start.std)
        if not scale and colour != start.colour and "grey" not in {colour, start.colour}:
            mean, std = mean[::-1], std[::-1]
        changed = {**start.model_dump(), "colour": colour, "fit": fit, "mean": mean, "std": std}
        made.append(InputSpec.model_validate(changed))
    return made


def numbers_of(scale: str, colour: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give mean and std of one of `SCALES`, three values each, in the order of the channels."""
    mean, std = (list(values * 3 if len(values) == 1 else values) for values in SCALES[scale])
    if colour == "bgr":
        mean, std = mean[::-1], std[::-1]
    if colour == "grey":
        mean, std = [float(np.mean(mean))] * 3, [float(np.mean(std))] * 3
    return tuple(mean), tuple(std)


def scale_of(spec: InputSpec) -> str:
    """Name how an input scales pixels; ``its own`` where it is none of `SCALES`."""
    for scale in SCALES:
        if np.allclose([spec.mean, spec.std], numbers_of(scale, spec.colour), atol=1e-3):
            return scale
    return "its own"


def try_inputs(
    located: LocatedModel,
    session: Session,
    manifest: ModelManifest,
    inputs: Sequence[InputSpec],
    frames: Sequence[Frame],
) -> Iterator[Outcome]:
    """Run a network on frames with its input prepared in each of these ways; the session stays open.

    Args:
        located: Its file.
        session: The same, loaded.
        manifest: What it is thought to be.
        inputs: The ways.
        frames: The pictures, BGR; with none there is nothing to see.
    """
    for way in inputs:
        tried = manifest.model_copy(update={"input": way})
        binding = bind(tried, session.inputs, session.outputs)
        if binding is None:
            yield Outcome(way, 0.0)
            continue
        model = ResolvedModel(located.path, located.format, located.sha256, binding)
        try:
            detector = Detector(model, session, min_score=_LOWEST)
            seen = [agreement(detector.detect(one), detector.detect(_mirrored(one)), one.width) for one in frames]
        except ModelError:  # nonsense comes out of what was prepared wrongly
            seen = []
        yield Outcome(way, max(0.0, float(np.mean(seen))) if seen else 0.0)


def agreement(found: Detections, mirrored: Detections, width: int) -> float:
    """Tell how much was seen in a frame and in its mirror image alike, less what was seen in one of them only.

    Args:
        found: In the frame.
        mirrored: In its mirror image.
        width: Of both, pixels.
    """
    back = mirrored.boxes.copy()
    back[:, [0, 2]] = width - mirrored.boxes[:, [2, 0]]
    same = overlaps(found.boxes, back) * (found.class_ids[:, None] == mirrored.class_ids[None])
    alike = 0.0
    left = np.ones(len(back), bool)
    for score, row in zip(found.scores.tolist(), same, strict=True):  # best first; each has one partner at the most
        if len(row) and (row * left).max() > _SAME:
            partner = int((row * left).argmax())
            left[partner] = False
            alike += score * float(mirrored.scores[partner])
    whole = (float(np.square(found.scores).sum()) + float(np.square(mirrored.scores).sum())) / 2
    return 2 * alike - whole


def overlaps(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the overlap (IoU) of each of the boxes with each of the others, shape (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None] + (others[:, 2:] - others[:, :2]).prod(axis=1)[None]
    shares: NDArray[np.float32] = common / np.maximum(areas - common, np.float32(1e-6))
    return shares


def _mirrored(frame: Frame) -> Frame:
    """Give the mirror image of a frame of BGR."""
    return replace(frame, image=np.ascontiguousarray(frame.image[:, ::-1]))


def judge(outcomes: Sequence[Outcome], of: Callable[[InputSpec], str]) -> Verdict:
    """Tell which value of one property saw most, whatever the others were.

    Args:
        outcomes: At least one.
        of: Gives the value.
    """
    best: dict[str, float] = {}
    for one in outcomes:
        value = of(one.input)
        best[value] = max(best.get(value, 0.0), one.seen)
    order = sorted(best, key=lambda value: -best[value])
    if len(order) == 1 or best[order[0]] == 0.0:
        return Verdict(order[0], 1.0)
    return Verdict(order[0], min(best[order[0]] / max(best[order[1]], 1e-3), 99.0))
