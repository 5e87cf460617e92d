"""What may be chosen, and what is."""

from pathlib import Path

import numpy as np
import pytest

from appliance.config import ModelSettings
from appliance.core.errors import ModelError
from appliance.inference.golden import GoldenObject
from appliance.inference.measuring.agreement import Agreement
from appliance.inference.measuring.comparing import Compared
from appliance.inference.measuring.request import Answer
from appliance.inference.measuring.rounds import Effort, Measured
from appliance.inference.measuring.subjects import find_candidates
from appliance.inference.measuring.tuner import FLOOR, Verdict, chosen, judge, pick, tune
from tests.simulators.measuring import CAR, Answers, answer, candidate
from tests.simulators.models import write_folder, yolox, yolox_answer

CARS = tuple(GoldenObject(label="car", score=0.9, box=(20.0 * n, 0.0, 20.0 * n + 10.0, 10.0)) for n in range(6))


@pytest.fixture
def model(tmp_path: Path) -> ModelSettings:
    folder = write_folder(tmp_path / "mine", {"int8": yolox(yolox_answer()), "fp32": yolox(yolox_answer())})
    return ModelSettings(use=str(folder))


def tuned(
    model: ModelSettings, answers: Answers, objective: str = "latency", threads: tuple[int, ...] = (1,)
) -> object:
    candidates = find_candidates(model, pictures=(Path("street.png"),), here=("cpu",), threads=threads)
    return tune(model, candidates, objective, effort=Effort(rounds=2), ask_child=answers)  # type: ignore[arg-type]


def choose(model: ModelSettings, answers: Answers, objective: str = "latency") -> tuple[str, list[str]]:
    """Give the file that is chosen, and what was refused."""
    tuning, _ = tuned(model, answers, objective)  # type: ignore[misc] # a pair
    return tuning.choice.file, list(tuning.refused)


def quick_8_bits(**more: object) -> Answers:
    return Answers(
        {
            "int8.onnx": [answer(5.0, 5.0, 90.0, is_quantized=True, **{"objects": (CARS,)} | more)],
            "fp32.onnx": [answer(10.0, 10.0, 70.0, objects=(CARS,))],
        }
    )


@pytest.mark.parametrize(
    ("objective", "file"), [("latency", "int8.onnx"), ("cpu", "int8.onnx"), ("memory", "fp32.onnx")]
)
def test_the_best_by_the_objective_is_chosen(model: ModelSettings, objective: str, file: str) -> None:
    assert choose(model, quick_8_bits(), objective) == (file, [])


def test_eight_bits_that_lost_their_accuracy_are_refused_with_the_figure_however_fast(model: ModelSettings) -> None:
    file, refused = choose(model, quick_8_bits(objects=(CARS[:2],)))
    assert file == "fp32.onnx"
    (line,) = refused
    told = "agrees with fp32.onnx in 0.50 of 8 objects, scores differ by 0.000; at least 0.85 is asked for"
    assert line == f"int8.onnx by cpu with 1 thread: {told}"


def test_scores_that_are_others_are_refused_too(model: ModelSettings) -> None:
    weaker = tuple(one.model_copy(update={"score": 0.7}) for one in CARS)
    _, refused = choose(model, quick_8_bits(objects=(weaker,)))
    assert "scores differ by 0.200; scores may differ by 0.15" in refused[0]


def test_where_too_little_is_seen_to_judge_a_file_pictures_are_asked_for(model: ModelSettings) -> None:
    answers = Answers(
        {
            "int8.onnx": [answer(5.0, is_quantized=True, objects=((CAR,),))],
            "fp32.onnx": [answer(10.0, objects=((CAR,),))],
        }
    )
    file, refused = choose(model, answers)
    assert file == "fp32.onnx"
    assert "only 2 objects to compare with fp32.onnx; give --pictures FOLDER" in refused[0]
    nothing = [answer(objects=((),))]
    answers = Answers({"int8.onnx": [answer(objects=((),), is_quantized=True)], "fp32.onnx": nothing})
    assert "int8.onnx cannot be compared with fp32.onnx" in choose(model, answers)[1][0]


def test_what_crashes_is_refused_with_its_reason_and_the_rest_goes_on(model: ModelSettings) -> None:
    answers = Answers({"int8.onnx": [Answer(error="ended by SIGSEGV", kind="crash")], "fp32.onnx": [answer()]})
    assert choose(model, answers) == ("fp32.onnx", ["int8.onnx by cpu with 1 thread: ended by SIGSEGV"])


