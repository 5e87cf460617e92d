"""Puts together what is known of a network, and says of each property how it is known. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from pydantic import ValidationError

from appliance.core.errors import ModelError
from appliance.core.manifest import InputSpec, ModelManifest, Quantization
from appliance.core.tasks import TABLES
from appliance.inference.adding.about import GAP, About
from appliance.inference.adding.reading import Picture, Reading
from appliance.inference.adding.trial import SCALES, Verdict, numbers_of, scale_of

Basis = Literal["given", "file", "family", "tried", "assumed"]
TOLD: Final[Mapping[Basis, str]] = {
    "given": "you said so",
    "file": "the file says so",
    "family": "its tensors are those of this family",
    "tried": "tried on sample frames",
    "assumed": "assumed: nothing tells",
}
_NUMBERED = {"ssd", "detr", "listed", "rows"}  # decoders whose networks may have classes without a label
_WHOLE = 0.05  # share of a usual range by which a quantized one may miss it
_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the owner says of a network; None: it is to be found out.

    Attributes:
        labels: By the network's own numbers, `GAP` where there is none.
        colour: Order of the channels.
        scale: One of `SCALES`.
        fit: How the frame becomes the input.
        min_score: Lowest score of a detection.
    """

    labels: tuple[str, ...] | None = None
    colour: str | None = None
    scale: str | None = None
    fit: str | None = None
    min_score: float | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """What a network is, as far as it is known.

    Attributes:
        reading: Its family.
        picture: Its input.
        input: How a picture becomes its input.
        labels: By the network's own numbers; empty: nobody knows.
        basis: How each of ``labels``, ``colour``, ``scale`` and ``fit`` is known.
        notes: More on them, a line each.
    """

    reading: Reading
    picture: Picture
    input: InputSpec
    labels: tuple[str, ...]
    basis: Mapping[str, Basis]
    notes: tuple[str, ...] = field(default=())


def draft(reading: Reading, picture: Picture, about: About, wishes: Wishes, coco: tuple[str, ...]) -> Draft:
    """Start from what the owner says, then what the file says, then what is usual in the family.

    Args:
        reading: The family.
        picture: The network's input.
        about: What the file says.
        wishes: What the owner says.
        coco: COCO's 80 labels, for networks that have as many classes.

    Raises:
        ModelError: What the owner or the file says cannot be.
    """
    family: Basis = "family" if reading.is_known else "assumed"
    basis: dict[str, Basis] = {}
    values: dict[str, Any] = {"colour": "rgb", "fit": "stretch", **reading.input}
    for key, given, told in (("colour", wishes.colour, about.colour), ("fit", wishes.fit, about.fit)):
        values[key] = given or told or values[key]
        basis[key] = "given" if given else "file" if told else family
    if picture.channels == 1 or values["colour"] == "grey":
        values["colour"], basis["colour"] = ("grey", "file") if picture.channels == 1 else ("rgb", "assumed")
    _reordered(values, str(reading.input.get("colour", "rgb")))
    basis["scale"] = _scale(values, picture, about, wishes, family)
    size = {"width": picture.width, "height": picture.height, "layout": picture.layout, "dtype": picture.spec.dtype}
    try:
        spec = InputSpec.model_validate({**values, **size})
    except ValidationError as error:
        raise ModelError(f"its input cannot be prepared so: {error.errors()[0]['msg']}") from error
    labels, basis["labels"] = _labels(reading, about, wishes, coco)
    return Draft(reading, picture, spec, labels, basis)


def weigh(draft: Draft, colour: Verdict, scale: Verdict) -> Draft:
    """Take what the trial says where nobody said anything, and note it where it contradicts the family."""
    values = draft.input.model_dump()
    basis, notes = dict(draft.basis), list(draft.notes)
    now = {"colour": str(draft.input.colour), "scale": scale_of(draft.input)}
    for key, verdict in (("colour", colour), ("scale", scale)):
        if basis[key] in {"given", "file"} or not verdict.is_decisive:
            continue
        factor = f"{verdict.ratio:.1f} times as much as the next" if verdict.ratio < 99 else "all that was seen"  # noqa: PLR2004
        if verdict.best == now[key]:
            notes.append(f"{key} {verdict.best}: {factor} on the sample frames")
            basis[key] = "tried" if basis[key] == "assumed" else basis[key]
        elif basis[key] == "family":
            notes.append(
                f"{key}: the family has {now[key]}, but with {verdict.best} it saw {factor}; look at the picture"
            )
        else:
            now[key], basis[key] = verdict.best, "tried"
            notes.append(f"{key} {verdict.best}: {factor} on the sample frames")
    if now["scale"] in SCALES and not draft.input.is_integer:
        values["mean"], values["std"] = numbers_of(now["scale"], now["colour"])
    values["colour"] = now["colour"]
    return replace(draft, input=InputSpec.model_validate(values), basis=basis, notes=tuple(notes))


def to_try(draft: Draft) -> tuple[list[str], list[str]]:
    """Give the colours and scales that nobody said anything of."""
    is_open = {key: draft.basis[key] in {"family", "assumed"} for key in ("colour", "scale")}
    colours = ["rgb", "bgr"] if is_open["colour"] and draft.input.colour != "grey" else []
    scales = list(SCALES) if is_open["scale"] and not draft.input.is_integer else []
    return colours, scales


