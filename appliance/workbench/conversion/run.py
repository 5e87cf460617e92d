"""Converts one network, compares all that can run here with it, and writes what was made, or nothing."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.core.errors import ConfigError, ModelError, UnsupportedError
from appliance.core.manifest import Artifact, read_manifest
from appliance.inference.artifacts import LocatedModel
from appliance.inference.detector import load_detector
from appliance.inference.golden import (
    GOLDEN_FOLDER,
    GOLDEN_NAME,
    read_golden,
    read_golden_frame,
)
from appliance.workbench.bundle import write_model
from appliance.workbench.candidates import sha256
from appliance.workbench.conversion.agreement import Agreement, Sight, compare_sights, see
from appliance.workbench.conversion.making import TARGETS, Target, Workshop, calibration_specs, write_tree
from appliance.workbench.conversion.onnx_form import OPSET
from appliance.workbench.conversion.source import Source, prepare_pictures, read_source
from appliance.workbench.evaluate import LEAST_SCORE, Dataset, measure
from appliance.workbench.golden_frames import Pictures, drawn_frames, make_golden
from appliance.workbench.ledger import Ledger
from appliance.workbench.progress import with_progress
from appliance.workbench.quantization import Order as Calibration
from appliance.workbench.quantization import choose_pictures
from appliance.workbench.runnable import Runnable, read_runnable


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted.

    Attributes:
        model: A model, its folder, or an ONNX file beside its manifest.
        out: Folder of what is made, named as the model is.
        pictures: Folder of the pictures for the calibration: itself, or its images/.
        targets: What is to be made beside ONNX.
        judge: Folder with instances.json and images/; None: golden frames alone decide.
        limit: Only its first so many pictures judge; None: all.
        drop: Share of the detections in golden frames that may be lost, 0..1.
        drop_ap: AP that may be lost, 0..1.
        calibrate_on: How many pictures, at most.
        seed: Chooses them.
        opset: Of the ONNX file.
        machines: Kinds of processor that .tflite files are for; empty: any.
        threads: CPU threads of an inference.
    """

    model: str
    out: Path
    pictures: Path
    targets: tuple[Target, ...] = TARGETS
    judge: Path | None = None
    limit: int | None = None
    drop: float = 0.1
    drop_ap: float = 0.01
    calibrate_on: int = 64
    seed: int = 0
    opset: int = OPSET
    machines: tuple[str, ...] = ()
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One runnable form of the network.

    Attributes:
        file: Its name; ``PyTorch`` for the network that converters start from.
        runtime: What ran it: ``onnx``, ``tflite``, ``torch``.
        precision: Of the weights and activations.
        size: Bytes; 0 where there is no file.
        agreement: With the network.
        ap: Average precision, 0..1; None: not measured.
        is_made: It was made here and can be refused; others came with the model.
    """

    file: str
    runtime: str
    precision: str
    size: int
    agreement: Agreement
    ap: float | None
    is_made: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an order.

    Attributes:
        model: Name of the manifest.
        out: Where it was written.
        source: The file that it was made from.
        opset: Of the ONNX file.
        nodes_before: How many nodes it had.
        nodes: How many it has.
        simplifier: What simplified it; empty: nothing did.
        calibrated_on: Pictures.
        frames: Pictures that were compared on.
        judged_on: Pictures that AP is of; 0: none.
        source_ap: The network's AP, 0..1; None: not measured.
        source_ms: Median time of its inference in ONNX Runtime, milliseconds.
        rows: All that can run here, in the ladder's order.
        skipped: What cannot, and why, by its file.
        made: All other files that were written, with their bytes.
        coreml: What the Core ML package says of itself; None: none was made.
    """

    model: str
    out: str
    source: str
    opset: int
    nodes_before: int
    nodes: int
    simplifier: str
    calibrated_on: int
    frames: int
    judged_on: int
    source_ap: float | None
    source_ms: float
    rows: tuple[Row, ...]
    skipped: Mapping[str, str]
    made: Mapping[str, int]
    coreml: Any


def convert_network(order: Order) -> Report:
    """Carry out an order.

    Raises:
        ConfigError: The model, a folder or its name is not right, or no picture is left for the calibration.
        ModelError: The network cannot be converted, or something that was made lost more than it may.
        StorageError: The folder cannot be written.
        UnsupportedError: A converter is not installed here.
    """
    source = read_source(order.model, order.opset)
    if order.out.name != source.manifest.name:
        raise ConfigError(f"--out {order.out} must be named as the model is: {source.manifest.name}")
    if order.out.resolve() == source.folder.resolve():
        raise ConfigError(f"--out {order.out} is the model's own folder; choose another one")
    dataset = Dataset(order.judge) if order.judge else None
    judges = dataset.pictures(order.limit) if dataset else []
    chosen = Calibration(order.model, order.pictures, calibrate_on=order.calibrate_on, seed=order.seed)
    files = choose_pictures(order.pictures, [path for _, path in judges], chosen)
    plain, own = (prepare_pictures(spec, files) for spec in calibration_specs(source))
    frames = _frames(source)
    with tempfile.TemporaryDirectory(prefix="edgecam-convert-") as temporary:
        trial = Path(temporary) / order.out.name
        trial.mkdir()
        workshop = Workshop(source, plain, own, trial, order.machines)
        for step in with_progress(workshop.steps(order.targets), "converting"):
            step()
        runnable = read_runnable(trial, read_manifest(trial))
        measured = _Measured(order, source, dataset, len(judges))
        expected, rows = _compare(order, workshop, runnable, frames, measured)
        report = Report(
            model=source.manifest.name,
            out=str(order.out),
            source=str(source.located.path),
            opset=source.form.opset,
            nodes_before=source.form.nodes_before,
            nodes=source.form.nodes,
            simplifier=source.form.simplifier,
            calibrated_on=len(files),
            frames=len(frames.files),
            judged_on=len(judges),
            source_ap=measured.ap(source.located),
            source_ms=expected.ms,
            rows=rows,
            skipped=runnable.skipped,
            made=_others(trial, workshop),
            coreml=workshop.coreml,
        )
        refuse_losses(report, order)
        if (source.folder / GOLDEN_FOLDER / GOLDEN_NAME).is_file():
            make_golden(trial, frames, read_golden(source.folder).tolerance)
        shutil.rmtree(order.out / "coreml", ignore_errors=True)  # a package is one folder: no older file stays
        write_tree(trial, order.out)
    return report


