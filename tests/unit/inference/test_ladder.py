"""The ladder: the best artifact that works is taken, and why the better ones are not is told."""

import contextlib
import hashlib
import platform
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError, UnavailableError, UnsupportedError
from appliance.core.frame import Frame, PixelLayout
from appliance.inference.artifacts import LocatedModel, locate_model
from appliance.inference.ladder import find_ladder, open_best_model, open_climbing_model
from appliance.inference.opening import AnyModel, load_model
from appliance.inference.runtimes import NO_PLAN, Plan
from appliance.inference.ways import Preference, Way
from tests.simulators import tiny_onnx
from tests.simulators.faulty_runtime import FaultyRuntime, faulty, install
from tests.simulators.models import add_artifact, write_ladder, yolox_answer

CAR = 2
SOUND = tiny_onnx.model({"images": (1, 3, 64, 64)}, {"output": yolox_answer((9, CAR, 0.9))})
OTHER = tiny_onnx.model({"images": (1, 3, 10, 10)}, {"output": np.zeros((1, 7), np.float32)})


@pytest.fixture(autouse=True)
def _faults(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def picture() -> Frame:
    return Frame(
        np.zeros((64, 64, 3), np.uint8), PixelLayout.BGR, 64, 64, "door", 1, datetime(2026, 5, 1, tzinfo=UTC), 1
    )


def settings(directory: Path, **more: object) -> ModelSettings:
    return ModelSettings.model_validate({"use": "stairs", "directories": (directory,)} | more)


def test_the_first_artifact_is_taken_where_it_works_and_the_others_are_not_even_read(tmp_path: Path) -> None:
    folder = write_ladder(tmp_path, SOUND, SOUND)
    (folder / "r1.onnx").write_bytes(b"not what the manifest says")
    with open_best_model(settings(tmp_path)) as detector:
        assert detector.running.file == "r0.onnx"
        assert detector.running.refused == ()
        assert detector.running.troubles() == ()


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (faulty("broken", SOUND), r"r0\.onnx is broken"),
        (faulty("unsupported", SOUND), r"nothing that may run .*r0\.onnx does so here"),
        (faulty("error", SOUND), "failed to run: out of memory"),
        (faulty("nan", SOUND), "gave numbers that are not finite"),
        (faulty("shape", SOUND), r"gave \(1, 83, 85\) for output float32\[1,84,85\]"),
        (faulty("count", SOUND), "gave 0 outputs for 1"),
        (OTHER, "fits no known model"),
        (SOUND[:-30], "is no model that ONNX Runtime can load"),
    ],
    ids=["broken", "unsupported", "error", "nan", "shape", "count", "another network", "cut off"],
)
def test_a_rung_that_fails_is_refused_with_its_reason_closed_and_the_next_one_taken(
    tmp_path: Path, first: bytes, why: str
) -> None:
    write_ladder(tmp_path, first, SOUND)
    with open_best_model(settings(tmp_path)) as detector:
        assert len(detector.detect(picture())) > 0
        assert detector.running.file == "r1.onnx"
        assert detector.digest == hashlib.sha256(SOUND).hexdigest()
        (refusal,) = detector.running.refused
        assert refusal.file == "r0.onnx"
        assert not refusal.is_expected
        assert re.search(why, refusal.why)
        (trouble,) = detector.running.troubles()
        assert trouble.startswith("r0.onnx was refused, r1.onnx runs: ")
        assert detector.running.facts()["refused"][0]["why"] == refusal.why
        assert [Path(name).name for name in FaultyRuntime.opened] == ["r1.onnx"]
    assert FaultyRuntime.opened == []


def test_a_file_that_is_not_the_manifests_is_passed_on_the_way_down(tmp_path: Path) -> None:
    folder = write_ladder(tmp_path, SOUND, SOUND)
    (folder / "r0.onnx").write_bytes(SOUND + b"!")
    with open_best_model(settings(tmp_path)) as detector:
        assert detector.running.file == "r1.onnx"
        assert "is not the file that its manifest names" in detector.running.refused[0].why


