import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.core.decoding import KINDS
from appliance.core.errors import ModelError
from appliance.core.manifest import TensorSpec, read_manifest

KNOWN = "decoder.kind: known: by-class, detr, distances, fastestdet, listed, nanodet, rows, ssd, yolov5, yolov8, yolox"
OWN = Path(__file__).resolve().parents[3] / "models"
GOOD = (OWN / "yolox" / "manifest.toml").read_text(encoding="utf-8").replace("../labels/coco80.txt", "labels.txt")


def write(folder: Path, content: str, labels: str = "person\ncar\n") -> Path:
    (folder / "labels.txt").write_text(labels, encoding="utf-8")
    path = folder / "manifest.toml"
    path.write_text(content, encoding="utf-8")
    return path


LABELS = {  # how many, the first, the last
    "edgecam-nano": (6, "person", "truck"),
    "mobilenet": (1001, "background", "toilet tissue"),
    "deeplab": (21, "background", "tvmonitor"),
}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in OWN.glob("*/manifest.toml")))
def test_every_family_of_ours_has_a_manifest_with_its_labels_and_the_detectors_those_of_coco(name: str) -> None:
    manifest = read_manifest(OWN / name)
    assert manifest.name == name
    told = (len(manifest.labels), manifest.labels[0], manifest.labels[-1])
    assert told == LABELS.get(name, (80, "person", "toothbrush"))
    assert (manifest.artifacts == ()) is (name != "edgecam-nano")


def test_labels_come_from_the_file_beside_it_without_blank_lines(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path, GOOD, " person \n\ncar\r\n")).labels == ("person", "car")


def test_labels_can_stand_in_the_manifest(tmp_path: Path) -> None:
    content = GOOD.replace('labels = "labels.txt"', 'labels = ["door", "window"]')
    assert read_manifest(write(tmp_path, content)).labels == ("door", "window")


def test_all_errors_are_told_at_once_with_their_key_paths(tmp_path: Path) -> None:
    content = (
        GOOD.replace("nms_iou = 0.65", "nms_iou = 1.5")
        .replace("width = 416", "width = 3")
        .replace('licence = "Apache-2.0"', 'licence = "Apache-2.0"\nspeed = 3')
        .replace('version = "1.0"\n', "")
    )
    with pytest.raises(ModelError) as caught:
        read_manifest(write(tmp_path, content))
    message = str(caught.value)
    assert "manifest.toml: 4 entries are not accepted:" in message
    for line in ("decoder.nms_iou: ", "(got 1.5)", "input.width: ", "speed: unknown entry", "version: is required"):
        assert line in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'kind = "yolox"',
            'kind = "yolo9"',
            KNOWN,
        ),
        (
            'kind = "yolox"\n',
            "",
            KNOWN,
        ),
        ("schema = 1", "schema = 2", "schema: "),
        ("pad = 114", "pad = 114\nstd = [0.0, 1.0, 1.0]", "std must lie between"),
        ('dtype = "float32"\ncolour', 'dtype = "uint8"\nmean = [1.0, 0.0, 0.0]\ncolour', "need dtype float32"),
        ("schema = 1", "schema = ", "no valid TOML"),
    ],
)
def test_an_entry_that_is_not_accepted_says_what_is(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    with pytest.raises(ModelError, match=expected):
        read_manifest(write(tmp_path, GOOD.replace(old, new)))


def test_a_label_twice_is_refused_for_detections_would_be_told_apart_by_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="each must be there once"):
        read_manifest(write(tmp_path, GOOD, "person\nperson\n"))


GROUPS = '[groups]\nvehicle = ["car", "van"]\nanimal = ["dog"]\n'


def test_a_manifest_can_say_which_labels_count_as_one(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, GOOD + GROUPS, "person\ncar\ndog\nvan\nbus\n"))
    assert manifest.vocabulary.groups == {"vehicle": ("car", "van"), "animal": ("dog",)}
    none = read_manifest(write(tmp_path, GOOD + "[groups]\n", "person\ncar\n"))
    assert none.vocabulary.groups == {}


