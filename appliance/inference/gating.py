"""The process that a model from the fleet passes before anything else may load it: ``python -m …gating``.

It takes a `GateOrder` as JSON on standard input and writes a `GateAnswer`. What a hostile file does to it ends it, and
nothing else: it can write no file, its memory is bounded, and whoever started it bounds its time. The sandbox of the
daemon's unit forbids to set limits; there the unit's own hold: its files and its memory, of which this process is the
first to lose.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from appliance.config import ModelSettings
from appliance.core.digest import sha256_hex
from appliance.core.errors import EdgecamError, ModelError, UnavailableError, UnsupportedError
from appliance.core.machine import be_first_to_go, peak_memory
from appliance.core.manifest import Artifact, ModelManifest, read_manifest
from appliance.core.part import Part
from appliance.inference.faults import NumbersError, OutOfMemoryError
from appliance.inference.inspection import inspect_onnx
from appliance.inference.weights import find_weights, handed_over, is_sealed

MOST_ORDER: Final = 1 << 20
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # <linux/prctl.h>
_READING: Final = 512 << 20  # bytes of address space beside a file that is read
_RUNNING: Final = (
    1536 << 20
)  # likewise, beside a network that is run: arenas and threads' stacks are reserved, not used
_TIMES_FILE: Final = 8

Trouble = Literal["contract", "licence", "inspection", "unsupported", "crash", "golden", "numbers", "memory"]


class GateOrder(Part):
    """What is to be looked at.

    Attributes:
        gate: Read it; run it on its golden frames; or only time it.
        model: The ``[model]`` section that it would run with.
        folder: The model's.
        pictures: Folder of the model whose golden frames are run; timing one beside another needs the same pictures.
        name: That it was signed as.
        version: Likewise.
        task: Likewise.
        licence: Likewise.
        labels: Of what it is to replace; it must have the same.
        background: Which of them stands for nothing, likewise; None: none does.
        min_score: Lowest score of what it is to replace, where that counts; it must have the same.
        rounds: How often each golden frame is run.
        sealed: Open files in memory that this process was started with, by the names of the encrypted files whose
            content they have.
    """

    gate: Literal["inspect", "smoke", "time"]
    model: dict[str, Any]
    folder: Path
    pictures: Path
    name: str = ""
    version: str = ""
    task: str = ""
    licence: str = ""
    labels: tuple[str, ...] = ()
    background: str | None = None
    min_score: float | None = None
    rounds: int = 5
    sealed: dict[str, int] = Field(default_factory=dict, max_length=64)


class GateAnswer(Part):
    """What was seen.

    Attributes:
        trouble: What kind of trouble; None: it has passed.
        why: For people.
        best_ms: Of a frame, where nothing else disturbed it.
        p95_ms: Of a frame.
        memory_mb: That it took.
    """

    trouble: Trouble | None = None
    why: str = ""
    best_ms: float = 0.0
    p95_ms: float = 0.0
    memory_mb: float = 0.0


class _TroubleError(ModelError):
    def __init__(self, trouble: Trouble, why: str) -> None:
        super().__init__(why)
        self.trouble: Trouble = trouble


_TROUBLES: Final[tuple[tuple[type[EdgecamError], Trouble], ...]] = (
    (OutOfMemoryError, "memory"),
    (NumbersError, "numbers"),
    (UnsupportedError, "unsupported"),
    (UnavailableError, "crash"),
)


def main(arguments: Sequence[str]) -> int:
    """Do what is asked by the parent whose process id is the argument; give an exit status."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != int(arguments[0]):
        return 0  # the parent had gone before the kernel was told
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    be_first_to_go()
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        with suppress(ValueError):  # EPERM: see above
            resource.setrlimit(limit, (0, 0))
    try:
        order = GateOrder.model_validate_json(sys.stdin.buffer.read(MOST_ORDER + 1))
    except ValidationError as error:
        sys.stderr.write(f"no order that is known: {error.errors(include_url=False)[0]['msg']}\n")
        return ModelError.exit_code
    sys.stdout.write(answer(order).model_dump_json() + "\n")
    return 0


def answer(order: GateOrder) -> GateAnswer:
    """Do what an order asks."""
    try:
        return _inspected(order) if order.gate == "inspect" else _run(order)
    except MemoryError:
        return GateAnswer(trouble="memory", why="it needs more memory than a model of its size may take")
    except EdgecamError as error:
        return GateAnswer(trouble=_trouble(error), why=str(error))


def _trouble(error: EdgecamError) -> Trouble:
    if isinstance(error, _TroubleError):
        return error.trouble
    return next((word for kind, word in _TROUBLES if isinstance(error, kind)), "inspection")


