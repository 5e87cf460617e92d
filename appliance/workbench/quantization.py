"""Quantizes a detector and judges every step on pictures, through the device's own code."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

from numpy.typing import NDArray

from appliance import __version__
from appliance.cameras.pictures import list_pictures
from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, ModelError
from appliance.core.manifest import ModelManifest
from appliance.inference.artifacts import LocatedModel, identify, locate_model
from appliance.inference.preprocess import Preprocessor
from appliance.workbench.candidates import Candidates, Variant, sha256
from appliance.workbench.evaluate import Dataset, read_frame
from appliance.workbench.ledger import Ledger
from appliance.workbench.progress import with_progress
from appliance.workbench.quantizer import Calibration, Quantizer, Scheme
from appliance.workbench.ranges import STEPS, read_ranges
from appliance.workbench.search import Bounds, Choice, find_smallest

MOST_SHARE: Final = 0.5  # of the float model's file: a quantized one that is larger is not worth its errors
CORRECTED_ON: Final = 16  # pictures of the calibration: means over all places of a map need no more
RANKED_ON: Final = 8  # pictures of the calibration; their ranking of nodes hardly changes with more


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted.

    Attributes:
        model: NAME, FILE or NAME=FILE of the float model.
        pictures: Folder of the pictures for the calibration: itself, or its images/.
        judge: Folder with instances.json and images/; None: `pictures`, whose first half judges then.
        drop: AP that may be lost, 0..1.
        scheme: Unsigned or signed activations.
        calibration: How ranges are chosen.
        ranges: File of the ranges that were learned in training, in place of a calibration; None: there is none.
        equalise: Make neighbouring convolutions' weights of alike size first.
        correct_biases: Take off the biases by what 8 bits shift the means.
        steady: Round ranges up to a grid, so that another calibration gives nearly the same file.
        calibrate_on: How many pictures, at most.
        limit: Only the first so many pictures judge; None: all.
        quick: So many of them judge during the search.
        seed: Chooses the pictures for the calibration.
        threads: CPU threads of the detector.
    """

    model: str
    pictures: Path
    judge: Path | None = None
    drop: float = 0.01
    scheme: Scheme = "u8s8"
    calibration: Calibration = "minmax"
    ranges: Path | None = None
    equalise: bool = False
    correct_biases: bool = False
    steady: bool = False
    calibrate_on: int = 64
    limit: int | None = None
    quick: int = 100
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Node:
    """A node that can run in 8 bits.

    Attributes:
        name: In the graph that was made ready for quantization.
        operator: What it does: Conv.
        alone_db: SQNR of the model's outputs when it alone runs in 8 bits, dB.
    """

    name: str
    operator: str
    alone_db: float


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an order.

    Attributes:
        model: Name of the manifest.
        scheme: Unsigned or signed activations.
        calibration: How ranges were chosen.
        calibrated_on: Pictures.
        equalised: How many pairs of convolutions were made alike.
        corrected: How many convolutions have a corrected bias where they are in 8 bits.
        dataset: Where it was judged.
        judged_on: Pictures.
        drop: AP that may be lost, 0..1.
        variants: The float model, all nodes in 8 bits, ours.
        in_float: Nodes of ours in float, by name, worst first.
        always_float: How many nodes there are of each operator that has no form in 8 bits.
        nodes: All that can run in 8 bits, worst first.
        tensors: SQNR between the float model and the naive one, dB, worst first.
        tried: How many choices were judged, earlier runs' included.
    """

    model: str
    scheme: Scheme
    calibration: Calibration | Literal["learned"]
    calibrated_on: int
    equalised: int
    corrected: int
    dataset: str
    judged_on: int
    drop: float
    variants: tuple[Variant, ...]
    in_float: Choice
    always_float: Mapping[str, int]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, float]
    tried: int


def quantize_detector(order: Order, ledger_file: Path) -> tuple[Report, bytes]:
    """Carry out an order; what `ledger_file` knows already is not done again.

    Returns:
        The report, and the file of ours.

    Raises:
        ConfigError: A folder, the model or the ranges are not there, no picture is left for the calibration, or the
            order contradicts itself.
        ModelError: The model is broken or cannot be quantized, or no choice keeps within the drop at half the size.
        StorageError: The ledger cannot be written.
    """
    _check(order)
    located = locate_model(ModelSettings(use=order.model, threads=order.threads))
    manifest = _manifest(located)
    dataset = Dataset(order.judge or order.pictures)
    judges = len(dataset.pictures(order.limit))
    if order.judge is None:
        judges = min(judges, len(dataset.pictures(None)) // 2)
    files = choose_pictures(order.pictures, [path for _, path in dataset.pictures(judges)], order)
    ledger = Ledger(ledger_file, _about(order, located, dataset, files, judges))
    inputs = _inputs(manifest, files)
    quantizer = Quantizer(located.content, str(located.path), order.scheme)
    equalised, corrected = _fit(quantizer, inputs, order, located)
    nodes = _rank(quantizer, inputs[:RANKED_ON], ledger)
    trial = Candidates(
        quantizer=quantizer,
        located=located,
        dataset=dataset,
        pictures=(min(order.quick, judges), judges),
        ledger=ledger,
        threads=order.threads,
    )
    found = _search(order, located, trial, nodes, judges)
    report = Report(
        model=manifest.name,
        scheme=order.scheme,
        calibration="learned" if order.ranges else order.calibration,
        calibrated_on=0 if order.ranges else len(files),
        equalised=equalised,
        corrected=corrected,
        dataset=str(dataset.folder),
        judged_on=judges,
        drop=order.drop,
        variants=found.variants,
        in_float=found.in_float,
        always_float=quantizer.always_float,
        nodes=nodes,
        tensors=quantizer.tensors_sqnr(trial.content(()), inputs[:RANKED_ON]),
        tried=sum(1 for key in ledger if key.startswith("accuracy")),
    )
    return report, trial.judged(found.in_float)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the search came to: which nodes stay in float; and the float model, all nodes in 8 bits, ours."""

    in_float: Choice
    variants: tuple[Variant, Variant, Variant]


