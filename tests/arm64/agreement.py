"""How far two lists of detections of the same photographs agree: what x86-64 finds and what aarch64 finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Detection = Mapping[str, Any]  # as `edgecam detect --json` has them: label, score, box xyxy in pixels


@dataclass
class Agreement:
    """What was compared and how far apart it is.

    Attributes:
        detections: Pairs that were compared.
        box: The largest difference of an edge, in pixels of the photograph.
        score: The largest difference of a score.
        alone: What only one side has, in words.
    """

    detections: int = 0
    box: float = 0.0
    score: float = 0.0
    alone: list[str] = field(default_factory=list)


def compare(
    expected: Mapping[str, Sequence[Detection]],
    found: Mapping[str, Sequence[Detection]],
    *,
    min_score: float,
    score_tolerance: float,
) -> Agreement:
    """Pair what two sides found, nearest boxes of one label first.

    What is alone and at most `score_tolerance` above `min_score` counts for nothing: the other side may have it just
    below.

    Args:
        expected: Detections by photograph.
        found: Likewise.
        min_score: The lowest score that either side tells.
        score_tolerance: How far scores may be apart.
    """
    result = Agreement()
    if expected.keys() != found.keys():
        result.alone.append(f"photographs: {sorted(expected.keys() ^ found.keys())}")
    for name in expected.keys() & found.keys():
        left = list(found[name])
        for one in expected[name]:
            others = [other for other in left if other["label"] == one["label"]]
            other = min(others, key=lambda other: _apart(one, other), default=None)
            if other is None:
                _alone(result, name, one, "expected", min_score + score_tolerance)
                continue
            left.remove(other)
            result.detections += 1
            result.box = max(result.box, _apart(one, other))
            result.score = max(result.score, abs(one["score"] - other["score"]))
        for other in left:
            _alone(result, name, other, "found", min_score + score_tolerance)
    return result


def _apart(one: Detection, other: Detection) -> float:
    return max(abs(a - b) for a, b in zip(one["box"], other["box"], strict=True))


def _alone(result: Agreement, name: str, one: Detection, side: str, certain: float) -> None:
    if one["score"] >= certain:
        result.alone.append(f"{name}: only {side}: {one['label']} {one['score']:.3f} at {one['box']}")
