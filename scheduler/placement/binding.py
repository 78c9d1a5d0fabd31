"""Writes a plan's bindings and says what became of each pod.

A plan is written together but every pod stands for itself: a conflict concerns that pod only. While
the database does not answer the outcome is unknown, so the pods stay assumed and the same writes
are made again; a second binding of a pod is refused, so nothing is doubled.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import Fenced, StatusError, Unavailable
from ..store.operations import Bind, Write
from ..store.store import Store
from .plan import Allotment, PendingPod, Plan

logger = logging.getLogger(__name__)

_PAUSE = 1.0


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

    pods: tuple[PendingPod, ...]
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
        writes: list[Write] = []
        for allotment, decision in zip(plan.allotments, decisions, strict=True):
            writes += self._writes(allotment, plan.revision, decision)
        outcomes = iter(await self._write(writes))
        results: list[Bound] = []
        for allotment in plan.allotments:
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
            results.append(Bound(tuple(pods), tuple(nodes), tuple(refused)))
        return results

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

    async def _write(self, writes: Sequence[Write]) -> Sequence[object]:
        while True:
            try:
                return await self._store.write_many(writes)
            except Unavailable as error:
                logger.warning(
                    "binding %d pods: %s; trying again in %g s", len(writes), error, _PAUSE
                )
                await asyncio.sleep(_PAUSE)
