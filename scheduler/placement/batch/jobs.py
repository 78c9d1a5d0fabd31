"""Placements: solved one after another, told of while they are, committed if they say so.

Runs while this process leads; a Placement that another leader had begun is begun anew, unless its
commit was made. Nothing is written but its status and assignments until a commit, which is one
transaction that binds every pod or none; once it is under way, nobody cancels the Placement.
Where rules over groups of nodes have a say, nothing is placed online while the plan is held against
the newest state and committed, for the store tells binders apart by nodes. Where the cluster
changed meanwhile, it is solved again on what it is now.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

from msgspec.structs import replace

from ...errors import BadRequest, PluginError, SolverFailed
from ...informer import Delta, Informer
from ...objects.meta import now_seconds
from ...objects.placement_job import (
    RESOURCE,
    Phase,
    PlacementJob,
    PlacementStatus,
    SolverReport,
    placement_job,
)
from ...objects.stored import ObjectKey
from ...plugin_manager import Rules
from ...store.status_write import write_status
from ...store.store import Store
from ..live import Absence
from ..simulator import live_cluster
from ..solver.solution import Goal, Progress
from .attempt import Attempt, Attempts
from .committing import Commits
from .engine import SolverProcess
from .outcome import Outcome
from .preparation import Prepared
from .relocation import Relocation, planned_moves, planned_victims
from .renewal import Renewed, renew
from .valuing import as_text
from .verdict import failure

MOST_ATTEMPTS = 5
_TELL = 0.5  # seconds between two words about progress
_LATE = "spec.cancelled came too late: the pods were being bound"

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
        self._commits = Commits(store, epoch)
        self._jobs = Informer(store, RESOURCE, placement_job)
        self._waiting: deque[ObjectKey] = deque()
        self._news = asyncio.Event()
        self._current: tuple[ObjectKey, asyncio.Task[None]] | None = None
        self._told = PlacementStatus()  # last, of the one that is worked on
        self._binding = False  # it may be bound from one moment to the next: too late to cancel
        self._late = False  # and somebody wanted to
        self._ended: set[str] = set()  # uids of those whose end the informer has not seen

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
                await self._hear(delta)

    async def _hear(self, delta: Delta[PlacementJob]) -> None:
        job = delta.new
        if delta.old is not None and (job is None or job.ended):
            self._ended.discard(delta.old.meta.uid)
        gone = job is None or job.spec.cancelled or job.meta.deletion_timestamp is not None
        if self._current is not None and self._current[0] == delta.key:
            if gone and self._binding:
                self._late = True
            elif gone:
                self._current[1].cancel()
        elif job is not None and job.spec.cancelled and not self._over(job):
            if delta.key in self._waiting:
                self._waiting.remove(delta.key)
            await self._settled(job)
            return
        if job is not None and not job.ended and delta.key not in self._waiting:
            self._waiting.append(delta.key)
            self._news.set()

    def _over(self, job: PlacementJob) -> bool:
        ended = job.ended or job.meta.uid in self._ended
        return ended or job.meta.deletion_timestamp is not None

    async def _take(self, key: ObjectKey, engine: SolverProcess) -> None:
        """Work on one Placement; what becomes of it is in its status."""
        job = self._jobs.items.get(key)
        if job is None or self._over(job):
            return
        self._told, self._late = job.status, False
        self._binding = job.status.phase == Phase.COMMITTING
        task = asyncio.create_task(self._begin(job, engine), name=f"placement {key.name}")
        self._current = (key, task)
        try:
            await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise
            await self._relocation.stop()
            await self._end(job, Phase.CANCELLED, "cancelled", self._told)
        except (BadRequest, PluginError, SolverFailed) as error:
            await self._relocation.stop()
            await self._end(job, Phase.FAILED, str(error), self._told)
        finally:
            task.cancel()
            self._current = None

    async def _begin(self, job: PlacementJob, engine: SolverProcess) -> None:
        if await self._settled(job):
            return
        self._loosen()
        await self._work(job, engine)

    async def _settled(self, job: PlacementJob) -> bool:
        """Do what there is to do without solving, and tell whether that was all.

        A leader before this one may have nominated pods, or have committed and not said so.
        """
        status = replace(job.status, nominated=())
        if job.status.nominated:
            await self._relocation.resume(job.status.nominated)
        committing = job.status.phase == Phase.COMMITTING
        if committing and await self._commits.made(job, job.stored.revision):
            message = _LATE if job.spec.cancelled else status.message
            await self._end(job, Phase.COMMITTED, message, status)
            return True
        if job.status.attempts:
            await self._commits.forget(job)
        if job.spec.cancelled:
            await self._end(job, Phase.CANCELLED, "cancelled", status)
        return job.spec.cancelled

    def _loosen(self) -> None:
        """Let the Placement be cancelled from now on, at once if somebody wanted to."""
        self._binding = False
        if self._late and self._current is not None:
            self._current[1].cancel()

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
            failed = failure(tried.prepared, tried.outcome)
            if failed is not None:
                await self._end(job, *failed, status)
                return
            if job.spec.mode != "commit":
                await self._commits.keep(job, tried.outcome)
                await self._end(job, Phase.PLANNED, status.message, status)
                return
            status, why = await self._carry_out(job, tried, rules, status)
            await self._relocation.stop()
            status = replace(status, nominated=())
            if not why:
                said = (status.message, _LATE if self._late else "")
                message = "; ".join(filter(None, said))
                await self._end(job, Phase.COMMITTED, message, status)
                return
            self._loosen()
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
        async with self._still() if tried.prepared.model.coupled else nullcontext():
            renewed = await self._renew(job, tried.outcome, rules)
            if renewed.outcome is None:
                return status, renewed.why
            self._binding = True
            await self._commits.keep(job, renewed.outcome)
            told = _told(status, tried.prepared, renewed.outcome)
            await self._tell(job, replace(told, phase=Phase.COMMITTING))
            refused = await self._commits.make(job, renewed.outcome.plan)
        if refused is not None:
            await self._commits.forget(job)
            return status, str(refused)
        return told, ""

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

    async def _end(
        self, job: PlacementJob, phase: Phase, message: str, status: PlacementStatus
    ) -> None:
        end = now_seconds()
        status = replace(status, nominated=(), phase=phase, message=message, completion_time=end)
        known = self._jobs.get(job.meta.namespace, job.meta.name)
        if known is not None and known.meta.uid == job.meta.uid:  # who is gone is not heard of
            self._ended.add(job.meta.uid)
        await self._write(job, status)

    async def _tell(self, job: PlacementJob, status: PlacementStatus) -> None:
        """Write the status of the Placement that is worked on."""
        await self._write(job, status)
        self._told = status

    async def _write(self, job: PlacementJob, status: PlacementStatus) -> None:
        """Write a status; one that was deleted meanwhile needs none."""
        status = replace(status, observed_generation=job.meta.generation)
        key = ObjectKey(RESOURCE, job.meta.namespace, job.meta.name)
        await write_status(self._store, key, job.meta.uid, status, self._epoch)


def _told(status: PlacementStatus, prepared: Prepared, outcome: Outcome) -> PlacementStatus:
    clearance = outcome.clearance
    return replace(
        status,
        pods=prepared.pods,
        placed=outcome.placed,
        hosts_used=outcome.hosts_used,
        solver=outcome.solver,
        unplaced=outcome.unplaced,
        message="; ".join([*prepared.notes, *outcome.violations]),
        moves=planned_moves(clearance) if clearance is not None else (),
        victims=planned_victims(clearance) if clearance is not None else (),
    )


def _heard(prepared: Prepared, last: Progress) -> SolverReport:
    """Return how far the solver is."""
    name = prepared.names[last.goal] if last.goal >= 0 else "what is demanded"
    maximised = last.value <= last.bound  # which nobody sees in a gap
    reached = as_text(Goal(name, last.value, last.bound, maximised))
    tried = f"{last.tried:,} changes tried" if last.tried else ""
    return SolverReport("", last.phase, (reached,), f"{last.seconds:.1f}", tried)
