"""The scheduling cycle: what waits is placed, checked, bound and reported.

Deciding is synchronous and takes milliseconds; writing bindings overlaps with the next decisions.
Pods decided but not yet confirmed are assumed, so decisions never wait for the database and never
count on room that has been given away.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from ..hookspecs import Change, PodClass
from ..informer import AnyDelta, Delta, Informer, Subscription
from ..objects.meta import now_seconds
from ..objects.node import Node
from ..objects.pod import Pod
from ..objects.stored import StoredObject
from ..plugin_manager import Rules
from ..snapshot import Snapshot
from ..store.store import Store
from . import batches
from .batches import Batches, Waiting
from .binding import Binder, Bound, Refused
from .checker import check, grouped
from .displacement import Displaced, Displacement
from .draft import Draft
from .express import ExpressLane
from .framework import Framework
from .gang_preemption import Search
from .gang_search import place_together
from .gangs import Gangs, Muster
from .ingest import Ingest
from .measures import ERROR, SCHEDULED, UNSCHEDULABLE, Attempt, Laps, PlacementMeasures
from .nominations import Nominations
from .orders import Order
from .plan import Allotment, Gang, LodgedPods, PendingPod, Plan, without_left
from .preemption import NEVER
from .queue import SchedulingQueue
from .records import decision_records
from .reporting import Reporter
from .scribe import Scribe
from .state import ClusterState
from .surroundings import Surroundings
from .tenants import Tenants
from .topology_check import CountedNodes

logger = logging.getLogger(__name__)

NAMED = 100  # pods of a cohort that get an Event of their own
PLANS_IN_FLIGHT = 4
_REMEMBERED = 4096  # classes whose last outcome is known


class Placement:
    """Places pods as the leader of one epoch.

    Args:
        store: where bindings, events and decisions go.
        rules: what runs, by schedulerName.
        epoch: of the leadership this runs under; every write carries it.
        pods, nodes: informers that somebody else runs; pods indexed by tenants.NODE.
        measures: where it counts what it does.
    """

    def __init__(
        self,
        store: Store,
        rules: Mapping[str, Rules],
        epoch: int,
        *,
        pods: Informer[Pod],
        nodes: Informer[Node],
        measures: PlacementMeasures | None = None,
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._pods = pods
        self._nodes = nodes
        self._clock = time.monotonic
        self.measures = measures or PlacementMeasures()
        self._rules = rules
        self._frameworks = {
            name: Framework(each.filters, each.scorers) for name, each in rules.items()
        }
        self._surroundings = Surroundings(store)
        self._state = ClusterState()
        self._tenants = Tenants(pods, self._state)
        self.queue = SchedulingQueue()
        self.reporter = Reporter(store, pods, epoch)
        self._scribe = Scribe(store, self._frameworks, self._clock)
        self._express = ExpressLane()
        report = self.reporter.unschedulable
        self.gangs = Gangs(self.queue, report)
        nominations = Nominations(self.gangs.stands)
        budgets = self._surroundings.budgets
        self._displacement = Displacement(store, epoch, pods, budgets, self.reporter, nominations)
        waiting = Waiting(self.queue, self._express, self.gangs)
        self._ingest = Ingest(self._state, waiting, report, rules, nominations)
        self._batches = Batches(waiting, nominations, report, self._clock)
        self._binder = Binder(store, epoch, pods.lodged)
        self._pod_deltas = pods.subscribe_whole()
        self._node_deltas: Subscription[Node] = nodes.subscribe()
        self._namespace_deltas = self._surroundings.namespaces.subscribe()
        self._workload_deltas = [each.subscribe() for each in self._surroundings.selecting]
        self._group_deltas = self._surroundings.groups.subscribe()
        self._storage_deltas = [each.subscribe() for each in self._surroundings.storage]
        self._manifest_deltas = self._surroundings.manifests.subscribe()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(PLANS_IN_FLIGHT)
        self._in_flight = 0
        self._settled, self._open = asyncio.Event(), asyncio.Event()
        self._settled.set()
        self._open.set()
        self._said: dict[PodClass, str] = {}
        self._counted = CountedNodes()

    async def run(self) -> None:
        """Place pods until cancelled.

        Raises:
            ExceptionGroup: of Fenced, when another leader has taken over; of a bug.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._surroundings.run(), name="placement's surroundings")
            await self._surroundings.synced()
            await self._nodes.synced()
            await self._pods.synced()
            self._drain()
            group.create_task(self.reporter.run(), name="placement reports")
            group.create_task(self._scribe.run(), name="placement explanations")
            group.create_task(self._follow_nodes(), name="placement nodes")
            group.create_task(self._follow_pods(), name="placement pods")
            group.create_task(self._follow_namespaces(), name="placement namespaces")
            group.create_task(self._follow_groups(), name="placement groups")
            group.create_task(self._follow_manifests(), name="placement image manifests")
            for deltas in self._storage_deltas:
                group.create_task(self._follow_storage(deltas), name="placement storage")
            while True:
                await self._slots.acquire()
                await self._something_to_do()
                while not self._open.is_set():
                    await self._open.wait()
                    await self._pods.reached(await self._binder.revision())
                plan, orders, seen, attempt = self._decide()
                self._in_flight += 1
                self._settled.clear()
                binding = self._apply(plan, seen, attempt)
                group.create_task(binding, name=f"bind at {plan.revision}")
                if orders:
                    name = f"preempt at {plan.revision}"
                    group.create_task(self._displace(orders), name=name)
                await self._breathe(time.perf_counter() - attempt.started)

    @asynccontextmanager
    async def still(self) -> AsyncGenerator[None]:
        """Decide nothing until the caller is done; what was decided before is bound or refused.

        For a binder whose rules are about the whole cluster: the store tells two binders apart by
        nodes only. What he binds is known before the next decision.
        """
        self._open.clear()
        try:
            await self._settled.wait()
            yield
        finally:
            self._open.set()

    async def _follow_nodes(self) -> None:
        async for deltas in self._node_deltas:
            self._take_nodes(deltas)
            self._wake.set()

    async def _follow_pods(self) -> None:
        async for deltas in self._pod_deltas:
            self._take_pods(deltas)
            self._wake.set()

    async def _follow_namespaces(self) -> None:
        async for deltas in self._namespace_deltas:
            self._ingest.namespaces(deltas)
            self._wake.set()

    async def _follow_groups(self) -> None:
        async for deltas in self._group_deltas:
            self._ingest.groups(deltas)
            self._wake.set()

    async def _follow_manifests(self) -> None:
        async for deltas in self._manifest_deltas:
            self._ingest.manifests(deltas)
            self._wake.set()

    async def _follow_storage(self, subscription: Subscription[StoredObject]) -> None:
        async for deltas in subscription:
            self._ingest.storage(deltas)
            self._wake.set()

    def _drain(self) -> None:
        """Take over everything that informers have delivered."""
        self._ingest.namespaces(self._namespace_deltas.take())
        for deltas in self._workload_deltas:
            self._ingest.workloads(deltas.take())
        self._ingest.groups(self._group_deltas.take())
        self._ingest.manifests(self._manifest_deltas.take())
        for storage in self._storage_deltas:
            self._ingest.storage(storage.take())
        self._take_nodes(self._node_deltas.take())
        self._take_pods(self._pod_deltas.take())

    def _take_nodes(self, deltas: Sequence[Delta[Node]]) -> None:
        self._ingest.nodes(deltas)
        self._tenants.nodes(deltas)

    def _take_pods(self, deltas: Sequence[AnyDelta[Pod]]) -> None:
        self._ingest.pods(deltas, self._clock())
        self._tenants.pods(deltas)

    async def _something_to_do(self) -> None:
        while True:
            telling = self.gangs.tell(self._clock())
            if self.queue.ready(self._clock()) or self._express.priority() is not None:
                return
            self._wake.clear()
            timers = [t for t in (self.queue.next_timer(), telling) if t is not None]
            delay = max(0.0, min(timers) - self._clock()) if timers else None
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _breathe(self, taken: float) -> None:
        """Let others run; after a full batch long enough for a few answers of the database.

        A request needs some turns of the loop until it is durable, and each of them would wait for
        another batch while a crowd wakes.
        """
        await asyncio.sleep(taken / 8 if taken > batches.SECONDS else 0)

    def pending(self) -> dict[str, int]:
        """Return how many pods wait, by place: those of SchedulingQueue.counts, and "gated"."""
        counts = self.gangs.counts()
        for place, pods in self.queue.counts().items():
            counts[place] += pods
        counts["active"] += len(self._express)
        counts["gated"] += len(self._ingest.gated)
        return counts

    def _decide(self) -> tuple[Plan, list[Order], Snapshot, Attempt]:
        """Place the next batch, check it, count its pods as assumed; say who must make room."""
        laps = Laps(self.measures.phases)
        revision = min(self._pods.revision, self._nodes.revision)
        self._drain()
        laps.lap("ingest")
        now = self._clock()
        snapshot = self._state.freeze(revision)
        laps.lap("freeze")
        draft = Draft(snapshot)
        allotments: list[Allotment] = []
        displaced: dict[PodClass, Displaced] = {}
        orders: list[Order] = []
        decided = 0
        for pod, pending in self._batches.take(now):
            laps.lap("pop")
            decided += self.gangs.size(pod) if isinstance(pod, Gang) else len(pending)
            if isinstance(pod, Gang):
                placed, found = self._decide_together(pod, pending[0], draft)
                allotments += placed
                orders += found
                laps.lap("gang")
                continue
            placed = self._place(pod, pending, draft)
            allotments += placed
            laps.lap("place")
            if isinstance(pending, LodgedPods):
                self._batches.unload(pod, placed[0].left, pending.arrived)
                allotments[-1] = without_left(placed[0])
            elif placed[-1].left and self._rules[pod.scheduler_name].preemption is not None:
                displaced[pod] = self._preempt(placed[-1], draft.snapshot)
                orders += displaced[pod].orders
                laps.lap("preempt")
        self.measures.batch.add(decided)
        plan = self._checked(Plan(revision, tuple(allotments)), snapshot, now)
        laps.lap("check")
        attempt = self._attempt(plan, laps.started)
        self._take_over(plan, displaced, now)
        laps.lap("account")
        return plan, orders, snapshot, attempt

    def _place(
        self, pod: PodClass, pending: Sequence[PendingPod], draft: Draft
    ) -> Sequence[Allotment]:
        framework = self._frameworks[pod.scheduler_name]
        return self._displacement.place(framework, pod, pending, draft)

    def _decide_together(
        self, gang: Gang, ticket: PendingPod, draft: Draft
    ) -> tuple[list[Allotment], list[Order]]:
        """Place a gang, or say who must make room for it."""
        muster = self.gangs.take(gang, ticket)
        members = {each.uid for pods in muster.pods.values() for each in pods}

        def place(pod: PodClass, pending: Sequence[PendingPod], onto: Draft) -> Sequence[Allotment]:
            framework = self._frameworks[pod.scheduler_name]
            return self._displacement.place_member(framework, pod, pending, onto, members)

        placed = place_together(muster, draft, place, self._frameworks, self._clock)
        why = placed[0].decision.diagnosis
        self.measures.gangs[SCHEDULED if why is None else UNSCHEDULABLE,] += 1
        if why is None or why.failure or not self._may_preempt(muster):
            return placed, []
        search = Search(place, self._frameworks, self._clock)
        orders = self._displacement.preempt_together(
            muster, why.message, draft.snapshot, self._tenants, search
        )
        self.measures.preempted(order.preemption for order in orders)
        return placed, orders

    def _may_preempt(self, muster: Muster) -> bool:
        return all(
            self._rules[pod.scheduler_name].preemption is not None
            and pod.spec.preemption_policy != NEVER
            for pod in muster.pods
        )

    def _preempt(self, allotment: Allotment, snapshot: Snapshot) -> Displaced:
        profile = allotment.pod.scheduler_name
        framework, args = self._frameworks[profile], self._rules[profile].preemption
        assert args is not None
        found = self._displacement.preempt(framework, allotment, snapshot, self._tenants, args)
        self.measures.preempted(order.preemption for order in found.orders)
        return found

    def _take_over(self, plan: Plan, displaced: Mapping[PodClass, Displaced], now: float) -> None:
        """Count what is about to be bound as assumed, and park what has no node."""
        for allotment in plan.allotments:
            if isinstance(allotment.pods, LodgedPods):
                cohort, ordinals = allotment.pods.cohort, allotment.pods.ordinals
                self._state.assume_cohort(cohort, allotment.pod, ordinals, allotment.nodes)
                continue
            pairs = zip(allotment.pods, allotment.nodes, strict=True)
            self._state.assume(allotment.pod, [(pod.uid, node) for pod, node in pairs])
            self._displacement.placed(allotment.pods)
            if allotment.left and allotment.decision.diagnosis is not None:
                found = displaced.get(allotment.pod, Displaced())
                diagnosis = replace(allotment.decision.diagnosis, preemption=found.message)
                if allotment.gang is not None:
                    self.gangs.park(allotment.gang, diagnosis, now)
                else:
                    self.queue.park(allotment.pod, allotment.left, diagnosis, now)
                under_way = self._displacement.is_under_way
                untold = [pod for pod in allotment.left if not under_way(pod.uid)]
                for pods, why in found.diagnoses(untold, diagnosis):
                    self.reporter.unschedulable(pods, why.message)

    def _attempt(self, plan: Plan, started: float) -> Attempt:
        """Count what has no node, and keep what binding will be counted by."""
        for each in plan.allotments:
            diagnosis = each.decision.diagnosis
            result = ERROR if diagnosis is not None and diagnosis.failure else UNSCHEDULABLE
            self.measures.attempted(result, each.pod.spec.scheduler_name, len(each.left), started)
        arrived = [
            [pods.arrived] * len(pods)
            if isinstance(pods := each.pods, LodgedPods)
            else self.queue.arrivals(pods)
            if each.gang is None
            else self.gangs.arrivals(pods)
            for each in plan.allotments
        ]
        tries = [self.queue.tries(a.gang or a.pod) + 1 for a in plan.allotments]
        return Attempt(started, arrived, tries)

    async def _displace(self, orders: Sequence[Order]) -> None:
        made = [order for order in orders if order.preemption is not None]
        wanting = {waits for order in made if (waits := order.gang or order.wanted) is not None}
        for waits in wanting:
            self.queue.forgive(waits)
        await self._displacement.carry_out(orders)
        for waits in wanting:  # some may have been tried when only others' victims had gone
            self.queue.forgive(waits)
        self._wake.set()

    def _ignores(self, pod: PodClass, resource: str) -> bool:
        return self._frameworks[pod.spec.scheduler_name].ignores(pod, resource)

    def _checked(self, plan: Plan, snapshot: Snapshot, now: float) -> Plan:
        """Return the plan without allotments that break a hard rule (a plugin's or our bug)."""
        groups = self._surroundings.groups
        known = [group for name in grouped(plan) if (group := groups.get(*name)) is not None]
        least = {(g.meta.namespace, g.meta.name): g.spec.min_member for g in known}
        violations = check(plan, snapshot, self._state, least, self._counted, self._ignores)
        if not violations:
            return plan
        broken = {v.allotment: v.message for v in reversed(violations)}
        for number, message in broken.items():
            allotment = plan.allotments[number]
            logger.error("a plan for %r was refused by the checker: %s", allotment.pod, message)
            pods = (*allotment.pods, *allotment.left)
            if isinstance(allotment.pods, LodgedPods):
                self._batches.unload(allotment.pod, allotment.pods, now)
            elif allotment.gang is not None:
                self.gangs.retry(allotment.gang, now, backoff=True)
            else:
                self.queue.retry(allotment.pod, pods, now, backoff=True)
            self.reporter.unschedulable(pods, f"the plan was refused: {message}")
            profile = allotment.pod.spec.scheduler_name
            self.measures.attempted(ERROR, profile, len(pods), time.perf_counter())
        kept = tuple(a for n, a in enumerate(plan.allotments) if n not in broken)
        return Plan(plan.revision, kept)

    async def _apply(self, plan: Plan, snapshot: Snapshot, attempt: Attempt) -> None:
        """Bind a plan and take over the outcome."""
        try:
            records = [decision_records(a, now_seconds(), self._epoch) for a in plan.allotments]
            ids = [r[0].id if a.pods else 0 for a, r in zip(plan.allotments, records, strict=True)]
            laps = Laps(self.measures.phases)
            bound = await self._binder.bind(plan, ids)
            laps.lap("bind")
            self._count(plan, bound, attempt)
            explained: list[int] = []
            for allotment, outcome, made in zip(plan.allotments, bound, records, strict=True):
                self._bound(allotment, outcome)
                news = [r for r in made if self._is_news(allotment.pod, r.message)]
                self.reporter.decided(news)
                explained.append(news[0].id if news else 0)
            self._scribe.hear(snapshot, plan.allotments, explained)
            for gang, members in _gangs(plan, bound).items():
                self.gangs.done(gang, members)
            if any(outcome.pods for outcome in bound):
                self.queue.changed(Change.POD_PLACED)
            laps.lap("report")
            await self._refused(plan, bound)
        finally:
            self._slots.release()
            self._in_flight -= 1
            if not self._in_flight:
                self._settled.set()
            self._wake.set()

    def _count(self, plan: Plan, outcomes: Sequence[Bound], attempt: Attempt) -> None:
        now = self._clock()
        for allotment, outcome, came, tries in zip(
            plan.allotments, outcomes, attempt.arrived, attempt.tries, strict=True
        ):
            profile = allotment.pod.spec.scheduler_name
            waited = [now - when for when in came]
            if outcome.refused:
                lost = {each.pod for each in outcome.refused}
                pairs = zip(waited, allotment.pods, strict=True)
                waited = [seconds for seconds, pod in pairs if pod not in lost]
            self.measures.bound(waited, tries)
            self.measures.attempted(SCHEDULED, profile, len(outcome.pods), attempt.started)
            self.measures.attempted(ERROR, profile, len(outcome.refused), attempt.started)

    def _bound(self, allotment: Allotment, outcome: Bound) -> None:
        pods, nodes = outcome.pods, outcome.nodes
        if isinstance(pods, LodgedPods):
            pods, nodes = pods[:NAMED], nodes[:NAMED]
        elif allotment.gang is None:
            for pod in pods:
                self.queue.done(pod.key)
        if pods:
            self.reporter.scheduled(pods, nodes, allotment.decision.why)
            self.reporter.dropped += len(outcome.pods) - len(pods)

    async def _refused(self, plan: Plan, outcomes: Sequence[Bound]) -> None:
        """Requeue pods that were not bound, once it is known what the store has of them."""
        if not any(outcome.refused for outcome in outcomes):
            return
        await self._pods.reached(await self._binder.revision())
        self._drain()
        fresh = min(self._pods.revision, self._nodes.revision) > plan.revision
        now = self._clock()
        for allotment, outcome in zip(plan.allotments, outcomes, strict=True):
            again = [refused.pod for refused in outcome.refused if self._forget(refused)]
            if allotment.gang is not None and outcome.refused:
                self.gangs.retry(allotment.gang, now, backoff=not fresh)
            if isinstance(allotment.pods, LodgedPods) or allotment.gang is not None:
                self._requeue(again, now)
            else:
                self.queue.retry(allotment.pod, again, now, backoff=not fresh)
        self.gangs.settle()
        self.queue.changed(Change.POD_REMOVED)

    def _requeue(self, pods: Iterable[PendingPod], now: float) -> None:
        """Queue pods that were refused on the express lane or as a gang, as they are now."""
        for pending in pods:
            self._ingest.waits(self._pods.items[pending.key], now)

    def _forget(self, refused: Refused) -> bool:
        """Stop assuming a pod; returns whether it still wants a node."""
        pod = self._pods.items.get(refused.pod.key)
        if pod is not None and pod.meta.uid == refused.pod.uid and pod.node:
            return False  # bound by somebody, and counted there
        logger.info("%s", refused.error)
        self._state.remove_pod(refused.pod.uid)
        if pod is None or pod.meta.uid != refused.pod.uid or not self._ingest.eligible(pod):
            self._ingest.leave(refused.pod.key)
            return False
        return True

    def _is_news(self, pod: PodClass, message: str) -> bool:
        """Tell whether a class's outcome differs from the last recorded one."""
        if not message:
            self._said.pop(pod, None)
            return True
        if self._said.get(pod) == message:
            return False
        if len(self._said) > _REMEMBERED:
            self._said.clear()
        self._said[pod] = message
        return True


def _gangs(plan: Plan, outcomes: Sequence[Bound]) -> dict[Gang, list[PendingPod]]:
    """Return the gangs of a plan that were bound, and their pods."""
    found: dict[Gang, list[PendingPod]] = {}
    for allotment, outcome in zip(plan.allotments, outcomes, strict=True):
        if allotment.gang is not None and outcome.pods:
            found.setdefault(allotment.gang, []).extend(outcome.pods)
    return found
