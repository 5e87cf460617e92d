"""Weights to begin with: those of another run, or of a model that was exported."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from appliance.core.errors import ConfigError, UnsupportedError
from appliance.core.manifest import MANIFEST_NAME, read_manifest
from appliance.workbench.training.checkpoints import read_any_checkpoint
from appliance.workbench.training.network import PIXEL_SCALE, Network

# what `export` writes beside the weights, and what every network of a size has alike
_NO_WEIGHTS = (".scales", ".order", ".shape")


def start_from(network: Network, path: Path, pictures: Iterable[Tensor], labels: Sequence[str]) -> tuple[str, ...]:
    """Give a network the weights of another one of the same shape; what tells other labels apart keeps its own.

    Args:
        network: Is changed.
        path: Folder of a run, whose averaged weights are taken, or an ONNX file that `export` wrote.
        pictures: Shape (B, 3, H, W) each, as the network takes them: an exported file has its normalisations folded
            into its weights, and how the maps are spread is found anew with these.
        labels: Of `network`. Those of the other one are known where there is a manifest: in the run's folder, or beside
            the file.

    Returns:
        Names of the parameters that keep their own values.

    Raises:
        ConfigError: It cannot be read, or its network has another shape.
        ModelError: The manifest is not accepted.
        UnsupportedError: The onnx package is missing.
    """
    is_other = _labels_of(path) not in {None, tuple(labels)}
    if path.is_dir():
        weights = read_any_checkpoint(path, "--from takes the folder of a run of `train`, or a file that it exported")
        return _load(network, weights.average, path, is_other=is_other)
    folded = _read(path)
    left = _load(network, _unfolded(network, folded), path, is_other=is_other)
    _spread(network, pictures)
    return left


def _labels_of(path: Path) -> tuple[str, ...] | None:
    """Give the labels of a run or an exported file; None where no manifest tells."""
    files = sorted(path.glob(f"*/{MANIFEST_NAME}")) if path.is_dir() else [path.with_name(MANIFEST_NAME)]
    for manifest in (read_manifest(file) for file in files if file.is_file()):
        if path.is_dir() or path.name in {artifact.file for artifact in manifest.artifacts}:
            return manifest.labels
    return None


def _load(network: Network, weights: Mapping[str, Tensor], path: Path, *, is_other: bool) -> tuple[str, ...]:
    own = network.state_dict()
    # the head's last layers have a filter for each label
    last = {f"scores.{at}.out.{kind}" for at in range(len(network.scores)) for kind in ("weight", "bias")}
    left = tuple(name for name in sorted(last & weights.keys()) if is_other or weights[name].shape != own[name].shape)
    taken = {name: value for name, value in weights.items() if name not in left}
    wrong = [name for name in own if name not in left and (name not in taken or taken[name].shape != own[name].shape)]
    if wrong or taken.keys() - own.keys():
        raise ConfigError(
            f"{path} is a network of another shape, as {[*wrong, *(taken.keys() - own.keys())][0]} shows; give the "
            "recipe the [network] that it was trained with"
        )
    network.load_state_dict(taken, strict=False)
    return left


def _read(path: Path) -> dict[str, Tensor]:
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper
    except ImportError as error:
        raise UnsupportedError(
            f"the onnx package is missing ({error}); do: pip install 'edgecam[workbench]'"
        ) from error
    try:
        graph = onnx.load_from_string(path.read_bytes()).graph
        return {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    except (OSError, DecodeError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot read weights from {path}: {error}") from error


def _pairs(network: Network) -> dict[str, tuple[nn.Conv2d, nn.BatchNorm2d, str]]:
    """Give each convolution that a normalisation follows, with it, and the normalisation's name."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            layers = list(module)
            for at, (layer, after) in enumerate(itertools.pairwise(layers)):
                if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                    found[f"{name}.{at}"] = (layer, after, f"{name}.{at + 1}")
    return found


def _unfolded(network: Network, folded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the state of a network whose normalisations do nothing but add what was folded in."""
    pairs = _pairs(network)
    biases = {f"{name}.bias" for name in pairs}
    # what has no place here is told by `_load`
    state = {name: one for name, one in folded.items() if name not in biases and not name.endswith(_NO_WEIGHTS)}
    for name, (_, norm, norm_name) in pairs.items():
        bias = folded.get(f"{name}.bias")
        if bias is None:
            continue  # told by `_load`: the normalisation lacks its values
        ones = torch.ones_like(bias)
        state |= {
            f"{norm_name}.weight": ones,
            f"{norm_name}.bias": bias,
            f"{norm_name}.running_mean": torch.zeros_like(bias),
            f"{norm_name}.running_var": ones - norm.eps,
            f"{norm_name}.num_batches_tracked": torch.tensor(0),
        }
    first = f"{next(iter(pairs))}.weight"
    if first in state:
        state[first] = state[first] / PIXEL_SCALE
    return state


@torch.no_grad()
def _spread(network: Network, pictures: Iterable[Tensor]) -> None:
    """Let each normalisation say how its input is spread; what the network gives does not change by that."""
    sums: dict[nn.Module, list[Tensor]] = {}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double()
        count = torch.tensor(values.numel() / values.shape[1])
        found = [values.sum(dim=(0, 2, 3)), values.square().sum(dim=(0, 2, 3)), count]
        sums[norm] = [one + more for one, more in zip(sums[norm], found, strict=True)] if norm in sums else found

    norms = [norm for _, norm, _ in _pairs(network).values()]
    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    network.eval()
    for batch in pictures:
        network(batch)
    network.train()
    for hook in hooks:
        hook.remove()
    for norm in norms:
        total, squares, count = sums[norm]
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)
