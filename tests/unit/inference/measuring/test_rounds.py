"""Candidates are measured in rounds; what fails is out."""

from pathlib import Path

import pytest

from appliance.inference.measuring.request import Answer
from appliance.inference.measuring.rounds import Effort, measure_all
from tests.simulators.measuring import Answers, answer, candidate

A, B = candidate(Path("a.onnx")), candidate(Path("b.onnx"))


def test_all_candidates_have_a_turn_in_each_round_and_only_the_first_asks_what_they_find() -> None:
    answers = Answers({"a.onnx": [answer()], "b.onnx": [answer()]})
    measure_all([A, B], Effort(rounds=2), ask_child=answers)
    assert [Path(one.use).name for one in answers.asked] == ["a.onnx", "b.onnx"] * 2
    assert [one.outputs is not None for one in answers.asked] == [True, True, False, False]


def test_figures_are_those_of_the_best_round_because_noise_only_adds() -> None:
    answers = Answers({"a.onnx": [answer(30.0, 25.0, 80.0), answer(10.0, 9.0, 90.0), answer(20.0, 8.0, 85.0)]})
    (one,) = measure_all([A], Effort(rounds=3), ask_child=answers)
    figures = one.figures()
    assert (figures["latency_ms"], figures["cpu_ms"], figures["memory_mb"]) == (10.0, 8.0, 85.0)
    assert (figures["p50_ms"], figures["p95_ms"], figures["frames"]) == (20.0, 30.0, 9.0)


@pytest.mark.parametrize("kind", ["hang", "crash", "ModelError"])
def test_one_that_fails_costs_its_own_row_and_is_not_asked_again(kind: str) -> None:
    answers = Answers({"a.onnx": [Answer(error="gone", kind=kind)], "b.onnx": [answer()]})
    first, second = measure_all([A, B], Effort(rounds=3), ask_child=answers)
    assert (first.error, first.kind, second.error) == ("gone", kind, "")
    assert [Path(one.use).name for one in answers.asked] == ["a.onnx", "b.onnx", "b.onnx", "b.onnx"]


def test_one_that_fails_in_a_later_round_is_out_as_well() -> None:
    answers = Answers({"a.onnx": [answer(), Answer(error="gone", kind="crash")]})
    (one,) = measure_all([A], Effort(rounds=3), ask_child=answers)
    assert (one.error, len(answers.asked)) == ("gone", 2)


def test_each_process_moves_the_bar() -> None:
    steps: list[str] = []
    answers = Answers({"a.onnx": [Answer(error="gone", kind="crash")], "b.onnx": [answer()]})
    measure_all([A, B], Effort(rounds=2), lambda one: steps.append(one.file.name), answers)
    assert steps == ["a.onnx", "b.onnx"] * 2


def test_the_time_that_the_processor_was_busy_with_others_does_not_count_for_a_choice() -> None:
    answers = Answers({"a.onnx": [answer(30.0, waited_ms=(20.0, 0.0, 19.0))]})
    (one,) = measure_all([A], Effort(rounds=1), ask_child=answers)
    assert (one.figures()["latency_ms"], one.figures()["p50_ms"]) == (11.0, 30.0)
