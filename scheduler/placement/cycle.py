"""The scheduling cycle: what waits is placed, checked, bound and reported.

Deciding is synchronous and takes milliseconds; writing bindings overlaps with the next decisions.
Pods decided but not yet confirmed are assumed, so decisions never wait for the database and never
count on room that has been given away.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..hookspecs import Change, PodClass
from ..informer import Informer, Subscription
from ..objects.meta import now_seconds
from ..objects.node import Node
from ..objects.pod import Pod
from ..plugin_manager import Rules
from ..snapshot import Snapshot
from ..store.store import Store
from .binding import Binder, Bound, Refused
from .checker import check
from .displacement import Displacement, Order, Tenants
from .draft import Draft
from .express import ExpressLane
from .framework import Framework
from .ingest import Ingest
from .measures import ERROR, SCHEDULED, UNSCHEDULABLE, Attempt, Laps, PlacementMeasures
from .plan import Allotment, LodgedPods, PendingPod, Plan, without_left
from .queue import TURN, SchedulingQueue
from .records import decision_records
from .reporting import Reporter
from .scribe import Scribe
from .state import ClusterState
from .surroundings import Surroundings
from .topology_check import CountedNodes

logger = logging.getLogger(__name__)

BATCH_PODS = 4096
BATCH_CLASSES = 128
BATCH_COHORTS = 16
NAMED = 100  # pods of a cohort that get an Event of their own
BATCH_SECONDS = 0.02
PLANS_IN_FLIGHT = 4


class Placement:
    """Places pods as the leader of one epoch.

    Args:
        store: where bindings, events and decisions go.
        rules: what runs, by schedulerName.
        epoch: of the leadership this runs under; every write carries it.
        pods, nodes: informers that somebody else runs; pods indexed by displacement.NODE.
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
        self.queue = SchedulingQueue()
        self.reporter = Reporter(store, pods, epoch)
        self._scribe = Scribe(store, self._frameworks, self._clock)
        self._displacement = Displacement(
            store, epoch, pods, self._surroundings.budgets, self.reporter
        )
        self._express = ExpressLane()
        self._ingest = Ingest(
            self._state,
            self.queue,
            self.reporter.unschedulable,
            rules,
            self._displacement.nominations,
            self._express,
        )
        self._binder = Binder(store, epoch)
        self._pod_deltas = pods.subscribe_whole()
        self._node_deltas: Subscription[Node] = nodes.subscribe()
        self._namespace_deltas = self._surroundings.namespaces.subscribe()
        self._workload_deltas = (
            self._surroundings.services.subscribe(),
            self._surroundings.controllers.subscribe(),
        )
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(PLANS_IN_FLIGHT)
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
            while True:
                await self._slots.acquire()
                await self._something_to_do()
                plan, orders, seen, attempt = self._decide()
                binding = self._apply(plan, seen, attempt)
                group.create_task(binding, name=f"bind at {plan.revision}")
                if orders:
                    name = f"preempt at {plan.revision}"
                    group.create_task(self._displace(orders), name=name)
                await self._breathe(time.perf_counter() - attempt.started)

    async def _follow_nodes(self) -> None:
        async for deltas in self._node_deltas:
            self._ingest.nodes(deltas)
            self._wake.set()

    async def _follow_pods(self) -> None:
        async for deltas in self._pod_deltas:
            self._ingest.pods(deltas, self._clock())
            self._wake.set()

    async def _follow_namespaces(self) -> None:
        async for deltas in self._namespace_deltas:
            self._ingest.namespaces(deltas)
            self._wake.set()

    def _drain(self) -> None:
        """Take over everything that informers have delivered."""
        self._ingest.namespaces(self._namespace_deltas.take())
        for deltas in self._workload_deltas:
            self._ingest.workloads(deltas.take())
        self._ingest.nodes(self._node_deltas.take())
        self._ingest.pods(self._pod_deltas.take(), self._clock())

    async def _something_to_do(self) -> None:
        while not self.queue.ready(self._clock()) and self._express.priority() is None:
            self._wake.clear()
            timer = self.queue.next_timer()
            delay = None if timer is None else max(0.0, timer - self._clock())
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
        await asyncio.sleep(taken / 8 if taken > BATCH_SECONDS else 0)

    def pending(self) -> dict[str, int]:
        """Return how many pods wait, by place: those of SchedulingQueue.counts, and "gated"."""
        counts = self.queue.counts()
        counts["active"] += len(self._express)
        return {**counts, "gated": len(self._ingest.gated)}

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
        tenants = Tenants(self._pods, self._state)
        allotments: list[Allotment] = []
        orders: list[Order] = []
        for pod, pending in self._batch(now):
            laps.lap("pop")
            name = pod.spec.scheduler_name
            framework = self._frameworks[name]
            placed = self._displacement.place(framework, pod, pending, draft)
            allotments += placed
            laps.lap("place")
            if isinstance(pending, LodgedPods):
                self._unload(pod, placed[0].left, pending.arrived)
                allotments[-1] = without_left(placed[0])
            elif placed[-1].left and self._rules[name].preempts:
                found = self._displacement.preempt(framework, placed[-1], draft.snapshot, tenants)
                self.measures.preempted(order.preemption for order in found)
                orders += found
                laps.lap("preempt")
        plan = self._checked(Plan(revision, tuple(allotments)), snapshot, now)
        laps.lap("check")
        attempt = self._attempt(plan, laps.started)
        for allotment in plan.allotments:
            if isinstance(allotment.pods, LodgedPods):
                cohort, ordinals = allotment.pods.cohort, allotment.pods.ordinals
                self._state.assume_cohort(cohort, allotment.pod, ordinals, allotment.nodes)
                continue
            pairs = zip(allotment.pods, allotment.nodes, strict=True)
            self._state.assume(allotment.pod, [(pod.uid, node) for pod, node in pairs])
            self._displacement.placed(allotment.pods)
            if allotment.left and allotment.decision.diagnosis is not None:
                diagnosis = allotment.decision.diagnosis
                self.queue.park(allotment.pod, allotment.left, diagnosis, now)
                under_way = self._displacement.is_under_way
                untold = [pod for pod in allotment.left if not under_way(pod.uid)]
                self.reporter.unschedulable(untold, diagnosis.message)
        laps.lap("account")
        return plan, orders, snapshot, attempt

    def _batch(self, now: float) -> Iterator[tuple[PodClass, Sequence[PendingPod]]]:
        """Take classes from lane and queue until they are a batch, or deciding has taken its time.

        Classes differ: most cost a fraction of a millisecond, a search for victims on thousands of
        nodes a hundred times that, and meanwhile nobody else in this process does anything.
        """
        pods, ends = 0, self._clock() + BATCH_SECONDS
        for _ in range(BATCH_COHORTS):
            express, queued = self._express.priority(), self.queue.priority()
            if express is None or (queued is not None and queued > express):
                break
            for pod, pending in self._board():
                pods += len(pending)
                yield pod, pending
            if self._clock() >= ends:
                break
        express, left = self._express.priority(), BATCH_PODS
        for _ in range(BATCH_CLASSES):
            queued = self.queue.priority()
            if queued is None or (express is not None and queued < express):
                break
            popped = self.queue.pop(left, 1, now)
            yield from popped
            left -= sum(len(pending) for _, pending in popped)
            if not popped or left < TURN or self._clock() >= ends:
                break
        self.measures.batch.add(pods + BATCH_PODS - left)

    def _board(self) -> list[tuple[PodClass, LodgedPods]]:
        """Take a cohort from the lane, unless its pods must wait in the queue."""
        for pod, pods in self._express.pop(1):
            if not self.queue.waits(pod) and not len(self._displacement.nominations):
                return [(pod, pods)]
            self._unload(pod, pods, pods.arrived)
        return []

    def _unload(self, pod: PodClass, pods: Iterable[PendingPod], arrived: float) -> None:
        for pending in pods:
            diagnosis = self.queue.add(pod, pending, arrived)
            if diagnosis is not None:
                self.reporter.unschedulable((pending,), diagnosis.message)

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
            for each in plan.allotments
        ]
        return Attempt(started, arrived, [self.queue.tries(a.pod) + 1 for a in plan.allotments])

    async def _displace(self, orders: Sequence[Order]) -> None:
        for pod in {order.wanted for order in orders if order.preemption is not None}:
            if pod is not None:
                self.queue.forgive(pod)
        await self._displacement.carry_out(orders)
        self._wake.set()

    def _checked(self, plan: Plan, snapshot: Snapshot, now: float) -> Plan:
        """Return the plan without allotments that break a hard rule (a plugin's or our bug)."""
        violations = check(plan, snapshot, self._state, self._counted)
        if not violations:
            return plan
        broken = {v.allotment: v.message for v in reversed(violations)}
        for number, message in broken.items():
            allotment = plan.allotments[number]
            logger.error("a plan for %r was refused by the checker: %s", allotment.pod, message)
            pods = (*allotment.pods, *allotment.left)
            if isinstance(allotment.pods, LodgedPods):
                self._unload(allotment.pod, allotment.pods, now)
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
            if any(outcome.pods for outcome in bound):
                self.queue.changed(Change.POD_PLACED)
            laps.lap("report")
            await self._refused(plan, bound)
        finally:
            self._slots.release()
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
        else:
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
            if isinstance(allotment.pods, LodgedPods):
                self._requeue(again, now)
            else:
                self.queue.retry(allotment.pod, again, now, backoff=not fresh)
        self.queue.changed(Change.POD_REMOVED)

    def _requeue(self, pods: Iterable[PendingPod], now: float) -> None:
        """Queue pods that were refused on the express lane, as they are now."""
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
            self.queue.remove(refused.pod.key)
            return False
        return True

    def _is_news(self, pod: PodClass, message: str) -> bool:
        """Tell whether a class's outcome differs from the last recorded one."""
        if not message:
            self._said.pop(pod, None)
            return True
        if self._said.get(pod) == message:
            return False
        if len(self._said) > BATCH_PODS:
            self._said.clear()
        self._said[pod] = message
        return True
