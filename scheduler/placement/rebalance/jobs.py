"""Rebalances at work: planned now and then, carried out move by move where they say so.

Runs while this process leads. A move is begun by writing it into the status first and marking the
pod after; so another process that takes over knows of every move, and of the budget used up. When a
Rebalance is changed or deleted, what is being done for it is broken off and its marks are taken
back.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from msgspec.structs import replace

from ...errors import BadRequest, PluginError, SolverFailed, Unavailable
from ...informer import Informer
from ...objects.rebalance_job import (
    MOST_HOPELESS,
    RESOURCE,
    Phase,
    RebalanceJob,
    RebalanceStatus,
    rebalance_job,
)
from ...objects.stored import ObjectKey
from ...plugin_manager import Rules
from ...store.status_write import write_status
from ...store.store import Store
from ..batch.engine import SolverProcess
from ..live import Absence
from ..plan import PendingPod
from ..simulator import live_cluster
from ..solver.solution import Progress, Solution
from .asked import objective_of, scope_of, shapes_of
from .floor import Floor
from .improving import pays
from .lookout import Lookout
from .marks import Marks
from .plan import NOTHING, Aim, Planning, Question, RebalancePlan
from .planner import plan
from .progress import Beginning, allowance, beginning, settled, told
from .waiting import waiting

logger = logging.getLogger(__name__)

_LOOK = 0.5  # seconds between two looks at moves that have begun
_PATIENCE = 10.0  # seconds until moves that could not begin are tried again
_LONG = 60.0
_REPAIR = 10.0  # seconds between two plans for the sake of pods that wait, at least
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """The pods that placement finds no node for.

    Args:
        count: how many there are now.
        report: says that it is proved of one that nothing gives it a node.
    """

    count: Callable[[], int]
    report: Callable[[PendingPod, str], None]


class Rebalances:
    """Works on Rebalances as the leader of one epoch, one at a time.

    Args:
        rules: what runs, by schedulerName.
        marks: shared with everybody who has pods moved.
        unschedulable: the pods that placement finds no node for.
    """

    def __init__(
        self,
        store: Store,
        rules: Mapping[str, Rules],
        epoch: int,
        *,
        marks: Marks,
        unschedulable: Unschedulable,
        lookout: Lookout,
    ) -> None:
        self._store = store
        self._rules = rules
        self._epoch = epoch
        self._jobs = Informer(store, RESOURCE, rebalance_job)
        self._marks = marks
        self._unschedulable = unschedulable
        self._looked: dict[str, int] = {}  # by uid, how many waited when it was last planned
        self._lookout = lookout
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
                await self._jobs.synced()
                await self._lookout.synced()
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
        self._looked = {uid: each for uid, each in self._looked.items() if uid in known}
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
        status = settled(status, job.spec, self._lookout.see, now)
        if job.spec.suspended:
            quiet = replace(status, phase=Phase.SUSPENDED, message="", moves=(), returnable=())
            await self._tell(job, quiet)
            return _LONG
        await self._tell(job, status)
        if self._is_due(job, status, now) and not status.active:
            status = await self._planned(job, status)
            await self._tell(job, status)
        if job.acts and status.moves:
            return await self._begin(job, status)
        if status.active:
            return _LOOK
        pause = max(_LOOK, _until(status.next_plan_time))
        return min(pause, _REPAIR) if job.spec.make_room else pause

    def _is_due(self, job: RebalanceJob, status: RebalanceStatus, now: datetime) -> bool:
        """Tell whether to plan: in its time, or sooner where other pods wait than did then."""
        if status.next_plan_time is None or now >= status.next_plan_time:
            return True
        parked, last = self._unschedulable.count(), status.last_plan_time
        if not job.spec.make_room or not parked or last is None:
            return False
        rested = (now - last).total_seconds() >= _REPAIR
        return rested and parked != self._looked.get(job.meta.uid)

    async def _planned(self, job: RebalanceJob, status: RebalanceStatus) -> RebalanceStatus:
        parked = self._looked[job.meta.uid] = self._unschedulable.count()
        if job.spec.goal == "none" and not parked:
            return told(status, NOTHING, job.spec, _now())
        cluster = await live_cluster(self._store, Absence())
        scope = scope_of(job, _now())
        rules = self._rules_of(job)
        end = time.monotonic() + job.spec.deadline_seconds

        def begin() -> Planning:
            floor = Floor(cluster, rules.filters, scope, rules.batch)
            wanted = waiting(cluster, scope)
            aim = Aim(
                job.spec.moves_per_host,
                tuple(wanted) if job.spec.make_room else (),
                empties=job.spec.goal == "consolidate",
                shapes=shapes_of(job, wanted, floor, cluster.priorities),
                objective=objective_of(job, rules),
                over=lambda: time.monotonic() > end,
            )
            return plan(floor, aim)

        found = await self._solve(await asyncio.to_thread(begin), job.spec.deadline_seconds)
        for pod, proof in found.hopeless[:MOST_HOPELESS]:
            self._unschedulable.report(pod, proof)
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
        rules, now = self._rules_of(job), _now()
        scope, objective = scope_of(job, now), objective_of(job, rules)

        def begin() -> Beginning:
            if objective and status.goals and not status.active:
                floor = Floor(cluster, rules.filters, scope, rules.batch)
                if not pays(floor, objective, status.moves):
                    return Beginning((), (), "its moves would make nothing better any more")
            return beginning(status, cluster, rules.filters, scope, most, rules.batch)

        found = await asyncio.to_thread(begin)
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
