"""The measured sections of a model card, as Markdown. Pure: figures in, text out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from appliance.core.manifest import ModelManifest
from appliance.workbench.confusion import BACKGROUND, Confusion, describe
from appliance.workbench.costs import Costs
from appliance.workbench.evaluate import FIGURES, NO_FIGURE, Accuracy, percent
from appliance.workbench.judgement import Judgement
from appliance.workbench.table import markdown

WORST = 10  # kinds of mistakes that are described
_MOST_COLUMNS = 12  # labels up to which a matrix is readable as a table
_SIZES = ("small", "medium", "large")
_MOST_LABELS = 20  # that are named one by one
_ABOUT_ACCURACY = (
    "Average precision as COCO defines it, in per cent; small objects have less than 32 x 32 pixels, large ones "
    "96 x 96 and more. Pictures went the device's own way: preprocessing, runtime, decoder, suppression of overlaps. "
    "A label counts where the model knows it and something in the pictures has it; `-`: there is nothing to find."
)
_ABOUT_FAILURES = (
    "A place has its best label only, scores begin with the manifest's lowest. A detection is right when it overlaps "
    "an object of its label by half or more (IoU 0.5)."
)
_TITLES = dict(zip(FIGURES, ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large"), strict=True))


@dataclass(frozen=True, slots=True)
class ArtifactFigures:
    """What is known of an artifact.

    Attributes:
        file: Its name.
        precision: Of its weights and activations.
        sha256: 64 hexadecimal digits.
        size: Bytes.
        parameters: Of the network; None: not known.
        multiply_adds: For one picture; None: not known.
        judgements: By dataset.
    """

    file: str
    precision: str
    sha256: str
    size: int
    parameters: int | None
    multiply_adds: int | None
    judgements: Mapping[str, Judgement]


@dataclass(frozen=True, slots=True)
class Measured:
    """All that a card is written from.

    Attributes:
        manifest: Of the model.
        datasets: SHA-256 of truth and pictures, by name.
        artifacts: Best choice first.
        golden: Number of golden frames.
        versions: Of what computed, by name.
        command: What was asked for.
        skipped: Why each artifact that could not be run was not, by the name of its file.
    """

    manifest: ModelManifest
    datasets: Mapping[str, str]
    artifacts: Sequence[ArtifactFigures]
    golden: int
    versions: Mapping[str, str]
    command: str
    skipped: Mapping[str, str] = field(default_factory=dict)


def model_section(measured: Measured) -> str:
    """Tell what the model is, and its files."""
    manifest = measured.manifest
    shape = manifest.input
    facts = [
        ("name", f"`{manifest.name}` {manifest.version}"),
        ("labels", ", ".join(manifest.labels)),
        ("input", f"{shape.width} x {shape.height}, {shape.dtype}, {shape.colour.upper()}, {shape.fit}"),
        ("lowest score", f"{manifest.decoder.min_score:g}"),
        ("licence", manifest.licence),
        ("origin", manifest.source.url),
        *([("after", manifest.source.paper)] if manifest.source.paper else []),
        *([("notes", manifest.source.notes)] if manifest.source.notes else []),
        *([("golden frames", f"{measured.golden}: `edgecam model check {manifest.name}`")] if measured.golden else []),
    ]
    files = [
        (
            f"`{one.file}`",
            one.precision,
            str(one.size),
            "not known" if one.parameters is None else f"{one.parameters / 1e6:.3f} M",
            "not known" if one.multiply_adds is None else f"{one.multiply_adds / 1e6:.0f} M",
            f"`{one.sha256[:16]}`",
        )
        for one in measured.artifacts
    ]
    listed = "\n".join(f"- {key}: {value}" for key, value in facts)
    columns = ("file", "precision", "bytes", "parameters", "multiply-adds", "SHA-256 begins")
    # why stays on the terminal: it may have places of that machine in it
    left_out = ", ".join(f"`{file}`" for file in measured.skipped)
    told = f"\n\nCould not be run on the machine that measured, so left out here: {left_out}." if left_out else ""
    return f"## The model\n\n{listed}\n\n{markdown(columns, files)}{told}"


def accuracy_section(measured: Measured) -> str:
    """Tell average precision on each dataset, and what is lost by fewer bits."""
    parts = [
        "## Accuracy",
        _ABOUT_ACCURACY,
    ]
    # what the others are compared with comes first
    artifacts = sorted(measured.artifacts, key=lambda one: one.precision != "fp32")
    has_base = artifacts[0].precision == "fp32"
    titles = _titles(artifacts)
    for name, digest in measured.datasets.items():
        accuracies = [(title, one.judgements[name].accuracy) for title, one in zip(titles, artifacts, strict=True)]
        first = accuracies[0][1]
        count = f"{first.pictures} pictures; SHA-256 of truth and pictures begins `{digest[:16]}`."
        parts += [f"### {name}", f"{count} {_scope(measured, first)}"]
        parts += [_figures(accuracies, has_base=has_base), _labels(accuracies, has_base=has_base)]
        parts += ["AP50 by size:", _sizes(accuracies)]
    return "\n\n".join(parts)


def failure_section(measured: Measured, pictures: Mapping[str, str]) -> str:
    """Tell where the model fails: what its first artifact takes for what, as the device reports it.

    Args:
        measured: All figures.
        pictures: Where the picture of each dataset's matrix is, seen from the page.
    """
    first = measured.artifacts[0]
    parts = [
        "## Where it fails",
        f"What `{first.file}` reports on a device. {_ABOUT_FAILURES}",
    ]
    for name in measured.datasets:
        found = first.judgements[name]
        matrix = found.confusion
        wrong = matrix.detections - matrix.right
        found_text = f"{matrix.right} of {matrix.objects} objects found ({_share(matrix.right, matrix.objects)})"
        wrong_text = f"{wrong} of {matrix.detections} detections wrong ({_share(wrong, matrix.detections)})"
        parts += [
            f"### {name}: what was taken for what",
            f"{found_text}; {wrong_text}; scores from {matrix.min_score:g}.",
            f"![What was taken for what on {name}]({pictures[name]})",
        ]
        if len(matrix.labels) <= _MOST_COLUMNS + 1:
            parts.append(_matrix(matrix))
        if found.mistakes:
            worst = "\n".join(f"{at}. {describe(one)}" for at, one in enumerate(found.mistakes[:WORST], start=1))
            parts += ["The most frequent mistakes:", worst]
    return "\n\n".join(parts)


def cost_section(costs: Costs) -> str:
    """Tell time, and energy where it was measured."""
    columns = ["model", "ms a frame", "ms network alone"]
    has_reference = costs.rows[-1].ratio is not None
    columns += ["by reference"] if has_reference else []
    columns += ["joules a frame"] if not costs.energy_absent else []
    rows = []
    for one in costs.rows:
        cells = [f"`{one.name}`", f"{one.frame_ms:.1f}", f"{one.model_ms:.1f}"]
        cells += [f"{one.ratio:.2f}"] if one.ratio is not None else []
        cells += [f"{one.joules:.3f}"] if one.joules is not None else []
        rows.append(cells)
    how = (
        f"CPU time on one thread of: {costs.processor}; medians over {costs.frames} frames, which the models were "
        "given in turn. A frame's time is from the picture to its detections."
    )
    if has_reference:
        how += f" The last row, `{costs.rows[-1].name}`, is the reference; the ratio is the median over frames."
    energy = "Energy is what the whole processor took, by its own counter, while each model ran alone for some time."
    if costs.energy_absent:
        energy = f"Energy: not measured here: {costs.energy_absent}."
    return "\n\n".join(("## Time and energy", how, markdown(columns, rows), energy))


def method_section(measured: Measured) -> str:
    """Tell how the figures can be had again."""
    versions = ", ".join(f"{name} {version}" for name, version in measured.versions.items())
    how = (
        f"FOLDER is the dataset whose SHA-256 is told above. With {versions}. The same weights, pictures and versions "
        "give the same figures on the same kind of processor; times differ."
    )
    return f"## How this was measured\n\n```sh\n{measured.command}\n```\n\n{how}"


def _scope(measured: Measured, accuracy: Accuracy) -> str:
    missing = [label for label in measured.manifest.labels if label not in accuracy.labels]
    missing += [label for label, one in accuracy.labels.items() if not one.boxes]
    told = "All of the model's labels are there."
    if missing:
        named = ", ".join(missing) if len(missing) <= _MOST_LABELS else f"{len(missing)} of the model's labels"
        told = f"Not marked there, counted in no mean: {named}."
    if accuracy.unknown:
        told += f" Labels of the set that the model does not know, left out: {len(accuracy.unknown)}."
    return told


def _titles(artifacts: Sequence[ArtifactFigures]) -> list[str]:
    """Call each artifact by its precision, or by its file where others are of that precision too."""
    counts = Counter(one.precision for one in artifacts)
    return [one.precision if counts[one.precision] == 1 else one.file for one in artifacts]


def _figures(accuracies: Sequence[tuple[str, Accuracy]], *, has_base: bool) -> str:
    """Tell the figures of each artifact, and how far they are from those of the first where it is the base."""
    rows = [(title, *(percent(one.figures[key]) for key in FIGURES)) for title, one in accuracies]
    base_title, base = accuracies[0]
    rows += [
        (f"{title} - {base_title}", *(_difference(one.figures[key], base.figures[key]) for key in FIGURES))
        for title, one in (accuracies[1:] if has_base else ())
    ]
    return markdown(("", *_TITLES.values()), rows)


def _labels(accuracies: Sequence[tuple[str, Accuracy]], *, has_base: bool) -> str:
    base_title, base = accuracies[0]
    others = accuracies[1:] if has_base else ()
    columns = ["label", "boxes"]
    for title, _ in accuracies:
        columns += [f"{title} AP", f"{title} AP50"]
    columns += [f"{title} - {base_title} AP50" for title, _ in others]
    rows = []
    for label in _by_boxes(base):
        cells = [
            text for _, one in accuracies for text in (percent(one.labels[label].ap), percent(one.labels[label].ap50))
        ]
        cells += [_difference(one.labels[label].ap50, base.labels[label].ap50) for _, one in others]
        rows.append((label, str(base.labels[label].boxes), *cells))
    return markdown(columns, rows)


def _sizes(accuracies: Sequence[tuple[str, Accuracy]]) -> str:
    columns = ["label", *(f"{title} {size}" for title, _ in accuracies for size in _SIZES)]
    rows = [
        (label, *(percent(value) for _, one in accuracies for value in one.labels[label].by_size))
        for label in _by_boxes(accuracies[0][1])
    ]
    return markdown(columns, rows)


def _by_boxes(accuracy: Accuracy) -> list[str]:
    """Give the labels of which there are boxes, the most frequent first."""
    there = {label: one.boxes for label, one in accuracy.labels.items() if one.boxes}
    return sorted(there, key=lambda label: -there[label])


def _matrix(confusion: Confusion) -> str:
    columns = ("is \\ detected as", *confusion.labels)
    rows = [
        (label, *(str(count) if count else "" for count in counts))
        for label, counts in zip(confusion.labels, confusion.counts, strict=True)
    ]
    note = f"`{BACKGROUND}`: as a column not found, as a row nothing is marked there."
    ignored = f" {confusion.ignored} detections in regions to ignore count nowhere." if confusion.ignored else ""
    return f"{markdown(columns, rows)}\n\n{note}{ignored}"


def _difference(one: float, base: float) -> str:
    return "-" if NO_FIGURE in {one, base} else f"{(one - base) * 100:+.1f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole * 100:.0f} %" if whole else "-"
