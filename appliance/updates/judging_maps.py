"""Whether a candidate draws what the segmentation network draws that it is to replace. Pure.

What a label covers is what objects are to a detector: a label that is gone is blindness, one that spreads is a flood. A
network that draws all of each frame in one colour is blind, whatever the colour.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.core.tasks import MOST_SEGMENTED
from appliance.updates.formats import Trial
from appliance.updates.judging import ENOUGH, Found, Verdict
from appliance.updates.refusals import Code

_CELLS: Final = 160  # of the longer side that are compared; pixels between them tell nothing new
_ENOUGH: Final = 0.005  # of a picture, on average, that labels together must cover to be judged
_ENOUGH_OF_ONE: Final = 0.02  # likewise, for a label by itself: of less, much is chance
_ENOUGH_IN_ALL: Final = 0.2  # of a picture, in all frames together
_LEAST_FRAMES: Final = 5  # in which either draws something; of one that two see differently nobody is condemned
_SLACK: Final = 0.05  # of a picture
_ONE_COLOUR: Final = 0.999  # of all frames


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a segmentation network draws of a frame.

    Attributes:
        class_ids: Shape (rows, columns), int16; below 0: nothing that is told.
        labels: The model's.
    """

    class_ids: NDArray[np.int16]
    labels: tuple[str, ...]


class MapComparison:
    """What two segmentation networks drew of the same frames."""

    def __init__(self) -> None:
        self.frames = 0
        self._labels: tuple[str, ...] = ()
        # pictures that nothing and each label cover: of the model in service, the candidate, both
        self._covers = np.zeros((3, 1 + MOST_SEGMENTED))
        self._telling = 0  # frames in which either draws something
        self._seen_frames = 0  # in which the model in service sees something
        self._seen = np.zeros(2)  # pictures that labels cover in these: of the model in service, the candidate

    def add(self, active: Mapped, candidate: Mapped) -> None:
        """Count a frame.

        Args:
            active: What the model in service draws.
            candidate: What the candidate draws, of the same size.
        """
        self.frames += 1
        self._labels = active.labels
        step = max(1, max(active.class_ids.shape) // _CELLS)
        first, second = (one.class_ids[::step, ::step].ravel() for one in (active, candidate))
        covers = np.array(
            [
                np.bincount(chosen + 1, minlength=1 + MOST_SEGMENTED) / first.size
                for chosen in (first, second, first[first == second])
            ]
        )
        self._covers += covers
        labelled = covers[:2, 1:].sum(axis=1)
        self._telling += bool(labelled.max() >= _ENOUGH)
        if labelled[0] >= _ENOUGH_OF_ONE:
            self._seen_frames += 1
            self._seen += labelled

    def verdict(self, trial: Trial) -> Verdict | None:
        """Tell what is wrong with the candidate; None: nothing."""
        if self._telling < _LEAST_FRAMES or self._covers[:2, 1:].sum(axis=1).max() < _ENOUGH_IN_ALL:
            return None
        mean = self._covers / self.frames
        if mean[0].max() <= 1.0 - _ENOUGH_OF_ONE and mean[1].max() >= _ONE_COLOUR:
            what = ("nothing", *self._labels)[int(mean[1].argmax())]
            return Code.BLIND, f"it draws {what} over all of {self.frames} frames, which are not of one label"
        covers = mean[:, 1:]
        judged = (
            _judged(self._labels[at], covers[0, at], covers[1, at], trial, _ENOUGH_OF_ONE)
            for at in np.flatnonzero(covers[:2].max(axis=0) >= _ENOUGH_OF_ONE)
        )
        together = self._judged_together(Found(*covers.sum(axis=1).tolist()), trial)
        return next(filter(None, judged), together) or self._judged_where_seen(trial)

    def _judged_where_seen(self, trial: Trial) -> Verdict | None:
        """Tell what sees nothing of what comes by: on average over all frames, most of them empty, that is little."""
        if self._seen_frames < ENOUGH:
            return None
        active, candidate = self._seen / self._seen_frames
        if candidate >= active * (least := trial.rate_percent[0]) / 100.0:
            return None
        told = (
            f"it covers {candidate:.1%} of the {self._seen_frames} frames in which the model in service sees anything"
        )
        return Code.BLIND, f"{told}, and that {active:.1%}: at least {least} % of that must be"

    def _judged_together(self, covered: Found, trial: Trial) -> Verdict | None:
        active, candidate = covered.active, covered.candidate
        if max(active, candidate) < _ENOUGH:
            return None
        if verdict := _judged("labels", active, candidate, trial, _ENOUGH):
            return verdict
        told = f"it covers {candidate:.1%} of {self.frames} frames with labels, the model in service {active:.1%}"
        return covered.disagreement(told, trial)

    def facts(self) -> dict[str, int]:
        """Give what labels cover, in thousandths of a picture, for reports."""
        return Found(*self._covers[:, 1:].sum(axis=1).tolist()).facts(self.frames, parts=1000)


def _judged(what: str, active: float, candidate: float, trial: Trial, enough: float) -> Verdict | None:
    """Tell whether too little or too much of a picture is covered with something; 0..1 of it, on average."""
    least, most = trial.rate_percent
    told = f"it covers {candidate:.1%} of a picture with {what}, the model in service {active:.1%}"
    if active >= enough and candidate < active * least / 100.0:
        return Code.BLIND, f"{told}: at least {least} % of that must be"
    if candidate > active * most / 100.0 + _SLACK:
        return Code.FLOOD, f"{told}: at most {most} % of that may be"
    return None
