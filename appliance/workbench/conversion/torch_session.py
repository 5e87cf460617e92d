"""A session of PyTorch, so that the network that converters start from is compared as every other form of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from appliance.workbench.conversion.torch_graph import TorchGraph

if TYPE_CHECKING:
    from appliance.core.manifest import TensorSpec
    from appliance.inference.runtimes import Session


class TorchSession:
    """Runs a network in PyTorch; see `Session`.

    Args:
        network: What runs.
        told: A session of the same network, asked for its inputs and outputs and closed.
        threads: CPU threads.
    """

    def __init__(self, network: TorchGraph, told: "Session", threads: int) -> None:
        self._network = network.eval()
        self.inputs: tuple[TensorSpec, ...] = told.inputs
        self.outputs: tuple[TensorSpec, ...] = told.outputs
        told.close()
        torch.set_num_threads(threads)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run the network once; see `Session.run`."""
        with torch.no_grad():
            found = self._network(*(torch.from_numpy(inputs[name]) for name in self._network.inputs))
        return [one.numpy() for one in found]

    def close(self) -> None:
        """The network is its owner's."""
