"""Commits plans of Placements, and finds out afterwards what became of a commit.

What is bound is one transaction, its pods or none. Which pods they are is kept before it, so that
who comes after a crash, or after a database that did not answer, can tell by the pods whether it
was made. Decisions are recorded after it: a crash in between loses these records, nothing else.
"""

import asyncio
import logging

from ...errors import Fenced, StatusError, Unavailable
from ...objects.meta import now_seconds
from ...objects.placement_job import PlacementJob
from ...store.assignments import Assignment
from ...store.operations import Bind, BindAll
from ...store.store import Store
from ..plan import Plan
from ..records import decision_records
from .outcome import Outcome

logger = logging.getLogger(__name__)

_PAUSE = 1.0
_PAGE = 10_000
_PODS = "pods"


class Commits:
    """Binds what Placements decided, as the leader of one epoch."""

    def __init__(self, store: Store, epoch: int) -> None:
        self._store = store
        self._epoch = epoch

    async def keep(self, job: PlacementJob, outcome: Outcome) -> None:
        """Keep which pod goes where, for everybody to see."""
        await self._store.record_assignments(job.meta.uid, list(outcome.assignments()))

    async def forget(self, job: PlacementJob) -> None:
        """Forget what was kept: it has not become true."""
        await self._store.record_assignments(job.meta.uid, [])

    async def make(self, job: PlacementJob, plan: Plan) -> StatusError | None:
        """Bind every pod of a plan that is kept, or none; returns why none.

        Raises:
            Fenced: another leader has taken over. Unavailable: what became of it is not known.
        """
        binds: list[Bind] = []
        records = [
            r for a in plan.allotments for r in decision_records(a, now_seconds(), self._epoch)
        ]
        numbers = {(r.digest, r.outcome): r.id for r in records}
        for allotment in plan.allotments:
            requests = allotment.pod.requests.amounts
            ports = tuple((p.host_ip, p.protocol, p.port) for p in allotment.pod.host_ports)
            decision = numbers.get((allotment.pod.key[0], "placed"), 0)
            binds += [
                Bind(pod.key, pod.uid, node, plan.revision, requests, ports, decision)
                for pod, node in zip(allotment.pods, allotment.nodes, strict=True)
            ]
        refused = await self._bind(job, BindAll(tuple(binds), self._epoch, apart=True), plan)
        if refused is None:
            await self._store.record_decisions(records)
        return refused

    async def made(self, job: PlacementJob, revision: int) -> bool:
        """Tell whether the commit of what is kept was made: all its pods are where they should be.

        Args:
            revision: at which its pods existed; those that are gone since say nothing, and those
                that came since are others.

        Raises:
            Unavailable: the database does not answer.
        """
        kept = {each.pod: each.node for each in await self._kept(job.meta.uid)}
        listing = await self._store.list(_PODS, job.meta.namespace)
        stands = [
            each.binding is not None and each.binding.node == kept[name]
            for each in listing.objects
            if (name := f"{each.meta.namespace}/{each.meta.name}") in kept
            and each.created_revision <= revision
        ]
        return bool(stands) and all(stands)

    async def _bind(self, job: PlacementJob, write: BindAll, plan: Plan) -> StatusError | None:
        doubtful = False
        while True:
            try:
                (outcome,) = await self._store.bind_all([write])
            except Unavailable as error:
                doubtful = True
                logger.warning("binding %d pods: %s; trying again", len(write.binds), error)
                await asyncio.sleep(_PAUSE)
                continue
            if isinstance(outcome, Fenced):
                raise outcome
            if not isinstance(outcome, StatusError):
                return None
            if doubtful and await self.made(job, plan.revision):
                return None  # it was, though nobody could say so
            return outcome

    async def _kept(self, uid: str) -> list[Assignment]:
        kept: list[Assignment] = []
        while True:
            page, total = await self._store.assignments_of(uid, len(kept), _PAGE)
            kept += page
            if not page or len(kept) >= total:
                return kept
