"""`edgecam model get` as an owner meets it, with a real server on loopback."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.model import model
from appliance.core.errors import ConfigError, ModelError, UnavailableError
from appliance.core.manifest import read_manifest
from appliance.inference.adding.catalogue import read_catalogue
from tests.shared_data import SHARED, needs
from tests.simulators.file_server import Served, serve
from tests.simulators.models import yolox, yolox_answer

FILE = yolox(yolox_answer((0, 2, 0.9)))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def get(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(model, ["get", *map(str, arguments)], catch_exceptions=False)


def catalogue(folder: Path, url: str, content: bytes = FILE, family: str = "yolox") -> Path:
    path = folder / "catalogue.toml"
    path.write_text(
        f"""schema = 1
        [models.tiny]
        title = "Finds a car"
        url = "{url}"
        sha256 = "{hashlib.sha256(content).hexdigest()}"
        size = {len(content)}
        licence = "Apache-2.0"
        project = "https://example.org/tiny"
        checksum_from = "this test"
        labels = "coco80"
        family = "{family}"
        """,
        encoding="utf-8",
    )
    return path


def test_the_catalogue_is_listed_on_a_terminal_of_80_columns() -> None:
    done = get()
    lines = done.stdout.rstrip("\n").splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(read_catalogue().models)
    assert max(map(len, lines)) <= 80
    told = json.loads(get("--json").stdout)
    assert [one["name"] for one in told] == list(read_catalogue().models)
    assert all(one["url"].startswith("https://") and len(one["sha256"]) == 64 for one in told)


def test_every_entry_is_permissively_licensed_and_says_who_vouches_for_it() -> None:
    for entry in read_catalogue().models.values():
        assert entry.licence in {"Apache-2.0", "BSD-3-Clause", "MIT"}
        assert entry.format in {"onnx", "tflite"}
        assert len(entry.checksum_from) > 10


@needs("models/MANIFEST.json")
def test_what_the_catalogue_says_of_files_that_are_here_is_true() -> None:
    here = {one["sha256"]: one for one in json.loads((SHARED / "models" / "MANIFEST.json").read_text())["models"]}
    checked = {name: entry for name, entry in read_catalogue().models.items() if entry.sha256 in here}
    assert set(checked) == {"fastestdet", "picodet-s", "nanodet-m"}
    for entry in checked.values():
        file = here[entry.sha256]
        assert entry.size == file["size"]
        assert file["source_commit"] in entry.url
        assert entry.url.endswith(file["source_path"])
        assert file["licence"].startswith(entry.licence)


def test_a_detector_is_brought_checked_and_runs(tmp_path: Path, models: Path) -> None:
    served = Served(FILE, cut_after=[len(FILE) // 2])
    with serve(served) as url:
        done = get("tiny", "--directory", models, "--catalogue", catalogue(tmp_path, url), "--json")
    told = json.loads(done.stdout)
    assert [(one["label"], one["score"]) for one in told["detections"]] == [("car", 0.9)]
    manifest = read_manifest(models / "tiny")
    assert (manifest.title, manifest.licence, manifest.source.url) == (
        "Finds a car",
        "Apache-2.0",
        "https://example.org/tiny",
    )
    assert (models / "tiny" / "tiny.onnx").read_bytes() == FILE
    assert [entry.name for entry in models.iterdir()] == ["tiny"]
    assert len(served.asked) == 2


def test_other_bytes_than_the_catalogue_names_are_never_loaded(tmp_path: Path, models: Path) -> None:
    other = FILE[:-1] + b"?"
    with serve(Served(other)) as url, pytest.raises(ModelError, match="SHA-256 is"):
        get("tiny", "--directory", models, "--catalogue", catalogue(tmp_path, url))
    assert list(models.iterdir()) == []


def test_a_file_of_another_family_than_the_catalogue_says_is_refused(tmp_path: Path, models: Path) -> None:
    with serve(Served(FILE)) as url, pytest.raises(ModelError, match="is of yolox and not of nanodet"):
        get("tiny", "--directory", models, "--catalogue", catalogue(tmp_path, url, family="nanodet"))
    assert list(models.iterdir()) == []


def test_offline_the_next_step_is_told_and_what_came_is_kept_for_the_next_time(tmp_path: Path, models: Path) -> None:
    with serve(Served(FILE, cut_after=[1000, 0])) as url:
        known = catalogue(tmp_path, url)
        with pytest.raises(UnavailableError, match="the same command goes on"):
            get("tiny", "--directory", models, "--catalogue", known)
    assert (models / ".tiny.onnx.part").stat().st_size == 1000
    with pytest.raises(UnavailableError, match="is this device online"):
        get("tiny", "--directory", models, "--catalogue", known)
    assert (models / ".tiny.onnx.part").stat().st_size == 1000


def test_a_name_that_is_taken_is_refused_before_anything_is_brought(tmp_path: Path, models: Path) -> None:
    (models / "tiny").mkdir()
    with pytest.raises(ConfigError, match="--replace"):
        get("tiny", "--directory", models, "--catalogue", catalogue(tmp_path, "https://192.0.2.1/file.onnx"))


def test_a_name_that_is_not_known_is_told_with_those_that_are() -> None:
    done = get("yolo")
    assert done.exit_code == 2
    assert "yolox-nano" in " ".join(done.stderr.split())


@pytest.mark.parametrize("content", ["schema = 1\n[models.x]\nurl = 7\n", "no toml", "schema = 2\n[models]\n"])
def test_a_catalogue_that_is_not_accepted_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "catalogue.toml").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"catalogue\.toml"):
        get("--catalogue", tmp_path / "catalogue.toml")


@pytest.mark.parametrize("url", ["https://x.org/file.exe", "https://x.org/file", "https://x.org/../a.b/../../c"])
def test_an_address_whose_file_is_of_no_kind_that_runs_is_not_accepted(tmp_path: Path, url: str) -> None:
    with pytest.raises(ModelError, match=r"models\.tiny\.url"):
        get("--catalogue", catalogue(tmp_path, url))
