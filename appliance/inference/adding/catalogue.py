"""The catalogue of detectors that others publish: where each is, its checksum and its licence."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from appliance.core.errors import ModelError
from appliance.core.files import read_bounded
from appliance.core.manifest import MODEL_NAME, MOST_MODEL_BYTES, Sha256
from appliance.core.mistakes import parse_toml
from appliance.core.part import Part
from appliance.inference.folders import bundled_models

CATALOGUE_NAME = "catalogue.toml"
MOST_UNKNOWN = 64 << 20  # bytes of a file whose size the catalogue does not know
_MOST_BYTES = 256 << 10

Address = Annotated[str, Field(pattern=r"^https?://[^\s?]+\.(onnx|tflite)(\?\S*)?$", max_length=500)]


class Entry(Part):
    """A detector that can be brought.

    Attributes:
        title: One line for people.
        url: Of its file, whose name ends in its format.
        sha256: Of the file.
        size: Bytes; None: not known.
        licence: SPDX expression for the weights.
        project: Of its publisher.
        checksum_from: Who says the checksum.
        expected_map: Average precision on COCO that the publisher gives, in points; None: it gives none.
        labels: ``coco80``, or ``file``: in the file's own metadata.
        family: What `edgecam model add` must recognise in it.
    """

    title: Annotated[str, Field(min_length=1, max_length=200)]
    url: Address
    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=MOST_MODEL_BYTES)] | None = None
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+() -]{1,200}$")]
    project: Annotated[str, Field(pattern=r"^https://\S+$", max_length=500)]
    checksum_from: Annotated[str, Field(min_length=1, max_length=300)]
    expected_map: Annotated[float, Field(ge=0.0, le=100.0)] | None = None
    labels: Literal["coco80", "file"]
    family: Annotated[str, Field(min_length=1, max_length=60)]

    @property
    def format(self) -> str:
        """Ending of the file's name, and so its runtime."""
        return self.url.partition("?")[0].rpartition(".")[2]

    @property
    def most(self) -> int:
        """Bytes that it has at most."""
        return self.size or MOST_UNKNOWN


class Catalogue(Part):
    """All that can be brought.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        models: By name.
    """

    schema_version: Literal[1] = Field(alias="schema")
    models: Annotated[dict[Annotated[str, Field(pattern=MODEL_NAME)], Entry], Field(max_length=256)]


def read_catalogue(path: Path | None = None) -> Catalogue:
    """Read a catalogue.

    Args:
        path: Its file; None: Edgecam's own.

    Raises:
        ModelError: It cannot be read or has entries that are not accepted.
    """
    file = path or bundled_models() / CATALOGUE_NAME
    return parse_toml(read_bounded(file, _MOST_BYTES, ModelError, "a catalogue"), file, Catalogue, ModelError)
