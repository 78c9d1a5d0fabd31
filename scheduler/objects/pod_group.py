"""Gangs: which group a pod belongs to, the typed view of PodGroups, and what one waits for."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from .meta import ObjectMeta
from .pod import Condition, PodSpec, View
from .stored import StoredObject

RESOURCE = "podgroups.ironfree.dev"
LABEL = "ironfree.dev/pod-group"
COSCHEDULING_LABEL = "scheduling.x-k8s.io/pod-group"  # of kubernetes-sigs/scheduler-plugins
MOST_MEMBERS = 4096  # that can be asked for, and that are tried together
SCHEDULED = "Scheduled"  # the condition that says whether enough members have nodes
DEADLINE_EXCEEDED = "DeadlineExceeded"


class PodGroupSpec(View, frozen=True):
    """ironfree.dev/v1 PodGroupSpec."""

    min_member: int = 1
    schedule_timeout_seconds: int = 0


class PodGroupStatus(msgspec.Struct, frozen=True, rename="camel"):
    """ironfree.dev/v1 PodGroupStatus; counts are always written.

    Args:
        members: live pods, with a node or waiting for one; not those being deleted.
        scheduled: of those, how many have a node.
        scheduling_start_time: since when members have waited while fewer than minMember had nodes.
    """

    phase: str = "Pending"
    members: int = 0
    scheduled: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    scheduling_start_time: datetime | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class PodGroup(msgspec.Struct, frozen=True):
    """A PodGroup as placement and its controller see it."""

    meta: ObjectMeta
    spec: PodGroupSpec
    status: PodGroupStatus
    stored: StoredObject

    def wanting(self, scheduled: int) -> int:
        """Return how many members must get their nodes together when so many have theirs."""
        return max(0, self.spec.min_member - scheduled)

    @property
    def expired(self) -> bool:
        """Whether its deadline has passed, and its spec is as it was then."""
        said = next((c for c in self.status.conditions if c.type == SCHEDULED), None)
        return (
            said is not None
            and said.reason == DEADLINE_EXCEEDED
            and said.observed_generation == self.meta.generation
        )


class _Body(msgspec.Struct):
    spec: PodGroupSpec = PodGroupSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(PodGroupStatus)


def pod_group(stored: StoredObject) -> PodGroup:
    """Return the typed view of a stored PodGroup."""
    return PodGroup(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else PodGroupStatus(),
        stored=stored,
    )


def group_name(labels: Mapping[str, str], spec: PodSpec) -> str:
    """Return the name of the PodGroup that a pod belongs to, "" for none.

    `spec.schedulingGroup.podGroupName` goes before the labels, and our label before that of
    coscheduling.
    """
    group = spec.scheduling_group
    if group is not None and group.pod_group_name:
        return group.pod_group_name
    if not labels:
        return ""
    return labels.get(LABEL) or labels.get(COSCHEDULING_LABEL) or ""


def obstacle(name: str, group: PodGroup | None, waiting: int, scheduled: int) -> str:
    """Return why members of a group are not tried, "" if they may be.

    Args:
        name: of the group; None stands for one that does not exist.
        waiting: members that could be given nodes; scheduled: those that have theirs.
    """
    if group is None:
        return f'PodGroup "{name}" not found'
    if not group.wanting(scheduled):
        return ""
    if group.expired:
        return overdue(group)
    return incomplete(group, waiting, scheduled)


def incomplete(group: PodGroup, waiting: int, scheduled: int) -> str:
    """Say how many members are missing, "" where there are enough."""
    missing = group.wanting(scheduled) - waiting
    if missing <= 0:
        return ""
    pods = "pod" if missing == 1 else "pods"
    there = f"{waiting + scheduled} of {group.spec.min_member} are there"
    return f'waiting for {missing} more {pods} of PodGroup "{group.meta.name}": {there}'


def overdue(group: PodGroup) -> str:
    """Say that a group's deadline has passed, and what brings it back."""
    return (
        f'PodGroup "{group.meta.name}" was not scheduled within '
        f"{group.spec.schedule_timeout_seconds} s; it is tried again once its spec changes, or a "
        "member comes or goes"
    )