def _inspected(order: GateOrder) -> GateAnswer:
    largest = max((file.stat().st_size for file in order.folder.iterdir() if file.is_file()), default=0)
    _bound_memory(_READING + 3 * largest)
    manifest = read_manifest(order.folder)
    _check_contract(order, manifest)
    for artifact in manifest.artifacts:
        _inspect(order, artifact)
    return GateAnswer()


def _check_contract(order: GateOrder, manifest: ModelManifest) -> None:
    signed = {"name": order.name, "version": order.version, "task": order.task}
    for key, value in signed.items():
        if (said := getattr(manifest, key)) != value:
            raise _TroubleError("contract", f"its manifest says {key} {said!r}, and it was signed as {value!r}")
    if manifest.licence != order.licence:
        why = f"its manifest says licence {manifest.licence!r}, and it was signed as {order.licence!r}"
        raise _TroubleError("licence", why)
    if order.labels and manifest.labels != order.labels:
        raise _TroubleError(
            "contract",
            f"its {len(manifest.labels)} labels are not the {len(order.labels)} of the model that it is to replace; "
            "other labels are the owner's to choose: [model] use",
        )
    if order.labels and manifest.background != order.background:
        why = f"label {manifest.background!r} stands for nothing, and {order.background!r} in the model that it is to"
        raise _TroubleError("contract", f"{why} replace")
    if order.min_score is not None and manifest.min_score != order.min_score:
        why = f"its lowest score is {manifest.min_score:g}, and {order.min_score:g} of the model that it is to replace"
        raise _TroubleError("contract", f"{why}; the owner can set one for both: [model] min_score")
    if not manifest.artifacts:
        raise _TroubleError("contract", "its manifest names no weights")


def _inspect(order: GateOrder, artifact: Artifact) -> None:
    file = find_weights(order.folder, artifact.file)
    try:
        if is_sealed(file):
            content = handed_over(order.sealed)(file)
        else:
            with file.open("rb") as opened:
                content = opened.read(artifact.size + 1)
    except OSError as error:
        raise _TroubleError("contract", f"{artifact.file} is named by its manifest and did not come") from error
    if len(content) != artifact.size or sha256_hex(content) != artifact.sha256:
        raise _TroubleError("contract", f"{artifact.file} is not the file that its manifest names")
    if artifact.format == "onnx":
        inspect_onnx(content, artifact.file)


def _run(order: GateOrder) -> GateAnswer:
    import cv2  # noqa: PLC0415 - only for what is run

    from appliance.inference.golden import check_golden, read_content, read_golden_frame  # noqa: PLC0415
    from appliance.inference.golden_task import golden_task  # noqa: PLC0415
    from appliance.inference.ladder import open_best_model  # noqa: PLC0415

    cv2.setNumThreads(1)
    settings = ModelSettings.model_validate({**order.model, "use": str(order.folder), "min_score": None, "labels": ()})
    manifest = read_manifest(order.folder)
    task = golden_task(manifest.task)
    golden = read_content(order.pictures, task.content)
    pictures = [read_golden_frame(order.pictures, frame) for frame in golden.frames]
    if _is_for_the_processor(settings, manifest):
        largest = max(artifact.size for artifact in manifest.artifacts)
        _bound_memory(_address_space() + _RUNNING + _TIMES_FILE * largest)
    before = _peak_mb()
    with open_best_model(settings, unseal=handed_over(order.sealed)) as model:
        if order.gate == "smoke" and not (verdict := check_golden(model, order.folder)).is_passed:
            shown = "; ".join(map(str, verdict.deviations[:3]))
            raise _TroubleError("golden", f"{len(verdict.deviations)} deviations on its golden frames: {shown}")
        times = []
        for _ in range(order.rounds):
            for picture in pictures:
                _look(task.look, model, picture)
                times.append(model.last_total_ms)
    times.sort()
    return GateAnswer(best_ms=times[0], p95_ms=times[int(len(times) * 0.95)], memory_mb=_peak_mb() - before)


def _look(look: Any, model: Any, picture: Any) -> None:
    try:
        look(model, picture)
    except OutOfMemoryError:
        raise
    except ModelError as error:
        raise _TroubleError("numbers", str(error)) from error


def _is_for_the_processor(settings: ModelSettings, manifest: ModelManifest) -> bool:
    """Tell whether nothing of it runs on an accelerator: those map more addresses than any bound allows."""
    plain = all(
        artifact.format in {"onnx", "tflite"}
        and artifact.delegate is None
        and all(provider.kind == "cpu" for provider in artifact.providers)
        for artifact in manifest.artifacts
    )
    return plain and settings.delegate is None and set(settings.providers) <= {"cpu"}


def _bound_memory(most: int) -> None:
    with suppress(ValueError, PermissionError):  # EPERM, of setting and of asking: see above
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak_mb() -> float:
    peak = peak_memory()
    if peak is None:
        raise UnsupportedError("/proc/self/status does not tell how much memory a model takes; mount /proc")
    return peak


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