def test_a_manifest_that_does_not_say_has_vehicles_where_its_labels_are_some() -> None:
    groups = read_manifest(OWN / "yolox").vocabulary.groups
    assert groups == {"vehicle": ("car", "motorcycle", "bus", "truck")}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ('vehicle = ["car", "lorry"]', "groups: 'vehicle' has 'lorry', which are no labels"),
        ('dog = ["car"]', "groups: 'dog' is a label; a group needs a name of its own"),
        ('a = ["car", "van"]\nb = ["car"]', "groups: a label is in one group at the most, and once"),
        ('a = ["car", "car"]', "groups: a label is in one group at the most, and once"),
        ("a = []", "groups.a: "),
        ('a = "car"', "groups.a: "),
    ],
)
def test_a_group_that_cannot_be_one_is_refused(tmp_path: Path, groups: str, expected: str) -> None:
    with pytest.raises(ModelError, match="1 entry is not accepted") as caught:
        read_manifest(write(tmp_path, f"{GOOD}[groups]\n{groups}\n", "person\ncar\ndog\nvan\n"))
    assert expected in str(caught.value)


@pytest.mark.parametrize("file", ["../weights.onnx", "/etc/passwd", "a/b.onnx", ".."])
def test_an_artifact_outside_its_folder_is_refused(tmp_path: Path, file: str) -> None:
    artifact = f'[[artifacts]]\nfile = "{file}"\nformat = "onnx"\nprecision = "fp32"\nsha256 = "{"0" * 64}"\nsize = 1\n'
    with pytest.raises(ModelError, match=r"artifacts\.0\.file: is a plain file name"):
        read_manifest(write(tmp_path, GOOD + artifact))


def test_missing_and_oversized_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*manifest\.toml"):
        read_manifest(tmp_path / "manifest.toml")
    with pytest.raises(ModelError, match="is larger than"):
        read_manifest(write(tmp_path, "#" * 300_000))
    (write(tmp_path, GOOD).parent / "labels.txt").unlink()
    with pytest.raises(ModelError, match=r"cannot read .*labels\.txt"):
        read_manifest(tmp_path)


def test_another_input_size_leaves_the_rest_as_it_is() -> None:
    manifest = read_manifest(OWN / "yolox")
    small = manifest.for_size(320, 256)
    assert (small.input.width, small.input.height) == (320, 256)
    assert small.input.colour == manifest.input.colour
    assert small.decoder == manifest.decoder


def test_a_tensor_reads_as_in_messages() -> None:
    assert str(TensorSpec(name="images", shape=(1, 3, None), dtype="float32")) == "images float32[1,3,?]"


def test_manifests_are_read_without_numpy() -> None:
    code = f"import sys; from pathlib import Path; from appliance.core.manifest import read_manifest; \
read_manifest(Path({str(OWN / 'yolox')!r})); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=OWN.parent, timeout=30, check=False).returncode == 0


ARTIFACT = f'[[artifacts]]\nfile = "w.onnx"\nformat = "onnx"\nprecision = "fp16"\nsha256 = "{"0" * 64}"\nsize = 1\n'


def test_an_artifact_says_what_may_run_it_in_which_order_and_how(tmp_path: Path) -> None:
    providers = 'providers = [{ kind = "tensorrt", fp16 = true }, { kind = "cuda" }, { kind = "cpu" }]\n'
    (artifact,) = read_manifest(write(tmp_path, GOOD + ARTIFACT + providers)).artifacts
    assert [provider.kind for provider in artifact.providers] == ["tensorrt", "cuda", "cpu"]
    assert artifact.providers[0].model_dump()["fp16"] is True
    assert read_manifest(write(tmp_path, GOOD + ARTIFACT)).artifacts[0].providers == ()


