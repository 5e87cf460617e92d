"""A card tells what was measured, of both artifacts, and nothing else; what people wrote stays."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.core.errors import ConfigError, ModelError
from appliance.workbench.card import card
from tests.simulators.datasets import write_dataset
from tests.simulators.models import write_folder, write_yolox, yolox, yolox_answer

pytest.importorskip("pycocotools", reason="needs pycocotools: pip install 'edgecam[workbench]'")
LABELS = ("person", "bicycle", "car")
PERSON, CAR = 0, 2


def answer(*found: tuple[int, int, float]) -> bytes:
    """Give a YOLOX of three labels; cells are 8 x 8 pixels, eight in a row."""
    return yolox(yolox_answer(*found)[:, :, : 5 + len(LABELS)])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    # fp32 finds the car and the person, and a car where nothing is; int8 the car only
    weights = {"int8": answer((0, CAR, 0.9)), "fp32": answer((0, CAR, 0.9), (9, PERSON, 0.8), (27, CAR, 0.6))}
    return write_folder(tmp_path / "mine", weights, LABELS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    objects = [("car", (0.0, 0.0, 8.0, 8.0)), ("person", (8.0, 8.0, 8.0, 8.0))]
    return write_dataset(tmp_path / "data", {"a.png": objects, "b.png": objects}, ("person", "car", "gargoyle"))


@pytest.fixture
def write(model: Path, data: Path, tmp_path: Path) -> "Writer":
    return Writer(model, data, tmp_path / "ledger.json")


class Writer:
    def __init__(self, model: Path, data: Path, ledger: Path) -> None:
        self.model, self.ledger = model, ledger
        self.command = [str(model), "--data", f"drawn={data}", "--ledger", str(ledger), "--frames", "2"]

    def __call__(self, *options: str) -> Result:
        return CliRunner().invoke(card, [*self.command, *options], catch_exceptions=False)

    @property
    def page(self) -> str:
        return (self.model / "README.md").read_text(encoding="utf-8")

    def section(self, name: str) -> str:
        found = re.search(rf"(?s)<!-- begin measured: {name} -->(.*)<!-- end measured: {name} -->", self.page)
        assert found, name
        return found[1]

    def rows(self, section: str) -> dict[str, list[str]]:
        lines = [line for line in self.section(section).splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return {row[0]: row[1:] for row in cells}


def test_accuracy_of_each_artifact_and_what_is_lost_stand_in_the_tables(write: "Writer") -> None:
    assert write().exit_code == 0
    rows = write.rows("accuracy")
    assert rows["fp32"][:2] == ["100.0", "100.0"]
    assert rows["int8"][:2] == ["50.0", "50.0"]
    assert rows["int8 - fp32"][:2] == ["-50.0", "-50.0"]
    assert rows["int8 - fp32"][4:] == ["-", "-"]  # nothing of that size is there
    assert rows["person"] == ["100.0", "-", "-", "0.0", "-", "-"]  # the last table's: by size
    assert "| person |     2 |   100.0 |     100.0 |     0.0 |       0.0 |           -100.0 |" in write.page
    told = write.section("accuracy")
    assert "2 pictures" in told
    assert "counted in no mean: bicycle." in told
    assert "does not know, left out: 1." in told


def test_two_artifacts_of_one_precision_are_told_apart_by_their_files(write: "Writer") -> None:
    content = answer((9, PERSON, 0.8))  # what the other 8-bit artifact does not find, and not what it finds
    (write.model / "second.onnx").write_bytes(content)
    with (write.model / "manifest.toml").open("a", encoding="utf-8") as manifest:
        manifest.write('\n[[artifacts]]\nfile = "second.onnx"\nformat = "onnx"\nprecision = "int8"\n')
        manifest.write(f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n')
    write("--keep-times")
    rows = write.rows("accuracy")
    assert rows["int8.onnx - fp32"][:2] == rows["second.onnx - fp32"][:2] == ["-50.0", "-50.0"]
    assert rows["car"] == ["100.0", "-", "-", "100.0", "-", "-", "0.0", "-", "-"]  # fp32, int8.onnx, second.onnx
    assert rows["person"] == ["100.0", "-", "-", "0.0", "-", "-", "100.0", "-", "-"]


def test_failures_are_those_of_the_first_artifact_with_counts_and_a_picture(write: "Writer") -> None:
    write()
    told = write.section("failures")
    assert "What `int8.onnx` reports" in told
    assert "2 of 4 objects found (50 %); 0 of 2 detections wrong (0 %)" in told
    assert "1. small **person** not found: 2 of 2 such. For example a.png: 8 x 8 pixels at 8, 8." in told
    assert write.rows("failures")["person"] == ["", "", "2"]
    link = re.search(r"!\[.*\]\((.*)\)", told)
    assert link
    assert (write.model / link[1]).stat().st_size > 500


def test_files_sizes_and_the_command_are_told_without_the_places_of_this_machine(write: "Writer") -> None:
    write("--limit", "1")
    assert write.rows("model")["`fp32.onnx`"][1] == str((write.model / "fp32.onnx").stat().st_size)
    assert "/mine --data drawn=FOLDER --limit 1\n" in write.section("method")
    assert str(write.model.parent) not in write.page


def test_measuring_the_same_again_gives_the_same_bytes_with_the_ledger_and_without(write: "Writer") -> None:
    write()
    first = {path.name: path.read_bytes() for path in (write.model / "card").iterdir()}
    page, known = write.page, write.ledger.read_bytes()
    write("--keep-times")
    assert (write.page, write.ledger.read_bytes()) == (page, known)
    write.ledger.unlink()
    write("--keep-times")
    assert write.page == page
    assert {path.name: path.read_bytes() for path in (write.model / "card").iterdir()} == first


def test_another_picture_or_other_weights_are_measured_anew(write: "Writer", data: Path) -> None:
    write("--keep-times")
    index = json.loads((data / "instances.json").read_text(encoding="utf-8"))
    index["annotations"] = [one for one in index["annotations"] if one["category_id"] == 2]
    (data / "instances.json").write_text(json.dumps(index), encoding="utf-8")
    write("--keep-times")
    assert write.rows("accuracy")["int8"][:2] == ["100.0", "100.0"]


def test_what_people_wrote_is_kept_and_what_is_still_to_be_written_is_told(write: "Writer") -> None:
    (write.model / "recipe.toml").write_text("", encoding="utf-8")
    done = write()
    assert "to be written by hand: What it is for, What it is not for" in done.stderr
    page = write.page.replace("## What it is for\n", "## What it is for\n\nDoors, at day.\n")
    (write.model / "README.md").write_text(page, encoding="utf-8")
    done = write("--keep-times")
    assert write.page == page
    assert "by hand: What it is not for\n" in done.stderr


def test_times_are_told_beside_a_reference_and_energy_only_where_it_was_measured(write: "Writer", data: Path) -> None:
    reference = write_yolox(data.parent / "reference.onnx", yolox_answer())
    told = json.loads(write("--beside", f"yolox={reference}", "--json").stdout)
    costs = told["costs"]
    assert [one["name"] for one in costs["rows"]] == ["int8.onnx", "fp32.onnx", "reference.onnx"]
    assert all(one["frame_ms"] >= one["model_ms"] > 0 for one in costs["rows"])
    assert costs["rows"][-1]["ratio"] == 1.0
    assert (costs["energy_absent"] == "") == (costs["rows"][0]["joules"] is not None)
    section = write.section("costs")
    assert ("Energy: not measured here" in section) == bool(costs["energy_absent"])
    assert "`reference.onnx`, is the reference" in section
    assert "--beside yolox=reference.onnx" in write.section("method")


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ("yolox=missing.onnx", r"cannot read missing\.onnx"),
        ("no-such-model", "use is 'no-such-model'; known: "),
        ("yolox={data}/broken.onnx", r"broken\.onnx"),
    ],
)
def test_a_model_beside_that_cannot_be_run_is_told_before_anything_is_measured(
    write: "Writer", data: Path, beside: str, told: str
) -> None:
    (data / "broken.onnx").write_bytes(b"no model")
    with pytest.raises((ConfigError, ModelError), match=told):
        write("--beside", beside.format(data=data))
    assert not write.ledger.exists()
    assert write("--keep-times", "--beside", beside.format(data=data)).exit_code == 0  # it is not asked for then


def test_damaged_marks_are_told_before_anything_is_measured(write: "Writer") -> None:
    (write.model / "README.md").write_text("<!-- begin measured: method -->\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="'method' must be there once each"):
        write()
    assert not write.ledger.exists()


def test_json_has_the_figures_of_every_artifact_on_every_dataset(write: "Writer") -> None:
    told = json.loads(write("--json", "--keep-times").stdout)
    assert told["costs"] is None
    figures = {one["precision"]: one["datasets"]["drawn"]["figures"]["ap50"] for one in told["artifacts"]}
    assert figures == pytest.approx({"int8": 0.5, "fp32": 1.0})


def test_a_card_is_not_written_of_weights_that_are_not_the_manifest_s_or_not_there(write: "Writer") -> None:
    (write.model / "int8.onnx").write_bytes((write.model / "fp32.onnx").read_bytes())
    with pytest.raises(ModelError, match="is not the file that its manifest names"):
        write()
    for path in write.model.glob("*.onnx"):
        path.unlink()
    with pytest.raises(ConfigError, match="has no weights"):
        write()
    assert not (write.model / "README.md").exists()


def test_golden_frames_of_other_weights_are_not_told_as_the_model_s(write: "Writer") -> None:
    (write.model / "golden").mkdir()
    golden = {
        "schema": 1,
        "frames": [{"file": "a.png", "sha256": "0" * 64, "size": 100}],
        "artifacts": [{"sha256": "0" * 64, "min_score": 0.35, "frames": [[]]}],
    }
    (write.model / "golden" / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    with pytest.raises(ModelError, match="know nothing of the weights"):
        write()


def test_frames_that_would_fill_the_memory_are_refused(write: "Writer") -> None:
    assert "is not in the range 1<=x<=1000" in write("--frames", "1001").stderr


@pytest.mark.parametrize("data", ["drawn", "=folder", "../x=folder"])
def test_a_dataset_needs_a_name_that_can_be_that_of_a_file(model: Path, data: str) -> None:
    result = CliRunner().invoke(card, [str(model), "--data", data])
    assert result.exit_code == 2
    assert "is not NAME=FOLDER" in result.stderr
