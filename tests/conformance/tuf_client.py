#!/usr/bin/env python3
"""Edgecam's own client under the command line that tuf-conformance asks of a client; see docs/fleet.md.

https://github.com/theupdateframework/tuf-conformance/blob/main/CLIENT-CLI.md
"""

import argparse
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from appliance.core.download import Wanted, download
from appliance.core.errors import EdgecamError
from appliance.core.files import make_folder
from appliance.updates.trust import Trust

ROOT = "embedded-root.json"
"""What a device has in its package."""


def main() -> int:
    """Do one command; give its exit status."""
    parser = argparse.ArgumentParser()
    for name in ("--metadata-url", "--metadata-dir", "--target-dir", "--target-base-url"):
        parser.add_argument(name, default="")
    parser.add_argument("--target-name", action="append", default=[])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root")
    commands.add_parser("refresh")
    commands.add_parser("download")
    asked = parser.parse_args()
    folder = Path(asked.metadata_dir)
    embedded = folder.with_name(f"{folder.name}-package")
    if asked.command == "init":
        make_folder(embedded)
        shutil.copyfile(asked.trusted_root, embedded / ROOT)
        shutil.copyfile(asked.trusted_root, folder / "root.json")
        return 0
    try:
        trust = Trust(folder, asked.metadata_url, asked.target_base_url, (embedded / ROOT).read_bytes())
        trust.refresh()
        for name in asked.target_name:
            bring(trust, name, Path(asked.target_dir))
    except EdgecamError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def bring(trust: Trust, name: str, folder: Path) -> None:
    """Bring a file, unless it is there already, as a device brings a model."""
    target = trust.find(name)
    if target is None:
        raise EdgecamError(f"{name} is signed by nobody")
    wanted = Wanted(target.url, target.digest, target.size, target.size, may_be_local=True, algorithm=target.algorithm)
    download(wanted, folder / quote(name, ""), lambda _done, _whole: None)


if __name__ == "__main__":
    sys.exit(main())
