"""The ways to run a file of weights on one machine: providers, kernels, threads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from appliance.core.manifest import Artifact
from appliance.core.providers import AnyProvider, ProviderName, default_provider
from appliance.inference.runtimes import Plan

ON_THE_CPU = frozenset({"cpu", "xnnpack", "acl", "openvino"})  # with these the number of threads may count
_KNOWN: frozenset[str] = frozenset(get_args(ProviderName))


@dataclass(frozen=True, slots=True)
class Way:
    """How a file is run.

    Attributes:
        providers: Of ONNX Runtime, best first; empty: as the manifest says, else the CPU.
        is_plain: LiteRT's own kernels alone, without XNNPACK.
        threads: CPU threads of one inference.
    """

    providers: tuple[ProviderName, ...] = ()
    is_plain: bool = False
    threads: int = 1

    def plan(self, artifact: Artifact | None, wanted: Plan) -> Plan:
        """Give the plan; what the owner wants goes before it, and options are those of the manifest.

        Args:
            artifact: What the manifest says of the file; None for a bare file.
            wanted: By the owner.
        """
        own: dict[str, AnyProvider] = {} if artifact is None else {one.kind: one for one in artifact.providers}
        providers = tuple(own.get(name) or default_provider(name) for name in self.providers)
        return replace(wanted, providers=wanted.providers or providers, is_plain=self.is_plain, threads=self.threads)


@dataclass(frozen=True, slots=True)
class Preference:
    """What is to be tried before the ladder.

    Attributes:
        file: Name of a model's artifact, or of the bare file.
        way: How it is run.
    """

    file: str
    way: Way


def ways(kind: str, artifact: Artifact | None, here: Sequence[str], threads: Sequence[int]) -> tuple[Way, ...]:
    """Give the ways to run a file that are worth measuring, the plainest first. Pure.

    A provider is tried with the CPU behind it for what it does not take, unless the manifest forbids that. One that the
    manifest does not name is tried only where the manifest names none.

    Args:
        kind: Format of the file.
        artifact: What the manifest says of it; None for a bare file.
        here: Providers that ONNX Runtime has here.
        threads: Numbers of threads to try, ascending.
    """
    if kind == "onnx":
        return tuple(
            Way(names, threads=count)
            for names in _providers(artifact, here)
            for count in (threads if ON_THE_CPU.issuperset(names) else threads[:1])
        )
    if kind == "tflite" and (artifact is None or artifact.delegate is None):
        return tuple(Way(is_plain=is_plain, threads=count) for is_plain in (True, False) for count in threads)
    return (Way(threads=threads[0]),)  # an accelerator: how it runs is its file's matter


def _providers(artifact: Artifact | None, here: Sequence[str]) -> list[tuple[ProviderName, ...]]:
    named = () if artifact is None else tuple(one.kind for one in artifact.providers)
    usable = [name for name in here if name in _KNOWN and (not named or name in named)]
    is_cpu_allowed = not named or "cpu" in named
    behind: tuple[ProviderName, ...] = ("cpu",) if is_cpu_allowed else ()
    first: list[tuple[ProviderName, ...]] = [("cpu",)] if is_cpu_allowed else []
    accelerated = [(_name(name), *behind) for name in usable if name != "cpu"]
    # nothing of what it names is here: opening it says so
    return [*first, *accelerated] or [()]


def is_for_one_process(artifact: Artifact) -> bool:
    """Tell whether a file needs an accelerator that one process alone can have: a Hailo, or what a delegate drives."""
    return artifact.format == "hef" or artifact.delegate is not None


def thread_counts(processors: int) -> tuple[int, ...]:
    """Give the numbers of threads worth measuring on so many processors: 1, 2, 4 and so on, and all of them."""
    counts = [1 << power for power in range(7) if 1 << power <= processors]
    return tuple(dict.fromkeys((*counts, min(processors, 64))))


def _name(name: str) -> ProviderName:
    found: ProviderName = next(one for one in get_args(ProviderName) if one == name)
    return found
