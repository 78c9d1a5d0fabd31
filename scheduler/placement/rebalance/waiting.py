"""Who waits for room: single pods, and PodGroups whose members are all there. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...objects.pod_class import PodClass
from ...objects.pod_group import RESOURCE
from ...objects.stored import ObjectKey
from ..plan import PendingPod
from ..scenario import Scenario, ScenarioPod
from .movability import Scope


@dataclass(frozen=True, slots=True)
class Waiting:
    """Pods that get room together or not at all: one, or the members of a PodGroup.

    Args:
        members: how many there are of each class.
        least: how many must have a node for any to have one.
    """

    pods: tuple[PendingPod, ...]
    members: tuple[tuple[PodClass, int], ...]
    least: int = 1

    @property
    def name(self) -> str:
        """The first pod by namespace/name."""
        key = self.pods[0].key
        return f"{key.namespace}/{key.name}"

    @classmethod
    def of(cls, pods: Sequence[ScenarioPod], least: int = 1) -> "Waiting":
        """Return some of a scenario's pods."""
        counts: dict[PodClass, int] = {}
        for pod in pods:
            counts[pod.wanted] = counts.get(pod.wanted, 0) + 1
        names = tuple([PendingPod(pod.key, pod.uid) for pod in pods])
        return cls(names, tuple(counts.items()), least)


def waiting(cluster: Scenario, scope: Scope) -> list[Waiting]:
    """Return those that placement has found no node for, the most important first."""
    found: list[tuple[int, Waiting]] = []
    groups: dict[ObjectKey, list[ScenarioPod]] = {}
    for pod in cluster.pending:
        if not _is_parked(pod, scope):
            continue
        if pod.wanted.group:
            key = ObjectKey(RESOURCE, pod.key.namespace, pod.wanted.group)
            groups.setdefault(key, []).append(pod)
        else:
            found.append((pod.wanted.priority, Waiting.of([pod])))
    found += _gangs(cluster, groups)
    return [each for _, each in sorted(found, key=lambda pair: -pair[0])]


def alike_once(waiting: Sequence[Waiting]) -> list[Waiting]:
    """Return the first of each that ask for the same, in order."""
    first: dict[tuple[tuple[PodClass, int], ...], Waiting] = {}
    for each in waiting:
        first.setdefault(each.members, each)
    return list(first.values())


def _gangs(
    cluster: Scenario, groups: dict[ObjectKey, list[ScenarioPod]]
) -> Iterator[tuple[int, Waiting]]:
    for key, pods in groups.items():
        group = (cluster.groups or {}).get(key)
        if group is None:
            continue
        there = cluster.state.members(key.namespace, key.name)
        least = max(1, group.spec.min_member - there)
        if len(pods) >= least:
            yield min(pod.wanted.priority for pod in pods), Waiting.of(pods, least)


def _is_parked(each: ScenarioPod, scope: Scope) -> bool:
    pod = each.pod
    condition = pod.status.condition("PodScheduled")
    return (
        condition is not None
        and condition.reason == "Unschedulable"
        and not pod.status.nominated_node_name  # room is being made for it
        and pod.spec.scheduler_name == scope.profile
        and (not scope.namespaces or pod.meta.namespace in scope.namespaces)
    )
