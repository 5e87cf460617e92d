"""What is built where a vendor's compiler is: shell scripts for TensorRT and Hailo. Pure: values in, texts out.

TensorRT: https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/command-line-programs.html; version 11 has
neither --fp16 nor --int8 nor --calib:
https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/tensorrt-10x-to-11x-trtexec.html. Calibration:
https://github.com/NVIDIA/TensorRT/tree/main/tools/Polygraphy; 8 bits for version 11:
https://nvidia.github.io/Model-Optimizer/guides/_onnx_quantization.html.

Hailo: Dataflow Compiler User Guide, commands ``hailo parser onnx``, ``hailo optimize``, ``hailo compiler`` and model
scripts; https://hailo.ai/developer-zone/.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.core.manifest import ModelManifest
from appliance.workbench.conversion.maps import Map

NOT_RUN: Final = "not yet run on hardware"
CALIBRATION: Final = "calibration.npy"
HAILO_CHIPS: Final = ("hailo8l", "hailo8", "hailo10h", "hailo15h")
MANY_PICTURES: Final = 1024
"""From so many calibration pictures on, Hailo's compiler tunes the weights (its optimisation level 2)."""
_HAILO_BATCH = 8  # calibration pictures at a time, the compiler's default

_BUILD_ENGINE: Final = f"""\
precision=${{1:-fp16}}
trtexec=${{TRTEXEC:-trtexec}}
command -v "$trtexec" >/dev/null || trtexec=/usr/src/tensorrt/bin/trtexec
if ! command -v "$trtexec" >/dev/null; then
    echo "trtexec is not here: install TensorRT, or say where it is: TRTEXEC=PATH sh build.sh" >&2
    exit 69
fi

knows() {{
    "$trtexec" --help 2>&1 | grep -e "$1" >/dev/null
}}

needs() {{
    if ! python3 -c "import $2" 2>/dev/null; then
        echo "the Python package $1 is missing; do: pip install '$1'" >&2
        exit 69
    fi
}}

build() {{
    file=$1
    shift
    "$trtexec" --onnx="$file" --saveEngine="$name-$precision.engine" --timingCacheFile="$name.timing" "$@"
}}

case $precision in
fp32)
    build "$onnx"
    ;;
fp16)
    if knows --fp16; then
        build "$onnx" --fp16
    else
        needs 'nvidia-modelopt[onnx]' modelopt.onnx.autocast
        python3 -m modelopt.onnx.autocast --onnx_path "$onnx" --output_path "$name-fp16.onnx"
        build "$name-fp16.onnx"
    fi
    ;;
int8)
    if knows --calib; then
        if [ ! -s "$name.cache" ]; then
            needs polygraphy polygraphy
            polygraphy convert "$onnx" --int8 --data-loader-script calibration_data.py \\
                --calibration-cache "$name.cache" -o "$name-calibrated.engine"
        fi
        build "$onnx" --int8 --fp16 --calib="$name.cache"
    else
        needs 'nvidia-modelopt[onnx]' modelopt.onnx.quantization
        python3 -m modelopt.onnx.quantization --onnx_path "$onnx" --quantize_mode int8 \\
            --calibration_data {CALIBRATION} --output_path "$name-int8.onnx"
        build "$name-int8.onnx"
    fi
    ;;
*)
    echo "precision is '$precision'; known: fp16, int8, fp32" >&2
    exit 64
    ;;
esac
echo "written: $name-$precision.engine"
"""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output, as scripts tell it.

    Attributes:
        name: In the file.
        shape: All sizes.
    """

    name: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} [{','.join(map(str, self.shape))}]"


def tensorrt_script(manifest: ModelManifest, onnx: str, picture: Tensor, outputs: Sequence[Tensor]) -> str:
    """Give build.sh, which makes TensorRT engines of an ONNX file beside it.

    Args:
        manifest: Of the model.
        onnx: The file's name.
        picture: Its input.
        outputs: Its outputs.
    """
    told = "; ".join(map(str, outputs))
    return f"""#!/bin/sh
# Builds a TensorRT engine of {manifest.name} {manifest.version}. Written by `edgecam-workbench convert`; {NOT_RUN}.
#
#   sh build.sh [fp16 | int8 | fp32]
#
# To be run on the machine that the engine is for: an engine fits one GPU and one version of TensorRT.
# Input: {picture}, {manifest.input.dtype}, {manifest.input.colour}. Outputs: {told}.
# All sizes are fixed in the file, so that trtexec is given no --shapes: it refuses them then.
#
# fp16  TensorRT up to 10 chooses half precision by --fp16. 11 has no such option: the file itself is made so before, by
#       NVIDIA's modelopt.
# int8  Up to 10: the ranges are taken from {CALIBRATION} by NVIDIA's polygraphy, once, and kept in the calibration
#       cache {manifest.name}.cache; without one trtexec makes ranges up. Delete the cache when the file, the pictures
#       or TensorRT change. 11 has no calibration: modelopt writes the ranges into the file.
# TRTEXEC=PATH names another trtexec. Compare the engine with the ONNX file before it is used: 8 bits can be blind.
set -eu
cd "$(dirname "$0")"