def _check(order: Order) -> None:
    """Refuse an order that contradicts itself."""
    if order.ranges and (order.equalise or order.correct_biases):
        raise ConfigError("--ranges goes without --equalise and --correct-biases: these weights were learned with them")
    if order.ranges and order.scheme == "u8s7":
        raise ConfigError("--ranges goes with --scheme u8s8 or s8s8: these weights were learned with 8 bits, not 7")


def _search(order: Order, located: LocatedModel, trial: Candidates, nodes: Sequence[Node], judges: int) -> _Outcome:
    """Find the fewest nodes in float that keep within the drop; refuse where there are none such."""
    exact, naive = trial.judge(None, "fp32", judges), trial.judge((), "naive", judges)
    bounds = Bounds(
        size=int(len(located.content) * MOST_SHARE),
        quick=trial.judge(None, "fp32", min(order.quick, judges)).steady_ap - order.drop,
        whole=exact.ap - order.drop,
    )
    chosen = find_smallest([node.name for node in nodes], trial, bounds)
    if chosen is None:
        raise _refusal(order, located, (exact, naive), list(trial.tried.values()), nodes)
    return _Outcome(chosen, (exact, naive, trial.judge(chosen, "ours", judges)))


def choose_pictures(folder: Path, judges: Sequence[Path], order: Order) -> list[Path]:
    """Choose the pictures for the calibration by the seed; none that judges, under whatever name.

    Raises:
        ConfigError: None is left, or the folder cannot be read.
    """
    images = folder / "images"
    seen = {_digest(path) for path in judges}
    free = [path for path in list_pictures(images if images.is_dir() else folder) if _digest(path) not in seen]
    if not free:
        raise ConfigError(f"{folder} has no picture to calibrate on that is not one of those that judge; add some")
    # not for secrets: the same seed chooses the same pictures
    return sorted(random.Random(order.seed).sample(free, min(order.calibrate_on, len(free))))  # noqa: S311