def manifest_values(draft: Draft, wishes: Wishes, **facts: Any) -> dict[str, Any]:
    """Give the manifest as a table.

    Args:
        draft: What the network is; its labels are known.
        wishes: What the owner says.
        facts: The table's other entries: name, title, licence, source, artifacts.

    Raises:
        ModelError: The labels are not as many as the network's classes, or one is there twice.
    """
    reading = draft.reading
    labels, table = _labelled(draft)
    if wishes.min_score is not None and "min_score" in table:
        table["min_score"] = wishes.min_score
    shape = [1, draft.picture.channels, "height", "width"]
    if draft.picture.layout == "nhwc":
        shape = [1, "height", "width", draft.picture.channels]
    picture = {"shape": shape, "dtype": draft.picture.spec.dtype}
    signature: dict[str, Any] = {"input": picture, "outputs": reading.outputs, "tells_labels": False}
    if reading.constants:
        signature["constants"] = reading.constants
    values = {"schema": 1, "version": "1.0", "task": reading.task, **facts, "labels": labels}
    spec = draft.input.model_dump(mode="json", exclude_defaults=True)
    return {**values, "input": spec, TABLES[reading.task]: table, "signature": signature}


def _labelled(draft: Draft) -> tuple[list[str], dict[str, Any]]:
    """Give the labels without their gaps, and the table that says how the outputs are read, with the labels' numbers.

    Raises:
        ModelError: They are not as many as the network's classes, or one is there twice.
    """
    reading, table = draft.reading, dict(draft.reading.decoder)
    numbers = [at for at, label in enumerate(draft.labels) if label != GAP]
    labels = [draft.labels[at] for at in numbers]
    if reading.task != "detect":
        labels = _told_apart(labels)
        if labels[0].lower() == "background":
            table["background"] = labels[0]
    twice = sorted(label for label, count in Counter(labels).items() if count > 1)
    if twice:
        raise ModelError(f"labels: {', '.join(map(repr, twice[:5]))} there more than once; each must be there once")
    if reading.is_known and tuple(labels) == reading.labels:
        return labels, table
    table.pop("class_numbers", None)
    if reading.classes not in {None, len(draft.labels)}:
        raise ModelError(
            f"there are {len(draft.labels)} labels for {reading.classes} classes; give one for each, a line each"
        )
    if numbers != list(range(len(numbers))):
        if table.get("kind") not in _NUMBERED:
            raise ModelError("every class of this network needs a label; there are lines without one")
        table["class_numbers"] = numbers
    return labels, table


def stand_in(draft: Draft, coco: tuple[str, ...]) -> ModelManifest:
    """Give a manifest to try the network with, whatever its labels are called."""
    count = draft.reading.classes or max(len(draft.labels), 1000)
    labels = coco if draft.reading.is_known and len(coco) == count else tuple(f"class {at}" for at in range(count))
    labels = draft.reading.labels or labels
    values = manifest_values(
        replace(draft, labels=labels), Wishes(), name="trial", title="trial", licence="NONE", source={"url": ""}
    )
    return ModelManifest.model_validate(values)


def _scale(values: dict[str, Any], picture: Picture, about: About, wishes: Wishes, family: Basis) -> Basis:
    """Write mean, std and quantization into the input's table and tell how they are known."""
    colour = values["colour"]
    if picture.spec.dtype in {"uint8", "int8"}:
        quantization = picture.spec.quantization
        for key in {"mean", "std"} & set(values):
            del values[key]
        if quantization is None or _is_whole(quantization, picture.spec.dtype):
            return "file"  # its integers are the pixels themselves
        scale = wishes.scale or "imagenet"
        values["mean"], values["std"] = numbers_of(scale, colour)
        values["quantization"] = quantization.model_dump()
        return "given" if wishes.scale else "assumed"
    if wishes.scale:
        values["mean"], values["std"] = numbers_of(wishes.scale, colour)
        return "given"
    if about.mean is not None and about.std is not None:
        values["mean"], values["std"] = (one * 3 if len(one) == 1 else one for one in (about.mean, about.std))
        return "file"
    return family


def _reordered(values: dict[str, Any], usual: str) -> None:
    """Bring mean and std into the order of the channels that were chosen in place of the family's."""
    if values["colour"] == usual:
        return
    for key in {"mean", "std"} & set(values):
        numbers = list(values[key])
        values[key] = [sum(numbers) / len(numbers)] * 3 if values["colour"] == "grey" else numbers[::-1]


def _told_apart(labels: list[str]) -> list[str]:
    """Number labels that are there more than once, as ImageNet's are: two kinds of crane."""
    seen: Counter[str] = Counter()
    told = []
    for label in labels:
        seen[label] += 1
        told.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return told


def _is_whole(quantization: Quantization, dtype: str) -> bool:
    """Tell whether the integers cover one of the usual ranges, so that each is a pixel's value."""
    first, last = (0, 255) if dtype == "uint8" else (-128, 127)
    low, high = ((one - quantization.zero_point) * quantization.scale for one in (first, last))
    return any(abs(low - a) <= _WHOLE * (b - a) and abs(high - b) <= _WHOLE * (b - a) for a, b in _RANGES)


def _labels(reading: Reading, about: About, wishes: Wishes, coco: tuple[str, ...]) -> tuple[tuple[str, ...], Basis]:
    if wishes.labels is not None:
        return wishes.labels, "given"
    if about.labels and reading.classes in {None, len(about.labels)}:
        return about.labels, "file"
    if reading.labels:
        return reading.labels, "family"
    if reading.classes == len(coco):
        return coco, "assumed"
    return (), "assumed"
