"""A model that is encrypted at rest is opened in memory, and nothing of it reaches a disk in the clear."""

from pathlib import Path

import pytest

pytest.importorskip("pyrage", reason="needs pip install 'edgecam[protect]'")

from appliance.config import ModelSettings
from appliance.core.errors import ModelError, UnsupportedError
from appliance.core.manifest import read_manifest
from appliance.core.sealing import make_key
from appliance.inference.artifacts import locate_model, read_artifact
from appliance.inference.check_child import check
from appliance.inference.golden import check_golden
from appliance.inference.ladder import open_best_model, open_climbing_model
from appliance.inference.measuring.subjects import find_candidates
from tests.simulators.models import add_artifact, write_folder, yolox, yolox_answer
from tests.simulators.plans import PlanKept
from tests.simulators.publishing import write_model
from tests.simulators.sealed import seal_folder

SEEN = {"fp32": yolox(yolox_answer((3, 2, 0.9))), "int8": yolox(yolox_answer((3, 2, 0.8)))}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(make_key()[0])
    file.chmod(0o600)
    return file


def settings(folder: Path, key: Path | None, **more: object) -> ModelSettings:
    given = {"use": str(folder), **({"key": {"file": str(key)}} if key else {}), **more}
    return ModelSettings.model_validate(given)


def test_it_is_opened_from_memory_whatever_the_process(tmp_path: Path, key: Path) -> None:
    folder = seal_folder(write_folder(tmp_path / "mine", SEEN), key)
    before = sorted(tmp_path.rglob("*"))
    with open_best_model(settings(folder, key)) as model:
        assert (model.running.file, model.running.refused) == ("fp32.onnx", ())
    climbing = open_climbing_model(settings(folder, key, isolate="always"), cache=tmp_path / "cache")
    try:
        assert climbing.running.is_isolated
    finally:
        climbing.close()
    assert sorted(tmp_path.rglob("*")) == before


def test_golden_frames_are_checked_on_it(tmp_path: Path, key: Path) -> None:
    folder = seal_folder(write_model(tmp_path / "mine"), key)
    with open_best_model(settings(folder, key)) as model:
        assert check_golden(model, folder).is_passed  # type: ignore[arg-type] # a detector
    assert check(settings(folder, key))["is_passed"]  # what a command has done beside the daemon


def test_without_its_key_it_is_refused_with_what_to_do(tmp_path: Path, key: Path) -> None:
    folder = seal_folder(write_folder(tmp_path / "mine", SEEN), key)
    with pytest.raises(ModelError, match=r"is encrypted, and there is no key here: \[model\] key"):
        open_best_model(settings(folder, None))
    other = tmp_path / "other"
    other.write_text(make_key()[0])
    other.chmod(0o600)
    with pytest.raises(ModelError, match="cannot be decrypted with the 1 keys that are here"):
        open_best_model(settings(folder, other))


def test_what_it_holds_must_be_what_the_manifest_names(tmp_path: Path, key: Path) -> None:
    folder = seal_folder(write_folder(tmp_path / "mine", SEEN), key)
    (folder / "fp32.onnx.age").replace(folder / "swap")
    (folder / "int8.onnx.age").replace(folder / "fp32.onnx.age")
    with pytest.raises(ModelError, match="not the file that its manifest names"):
        locate_model(settings(folder, key))


def test_a_provider_may_keep_nothing_that_it_compiles_of_it(tmp_path: Path, key: Path) -> None:
    folder = seal_folder(write_folder(tmp_path / "mine", SEEN), key)
    located = locate_model(settings(folder, key))
    assert PlanKept.cache_of(located, tmp_path / "cache") is None
    plain = write_folder(tmp_path / "plain", SEEN)
    assert PlanKept.cache_of(locate_model(settings(plain, None)), tmp_path / "cache") == tmp_path / "cache"


def test_what_a_camera_reads_from_a_file_is_refused(tmp_path: Path, key: Path) -> None:
    folder = add_artifact(write_folder(tmp_path / "mine", SEEN), "net.rpk", b"9464" * 100)
    seal_folder(folder, key)
    manifest = read_manifest(folder)
    with pytest.raises(UnsupportedError, match="publish it in the clear"):
        read_artifact(folder, manifest, manifest.artifacts[-1])


def test_it_is_not_measured(tmp_path: Path, key: Path) -> None:
    folder = seal_folder(write_folder(tmp_path / "mine", SEEN), key)
    with pytest.raises(UnsupportedError, match="is encrypted at rest"):
        find_candidates(settings(folder, key), pictures=(Path("x.png"),), here=("cpu",), threads=(1,))
