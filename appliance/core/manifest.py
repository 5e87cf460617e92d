"""What a model is: its task, labels, input, decoder, signature and files, as its manifest.toml says."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from appliance.core.decoding import KINDS, AnyDecoder, NumberedSpec
from appliance.core.errors import ModelError
from appliance.core.files import read_bounded
from appliance.core.mistakes import explain
from appliance.core.part import Part
from appliance.core.providers import PROVIDERS, AnyProvider, Delegate
from appliance.core.tasks import MOST_SEGMENTED, TABLES, ClassificationSpec, SegmentationSpec, Tasked, own_tables
from appliance.core.vocabulary import Vocabulary, default_groups

MANIFEST_NAME = "manifest.toml"
MODEL_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
MOST_MANIFEST_BYTES = 256 << 10  # bounded before it is parsed: manifests and label files are some kilobytes
MOST_MODEL_BYTES = 512 << 20  # the largest weights that a device of this class could hold in memory


def _plain_file(name: str) -> str:
    if Path(name).name != name or name in {".", ".."}:
        raise ValueError("is a plain file name, without a folder")
    return name


Score = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Annotated[int, Field(ge=16, le=4096)]
Label = Annotated[str, Field(min_length=1, max_length=100)]
MOST_LABELS = 1100  # ImageNet's 1000, a background, and room
Members = Annotated[tuple[Label, ...], Field(min_length=1, max_length=MOST_LABELS)]
Dtype = Literal["float32", "float16", "uint8", "int8"]
AxisWord = int | Annotated[str, Field(max_length=64)]
Precision = Literal["fp32", "fp16", "int8", "mixed"]
PlainFile = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_plain_file)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Quantization(Part):
    """What an integer of a quantized input stands for: (integer - zero_point) * scale.

    Attributes:
        scale: Of one step.
        zero_point: The integer that stands for 0.
    """

    scale: Annotated[float, Field(ge=1e-6, le=1e3)]
    zero_point: Annotated[int, Field(ge=-128, le=255)]


class TensorSpec(Part):
    """Name, shape and element type of one input or output of a model's file.

    Attributes:
        name: As in the file.
        shape: Sizes; None where the file leaves one open.
        dtype: NumPy's name of the element type.
        takes_float: Of an input with integers: the session takes float32 too and quantizes it as the file says.
        quantization: What its integers stand for, where it is the same for all of them.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    takes_float: bool = False
    quantization: Quantization | None = None

    def __str__(self) -> str:
        sizes = ",".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype}[{sizes}]"


class TensorPattern(Part):
    """What a tensor of a family of models looks like, whatever the input's size.

    Attributes:
        shape: For each axis a number, or a sum of the words that `appliance.inference.signature` explains:
            ``height``, ``width``, ``rows(16)``, ``columns(16)``, ``cells(8,16,32)``, ``5+classes``; or ``any``.
        dtype: NumPy's name of the element type.
    """

    shape: Annotated[tuple[AxisWord, ...], Field(max_length=8)]
    dtype: Literal["float32", "float16", "uint8", "int8", "int32", "int64"] = "float32"

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(str(size) for size in self.shape)}]"


class ConstantPattern(TensorPattern):
    """An input beside the picture that is the same for every frame, such as the size to tell boxes in.

    Attributes:
        values: Numbers or words as in `shape`, row by row.
    """

    values: Annotated[tuple[AxisWord, ...], Field(min_length=1, max_length=64)]


class Signature(Part):
    """By what a bare file of this family is recognised. Names and order of the tensors do not count.

    Attributes:
        input: The picture.
        constants: Further inputs.
        outputs: In the order in which the decoder takes them.
        tells_labels: A file with these tensors has these labels. If not, it could be anyone's with labels of its own:
            it is taken for this model only where the model is named.
    """

    input: TensorPattern
    constants: Annotated[tuple[ConstantPattern, ...], Field(max_length=8)] = ()
    outputs: Annotated[tuple[TensorPattern, ...], Field(min_length=1, max_length=32)]
    tells_labels: bool = True


