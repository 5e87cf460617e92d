"""The network that a conversion starts from, with its manifest; and pictures as its input takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError
from appliance.core.manifest import MANIFEST_NAME, Artifact, InputSpec, ModelManifest, read_manifest
from appliance.inference.artifacts import LocatedModel, locate_model
from appliance.inference.preprocess import Preprocessor
from appliance.workbench.conversion.onnx_form import OnnxForm, bring_into_form
from appliance.workbench.evaluate import read_frame
from appliance.workbench.progress import with_progress


@dataclass(frozen=True, slots=True)
class Source:
    """A float network in ONNX and what is known of it.

    Attributes:
        located: The file, read and checked.
        artifact: What the manifest says of it.
        manifest: Of the model.
        text: Of the manifest.
        form: The file in the form that converters start from.
    """

    located: LocatedModel
    artifact: Artifact
    manifest: ModelManifest
    text: str
    form: OnnxForm

    @property
    def folder(self) -> Path:
        """The model's."""
        return self.located.path.parent

    @property
    def name(self) -> str:
        """What to call it in messages: the file's name."""
        return self.located.path.name


def read_source(use: str, opset: int) -> Source:
    """Read the float network that is named.

    Args:
        use: A model, its folder, or an ONNX file beside the manifest that names it.
        opset: That it is brought to.

    Raises:
        ConfigError: There is no such model or file, or no manifest beside it.
        ModelError: It is broken, or its input is not as the manifest says.
    """
    settings = ModelSettings(use=use)
    is_file = Path(use).expanduser().is_file() or "=" in use  # NAME=FILE is a file too, of which only the kind is known
    located = locate_model(settings) if is_file else locate_model(settings, "fp32")
    if located.artifact is None:
        raise ConfigError(
            f"{located.path} has no manifest beside it that names it; put it into a folder with a {MANIFEST_NAME}, as "
            "`edgecam-workbench train` writes it, and give the folder"
        )
    if located.format != "onnx" or located.artifact.precision != "fp32":
        raise ConfigError(f"{located.path} is {located.artifact.precision} {located.format}; give the fp32 ONNX file")
    manifest = read_manifest(located.path.parent)
    form = bring_into_form(located.content, located.path.name, opset)
    spec = located.candidates[0].input
    if spec.layout != "nchw" or form.shape != (1, 3, spec.height, spec.width):
        raise ModelError(
            f"{located.path} takes {form.input} {list(form.shape)}, its manifest says {spec.layout} {spec.height} x "
            f"{spec.width}; accepted: channels first, a batch of 1, the manifest's size"
        )
    text = (located.path.parent / MANIFEST_NAME).read_text(encoding="utf-8")
    return Source(located, located.artifact, manifest, text, form)


def channels_last(spec: InputSpec) -> InputSpec:
    """Give the same input with its channels last."""
    return spec.model_copy(update={"layout": "nhwc"})


def as_bytes(spec: InputSpec) -> InputSpec:
    """Give the input as compilers calibrate on it: channels last, bytes, not normalised."""
    plain = {"dtype": "uint8", "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    return channels_last(spec).model_copy(update=plain)


def prepare_pictures(spec: InputSpec, files: Sequence[Path]) -> NDArray[Any]:
    """Prepare pictures as the device does.

    Args:
        spec: How a picture becomes an input.
        files: The pictures.

    Returns:
        Shape (N, H, W, 3) or (N, 3, H, W), as the spec says.

    Raises:
        ConfigError: A picture cannot be read.
    """
    preprocessor = Preprocessor(spec)
    whole = np.empty((len(files), *preprocessor.tensor.shape[1:]), preprocessor.tensor.dtype)
    for at, file in enumerate(with_progress(files, "preparing pictures")):
        preprocessor.write(read_frame(file))
        whole[at] = preprocessor.tensor[0]
    return whole