def test_a_file_that_cannot_be_read_is_no_reason_to_see_nothing(tmp_path: Path) -> None:
    folder = write_ladder(tmp_path, SOUND, SOUND)
    (folder / "r0.onnx").unlink()
    (folder / "r0.onnx").symlink_to("/proc/self/mem")  # its first bytes cannot be read, as on a card that fails
    with open_best_model(settings(tmp_path)) as detector:
        assert detector.running.file == "r1.onnx"
        assert "cannot read" in detector.running.refused[0].why


def test_what_is_for_another_machine_or_not_here_is_passed_over_and_nothing_is_wrong(tmp_path: Path) -> None:
    entries = {
        0: 'needs = { machines = ["riscv64"] }\n',
        1: 'needs = { device = "/dev/no-such-thing0" }\n',
        3: f'needs = {{ machines = ["riscv64", "{platform.machine()}"], device = "/dev/null" }}\n',
    }
    folder = write_ladder(tmp_path, SOUND, SOUND, SOUND, SOUND, entries=entries)
    (folder / "r2.onnx").unlink()
    with open_best_model(settings(tmp_path)) as detector:
        assert detector.running.file == "r3.onnx"
        assert detector.running.troubles() == ()
        assert [(one.file, one.why) for one in detector.running.refused] == [
            ("r0.onnx", f"is for riscv64, and this is {platform.machine()}"),
            ("r1.onnx", "needs /dev/no-such-thing0, which is not there"),
            ("r2.onnx", f"is not in {folder}"),
        ]
        assert all(one.is_expected for one in detector.running.refused)


def test_where_no_rung_holds_every_reason_is_told(tmp_path: Path) -> None:
    write_ladder(tmp_path, faulty("unsupported", SOUND), faulty("nan", SOUND))
    with pytest.raises(ModelError) as caught:
        open_best_model(settings(tmp_path))
    first, second, third = str(caught.value).split("\n")
    assert first == "no artifact of model 'stairs' works here:"
    assert second.startswith("  r0.onnx: nothing that may run")
    assert "not finite" in third
    assert FaultyRuntime.opened == []


def test_where_none_is_broken_it_is_the_machine_that_does_not_fit(tmp_path: Path) -> None:
    write_ladder(tmp_path, SOUND, faulty("unsupported", SOUND), entries={0: 'needs = { machines = ["riscv64"] }\n'})
    with pytest.raises(UnsupportedError, match=r"(?s)works here:\n  r0\.onnx: is for riscv64.*\n  r1\.onnx: nothing"):
        open_best_model(settings(tmp_path))


def test_a_single_rung_that_fails_is_told_as_ever(tmp_path: Path) -> None:
    write_ladder(tmp_path, faulty("broken", SOUND))
    with pytest.raises(ModelError, match=r"^\S+r0\.onnx is broken$"):
        open_best_model(settings(tmp_path))


def test_a_label_that_the_model_has_not_is_no_rungs_fault(tmp_path: Path) -> None:
    write_ladder(tmp_path, SOUND, SOUND)
    with pytest.raises(ConfigError, match=r"\[model\] labels"):
        open_best_model(settings(tmp_path, labels=("unicorn",)))