class InputSpec(Part):
    """How a picture becomes the model's input.

    Attributes:
        width: Pixels.
        height: Pixels.
        layout: Order of the axes after the batch.
        dtype: Element type. Without `quantization` uint8 takes pixels as they are, int8 takes them less 128.
        colour: Order of the channels; of grey there is one.
        fit: Stretch to the size; keep the aspect ratio and pad, picture top left or centred; or keep it and cut off
            what is too much, the centre staying.
        interpolation: How the picture is scaled.
        pad: Value of the padding, 0..255, before mean and std.
        mean: Subtracted from each channel in the order of `colour`, on the 0..255 scale; of grey all three the same.
        std: Each channel is divided by it afterwards, on the 0..255 scale; likewise.
        quantization: Of an input with 8 bits whose pixels are normalised before they are quantized.
    """

    width: Size
    height: Size
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Dtype = "float32"
    colour: Literal["bgr", "rgb", "grey"]
    fit: Literal["letterbox-topleft", "letterbox-centre", "stretch", "crop-centre"]
    interpolation: Literal["nearest", "linear", "cubic", "area"] = "linear"
    pad: Annotated[int, Field(ge=0, le=255)] = 114
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    quantization: Quantization | None = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if any(not 1e-3 <= value <= 1e3 for value in self.std):  # noqa: PLR2004 - 255 and its parts, with room
            raise ValueError("std must lie between 0.001 and 1000")
        is_normalised = any(self.mean) or set(self.std) != {1.0}
        if self.is_integer and is_normalised and self.quantization is None:
            raise ValueError("mean and std need dtype float32 or float16, or a quantization")
        if self.quantization is not None and not self.is_integer:
            raise ValueError("quantization needs dtype uint8 or int8")
        if self.colour == "grey" and (len(set(self.mean)) > 1 or len(set(self.std)) > 1):
            raise ValueError("colour grey needs the same mean, and the same std, three times")
        return self

    @property
    def is_integer(self) -> bool:
        """It takes 8-bit integers."""
        return self.dtype in {"uint8", "int8"}

    @property
    def channels(self) -> int:
        """How many values a pixel has: 3, or 1 of grey."""
        return 1 if self.colour == "grey" else 3


class Source(Part):
    """Where a model comes from.

    Attributes:
        url: The project or publication; empty: nobody said.
        paper: Citation.
        notes: What was changed or must be known.
    """

    url: Annotated[str, Field(pattern=r"^(https://\S+)?$", max_length=500)]
    paper: Annotated[str, Field(max_length=500)] = ""
    notes: Annotated[str, Field(max_length=2000)] = ""


class Needs(Part):
    """What a machine must have for an artifact to be tried; one that lacks it is no worse for it.

    Attributes:
        machines: Kinds of processor, as `uname -m` tells them; empty: any.
        device: A file of the system that stands for the accelerator: ``/dev/apex_0``; empty: none.
    """

    machines: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")], ...], Field(max_length=8)] = ()
    device: Annotated[str, Field(pattern=r"^(/dev/[A-Za-z0-9_./-]{1,100})?$")] = ""

    def unmet(self, machine: str) -> str:
        """Tell what this machine lacks; nothing when it has all.

        Args:
            machine: Its kind of processor.
        """
        if self.machines and machine not in self.machines:
            return f"is for {' or '.join(self.machines)}, and this is {machine}"
        if self.device and not Path(self.device).exists():
            return f"needs {self.device}, which is not there"
        return ""


class Artifact(Part):
    """One file of weights, beside the manifest.

    Attributes:
        file: Its name.
        format: Which runtime opens it.
        precision: Of the weights and activations.
        sha256: 64 hexadecimal digits, lower case.
        size: Bytes.
        providers: Of ONNX Runtime, that may run it, best first. Without ``cpu`` among them it is not run on the CPU
            alone; empty: the CPU.
        delegate: Of LiteRT, that is to run it; none: the CPU.
        needs: What a machine must have for it to be tried.
        input: In place of the manifest's, where this file takes its picture otherwise.
        decoder: In place of the manifest's, likewise.
        classification: In place of the manifest's, likewise.
        segmentation: In place of the manifest's, likewise.
        signature: In place of the manifest's, likewise.
    """

    file: PlainFile
    format: Literal["onnx", "tflite", "hef", "rpk"]
    precision: Precision
    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=MOST_MODEL_BYTES)]
    providers: Annotated[tuple[AnyProvider, ...], Field(max_length=len(PROVIDERS))] = ()
    delegate: Delegate | None = None
    needs: Needs = Needs()
    input: InputSpec | None = None
    decoder: AnyDecoder | None = None
    classification: ClassificationSpec | None = None
    segmentation: SegmentationSpec | None = None
    signature: Signature | None = None

    @model_validator(mode="after")
    def _for_its_runtime(self) -> Self:
        if self.providers and self.format != "onnx":
            raise ValueError("providers are for format onnx; a .tflite file may have a delegate")
        if self.delegate is not None and self.format != "tflite":
            raise ValueError("a delegate is for format tflite; an .onnx file may have providers")
        if self.delegate is not None and "/" in self.delegate.library:  # what comes with a model loads no other file
            raise ValueError("delegate.library: is a library of the system, without a folder: libedgetpu.so.1")
        if len({provider.kind for provider in self.providers}) != len(self.providers):
            raise ValueError("providers: each must be there once")
        return self


