"""The Hailo runtime's seam, against a stand-in that was recorded from the vendor's source."""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.core.errors import ModelError, UnsupportedError
from appliance.inference.runtimes import Placement, hailo
from appliance.inference.runtimes.hailo import HailoRuntime, HailoSession
from tests.simulators.vendor_hailo_platform import HailoRTException, Machine, hef, installed, status

MAPS = [{"name": "net/conv1", "shape": [8, 8, 4]}, {"name": "net/fc", "shape": [10]}]
LISTS = [{"name": "net/nms", "classes": 3, "boxes": 2}]
PICTURE = "net/input_layer1"


def opened(content: bytes = b"", **more: Any) -> HailoSession:
    return HailoRuntime().open(content or hef(outputs=MAPS, **more), name="/m/net.hef", threads=1)


def picture(value: int = 7) -> dict[str, np.ndarray]:
    return {PICTURE: np.full((1, 64, 64, 3), value, np.uint8)}


def refused(content: bytes, machine: Machine) -> Exception:
    with installed(machine), pytest.raises((ModelError, UnsupportedError)) as caught:
        opened(content)
    assert machine.devices == []
    assert "\n" not in str(caught.value)
    return caught.value


def test_without_hailort_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    with pytest.raises(UnsupportedError, match=r"needs HailoRT .*: sudo apt install hailo-all, .* hailo-h10-all"):
        HailoRuntime()


def test_tensors_have_a_batch_of_one_and_outputs_are_float() -> None:
    with installed():
        session = opened()
        assert [str(one) for one in session.inputs] == ["net/input_layer1 uint8[1,64,64,3]"]
        assert [str(one) for one in session.outputs] == ["net/conv1 float32[1,8,8,4]", "net/fc float32[1,10]"]
        first, second = session.run(picture(7))
        assert np.all(first == 7)
        assert (first.shape, second.shape, first.dtype) == ((1, 8, 8, 4), (1, 10), np.float32)
        session.close()


def test_a_picture_that_the_file_scales_itself_is_taken_as_float() -> None:
    with installed():
        session = opened(scale=0.0078, zero=128.0)
        assert [one.dtype for one in session.inputs] == ["float32"]
        (first, _) = session.run({PICTURE: np.full((1, 64, 64, 3), 0.25, np.float32)})
        assert np.all(first == 0.25)
        session.close()


def test_what_its_suppression_found_has_a_place_for_every_box() -> None:
    found = {0: [(0.1, 0.2, 0.3, 0.4, 0.9), (0.5, 0.5, 0.6, 0.6, 0.4)], 2: [(0.0, 0.0, 1.0, 1.0, 0.7)]}
    with installed(Machine(found=found)):
        session = opened(hef(outputs=LISTS))
        assert [str(one) for one in session.outputs] == ["net/nms float32[1,3,2,5]"]
        (answer,) = session.run(picture())
        session.close()
    assert answer.shape == (1, 3, 2, 5)
    np.testing.assert_allclose(answer[0, 0], found[0])
    np.testing.assert_allclose(answer[0, 1], np.zeros((2, 5)))
    np.testing.assert_allclose(answer[0, 2], [found[2][0], (0, 0, 0, 0, 0)])


@pytest.mark.parametrize("count", [3.0, -1.0, 0.5, np.nan, np.inf])
def test_a_list_longer_than_can_be_is_an_error_of_the_model(count: float) -> None:
    with installed(Machine(counts={1: count})):
        session = opened(hef(outputs=LISTS))
        with pytest.raises(ModelError, match=r"/m/net.hef gave a list of detections that cannot be read"):
            session.run(picture())
        session.close()


def test_numbers_that_are_none_pass_for_the_detector_to_see() -> None:
    with installed(Machine(value=np.nan)):
        session = opened()
        assert np.isnan(session.run(picture())[0]).all()
        session.close()


@pytest.mark.parametrize("fault", ["hang", "late"])
def test_a_hailo_that_does_not_answer_costs_its_limit_and_no_more(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo, "ANSWER_MS", 50)
    with installed(Machine(fault=fault)) as machine:
        session = opened()
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"/m/net.hef gave no answer in 1\.1 s; is the Hailo well seated"):
            session.run(picture())
        with pytest.raises(ModelError, match="gave no answer"):  # and not once more
            session.run(picture())
        assert time.monotonic() - began < 2.0
        machine.answer.set()
        session.close()


def test_all_limits_together_leave_time_to_fall_back_within_five_seconds() -> None:
    assert hailo.READY_MS + 2 * hailo.ANSWER_MS <= 4000


@pytest.mark.parametrize("fault", ["error", "abort"])
def test_a_failed_answer_ends_the_session_with_its_reason(fault: str) -> None:
    reason = {"error": r"HAILO_DRIVER_TIMEOUT", "abort": "Stream was aborted"}[fault]
    with installed(Machine(fault=fault)) as machine:
        session = opened()
        with pytest.raises(ModelError, match=f"/m/net.hef failed to run: .*{reason}"):
            session.run(picture())
        machine.fault = ""
        with pytest.raises(ModelError, match=reason):
            session.run(picture())
        session.close()