def _manifest(located: LocatedModel) -> ModelManifest:
    session = located.open(1)
    try:
        return identify(located, session.inputs, session.outputs).manifest
    finally:
        session.close()


def _inputs(manifest: ModelManifest, files: Sequence[Path]) -> list[NDArray[Any]]:
    preprocessor = Preprocessor(manifest.input)
    inputs = []
    for path in files:
        preprocessor.write(read_frame(path))
        inputs.append(preprocessor.tensor.copy())
    return inputs


def _fit(quantizer: Quantizer, inputs: Sequence[NDArray[Any]], order: Order, located: LocatedModel) -> tuple[int, int]:
    """Give the quantizer its ranges and what else is ordered; tell pairs equalised, and biases corrected."""
    if order.ranges:
        quantizer.take_ranges(read_ranges(order.ranges, located.sha256))
        if order.steady:
            quantizer.round_ranges()
        return 0, 0
    equalised = quantizer.equalise() if order.equalise else 0
    for _ in with_progress(quantizer.calibrate(inputs, order.calibration), "calibrating", -(-len(inputs) // 4)):
        pass
    if order.steady:
        quantizer.round_ranges()
    corrected = 0
    if order.correct_biases:
        chosen = inputs[:CORRECTED_ON]
        for _ in with_progress(quantizer.correct_biases(chosen), "correcting biases", len(chosen)):
            pass
        corrected = sum(1 for operator in quantizer.operators.values() if operator == "Conv")
    return equalised, corrected


def _rank(quantizer: Quantizer, inputs: Sequence[NDArray[Any]], ledger: Ledger) -> tuple[Node, ...]:
    """Give all nodes, the one that hurts most in 8 bits first."""
    expected = list(quantizer.outputs(None, inputs))
    for node in with_progress(quantizer.nodes, "nodes, one by one"):
        if ledger.get(f"alone {node}") is None:
            ledger.put(f"alone {node}", round(quantizer.alone(node, inputs, expected), 2))
    found = [Node(node, quantizer.operators[node], ledger.get(f"alone {node}")) for node in quantizer.nodes]
    return tuple(sorted(found, key=lambda node: node.alone_db))  # a stable sort: of equals the first in the graph


def _refusal(
    order: Order, located: LocatedModel, ends: Sequence[Variant], tried: Sequence[Variant], nodes: Sequence[Node]
) -> ModelError:
    most = int(len(located.content) * MOST_SHARE)
    best = max((*ends[1:], *tried), key=lambda variant: variant.ap)
    worst = ", ".join(f"{node.name} ({node.alone_db:.1f} dB)" for node in nodes[:5])
    return ModelError(
        f"{located.path} cannot be quantized within {order.drop * 100:g} AP in {most} bytes, half its size: it has AP "
        f"{ends[0].ap * 100:.1f}, the best that was tried {best.ap * 100:.1f} with {best.in_float} nodes in float and "
        f"{best.size} bytes; nothing was written. Worst nodes: {worst}. "
        "Try another --calibration, more pictures to calibrate on, or a larger --drop"
    )


def _about(order: Order, located: LocatedModel, dataset: Dataset, files: Sequence[Path], judges: int) -> dict[str, Any]:
    """Give all that a figure depends on: another of these is another search."""
    more: dict[str, Any] = {}  # what is not asked for is not named, so that earlier searches stay known
    if order.ranges:
        more["ranges"] = _digest(order.ranges)
    if order.equalise:
        more["equalise"] = True
    if order.correct_biases:
        more["correct_biases"] = CORRECTED_ON
    if order.steady:
        more["steady"] = STEPS
    return {
        "model": located.sha256,
        "scheme": order.scheme,
        "calibration": order.calibration,
        "pictures": sha256("".join(map(_digest, files)).encode()),
        "judge": _digest(dataset.folder / "instances.json"),
        "judges": judges,
        "edgecam": __version__,
        "onnxruntime": version("onnxruntime"),
        **more,
    }


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
