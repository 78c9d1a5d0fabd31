"""Who runs on each node, under random load: cohorts, single pods, nodes that come and go."""

import asyncio
import contextlib
import random
from operator import attrgetter

import pytest

from scheduler.informer import Delta, Informer
from scheduler.objects.pod import pod_view
from scheduler.objects.pod_class import pod_class
from scheduler.objects.stored import ObjectKey
from scheduler.placement.batches import Waiting
from scheduler.placement.express import ExpressLane
from scheduler.placement.gangs import Gangs
from scheduler.placement.ingest import Ingest
from scheduler.placement.nominations import Nominations
from scheduler.placement.queue import SchedulingQueue
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import RunningPod
from scheduler.placement.tenants import NODE, Tenants
from scheduler.store.operations import BindCohort, CreateCohort, ReportCohort
from scheduler.store.store import Store
from tests.placement_cases import node
from tests.store_load import NODES, RUNNING, Load, furnish
from tests.store_values import cohort

ROUNDS, WRITES = 8, 24


def no_report(_pods, _why):
    """Tell nobody."""


class Floor:
    """A state and its tenants, told of what an informer of pods and a test say."""

    def __init__(self, pods):
        queue, express = SchedulingQueue(), ExpressLane()
        waiting = Waiting(queue, express, Gangs(queue, no_report))
        self.state = ClusterState()
        self.ingest = Ingest(self.state, waiting, no_report, {}, Nominations())
        self.tenants = Tenants(pods, self.state)
        self.deltas = pods.subscribe_whole()
        self.nodes = set()

    def toggle(self, name):
        """Let a node come, or go."""
        there = name in self.nodes
        old, new = (node(name), None) if there else (None, node(name))
        deltas = [Delta(ObjectKey("nodes", "", name), old, new, 1)]
        self.ingest.nodes(deltas)
        self.tenants.nodes(deltas)
        self.nodes ^= {name}

    def catch_up(self):
        deltas = self.deltas.take()
        self.ingest.pods(deltas, 0.0)
        self.tenants.pods(deltas)


def by_key(pods):
    return sorted(pods, key=attrgetter("key"))


async def expected(store, nodes):
    """Return by node what a listing says."""
    found = {name: [] for name in nodes}
    for obj in (await store.list("pods")).objects:
        pod = pod_view(obj)
        if pod.node in found and not pod.terminal:
            found[pod.node].append(RunningPod.of(pod, pod_class(pod)))
    return {name: by_key(pods) for name, pods in found.items()}


def agrees(tenants, there, names):
    """Nodes one by one and all at once show the same pods, the columns with them."""
    assert {name: by_key(tenants[name]) for name in names} == there
    found = tenants.on(names)
    shown = {name: [] for name in names}
    for number in range(len(found)):
        pod = found[number]
        shown[names[found.whose[number]]].append(pod)
        assert found.classes[found.kinds[number]] == pod.pod
        assert found.priorities[number] == pod.pod.priority
        assert (found.started[number], found.leaving[number]) == (pod.started, pod.leaving)
    assert {name: by_key(pods) for name, pods in shown.items()} == there


async def run_some(store):
    """Let pods of a cohort run, some of them reported, which no load will touch."""
    (made,) = await store.create_cohorts((CreateCohort(cohort(6, 1000)),))
    every, some = tuple(range(6)), (1, 2, 4, 5)
    seen = await store.revision()
    own = tuple((f"10.0.0.{ordinal}", f"{ordinal:02}") for ordinal in some)
    for write in (
        BindCohort("default", made.uid, every, NODES * 3, seen, {"pods": 1}),
        ReportCohort("default", made.uid, some, "Running", RUNNING, own),
    ):
        (outcome,) = await store.write_cohorts((write,))
        assert not outcome.refused


@pytest.mark.parametrize("seed", range(4))
async def test_tenants_are_whom_a_listing_says_to_be_there(database_url, seed):
    rng = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store.open(database_url))
        await furnish(store)
        pods = Informer(store, "pods", pod_view, {NODE: lambda pod: (pod.node,)})
        following = asyncio.create_task(pods.run())
        stack.callback(following.cancel)
        floor = Floor(pods)
        for name in NODES:
            floor.toggle(name)
        loads = [Load(store, f"{seed}-{n}") for n in range(3)]
        await run_some(store)
        for _ in range(ROUNDS):
            async with asyncio.TaskGroup() as writing:
                for load in loads:
                    writing.create_task(load.run(WRITES))
            if rng.random() < 0.3:
                floor.toggle(rng.choice(NODES))
            async with asyncio.timeout(20):
                await pods.reached(await store.revision())
            floor.catch_up()
            there = await expected(store, floor.nodes)
            agrees(floor.tenants, there, rng.sample(list(there), len(there)))
            ran = {pod.started for pods in there.values() for pod in pods}
            assert len(ran) > 2 or len(there) < len(NODES)
