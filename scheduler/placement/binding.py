"""Writes a plan's bindings and says what became of each pod.

A plan is written together but every pod stands for itself: a conflict concerns that pod only. But
the members of a gang are bound together or not at all, whatever becomes of the others. While
the database does not answer the outcome is unknown, so the pods stay assumed and the same writes
are made again; a second binding of a pod is refused, so nothing is doubled.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..errors import Fenced, StatusError, Unavailable
from ..objects.stored import StoredObject
from ..store.operations import Bind, BindAll, BindCohort, Boarding, BoundTogether, Write
from ..store.store import Store
from .plan import Allotment, Gang, LodgedPods, PendingPod, Plan

logger = logging.getLogger(__name__)

_PAUSE = 1.0
T = TypeVar("T")
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Refused:
    """A pod the store did not bind, and why."""

    pod: PendingPod
    error: StatusError


@dataclass(frozen=True, slots=True)
class Bound:
    """What became of an allotment.

    Args:
        pods, nodes: those bound.
    """

    pods: Sequence[PendingPod]
    nodes: tuple[str, ...]
    refused: tuple[Refused, ...]


class Binder:
    """Binds as the leader of one epoch."""

    def __init__(self, store: Store, epoch: int) -> None:
        self._store = store
        self._epoch = epoch

    async def bind(self, plan: Plan, decisions: Sequence[int]) -> list[Bound]:
        """Write a checked plan.

        Args:
            decisions: id of the decision record of each allotment.

        Returns:
            One outcome per allotment, in order.

        Raises:
            Fenced: another leader has taken over; nothing was bound.
        """
        made = list(zip(plan.allotments, decisions, strict=True))
        writes: list[Write] = []
        boards: list[BindCohort] = []
        gangs: dict[Gang, list[Bind]] = {}
        for allotment, decision in made:
            if isinstance(allotment.pods, LodgedPods):
                boards.append(self._board(allotment, allotment.pods, plan.revision, decision))
            elif allotment.gang is not None:
                if allotment.pods:
                    binds = self._writes(allotment, plan.revision, decision)
                    gangs.setdefault(allotment.gang, []).extend(binds)
            else:
                writes += self._writes(allotment, plan.revision, decision)
        together = [BindAll(tuple(binds), self._epoch) for binds in gangs.values()]
        bound, boarded, made_together = await asyncio.gather(
            self._patiently(self._store.write_many, writes),
            self._patiently(self._store.write_cohorts, boards),
            self._patiently(self._store.bind_all, together),
        )
        bindings, boardings = iter(bound), iter(boarded)
        of_gangs = dict(zip(gangs, made_together, strict=True))
        return [
            _boarded(allotment, allotment.pods, next(boardings))
            if isinstance(allotment.pods, LodgedPods)
            else _bound_together(allotment, of_gangs.get(allotment.gang))
            if allotment.gang is not None
            else _bound(allotment, bindings)
            for allotment in plan.allotments
        ]

    async def revision(self) -> int:
        """Return the last committed revision, however long the database takes to answer."""
        while True:
            try:
                return await self._store.revision()
            except Unavailable as error:
                logger.warning("%s; asking again in %g s", error, _PAUSE)
                await asyncio.sleep(_PAUSE)

    def _writes(self, allotment: Allotment, revision: int, decision: int) -> list[Bind]:
        requests = allotment.pod.requests.amounts
        ports = tuple((p.host_ip, p.protocol, p.port) for p in allotment.pod.host_ports)
        epoch = self._epoch
        return [
            Bind(pod.key, pod.uid, node, revision, requests, ports, decision, epoch)
            for pod, node in zip(allotment.pods, allotment.nodes, strict=True)
        ]

    def _board(
        self, allotment: Allotment, pods: LodgedPods, revision: int, decision: int
    ) -> BindCohort:
        return BindCohort(
            pods.cohort.namespace,
            pods.cohort.uid,
            tuple(pods.ordinals),
            allotment.nodes,
            revision,
            allotment.pod.requests.amounts,
            decision,
            self._epoch,
        )

    async def _patiently(
        self, write: Callable[[Sequence[W]], Awaitable[Sequence[T]]], writes: Sequence[W]
    ) -> Sequence[T]:
        while True:
            try:
                return await write(writes)
            except Unavailable as error:
                logger.warning("binding %d: %s; trying again in %g s", len(writes), error, _PAUSE)
                await asyncio.sleep(_PAUSE)


def _bound(allotment: Allotment, outcomes: Iterator[StoredObject | StatusError | Fenced]) -> Bound:
    pods: list[PendingPod] = []
    nodes: list[str] = []
    refused: list[Refused] = []
    for pod, node in zip(allotment.pods, allotment.nodes, strict=True):
        outcome = next(outcomes)
        if isinstance(outcome, Fenced):
            raise outcome
        if isinstance(outcome, StatusError):
            refused.append(Refused(pod, outcome))
        else:
            pods.append(pod)
            nodes.append(node)
    return Bound(tuple(pods), tuple(nodes), tuple(refused))


def _bound_together(
    allotment: Allotment, outcome: BoundTogether | StatusError | Fenced | None
) -> Bound:
    """Return what became of a part of a gang; None where no pod of the gang was placed."""
    if isinstance(outcome, Fenced):
        raise outcome
    if isinstance(outcome, StatusError):
        return Bound((), (), tuple([Refused(pod, outcome) for pod in allotment.pods]))
    return Bound(allotment.pods, allotment.nodes, ())


def _boarded(
    allotment: Allotment, pods: LodgedPods, outcome: Boarding | StatusError | Fenced
) -> Bound:
    if isinstance(outcome, Fenced):
        raise outcome
    if isinstance(outcome, StatusError):
        return Bound((), (), tuple([Refused(pod, outcome) for pod in pods]))
    refused = outcome.refused
    if not refused:
        return Bound(pods, allotment.nodes, ())
    ordinals = [n for n in pods.ordinals if n not in refused]
    nodes = (
        node for n, node in zip(pods.ordinals, allotment.nodes, strict=True) if n not in refused
    )
    kept = LodgedPods(pods.cohort, ordinals, pods.arrived)
    lost = LodgedPods(pods.cohort, list(refused), pods.arrived)
    again = zip(lost, refused.values(), strict=True)
    return Bound(kept, tuple(nodes), tuple([Refused(pod, why) for pod, why in again]))
