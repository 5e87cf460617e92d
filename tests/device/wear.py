"""`make wear-system`: what the installed unit has written to its card in an hour, at block level.

The whole system lies on one ext4 on a loop device, mounted as Raspberry Pi OS mounts it, and boots in a container; the
journal is volatile, as in our images. The kernel counts the sectors that reach the device: state, caches, the other
units of the system, and the file system's own journal.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from tests.powercut.recording import missing, move_to_own_mounts
from tests.simulators.broker import Mosquitto
from tests.simulators.guest import Device, Guest, Network, install

PORT: Final = 18831
CARD_BYTES: Final = 3 << 30
IDLE: Final = ("[cameras.wall]", 'kind = "file"', 'path = "/usr/share/wall"', "loop = true", "fps = 2.0")
BUSY: Final = ("[cameras.street]", 'kind = "synthetic"', "fps = 5.0")
MOST_IDLE_BYTES: Final = 1_000_000  # in an hour
MOST_BYTES_PER_EVENT: Final = 13_100  # docs/reliability.md, "Wear": one event a second, default settings
UNAVAILABLE: Final = 69


@contextmanager
def card(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Give an empty card's root and the kernel's counts of its device."""
    image, root = folder / "card", folder / "root"
    image.touch()
    os.truncate(image, CARD_BYTES)
    # the kernel would write what is left out here later, while we count
    whole = "lazy_itable_init=0,lazy_journal_init=0"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", whole, str(image)], check=True)
    found = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True)
    device = found.stdout.strip()
    try:
        root.mkdir()
        subprocess.run(["mount", "-o", "noatime", device, root], check=True)
        try:
            yield root, Path("/sys/block", Path(device).name, "stat")
        finally:
            subprocess.run(["umount", root], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def written_bytes(counts: Path) -> int:
    """Give the bytes that were written to the device; see block/stat in the kernel's documentation."""
    return int(counts.read_text().split()[6]) * 512


def prepare(root: Path, system: Path, packages: list[Path]) -> None:
    """Put the system and the packages on the card."""
    subprocess.run(
        ["tar", "--extract", "--preserve-permissions", f"--file={system}", f"--directory={root}"], check=True
    )
    install(root, packages)
    volatile = root / "etc/systemd/journald.conf.d/volatile.conf"
    volatile.parent.mkdir(parents=True)
    volatile.write_text("[Journal]\nStorage=volatile\n")
    wall = root / "usr/share/wall"
    wall.mkdir()
    cv2.imwrite(str(wall / "wall.png"), np.full((720, 1280, 3), 120, np.uint8))


def measure(device: Device, counts: Path, lines: tuple[str, ...], settle: float, seconds: float) -> dict[str, Any]:
    """Run the unit with these cameras and count, from `settle` seconds after its first frames on."""
    guest = device.guest
    guest.run("systemctl", "stop", "edgecam", check=True)
    device.write(*lines)
    device.start()
    device.wait_for(lambda now: now["messaging"]["connected"], 60, "the broker")
    time.sleep(settle)
    os.sync()
    first, begin, before = guest.status(), time.monotonic(), written_bytes(counts)
    time.sleep(seconds)
    last = guest.status()
    os.sync()
    took, written = time.monotonic() - begin, written_bytes(counts) - before
    told = [int(one["messaging"]["written_bytes"]) for one in (first, last)]
    seen = [int(one["messaging"]["acknowledged"]) for one in (first, last)]
    frames = [sum(one["frames_processed"] for one in found["cameras"].values()) for found in (first, last)]
    return {
        "seconds": round(took),
        "bytes": written,
        "bytes_per_hour": round(written * 3600 / took),
        "outbox_bytes": told[1] - told[0],
        "messages": seen[1] - seen[0],
        "frames": frames[1] - frames[0],
        "memory_mb": last["machine"]["memory_mb"],
    }


def main() -> int:
    """Measure, print, and give the exit status: 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="wear-system", description=__doc__.splitlines()[0])
    parser.add_argument("scene", choices=("idle", "busy"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--settle", type=float, default=3.0, metavar="MINUTES", help="after the start, not counted")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if reason := missing():
        print(f"wear-system cannot be measured here: {reason}", file=sys.stderr)
        return UNAVAILABLE
    move_to_own_mounts("tests.device.wear")
    packages = sorted(Path(os.environ["EDGECAM_PACKAGES"]).resolve().glob("*.deb"))
    with tempfile.TemporaryDirectory(prefix="edgecam-card-", dir="/dev/shm") as folder, Network() as network:
        broker = Mosquitto(Path(folder), (f"listener {PORT} {network.here}",))
        broker.start()
        try:
            with card(Path(folder)) as (root, counts):
                prepare(root, Path(os.environ["EDGECAM_ROOT"]), packages)
                with Guest(root, network, Path(folder, "console"), volatile="no") as guest:
                    device = Device(guest, f"mqtt://{network.here}:{PORT}")
                    lines = IDLE if options.scene == "idle" else BUSY
                    found = measure(device, counts, lines, options.settle * 60, options.minutes * 60)
        finally:
            broker.stop()
    return judge(options.scene, found, as_json=options.json)


def judge(scene: str, found: dict[str, Any], *, as_json: bool) -> int:
    """Print what was found and give the exit status."""
    if as_json:
        print(json.dumps({"scene": scene, **found}))
    else:
        print(
            f"{scene}: {found['bytes'] / 1e6:.2f} MB in {found['seconds'] / 60:.0f} minutes, "
            f"{found['bytes_per_hour'] / 1e6:.2f} MB an hour; {found['messages']} messages, "
            f"{found['frames']} frames; the outbox's thread counts {found['outbox_bytes'] / 1e6:.2f} MB; "
            f"{found['memory_mb']:.0f} MB of memory"
        )
    if scene == "idle":
        return int(found["bytes_per_hour"] > MOST_IDLE_BYTES)
    return int(found["bytes"] > MOST_BYTES_PER_EVENT * max(1, found["messages"]))


if __name__ == "__main__":
    sys.exit(main())
