"""Rebalances at work: planned now and then, carried out move by move where they say so.

Runs while this process leads. A move is begun by writing it into the status first and marking the
pod after; so another process that takes over knows of every move, and of the budget used up. When a
Rebalance is changed or deleted, what is being done for it is broken off and its marks are taken
back.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
from msgspec.structs import replace

from ...errors import BadRequest, PluginError, SolverFailed, Unavailable
from ...informer import Informer
from ...objects.json import Json
from ...objects.node import Node
from ...objects.pod import LabelSelector, Pod
from ...objects.pod_class import PodClass
from ...objects.rebalance_job import (
    RESOURCE,
    Phase,
    RebalanceJob,
    RebalanceStatus,
    rebalance_job,
)
from ...objects.selectors import EVERYTHING, Selector, from_label_selector
from ...objects.stored import ObjectKey
from ...plugin_manager import Rules
from ...store.store import Store
from ..batch.engine import SolverProcess
from ..live import Absence
from ..scenario import Scenario, ScenarioPod
from ..simulator import live_cluster
from ..solver.solution import Progress, Solution
from ..status_write import write_status
from .floor import Floor
from .lookout import Lookout
from .marks import Marks
from .movability import Scope, resting_since
from .planner import Aim, Planning, Question, RebalancePlan, plan
from .progress import allowance, beginning, settled, told

logger = logging.getLogger(__name__)

_LOOK = 0.5  # seconds between two looks at moves that have begun
_PATIENCE = 10.0  # seconds until moves that could not begin are tried again
_LONG = 60.0
_PAUSE = 1.0


class Rebalances:
    """Works on Rebalances as the leader of one epoch, one at a time.

    Args:
        rules: what runs, by schedulerName.
        marks: shared with everybody who has pods moved.
        pods: an informer that somebody else runs, indexed by NODE and marks.MOVING.
        nodes: likewise.
    """

    def __init__(
        self,
        store: Store,
        rules: Mapping[str, Rules],
        epoch: int,
        *,
        marks: Marks,
        pods: Informer[Pod],
        nodes: Informer[Node],
    ) -> None:
        self._store = store
        self._rules = rules
        self._epoch = epoch
        self._pods = pods
        self._nodes = nodes
        self._jobs = Informer(store, RESOURCE, rebalance_job)
        self._marks = marks
        self._see = Lookout(pods, nodes).see
        self._statuses: dict[str, RebalanceStatus] = {}  # by uid; newer than the informer's
        self._current: tuple[RebalanceJob, asyncio.Task[float]] | None = None
        self._news = asyncio.Event()
        self._engine = SolverProcess()

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            ExceptionGroup: of Fenced, when another leader has taken over; of a bug.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._jobs.run(), name="informer of rebalances")
                group.create_task(self._follow(), name="rebalances follow")
                for informer in (self._jobs, self._pods, self._nodes):
                    await informer.synced()
                while True:
                    self._news.clear()
                    pause = await self._round()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._news.wait()
        finally:
            await self._engine.close()

    async def _follow(self) -> None:
        async for deltas in self._jobs.subscribe():
            for delta in deltas:
                current, new = self._current, delta.new
                if current is not None and current[0].meta.name == delta.key.name:
                    generation = new.meta.generation if new is not None else -1
                    if generation != current[0].meta.generation:
                        current[1].cancel()
                if delta.old is None or new is None or new.meta != delta.old.meta:
                    self._news.set()

    async def _round(self) -> float:
        """Look at every Rebalance; returns after how many seconds to look again."""
        pause = _LONG
        known = {job.meta.uid for job in self._jobs.items.values()}
        self._statuses = {uid: each for uid, each in self._statuses.items() if uid in known}
        try:
            await self._mark()
            for job in sorted(self._jobs.items.values(), key=lambda job: job.meta.name):
                pause = min(pause, await self._take(job))
            await self._mark()
        except Unavailable as error:
            logger.warning("rebalancing waits: %s; trying again in %g s", error, _PAUSE)
            return _PAUSE
        return pause

    async def _mark(self) -> None:
        acting = [job for job in self._jobs.items.values() if job.acts]
        active = [move for job in acting for move in self._status(job).active]
        returnable = {
            host: job.meta.name for job in acting for host in self._status(job).returnable
        }
        self._marks.want_moves(RESOURCE, active)
        self._marks.want_empty(returnable)
        await self._marks.settle()

    def _status(self, job: RebalanceJob) -> RebalanceStatus:
        return self._statuses.get(job.meta.uid, job.status)

    async def _take(self, job: RebalanceJob) -> float:
        task = asyncio.create_task(self._work(job), name=f"rebalance {job.meta.name}")
        self._current = (job, task)
        try:
            return await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise
            return 0.0
        except (BadRequest, PluginError, SolverFailed) as error:
            now, interval = datetime.now(UTC), job.spec.interval_seconds
            due = now + timedelta(seconds=interval)
            failed = replace(
                self._status(job), phase=Phase.FAILED, message=str(error), next_plan_time=due
            )
            await self._tell(job, failed)
            return float(interval)
        finally:
            task.cancel()
            self._current = None

    async def _work(self, job: RebalanceJob) -> float:
        """Do what is next for one Rebalance; returns after how many seconds to look again."""
        now = _now()
        status = self._status(job)
        if status.observed_generation != job.meta.generation:
            status = replace(status, moves=(), next_plan_time=None)
        if not job.acts:
            status = replace(status, active=())
        status = settled(status, job.spec, self._see, now)
        if job.spec.suspended:
            quiet = replace(status, phase=Phase.SUSPENDED, message="", moves=(), returnable=())
            await self._tell(job, quiet)
            return _LONG
        await self._tell(job, status)
        due = status.next_plan_time is None or now >= status.next_plan_time
        if due and not status.active:
            status = await self._planned(job, status)
            await self._tell(job, status)
        if job.acts and status.moves:
            return await self._begin(job, status)
        if status.active:
            return _LOOK
        return max(_LOOK, _until(status.next_plan_time))

    async def _planned(self, job: RebalanceJob, status: RebalanceStatus) -> RebalanceStatus:
        cluster = await live_cluster(self._store, Absence())
        scope = _scope(job)
        filters = self._rules_of(job).filters
        floor = await asyncio.to_thread(Floor, cluster, filters, scope)
        end = time.monotonic() + job.spec.deadline_seconds
        waiting = tuple(_waiting(cluster, scope)) if job.spec.make_room else ()
        aim = Aim(job.spec.moves_per_host, waiting, lambda: time.monotonic() > end)
        found = await self._solve(plan(floor, aim), job.spec.deadline_seconds)
        return told(status, found, job.spec, _now())

    async def _solve(self, planning: Planning, seconds: float) -> RebalancePlan:
        """Carry questions to the solver and answers back."""
        answer: Solution | None = None
        try:
            while True:
                asked = await asyncio.to_thread(_send, planning, answer)
                if isinstance(asked, RebalancePlan):
                    return asked
                limit = max(0.5, asked.share * seconds)
                answer = await self._engine.solve(asked.problem, limit, _unheard)
        finally:
            await self._engine.close()  # it is not needed for minutes

    async def _begin(self, job: RebalanceJob, status: RebalanceStatus) -> float:
        others = [o for o in self._jobs.items.values() if o.acts and o.meta.uid != job.meta.uid]
        if any(self._status(other).active for other in others):
            waits = replace(status, phase=Phase.WAITING, message="another Rebalance is moving pods")
            await self._tell(job, waits)
            return _LOOK
        most, why = allowance(status, job.spec, _now())
        if not most:
            phase = Phase.MOVING if status.active or not why else Phase.WAITING
            await self._tell(job, replace(status, phase=phase, message=why))
            return _LOOK if status.active else _PATIENCE
        cluster = await live_cluster(self._store, Absence())
        filters = self._rules_of(job).filters
        found = await asyncio.to_thread(beginning, status, cluster, filters, _scope(job), most)
        now = _now()
        status = replace(
            status,
            moves=found.left,
            active=(*status.active, *(replace(move, since=now) for move in found.now)),
            begun=(*status.begun, *(now for _ in found.now)),
            phase=Phase.MOVING if found.now or status.active else Phase.WAITING,
            message=found.stale and f"planned again, because {found.stale}",
        )
        if found.left and not found.now and not status.active:
            status = replace(status, message="disruption budgets allow no move now")
        await self._tell(job, status)
        await self._mark()
        return _LOOK if status.active else _PATIENCE

    def _rules_of(self, job: RebalanceJob) -> Rules:
        rules = self._rules.get(job.spec.profile)
        if rules is None:
            raise BadRequest(
                f"spec.profile is {job.spec.profile!r}; there are {', '.join(sorted(self._rules))}"
            )
        return rules

    async def _tell(self, job: RebalanceJob, status: RebalanceStatus) -> None:
        """Remember and write a status, if it is news."""
        status = replace(status, observed_generation=job.meta.generation)
        if status == self._status(job):
            return
        self._statuses[job.meta.uid] = status
        key = ObjectKey(RESOURCE, "", job.meta.name)
        await write_status(self._store, key, job.meta.uid, status, self._epoch)


def _send(planning: Planning, answer: Solution | None) -> Question | RebalancePlan:
    try:
        return planning.send(answer)
    except StopIteration as done:
        return cast(RebalancePlan, done.value)


def _unheard(_: Progress) -> None:
    return


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _until(at: datetime | None) -> float:
    return 0.0 if at is None else (at - datetime.now(UTC)).total_seconds()


def _scope(job: RebalanceJob) -> Scope:
    spec = job.spec
    return Scope(
        hosts=_selector(spec.hosts.selector),
        pods=_selector(spec.pods.selector),
        namespaces=frozenset(spec.pods.namespaces),
        rested=resting_since(_now(), spec.rest_seconds),
        profile=spec.profile,
    )


def _selector(given: LabelSelector | None) -> Selector:
    if given is None or not (given.match_labels or given.match_expressions):
        return EVERYTHING
    return from_label_selector(cast(Json, msgspec.to_builtins(given)))


def _waiting(cluster: Scenario, scope: Scope) -> Iterator[tuple[ObjectKey, PodClass]]:
    """Yield the pods that placement has found no node for, the most important first."""
    parked = [pod for pod in cluster.pending if _is_parked(pod, scope)]
    for pod in sorted(parked, key=lambda pod: -pod.wanted.priority):
        yield pod.key, pod.wanted


def _is_parked(each: ScenarioPod, scope: Scope) -> bool:
    pod = each.pod
    condition = pod.status.condition("PodScheduled")
    return (
        condition is not None
        and condition.reason == "Unschedulable"
        and not each.wanted.group
        and pod.spec.scheduler_name == scope.profile
        and (not scope.namespaces or pod.meta.namespace in scope.namespaces)
    )
