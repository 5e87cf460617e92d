"""Choices of nodes in float as models: each is made and judged once, through the device's own code."""

import hashlib
from dataclasses import dataclass
from typing import Literal

from appliance.core.errors import ConfigError
from appliance.inference.artifacts import LocatedModel, identify
from appliance.inference.detector import Detector
from appliance.workbench.evaluate import Dataset, measure
from appliance.workbench.ledger import Ledger
from appliance.workbench.quantizer import Quantizer
from appliance.workbench.search import Choice

_MIN_SCORE = 0.01  # as COCO's own evaluation: the whole curve counts


@dataclass(frozen=True, slots=True)
class Variant:
    """A model and how well it does.

    Attributes:
        name: fp32, naive, or ours.
        ap: Average precision over IoU 0.50 to 0.95, 0..1.
        ap50: At IoU 0.50, 0..1.
        steady_ap: AP of each label weighted by its boxes, 0..1: on few pictures a rare label shakes the plain mean.
        size: Bytes.
        in_float: How many nodes are in float that could run in 8 bits.
        inference_ms: Median time of the model for one picture, milliseconds.
    """

    name: Literal["fp32", "naive", "ours"]
    ap: float
    ap50: float
    steady_ap: float
    size: int
    in_float: int
    inference_ms: float


class Candidates:
    """Makes and judges choices of nodes, each once: the `Trial` of the search.

    Args:
        quantizer: Calibrated.
        located: The float model.
        dataset: Judges.
        pictures: How many of its pictures judge, during the search and in the end.
        ledger: Keeps what was found.
        threads: CPU threads of the detector.
    """

    def __init__(
        self,
        *,
        quantizer: Quantizer,
        located: LocatedModel,
        dataset: Dataset,
        pictures: tuple[int, int],
        ledger: Ledger,
        threads: int,
    ) -> None:
        self._quantizer = quantizer
        self._located = located
        self._dataset = dataset
        self._quick, self._whole = pictures
        self._ledger = ledger
        self._threads = threads
        self._last: tuple[Choice | None, bytes] = (None, located.content)
        self.tried: dict[Choice, Variant] = {}

    def content(self, in_float: Choice) -> bytes:
        """Give the file of a choice."""
        if self._last[0] != in_float:
            self._last = (in_float, self._quantizer.variant(in_float))
        return self._last[1]

    def judged(self, in_float: Choice) -> bytes:
        """Give the file of a choice that was judged on all pictures.

        Raises:
            ConfigError: The ledger speaks of another file.
        """
        content = self.content(in_float)
        if sha256(content) != self._ledger.get(self._key(in_float, self._whole))["sha256"]:
            raise ConfigError(f"{self._ledger.path} tells of files that are not made any more; move it away")
        return content

    def size(self, in_float: Choice) -> int:
        """Give the bytes of the file; see `Trial`."""
        key = f"size {_name(in_float)}"
        if self._ledger.get(key) is None:
            self._ledger.put(key, len(self.content(in_float)))
        return int(self._ledger.get(key))

    def quick(self, in_float: Choice) -> float:
        """Give the steady AP on some of the pictures; see `Trial`."""
        return self.judge(in_float, "ours", self._quick).steady_ap

    def whole(self, in_float: Choice) -> float:
        """Give AP on all of the pictures; see `Trial`."""
        variant = self.judge(in_float, "ours", self._whole)
        self.tried[in_float] = variant
        return variant.ap

    def judge(self, in_float: Choice | None, name: Literal["fp32", "naive", "ours"], pictures: int) -> Variant:
        """Judge a choice, or with None the float model, on the first so many pictures."""
        key = self._key(in_float, pictures)
        if self._ledger.get(key) is None:
            content = self._located.content if in_float is None else self.content(in_float)
            title = f"{pictures} pictures, " + ("fp32" if in_float is None else f"nodes in float: {len(in_float)}")
            found = self._measure(content, pictures, title)
            about = {"size": len(content), "sha256": sha256(content), "in_float": list(in_float or ())}
            self._ledger.put(key, {**found, **about})
        found = self._ledger.get(key)
        return Variant(
            name=name,
            ap=found["ap"],
            ap50=found["ap50"],
            steady_ap=found["steady_ap"],
            size=found["size"],
            in_float=len(self._quantizer.nodes if in_float is None else in_float),
            inference_ms=found["ms"],
        )

    @staticmethod
    def _key(in_float: Choice | None, pictures: int) -> str:
        return f"accuracy on {pictures} {'fp32' if in_float is None else _name(in_float)}"

    def _measure(self, content: bytes, pictures: int, title: str) -> dict[str, float]:
        one = LocatedModel(
            self._located.path,
            self._located.format,
            content,
            sha256(content),
            self._located.candidates,
        )
        session = one.open(self._threads)
        try:
            resolved = identify(one, session.inputs, session.outputs)
            detector = Detector(resolved, session, min_score=_MIN_SCORE, every_class=True)
            accuracy = measure(detector, self._dataset, pictures, title)
        finally:
            session.close()
        labels = [label for label in accuracy.labels.values() if label.boxes]
        steady = sum(label.boxes * label.ap for label in labels) / max(1, sum(label.boxes for label in labels))
        figures = accuracy.figures
        return {"ap": figures["ap"], "ap50": figures["ap50"], "steady_ap": steady, "ms": accuracy.inference_ms}


def sha256(content: bytes) -> str:
    """Give the digest of a file's bytes."""
    return hashlib.sha256(content).hexdigest()


def _name(choice: Choice) -> str:
    return sha256("\n".join(sorted(choice)).encode())[:16]
