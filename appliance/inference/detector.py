"""From a frame to detections: the one path that the daemon, the commands and the evaluation share."""

import math
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from appliance.config import ModelSettings
from appliance.core.frame import Frame
from appliance.core.registry import load
from appliance.core.results import Detections
from appliance.inference.artifacts import LocatedModel, ResolvedModel, locate_model
from appliance.inference.camera_network import AnswerReader, View
from appliance.inference.decoders import DECODERS, Choice
from appliance.inference.faults import NumbersError
from appliance.inference.nms import suppress
from appliance.inference.opened import OpenModel, open_file, plan_of, wanted_labels
from appliance.inference.preprocess import Letterbox
from appliance.inference.running import Running
from appliance.inference.runtimes import NO_PLAN, RUN_BY_CAMERA, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from appliance.inference.decoders import Decoder
    from appliance.inference.runtimes import Session


class Detector(OpenModel):
    """A detector that is loaded and warm; see `OpenModel`. Used by one thread.

    Args:
        model: What the loaded file is.
        session: The loaded file; closed by `close`.
        min_score: Lowest score of a detection, 0..1; None: the manifest's own.
        labels: Only these, or the labels of these groups, are looked for; empty: all the model knows.
        every_class: Give every class of a place that reaches the lowest score, as evaluations do, not its best one.
        running: What it runs on; None: nobody knows.

    Attributes:
        min_score: Lowest score of a detection, 0..1.

    Raises:
        ConfigError: A label is neither one of the model's nor a group.
        ModelError: It is no detector, cannot be run, or gives numbers that are not finite.
    """

    def __init__(
        self,
        model: ResolvedModel,
        session: "Session",
        *,
        min_score: float | None = None,
        labels: tuple[str, ...] = (),
        every_class: bool = False,
        running: Running | None = None,
    ) -> None:
        super().__init__(model, session, running)
        spec = self.manifest.decoder
        self.min_score = spec.min_score if min_score is None else min_score
        kind = load(DECODERS, spec.kind, f"manifest {self.manifest.name!r}: decoder.kind")
        choice = Choice(self.min_score, wanted_labels(self.manifest, labels), every_class)
        self._decoder: Decoder = kind(self.manifest, choice)
        self._answers: AnswerReader | None = None
        if model.format in RUN_BY_CAMERA:  # its file does not tell its tensors: they are in the signature's order
            self._order = tuple(range(len(session.outputs)))
            self._answers = AnswerReader(self.manifest, self.digest, str(self.path), session.outputs)
        else:
            self._decode(self._inputs)  # warm: the first frame need not wait for it

    def detect(self, frame: Frame) -> Detections:
        """Give what is in a frame: boxes in pixels of the source frame, sorted by falling score.

        Raises:
            ModelError: The model could not be run, or gave numbers that are not finite.
            UnavailableError: It is watched, and did not answer in time, or its process died.
        """
        started = time.perf_counter()
        candidates, letterbox = self.candidates(frame)
        spec = self.manifest.decoder
        kept = suppress(candidates, spec.nms_iou, spec.max_detections)
        boxes = letterbox.to_source(kept.boxes)
        # what lay in the padding alone has no size left
        visible = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        detections = Detections(boxes, kept.scores, kept.class_ids)
        if not visible.all():
            detections = detections.select(visible)
        self.last_total_ms = (time.perf_counter() - started) * 1e3
        return detections

    def candidates(self, frame: Frame) -> tuple[Detections, Letterbox | View]:
        """Give what is found before overlaps are resolved, boxes in pixels of the model's input, and where that lies.

        Raises:
            ModelError: The model could not be run, or gave numbers that are not finite.
        """
        if self._answers is not None:
            tensors, view, took = self._answers.read(frame)
            found, self.last_inference_ms = self._decode(tensors), took
            if self.running.shortfalls != self._answers.shortfalls:
                self.running = replace(self.running, shortfalls=self._answers.shortfalls)
            return found, view
        letterbox = self._write(frame)
        return self._decode(self._inputs), letterbox

    def _decode(self, inputs: "Mapping[str, NDArray[Any]]") -> Detections:
        outputs = self._run(inputs)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            found = self._decoder.decode(outputs)
            if math.isfinite(found.boxes.sum() + found.scores.sum()):
                return found
        raise NumbersError(f"{self.path} gave numbers that are not finite; the model is broken")


def open_detector(settings: ModelSettings, *, min_score: float | None = None, every_class: bool = False) -> Detector:
    """Find, check, load and warm up the model that the settings name: its first artifact, or none.

    Args:
        settings: The ``[model]`` section.
        min_score: Lowest score of a detection, 0..1, in place of the settings' and the manifest's.
        every_class: Give every class of a place that reaches the lowest score, as evaluations do, not its best one.

    Raises:
        ConfigError: There is no such model or file, or a label is neither one of the model's nor a group.
        ModelError: The file is broken, is no detector, or does not fit exactly one manifest.
        UnsupportedError: The runtime for its format is not installed here, or nothing that may run it does so here.
    """
    chosen = settings.min_score if min_score is None else min_score
    return load_detector(
        locate_model(settings),
        threads=settings.threads,
        min_score=chosen,
        labels=settings.labels,
        every_class=every_class,
        plan=plan_of(settings),
    )


def load_detector(
    located: LocatedModel,
    *,
    threads: int = 1,
    min_score: float | None = None,
    labels: tuple[str, ...] = (),
    every_class: bool = False,
    plan: Plan = NO_PLAN,
) -> Detector:
    """Load and warm up a model whose file was read and checked; see `Detector` for the arguments.

    Args:
        located: The file.
        threads: CPU threads of one inference.
        min_score: Lowest score of a detection.
        labels: Only these.
        every_class: Give every class of a place.
        plan: What is to run it, in place of what the manifest says where it says anything.

    Raises:
        ConfigError: A label is neither one of the model's nor a group.
        ModelError: The file is broken, is no detector, or does not fit exactly one manifest.
        UnavailableError: It is watched, and did not answer in time, or its process died.
        UnsupportedError: The runtime for its format is not installed here, or nothing that may run it does so here.
    """
    make = partial(Detector, min_score=min_score, labels=labels, every_class=every_class)
    return open_file(located, make, threads=threads, plan=plan)
