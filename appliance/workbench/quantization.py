"""Quantizes a detector and judges every step on pictures, through the device's own code."""

import hashlib
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
from appliance.inference.detector import Detector
from appliance.inference.preprocess import Preprocessor
from appliance.workbench.evaluate import Dataset, measure, read_frame
from appliance.workbench.ledger import Ledger
from appliance.workbench.progress import with_progress
from appliance.workbench.quantizer import Calibration, Quantizer, Scheme
from appliance.workbench.search import Bounds, Choice, find_smallest

MOST_SHARE: Final = 0.5  # of the float model's file: a quantized one that is larger is not worth its errors
RANKED_ON: Final = 8  # pictures of the calibration; their ranking of nodes hardly changes with more
_MIN_SCORE = 0.01  # as COCO's own evaluation: the whole curve counts


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
    calibrate_on: int = 64
    limit: int | None = None
    quick: int = 100
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Variant:
    """A model and how well it does.

    Attributes:
        name: fp32, naive, or ours.
        ap: Average precision over IoU 0.50 to 0.95, 0..1.
        ap50: At IoU 0.50, 0..1.
        steady_ap: AP of each label weighted by its boxes, 0..1: on few pictures a rare label shakes the plain mean.
        size: Bytes.
        in_float: How many nodes are in float that could run in 8 bits.
        inference_ms: Median time of the model for one picture, milliseconds.
    """

    name: Literal["fp32", "naive", "ours"]
    ap: float
    ap50: float
    steady_ap: float
    size: int
    in_float: int
    inference_ms: float


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
    calibration: Calibration
    calibrated_on: int
    dataset: str
    judged_on: int
    drop: float
    variants: tuple[Variant, ...]
    in_float: Choice
    always_float: Mapping[str, int]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, float]
    tried: int


class Candidates:
    """Makes and judges choices of nodes, each once: the `Trial` of the search.

    Args:
        quantizer: Calibrated.
        located: The float model.
        dataset: Judges.
        pictures: How many of its pictures judge, during the search and in the end.
        ledger: Keeps what was found.
        threads: CPU threads of the detector.
    """

    def __init__(
        self,
        *,
        quantizer: Quantizer,
        located: LocatedModel,
        dataset: Dataset,
        pictures: tuple[int, int],
        ledger: Ledger,
        threads: int,
    ) -> None:
        self._quantizer = quantizer
        self._located = located
        self._dataset = dataset
        self._quick, self._whole = pictures
        self._ledger = ledger
        self._threads = threads
        self._last: tuple[Choice | None, bytes] = (None, located.content)
        self.tried: dict[Choice, Variant] = {}

    def content(self, in_float: Choice) -> bytes:
        """Give the file of a choice."""
        if self._last[0] != in_float:
            self._last = (in_float, self._quantizer.variant(in_float))
        return self._last[1]

    def judged(self, in_float: Choice) -> bytes:
        """Give the file of a choice that was judged on all pictures.

        Raises:
            ConfigError: The ledger speaks of another file.
        """
        content = self.content(in_float)
        if _sha256(content) != self._ledger.get(self._key(in_float, self._whole))["sha256"]:
            raise ConfigError(f"{self._ledger.path} tells of files that are not made any more; move it away")
        return content

    def size(self, in_float: Choice) -> int:
        """Give the bytes of the file; see `Trial`."""
        key = f"size {_name(in_float)}"
        if self._ledger.get(key) is None:
            self._ledger.put(key, len(self.content(in_float)))
        return int(self._ledger.get(key))

    def quick(self, in_float: Choice) -> float:
        """Give the steady AP on some of the pictures; see `Trial`."""
        return self.judge(in_float, "ours", self._quick).steady_ap

    def whole(self, in_float: Choice) -> float:
        """Give AP on all of the pictures; see `Trial`."""
        variant = self.judge(in_float, "ours", self._whole)
        self.tried[in_float] = variant
        return variant.ap

    def judge(self, in_float: Choice | None, name: Literal["fp32", "naive", "ours"], pictures: int) -> Variant:
        """Judge a choice, or with None the float model, on the first so many pictures."""
        key = self._key(in_float, pictures)
        if self._ledger.get(key) is None:
            content = self._located.content if in_float is None else self.content(in_float)
            title = f"{pictures} pictures, " + ("fp32" if in_float is None else f"nodes in float: {len(in_float)}")
            found = self._measure(content, pictures, title)
            about = {"size": len(content), "sha256": _sha256(content), "in_float": list(in_float or ())}
            self._ledger.put(key, {**found, **about})
        found = self._ledger.get(key)
        return Variant(
            name=name,
            ap=found["ap"],
            ap50=found["ap50"],
            steady_ap=found["steady_ap"],
            size=found["size"],
            in_float=len(self._quantizer.nodes if in_float is None else in_float),
            inference_ms=found["ms"],
        )

    @staticmethod
    def _key(in_float: Choice | None, pictures: int) -> str:
        return f"accuracy on {pictures} {'fp32' if in_float is None else _name(in_float)}"

    def _measure(self, content: bytes, pictures: int, title: str) -> dict[str, float]:
        one = LocatedModel(
            self._located.path,
            self._located.format,
            content,
            _sha256(content),
            self._located.candidates,
        )
        session = one.open(self._threads)
        try:
            resolved = identify(one, session.inputs, session.outputs)
            detector = Detector(resolved, session, min_score=_MIN_SCORE, every_class=True)
            accuracy = measure(detector, self._dataset, pictures, title)
        finally:
            session.close()
        labels = [label for label in accuracy.labels.values() if label.boxes]
        steady = sum(label.boxes * label.ap for label in labels) / max(1, sum(label.boxes for label in labels))
        figures = accuracy.figures
        return {"ap": figures["ap"], "ap50": figures["ap50"], "steady_ap": steady, "ms": accuracy.inference_ms}


