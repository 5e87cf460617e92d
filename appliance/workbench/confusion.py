"""What a detector takes for what: its detections matched with what is truly there, counted, and told by kind.

The kinds of mistakes are those of TIDE (Bolya et al., arXiv:2008.08115, section 2.2), with what was missed by size.
Pure: boxes in, counts out.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from appliance.core.boxes import overlap, shared_areas

BACKGROUND = "background"
SAME_PLACE: Final = 0.5  # IoU from which a detection is of an object
NEAR: Final = 0.1  # IoU from which it at least means that object; TIDE's background threshold
CROWDED: Final = 0.2  # IoU with another object from which one counts as crowded
SMALL, MEDIUM = 32**2, 96**2  # pixels; COCO's bounds of small and medium objects
MOST_EXAMPLES = 3  # of each kind of mistake

Missed = Literal["missed, crowded", "missed, small", "missed, medium", "missed, large"]
Kind = Literal[Missed, "misplaced", "confused", "twice", "partly again", "second name", "nothing there"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Truths:
    """What is truly in a picture.

    Attributes:
        boxes: Shape (N, 4), xyxy in pixels.
        labels: Shape (N,), places in the list of labels.
        areas: Shape (N,), pixels.
        is_crowd: Shape (N,), bool: a region in which its label is neither looked for nor denied.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    is_crowd: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """What was detected in a picture, the best score first.

    Attributes:
        boxes: Shape (N, 4), xyxy in pixels.
        labels: Shape (N,), places in the list of labels.
        scores: Shape (N,), 0..1.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Confusion:
    """A matrix of confusion: how often what was there was taken for what.

    Attributes:
        labels: Of rows (what is there) and columns (what was detected); the last is the background.
        counts: Row by row. Background as a column: not detected; as a row: nothing of the kind is there.
        ignored: Detections in regions that are to be ignored; they count nowhere.
        min_score: Lowest score that counted.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    ignored: int
    min_score: float

    @property
    def objects(self) -> int:
        """Objects that are there."""
        return sum(map(sum, self.counts[:-1]))

    @property
    def detections(self) -> int:
        """Detections that were right or wrong."""
        return sum(sum(row[:-1]) for row in self.counts)

    @property
    def right(self) -> int:
        """Objects that were detected, with their label."""
        return sum(self.counts[at][at] for at in range(len(self.counts) - 1))


@dataclass(frozen=True, slots=True)
class Mistake:
    """A kind of mistake, and how often it was made.

    Attributes:
        kind: Of what is there: missed, by what made it hard; misplaced: overlapped too little; confused: taken for
            another label. Of what was detected beyond that: an object twice, or partly again, or under a second
            name beside its own, or where nothing of the kind is.
        label: What it is; where nothing is: what it was taken for.
        taken_for: The wrong label; empty where none is involved.
        count: How often.
        among: Of how many: objects of the label that were as hard, or all of them, or detections of the label.
        examples: Some of them: file name of the picture and what is to be seen there.
    """

    kind: Kind
    label: str
    taken_for: str
    count: int
    among: int
    examples: tuple[str, ...]


