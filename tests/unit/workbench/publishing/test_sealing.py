"""Encrypted releases: weights for a cohort's key, everything signed, and devices that have the key run them."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("pyrage", reason="needs pip install 'edgecam[protect]'")

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError
from appliance.core.manifest import read_manifest
from appliance.core.sealing import Keys, make_key
from appliance.inference.golden import check_golden
from appliance.inference.ladder import open_best_model
from appliance.updates.places import address
from appliance.workbench.publish import publish
from appliance.workbench.publishing import checking
from appliance.workbench.publishing.adding import find_release
from appliance.workbench.publishing.release import read_contents
from appliance.workbench.publishing.rollouts import published_models
from appliance.workbench.publishing.sealing import make_cohort_key, read_recipients, sealed
from tests.simulators.models import add_artifact
from tests.simulators.publishing import Fleet, metrics_of, write_model
from tests.system.test_published_fleet import Camera, roll_out


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "publisher")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(publish, list(map(str, arguments)))


def test_a_cohorts_key_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    public = make_cohort_key(tmp_path / "keys" / "north")
    file = tmp_path / "keys" / "north"
    assert file.stat().st_mode & 0o777 == 0o600
    assert Keys(file.read_text(), "here").recipients == {public}
    assert read_recipients([str(tmp_path / "keys" / "north.pub"), public]) == (public,)
    before = file.read_text()
    with pytest.raises(ConfigError, match="is there already"):
        make_cohort_key(file)
    assert file.read_text() == before


@pytest.mark.parametrize("text", ["nonsense\n", "", None, "AGE-SECRET-KEY-1QQ\n"])
def test_what_is_no_public_key_is_refused(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "north.pub"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match="--encrypt-to"):
        read_recipients([str(file)])


def test_weights_are_encrypted_both_forms_are_signed_and_nothing_is_left_in_the_clear(
    fleet: Fleet, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "0" / "mine", scores=(0.9, 0.8))
    plain = {file.name: file.read_bytes() for file in model.glob("*.onnx")}
    key, public = make_key()
    assert run("cohort-key", tmp_path / "north").exit_code == 0
    done = run(
        "add", fleet.repository.folder, model, "--metrics", metrics_of(model),
        "--encrypt-to", public, "--encrypt-to", tmp_path / "north.pub",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "encrypted for 2 keys" in done.output
    fleet.publish()
    targets = published_models(fleet.repository)
    release = find_release(targets, "mine", "1.0").release
    assert len(release.recipients) == 2
    for name, content in plain.items():
        file = release.files[f"{name}.age"]
        assert name not in release.files
        assert file.plain is not None
        assert (file.plain.sha256, file.plain.size) == (hashlib.sha256(content).hexdigest(), len(content))
        target = targets.targets[file.path]
        sealed = fleet.repository.read_file(file.path, target.hashes["sha256"])
        assert target.length == len(sealed) > len(content)
        assert Keys(key, "here").unseal(sealed, name) == content
        for published in fleet.published.rglob("*"):
            assert not published.is_file() or published.read_bytes() != content
    assert checking.verify(str(fleet.published), fleet.root).releases == ("mine 1.0",)


def test_an_encrypted_release_has_no_deltas_and_none_leads_from_it(fleet: Fleet, tmp_path: Path) -> None:
    public = make_key()[1]
    fleet.add(write_model(tmp_path / "0" / "mine", "1.0", (0.9,)))
    fleet.publish()
    assert fleet.add(write_model(tmp_path / "1" / "mine", "1.1", (0.8,)), encrypt_to=(public,)).deltas == ()
    fleet.publish()
    assert fleet.add(write_model(tmp_path / "2" / "mine", "1.2", (0.7,)), encrypt_to=(public,)).deltas == ()
    fleet.publish()
    tried = fleet.add(write_model(tmp_path / "3" / "mine", "1.3", (0.6,))).deltas
    assert {one.version for one in tried} == {"1.0"}


def test_what_has_not_changed_is_not_encrypted_anew_and_devices_do_not_bring_it_again(
    fleet: Fleet, tmp_path: Path
) -> None:
    public, other = make_key()[1], make_key()[1]
    for number, (score, keys) in enumerate([(0.9, (public,)), (0.7, (public,)), (0.6, (public, other))]):
        fleet.add(write_model(tmp_path / str(number) / "mine", f"1.{number}", (score, 0.8)), encrypt_to=keys)
        fleet.publish()
    targets = published_models(fleet.repository)
    signed = [targets.targets[f"models/mine/1.{number}/fp32.onnx.age"].hashes["sha256"] for number in range(3)]
    assert signed[0] == signed[1] != signed[2]
    assert len({targets.targets[f"models/mine/1.{number}/int8.onnx.age"].hashes["sha256"] for number in range(3)}) == 3


def test_what_a_camera_reads_from_a_file_cannot_be_encrypted(tmp_path: Path) -> None:
    model = write_model(tmp_path / "0" / "mine")
    contents = read_contents(model, metrics_of(model))
    add_artifact(model, "net.rpk", b"9464" * 9)
    with pytest.raises(ConfigError, match=r"net\.rpk is read from a file"):
        sealed(replace(contents, manifest=read_manifest(model)), [make_key()[1]])


def test_devices_with_the_key_run_it_and_others_do_not_even_bring_it(fleet: Fleet, tmp_path: Path) -> None:

    key = tmp_path / "north"
    public = make_cohort_key(key)
    fleet.add(write_model(tmp_path / "0" / "mine"), encrypt_to=(public,))
    fleet.publish()
    roll_out(fleet, "1.0")
    (tmp_path / "other").mkdir()
    other = Camera(tmp_path / "other")
    told = other.update(fleet, address(str(fleet.published)))
    assert isinstance(told, str)
    assert "is encrypted, and there is no key here" in told
    assert not list((tmp_path / "other").rglob("*.age"))
    (tmp_path / "mine").mkdir()
    camera = Camera(tmp_path / "mine")
    camera.device = replace(camera.device, keys=frozenset({public}))
    taken = camera.update(fleet, address(str(fleet.published)))
    assert isinstance(taken, tuple)
    assert sorted(file.suffix for file in taken[0].iterdir() if "int8" in file.name) == [".age"]
    camera.store.check(taken[0].name)
    settings = ModelSettings.model_validate({"use": str(taken[0]), "key": {"file": str(key)}})
    with open_best_model(settings) as model:
        assert check_golden(model, taken[0]).is_passed  # type: ignore[arg-type] # a detector