class ModelManifest(Tasked):
    """A model or a family of models; what it gives is said by `Tasked`.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        name: Also the name of its folder.
        version: Of the model.
        title: One line for people.
        labels: Names of its classes, by class id; in the file a list or the path of a text file, one a line.
        groups: Labels that count as one, by the name of the group; None: those that Edgecam knows, see `vocabulary`.
        licence: SPDX expression for the weights.
        source: Provenance.
        input: How a picture becomes its input.
        signature: By what a bare file is recognised.
        artifacts: Files of weights, best choice first; empty for a family that is known without weights.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: Annotated[str, Field(pattern=MODEL_NAME)]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=MOST_LABELS)]
    groups: Annotated[dict[Label, Members], Field(max_length=100)] | None = None
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+() -]{1,200}$")]
    source: Source
    input: InputSpec
    signature: Signature
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: each must be there once")
        return self

    @model_validator(mode="after")
    def _is_read_as_its_task_says(self) -> Self:
        tables, own = self._tables(), TABLES[self.task]
        if own not in tables:
            raise ValueError(f"{own}: is required for task {self.task!r}")
        if strangers := [place for place in tables if place.rpartition(".")[2] != own]:
            raise ValueError(f"{strangers[0]}: is not for task {self.task!r}, which has {own}")
        if self.task == "detect":
            return self
        if any(len(one.outputs) != 1 for one in (self.signature, *(each.signature for each in self.artifacts)) if one):
            raise ValueError(f"signature.outputs: task {self.task!r} has one")
        if self.task == "segment" and len(self.labels) > MOST_SEGMENTED:
            raise ValueError(f"labels: task 'segment' has at most {MOST_SEGMENTED}")
        for place, spec in tables.items():
            if spec.background not in {None, *self.labels}:
                raise ValueError(f"{place}.background: {spec.background!r} is none of the labels")
        return self

    @model_validator(mode="after")
    def _labels_have_numbers(self) -> Self:
        for table, decoder in self._tables().items():
            if isinstance(decoder, NumberedSpec) and len(decoder.class_numbers) not in {0, len(self.labels)}:
                raise ValueError(
                    f"{table}.class_numbers: {len(decoder.class_numbers)} for {len(self.labels)} labels; "
                    "give one for each, or none"
                )
        return self

    @model_validator(mode="after")
    def _groups_are_of_labels(self) -> Self:
        grouped: list[str] = []
        for name, members in (self.groups or {}).items():
            if name in self.labels:
                raise ValueError(f"groups: {name!r} is a label; a group needs a name of its own")
            if strangers := [label for label in members if label not in self.labels]:
                raise ValueError(f"groups: {name!r} has {', '.join(map(repr, strangers))}, which are no labels")
            grouped += members
        if len(set(grouped)) != len(grouped):
            raise ValueError("groups: a label is in one group at the most, and once")
        return self

    def _tables(self) -> dict[str, Any]:
        """Give the tables that say how outputs are read, the manifest's own and its artifacts', by where they stand."""
        found = own_tables(self, "_spec")
        for at, artifact in enumerate(self.artifacts):
            found |= {f"artifacts.{at}.{table}": spec for table, spec in own_tables(artifact).items()}
        return found

    @property
    def vocabulary(self) -> Vocabulary:
        """What of it can be named in the configuration, and is named in messages."""
        return Vocabulary(self.labels, default_groups(self.labels) if self.groups is None else self.groups)

    def for_artifact(self, artifact: Artifact) -> Self:
        """Give the same manifest with what the artifact says in its place."""
        own = {
            "input": artifact.input,
            "decoder_spec": artifact.decoder,
            "classification_spec": artifact.classification,
            "segmentation_spec": artifact.segmentation,
            "signature": artifact.signature,
        }
        return self.model_copy(update={key: value for key, value in own.items() if value is not None})

    def for_size(self, width: int, height: int) -> Self:
        """Give the same manifest for a file whose input has another size, in pixels."""
        resized = self.input.model_copy(update={"width": width, "height": height})
        return self.model_copy(update={"input": resized})


def read_manifest(path: Path) -> ModelManifest:
    """Read and check a manifest and the label file that it names.

    Args:
        path: The manifest.toml, or its folder.

    Raises:
        ModelError: It is missing, too large, no TOML, or has entries that are not accepted: all of them in one
            message, a line each with its key path.
    """
    file = path / MANIFEST_NAME if path.is_dir() else path
    try:
        values = tomllib.loads(_read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"{file} is no valid TOML: {error}") from error
    if isinstance(labels := values.get("labels"), str):
        values["labels"] = _read_text(file.parent / labels).split("\n")
        values["labels"] = [line.strip() for line in values["labels"] if line.strip()]
    try:
        return ModelManifest.model_validate(values)
    except ValidationError as error:
        forms = {"decoder": KINDS, "providers": sorted(PROVIDERS)}
        raise ModelError(explain(error, file, forms)) from error


def _read_text(path: Path) -> str:
    try:
        return read_bounded(path, MOST_MANIFEST_BYTES, ModelError, "part of a manifest").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is no UTF-8 text: {error}") from error
