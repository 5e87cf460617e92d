"""Tells what a HailoRT error means and what to do about it. Pure: words in, one line out.

Statuses: hailort/libhailort/include/hailo/hailort.h of https://github.com/hailo-ai/hailort. Its Python package raises
some as classes of their own and names the others in the message.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from appliance.core.errors import ModelError, UnsupportedError

_CLASSES: Final[Mapping[str, str]] = {
    "HailoRTTimeout": "HAILO_TIMEOUT",
    "HailoRTInvalidHEFException": "HAILO_INVALID_HEF",
    "HailoRTHEFNotCompatibleWithDevice": "HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE",
    "HailoRTDriverOperationFailedException": "HAILO_DRIVER_OPERATION_FAILED",
    "HailoRTPCIeDriverException": "HAILO_DRIVER_OPERATION_FAILED",
    "HailoRTUnsupportedOpcodeException": "HAILO_UNSUPPORTED_OPCODE",
    "InvalidProtocolVersionException": "HAILO_UNSUPPORTED_CONTROL_PROTOCOL_VERSION",
}
_UPDATE = "do: sudo apt update && sudo apt full-upgrade, then restart; `hailortcli fw-control identify` must answer"
_MISMATCH = f"the versions of Hailo's driver, library and firmware differ; {_UPDATE}"
_OTHER_DEVICE = (
    "is compiled for another kind of Hailo than this one; `hailortcli fw-control identify` tells which this is: take "
    "the file for it"
)
_BROKEN = "is no HEF that HailoRT can read; is the file complete? Copy or compile it again"
_MACHINE: Final[Mapping[str, str]] = {
    "HAILO_DRIVER_NOT_INSTALLED": "Hailo's driver is not loaded; install it (`sudo apt install hailo-all`, for a "
    "Hailo-10H hailo-h10-all) and restart",
    "HAILO_INVALID_DRIVER_VERSION": _MISMATCH,
    "HAILO_DRIVER_INVALID_RESPONSE": _MISMATCH,
    "HAILO_DRIVER_INVALID_IOCTL": _MISMATCH,
    "HAILO_UNSUPPORTED_FW_VERSION": _MISMATCH,
    "HAILO_UNSUPPORTED_OPCODE": _MISMATCH,
    "HAILO_UNSUPPORTED_CONTROL_PROTOCOL_VERSION": _MISMATCH,
    "HAILO_DEVICE_IN_USE": "another program has the Hailo; stop it (`sudo fuser -v /dev/hailo0`)",
    "HAILO_DRIVER_OPERATION_FAILED": "Hailo's driver failed; `sudo dmesg | grep hailo` tells why",
}
_FILE: Final[Mapping[str, str]] = {
    "HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE": _OTHER_DEVICE,
    "HAILO_INVALID_DEVICE_ARCHITECTURE": _OTHER_DEVICE,
    "HAILO_HEF_NOT_SUPPORTED": f"is of another version of Hailo's compiler than this HailoRT reads; {_UPDATE}, or take "
    "the file for this version",
}


def status_of(error: Exception) -> str:
    """Give the name of the status that an error of HailoRT stands for; empty where it tells none."""
    named = re.search(r"\bHAILO_[A-Z0-9_]+", str(error))
    return _CLASSES.get(type(error).__name__, named[0] if named else "")


def refuse_device(error: Exception, nodes: Sequence[str]) -> UnsupportedError:
    """Give the error for a Hailo that could not be had.

    Args:
        error: HailoRT's.
        nodes: The device files of Hailos that are there.
    """
    status = status_of(error)
    if status == "HAILO_OUT_OF_PHYSICAL_DEVICES":  # the same for none and for one that is taken
        if nodes:
            return UnsupportedError(f"no Hailo is free: another program has it; stop it (`sudo fuser -v {nodes[0]}`)")
        return UnsupportedError(
            "there is no Hailo: neither /dev/hailo0 nor /dev/h1x-0 is there; check how it is plugged in, and its "
            "driver (`lspci`, `sudo dmesg | grep hailo`)"
        )
    return UnsupportedError(_MACHINE.get(status) or f"the Hailo cannot be used: {brief(error)}; {_UPDATE}")


def refuse_model(error: Exception, name: str, *, is_read: bool) -> ModelError | UnsupportedError:
    """Give the error for a file that could not be loaded onto a Hailo.

    Args:
        error: HailoRT's.
        name: The file's path.
        is_read: HailoRT could read the file: what is wrong with it now is the device that it is for, as HailoRT before
            4.21 calls it an invalid file too.
    """
    status = status_of(error)
    if status in {"HAILO_INVALID_HEF", "HAILO_HEF_FILE_CORRUPTED"} and not is_read:
        return ModelError(f"{name} {_BROKEN}")
    if status == "HAILO_INVALID_HEF":
        return UnsupportedError(f"{name} {_OTHER_DEVICE}")
    if status in _FILE:
        return UnsupportedError(f"{name} {_FILE[status]}")
    if status in _MACHINE:
        return UnsupportedError(_MACHINE[status])
    return ModelError(f"{name} could not be loaded onto the Hailo: {brief(error)}; copy or compile it again")


def brief(error: Exception) -> str:
    """Give HailoRT's message on one line, without its full stops at the end."""
    return " ".join(f"{error or type(error).__name__}".split())[:300].rstrip(".")