@pytest.mark.parametrize(
    ("providers", "expected"),
    [
        (
            '[{ kind = "rocm" }]',
            r"artifacts\.0\.providers\.0\.kind: known: acl, coreml, cpu, cuda, openvino, qnn, tens",
        ),
        ('[{ kind = "cuda", fp16 = true }]', r"artifacts\.0\.providers\.0\.fp16: unknown entry"),
        ('[{ kind = "xnnpack", threads = 0 }]', r"artifacts\.0\.providers\.0\.threads: .*\(got 0\)"),
        ('[{ kind = "openvino", device = "GPU; rm" }]', r"artifacts\.0\.providers\.0\.device: "),
        ('[{ kind = "cpu" }, { kind = "cpu" }]', r"artifacts\.0: providers: each must be there once"),
    ],
)
def test_a_provider_that_is_not_accepted_says_what_is(tmp_path: Path, providers: str, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        read_manifest(write(tmp_path, f"{GOOD}{ARTIFACT}providers = {providers}\n"))


TFLITE = ARTIFACT.replace("onnx", "tflite")


def test_an_artifact_says_which_delegate_is_to_run_it(tmp_path: Path) -> None:
    delegate = 'delegate = { library = "libedgetpu.so.1", options = { device = "usb" }, is_required = true }\n'
    (artifact,) = read_manifest(write(tmp_path, GOOD + TFLITE + delegate)).artifacts
    assert artifact.delegate is not None
    assert artifact.delegate.model_dump() == {
        "library": "libedgetpu.so.1",
        "options": {"device": "usb"},
        "is_required": True,
    }


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [
        (TFLITE + 'providers = [{ kind = "cpu" }]\n', "providers are for format onnx"),
        (ARTIFACT + 'delegate = { library = "libedgetpu.so.1" }\n', "a delegate is for format tflite"),
        (TFLITE + 'delegate = { library = "/tmp/libevil.so" }\n', "is a library of the system, without a folder"),
        (TFLITE + 'delegate = { library = "lib.so", options = { "a b" = "c" } }\n', r"delegate\.options"),
    ],
)
def test_what_does_not_belong_to_an_artifacts_runtime_is_refused(tmp_path: Path, artifact: str, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        read_manifest(write(tmp_path, GOOD + artifact))


def test_the_page_of_models_names_every_decoder_and_family_and_its_example_is_a_manifest(tmp_path: Path) -> None:
    page = (OWN.parent / "docs" / "models.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9-]+)`", page))
    assert named >= {*KINDS, *(path.parent.name for path in OWN.glob("*/manifest.toml"))}
    example = page.partition("```toml\n")[2].partition("```")[0]
    manifest = read_manifest(write(tmp_path, GOOD[: GOOD.index("[decoder]")] + example))
    assert manifest.decoder.kind == "yolov8"
    assert str(manifest.signature.outputs[0]) == "float32[1,4+classes,cells(8,16,32)]"


def test_class_numbers_are_for_all_labels_or_none(tmp_path: Path) -> None:
    decoder = 'kind = "rows"\nclass_numbers = [1]\nnms_iou = 1.0\nmin_score = 0.3\n'
    content = GOOD[: GOOD.index("[decoder]")] + "[decoder]\n" + decoder + GOOD[GOOD.index("[signature]") :]
    with pytest.raises(ModelError, match="1 for 2 labels; give one for each, or none"):
        read_manifest(write(tmp_path, content))
    with pytest.raises(ModelError, match=r"decoder\.class_numbers: has one twice"):
        read_manifest(write(tmp_path, content.replace("[1]", "[1, 1]")))


def test_class_numbers_of_an_artifact_s_own_decoder_are_for_all_labels_or_none_too(tmp_path: Path) -> None:
    own = 'decoder = { kind = "rows", class_numbers = [NUMBERS], nms_iou = 1.0, min_score = 0.3 }\n'
    with pytest.raises(ModelError, match=r"artifacts\.0\.decoder\.class_numbers: 1 for 2 labels; give one for each"):
        read_manifest(write(tmp_path, GOOD + ARTIFACT + own.replace("NUMBERS", "1")))
    (artifact,) = read_manifest(write(tmp_path, GOOD + ARTIFACT + own.replace("NUMBERS", "1, 17"))).artifacts
    assert artifact.decoder is not None
    assert artifact.decoder.kind == "rows"


def test_what_an_artifact_s_own_decoder_lacks_is_told_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"artifacts\.0\.decoder\.min_score: is required"):
        read_manifest(write(tmp_path, GOOD + ARTIFACT + 'decoder = { kind = "rows", nms_iou = 1.0 }\n'))


@pytest.mark.parametrize(
    ("decoder", "expected"),
    [
        (
            'kind = "rows"\ncolumns = ["x1", "y1", "x2", "y2", "score"]',
            "columns: needs x1, y1, x2, y2, score and class",
        ),
        ('kind = "listed"\nbox_order = "xyxy"\nunit = "pixels"\noutputs = ["boxes", "scores"]', "outputs: needs boxes"),
        ('kind = "detr"\nactivation = "softmax"\nbackground = "none"', "activation softmax needs a background"),
        ('kind = "ssd"\nactivation = "sigmoid"\nbackground = "none"\nlayers = []', r"decoder\.layers: "),
        (
            'kind = "ssd"\nactivation = "sigmoid"\nbackground = "none"\nlayers = [{stride=8, anchors=[[nan, 1.0]]}]',
            r"decoder\.layers\.0\.anchors\.0\.0: ",
        ),
    ],
)
def test_a_decoder_that_could_not_work_is_refused(tmp_path: Path, decoder: str, expected: str) -> None:
    table = f"[decoder]\n{decoder}\nnms_iou = 1.0\nmin_score = 0.3\n"
    content = GOOD[: GOOD.index("[decoder]")] + table + GOOD[GOOD.index("[signature]") :]
    with pytest.raises(ModelError, match=expected):
        read_manifest(write(tmp_path, content))