@pytest.mark.parametrize("pin", ["r1.onnx", "int8"])
def test_a_pinned_artifact_is_the_only_rung(tmp_path: Path, pin: str) -> None:
    folder = write_ladder(tmp_path, SOUND, SOUND)
    with open_best_model(settings(tmp_path, artifact=pin)) as detector:
        assert detector.running.file == "r1.onnx"
        assert detector.running.refused == ()
    assert locate_model(settings(tmp_path, artifact=pin)).path == folder / "r1.onnx"
    (folder / "r1.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="is not the file that its manifest names"):
        open_best_model(settings(tmp_path, artifact=pin))
    (folder / "r1.onnx").unlink()
    with pytest.raises(ConfigError, match=f"no {pin} weights for it"):
        open_best_model(settings(tmp_path, artifact=pin))


def test_a_pin_that_means_nothing_lists_what_there_is(tmp_path: Path) -> None:
    write_ladder(tmp_path, SOUND, SOUND)
    with pytest.raises(ConfigError, match=r"there are no fp16 weights for it in \S+stairs; there are: fp32, int8"):
        open_best_model(settings(tmp_path, artifact="fp16"))
    with pytest.raises(ConfigError, match=r"is a file, and one is of one precision"):
        open_best_model(ModelSettings(use=str(tmp_path / "stairs" / "r0.onnx"), artifact="fp16"))


def test_a_models_folder_is_a_ladder_too(tmp_path: Path) -> None:
    folder = write_ladder(tmp_path, faulty("broken", SOUND), SOUND)
    with open_best_model(ModelSettings(use=str(folder))) as detector:
        assert (detector.running.file, len(detector.running.refused)) == ("r1.onnx", 1)


def test_an_artifact_with_tensors_of_its_own_says_so_itself(tmp_path: Path) -> None:
    bytes_in = tiny_onnx.model({"images": (1, 64, 64, 3)}, {"output": yolox_answer((9, CAR, 0.9))}, input_dtype="uint8")
    own = (
        'input = { width = 64, height = 64, layout = "nhwc", dtype = "uint8", colour = "bgr", fit = "stretch" }\n'
        '[artifacts.signature]\ninput = { shape = [1, "height", "width", 3], dtype = "uint8" }\n'
        'outputs = [{ shape = [1, "cells(8,16,32)", "5+classes"] }]\n'
    )
    write_ladder(tmp_path, bytes_in, SOUND, entries={0: own})
    with open_best_model(settings(tmp_path)) as detector:
        assert detector.running.file == "r0.onnx"
        assert detector.manifest.input.layout == "nhwc"
        in_bytes = detector.detect(picture())
    with open_best_model(settings(tmp_path, artifact="r1.onnx")) as detector:
        assert detector.manifest.input.layout == "nchw"
        np.testing.assert_array_equal(detector.detect(picture()).boxes, in_bytes.boxes)


def test_a_bare_file_is_a_ladder_of_one_rung_that_is_opened_again(tmp_path: Path) -> None:
    fault = tmp_path / "fault"
    path = tmp_path / "yolox.onnx"
    path.write_bytes(faulty(f"@{fault}", SOUND))
    detector = open_climbing_model(ModelSettings(use=str(path)))
    assert detector.detect(picture()).class_ids.tolist() == [CAR]
    fault.write_text("nan")
    with pytest.raises(UnavailableError, match="not finite"):
        detector.detect(picture())
    assert detector.running.is_blind
    assert detector.running.troubles()[0].startswith("yolox.onnx failed while it ran, nothing runs: ")
    fault.unlink()
    deadline = time.monotonic() + 20
    while detector.running.is_blind:
        assert time.monotonic() < deadline
        with contextlib.suppress(UnavailableError):
            detector.detect(picture())
    assert detector.running.troubles() == ()
    assert detector.close()


def test_what_is_broken_in_every_file_at_the_start_is_told_as_ever(tmp_path: Path) -> None:
    write_ladder(tmp_path, faulty("hang", SOUND), faulty("unsupported", SOUND))
    with pytest.raises(UnavailableError, match=r"(?s)works here:\n  r0\.onnx: .*hangs\n  r1\.onnx: nothing"):
        open_climbing_model(settings(tmp_path, open_timeout=1.0))


def test_what_was_measured_to_be_the_best_goes_first_and_an_accelerator_s_file_is_tried_once(tmp_path: Path) -> None:
    folder = write_ladder(tmp_path, SOUND)
    add_artifact(folder, "r1.hef", b"weights")

    def load(located: LocatedModel, plan: Plan) -> AnyModel:
        return load_model(located, plan=plan)

    def order(file: str) -> list[str]:
        rungs = find_ladder(settings(tmp_path), load, NO_PLAN, preferred=Preference(file, Way()))
        return [rung.file for rung in rungs]

    assert order("r0.onnx") == ["r0.onnx", "r0.onnx", "r1.hef"]
    assert order("r1.hef") == ["r1.hef", "r0.onnx"]
