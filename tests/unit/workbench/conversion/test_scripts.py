"""What the scripts ask the vendors' commands for: they are run here, with commands that write down what they are asked.

The words are those of NVIDIA's and Hailo's documentation; the commands themselves are not here.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.core.manifest import ModelManifest, read_manifest
from appliance.workbench.conversion.maps import Map
from appliance.workbench.conversion.scripts import (
    NOT_RUN,
    Tensor,
    calibration_loader,
    hailo_model_script,
    hailo_script,
    tensorrt_script,
)

PICTURE = Tensor("image", (1, 3, 320, 320))
OUTPUTS = [Tensor("scores", (1, 6, 2100)), Tensor("distances", (1, 4, 2100))]
MAPS = [Map("scores_0", "scores", (1, 6, 40, 40)), Map("distances_0", "distances", (1, 4, 40, 40))]


@pytest.fixture
def manifest() -> ModelManifest:
    return read_manifest(Path(__file__).resolve().parents[4] / "models" / "edgecam-nano")


def run(folder: Path, script: str, *arguments: str, commands: dict[str, str]) -> tuple[int, list[str], str]:
    """Run a script with these commands; gives its status, what they were asked, and what it says of mistakes."""
    tools = folder / "tools"
    tools.mkdir()
    for name, helptext in commands.items():
        text = f'#!/bin/sh\n[ "$1" = --help ] && echo \'{helptext}\' && exit\necho {name} "$@" >> {folder}/asked\n'
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    for name in ("sh", "dirname", "grep"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (folder / "script.sh").write_text(script)
    done = subprocess.run(
        [str(tools / "sh"), str(folder / "script.sh"), *arguments],
        env={**os.environ, "PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    asked = folder / "asked"
    return done.returncode, asked.read_text().splitlines() if asked.exists() else [], done.stderr


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_tensorrt_up_to_10_is_asked_by_options(manifest: ModelManifest, tmp_path: Path, precision: str) -> None:
    script = tensorrt_script(manifest, "../a b.onnx", PICTURE, OUTPUTS)
    status, asked, _ = run(tmp_path, script, precision, commands={"trtexec": "--fp16 --int8 --calib"})
    assert status == 0
    (line,) = asked
    assert line.startswith("trtexec --onnx=../a b.onnx --saveEngine=edgecam-nano-")
    assert f"--saveEngine=edgecam-nano-{precision}.engine" in line
    assert ("--fp16" in line.split()) == (precision == "fp16")
    assert "hapes" not in line  # a file with fixed sizes: trtexec refuses them


def test_8_bits_are_calibrated_once_and_never_without_pictures(manifest: ModelManifest, tmp_path: Path) -> None:
    script = tensorrt_script(manifest, "../a.onnx", PICTURE, OUTPUTS)
    (tmp_path / "edgecam-nano.cache").write_text("TRT\n")
    status, asked, _ = run(tmp_path, script, "int8", commands={"trtexec": "--fp16 --int8 --calib"})
    assert status == 0
    assert asked[-1].split()[-3:] == ["--int8", "--fp16", "--calib=edgecam-nano.cache"]
    assert len(asked) == 1
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    commands = {"trtexec": "--fp16 --int8 --calib", "python3": "", "polygraphy": ""}
    status, asked, _ = run(fresh, script, "int8", commands=commands)
    assert status == 0
    calibrated = next(line for line in asked if line.startswith("polygraphy"))
    assert calibrated.startswith("polygraphy convert ../a.onnx --int8 --data-loader-script calibration_data.py")
    assert "--calibration-cache edgecam-nano.cache" in calibrated
    assert asked.index(calibrated) < next(at for at, line in enumerate(asked) if line.startswith("trtexec"))


@pytest.mark.parametrize(("precision", "module"), [("fp16", "autocast"), ("int8", "quantization")])
def test_tensorrt_11_gets_a_file_that_says_its_precision_itself(
    manifest: ModelManifest, tmp_path: Path, precision: str, module: str
) -> None:
    script = tensorrt_script(manifest, "../a.onnx", PICTURE, OUTPUTS)
    status, asked, _ = run(tmp_path, script, precision, commands={"trtexec": "--onnx", "python3": ""})
    assert status == 0
    made = next(line for line in asked if f"-m modelopt.onnx.{module}" in line)
    assert "--onnx_path ../a.onnx" in made
    assert f"--output_path edgecam-nano-{precision}.onnx" in made
    assert ("--calibration_data calibration.npy" in made) == (precision == "int8")
    assert asked[-1].startswith(f"trtexec --onnx=edgecam-nano-{precision}.onnx ")
    assert not {"--fp16", "--int8"} & set(asked[-1].split())


def test_what_is_missing_or_not_known_ends_with_a_status_that_says_so(manifest: ModelManifest, tmp_path: Path) -> None:
    script = tensorrt_script(manifest, "../a.onnx", PICTURE, OUTPUTS)
    status, _, said = run(tmp_path, script, commands={})
    assert (status, "install TensorRT" in said) == (69, True)
    other = tmp_path / "other"
    other.mkdir()
    status, _, said = run(other, script, "int4", commands={"trtexec": ""})
    assert (status, "known: fp16, int8, fp32" in said) == (64, True)


def test_hailo_is_asked_to_parse_optimise_and_compile(manifest: ModelManifest, tmp_path: Path) -> None:
    script = hailo_script(manifest, "edgecam-nano-maps.onnx", PICTURE, MAPS)
    status, asked, _ = run(tmp_path, script, "hailo8", commands={"hailo": ""})
    assert status == 0
    assert [line.split()[1] for line in asked] == ["parser", "optimize", "compiler"]
    assert all("--hw-arch hailo8" in line for line in asked)
    parse, optimise, build = asked
    assert parse.endswith("--start-node-names image --end-node-names scores_0 distances_0")
    assert "--net-name edgecam_nano --har-path edgecam_nano.har" in parse
    assert "hailo optimize edgecam_nano.har" in optimise
    assert "--calib-set-path calibration.npy --model-script edgecam_nano.alls" in optimise
    assert "--output-har-path edgecam_nano_optimized.har" in optimise
    assert build.startswith("hailo compiler edgecam_nano_optimized.har")


def test_hailo_refuses_an_unknown_chip_and_a_missing_compiler(manifest: ModelManifest, tmp_path: Path) -> None:
    script = hailo_script(manifest, "a.onnx", PICTURE, MAPS)
    status, _, said = run(tmp_path, script, "hailo9", commands={"hailo": ""})
    assert (status, "known: hailo8l, hailo8" in said) == (64, True)
    other = tmp_path / "other"
    other.mkdir()
    status, asked, said = run(other, script, commands={})
    assert (status, asked, "install Hailo's Dataflow Compiler" in said) == (69, [], True)


def test_the_model_script_takes_all_pictures_and_tunes_only_with_many(manifest: ModelManifest) -> None:
    few, many = (hailo_model_script(manifest, count) for count in (64, 1024))
    assert "calibset_size=64" in few
    assert "optimization_level=1" in few
    assert "optimization_level=2" in many
    assert "normalization" not in few  # the network takes bytes
    spec = manifest.input.model_copy(update={"dtype": "float32", "mean": (1.0, 2.0, 3.0), "std": (4.0, 5.0, 6.0)})
    other = hailo_model_script(manifest.model_copy(update={"input": spec}), 2)
    assert "normalization1 = normalization([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])" in other
    assert "batch_size=2" in other


def test_every_script_says_that_it_was_not_run_and_what_goes_in_and_out(manifest: ModelManifest) -> None:
    tensorrt = tensorrt_script(manifest, "a.onnx", PICTURE, OUTPUTS)
    hailo = hailo_script(manifest, "a.onnx", PICTURE, MAPS)
    assert NOT_RUN in tensorrt
    assert NOT_RUN in hailo
    assert "image [1,3,320,320], uint8, bgr" in tensorrt
    assert "scores [1,6,2100]; distances [1,4,2100]" in tensorrt
    assert "image, 320 x 320 x 3 bytes, bgr, channels last" in hailo
    assert "scores_0 [1, 6, 40, 40], a part of scores" in hailo


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_scripts_pass_shellcheck(manifest: ModelManifest, tmp_path: Path) -> None:
    for name, text in (
        ("build.sh", tensorrt_script(manifest, "a.onnx", PICTURE, OUTPUTS)),
        ("compile.sh", hailo_script(manifest, "a.onnx", PICTURE, MAPS)),
    ):
        (tmp_path / name).write_text(text)
    command = ["shellcheck", str(tmp_path / "build.sh"), str(tmp_path / "compile.sh")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout


def test_polygraphys_loader_gives_one_picture_at_a_time(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    np.save(tmp_path / "calibration.npy", np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4))
    path = tmp_path / "calibration_data.py"
    path.write_text(calibration_loader("image"))
    space: dict[str, object] = {"__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), space)  # noqa: S102 - as polygraphy does
    given = list(space["load_data"]())  # type: ignore[operator] # what was just defined
    assert [one["image"].shape for one in given] == [(1, 3, 4, 4)] * 2
    assert given[1]["image"].flat[0] == 48
