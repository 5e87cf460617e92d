"""Writes what stands beside the network in a .tflite file: TFLite Metadata, and label files packed behind it.

The files have no operators; slots as in LiteRT's schema.fbs and tflite-support's metadata_schema.fbs.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO

import flatbuffers

_RGB, _LABELS = 1, 3


def model(
    *,
    title: str = "Finds birds",
    mean: Sequence[float] = (127.5,),
    std: Sequence[float] = (127.5,),
    label_file: str = "labels.txt",
    packed: Mapping[str, bytes] | None = None,
    weights: Mapping[int, int] | None = None,
) -> bytes:
    """Give the bytes of a file.

    Args:
        title: In its metadata.
        mean: Of its normalisation.
        std: Likewise.
        label_file: Which of the packed files has its labels.
        packed: Contents by name.
        weights: How many there are of each type, by its number in the schema.
    """
    builder = flatbuffers.Builder(1024)
    counts = dict(weights or {0: 10})
    filled = _table(builder, {0: lambda: builder.CreateByteVector(b"weights")})
    about = builder.CreateByteVector(metadata(title, mean, std, label_file))
    told = _table(builder, {0: lambda: about})
    tensors = []
    for kind, count in counts.items():
        shape = _int32s(builder, [1, count])
        builder.StartObject(3)
        builder.PrependUOffsetTRelativeSlot(0, shape, 0)
        builder.PrependInt8Slot(1, kind, 0)
        builder.PrependUint32Slot(2, 0, 9)
        tensors.append(builder.EndObject())
    graph = _table(builder, {0: lambda: _offsets(builder, tensors)})
    name = builder.CreateString("TFLITE_METADATA")
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint32Slot(1, 1, 0)
    entry = builder.EndObject()
    graphs, buffers, entries = (_offsets(builder, each) for each in ([graph], [filled, told], [entry]))
    builder.StartObject(7)
    for slot, value in ((2, graphs), (4, buffers), (6, entries)):
        builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    return bytes(builder.Output()) + _archive(packed or {})


def metadata(title: str, mean: Sequence[float], std: Sequence[float], label_file: str) -> bytes:
    """Give the buffer called TFLITE_METADATA."""
    builder = flatbuffers.Builder(512)
    means, stds = _floats(builder, mean), _floats(builder, std)
    options = _table(builder, {0: lambda: means, 1: lambda: stds})
    unit = _union(builder, 1, options, slots=2)
    builder.StartObject(2)
    builder.PrependInt8Slot(0, _RGB, 0)
    image = builder.EndObject()
    content = _union(builder, 2, image, slots=3)
    units = _offsets(builder, [unit])
    picture = _table(builder, {3: lambda: content, 4: lambda: units})
    name = builder.CreateString(label_file)
    builder.StartObject(4)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependInt8Slot(2, _LABELS, 0)
    files = _offsets(builder, [builder.EndObject()])
    given = _table(builder, {6: lambda: files})
    inputs, outputs = _offsets(builder, [picture]), _offsets(builder, [given])
    graphs = _offsets(builder, [_table(builder, {2: lambda: inputs, 3: lambda: outputs})])
    called = builder.CreateString(title)
    builder.Finish(_table(builder, {0: lambda: called, 3: lambda: graphs}), b"M001")
    return bytes(builder.Output())


def _table(builder: flatbuffers.Builder, slots: Mapping[int, Callable[[], int]]) -> int:
    values = {slot: make() for slot, make in slots.items()}
    builder.StartObject(max(values) + 1)
    for slot, value in values.items():
        builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    return int(builder.EndObject())


def _union(builder: flatbuffers.Builder, kind: int, value: int, slots: int) -> int:
    builder.StartObject(slots)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, value, 0)
    return int(builder.EndObject())


def _offsets(builder: flatbuffers.Builder, values: Sequence[int]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependUOffsetTRelative(value)
    return int(builder.EndVector())


def _floats(builder: flatbuffers.Builder, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def _int32s(builder: flatbuffers.Builder, values: Sequence[int]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependInt32(value)
    return int(builder.EndVector())


def _archive(packed: Mapping[str, bytes]) -> bytes:
    if not packed:
        return b""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in packed.items():
            archive.writestr(name, content)
    return out.getvalue()
