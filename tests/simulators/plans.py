"""A runtime that only notes with what plan it was to open a file."""

from pathlib import Path

import pytest

from appliance.inference import artifacts
from appliance.inference.artifacts import LocatedModel
from appliance.inference.runtimes import NO_PLAN, Plan


class PlanKept:
    """Notes the plan of the last file; see `Runtime`."""

    plan: Plan = NO_PLAN

    def open(self, model: bytes, *, name: str, threads: int, plan: Plan = NO_PLAN) -> "PlanKept":  # noqa: ARG002
        PlanKept.plan = plan
        return self

    @staticmethod
    def cache_of(located: LocatedModel, cache: Path) -> Path | None:
        """Give the cache that a runtime would get for a file."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(artifacts, "RUNTIMES", {"onnx": "tests.simulators.plans:PlanKept"})
            located.open(1, Plan(cache=cache))
        return PlanKept.plan.cache
