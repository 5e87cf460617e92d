"""Has the model that is brought pass the gates for a fleet's models, in the daemon's place and sandbox."""

import json
import threading
from pathlib import Path

from appliance.config import ModelSettings
from appliance.core.manifest import read_manifest
from appliance.daemon.gates import Gates

MODEL = Path("/usr/lib/edgecam/app/models/edgecam-nano")


def main() -> None:
    gates = Gates(ModelSettings(), read_manifest(MODEL), threading.Event())
    seen = gates.smoke(MODEL, None, latency_percent=300, memory_percent=300)
    Path("/var/lib/edgecam/gates.json").write_text(json.dumps(seen.model_dump()))


if __name__ == "__main__":
    main()
