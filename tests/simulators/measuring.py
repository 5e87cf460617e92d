"""A measuring process that is not one: answers as it was told, and remembers what it was asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance.inference.golden import GoldenObject
from appliance.inference.measuring.request import Answer, Candidate, Request
from appliance.inference.ways import Way

CAR = GoldenObject(label="car", score=0.9, box=(0.0, 0.0, 8.0, 8.0))


def answer(
    wall_ms: float = 10.0,
    cpu_ms: float = 9.0,
    peak_mb: float = 80.0,
    objects: Sequence[Sequence[GoldenObject]] = ((CAR,),),
    **more: object,
) -> Answer:
    """Give the answer of a model that takes so long and finds that."""
    facts = {"model": "mine", "task": "detect", "min_score": 0.35, "sha256": "0" * 64, "input": (64, 64)}
    timed = {"wall_ms": (wall_ms,) * 3, "inference_ms": (wall_ms,) * 3, "cpu_ms": cpu_ms, "peak_mb": peak_mb}
    return Answer.model_validate(facts | timed | {"objects": objects} | more)


def candidate(file: Path, way: Way = Way(("cpu",)), folder: Path | None = None) -> Candidate:  # noqa: B008 - is frozen
    """Give a candidate that is shown one picture."""
    artifact = None if folder is None else file.name
    return Candidate("mine", str(folder or file), artifact, file, way, (Path("black.png"),), folder=folder)


class Answers:
    """Answers each file's requests, one after the other; the last answer stays.

    Args:
        of: Answers by file name.

    Attributes:
        asked: The requests.
    """

    def __init__(self, of: Mapping[str, Sequence[Answer]]) -> None:
        self._of = {name: list(answers) for name, answers in of.items()}
        self.asked: list[Request] = []

    def __call__(self, request: Request, limit: float) -> Answer:
        """Answer one; `limit` does not matter."""
        assert limit > 0.0
        self.asked.append(request)
        answers = self._of[request.artifact or Path(request.use).name]
        return answers.pop(0) if len(answers) > 1 else answers[0]
