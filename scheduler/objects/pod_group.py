"""Gangs: which group a pod belongs to, and the typed view of PodGroups."""

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


class PodGroupSpec(View, frozen=True):
    """ironfree.dev/v1 PodGroupSpec."""

    min_member: int = 1
    schedule_timeout_seconds: int = 0


class PodGroupStatus(msgspec.Struct, frozen=True, rename="camel"):
    """ironfree.dev/v1 PodGroupStatus; counts are always written.

    Args:
        members: live pods: those with a node, and those that may get one.
        scheduled: of those, how many have a node.
        scheduling_start_time: since when there have been enough members without their nodes.
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