class _Measured:
    """Average precision by file, kept beside the folder, so that a run that was stopped goes on."""

    def __init__(self, order: Order, source: Source, dataset: Dataset | None, pictures: int) -> None:
        self._dataset, self._pictures, self._threads = dataset, pictures, order.threads
        self._ledger: Ledger | None = None
        if dataset is not None:
            about = {
                "model": source.manifest.name,
                "judge": sha256((dataset.folder / "instances.json").read_bytes()),
                "judges": pictures,
                "edgecam": __version__,
            }
            write_model(order.out.parent, {})
            self._ledger = Ledger(order.out.with_name(f"{order.out.name}.convert.json"), about)

    def ap(self, located: LocatedModel) -> float | None:
        """Give the AP of a file; None where nothing judges."""
        if self._ledger is None or self._dataset is None:
            return None
        key = f"AP of {located.format} {located.sha256}"
        if self._ledger.get(key) is None:
            with load_detector(located, threads=self._threads, min_score=LEAST_SCORE, every_class=True) as detector:
                accuracy = measure(detector, self._dataset, self._pictures, located.path.name)
            self._ledger.put(key, accuracy.figures["ap"])
        return float(self._ledger.get(key))


def _frames(source: Source) -> Pictures:
    """Give the model's golden frames; drawn ones where it has none."""
    if not (source.folder / GOLDEN_FOLDER / GOLDEN_NAME).is_file():
        return drawn_frames()
    golden = read_golden(source.folder)
    for one in golden.frames:
        read_golden_frame(source.folder, one)  # it is what golden.json names
    folder = source.folder / GOLDEN_FOLDER
    return Pictures({one.file: (folder / one.file).read_bytes() for one in golden.frames}, golden.made_from)


def _compare(
    order: Order, workshop: Workshop, runnable: Runnable, frames: Pictures, measured: _Measured
) -> tuple[Sight, tuple[Row, ...]]:
    pictures, source = frames.images(), workshop.source
    expected = see(source.located, pictures, source.located.open(order.threads), source.name)
    rows = []
    for artifact, located in runnable.found:
        found = see(located, pictures, located.open(order.threads), artifact.file)
        is_made = artifact not in source.manifest.artifacts
        rows.append(_row(artifact, compare_sights(expected, found), measured.ap(located), is_made=is_made))
    if {"tflite", "coreml"} & set(order.targets):
        from appliance.workbench.conversion.torch_session import TorchSession

        session = TorchSession(workshop.network, source.located.open(1), order.threads)
        agreement = compare_sights(expected, see(source.located, pictures, session, "PyTorch"))
        rows.append(Row("PyTorch", "torch", "fp32", 0, agreement, None, is_made=True))
    return expected, tuple(rows)


def _row(artifact: Artifact, agreement: Agreement, ap: float | None, *, is_made: bool) -> Row:
    return Row(artifact.file, artifact.format, artifact.precision, artifact.size, agreement, ap, is_made)


def _others(trial: Path, workshop: Workshop) -> dict[str, int]:
    """Give what was made beside the artifacts: relative path and bytes."""
    paths = sorted(path for path in trial.rglob("*") if path.is_file() and path.parent != trial)
    return {str(path.relative_to(trial)): path.stat().st_size for path in paths if path.name not in workshop.files}


def refuse_losses(report: Report, order: Order) -> None:
    """Refuse what was made and lost more than it may. Pure.

    Args:
        report: With the figures.
        order: With what may be lost.

    Raises:
        ModelError: Something lost more; all that did is told, with its figures.
        UnsupportedError: The network is sure of nothing in the golden frames, so that nothing can be compared.
    """
    losses = []
    for row in (each for each in report.rows if each.is_made):
        one = row.agreement
        if one.expected == 0:
            raise UnsupportedError(
                f"{report.source} finds nothing in the golden frames that it is sure of: there is nothing to compare; "
                "make golden frames of pictures of your own: edgecam-workbench golden --frames"
            )
        if one.lost > order.drop:
            losses.append(
                f"{row.file} lost {one.lost * 100:.1f} % of the detections ({one.matched} of {one.expected} found, "
                f"{one.unexpected} unexpected; {order.drop * 100:g} % may be lost)"
            )
        if row.ap is not None and report.source_ap is not None and report.source_ap - row.ap > order.drop_ap:
            losses.append(
                f"{row.file} has AP {row.ap * 100:.1f} in place of {report.source_ap * 100:.1f} "
                f"({order.drop_ap * 100:g} may be lost)"
            )
    if losses:
        raise ModelError(
            "nothing was written:\n  " + "\n  ".join(losses) + "\nGive more or other pictures to calibrate on, leave "
            "the target out (--to), or allow a larger --drop"
        )
