"""What a candidate from the fleet must pass before the daemon loads it: each gate is a process of its own."""

import logging
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from appliance.config import ModelSettings
from appliance.core.child import Child, OverdueError, TalkativeError
from appliance.core.errors import ModelError, UnsupportedError
from appliance.core.manifest import MOST_MODEL_BYTES, ModelManifest, read_manifest
from appliance.core.memory_file import memory_file
from appliance.core.sealing import SUFFIX
from appliance.inference.gating import GateAnswer, GateOrder
from appliance.inference.weights import unsealing
from appliance.updates.formats import Release
from appliance.updates.refusals import Code, RefusedError

COMMAND: Final = (sys.executable, "-m", "appliance.inference.gating")
INSPECT_WITHIN: Final = 60.0
"""Seconds to read a model's files; 512 MB from an SD card take ten."""

SMOKE_WITHIN: Final = 600.0
"""Seconds to run golden frames; TensorRT may build an engine before."""

ROUNDS: Final = 5
_TIMINGS: Final = 2  # more of a release that seems slow, before it is refused for good
_MOST_ANSWER: Final = 64 << 10
_SLACK_MB: Final = 16.0  # that one run's memory differs from another's by chance
_SLACK_MS: Final = 2.0
_CODES: Final = {
    "contract": Code.CONTRACT,
    "licence": Code.LICENCE,
    "inspection": Code.INSPECTION,
    "unsupported": Code.UNSUPPORTED,
    "crash": Code.CRASH,
    "golden": Code.GOLDEN,
    "numbers": Code.NUMBERS,
    "memory": Code.MEMORY,
}

log = logging.getLogger(__name__)


