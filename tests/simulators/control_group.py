"""A control group of its own for each container that runs beside another one."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_JOIN = 'set -e; while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'


class ControlGroup:
    """A group below ours, in each tree that systemd uses.

    `systemd-nspawn --keep-unit` puts all containers that are started from one group into that group's `payload`: their
    systemds would then have one tree, in which the group of a unit is removed while the other one starts the same unit
    (exit status 219/CGROUP), and cgroup.kill takes the other's processes along.

    Args:
        name: Of the group, unlike all others that are there at the time.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._folders = [folder / name for folder in _ours()]

    def begin(self) -> None:
        """Make the group."""
        for folder in self._folders:
            folder.mkdir(exist_ok=True)

    def within(self, command: Sequence[str]) -> list[str]:
        """Give the command that runs this one in the group, as the same process."""
        return ["sh", "-c", _JOIN, "join", *map(str, self._folders), "--", *command]

    def end(self) -> bool:
        """Remove the group, and tell whether it is gone: it is not while a process of it is left."""
        for folder in self._folders:
            for path, _, _ in os.walk(folder, topdown=False):
                try:
                    Path(path).rmdir()
                except OSError:
                    return False
        return True


def _ours() -> Iterator[Path]:
    """Give our own group's folder in the second version's tree, and in systemd's of the first where that is mounted."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    groups = {controllers: path.lstrip("/") for _, controllers, path in lines}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options = line.split(" ")[:4]
        if kind == "cgroup2" and "" in groups:
            yield Path(place, groups[""])
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            yield Path(place, groups["name=systemd"])
