"""What is refused as a release, and with what to do next."""

import json
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError, ModelError
from appliance.workbench.publishing.release import read_contents
from tests.simulators.publishing import metrics_of, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "mine")


def replace(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def test_without_a_licence_that_somebody_gave_it_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "mine", licence="NOASSERTION")
    with pytest.raises(ConfigError, match=r"nobody may use such a model.*write the SPDX expression"):
        read_contents(model, metrics_of(model))


def test_without_metrics_of_the_weights_that_devices_take_first_it_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nobody has said how good .* is; measure it: edgecam-workbench evaluate"):
        read_contents(model, None)
    other = metrics_of(write_model(tmp_path / "other", scores=(0.5,)))
    with pytest.raises(ConfigError, match=r"does not have the figures of int8.onnx"):
        read_contents(model, other)
    (tmp_path / "no.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no JSON"):
        read_contents(model, tmp_path / "no.json")


def test_metrics_without_one_figure_are_refused(model: Path) -> None:
    file = metrics_of(model)
    told = json.loads(file.read_text(encoding="utf-8")) | {"figures": {"ap": -1.0}}
    file.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"(?s)figures: .*measure again"):
        read_contents(model, file)


def test_without_golden_frames_of_every_artifact_it_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "mine", scores=(0.9, 0.8))
    golden = model / "golden" / "golden.json"
    told = json.loads(golden.read_text(encoding="utf-8"))
    golden.write_text(json.dumps(told | {"artifacts": told["artifacts"][:1]}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"know nothing of fp32.onnx; make them where it can be run"):
        read_contents(model, metrics_of(model))
    golden.unlink()
    with pytest.raises(ConfigError, match=r"has no golden frames.*edgecam-workbench golden"):
        read_contents(model, metrics_of(model))


def test_weights_that_are_not_those_of_the_manifest_or_missing_are_refused(model: Path) -> None:
    metrics = metrics_of(model)
    (model / "int8.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"is not the file that manifest\.toml names"):
        read_contents(model, metrics)
    (model / "int8.onnx").unlink()
    with pytest.raises(ConfigError, match="is missing; bring it"):
        read_contents(model, metrics)


def test_a_label_file_comes_along_and_one_outside_of_the_folder_is_refused(model: Path) -> None:
    manifest = model / "manifest.toml"
    lines = manifest.read_text(encoding="utf-8").split("\n")
    at = next(at for at, line in enumerate(lines) if line.startswith("labels = "))
    names = json.loads(lines[at].removeprefix("labels = ").partition("]")[0] + "]")
    for place in (model / "names.txt", model.parent / "names.txt"):
        place.write_text("\n".join(names), encoding="utf-8")
    lines[at] = 'labels = "names.txt"'
    manifest.write_text("\n".join(lines), encoding="utf-8")
    assert read_contents(model, metrics_of(model)).files["names.txt"] == "\n".join(names).encode()
    replace(manifest, '"names.txt"', '"../names.txt"')
    with pytest.raises(ConfigError, match="copy the file beside the manifest"):
        read_contents(model, metrics_of(model))


def test_terms_stand_beside_the_manifest_and_are_checked(model: Path) -> None:
    (model / "release.toml").write_text(
        'notice = "Show this."\nuses = ["research"]\nexpires = "2027-12-31"\n[requires]\nmachines = ["aarch64"]\n',
        encoding="utf-8",
    )
    terms = read_contents(model, metrics_of(model)).terms
    assert (terms.notice, terms.uses, terms.expires) == ("Show this.", ("research",), "2027-12-31")
    assert terms.requires.machines == ("aarch64",)
    replace(model / "release.toml", "machines", "machine")
    with pytest.raises(ConfigError, match=r"requires.machine: unknown entry"):
        read_contents(model, metrics_of(model))
    (model / "release.toml").write_text('expires = "2027-02-30"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="expires"):
        read_contents(model, metrics_of(model))
