"""Who is who from frame to frame: a two-stage tracker after ByteTrack, on arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.config import TrackingSettings
from appliance.core.boxes import overlap
from appliance.core.results import Detections
from appliance.tracking.assignment import Pairs, assign
from appliance.tracking.kalman import KalmanFilters
from appliance.tracking.kinship import Kinship
from appliance.tracking.pace import Pace

LEAST_LOW_IOU = 0.5  # ByteTrack, section 4: the second stage trusts weak boxes only where they fit well
KIN_WORTH = 0.9  # IoU between a car and a truck counts for this much: a car's own detection wins a tie
STRANGER_WORTH = 0.4  # between a person and a dog: only a box in the very same place is the same object
TWIN_IOU = 0.7  # above the NMS of detectors: a box this close to a known object is that object
GROUP_TWIN_IOU = 0.5  # the same for boxes of two labels of one group, which no NMS has compared; docs/adr/0006
STRAY = 1.0  # sizes a second that a track may be away from where it is expected: a walker's pace is 0.8 heights
MOST_STRAY = 0.5  # sizes; beyond that the neighbour is as near as the object itself
_OUTWARDS = np.array((-1.0, -1.0, 1.0, 1.0))
_WORTHS = np.array((STRANGER_WORTH, KIN_WORTH, 1.0))  # by how much two classes agree: not, in kind, in full
LOYALTY = 1.1  # another label needs so many times the votes of the present one: a van between two labels keeps its own
MOST_TENTATIVE_MISSES = 1  # a detector that flickers is given one frame; noise rarely comes back to its place


@dataclass(frozen=True, slots=True)
class Tracks:
    """All tracks after one frame, as a struct of arrays in the order in which they were first seen.

    Attributes:
        ids: Shape (N,), int64, rising; never used again by the same tracker.
        boxes: Shape (N, 4), float32, xyxy in pixels, as last seen.
        scores: Shape (N,), float32, as last seen.
        class_ids: Shape (N,), int32: the class most often seen, weighted by score.
        is_confirmed: Shape (N,): seen often enough to be reported.
        is_seen: Shape (N,): seen in this frame.
        ended: Shape (K,), int64: ids, rising, of the tracks that have just ended, tentative ones included.
    """

    ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    is_confirmed: NDArray[np.bool_]
    is_seen: NDArray[np.bool_]
    ended: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


class Tracker:
    """Follows what is detected in one camera's picture. Owned by one thread.

    ByteTrack (Zhang et al., 2022): detections of a high score are paired first, with all confirmed tracks; then weak
    ones, with those that are left; then the other strong ones with tentative tracks; what still remains of them starts
    a track. Unlike there, time is in seconds, because frames are dropped and cameras differ; classes are weighed,
    not compared, so that a car taken for a truck in one frame stays the same; and a weak sight may bring back a
    track that was lost: with it a track is interrupted a quarter as often on the crowds of the tests.

    Nor do weak sights keep a track for ever, as they do there. A detector that sees something faint in a fixed place
    of an empty room would hold on to who has left until the next one comes. A track is doubted for as long as no
    strong sight comes; a weak one takes that share of its time off the doubt that its score has of a strong one.
    It is the thought of IPDA (Musicki, Evans and Stankovic, 1994): what clutter gives as readily as an object does
    hardly tells that the object is there.
    """

    def __init__(self, settings: TrackingSettings, high_score: float, *, kinship: Kinship | None = None) -> None:
        """Start with no tracks.

        Args:
            settings: How to match, confirm and lose.
            high_score: Detections from this score on are matched first and may start a track.
            kinship: Which classes are easily taken for one another. None: each stands alone.
        """
        self._settings = settings
        self.set_high_score(high_score)
        self._pace = Pace(settings.lost_after)
        self._kinship = kinship
        self._next_id = 1
        self._last_ns = 0
        self._elapsed_ns = 0  # between the last two frames
        self._filters = KalmanFilters()
        self._ids = np.empty(0, np.int64)
        self._boxes = np.empty((0, 4), np.float32)
        self._scores = np.empty(0, np.float32)
        self._votes = np.empty((0, 1), np.float32)  # summed scores, tracks x classes
        self._class_ids = np.empty(0, np.int32)
        self._sightings = np.empty(0, np.int32)
        self._misses = np.empty(0, np.int32)
        self._last_seen_ns = np.empty(0, np.int64)
        self._doubts_ns = np.empty(0, np.float64)  # since the last strong sight, without what weak ones took off
        self._confirmed = np.empty(0, np.bool_)
        self._nothing = self._tracks(self._ids)

    @property
    def lost_after_ns(self) -> int:
        """How long a track may be doubted before it ends: as configured, or longer where frames are far apart."""
        return self._pace.lost_after_ns

    def set_high_score(self, high_score: float) -> None:
        """Match first, from the next frame on, what has this score; weak detections go down with it as configured."""
        low_score = self._settings.low_score
        self._high_score = high_score
        self._low_score = min(high_score / 2 if low_score is None else low_score, high_score)

    def update(self, detections: Detections, mono_ns: int) -> Tracks:
        """Take in the next frame, even if nothing was found in it.

        Args:
            detections: What was found, weak ones included down to `low_score`; frame size as before.
            mono_ns: When, on a clock that never steps; a frame from before the last one counts as simultaneous.
        """
        self._pace.step(mono_ns)
        if not len(self._ids) and not len(detections):
            return self._nothing
        mono_ns = max(mono_ns, self._last_ns)
        self._elapsed_ns, self._last_ns = mono_ns - self._last_ns, mono_ns
        self._doubts_ns += self._elapsed_ns
        ended = self._drop(self._doubts_ns > self._pace.lost_after_ns)
        if len(self._ids):
            self._filters.predict(self._elapsed_ns / 1e9, self._misses.nonzero()[0])
        count, boxes = len(self._ids), detections.boxes.astype(np.float64)
        rows, found, unmatched = self._match(boxes, detections, mono_ns)
        self._misses += 1
        if len(rows):
            self._see(rows, boxes, detections, found, mono_ns)
        if len(unmatched):
            new = self._newcomers(boxes, detections.class_ids, unmatched, found)
            self._start(boxes[new], detections.select(new), mono_ns)
        if len(rows) < count:
            faded = self._drop((self._misses > MOST_TENTATIVE_MISSES) & ~self._confirmed)
            ended = np.sort(np.concatenate((ended, faded)))
        return self._tracks(ended)

    def clear(self) -> None:
        """Forget all tracks, without telling of their end."""
        self._drop(np.ones(len(self._ids), np.bool_))

    def rescale(self, across: float, down: float) -> None:
        """Go over to frames that are `across` times as wide and `down` times as high as before."""
        self._filters.rescale(across, down)
        self._boxes = self._boxes * np.array((across, down, across, down), np.float32)

    def _by_strength(self, detections: Detections) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        is_strong = detections.scores >= self._high_score
        strong = is_strong.nonzero()[0]
        if len(strong) == len(detections):
            return strong, strong[:0]
        return strong, (~is_strong & (detections.scores >= self._low_score)).nonzero()[0]

    def _match(
        self, boxes: NDArray[np.float64], detections: Detections, mono_ns: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Give the paired tracks, their detections, and the strong detections that are left."""
        strong, weak = self._by_strength(detections)
        if not len(self._ids) or not len(detections):
            return strong[:0], strong[:0], strong
        gains = overlap(self._filters.boxes, boxes)
        gains *= self._worths(detections.class_ids)
        iou = self._settings.match_iou
        confirmed = self._confirmed.nonzero()[0]
        pairs = [_pair(gains, confirmed, strong, iou)]
        left, unmatched = _without(confirmed, pairs[0][0]), _without(strong, pairs[0][1])
        if len(left) and len(weak):
            pairs.append(_pair(gains, left, weak, max(iou, LEAST_LOW_IOU)))
        if len(unmatched) and len(confirmed) < len(self._ids):
            pairs.append(_pair(gains, (~self._confirmed).nonzero()[0], unmatched, iou))
            unmatched = _without(unmatched, pairs[-1][1])
        if len(unmatched) and sum(len(rows) for rows, _ in pairs) < len(self._ids):
            pairs.append(self._reach(boxes, detections, pairs, unmatched, mono_ns))
            unmatched = _without(unmatched, pairs[-1][1])
        if len(pairs) == 1:
            return *pairs[0], unmatched
        return np.concatenate([rows for rows, _ in pairs]), np.concatenate([found for _, found in pairs]), unmatched

    def _reach(
        self,
        boxes: NDArray[np.float64],
        detections: Detections,
        pairs: list[Pairs],
        unmatched: NDArray[np.intp],
        mono_ns: int,
    ) -> Pairs:
        """Pair what is left once more, with boxes grown by how far a track may have strayed since it was seen.

        At a few frames a second one step of a walker exceeds the width of the box, so that nothing overlaps
        until its velocity is known. C-BIoU (Yang et al., WACV 2023) grows by fixed shares; here time decides.
        """
        free = np.ones(len(self._ids), np.bool_)
        for rows, _ in pairs:
            free[rows] = False
        left = free.nonzero()[0]
        stray = np.minimum((mono_ns - self._last_seen_ns[left]) * (STRAY / 1e9), MOST_STRAY)
        gains = overlap(_grown(self._filters.boxes[left], stray[:, None]), _grown(boxes[unmatched], stray.mean()))
        gains *= self._worths(detections.class_ids)[left[:, None], unmatched]
        rows, found = assign(gains, self._settings.match_iou)
        return left[rows], unmatched[found]

    def _worths(self, class_ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Tell what an overlap counts for between each track and each detection, by their classes: shape (N, M)."""
        same = self._class_ids[:, None] == class_ids
        kin = same if self._kinship is None else self._kinship.kin[self._class_ids[:, None], class_ids]
        worths: NDArray[np.float64] = _WORTHS.take(same.view(np.int8) + kin.view(np.int8))
        return worths

    def _see(
        self,
        rows: NDArray[np.intp],
        boxes: NDArray[np.float64],
        detections: Detections,
        found: NDArray[np.intp],
        mono_ns: int,
    ) -> None:
        """Note for the tracks of `rows` that, and as what, they were seen."""
        self._filters.correct(rows, boxes.take(found, axis=0))
        self._boxes[rows] = detections.boxes.take(found, axis=0)
        self._scores[rows] = scores = detections.scores.take(found)
        self._misses[rows] = 0
        self._sightings[rows] += 1
        self._last_seen_ns[rows] = mono_ns
        weakened = self._doubts_ns[rows] - self._elapsed_ns * (scores / self._high_score)
        self._doubts_ns[rows] = np.where(scores >= self._high_score, 0.0, weakened)
        self._confirmed |= self._sightings >= self._settings.confirm_frames
        self._vote(rows, detections.class_ids.take(found), scores)

    def _vote(self, rows: NDArray[np.intp], class_ids: NDArray[np.int32], scores: NDArray[np.float32]) -> None:
        missing = int(class_ids.max()) + 1 - self._votes.shape[1]
        if missing > 0:
            self._votes = np.pad(self._votes, ((0, 0), (0, missing)))
        self._votes[rows, class_ids] += scores
        votes = self._votes.take(rows, axis=0)
        # who holds half of all votes keeps the place whatever the rest says, and nearly all do in nearly every frame
        is_open = (votes.argmax(axis=1) != self._class_ids[rows]) | (2.0 * votes.max(axis=1) < votes.sum(axis=1))
        if not is_open.any():
            return
        rows, votes = rows[is_open], votes[is_open]
        votes[np.arange(len(rows)), self._class_ids[rows]] *= LOYALTY
        self._class_ids[rows] = votes.argmax(axis=1) if self._kinship is None else self._kinship.elect(votes)

    def _newcomers(
        self,
        boxes: NDArray[np.float64],
        class_ids: NDArray[np.int32],
        unmatched: NDArray[np.intp],
        found: NDArray[np.intp],
    ) -> NDArray[np.intp]:
        """Give the unmatched detections that are something new.

        Detectors suppress overlapping boxes within a class only: one van is often a car and a truck at once.
        """
        others = np.concatenate((found, unmatched))
        theirs, all_of_them = class_ids[unmatched][:, None], class_ids[others]
        kin = same = theirs == all_of_them
        least: NDArray[np.float64] | float = TWIN_IOU
        if self._kinship is not None:
            kin = self._kinship.kin[theirs, all_of_them]
            least = np.where(self._kinship.grouped[theirs, all_of_them] & ~same, GROUP_TWIN_IOU, TWIN_IOU)
        is_twin = kin & (overlap(boxes[unmatched], boxes[others]) >= least)
        is_new: NDArray[np.bool_] = ~is_twin[:, : len(found)].any(axis=1)
        # among newcomers the better score stays: detections come by falling score, so only earlier ones count
        rivals = is_twin[:, len(found) :] & (unmatched[:, None] > unmatched)
        for row in rivals.any(axis=1).nonzero()[0]:  # in order: whoever is a twin himself suppresses nobody
            is_new[row] &= not (rivals[row] & is_new).any()
        return unmatched[is_new]

    def _start(self, boxes: NDArray[np.float64], new: Detections, mono_ns: int) -> None:
        count = len(new)
        if not count:
            return
        first_row = len(self._ids)
        self._filters.add(boxes)
        self._ids = np.append(self._ids, np.arange(self._next_id, self._next_id + count))
        self._next_id += count
        self._boxes = np.concatenate((self._boxes, new.boxes))
        self._scores = np.append(self._scores, new.scores)
        self._votes = np.pad(self._votes, ((0, count), (0, 0)))
        self._class_ids = np.append(self._class_ids, new.class_ids)
        self._sightings = np.append(self._sightings, np.ones(count, np.int32))
        self._misses = np.append(self._misses, np.zeros(count, np.int32))
        self._last_seen_ns = np.append(self._last_seen_ns, np.full(count, mono_ns))
        self._doubts_ns = np.append(self._doubts_ns, np.zeros(count))
        self._confirmed = np.append(self._confirmed, np.full(count, self._settings.confirm_frames <= 1))
        self._vote(np.arange(first_row, first_row + count), new.class_ids, new.scores)

    def _drop(self, gone: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Forget tracks, shape (N,), and give their ids."""
        if not gone.any():
            return self._ids[:0]
        ended, stay = self._ids[gone], ~gone
        self._filters.keep(stay)
        self._ids, self._boxes, self._scores = self._ids[stay], self._boxes[stay], self._scores[stay]
        self._votes, self._class_ids = self._votes[stay], self._class_ids[stay]
        self._sightings, self._misses = self._sightings[stay], self._misses[stay]
        self._last_seen_ns, self._doubts_ns = self._last_seen_ns[stay], self._doubts_ns[stay]
        self._confirmed = self._confirmed[stay]
        return ended

    def _tracks(self, ended: NDArray[np.int64]) -> Tracks:
        # copies: the next update writes into these arrays; never into the ids
        return Tracks(
            ids=self._ids,
            boxes=self._boxes.copy(),
            scores=self._scores.copy(),
            class_ids=self._class_ids.copy(),
            is_confirmed=self._confirmed.copy(),
            is_seen=self._misses == 0,
            ended=ended,
        )


def _grown(boxes: NDArray[np.float64], share: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Move each side of the boxes, shape (N, 4), outwards by a share of the mean of width and height."""
    sizes = (boxes[:, 2:] - boxes[:, :2]).mean(axis=1, keepdims=True)
    grown: NDArray[np.float64] = boxes + sizes * share * _OUTWARDS
    return grown


def _pair(gains: NDArray[np.float64], rows: NDArray[np.intp], columns: NDArray[np.intp], least: float) -> Pairs:
    """Pair some rows of `gains` with some of its columns; see `assign`."""
    if not (len(rows) and len(columns)):
        return rows[:0], columns[:0]
    if (len(rows), len(columns)) == gains.shape:
        return assign(gains, least)
    chosen_rows, chosen_columns = assign(gains[rows[:, None], columns], least)
    return rows[chosen_rows], columns[chosen_columns]


def _without(indices: NDArray[np.intp], taken: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give the rising `indices` without those in `taken`, which are some of them."""
    if len(taken) == len(indices):
        return indices[:0]
    if not len(taken):
        return indices
    stays = np.ones(indices[-1] + 1, np.bool_)
    stays[taken] = False
    return indices[stays[indices]]