class Tally:
    """Counts, picture by picture.

    Args:
        labels: That count.
        min_score: Lowest score of the detections that come.
    """

    def __init__(self, labels: Sequence[str], min_score: float) -> None:
        self._labels = tuple(labels)
        self._min_score = min_score
        self._counts = np.zeros((len(labels) + 1, len(labels) + 1), np.int64)
        self._ignored = 0
        self._missable: Counter[tuple[Kind, int]] = Counter()
        self._examples: defaultdict[tuple[Kind, int, int], list[tuple[float, str]]] = defaultdict(list)

    def add(self, name: str, truths: Truths, found: Found) -> None:
        """Count a picture, `name` is what its examples are told with."""
        there = ~truths.is_crowd
        hardness = _hardness(truths)
        boxes, labels, areas = truths.boxes[there], truths.labels[there], truths.areas[there]
        overlaps = overlap(found.boxes, boxes)
        is_same = found.labels[:, None] == labels[None, :]
        right = _pairs(np.where(is_same, overlaps, -1.0), SAME_PLACE)
        ignored = _within_crowds(truths, found)
        ignored[[at for at, _ in right]] = False
        confused = _pairs(_left(np.where(is_same, -1.0, overlaps), right, ignored), SAME_PLACE)
        misplaced = _pairs(_left(np.where(is_same, overlaps, -1.0), [*right, *confused], ignored), NEAR)

        self._count(labels, found, [*right, *confused], ignored)
        picture = _Picture(name, boxes, found)
        nothing = len(self._labels)
        for at, truth in confused:
            self._note(("confused", int(labels[truth]), int(found.labels[at])), *picture.object_seen(truth, at))
        for at, truth in misplaced:
            self._note(("misplaced", int(labels[truth]), nothing), *picture.object_seen(truth, at))
        seen = {truth for _, truth in (*right, *confused, *misplaced)}
        for truth, hard in enumerate(hardness):
            self._missable[hard, int(labels[truth])] += 1
            if truth not in seen:
                # the largest is the most telling example
                self._note((hard, int(labels[truth]), nothing), float(areas[truth]), picture.place(truth))
        taken = {at for at, _ in (*right, *confused, *misplaced)}
        for at in np.flatnonzero(~ignored).tolist():
            if at not in taken:
                kind, label = _kind_of_extra(overlaps[at], is_same[at], labels)
                own = int(found.labels[at])
                self._note((kind, own, nothing) if label is None else (kind, label, own), *picture.detection(at))

    def confusion(self) -> Confusion:
        """Give the matrix."""
        rows = tuple(tuple(map(int, row)) for row in self._counts)
        return Confusion((*self._labels, BACKGROUND), rows, self._ignored, self._min_score)

    def mistakes(self) -> tuple[Mistake, ...]:
        """Give the kinds of mistakes, the most frequent first."""
        there, detected = self._counts[:-1].sum(axis=1), self._counts[:, :-1].sum(axis=0)
        names = (*self._labels, "")
        found = []
        for (kind, label, taken_for), examples in self._examples.items():
            if kind in get_args(Missed):
                among = self._missable[kind, label]
            elif kind in {"confused", "misplaced"}:
                among = there[label]
            else:
                among = detected[taken_for if kind == "second name" else label]
            best = [text for _, text in sorted(examples, key=lambda one: (-one[0], one[1]))[:MOST_EXAMPLES]]
            found.append(
                Mistake(kind, names[label], names[taken_for], len(examples), int(among), tuple(dict.fromkeys(best)))
            )
        order = {kind: at for at, kind in enumerate(KINDS)}
        return tuple(sorted(found, key=lambda one: (-one.count, order[one.kind], one.label, one.taken_for)))

    def _count(
        self, labels: NDArray[np.int64], found: Found, pairs: Sequence[tuple[int, int]], ignored: NDArray[np.bool_]
    ) -> None:
        """Add to the matrix; `pairs` of detections and objects that are in one place."""
        background = len(self._labels)
        rows = np.full(len(found.labels), background)
        is_missed = np.ones(len(labels), np.bool_)
        for at, truth in pairs:
            rows[at] = labels[truth]
            is_missed[truth] = False
        np.add.at(self._counts, (rows[~ignored], found.labels[~ignored]), 1)
        np.add.at(self._counts[:, background], labels[is_missed], 1)
        self._ignored += int(ignored.sum())

    def _note(self, kind: tuple[Kind, int, int], weight: float, text: str) -> None:
        """Keep a mistake: kind, label and what it was taken for; the heaviest become examples."""
        self._examples[kind].append((weight, text))


def describe(mistake: Mistake) -> str:
    """Tell a kind of mistake in a sentence, with how often and where for example."""
    name, other = f"**{mistake.label}**", f"**{mistake.taken_for}**"
    text = {
        "missed, crowded": f"{name} among others, which overlap it, not found",
        "missed, small": f"small {name} not found",
        "missed, medium": f"medium-sized {name} not found",
        "missed, large": f"large {name} not found",
        "misplaced": f"{name} found with a box that overlaps it by less than half",
        "confused": f"{name} taken for {other}",
        "twice": f"{name} reported twice",
        "partly again": f"{name} reported once more for a part of one, or beside it",
        "second name": f"{name} reported as {other} too",
        "nothing there": f"{name} reported where none is marked",
    }[mistake.kind]
    unit = {"second name": f"detections of {mistake.taken_for}", "missed, crowded": "such", "missed, small": "such"}
    unit |= {"missed, medium": "such", "missed, large": "such", "misplaced": "in all", "confused": "in all"}
    example = f" For example {mistake.examples[0]}." if mistake.examples else ""
    return f"{text}: {mistake.count} of {mistake.among} {unit.get(mistake.kind, 'detections')}.{example}"


