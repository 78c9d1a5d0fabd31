"""Who must leave so that a gang has room: enough of its members, all at once, or nobody leaves.

Pure. Members that fit are placed first, then those that do not choose nodes and victims one class
after the other, as each would alone. Whether that works is then seen by placing the whole gang on
the cluster without the victims; nobody is evicted for a gang that would not run.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..hookspecs import PodClass, Snapshot
from .draft import Draft
from .framework import Framework
from .gang_search import Place, largest_first, place_together
from .gangs import Muster
from .plan import Allotment, PendingPod
from .preemption import preempt
from .residents import Homes, Residents, kinds_of, on_nodes
from .tenancy import RunningPod, Tenancy
from .what_if import WhatIf


@dataclass(frozen=True, slots=True)
class Clearing:
    """What makes room for a gang.

    Args:
        places: each member that would have a node once the victims are gone, and that node.
        victims: by node; those that are leaving already are among them.
    """

    places: Sequence[tuple[PodClass, PendingPod, str]]
    victims: Mapping[str, Sequence[RunningPod]]


@dataclass(frozen=True, slots=True)
class Search:
    """How a gang is placed: the arguments of place_together."""

    place: Place
    frameworks: Mapping[str, Framework]
    clock: Callable[[], float]


def clear(muster: Muster, snapshot: Snapshot, search: Search, tenancy: Tenancy) -> Clearing | None:
    """Return who of lower priority than every member must leave; None where that does not help.

    Args:
        snapshot: in which the gang has not enough room.
        tenancy: without nominations of the gang's own.

    Raises:
        PluginError: a filter failed.
    """
    if min((pod.priority for pod in snapshot.placed), default=0) >= muster.gang.priority:
        return None
    victims = _victims(muster, snapshot, search, tenancy)
    found = _without(victims, muster, snapshot, search)
    used = {node for allotment in found for node in allotment.nodes}
    if used and not used >= set(victims):
        victims = {node: pods for node, pods in victims.items() if node in used}
        found = _without(victims, muster, snapshot, search)
    places = [
        (each.pod, pod, node)
        for each in found
        for pod, node in zip(each.pods, each.nodes, strict=True)
    ]
    return Clearing(places, victims) if places else None


def _victims(
    muster: Muster, snapshot: Snapshot, search: Search, tenancy: Tenancy
) -> dict[str, list[RunningPod]]:
    """Return by node who would leave, nobody if that gives too few members a place."""
    draft, short = Draft(snapshot), muster.wanting
    left: dict[PodClass, int] = {}
    for pod in largest_first(muster.pods, snapshot):
        found = search.place(pod, muster.pods[pod], draft)
        left[pod] = len(found[-1].left)
        short -= len(muster.pods[pod]) - left[pod]
    running = _Below(tenancy.running, muster.gang.priority)
    tenancy = Tenancy(running, tenancy.budgets, tenancy.nominated)
    victims: dict[str, dict[str, RunningPod]] = {}
    for pod, count in left.items():
        wanted = min(count, short)
        if wanted <= 0:
            continue
        filters = search.frameworks[pod.scheduler_name].filters
        for each in preempt(pod, filters, draft.snapshot, tenancy, wanted).chosen:
            there = victims.setdefault(each.node, {})
            there.update((victim.uid, victim) for victim in each.victims)
            draft.add(pod, np.array([snapshot.row_of[each.node]], dtype=np.int64))
            short -= 1
    return {node: list(pods.values()) for node, pods in victims.items()} if short <= 0 else {}


def _without(
    victims: Mapping[str, Sequence[RunningPod]], muster: Muster, snapshot: Snapshot, search: Search
) -> list[Allotment]:
    """Place the gang as if the victims were gone; nothing without victims."""
    gone = [(snapshot.row_of[node], each) for node, pods in victims.items() for each in pods]
    if not gone:
        return []
    what_if = WhatIf(
        snapshot,
        np.array([row for row, _ in gone], dtype=np.int64),
        *kinds_of(each.pod for _, each in gone),
        np.array([each.leaving for _, each in gone], dtype=np.bool_),
    )
    what_if.send_away(np.arange(len(gone), dtype=np.int64))
    draft = Draft(what_if.snapshot())
    return place_together(muster, draft, search.place, search.frameworks, search.clock)


class _Below(Homes):
    """The pods of lower priority on each node, looked up when asked for."""

    def __init__(self, running: Mapping[str, Collection[RunningPod]], priority: int) -> None:
        self._running = running
        self._priority = priority

    def on(self, nodes: Sequence[str]) -> Residents:
        found = on_nodes(self._running, nodes)
        return found.take(np.flatnonzero(found.priorities < self._priority))

    def __getitem__(self, node: str) -> Collection[RunningPod]:
        return [each for each in self._running[node] if each.pod.priority < self._priority]

    def __iter__(self) -> Iterator[str]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)
