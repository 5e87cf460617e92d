"""Stored choices for models that tests write."""

from pathlib import Path

from appliance.config import ModelSettings
from appliance.inference.fingerprint import Fingerprint, read_fingerprint
from appliance.inference.tuning import Choice, Figures, Tuning, subject_of, write_tuning
from appliance.inference.ways import Way


def now(settings: ModelSettings) -> Fingerprint:
    """Give the fingerprint of this machine and that model."""
    return read_fingerprint(subject_of(settings).files)


def store(state_dir: Path, settings: ModelSettings, file: str, way: Way = Way(("cpu",)), **other: object) -> Path:  # noqa: B008 - is frozen
    """Store a choice as if it had been measured; `other` replaces fields of the fingerprint."""
    fingerprint = now(settings).model_copy(update=other)
    tuning = Tuning(
        model=subject_of(settings).name,
        objective="latency",
        made="2026-05-01T12:00:00+00:00",
        choice=Choice(file=file, providers=way.providers, is_plain=way.is_plain, threads=way.threads),
        figures=Figures(latency_ms=7.25, cpu_ms=7.0, memory_mb=80.0, agreement=0.97),
        fingerprint=fingerprint,
    )
    return write_tuning(state_dir, tuning)
