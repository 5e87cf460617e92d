"""A small image with the layout of Raspberry Pi OS: a boot partition with FAT, a root partition with ext4."""

import struct
import subprocess
from pathlib import Path

SECTOR, BOOT_AT, BOOT_MB, ROOT_MB = 512, 8 << 20, 36, 2
EXT4 = 0x83


def make_image(path: Path, kind: int = 0x0C) -> None:
    """Write it; `kind` is the first partition's."""
    boot_size, root_size = BOOT_MB << 20, ROOT_MB << 20
    boot, root = path.with_name("boot.fat"), path.with_name("root.ext4")
    for part, size in ((boot, boot_size), (root, root_size)):
        part.write_bytes(b"")
        with part.open("r+b") as file:
            file.truncate(size)
    subprocess.run(["mkfs.vfat", "-F", "32", "-s", "1", "-n", "bootfs", boot], check=True, capture_output=True)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", root], check=True, capture_output=True)
    for name, content in (("config.txt", "# of the system\n"), ("cmdline.txt", "console=tty1 rootwait\n")):
        (path.with_name(name)).write_text(content)
        subprocess.run(["mcopy", "-i", boot, path.with_name(name), "::/"], check=True, capture_output=True)
    entries = [(kind, BOOT_AT, boot_size), (EXT4, BOOT_AT + boot_size, root_size)]
    table = b"".join(struct.pack("<4xB3xII", what, at // SECTOR, size // SECTOR) for what, at, size in entries)
    with path.open("wb") as image:
        image.write((bytes(446) + table).ljust(510, b"\0") + b"\x55\xaa")
        image.seek(BOOT_AT)
        image.write(boot.read_bytes())
        image.write(root.read_bytes())
    boot.unlink()
    root.unlink()


def read_boot(image: Path, name: str) -> bytes:
    """Give a file of the boot partition."""
    done = subprocess.run(["mtype", "-i", f"{image}@@{BOOT_AT}", f"::/{name}"], capture_output=True, check=True)
    return done.stdout


def with_table(content: bytes, end: int | None = None) -> bytes:
    """Give the content as an image: its table has one partition, with FAT, to its end or to another byte."""
    entry = struct.pack("<4xB3xII", 0x0C, 1, (end or len(content)) // SECTOR - 1)
    return bytes(446) + entry.ljust(64, b"\0") + b"\x55\xaa" + content[SECTOR:]