class Gates:
    """Looks at candidates. Used by one thread.

    Args:
        settings: The ``[model]`` section.
        manifest: Of the model in service; a candidate must have the same labels, the same of them that stands for
            nothing and, unless it is set, lowest score.
        stop: Ends what is under way.
        beat: Called while a process is waited for.
        command: The process.
    """

    def __init__(
        self,
        settings: ModelSettings,
        manifest: ModelManifest,
        stop: threading.Event,
        beat: Callable[[], None] = lambda: None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._settings = settings.model_dump(mode="json", exclude_unset=True, exclude={"key"})
        self._unseal = unsealing(settings)
        self._labels, self._background = manifest.labels, manifest.background
        self._min_score = manifest.min_score if settings.min_score is None else None
        self._child = Child(command, stop, beat)

    def inspect(self, folder: Path, release: Release) -> None:
        """See that a release is what it was signed as, fits what it is to replace, and may be loaded at all.

        Raises:
            RefusedError: It does not; with its code and reason.
            UnavailableError: It could not be looked at now, or the daemon is to stop.
        """
        self._check_plain(folder, release)
        order = self._order("inspect", folder).model_copy(
            update={
                "name": release.name,
                "version": release.version,
                "task": release.task,
                "licence": release.licence.spdx,
                "labels": self._labels,
                "background": self._background,
                "min_score": self._min_score,
            }
        )
        self._ask(order, INSPECT_WITHIN)

    def smoke(self, folder: Path, beside: Path | None, latency_percent: int, memory_percent: int) -> GateAnswer:
        """Run a release on its golden frames, and the model in service on the same beside it; give the figures.

        Args:
            folder: The release's.
            beside: Of the model in service; None: it is not compared.
            latency_percent: Of the model in service, at most.
            memory_percent: Likewise.

        Raises:
            RefusedError: It does not find what it must, takes too long or too much memory, crashes or hangs.
            UnavailableError: It could not be run now, or the daemon is to stop.
        """
        seen = self._ask(self._order("smoke", folder), SMOKE_WITHIN)
        if beside is None:
            return seen
        try:
            before = self._timed(beside, folder)
        except RefusedError as error:
            log.warning("the model in service could not be timed: %s", error, extra={"component": "updates"})
            return seen
        self._check_latency(seen, before, latency_percent, folder, beside)
        most_mb = before.memory_mb * memory_percent / 100.0 + _SLACK_MB
        if seen.memory_mb > most_mb:
            why = f"takes {seen.memory_mb:.0f} MB, and at most {most_mb:.0f} may be"
            raise RefusedError(Code.MEMORY, f"{why}: {memory_percent} % of the model in service")
        return seen

    def _check_latency(self, seen: GateAnswer, before: GateAnswer, percent: int, folder: Path, beside: Path) -> None:
        """Refuse what is slow each time: whatever else the machine does makes either of two look slow now and then."""
        ms, before_ms = seen.best_ms, before.best_ms
        for _ in range(_TIMINGS):
            before_ms = min(before_ms, self._timed(beside, folder).best_ms)
            most_ms = before_ms * percent / 100.0 + _SLACK_MS
            if ms <= most_ms or (ms := min(ms, self._timed(folder, folder).best_ms)) <= most_ms:
                return
        why = f"takes {ms:.1f} ms a frame, and at most {most_ms:.1f} may be"
        raise RefusedError(Code.LATENCY, f"{why}: {percent} % of the model in service")

    def _timed(self, folder: Path, pictures: Path) -> GateAnswer:
        return self._ask(self._order("time", folder).model_copy(update={"pictures": pictures}), SMOKE_WITHIN)

    @staticmethod
    def _check_plain(folder: Path, release: Release) -> None:
        """See that what encrypted files hold is what was signed: the manifest's word, which `read_artifact` keeps."""
        try:
            artifacts = {f"{one.file}{SUFFIX}": one for one in read_manifest(folder).artifacts}
        except ModelError:
            return  # the gate says what is wrong with it
        for name, file in release.files.items():
            one = artifacts.get(name)
            if file.plain is not None and (
                one is None or (one.sha256, one.size) != (file.plain.sha256, file.plain.size)
            ):
                raise RefusedError(Code.CONTRACT, f"{name} holds something else by its manifest than was signed")

    def _order(self, gate: str, folder: Path) -> GateOrder:
        return GateOrder.model_validate(
            {"gate": gate, "model": self._settings, "folder": folder, "pictures": folder, "rounds": ROUNDS}
        )

    def _ask(self, order: GateOrder, within: float) -> GateAnswer:
        try:
            with self._opened(order.folder) as sealed:
                text = order.model_copy(update={"sealed": sealed}).model_dump_json().encode()
                # whatever a hostile model writes for as long as it may: no more than a line is kept of it
                lines = deque(self._child.lines(text, within, _MOST_ANSWER, tuple(sealed.values())), maxlen=1)
        except OverdueError as error:
            raise RefusedError(Code.HANG, f"did not pass gate {order.gate!r} within {within:g} s") from error
        except TalkativeError as error:
            raise RefusedError(Code.CRASH, f"wrote something else than an answer in gate {order.gate!r}") from error
        status = self._child.status
        if status != 0 or not lines:
            raise _ended(order.gate, status)
        try:
            answer = GateAnswer.model_validate_json(lines[-1])
        except ValidationError as error:
            raise RefusedError(Code.CRASH, f"gate {order.gate!r} ended without an answer") from error
        if answer.trouble is not None:
            raise RefusedError(_CODES[answer.trouble], " ".join(answer.why.split()))
        return answer

    @contextmanager
    def _opened(self, folder: Path) -> Iterator[dict[str, int]]:
        """Give a release's encrypted files opened, in memory: the process that reads them gets no key."""
        with ExitStack() as stack:
            files, there = {}, sorted(folder.glob(f"*{SUFFIX}"))
            if sum(path.stat().st_size for path in there) > MOST_MODEL_BYTES:
                raise RefusedError(Code.MEMORY, f"its encrypted files are larger than {MOST_MODEL_BYTES >> 20} MiB")
            for path in there:
                try:
                    files[path.name] = stack.enter_context(memory_file(self._unseal(path)))
                except (ModelError, UnsupportedError) as error:
                    raise RefusedError(Code.KEY, str(error)) from error
            yield files


def _ended(gate: str, status: int | None) -> RefusedError:
    """Tell why a process that was to look at a model ended otherwise than it should."""
    if status in {-signal.SIGKILL, -signal.SIGABRT}:  # the kernel, or malloc where it gets nothing
        return RefusedError(Code.MEMORY, f"ended the process that ran it in gate {gate!r}, most likely for its memory")
    shown = signal.Signals(-status).name if status is not None and status < 0 else f"status {status}"
    return RefusedError(Code.CRASH, f"ended the process that ran it in gate {gate!r}: {shown}")
