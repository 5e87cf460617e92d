"""What a .tflite file says of itself: TFLite Metadata and the label files packed behind the network.

Slots of the tables: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs and
https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs; a table's
field number n lies at 4 + 2 n, a union takes two.
"""

import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from math import prod

from flatbuffers import number_types
from flatbuffers.table import Table

from appliance.inference.adding.about import (
    MOST_TEXT,
    About,
    Channels,
    from_entries,
    parse_lines,
    parse_table,
    predominant,
)

_SUBGRAPHS, _BUFFERS, _METADATA = 8, 12, 16  # of Model
_TENSORS = 4  # of SubGraph
_SHAPE, _TYPE, _BUFFER = 4, 6, 8  # of Tensor
_KINDS = {0: "fp32", 1: "fp16", 3: "int8", 9: "int8"}  # FLOAT32, FLOAT16, UINT8, INT8
_NAME, _ABOUT_BUFFER, _DATA = 4, 6, 4  # of Metadata and Buffer
_TITLE, _GRAPHS, _LICENCE, _MODEL_FILES = 4, 10, 14, 16  # of ModelMetadata
_INPUTS, _OUTPUTS, _GRAPH_FILES = 8, 10, 12  # of SubGraphMetadata
_CONTENT, _UNITS, _TENSOR_FILES = 10, 12, 16  # of TensorMetadata
_PROPERTIES_TYPE, _PROPERTIES, _COLOUR = 4, 6, 4  # of Content and ImageProperties
_UNIT_TYPE, _UNIT, _MEAN, _STD = 4, 6, 4, 6  # of ProcessUnit and NormalizationOptions
_FILE_NAME, _FILE_TYPE = 4, 8  # of AssociatedFile
_IS_IMAGE, _IS_NORMALIZATION = 2, 1  # of the unions
_LABEL_FILES = {2, 3}  # TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS
_COLOURS: dict[int, Channels] = {1: "rgb", 2: "grey"}
_DAMAGED = (struct.error, IndexError, TypeError, ValueError, OverflowError)  # what the vendor's reader raises
_MOST_PARTS, _MOST_TENSORS, _MOST_FILES = 64, 100_000, 32
_DIRECTORY = struct.Struct("<4s4H2LH")  # end of a zip's directory; its comment has at most 65535 bytes
_MOST_DIRECTORY = 64 << 10  # bytes
_LOCATOR_64 = b"PK\x06\x07"  # before the end of a directory: another end of it counts, with numbers of its own
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def read_about(model: bytes) -> About:
    """Read the metadata, the label files and the weights' types; what is damaged is taken for missing.

    Args:
        model: The file's content.
    """
    packed = _packed_files(model)
    about = from_entries(_entries(packed))
    try:
        root = Table(model, struct.unpack_from("<I", model)[0])
        about = replace(about, precision=predominant(_weights(root)))
        content = _metadata(root)
        if content is None:
            return about
        told = Table(content, struct.unpack_from("<I", content)[0])
        return _read(told, packed, about)
    except _DAMAGED:
        return about


def _read(told: Table, packed: dict[str, bytes], about: About) -> About:
    graph = next(_tables(told, _GRAPHS), None)
    if graph is None:
        return about
    picture = next(_tables(graph, _INPUTS), None)
    mean, std = _normalisation(picture) if picture is not None else (None, None)
    holders = [*_tables(graph, _OUTPUTS)]
    files = [file for one in holders for file in _tables(one, _TENSOR_FILES)]
    files += [*_tables(graph, _GRAPH_FILES), *_tables(told, _MODEL_FILES)]
    names = [_string(file, _FILE_NAME) for file in files if _byte(file, _FILE_TYPE) in _LABEL_FILES]
    found = (parse_lines(packed[name].decode("utf-8", errors="replace")) for name in names if name in packed)
    title = " ".join(_string(told, _TITLE).split())
    return replace(
        about,
        labels=next((labels for labels in found if labels), about.labels),
        colour=(_colour(picture) if picture is not None else None) or about.colour,
        mean=mean or about.mean,
        std=std or about.std,
        title=title[:120] if title.isprintable() else about.title,
    )


def _normalisation(picture: Table) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    for unit in _tables(picture, _UNITS):
        options = _table(unit, _UNIT) if _byte(unit, _UNIT_TYPE) == _IS_NORMALIZATION else None
        if options is not None:
            mean, std = _floats(options, _MEAN), _floats(options, _STD)
            if len(mean) in {1, 3} and len(std) in {1, 3} and _are_usable(mean, std):
                return mean, std
    return None, None


