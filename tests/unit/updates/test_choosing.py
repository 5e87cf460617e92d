"""What a device takes of what it is offered: every rule that must hold, and the reason when one does not."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.updates.choosing import Device, Nothing, Wanted, choose, is_halted, licence_trouble
from appliance.updates.formats import Licence
from appliance.updates.orders import CheckAnswer
from appliance.updates.refusals import Code
from appliance.updates.rollout import Whom, hidden
from appliance.updates.state import Blocked, Floor, Held, State

DEVICE = Device(
    Whom("door", ("gates",)), "0.2.0", "aarch64", board="Raspberry Pi 5 Model B", memory_mb=4000.0,
    runtimes={"onnxruntime": "1.20.1"}, use="commercial", today=date(2026, 11, 22),
)  # fmt: skip


def digest(counter: int) -> str:
    return f"{counter:064x}"


def held(counter: int) -> Held:
    return Held(sha256=digest(counter), name="persons", version=str(counter), counter=counter)


def known(sha256: str) -> dict[str, Any]:
    return {"url": "https://fleet/x", "sha256": sha256, "size": 10}


def offer(counter: int, **changes: Any) -> dict[str, Any]:
    release = {
        "schema": 1,
        "name": "persons",
        "version": str(counter),
        "counter": counter,
        "task": "detect",
        "metrics": {"dataset": "d", "pictures": 1, "figures": {"ap": 1}},
        "licence": {"spdx": "MIT"},
        "provenance": "p",
        "files": {"w.onnx": {"path": "models/p/w.onnx"}},
        **changes,
    }
    weights = known("f" * 64)
    return {"release": release, "manifest": known(digest(counter)), "files": {"w.onnx": weights}, "deltas": {}}


def selection(counter: int) -> dict[str, Any]:
    return {"path": f"models/persons/{counter}/manifest.toml", "sha256": digest(counter)}


def answer(*offers: dict[str, Any], **changes: Any) -> CheckAnswer:
    rollout = {
        "schema": 1,
        "id": "r",
        "name": "persons",
        "choose": [selection(one["release"]["counter"]) for one in offers],
        "salt": "s",
        "share_ppm": 1_000_000,
        **changes,
    }
    values = {
        "rollout": rollout,
        "offers": {one["manifest"]["sha256"]: one for one in offers},
        "unsigned": {},
        "timestamp": 1,
        "issued": None,
    }
    return CheckAnswer.model_validate(values)


def test_of_two_releases_for_two_cohorts_a_device_takes_its_own_and_others_take_none() -> None:
    both = [selection(8) | {"cohorts": ("blue",)}, selection(9) | {"cohorts": ("gates",)}]
    wanted = choose(answer(offer(8), offer(9), choose=both), State(), DEVICE)
    assert isinstance(wanted, Wanted)
    assert wanted.update.release.version == "9"
    nothing = choose(answer(offer(8), choose=both[:1]), State(), DEVICE)
    assert isinstance(nothing, Nothing)
    assert "no release for this device's cohorts" in nothing.why


def test_the_first_release_that_fits_is_taken() -> None:
    first = offer(9, requires={"machines": ["x86_64"]})
    chosen = choose(answer(first, offer(8), offer(7)), State(active=held(1)), DEVICE)
    assert isinstance(chosen, Wanted)
    assert chosen.update.release == held(8)


@pytest.mark.parametrize(
    ("requires", "why"),
    [
        ({"edgecam": "0.10.0"}, "needs Edgecam 0.10.0"),
        ({"machines": ["x86_64"]}, "is for x86_64"),
        ({"boards": ["NVIDIA"]}, "is for NVIDIA"),
        ({"runtimes": {"onnxruntime": "1.21"}}, "needs onnxruntime 1.21, and 1.20.1 is here"),
        ({"runtimes": {"tflite": "1"}}, "and none is here"),
        ({"accelerators": ["hailo"]}, "needs hailo"),
        ({"memory_mb": 5000}, "has 4000"),
    ],
)
def test_what_a_device_lacks_is_told(requires: dict[str, Any], why: str) -> None:
    chosen = choose(answer(offer(2, requires=requires)), State(), DEVICE)
    assert isinstance(chosen, Nothing)
    assert chosen.code is Code.UNSUPPORTED
    assert why in chosen.why


@pytest.mark.parametrize(
    ("state", "changes", "why", "code"),
    [
        (State(active=held(2)), {}, "is in service", None),
        (State(is_pinned=True), {}, "pinned", None),
        (State(), {"share_ppm": 0}, "not for this device", None),
        (State(), {"deny": [hidden("door")]}, "not for this device", None),
        (State(), {"cohorts": ["beta"]}, "not for this device", None),
        (State(), {"state": "halted"}, "halted", None),
        (State(blocked=(Blocked(sha256=digest(2), code=Code.BLIND),)), {}, "E_BLIND", None),
        (State(floors={"persons": Floor(counter=3)}), {}, "none below 3", Code.COUNTER),
        (State(floors={"persons": Floor(security=3)}), {}, "none below 3", Code.COUNTER),
    ],
)
def test_what_stands_against_a_release_is_told(
    state: State, changes: dict[str, Any], why: str, code: Code | None
) -> None:
    chosen = choose(answer(offer(2), **changes), state, DEVICE)
    assert isinstance(chosen, Nothing)
    assert why in chosen.why
    assert chosen.code is code


def test_what_is_not_signed_is_refused_with_its_reason() -> None:
    found = answer(offer(2))
    unsigned = found.model_copy(update={"offers": {}, "unsigned": {digest(2): "nobody who may"}})
    chosen = choose(unsigned, State(), DEVICE)
    assert isinstance(chosen, Nothing)
    assert chosen.code is Code.MISSING
    assert "nobody who may" in chosen.why


def taken_back(older: dict[str, Any], newer: dict[str, Any]) -> CheckAnswer:
    found = answer(newer, state="rollback", rollback_to=selection(older["release"]["counter"]))
    both = answer(newer, older)
    return both.model_copy(update={"rollout": found.rollout})


def test_a_fleet_takes_a_release_back_to_one_that_it_allows_and_no_other() -> None:
    state = State(active=held(5), floors={"persons": Floor(counter=5)})
    allowed = taken_back(offer(3), offer(5, may_downgrade_to=[digest(3)]))
    chosen = choose(allowed, state, DEVICE)
    assert isinstance(chosen, Wanted)
    assert chosen.update.is_return
    assert chosen.update.release == held(3)
    for refused in (
        taken_back(offer(3), offer(5)),
        taken_back(offer(3), offer(5, may_downgrade_to=[digest(3)], security_floor=4)),
    ):
        nothing = choose(refused, state, DEVICE)
        assert isinstance(nothing, Nothing)
        assert nothing.code is Code.COUNTER
    assert isinstance(choose(allowed, State(active=held(4)), DEVICE), Nothing), "it never had what is taken back"


def test_a_halt_reaches_what_is_under_way_and_a_return_is_not_halted_by_itself() -> None:
    chosen = choose(answer(offer(2)), State(), DEVICE)
    assert isinstance(chosen, Wanted)
    assert not is_halted(answer(offer(2)), chosen.update)
    assert is_halted(answer(offer(2), state="halted"), chosen.update)
    assert is_halted(answer(offer(2), state="rollback"), chosen.update)
    assert not is_halted(answer(offer(2), state="halted", id="other"), chosen.update)
    back = chosen.update.model_copy(update={"is_return": True})
    assert not is_halted(answer(offer(2), state="rollback"), back)


@pytest.mark.parametrize(
    ("licence", "told", "is_forbidden"),
    [
        ({}, "", False),
        ({"expires": "2027-11-22"}, "", False),
        ({"expires": "2026-12-01"}, "in 9 days", False),
        ({"expires": "2026-11-22"}, "in 0 days", False),
        ({"expires": "2026-11-21"}, "ended on 2026-11-21", True),
        ({"uses": ["research"]}, "'commercial' here", True),
        ({"uses": ["research", "commercial"]}, "", False),
    ],
)
def test_a_licence_is_kept_and_its_end_is_told_ahead(licence: dict[str, Any], told: str, is_forbidden: bool) -> None:  # noqa: FBT001 - a parameter of the test
    trouble, forbids = licence_trouble(Licence(spdx="MIT", **licence), DEVICE.use, DEVICE.today)
    assert forbids is is_forbidden
    assert (told in trouble) if told else not trouble
    chosen = choose(answer(offer(2, licence={"spdx": "MIT", **licence})), State(), DEVICE)
    assert isinstance(chosen, Nothing) is is_forbidden


RECIPIENT = "age1ekhnat5ml6p5awz20tq3d66javqjr7fcn63s206kkc3qke6lu9rqh5yayx"
SEALED = {
    "files": {"w.onnx.age": {"path": "models/p/w.onnx.age", "plain": {"sha256": "e" * 64, "size": 9}}},
    "recipients": [RECIPIENT],
}


@pytest.mark.parametrize("keys", [(), ("age1another",)])
def test_what_is_encrypted_for_others_is_neither_brought_nor_blocked(keys: tuple[str, ...]) -> None:
    chosen = choose(answer(offer(2, **SEALED)), State(), replace(DEVICE, keys=frozenset(keys)))
    assert isinstance(chosen, Nothing)
    assert chosen.code is Code.KEY
    assert "[model] key" in chosen.why


def test_what_is_encrypted_for_this_device_is_taken_and_the_next_where_the_first_is_for_others() -> None:
    mine = replace(DEVICE, keys=frozenset({RECIPIENT}))
    assert isinstance(choose(answer(offer(2, **SEALED)), State(), mine), Wanted)
    chosen = choose(answer(offer(3, **SEALED), offer(2)), State(), DEVICE)
    assert isinstance(chosen, Wanted)
    assert chosen.update.release.counter == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"recipients": [RECIPIENT]},
        {"files": SEALED["files"]},
        {"files": {"w.onnx": {"path": "models/p/w", "plain": {"sha256": "e" * 64, "size": 9}}}},
        {"files": {"w.onnx.age": {"path": "models/p/w"}}, "recipients": [RECIPIENT]},
        {**SEALED, "recipients": ["AGE-SECRET-KEY-1"]},
        {
            **SEALED,
            "files": {
                "w.onnx.age": {
                    "path": "models/p/w.age",
                    "plain": {"sha256": "e" * 64, "size": 9},
                    "deltas": [{"base": "f" * 64, "path": "deltas/p/d"}],
                }
            },
        },
    ],
)
def test_a_release_says_of_what_is_encrypted_all_that_must_be_known(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        answer(offer(2, **changes))


@pytest.mark.parametrize(
    ("task", "in_service"), [("classify", "detect"), ("detect", "classify"), ("segment", "detect")]
)
def test_a_release_of_another_task_is_never_taken_whoever_signed_it(task: str, in_service: str) -> None:
    device = replace(DEVICE, task=in_service)
    refused = choose(answer(offer(9, task=task)), State(), device)
    assert isinstance(refused, Nothing)
    assert refused.code is Code.CONTRACT
    assert f"9 is for task '{task}', and '{in_service}' is in service" in refused.why
    wanted = choose(answer(offer(9, task=task)), State(), replace(DEVICE, task=task))
    assert isinstance(wanted, Wanted)


def test_of_two_releases_the_one_of_the_task_in_service_is_taken() -> None:
    wanted = choose(answer(offer(8, task="classify"), offer(9)), State(), DEVICE)
    assert isinstance(wanted, Wanted)
    assert wanted.update.release.version == "9"
