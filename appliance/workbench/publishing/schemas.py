"""JSON Schemas of what a fleet signs, and of its devices' reports, made from the types.

``python -m appliance.workbench.publishing.schemas FOLDER`` writes them; `make docs` does so.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from appliance.core.files import make_folder, write_atomically
from appliance.core.part import Part
from appliance.updates.formats import Release, Rollout
from appliance.workbench.collecting.devices import Device
from appliance.workbench.publishing.promotion import Reports

FORMATS: Final[dict[str, type[Part]]] = {
    "release": Release,
    "rollout": Rollout,
    "reports": Reports,
    "collected": Device,
}


def schema(name: str) -> str:
    """Give a JSON Schema (draft 2020-12) as text."""
    found: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    found |= FORMATS[name].model_json_schema(by_alias=True)
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the schemas into the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    make_folder(folder)
    for name in FORMATS:
        write_atomically(folder / f"{name}.json", schema(name).encode())


if __name__ == "__main__":
    main()