def test_an_answer_that_comes_late_changes_no_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo, "ANSWER_MS", 50)
    with installed(Machine(fault="hang")) as machine:
        late = opened()
        with pytest.raises(ModelError, match="gave no answer"):
            late.run(picture(9))
        machine.fault = ""
        session = opened()
        (first, _) = session.run(picture(5))
        machine.answer.set()
        for thread in machine.threads:
            thread.join(10)
        assert np.all(first == 5)
        session.close()
        late.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"other": np.zeros((1, 64, 64, 3), np.uint8)},
        {PICTURE: np.zeros((1, 64, 64, 3), np.float32)},
        {PICTURE: np.zeros((1, 32, 64, 3), np.uint8)},
        {PICTURE: np.zeros((64, 64, 3), np.uint8)},
    ],
    ids=["none", "name", "dtype", "size", "batch"],
)
def test_other_inputs_are_refused_before_the_device_reads_beyond_them(wrong: dict[str, np.ndarray]) -> None:
    with installed():
        session = opened()
        with pytest.raises(ModelError, match=r"/m/net.hef (has no input|takes|was given no) .*net/input_layer1"):
            session.run(wrong)
        assert np.all(session.run(picture(3))[0] == 3)  # and the network goes on
        session.close()


def test_sessions_of_one_process_share_the_device_and_give_it_back() -> None:
    with installed() as machine:
        first, second = opened(), opened()
        assert np.all(first.run(picture(1))[0] == 1)
        assert np.all(second.run(picture(2))[0] == 2)
        first.close()
        assert np.all(second.run(picture(3))[0] == 3)
        second.close()
        second.close()
        assert (machine.devices, machine.networks) == ([], 0)
        with pytest.raises(ModelError, match="was closed"):
            second.run(picture())


def test_it_says_that_a_hailo_runs_it_and_not_how_many_nodes() -> None:
    with installed():
        session = opened()
        assert (session.placements, session.shortfalls) == ((Placement("hailo", None),), ())
        session.close()


def test_no_hailo_and_one_that_is_taken_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo, "DEVICES", tmp_path)
    none = status(74, "HAILO_OUT_OF_PHYSICAL_DEVICES")
    assert "there is no Hailo: neither /dev/hailo0" in str(refused(hef(outputs=MAPS), Machine(trouble=none)))
    (tmp_path / "hailo0").touch()
    taken = str(refused(hef(outputs=MAPS), Machine(trouble=none)))
    assert "no Hailo is free: another program has it" in taken
    assert f"fuser -v {tmp_path}/hailo0" in taken


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (status(76, "HAILO_INVALID_DRIVER_VERSION"), "driver, library and firmware differ; do: sudo apt update"),
        (status(64, "HAILO_DRIVER_NOT_INSTALLED"), "driver is not loaded; install it"),
        (status(73, "HAILO_DEVICE_IN_USE"), "another program has the Hailo; stop it"),
        (status(8, "HAILO_INTERNAL_FAILURE"), r"the Hailo cannot be used: .*HAILO_INTERNAL_FAILURE\); do: sudo apt"),
        (HailoRTException("something\nodd."), "the Hailo cannot be used: something odd; do: sudo apt"),
    ],
)
def test_a_device_that_cannot_be_had_is_told_with_a_next_step(trouble: HailoRTException, told: str) -> None:
    error = refused(hef(outputs=MAPS), Machine(trouble=trouble))
    assert isinstance(error, UnsupportedError)
    with pytest.raises(UnsupportedError, match=told):
        raise error


@pytest.mark.parametrize("is_old", [False, True])
def test_a_file_for_another_hailo_is_not_called_broken(*, is_old: bool) -> None:
    error = refused(hef(outputs=MAPS, arch="hailo8"), Machine(is_old=is_old))
    assert isinstance(error, UnsupportedError)
    assert "/m/net.hef is compiled for another kind of Hailo than this one" in str(error)


@pytest.mark.parametrize("content", [b"HEX", b"\x00" * 100])
def test_a_broken_file_is_a_model_error(content: bytes) -> None:
    error = refused(content, Machine())
    assert isinstance(error, ModelError)
    assert "/m/net.hef is no HEF that HailoRT can read" in str(error)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (hef(outputs=MAPS, order="NV12"), "takes its picture as NV12; compile it to take NHWC"),
        (
            hef(outputs=[{**LISTS[0], "order": "HAILO_NMS_BY_SCORE"}]),
            "gives its detections as HAILO_NMS_BY_SCORE; compile it to give HAILO_NMS_BY_CLASS",
        ),
    ],
)
def test_forms_that_are_not_read_are_named(content: bytes, told: str) -> None:
    error = refused(content, Machine())
    assert isinstance(error, UnsupportedError)
    assert told in str(error)


@pytest.mark.parametrize("missing", ["HailoSchedulingAlgorithm", "FormatType"])
def test_another_version_of_hailort_is_told_and_the_device_given_back(missing: str) -> None:
    with installed() as machine:
        delattr(sys.modules["hailo_platform"], missing)
        with pytest.raises(UnsupportedError, match=rf"this version of HailoRT does not fit \(.*{missing}.*; do: sudo"):
            opened()
        assert machine.devices == []


def test_an_empty_file_is_told() -> None:
    with installed(), pytest.raises(ModelError, match=r"/m/net\.hef is empty"):
        HailoRuntime().open(b"", name="/m/net.hef", threads=1)
