"""What can be named of a model: its labels, and the groups that join those which people count as one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

# A bicycle is none of them: it is pushed along pavements, and comes with a rider who is a person already.
# Names in other label sets than COCO's: motorbike (Pascal VOC), van (KITTI).
DEFAULT_GROUPS: Mapping[str, frozenset[str]] = {
    "vehicle": frozenset({"bus", "car", "motorbike", "motorcycle", "truck", "van"}),
}

_MOST_TOLD = 100  # labels in a message: ImageNet's thousand would fill many screens


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A model's labels and groups.

    Attributes:
        labels: By class id.
        groups: The labels of each group, by its name; a label is in one group at the most.
    """

    labels: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def group_of(self, label: str) -> str | None:
        """Give the group that a label is in."""
        return next((name for name, members in self.groups.items() if label in members), None)

    def kinds(self) -> tuple[int, ...]:
        """Number the labels, by class id, so that those of one group, and no others, have the same number."""
        leaders = {label: members[0] for members in self.groups.values() for label in members}
        return tuple(self.labels.index(leaders.get(label, label)) for label in self.labels)

    def wanted(self, names: Iterable[str]) -> tuple[bool, ...]:
        """Tell for each label, by class id, whether it or its group is among `names`; when there are none, all are."""
        chosen = {label for name in names for label in self.groups.get(name, (name,))}
        return tuple(not chosen or label in chosen for label in self.labels)

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Give those of `names` that are neither a label nor a group."""
        return [name for name in names if name not in self.labels and name not in self.groups]

    def described(self) -> str:
        """Tell in one line what can be named: ``labels person, car, truck; groups vehicle (car, truck)``."""
        groups = ", ".join(f"{name} ({', '.join(members)})" for name, members in self.groups.items())
        told = ", ".join(self.labels[:_MOST_TOLD])
        more = f" and {len(self.labels) - _MOST_TOLD} more" if len(self.labels) > _MOST_TOLD else ""
        return f"labels {told}{more}; groups {groups or 'none'}"


def default_groups(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Give the groups of a model that names none itself: those of which it has a label, and which are none."""
    names = {label.lower() for label in labels}
    groups = {
        group: tuple(label for label in labels if label.lower() in members)
        for group, members in DEFAULT_GROUPS.items()
        if group not in names
    }
    return {group: members for group, members in groups.items() if members}
