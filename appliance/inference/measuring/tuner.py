"""Measures a model's candidates, refuses those that do not find what the reference finds, and gives the best."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from appliance.config import ModelSettings
from appliance.core.errors import ModelError
from appliance.inference.fingerprint import read_fingerprint
from appliance.inference.measuring.agreement import Agreement
from appliance.inference.measuring.comparing import Compared, compare
from appliance.inference.measuring.process import ask
from appliance.inference.measuring.request import Candidate
from appliance.inference.measuring.rounds import Ask, Effort, Measured, measure_all
from appliance.inference.tuning import Choice, Figures, Objective, Tuning, subject_of

FIGURES: Final = {"latency": "latency_ms", "cpu": "cpu_ms", "memory": "memory_mb"}
# Sound 8-bit files of NanoDet, FastestDet, YOLOX-Nano and edgecam-nano have 0.95 to 1.00 on drawn streets, 0.98 to 0.99
# on photographs, YOLOX-Nano quantized as a whole, which has lost its accuracy, 0.00 and 0.02 (docs/tuning.md).
LEAST_AGREEMENT: Final = 0.85
MOST_SCORE_DIFFERENCE: Final = 0.15
LEAST_OBJECTS: Final = 6  # of both sides, or pictures that a classifier is sure of; fewer say nothing of a file
_COUNTED: Final = {"objects": "objects", "labels": "pictures with a label"}  # what has scores
LEAST_TENSORS: Final = 0.99  # of the same file run in another way
SAME: Final = 1.05  # within this of the best, what costs less CPU time is better
FLOOR: Final = 1.1  # what was chosen is within this of the best that was measured
_MOST_REFUSED = 256


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a candidate.

    Attributes:
        measured: The candidate and its figures.
        compared: With the reference.
        refusal: Why it is not to be chosen, one line; empty: it may be.
    """

    measured: Measured
    compared: Compared
    refusal: str

    def value(self, objective: Objective) -> float:
        """Give the figure that counts for an objective: less is better."""
        return self.measured.figures()[FIGURES[objective]]


def judge_all(measured: Sequence[Measured], settings: ModelSettings) -> list[Verdict]:
    """Compare all candidates with their reference and tell which may be chosen."""
    compared = compare(measured)
    return [
        Verdict(one, result, one.error or judge(one, result) or _not_meant(one.candidate, settings))
        for one, result in zip(measured, compared, strict=True)
    ]


def judge(one: Measured, compared: Compared) -> str:
    """Tell why a candidate does not find what it must; nothing where it does. Pure."""
    if compared.golden:
        return f"golden frames not passed: {compared.golden}"
    agreement, file = compared.agreement, one.candidate.file.name
    if agreement is None and compared.is_reference:
        return ""
    if agreement is None or (agreement.of == "tensors" and not compared.is_same_file):
        why = compared.note or "other outputs"
        return f"{file} cannot be compared with {compared.reference} ({why}); give --pictures FOLDER"
    if agreement.of in _COUNTED and agreement.compared < LEAST_OBJECTS and not compared.is_same_file:
        what = f"{agreement.compared} {_COUNTED[agreement.of]}"
        return f"only {what} to compare with {compared.reference}; give --pictures FOLDER"
    wanted = _wanted(agreement)
    return f"agrees with {compared.reference} in {agreement}; {wanted}" if wanted else ""


def _wanted(agreement: Agreement) -> str:
    least = LEAST_TENSORS if agreement.of == "tensors" else LEAST_AGREEMENT
    if agreement.value < least:
        return f"at least {least:.2f} is asked for"
    if agreement.of in _COUNTED and agreement.difference > MOST_SCORE_DIFFERENCE:
        return f"scores may differ by {MOST_SCORE_DIFFERENCE:.2f}"
    return ""


def pick(verdicts: Sequence[Verdict], objective: Objective) -> Verdict | None:
    """Give the best that may be chosen; None: none may. Pure.

    Of those that are about as good as the best, the one that costs the least CPU time, or for that objective the one
    with the shortest latency.
    """
    allowed = [one for one in verdicts if not one.refusal]
    best = min((one.value(objective) for one in allowed), default=math.inf)
    close = [one for one in allowed if one.value(objective) <= best * SAME]
    second: Objective = "latency" if objective == "cpu" else "cpu"
    return min(close, key=lambda one: one.value(second), default=None)


def tune(
    settings: ModelSettings,
    candidates: Sequence[Candidate],
    objective: Objective,
    *,
    effort: Effort,
    on_step: Callable[[Candidate], None] = lambda _: None,
    ask_child: Ask = ask,
) -> tuple[Tuning, list[Verdict]]:
    """Measure the candidates of one model and give what is to be stored, and what is to be said of each; blocks.

    Args:
        settings: The ``[model]`` section.
        candidates: Of the model that it names.
        objective: What is to be least.
        effort: How much is measured.
        on_step: Called after each process.
        ask_child: Runs one process.

    Raises:
        ConfigError: There is no such model.
        ModelError: No candidate may be chosen; each is told with its reason.
    """
    subject = subject_of(settings)
    fingerprint = read_fingerprint(subject.files)
    verdicts = judge_all(measure_all(candidates, effort, on_step, ask_child), settings)
    best = pick(verdicts, objective)
    refused = tuple(f"{name(one)}: {one.refusal}"[:2000] for one in verdicts if one.refusal)
    if best is None:
        raise ModelError("\n  ".join([f"nothing that was measured may be chosen for {subject.name}:", *refused]))
    figures, agreement, way = best.measured.figures(), best.compared.agreement, best.measured.candidate.way
    tuning = Tuning(
        model=subject.name,
        objective=objective,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        choice=Choice(
            file=best.measured.candidate.file.name,
            providers=way.providers,
            is_plain=way.is_plain,
            threads=way.threads,
        ),
        figures=Figures(
            latency_ms=round(figures["latency_ms"], 3),
            cpu_ms=round(figures["cpu_ms"], 3),
            memory_mb=round(figures["memory_mb"], 1),
            agreement=None if agreement is None else round(agreement.value, 4),
        ),
        candidates=len(verdicts),
        refused=refused[:_MOST_REFUSED],
        fingerprint=fingerprint,
    )
    return tuning, verdicts


def chosen(verdicts: Sequence[Verdict], choice: Choice) -> Verdict | None:
    """Find a stored choice among what was measured; None: it was not measured, or failed."""
    for one in verdicts:
        way = one.measured.candidate.way
        is_it = (choice.providers, choice.is_plain, choice.threads) == (way.providers, way.is_plain, way.threads)
        if is_it and one.measured.candidate.file.name == choice.file and not one.measured.error:
            return one
    return None


def name(one: Verdict) -> str:
    """Give what a candidate is called in messages: file, what runs it, threads."""
    candidate = one.measured.candidate
    count = candidate.way.threads
    return f"{candidate.file.name} by {candidate.by} with {count} {'thread' if count == 1 else 'threads'}"


def _not_meant(candidate: Candidate, settings: ModelSettings) -> str:
    """Tell what of the owner's configuration a candidate goes against."""
    if settings.providers and candidate.format == "onnx" and candidate.way.providers != settings.providers:
        return f"[model] providers is {', '.join(settings.providers)}"
    if "threads" in settings.model_fields_set and candidate.way.threads != settings.threads:
        return f"[model] threads is {settings.threads}"
    if settings.artifact is not None and candidate.artifact is not None and not candidate.is_meant:
        return f"[model] artifact is {settings.artifact}"
    return ""
