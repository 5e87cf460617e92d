"""The command that puts a trained model and its 8-bit form into one folder, as the device takes it."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from appliance.config import ModelSettings
from appliance.core.command import NumberRange
from appliance.core.errors import ConfigError, ModelError, UnsupportedError
from appliance.core.files import make_folder, write_atomically
from appliance.core.manifest import MANIFEST_NAME, read_manifest
from appliance.inference.folders import artifacts_present
from appliance.workbench.conversion.ladder_text import Entry, with_first_artifact


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--int8",
    "in_8_bits",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `quantize` made of it; the device takes it first.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder, named as the model is.")
@click.option("--min-score", type=NumberRange(0.01, 1.0), help="Lowest score of a detection, else the model's.")
def bundle(model: Path, *, in_8_bits: Path, out: Path, min_score: float | None) -> None:
    """Write MODEL, a folder that `train` wrote, and its 8-bit form into one folder, each checked by running it."""
    manifest = read_manifest(model)
    if manifest.name != out.name:
        raise ConfigError(f"--out {out} must be named as the model is: {manifest.name}")
    present = artifacts_present(model, manifest)
    if [artifact.precision for artifact in manifest.artifacts] != ["fp32"] or not present:
        raise ConfigError(f"{model} is no folder that `edgecam-workbench train` wrote: it must have one fp32 artifact")
    name = f"{manifest.name}-int8.onnx"
    contents = {name: _read(in_8_bits), present[0].file: _read(model / present[0].file)}
    _check_8_bits(in_8_bits, contents[name], contents[present[0].file])
    entry = Entry(file=name, format="onnx", precision="int8", content=contents[name])
    text = with_first_artifact((model / MANIFEST_NAME).read_text(encoding="utf-8"), entry)
    if min_score is not None:
        text = re.sub(r"(?m)^min_score = .*$", f"min_score = {min_score:g}", text)
    files = {**contents, MANIFEST_NAME: text.encode()}
    with tempfile.TemporaryDirectory(prefix="edgecam-bundle-") as folder:
        trial = Path(folder) / out.name
        write_model(trial, files)
        for file in contents:
            _check(trial / file)
    write_model(out, files)
    for artifact in read_manifest(out).artifacts:
        click.echo(f"{artifact.precision:<5} {artifact.size:>9} bytes  {artifact.file}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _check_8_bits(path: Path, content: bytes, in_float: bytes) -> None:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UnsupportedError(
            f"the onnx package is missing ({error}); do: pip install 'edgecam[workbench]'"
        ) from error
    if content == in_float:
        raise ConfigError(f"--int8 {path} is the float model itself; give what `quantize` made of it")
    try:
        operators = {node.op_type for node in onnx.load_from_string(content).graph.node}
    except (DecodeError, ValueError) as error:
        raise ModelError(f"nothing was written: {path} is no ONNX file: {error}") from error
    if not {"QuantizeLinear", "DequantizeLinear"} <= operators:
        raise ConfigError(f"--int8 {path} calculates nothing in 8 bits; give what `quantize` made of the model")


def write_model(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a model's folder, made where it is missing; each file is there whole or not at all.

    Args:
        folder: The model's.
        files: Bytes by name.

    Raises:
        StorageError: It cannot be written.
    """
    make_folder(folder)
    for name, content in files.items():
        write_atomically(folder / name, content)


def _check(path: Path) -> None:
    from appliance.inference.detector import open_detector

    try:
        open_detector(ModelSettings(use=str(path))).close()
    except ModelError as error:
        raise ModelError(f"nothing was written: {path.name} does not run: {error}") from error