def quantize_detector(order: Order, ledger_file: Path) -> tuple[Report, bytes]:
    """Carry out an order; what `ledger_file` knows already is not done again.

    Returns:
        The report, and the file of ours.

    Raises:
        ConfigError: A folder or the model is not there, or no picture is left for the calibration.
        ModelError: The model is broken or cannot be quantized, or no choice keeps within the drop at half the size.
        StorageError: The ledger cannot be written.
    """
    settings = ModelSettings(use=order.model, threads=order.threads)
    located = locate_model(settings)
    manifest = _manifest(located)
    dataset = Dataset(order.judge or order.pictures)
    judges = len(dataset.pictures(order.limit))
    if order.judge is None:
        judges = min(judges, len(dataset.pictures(None)) // 2)
    files = choose_pictures(order.pictures, [path for _, path in dataset.pictures(judges)], order)
    ledger = Ledger(ledger_file, _about(order, located, dataset, files, judges))
    inputs = _inputs(manifest, files)
    quantizer = Quantizer(located.content, str(located.path), order.scheme)
    for _ in with_progress(quantizer.calibrate(inputs, order.calibration), "calibrating", -(-len(inputs) // 4)):
        pass
    nodes = _rank(quantizer, inputs[:RANKED_ON], ledger)
    quick = min(order.quick, judges)
    trial = Candidates(
        quantizer=quantizer,
        located=located,
        dataset=dataset,
        pictures=(quick, judges),
        ledger=ledger,
        threads=order.threads,
    )
    exact, naive = trial.judge(None, "fp32", judges), trial.judge((), "naive", judges)
    bounds = Bounds(
        size=int(len(located.content) * MOST_SHARE),
        quick=trial.judge(None, "fp32", quick).steady_ap - order.drop,
        whole=exact.ap - order.drop,
    )
    chosen = find_smallest([node.name for node in nodes], trial, bounds)
    if chosen is None:
        raise _refusal(order, located, (exact, naive), list(trial.tried.values()), nodes)
    report = Report(
        model=manifest.name,
        scheme=order.scheme,
        calibration=order.calibration,
        calibrated_on=len(files),
        dataset=str(dataset.folder),
        judged_on=judges,
        drop=order.drop,
        variants=(exact, naive, trial.judge(chosen, "ours", judges)),
        in_float=chosen,
        always_float=quantizer.always_float,
        nodes=nodes,
        tensors=quantizer.tensors_sqnr(trial.content(()), inputs[:RANKED_ON]),
        tried=sum(1 for key in ledger if key.startswith("accuracy")),
    )
    return report, trial.judged(chosen)


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
    return {
        "model": located.sha256,
        "scheme": order.scheme,
        "calibration": order.calibration,
        "pictures": _sha256("".join(map(_digest, files)).encode()),
        "judge": _digest(dataset.folder / "instances.json"),
        "judges": judges,
        "edgecam": __version__,
        "onnxruntime": version("onnxruntime"),
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _name(choice: Choice) -> str:
    return _sha256("\n".join(sorted(choice)).encode())[:16]


def _digest(path: Path) -> str:
    try:
        return _sha256(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
