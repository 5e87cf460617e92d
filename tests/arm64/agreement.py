"""How far two lists of detections of the same pictures agree: what x86-64 finds and what aarch64 finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Detection = Mapping[str, Any]  # as `edgecam detect --json` has them: label, score, box xyxy in pixels


@dataclass
class Agreement:
    """What was compared and how far apart it is.

    Attributes:
        detections: How many were looked for on the other side.
        box: The largest difference of an edge, in pixels of the picture.
        score: The largest difference of a score.
        alone: What only one side has, in words.
    """

    detections: int = 0
    box: float = 0.0
    score: float = 0.0
    alone: list[str] = field(default_factory=list)


def compare(
    expected: Mapping[str, Sequence[Detection]], found: Mapping[str, Sequence[Detection]], *, certain: float
) -> Agreement:
    """Look for what each side is certain of among all that the other side has.

    Args:
        expected: Detections by picture, down to a score well below `certain`.
        found: Likewise.
        certain: The score from which a detection has to be on both sides; what is weaker may come and go.
    """
    result = Agreement()
    if expected.keys() != found.keys():
        result.alone.append(f"pictures: {sorted(expected.keys() ^ found.keys())}")
    for side, these, those in (("expected", expected, found), ("found", found, expected)):
        for name in sorted(these.keys() & those.keys()):
            for one in these[name]:
                if one["score"] >= certain:
                    _look_for(one, those[name], f"{name}: only {side}", result)
    return result


def _look_for(one: Detection, others: Sequence[Detection], where: str, result: Agreement) -> None:
    alike = [other for other in others if other["label"] == one["label"]]
    nearest = min(alike, key=lambda other: _apart(one, other), default=None)
    if nearest is None:
        result.alone.append(f"{where}: {one['label']} {one['score']:.3f} at {one['box']}")
        return
    result.detections += 1
    result.box = max(result.box, _apart(one, nearest))
    result.score = max(result.score, abs(one["score"] - nearest["score"]))


def _apart(one: Detection, other: Detection) -> float:
    return float(max(abs(a - b) for a, b in zip(one["box"], other["box"], strict=True)))
