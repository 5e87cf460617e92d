"""Checks the installed model beside a daemon that runs: ``python -m appliance.inference.check_child``.

Takes the ``[model]`` section as JSON on standard input, what is set in it only; works at the lowest priority, and ends
with the process that started it. Gives one JSON object and the status 0, whether the model passed or not; else the last
line on standard error says why it could not be checked.
"""

import json
import sys
from typing import Any

from appliance.config import ModelSettings
from appliance.core.errors import ModelError
from appliance.core.manifest import MANIFEST_NAME
from appliance.inference.artifacts import locate_model
from appliance.inference.beside import work_beside
from appliance.inference.golden import check_golden
from appliance.inference.opening import load_model

MOST_DEVIATIONS = 5  # that are told


def main() -> int:
    """Check; give the exit status."""
    return work_beside(ModelSettings.model_validate_json, lambda settings: json.dumps(check(settings)))


def check(settings: ModelSettings) -> dict[str, Any]:
    """Read manifest and weights, whose digest has to be the manifest's, and run the model on its golden frames.

    Raises:
        EdgecamError: There is no such model, it is not what its manifest says, or it has no golden frames.
    """
    located = locate_model(settings)
    if not (located.path.parent / MANIFEST_NAME).is_file():
        raise ModelError(f"{located.path.name} is a bare file: it has neither a manifest nor golden frames")
    with load_model(located, threads=1) as model:
        verdict = check_golden(model, located.path.parent)
    return {
        "model": model.manifest.name,
        "file": located.path.name,
        "digest": located.sha256,
        "is_passed": verdict.is_passed,
        "frames": verdict.frames,
        "expected": verdict.expected,
        "deviations": [str(deviation) for deviation in verdict.deviations[:MOST_DEVIATIONS]],
    }


if __name__ == "__main__":
    sys.exit(main())
