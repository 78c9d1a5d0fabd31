"""How a gang of a scenario stands, and whether it would be placed now. Pure."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ..objects.pod_class import PodClass
from ..objects.pod_group import RESOURCE, PodGroup, obstacle
from ..objects.stored import ObjectKey
from .draft import Draft
from .framework import Framework
from .gang_search import place_together
from .gangs import Muster
from .plan import Allotment, Gang, PendingPod
from .scenario import Scenario, ScenarioPod


@dataclass(frozen=True, slots=True)
class Standing:
    """A gang as it is.

    Args:
        group: None for one that does not exist.
        scheduled: members with nodes.
        waiting: members that could be given nodes, in order.
        why: why they are not tried, "" if they may be.
    """

    key: ObjectKey
    group: PodGroup | None
    scheduled: int
    waiting: Sequence[ScenarioPod]
    why: str

    @property
    def apart(self) -> bool:
        """Whether members may not be given nodes by themselves."""
        return self.group is None or bool(self.group.wanting(self.scheduled))


def standing_of(
    scenario: Scenario, pod: PodClass, ours: Container[str] | None = None
) -> Standing | None:
    """Return how the gang of a class stands; None if it has none, or nobody minds.

    Args:
        ours: schedulerNames of pods that may be given nodes; None for all.
    """
    if not pod.group or scenario.groups is None:
        return None
    key = ObjectKey(RESOURCE, pod.namespace, pod.group)

    def belongs(each: ScenarioPod) -> bool:
        return (each.wanted.group, each.wanted.namespace) == (pod.group, pod.namespace)

    group = scenario.groups.get(key)
    scheduled = sum(
        belongs(each) and each.pod.meta.deletion_timestamp is None
        for each in scenario.bound.values()
    )
    waiting = [
        each
        for each in scenario.pending
        if belongs(each)
        and each.pod.meta.uid not in scenario.bound
        and not each.pod.spec.scheduling_gates
        and not each.refused
        and (ours is None or each.wanted.scheduler_name in ours)
    ]
    why = obstacle(key.name, group, len(waiting), scheduled)
    return Standing(key, group, scheduled, waiting, why)


def try_together(
    scenario: Scenario, standing: Standing, frameworks: Mapping[str, Framework]
) -> list[Allotment]:
    """Place the waiting members of a complete gang; nothing is counted into the scenario.

    Args:
        frameworks: by schedulerName, of every waiting member.
    """
    assert standing.group is not None
    pods: dict[PodClass, list[PendingPod]] = {}
    for each in standing.waiting:
        pods.setdefault(each.wanted, []).append(PendingPod(each.key, each.pod.meta.uid))
    lowest = min(standing.waiting, key=lambda each: each.wanted.priority)
    gang = Gang(standing.key, lowest.wanted.priority, lowest.wanted.scheduler_name)
    muster = Muster(gang, pods, standing.group.wanting(standing.scheduled))
    draft = Draft(scenario.state.freeze(0))
    row_of = draft.base.row_of
    for node, classes in scenario.nominated(lowest).items():
        for wanted in classes if node in row_of else ():
            if (wanted.group, wanted.namespace) != (standing.key.name, standing.key.namespace):
                draft.add(wanted, np.array([row_of[node]], dtype=np.int64))

    def place(wanted: PodClass, left: Sequence[PendingPod], onto: Draft) -> Sequence[Allotment]:
        decision = frameworks[wanted.scheduler_name].decide(wanted, len(left), onto)
        nodes = onto.snapshot.names(decision.rows)
        return [Allotment(wanted, left[: len(nodes)], nodes, left[len(nodes) :], decision)]

    return place_together(muster, draft, place, frameworks, perf_counter)