name={shlex.quote(manifest.name)}
onnx={shlex.quote(onnx)}
{_BUILD_ENGINE}"""


def calibration_loader(picture: str) -> str:
    """Give calibration_data.py, by which polygraphy reads the calibration pictures.

    Args:
        picture: Name of the input.
    """
    return f'''"""Calibration pictures for polygraphy's --data-loader-script, one at a time."""

from pathlib import Path

import numpy as np


def load_data():
    pictures = np.load(Path(__file__).with_name("{CALIBRATION}"), mmap_mode="r")
    for at in range(len(pictures)):
        yield {{"{picture}": np.ascontiguousarray(pictures[at : at + 1])}}
'''


def hailo_name(manifest: ModelManifest) -> str:
    """Give the network's name for Hailo's compiler, which takes letters, digits and underscores."""
    return manifest.name.replace("-", "_").replace(".", "_")


def hailo_model_script(manifest: ModelManifest, pictures: int) -> str:
    """Give the model script (.alls) that Hailo's compiler optimises by.

    Args:
        manifest: Of the model.
        pictures: How many there are to calibrate on.
    """
    spec = manifest.input
    level = 2 if pictures >= MANY_PICTURES else 1  # 2 tunes weights, which wants that many and a GPU
    lines = []
    if any(spec.mean) or set(spec.std) != {1.0}:
        lines.append(f"normalization1 = normalization({list(spec.mean)}, {list(spec.std)})")
    lines += [
        f"model_optimization_flavor(optimization_level={level}, compression_level=0)",
        f"model_optimization_config(calibration, batch_size={min(_HAILO_BATCH, pictures)}, calibset_size={pictures})",
    ]
    return "\n".join(lines) + "\n"


def hailo_script(manifest: ModelManifest, onnx: str, picture: Tensor, maps: Sequence[Map]) -> str:
    """Give compile.sh, which makes a .hef of the cut network beside it.

    Args:
        manifest: Of the model.
        onnx: The cut network's file.
        picture: Its input, channels first.
        maps: Its outputs.
    """
    spec, stem = manifest.input, hailo_name(manifest)
    rows = "\n".join(f"#   {one.name} {list(one.shape)}, a part of {one.output}" for one in maps)
    names = " ".join(shlex.quote(one.name) for one in maps)
    chips = " | ".join(HAILO_CHIPS)
    patterns = "|".join(HAILO_CHIPS)
    return f"""#!/bin/sh
# Compiles {manifest.name} {manifest.version} for a Hailo accelerator. Written by `edgecam-workbench convert`;
# {NOT_RUN}.
#
#   sh compile.sh [{chips}]
#
# To be run on an x86-64 computer with Hailo's Dataflow Compiler, from https://hailo.ai/developer-zone/; which version
# knows which chip stands there.
# Input: {picture.name}, {spec.height} x {spec.width} x 3 bytes, {spec.colour}, channels last.
# Outputs, channels last on the device: the maps before they are flattened and put together.
{rows}
# {CALIBRATION} has the calibration pictures, uint8, (pictures, height, width, 3), as the device prepares them.
set -eu
cd "$(dirname "$0")"

chip=${{1:-{HAILO_CHIPS[0]}}}
case $chip in
{patterns}) ;;
*)
    echo "chip is '$chip'; known: {", ".join(HAILO_CHIPS)}" >&2
    exit 64
    ;;
esac
if ! command -v hailo >/dev/null; then
    echo "the command hailo is not here: install Hailo's Dataflow Compiler and enter its environment" >&2
    exit 69
fi

hailo parser onnx {shlex.quote(onnx)} --net-name {stem} --har-path {stem}.har --hw-arch "$chip" \\
    --start-node-names {shlex.quote(picture.name)} --end-node-names {names}
hailo optimize {stem}.har --hw-arch "$chip" --calib-set-path {CALIBRATION} \\
    --model-script {stem}.alls --output-har-path {stem}_optimized.har
hailo compiler {stem}_optimized.har --hw-arch "$chip" --output-dir .
echo "written: {stem}.hef"
"""
