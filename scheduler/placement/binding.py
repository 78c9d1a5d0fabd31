"""Writes a plan's bindings and says what became of each pod.

A plan is written together but every pod stands for itself: a conflict concerns that pod only. But
the members of a gang are bound together or not at all, whatever becomes of the others. While
the database does not answer the outcome is unknown, so the pods stay assumed and the same writes
are made again; a second binding of a pod is refused, so nothing is doubled.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from ..errors import Fenced, StatusError, Unavailable
from ..objects.cohort import ALIKE_FROM, berth
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


_Crowds = Mapping[str, Sequence[int]]  # uid of a cohort → which pods of an allotment


class Binder:
    """Binds as the leader of one epoch.

    Args:
        lodged: tells whether a pod of a uid lives in its cohort, as far as is known.
    """

    def __init__(self, store: Store, epoch: int, lodged: Callable[[str], bool]) -> None:
        self._store = store
        self._epoch = epoch
        self._lodged = lodged

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
        crowds: list[_Crowds] = []
        for allotment, decision in made:
            crowds.append(self._crowds(allotment))
            if isinstance(allotment.pods, LodgedPods):
                boards.append(self._board(allotment, allotment.pods, plan.revision, decision))
            elif allotment.gang is not None:
                if allotment.pods:
                    everyone = range(len(allotment.pods))
                    binds = self._writes(allotment, plan.revision, decision, everyone)
                    gangs.setdefault(allotment.gang, []).extend(binds)
            else:
                boards += self._boards(allotment, crowds[-1], plan.revision, decision)
                lodged = set(chain.from_iterable(crowds[-1].values()))
                alone = [n for n in range(len(allotment.pods)) if n not in lodged]
                writes += self._writes(allotment, plan.revision, decision, alone)
        gang_writes = [BindAll(tuple(binds), self._epoch) for binds in gangs.values()]
        bound, boarded, made_together = await asyncio.gather(
            self._patiently(self._store.write_many, writes),
            self._patiently(self._store.write_cohorts, boards),
            self._patiently(self._store.bind_all, gang_writes),
        )
        bindings, boardings = iter(bound), iter(boarded)
        of_gangs = dict(zip(gangs, made_together, strict=True))
        outcomes: list[Bound] = []
        for (allotment, decision), together in zip(made, crowds, strict=True):
            if isinstance(allotment.pods, LodgedPods):
                outcomes.append(_boarded(allotment, allotment.pods, next(boardings)))
            elif allotment.gang is not None:
                outcomes.append(_bound_together(allotment, of_gangs.get(allotment.gang)))
            else:
                errors = _errors(allotment, together, bindings, boardings)
                await self._bind_apart(allotment, together, errors, plan.revision, decision)
                outcomes.append(_bound(allotment, errors))
        return outcomes

    async def revision(self) -> int:
        """Return the last committed revision, however long the database takes to answer."""
        while True:
            try:
                return await self._store.revision()
            except Unavailable as error:
                logger.warning("%s; asking again in %g s", error, _PAUSE)
                await asyncio.sleep(_PAUSE)

    def _crowds(self, allotment: Allotment) -> _Crowds:
        """Return where pods of the queue that still live together are in an allotment."""
        crowds: dict[str, list[int]] = {}
        alike = not isinstance(allotment.pods, LodgedPods) and allotment.gang is None
        if alike and not allotment.pod.host_ports:
            for number, pod in enumerate(allotment.pods):
                if self._lodged(pod.uid):
                    crowds.setdefault(berth(pod.uid)[0], []).append(number)
        return {uid: numbers for uid, numbers in crowds.items() if len(numbers) >= ALIKE_FROM}

    async def _bind_apart(
        self,
        allotment: Allotment,
        crowds: _Crowds,
        errors: list[StatusError | None],
        revision: int,
        decision: int,
    ) -> None:
        """Bind alone who could not be bound with its cohort: mostly it has just left that."""
        again = [n for n in chain.from_iterable(crowds.values()) if errors[n] is not None]
        binds = self._writes(allotment, revision, decision, again)
        outcomes = await self._patiently(self._store.write_many, binds)
        for number, outcome in zip(again, outcomes, strict=True):
            errors[number] = _error(outcome)

    def _boards(
        self, allotment: Allotment, crowds: _Crowds, revision: int, decision: int
    ) -> list[BindCohort]:
        pods, nodes = allotment.pods, allotment.nodes
        return [
            BindCohort(
                allotment.pod.namespace,
                uid,
                tuple([berth(pods[number].uid)[1] for number in numbers]),
                tuple([nodes[number] for number in numbers]),
                revision,
                allotment.pod.requests.amounts,
                decision,
                self._epoch,
            )
            for uid, numbers in crowds.items()
        ]

    def _writes(
        self,
        allotment: Allotment,
        revision: int,
        decision: int,
        numbers: Iterable[int],
    ) -> list[Bind]:
        pods, nodes = allotment.pods, allotment.nodes
        requests = allotment.pod.requests.amounts
        ports = tuple((p.host_ip, p.protocol, p.port) for p in allotment.pod.host_ports)
        epoch = self._epoch
        return [
            Bind(pod.key, pod.uid, nodes[n], revision, requests, ports, decision, epoch)
            for n, pod in ((n, pods[n]) for n in numbers)
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


def _errors(
    allotment: Allotment,
    crowds: _Crowds,
    bindings: Iterator[StoredObject | StatusError | Fenced],
    boardings: Iterator[Boarding | StatusError | Fenced],
) -> list[StatusError | None]:
    """Return why pods of an allotment were not bound, None for those that were.

    Raises:
        Fenced: another leader has taken over.
    """
    errors: dict[int, StatusError | None] = {}
    for numbers in crowds.values():
        outcome = next(boardings)
        refused = outcome.refused if isinstance(outcome, Boarding) else {}
        failed = None if isinstance(outcome, Boarding) else _error(outcome)
        for number in numbers:
            errors[number] = failed or refused.get(berth(allotment.pods[number].uid)[1])
    for number in range(len(allotment.pods)):
        if number not in errors:
            errors[number] = _error(next(bindings))
    return [errors[number] for number in range(len(allotment.pods))]


def _error(outcome: StoredObject | StatusError | Fenced) -> StatusError | None:
    if isinstance(outcome, Fenced):
        raise outcome
    return outcome if isinstance(outcome, StatusError) else None


def _bound(allotment: Allotment, errors: Sequence[StatusError | None]) -> Bound:
    made = list(zip(allotment.pods, allotment.nodes, errors, strict=True))
    return Bound(
        tuple([pod for pod, _, error in made if error is None]),
        tuple([node for _, node, error in made if error is None]),
        tuple([Refused(pod, error) for pod, _, error in made if error is not None]),
    )


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
