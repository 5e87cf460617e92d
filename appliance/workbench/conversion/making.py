"""Makes what is asked for of one network, in a folder that nobody looks at yet."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from appliance.core.files import write_atomically
from appliance.core.manifest import MANIFEST_NAME, Precision, TensorPattern
from appliance.workbench.bundle import write_model
from appliance.workbench.conversion.extras import load_converter
from appliance.workbench.conversion.ladder_text import (
    Entry,
    artifact_text,
    split_artifacts,
    with_artifacts,
    with_content,
)
from appliance.workbench.conversion.maps import cut_at_maps
from appliance.workbench.conversion.scripts import (
    CALIBRATION,
    Tensor,
    calibration_loader,
    hailo_model_script,
    hailo_name,
    hailo_script,
    tensorrt_script,
)
from appliance.workbench.conversion.source import Source, as_bytes, channels_last

if TYPE_CHECKING:
    from appliance.workbench.conversion.coreml import CoreMlFacts
    from appliance.workbench.conversion.torch_graph import TorchGraph

Target = Literal["tflite", "coreml", "tensorrt", "hailo"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)


@dataclass
class Workshop:
    """Where one network becomes many; its steps are to be called in the order of `steps`.

    Attributes:
        source: The network.
        pictures: To calibrate on, as bytes with channels last, shape (N, H, W, 3).
        inputs: The same as the network takes them, with channels last.
        folder: That the files go to.
        machines: Kinds of processor that .tflite files are for; empty: any.
        files: The model's files by name, best choice first.
        blocks: The ladder: entries of the manifest, best first.
        coreml: What the Core ML package says of itself; None: none was made.
    """

    source: Source
    pictures: NDArray[np.uint8]
    inputs: NDArray[Any]
    folder: Path
    machines: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    blocks: list[str] = field(default_factory=list)
    coreml: "CoreMlFacts | None" = None
    _network: "TorchGraph | None" = None

    def steps(self, targets: Sequence[Target]) -> list[Callable[[], None]]:
        """Give what is to be done for these targets."""
        made: Mapping[Target, Sequence[Callable[[], None]]] = {
            "tflite": (self._tflite,),
            "coreml": (self._coreml,),
            "tensorrt": (self._tensorrt,),
            "hailo": (self._hailo,),
        }
        return [self._onnx, *(step for target in TARGETS if target in targets for step in made[target]), self._manifest]

    @property
    def network(self) -> "TorchGraph":
        """The network in PyTorch.

        Raises:
            ModelError: It has an operator that is not known there.
            UnsupportedError: PyTorch is not installed here.
        """
        if self._network is None:
            load_converter("torch", "TFLite and Core ML files")
            from appliance.workbench.conversion.torch_graph import TorchGraph

            self._network = TorchGraph(self.source.form.model, self.source.name)
        return self._network

    def _onnx(self) -> None:
        """Take over the model's ONNX files; the one that is converted in its new form."""
        _, known = split_artifacts(self.source.text)
        for artifact in self.source.manifest.artifacts:
            path = self.source.folder / artifact.file
            if artifact.format != "onnx" or not path.is_file():
                continue
            content = self.source.form.content if artifact.file == self.source.artifact.file else path.read_bytes()
            self.files[artifact.file] = content
            self.blocks.append(with_content(known[artifact.file], artifact, content))

    def _tflite(self) -> None:
        network = self.network  # first of all: it tells when PyTorch is missing
        from appliance.workbench.conversion.litert import to_8_bits, to_tflite

        name = self.source.manifest.name
        sample = np.ascontiguousarray(self.inputs[:1].transpose(0, 3, 1, 2))
        in_float = to_tflite(network, sample, self.source.name)
        in_8_bits = to_8_bits(in_float, [self.inputs[at : at + 1] for at in range(len(self.inputs))], self.source.name)
        own = self.source.manifest.for_artifact(self.source.artifact)
        spec = channels_last(own.input)
        pattern = TensorPattern(shape=(1, "height", "width", 3), dtype=spec.dtype)
        made: tuple[tuple[Precision, bytes], ...] = (("int8", in_8_bits), ("fp32", in_float))
        for precision, content in made:
            entry = Entry(f"{name}-{precision}.tflite", "tflite", precision, content, self.machines, spec, pattern)
            self.files[entry.file] = content
            self.blocks.append(artifact_text(entry, own.signature.outputs))

    def _coreml(self) -> None:
        network = self.network  # likewise
        from appliance.workbench.conversion.coreml import write_mlpackage

        target = self.folder / "coreml" / f"{self.source.manifest.name}.mlpackage"
        target.parent.mkdir(parents=True)
        spec = self.source.located.candidates[0].input
        self.coreml = write_mlpackage(network, spec, self.source.form.outputs, target, self.source.name)

    def _tensorrt(self) -> None:
        form, manifest = self.source.form, self.source.manifest
        picture = Tensor(form.input, form.shape)
        outputs = [Tensor(*one) for one in form.outputs]
        texts = {
            "build.sh": tensorrt_script(manifest, f"../{self.source.artifact.file}", picture, outputs),
            "calibration_data.py": calibration_loader(form.input),
        }
        channels_first = np.ascontiguousarray(self.inputs.transpose(0, 3, 1, 2))
        write_model(self.folder / "tensorrt", {**_encoded(texts), CALIBRATION: _npy(channels_first)})

    def _hailo(self) -> None:
        form, manifest = self.source.form, self.source.manifest
        cut = cut_at_maps(form, self.source.name)
        onnx = f"{manifest.name}-maps.onnx"
        texts = {
            "compile.sh": hailo_script(manifest, onnx, Tensor(form.input, form.shape), cut.maps),
            f"{hailo_name(manifest)}.alls": hailo_model_script(manifest, len(self.pictures)),
        }
        files = {**_encoded(texts), onnx: cut.content, CALIBRATION: _npy(self.pictures)}
        write_model(self.folder / "hailo", files)

    def _manifest(self) -> None:
        text = with_artifacts(self.source.text, self.blocks)
        write_model(self.folder, {**self.files, MANIFEST_NAME: text.encode()})


def calibration_specs(source: Source) -> tuple[Any, Any]:
    """Give how pictures are prepared for compilers, and for the network with channels last."""
    spec = source.located.candidates[0].input
    return as_bytes(spec), channels_last(spec)


def write_tree(made: Path, target: Path) -> None:
    """Copy all files of a folder to another one; each is there whole or not at all.

    Raises:
        StorageError: They cannot be written.
    """
    for path in sorted(one for one in made.rglob("*") if one.is_file()):
        place = target / path.relative_to(made)
        write_model(place.parent, {})
        write_atomically(place, path.read_bytes())


def _npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _encoded(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in texts.items()}
