"""What a file of weights says of itself, bounded and checked. Pure."""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from appliance.core.manifest import Precision

MOST_LABELS: Final = 2000
MOST_TEXT: Final = 256 << 10  # bytes of one entry; the names of a thousand labels are some 20 KiB
LONGEST_LABEL: Final = 100  # characters; a manifest's. What is longer is cut, at a comma where there is one
LONGEST_LINE: Final = 300  # characters; what is longer is no label but prose
GAP: Final = ""
"""Stands in a list of labels for a number that has none."""

_GAPS = {"", "???", "n/a", "unused", "_"}
_NUMBERED = re.compile(r"(\d{1,5})[\s:,]+(\S.*)")
_WHOLE_SHARE = 0.9  # of the weights: what is left in float is biases and scales

Channels = Literal["bgr", "rgb", "grey"]
Fit = Literal["letterbox-topleft", "letterbox-centre", "stretch", "crop-centre"]


@dataclass(frozen=True, slots=True)
class About:
    """What a file says of itself; what it does not say is empty or None.

    Attributes:
        labels: By the network's own numbers; `GAP` where a number has none.
        colour: Order of the channels.
        fit: How the frame becomes the input.
        mean: Subtracted from each channel, on the 0..255 scale: one value, or three in the order of `colour`.
        std: Divides each channel afterwards.
        task: In the exporter's words: ``detect``, ``segment``, ``pose``.
        size: Width and height of the input in pixels, where the tensors leave them open.
        title: What it is.
        licence: SPDX expression.
        url: Where it is from.
        precision: Of most of its weights.
    """

    labels: tuple[str, ...] = ()
    colour: Channels | None = None
    fit: Fit | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    task: str = ""
    size: tuple[int, int] | None = None
    title: str = ""
    licence: str = ""
    url: str = ""
    precision: Precision = "fp32"


def from_entries(entries: Mapping[str, str], precision: Precision = "fp32") -> About:
    """Read the entries that exporters leave in a file.

    Known are those of Ultralytics' exporters (https://docs.ultralytics.com/modes/export/) and those that ONNX gives
    for pictures (https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md).

    Args:
        entries: Texts by name, each at most `MOST_TEXT` long.
        precision: Of the weights.
    """
    names = (key for key in ("names", "labels", "classes", "class_names") if key in entries)
    is_ultralytics = entries.get("author", "").strip().lower() == "ultralytics"
    pixels = entries.get("Image.BitmapPixelFormat", "")
    colours: dict[str, Channels] = {"Gray8": "grey", "Rgb8": "rgb", "Bgr8": "bgr"}
    ranges = {"NominalRange_0_255": (0.0, 1.0), "Normalized_0_1": (0.0, 255.0), "Normalized_1_1": (127.5, 127.5)}
    scale = (0.0, 255.0) if is_ultralytics else ranges.get(entries.get("Image.NominalPixelRange", ""))
    licence = re.match(r"[A-Za-z0-9.+-]{1,60}", entries.get("license", "").strip())
    return About(
        labels=parse_names(entries.get(next(names, ""), "")),
        colour="rgb" if is_ultralytics else colours.get(pixels),
        fit="letterbox-centre" if is_ultralytics else None,
        mean=(scale[0],) if scale else None,
        std=(scale[1],) if scale else None,
        task=_line(entries.get("task", "")).lower()[:40],
        size=_size(entries.get("imgsz", "")),
        title=_line(entries.get("description", ""))[:120],
        licence=licence[0] if licence else "",
        url="https://github.com/ultralytics/ultralytics" if is_ultralytics else "",
        precision=precision,
    )


def parse_names(text: str) -> tuple[str, ...]:
    """Read labels from an entry: a list or a table by number, as JSON or as Python writes it, or a line each."""
    text = text.strip()[:MOST_TEXT]
    if text[:1] not in {"{", "["}:
        return parse_lines(text.replace(",", "\n") if "\n" not in text else text)
    value = _literal(text)
    if isinstance(value, list):
        return _checked([str(one) for one in value])
    if isinstance(value, dict):
        numbers = {str(key): str(label) for key, label in value.items()}
        if all(re.fullmatch(r"\d{1,5}", key) for key in numbers):
            return _placed({int(key): label for key, label in numbers.items()})
    return ()


def parse_lines(text: str) -> tuple[str, ...]:
    """Read labels from a label file: one a line, by their place or by a number before each.

    Empty where there are too many, or a line is too long to be a label.
    """
    lines = [line.strip() for line in text[:MOST_TEXT].splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    numbered = [_NUMBERED.fullmatch(line) for line in lines if line]
    if numbered and all(numbered):
        placed = {int(one[1]): one[2] for one in numbered if one}
        if len(placed) == len(numbered):
            return _placed(placed)
    return _checked(lines)


def parse_table(text: str) -> dict[str, str]:
    """Read a table of entries, as JSON or as Python writes it; empty where it is none."""
    value = _literal(text[:MOST_TEXT])
    if not isinstance(value, dict):
        return {}
    return {str(key): one if isinstance(one, str) else json.dumps(one, default=str) for key, one in value.items()}


def predominant(sizes: Mapping[str, int]) -> Precision:
    """Tell in which numbers a network's weights are.

    Args:
        sizes: How many weights there are of ``int8``, ``fp16`` and ``fp32``.
    """
    whole = sum(sizes.values())
    kinds: tuple[Precision, ...] = ("int8", "fp16", "fp32")
    for kind in kinds:
        if whole and sizes.get(kind, 0) >= _WHOLE_SHARE * whole:
            return kind
    return "mixed" if whole else "fp32"


def _placed(labels: Mapping[int, str]) -> tuple[str, ...]:
    if not labels or max(labels) >= MOST_LABELS:
        return ()
    return _checked([labels.get(number, GAP) for number in range(max(labels) + 1)])


def _checked(labels: Sequence[str]) -> tuple[str, ...]:
    cleaned = [_line(label) for label in labels]
    cleaned = [GAP if label.lower() in _GAPS else label for label in cleaned]
    is_usable = 0 < len(cleaned) <= MOST_LABELS and any(cleaned) and max(map(len, cleaned)) <= LONGEST_LINE
    return tuple(map(_cut, cleaned)) if is_usable else ()


def _cut(label: str) -> str:
    if len(label) <= LONGEST_LABEL:
        return label
    return label[:LONGEST_LABEL].rpartition(",")[0] or label[:LONGEST_LABEL]


def _line(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass  # it may be as Python writes it
    try:
        return ast.literal_eval(text)  # values only, no code
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _size(text: str) -> tuple[int, int] | None:
    found = [int(one) for one in re.findall(r"\d{1,5}", text)[:2]]
    return (found[-1], found[0]) if found and all(16 <= one <= 4096 for one in found) else None  # noqa: PLR2004 - Size