@dataclass(frozen=True, slots=True)
class _Picture:
    """Tells what is to be seen in a picture, and how good an example it is."""

    name: str
    boxes: NDArray[np.float64]
    found: Found

    def place(self, truth: int) -> str:
        return f"{self.name}: {_place(self.boxes[truth])}"

    def object_seen(self, truth: int, at: int) -> tuple[float, str]:
        score = float(self.found.scores[at])
        return score, f"{self.place(truth)}, score {score:.2f}"

    def detection(self, at: int) -> tuple[float, str]:
        score = float(self.found.scores[at])
        return score, f"{self.name}: {_place(self.found.boxes[at])}, score {score:.2f}"


def _place(box: NDArray[np.float64]) -> str:
    x1, y1, x2, y2 = box.tolist()
    return f"{round(x2 - x1)} x {round(y2 - y1)} pixels at {round(x1)}, {round(y1)}"


def _sizes(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes: NDArray[np.float64] = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return sizes


def _pairs(overlaps: NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Let each detection in turn, the best score first, take the free object that it overlaps most."""
    left = overlaps.copy()
    pairs = []
    for at in np.flatnonzero((overlaps >= least).any(axis=1)).tolist():
        truth = int(left[at].argmax())
        if left[at, truth] >= least:
            pairs.append((at, truth))
            left[:, truth] = -1.0
    return pairs


def _left(
    overlaps: NDArray[np.float64], pairs: Sequence[tuple[int, int]], ignored: NDArray[np.bool_]
) -> NDArray[np.float64]:
    left = overlaps.copy()
    left[ignored] = -1.0
    for at, truth in pairs:
        left[at] = left[:, truth] = -1.0
    return left


def _within_crowds(truths: Truths, found: Found) -> NDArray[np.bool_]:
    """Tell which detections lie by half or more in a region to ignore of their label, as COCO does."""
    crowds, labels = truths.boxes[truths.is_crowd], truths.labels[truths.is_crowd]
    sizes = _sizes(found.boxes)[:, None]
    is_within = shared_areas(found.boxes, crowds) >= SAME_PLACE * np.maximum(sizes, 1e-9)
    within: NDArray[np.bool_] = (is_within & (found.labels[:, None] == labels[None, :])).any(axis=1)
    return within


def _hardness(truths: Truths) -> list[Missed]:
    """Tell for each object that is no crowd what makes it hard: others in its place, or else its size."""
    there = ~truths.is_crowd
    boxes = truths.boxes[there]
    others = overlap(boxes, boxes)
    np.fill_diagonal(others, 0.0)
    is_crowded = (others >= CROWDED).any(axis=1)
    crowds = truths.boxes[truths.is_crowd]
    in_crowd = shared_areas(boxes, crowds) >= SAME_PLACE * np.maximum(_sizes(boxes), 1e-9)[:, None]
    is_crowded |= (in_crowd & (truths.labels[there][:, None] == truths.labels[truths.is_crowd][None, :])).any(axis=1)
    sizes: list[Missed] = ["missed, small", "missed, medium", "missed, large"]
    steps = np.searchsorted([SMALL, MEDIUM], truths.areas[there], side="right")
    return [
        "missed, crowded" if crowded else sizes[step]
        for crowded, step in zip(is_crowded.tolist(), steps.tolist(), strict=True)
    ]


def _kind_of_extra(
    overlaps: NDArray[np.float64], is_same: NDArray[np.bool_], labels: NDArray[np.int64]
) -> tuple[Kind, int | None]:
    """Tell what a detection is that no object was left for, and whose second name it gives."""
    same = overlaps[is_same].max(initial=0.0)
    if same >= SAME_PLACE:
        return "twice", None
    others = np.where(is_same, 0.0, overlaps)
    if others.max(initial=0.0) >= SAME_PLACE:
        return "second name", int(labels[others.argmax()])
    return ("partly again" if same >= NEAR else "nothing there"), None
