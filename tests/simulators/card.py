"""A card with a system and the first-boot bundle on it: what a boot writes stays, until the card is thrown away."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

# what Raspberry Pi OS has in /etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg
_SEED = "datasource_list: [ NoCloud, None ]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware\n"


class Card:
    """A root that starts as another one and keeps what is written, in a layer of its own.

    The boot partition is a folder: the kernel of many a test machine knows no FAT.

    Args:
        system: The folder with the system; it stays as it is.
        bundle: What `make image` made.
        folder: An empty one, for the layer.
        setup: What edgecam-setup.toml says.
    """

    def __init__(self, system: Path, bundle: Path, folder: Path, setup: str) -> None:
        self.root, self._system, self._folder = folder / "root", system, folder
        upper = folder / "upper"
        self.boot = upper / "boot/firmware"
        self.boot.mkdir(parents=True)
        shutil.copytree(bundle, self.boot, dirs_exist_ok=True)
        (self.boot / "edgecam-setup.toml").write_text(setup)
        seed = upper / "etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg"
        seed.parent.mkdir(parents=True)
        seed.write_text(_SEED)
        (upper / "etc/machine-id").write_text("uninitialized\n")  # as in an image: made at the first boot

    def __enter__(self) -> Self:
        for name in ("root", "work"):
            (self._folder / name).mkdir()
        layers = f"lowerdir={self._system},upperdir={self._folder / 'upper'},workdir={self._folder / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", self.root], check=True, timeout=30)
        self.boot = self.root / "boot/firmware"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", "--lazy", self.root], check=True, timeout=30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def read(self, name: str) -> str:
        """Give a file of the boot partition, as another computer would see it; empty: it is not there."""
        path = self.boot / name
        return path.read_text(errors="replace") if path.exists() else ""