def test_where_nothing_may_be_chosen_all_reasons_are_told(model: ModelSettings) -> None:
    gone = [Answer(error="gone", kind="crash")]
    with pytest.raises(ModelError, match=r"(?s)nothing that was measured.*int8\.onnx.*gone.*fp32\.onnx.*gone"):
        tuned(model, Answers({"int8.onnx": gone, "fp32.onnx": gone}))


def test_of_two_that_are_about_as_quick_the_one_with_less_cpu_time_is_chosen(model: ModelSettings) -> None:
    def verdict(latency: float, cpu: float, memory: float = 80.0) -> Verdict:
        answers = Answers(
            {"fp32.onnx": [answer(latency, cpu, memory)], "int8.onnx": [Answer(error="gone", kind="crash")]}
        )
        return next(one for one in tuned(model, answers)[1] if not one.refusal)  # type: ignore[index]

    two_threads, one_thread, slow = verdict(10.0, 20.0), verdict(10.4, 10.0), verdict(12.0, 5.0)
    best = pick([two_threads, one_thread, slow], "latency")
    assert best is one_thread
    assert best.value("latency") <= FLOOR * two_threads.value("latency")
    assert pick([two_threads, one_thread, slow], "cpu") is slow
    assert pick([], "latency") is None


def test_what_the_owner_sets_leaves_out_the_others_and_the_float_file_still_is_the_reference(
    model: ModelSettings,
) -> None:
    own = ModelSettings(use=model.use, artifact="int8")
    assert choose(own, quick_8_bits())[0] == "int8.onnx"
    with pytest.raises(ModelError, match=r"(?s)0.50 of 8 objects.*artifact is int8"):
        choose(own, quick_8_bits(objects=(CARS[:2],)))
    two = ModelSettings(use=model.use, threads=2)
    tuning, verdicts = tuned(two, quick_8_bits(), threads=(1, 2))  # type: ignore[misc] # a pair
    assert tuning.choice.threads == 2
    assert chosen(verdicts, tuning.choice).measured.candidate.way.threads == 2


@pytest.mark.parametrize(
    ("compared", "told"),
    [
        (Compared(None, is_reference=True), ""),
        (Compared(None, reference="a"), "cannot be compared with a"),
        (Compared(None, is_reference=True, golden="2 objects"), "golden frames not passed: 2 objects"),
        (Compared(Agreement("tensors", 0.995, 9, 0.1), is_same_file=True), ""),
        (Compared(Agreement("tensors", 0.98, 9, 0.1), is_same_file=True), "at least 0.99"),
        (Compared(Agreement("tensors", 0.999, 9, 0.1), reference="a", note="nothing was found"), "cannot be compared"),
        (Compared(Agreement("objects", 1.0, 2, 0.0), is_same_file=True), ""),
    ],
)
def test_a_file_is_judged_by_what_it_finds_and_a_way_also_by_the_outputs(
    model: ModelSettings, compared: Compared, told: str
) -> None:
    _, verdicts = tuned(model, quick_8_bits())  # type: ignore[misc] # a pair
    verdict = judge(verdicts[0].measured, compared)
    assert (told in verdict) if told else not verdict
    assert np.isfinite(verdicts[0].value("latency"))


@pytest.mark.parametrize(
    ("agreement", "refusal"),
    [
        (Agreement("labels", 0.9, 60, 0.02), ""),
        (Agreement("labels", 0.5, 60, 0.02), "agrees with f.onnx in 0.50 of the best labels of 60 pictures"),
        (Agreement("labels", 1.0, 60, 0.4), "scores may differ by 0.15"),
        (Agreement("labels", 1.0, 3, 0.0), "only 3 pictures with a label to compare with f.onnx"),
        (Agreement("pixels", 0.97, 90_000, 0.0), ""),
        (Agreement("pixels", 0.2, 90_000, 0.0), "agrees with f.onnx in 0.200 of 90000 pixels; at least 0.85"),
    ],
)
def test_a_classifier_or_segmentation_network_that_lost_its_accuracy_is_refused(
    agreement: Agreement, refusal: str
) -> None:
    one = Measured(candidate(Path("q.onnx")), first=answer())
    told = judge(one, Compared(agreement, reference="f.onnx"))
    assert told.startswith(refusal) or told.endswith(refusal)
    assert bool(told) == bool(refusal)
