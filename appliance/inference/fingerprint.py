"""By what a device knows that a measurement was made on such a machine, with such runtimes, of these files.

It has nothing in it that tells one device from another of its kind. Loads no runtime: versions are read from the names
of the installed packages.
"""

import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from appliance import __version__
from appliance.core.machine import hardware_name
from appliance.core.manifest import PlainFile, Sha256
from appliance.core.part import Part

PACKAGES: Final = ("onnxruntime", "ai_edge_litert", "ncnn", "hailo_platform")
_NODES: Final = ("accel/accel*", "apex_*", "dri/renderD*", "hailo*", "nvhost-nvdla*", "nvidia[0-9]*", "kfd")
_SAME_MEMORY = 0.05  # of the whole: how much firmware keeps for itself varies between versions of a kernel
Word = Annotated[str, Field(max_length=200)]
Words = Annotated[tuple[Word, ...], Field(max_length=64)]


class Fingerprint(Part):
    """What a measurement depends on.

    Attributes:
        board: Its name, where the device tree tells it, else the kind of processor.
        processor: Model.
        processors: How many the process may use.
        memory_mb: Of the machine, MB.
        accelerators: Nodes in /dev.
        kernel: Its version, major and minor.
        libc: C library.
        python: Version, major and minor.
        edgecam: Its version.
        runtimes: Installed packages of runtimes with their versions.
        files: SHA-256 of the model's manifest and of its files of weights that are here, by name.
    """

    board: Word
    processor: Word
    processors: Annotated[int, Field(ge=1, le=4096)]
    memory_mb: Annotated[int, Field(ge=0, le=1 << 30)]
    accelerators: Words = ()
    kernel: Word
    libc: Word
    python: Word
    edgecam: Word
    runtimes: Words = ()
    files: Annotated[dict[PlainFile, Sha256], Field(max_length=32)]

    def changes(self, now: "Fingerprint") -> tuple[str, ...]:
        """Tell what is another now, a line each; empty: a measurement made then holds."""
        told = []
        for name in type(self).model_fields:
            before, after = getattr(self, name), getattr(now, name)
            if name == "memory_mb" and abs(before - after) <= _SAME_MEMORY * before:
                continue
            if name == "files":
                files = sorted(file for file in before.keys() | after.keys() if before.get(file) != after.get(file))
                told += [f"{file} {_change(file, before, after)}" for file in files]
            elif before != after:
                told.append(f"{name.replace('_', ' ')} was {_said(before)}, is {_said(after)}")
        return tuple(told)


def read_fingerprint(files: Mapping[str, str]) -> Fingerprint:
    """Take the fingerprint of this machine; costs a few file reads.

    Args:
        files: SHA-256 of the model's files by name.
    """
    return Fingerprint(
        board=hardware_name()[:200],
        processor=processor_name(_read("/proc/cpuinfo"))[:200],
        processors=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_mb=memory_mb(_read("/proc/meminfo")),
        accelerators=accelerators(Path("/dev")),
        kernel=".".join(re.findall(r"\d+", platform.release())[:2]) or platform.release()[:200],
        libc=_libc(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        edgecam=__version__,
        runtimes=tuple(version for package in PACKAGES if (version := package_version(package))),
        files=dict(files),
    )


def processor_name(cpuinfo: str) -> str:
    """Give a processor's model from the text of /proc/cpuinfo: by name, on Arm by the numbers of its kinds of core."""
    if named := re.search(r"(?m)^model name\s*: (.+)$", cpuinfo):
        flags = set((re.search(r"(?m)^flags\s*: (.+)$", cpuinfo) or ("", ""))[1].split())
        vectors = sorted(flags & {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"})
        return " ".join((named[1].strip(), *vectors))
    cores = re.findall(r"(?m)^CPU (implementer|part)\s*: (\S+)$", cpuinfo)
    return " ".join(dict.fromkeys(value for _, value in cores)) or platform.machine()


def memory_mb(meminfo: str) -> int:
    """Give the machine's memory in MB from the text of /proc/meminfo; 0 where it does not tell."""
    found = re.search(r"(?m)^MemTotal:\s+(\d+) kB$", meminfo)
    return int(found[1]) * 1024 // 1_000_000 if found else 0


def accelerators(devices: Path) -> tuple[str, ...]:
    """Give the nodes of accelerators in /dev."""
    return tuple(sorted(str(node) for pattern in _NODES for node in devices.glob(pattern)))[:64]


def package_version(package: str) -> str:
    """Give the installed package that an import of `package` comes from: ``onnxruntime_gpu-1.23.0``; nothing: none.

    As `importlib.metadata` does, without the megabytes that it loads.
    """
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return ""
    if spec is None or spec.origin is None:
        return ""
    folder = Path(spec.origin).parent
    found = sorted(
        entry.name.removesuffix(".dist-info") for entry in folder.parent.glob(f"{package.partition('.')[0]}*.dist-info")
    )
    return " ".join(found)[:200] or f"{package} of unknown version"


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    except (ValueError, OSError):
        return "unknown"  # another C library


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _change(file: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    if file not in after:
        return "is not here any more"
    return "is new" if file not in before else "is another file"


def _said(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