def _are_usable(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    """Tell whether a manifest could say them; what is no number is not."""
    return all(1e-3 <= one <= 1e3 for one in std) and all(-1e3 <= one <= 1e3 for one in mean)  # noqa: PLR2004


def _colour(picture: Table) -> Channels | None:
    content = _table(picture, _CONTENT)
    if content is None or _byte(content, _PROPERTIES_TYPE) != _IS_IMAGE:
        return None
    image = _table(content, _PROPERTIES)
    return _COLOURS.get(_byte(image, _COLOUR)) if image is not None else None


def _metadata(root: Table) -> bytes | None:
    """Give the buffer called TFLITE_METADATA."""
    for entry in _tables(root, _METADATA):
        if _string(entry, _NAME) == "TFLITE_METADATA":
            wanted = _number(entry, _ABOUT_BUFFER)
            buffer = next((one for at, one in enumerate(_tables(root, _BUFFERS, _MOST_TENSORS)) if at == wanted), None)
            place = buffer.Offset(_DATA) if buffer is not None else 0
            if buffer is not None and place:
                start, size = buffer.Vector(place), buffer.VectorLen(place)
                return bytes(root.Bytes[start : start + size]) if size <= 4 * MOST_TEXT else None
    return None


def _weights(root: Table) -> Counter[str]:
    """Count the weights of each kind of number: the tensors that have a buffer with something in it."""
    filled = [bool(one.Offset(_DATA)) for one in _tables(root, _BUFFERS, _MOST_TENSORS)]
    found: Counter[str] = Counter()
    for graph in _tables(root, _SUBGRAPHS):
        for tensor in _tables(graph, _TENSORS, _MOST_TENSORS):
            buffer, kind = _number(tensor, _BUFFER), _byte(tensor, _TYPE)
            place = tensor.Offset(_SHAPE)
            if kind in _KINDS and place and buffer < len(filled) and filled[buffer]:
                count = min(tensor.VectorLen(place), 8)
                sizes = struct.unpack_from(f"<{count}i", tensor.Bytes, tensor.Vector(place))
                found[_KINDS[kind]] += max(0, prod(sizes))
    return found


def _tables(table: Table, slot: int, most: int = _MOST_PARTS) -> Iterator[Table]:
    """Give the tables of a list, at most so many of them."""
    place = table.Offset(slot)
    if place:
        start = table.Vector(place)
        for at in range(min(table.VectorLen(place), most)):
            yield Table(table.Bytes, table.Indirect(start + 4 * at))


def _table(table: Table, slot: int) -> Table | None:
    place = table.Offset(slot)
    return Table(table.Bytes, table.Indirect(table.Pos + place)) if place else None


def _string(table: Table, slot: int) -> str:
    place = table.Offset(slot)
    return str(table.String(table.Pos + place)[:MOST_TEXT], "utf-8", "replace") if place else ""


def _byte(table: Table, slot: int) -> int:
    place = table.Offset(slot)
    return int(table.Get(number_types.Uint8Flags, table.Pos + place)) if place else 0


def _number(table: Table, slot: int) -> int:
    place = table.Offset(slot)
    return int(table.Get(number_types.Uint32Flags, table.Pos + place)) if place else 0


def _floats(table: Table, slot: int) -> tuple[float, ...]:
    place = table.Offset(slot)
    count = min(table.VectorLen(place), 4) if place else 0
    return struct.unpack_from(f"<{count}f", table.Bytes, table.Vector(place)) if count else ()


def _entries(packed: dict[str, bytes]) -> dict[str, str]:
    """Read the table that Ultralytics' exporters pack: a line ``{'names': {0: 'person', ...}}``, or JSON."""
    for content in packed.values():
        text = content.decode("utf-8", errors="replace").strip()
        if text.startswith("{") and "names" in text:
            return parse_table(text)
    return {}


def _packed_files(model: bytes) -> dict[str, bytes]:
    """Give the small files of the archive that may lie behind the network, by name."""
    at = model.rfind(b"PK\x05\x06", max(0, len(model) - 65557))
    if at < 0 or len(model) - at < _DIRECTORY.size:
        return {}
    _, _, _, _, entries, size, _, _ = _DIRECTORY.unpack_from(model, at)
    if entries > _MOST_FILES or size > _MOST_DIRECTORY or model[max(0, at - 20) :].startswith(_LOCATOR_64):
        return {}
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(BytesIO(model)) as archive:
            for info in archive.infolist():
                if _is_small_file(info):
                    with archive.open(info) as file:
                        found[info.filename] = file.read(MOST_TEXT)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        zlib.error,
        struct.error,
    ):
        return {}
    return found


def _is_small_file(info: zipfile.ZipInfo) -> bool:
    is_file = bool(info.filename) and not info.is_dir()
    is_plain = info.compress_type in _COMPRESSIONS and not info.flag_bits & 1  # else encrypted
    return is_file and is_plain and info.file_size <= MOST_TEXT
