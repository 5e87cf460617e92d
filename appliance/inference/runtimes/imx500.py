"""Takes the answers of a network that the IMX500 camera runs: the session computes nothing.

The file goes to the camera (`appliance.cameras.imx500`). What its tensors are is told by the manifest alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ModelError
from appliance.core.manifest import TensorPattern, TensorSpec
from appliance.inference.runtimes import NO_PLAN, Placement, Plan

MAGIC: Final = b"9464"  # of the first block: IMX500.__ni_from_network of picamera2/devices/imx500/imx500.py


class Imx500Runtime:
    """Opens .rpk files."""

    def open(self, model: bytes, *, name: str, threads: int, plan: Plan = NO_PLAN) -> "Imx500Session":  # noqa: ARG002
        """Load a model; see `Runtime.open`. `plan.signature` says what its tensors are."""
        if not model.startswith(MAGIC):
            raise ModelError(f"{name} is no network for an IMX500; is the file complete? Copy or package it again")
        if plan.signature is None:
            raise ModelError(
                f"{name} does not tell its tensors; put it beside a manifest.toml that names it (docs/hardware.md)"
            )
        outputs = tuple(_spec(f"output{at}", one) for at, one in enumerate(plan.signature.outputs))
        return Imx500Session(name, _spec("picture", plan.signature.input), outputs)


class Imx500Session:
    """A network that the camera runs; see `Session`.

    `inputs` is the picture as the camera's network takes it, for the manifest to be checked. What `run` takes are the
    camera's tensors, by the names of `outputs`.
    """

    def __init__(self, name: str, picture: TensorSpec, outputs: tuple[TensorSpec, ...]) -> None:
        self._name = name
        self._is_open = True
        self.inputs = (picture,)
        self.outputs = outputs
        self.placements = (Placement("imx500", None),)
        self.shortfalls: tuple[str, ...] = ()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Give the camera's tensors in their order; see `Session.run`."""
        if not self._is_open:
            raise ModelError(f"{self._name} was closed")
        names = [one.name for one in self.outputs]
        if set(inputs) != set(names):
            raise ModelError(f"{self._name} was given {len(inputs)} tensors by the camera, and has {', '.join(names)}")
        for one in self.outputs:
            given = inputs[one.name]
            if given.dtype != np.float32 or not _fits(one.shape, given.shape):
                raise ModelError(f"{self._name}: the camera gave {given.dtype}{list(given.shape)} for {one}")
        return [inputs[name].copy() for name in names]

    def close(self) -> None:
        """End it; a second call does nothing."""
        self._is_open = False


def _spec(name: str, pattern: TensorPattern) -> TensorSpec:
    """Give what a pattern says without a manifest's sizes; a word leaves its axis open."""
    shape = tuple(size if isinstance(size, int) else None for size in pattern.shape)
    return TensorSpec(name=name, shape=shape, dtype=pattern.dtype)


def _fits(promised: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    return len(promised) == len(given) and all(a in {None, b} for a, b in zip(promised, given, strict=True))
