"""Placements: solved one after another, told of while they are, committed if they say so.

Runs while this process leads; a Placement that another leader had begun is begun anew. Nothing is
written but its status and assignments until a commit, which is one transaction that binds every
pod or none. Where rules over groups of nodes have a say, nothing is placed online while the plan is
held against the newest state and committed, for the store tells binders apart by nodes. Where the
cluster changed meanwhile, it is solved again on what it is now.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

from msgspec.structs import replace

from ...errors import (
    BadRequest,
    Fenced,
    PluginError,
    SolverFailed,
    StatusError,
    Unavailable,
)
from ...informer import Informer
from ...objects.meta import now_seconds
from ...objects.placement_job import (
    RESOURCE,
    Phase,
    PlacementJob,
    PlacementStatus,
    Reached,
    SolverReport,
    placement_job,
)
from ...objects.stored import ObjectKey
from ...plugin_manager import Rules
from ...store.operations import MOST_BOUND, Bind, BindAll
from ...store.status_write import write_status
from ...store.store import Store
from ..live import Absence
from ..plan import Plan
from ..records import decision_records
from ..simulator import live_cluster
from ..solver.solution import Progress, Status
from .attempt import Attempt, Attempts
from .engine import SolverProcess
from .outcome import Outcome
from .preparation import Prepared
from .relocation import Relocation, planned_moves, planned_victims
from .renewal import Renewed, renew
from .valuing import decimal_text

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 5
_TELL = 0.5  # seconds between two words about progress
_PAUSE = 1.0

Still = Callable[[], AbstractAsyncContextManager[None]]


class Placements:
    """Works on Placements as the leader of one epoch.

    Args:
        rules: what runs, by schedulerName.
        relocation: has running pods make room.
        still: has the leader's placement decide nothing for as long as it is entered.
    """

    def __init__(
        self,
        store: Store,
        rules: Mapping[str, Rules],
        epoch: int,
        relocation: Relocation,
        still: Still,
    ) -> None:
        self._store = store
        self._rules = rules
        self._relocation = relocation
        self._still = still
        self._epoch = epoch
        self._jobs = Informer(store, RESOURCE, placement_job)
        self._waiting: deque[ObjectKey] = deque()
        self._news = asyncio.Event()
        self._current: tuple[ObjectKey, asyncio.Task[None]] | None = None
        self._told: PlacementStatus | None = None  # last, of the one that is worked on

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            ExceptionGroup: of Fenced, when another leader has taken over; of a bug.
        """
        engine = SolverProcess()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._jobs.run(), name="informer of placements")
                group.create_task(self._follow(), name="placements follow")
                while True:
                    while self._waiting:
                        await self._take(self._waiting.popleft(), engine)
                    self._news.clear()
                    await self._news.wait()
        finally:
            await engine.close()

    async def _follow(self) -> None:
        async for deltas in self._jobs.subscribe():
            for delta in deltas:
                job = delta.new
                gone = job is None or job.spec.cancelled or job.meta.deletion_timestamp is not None
                if gone and self._current is not None and self._current[0] == delta.key:
                    self._current[1].cancel()
                if job is not None and not job.ended and delta.key not in self._waiting:
                    self._waiting.append(delta.key)
                    self._news.set()

    async def _take(self, key: ObjectKey, engine: SolverProcess) -> None:
        """Work on one Placement; what becomes of it is in its status."""
        self._told = None
        job = self._jobs.items.get(key)
        if job is None or job.ended or job.meta.deletion_timestamp is not None:
            return
        if job.status.nominated:  # by a leader that is gone
            await self._relocation.resume(job.status.nominated)
        if job.spec.cancelled:
            await self._end(job, Phase.CANCELLED, "cancelled")
            return
        task = asyncio.create_task(self._work(job, engine), name=f"placement {key.name}")
        self._current = (key, task)
        try:
            await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise
            await self._relocation.stop()
            await self._end(job, Phase.CANCELLED, "cancelled")
        except (BadRequest, PluginError, SolverFailed) as error:
            await self._relocation.stop()
            await self._end(job, Phase.FAILED, str(error))
        finally:
            task.cancel()
            self._current = None

    async def _work(self, job: PlacementJob, engine: SolverProcess) -> None:
        rules = self._rules.get(job.spec.profile)
        if rules is None:
            raise BadRequest(
                f"spec.profile is {job.spec.profile!r}; there are {', '.join(sorted(self._rules))}"
            )
        attempts = Attempts(self._store, rules, engine)
        before = job.status  # another leader may have begun it
        status = PlacementStatus(
            Phase.SOLVING,
            start_time=now_seconds(),
            moved=before.moved,
            evicted=before.evicted,
        )
        why = ""
        for attempt in range(1, MOST_ATTEMPTS + 1):
            status = replace(status, phase=Phase.SOLVING, attempts=attempt, message=why)
            await self._tell(job, status)
            tried = await self._try(job, attempts, status)
            status = _told(status, tried.prepared, tried.outcome)
            if tried.outcome.solver.status == Status.INFEASIBLE or not tried.outcome.placed:
                await self._end(job, Phase.INFEASIBLE, tried.outcome.solver.reason, status)
                return
            if job.spec.mode != "commit":
                await self._keep(job, tried.outcome)
                await self._end(job, Phase.PLANNED, status.message, status)
                return
            status, why = await self._carry_out(job, tried, rules, status)
            await self._relocation.stop()
            status = replace(status, nominated=())
            if not why:
                await self._end(job, Phase.COMMITTED, status.message, status)
                return
            why = f"solved again, because the cluster had changed: {why}"
        await self._end(
            job, Phase.FAILED, f"given up after {MOST_ATTEMPTS} attempts; {why}", status
        )

    async def _carry_out(
        self, job: PlacementJob, tried: Attempt, rules: Rules, status: PlacementStatus
    ) -> tuple[PlacementStatus, str]:
        """Have room made and bind; returns why nothing was bound, "" if it was."""
        if tried.outcome.clearance is not None:
            status = replace(status, phase=Phase.CLEARING)
            await self._tell(job, status)
            cleared = await self._relocation.run(
                job, tried.outcome, rules, status, lambda told: self._tell(job, told)
            )
            status = cleared.status
            if cleared.why:
                return status, cleared.why
        status = replace(status, phase=Phase.COMMITTING)
        await self._tell(job, status)
        async with self._still() if tried.prepared.model.coupled else nullcontext():
            renewed = await self._renew(job, tried.outcome, rules)
            if renewed.outcome is None:
                return status, renewed.why
            refused = await self._commit(renewed.outcome.plan)
        if refused is not None:
            return status, str(refused)
        await self._keep(job, renewed.outcome)
        return _told(status, tried.prepared, renewed.outcome), ""

    async def _try(self, job: PlacementJob, attempts: Attempts, status: PlacementStatus) -> Attempt:
        latest: list[tuple[Prepared, Progress]] = []
        telling = asyncio.create_task(self._tell_progress(job, status, latest))
        given = job.spec.limits
        limits = replace(
            given,
            max_moves=max(0, given.max_moves - status.moved),
            max_preemptions=max(0, given.max_preemptions - status.evicted),
        )
        try:
            return await attempts.run(
                job, limits, lambda asked, progress: latest.append((asked, progress))
            )
        finally:
            telling.cancel()

    async def _tell_progress(
        self, job: PlacementJob, status: PlacementStatus, heard: list[tuple[Prepared, Progress]]
    ) -> None:
        while True:
            await asyncio.sleep(_TELL)
            if not heard:
                continue
            prepared, last = heard[-1]
            heard.clear()
            report = _heard(prepared, last)
            await self._tell(job, replace(status, pods=prepared.pods, solver=report))

    async def _renew(self, job: PlacementJob, outcome: Outcome, rules: Rules) -> Renewed:
        """Hold a plan against the newest state."""
        cluster = await live_cluster(self._store, Absence())
        if cluster.revision == outcome.plan.revision:
            return Renewed(outcome)
        return await asyncio.to_thread(renew, job, outcome, cluster, rules)

    async def _commit(self, plan: Plan) -> StatusError | None:
        """Bind every pod of a plan or none; returns why none."""
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
        if len(binds) > MOST_BOUND:
            raise BadRequest(
                f"{len(binds)} pods would be bound together, and at most {MOST_BOUND} can be; "
                "choose fewer by spec.pods.selector"
            )
        outcome = await self._bind(BindAll(tuple(binds), self._epoch, apart=True))
        if outcome is None:
            await self._store.record_decisions(records)
        return outcome

    async def _bind(self, write: BindAll) -> StatusError | None:
        while True:
            try:
                (outcome,) = await self._store.bind_all([write])
            except Unavailable as error:
                logger.warning("binding %d pods: %s; trying again", len(write.binds), error)
                await asyncio.sleep(_PAUSE)
                continue
            if isinstance(outcome, Fenced):
                raise outcome
            return outcome if isinstance(outcome, StatusError) else None

    async def _keep(self, job: PlacementJob, outcome: Outcome) -> None:
        await self._store.record_assignments(job.meta.uid, list(outcome.assignments()))

    async def _end(
        self, job: PlacementJob, phase: Phase, message: str, status: PlacementStatus | None = None
    ) -> None:
        begun = replace(status or self._told or job.status, nominated=())
        await self._tell(
            job, replace(begun, phase=phase, message=message, completion_time=now_seconds())
        )

    async def _tell(self, job: PlacementJob, status: PlacementStatus) -> None:
        """Write a status; one that was deleted meanwhile needs none."""
        status = replace(status, observed_generation=job.meta.generation)
        key = ObjectKey(RESOURCE, job.meta.namespace, job.meta.name)
        await write_status(self._store, key, job.meta.uid, status, self._epoch)
        self._told = status


def _told(status: PlacementStatus, prepared: Prepared, outcome: Outcome) -> PlacementStatus:
    clearance = outcome.clearance
    return replace(
        status,
        pods=prepared.pods,
        placed=outcome.placed,
        hosts_used=outcome.hosts_used,
        solver=outcome.solver,
        unplaced=outcome.unplaced,
        message="; ".join(outcome.violations),
        moves=planned_moves(clearance) if clearance is not None else (),
        victims=planned_victims(clearance) if clearance is not None else (),
    )


def _heard(prepared: Prepared, last: Progress) -> SolverReport:
    """Return how far the solver is."""
    name = prepared.names[last.goal] if last.goal >= 0 else "what is demanded"
    reached = Reached(name, decimal_text(last.value), decimal_text(last.bound), "")
    tried = f"{last.tried:,} changes tried" if last.tried else ""
    return SolverReport("", last.phase, (reached,), f"{last.seconds:.1f}", tried)
