"""A card with a system and the first-boot bundle on it: at a power cut it keeps what was flushed, without one all."""

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.powercut import kernel
from tests.powercut.forgetful import ForgetfulDisk, Lost

# what Raspberry Pi OS has in /etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg
_SEED: Final = "datasource_list: [ NoCloud, None ]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware\n"
BOOT_BYTES: Final = 512 << 20
SYSTEM_BYTES: Final = 3 << 30
_MOST_CORRECTED: Final = 3  # exit status of e2fsck: above it, something is left wrong


class Card:
    """A root that starts as another one and keeps what is written, in a layer of its own.

    The layer is an ext4 partition, and the boot partition one without a journal, both on one disk that forgets what was
    not flushed. The boot partition is ext2 in place of FAT, which the kernel of many a test machine does not know.

    Args:
        system: The folder with the system; it stays as it is.
        bundle: What `make image` made.
        folder: An empty one, for the disk; in memory it is quicker.
        setup: What edgecam-setup.toml says.

    Attributes:
        root: The system, while the card is in use.
        boot: The boot partition, likewise.
    """

    def __init__(self, system: Path, bundle: Path, folder: Path, setup: str) -> None:
        self.root, self._system, self._folder = folder / "root", system, folder
        self.boot = self.root / "boot/firmware"
        self._image, self._layer = folder / "card", folder / "layer"
        for path in (self.root, self._layer):
            path.mkdir()
        self._make(bundle, setup)

    def _make(self, bundle: Path, setup: str) -> None:
        self._image.touch()
        os.truncate(self._image, BOOT_BYTES + SYSTEM_BYTES)
        # the kernel would write later what is left out here
        whole = f"nodiscard,lazy_itable_init=0,lazy_journal_init=0,offset={BOOT_BYTES}"
        _run("mkfs.ext2", "-q", "-F", self._image, f"{BOOT_BYTES >> 10}k")
        _run("mkfs.ext4", "-q", "-F", "-J", "size=16", "-E", whole, self._image, f"{SYSTEM_BYTES >> 10}k")
        with self._image.open("r+b") as file, ExitStack() as stack:
            self._mount_layer(file.fileno(), stack)
            upper = self._layer / "upper"
            boot, seed = upper / "boot/firmware", upper / "etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg"
            for path in (boot, seed.parent, self._layer / "work"):
                path.mkdir(parents=True)
            seed.write_text(_SEED)
            (upper / "etc/machine-id").write_text("uninitialized\n")  # as in an image: made at the first boot
            self._mount_boot(file.fileno(), boot, stack)
            shutil.copytree(bundle, boot, dirs_exist_ok=True)
            (boot / "edgecam-setup.toml").write_text(setup)

    def _mount_layer(self, file: int, stack: ExitStack) -> None:
        kernel.mount_image(file, self._layer, begin=BOOT_BYTES, size=SYSTEM_BYTES)
        stack.callback(kernel.unmount_when_free, self._layer)

    @staticmethod
    def _mount_boot(file: int, target: Path, stack: ExitStack) -> None:
        kernel.mount_image(file, target, kind="ext2", size=BOOT_BYTES)
        stack.callback(kernel.unmount_when_free, target)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._disk = stack.enter_context(ForgetfulDisk(self._image, self._folder))
            self._mount_layer(self._disk.file, stack)
            layers = f"lowerdir={self._system},upperdir={self._layer / 'upper'},workdir={self._layer / 'work'}"
            _run("mount", "-t", "overlay", "-o", layers, "overlay", self.root)
            stack.callback(kernel.unmount_when_free, self.root)
            self._mount_boot(self._disk.file, self.boot, stack)
            self._in_use = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._in_use.close()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def lose_power(self, share: float, seed: int) -> Lost:
        """Cut the power: what was not flushed is lost, but for this share of what was on its way.

        What runs goes on, on a card that no longer takes anything; end it, then `come_back`.
        """
        return self._disk.cut(share, seed)

    def come_back(self) -> None:
        """Have the card as the cut has left it, checked as Raspberry Pi OS does when it starts (`fsck.repair=yes`)."""
        self._in_use.close()
        with self._image.open("r+b") as file:
            for partition in ((0, BOOT_BYTES), (BOOT_BYTES, SYSTEM_BYTES)):
                with kernel.attached(file.fileno(), *partition) as device:
                    done = subprocess.run(
                        ["e2fsck", "-y", device], capture_output=True, text=True, check=False, timeout=60
                    )
                assert done.returncode <= _MOST_CORRECTED, done.stdout + done.stderr
        self.__enter__()

    def read(self, name: str) -> str:
        """Give a file of the boot partition, as another computer would see it; empty: it is not there."""
        path = self.boot / name
        return path.read_text(errors="replace") if path.exists() else ""


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=60)
