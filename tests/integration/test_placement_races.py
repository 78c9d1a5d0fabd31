"""Placements whose cluster changes while they are solved or committed, on a real store.

The runner and online placement are those of the service; what happens meanwhile is put exactly
between solving and committing, or between the last look and the commit.
"""

import asyncio

import msgspec
import numpy as np
import pytest

from scheduler import hookimpl
from scheduler.batch_terms import Complaint, Linear
from scheduler.errors import Unavailable
from scheduler.hookspecs import Change, Verdict
from scheduler.informer import Informer
from scheduler.objects.placement_job import FINAL, RESOURCE, placement_job
from scheduler.objects.pod_group import RESOURCE as GROUPS
from scheduler.objects.stored import Body, ObjectKey
from scheduler.placement.batch import jobs
from scheduler.placement.batch.jobs import Placements
from scheduler.placement.batch.relocation import Relocation
from scheduler.placement.rebalance.lookout import Lookout
from scheduler.placement.rebalance.marks import Marks
from scheduler.placement.solver.engine import Options, solve
from scheduler.plugin_manager import PluginManager
from scheduler.profile import by_name
from scheduler.store.operations import BindAll, BoundTogether, Remove
from tests.integration.test_cycle import Service, node, passing, pod
from tests.placement_cases import every_rule
from tests.store_values import bind, create, key, replace

CPU = 4000


class Bench(Service):
    """Online placement and Placements of one leader, and what happens between the two."""

    def __init__(self, store, epoch, rules=None):
        super().__init__(store, epoch, rules)
        self.epoch = epoch
        self.jobs = Informer(store, RESOURCE, placement_job)
        marks = Marks(store, epoch, self.pods, self.nodes)
        lookout = Lookout(self.pods, self.nodes)
        relocation = Relocation(
            store,
            epoch,
            marks=marks,
            pods=self.pods,
            lookout=lookout,
            preempted=self.placement.reporter.preempted,
        )
        still = self.placement.still
        self.placements = Placements(store, rules or every_rule(), epoch, relocation, still)
        self.problems = []  # what was asked, and for how many seconds
        self.solved = []  # one coroutine function for each time the solver has answered
        self.binding = []  # one for each time a plan is about to be bound
        self.bound = []  # one for each time it has been, and nobody knows yet

    async def solve(self, problem, seconds, heard):
        found = await asyncio.to_thread(solve, problem, Options(seconds))
        self.problems.append((problem, seconds))
        if self.solved:
            await self.solved.pop(0)()
        return found

    async def close(self):
        """Nothing runs."""

    async def bind_all(self, ops):
        if self.binding and ops[0].apart:
            await self.binding.pop(0)()
        made = await type(self.store).bind_all(self.store, ops)
        if self.bound and ops[0].apart:
            await self.bound.pop(0)()
        return made

    async def place(self, name="go", **spec):
        asked = {"mode": "commit", "pods": {"selector": {}}, "deadlineSeconds": 10}
        goals = [{"place": "count"}, {"hosts": "fewest"}]
        whole = {**asked, "objective": goals, "profile": "default-scheduler", **spec}
        body = Body(msgspec.json.encode({"spec": whole}))
        await self.write(create(RESOURCE, name, "default", body, status=b'{"phase":"Pending"}'))

    async def ask_to_cancel(self, name="go"):
        """Cancel a Placement; return the revision."""
        stored = await self.store.get(ObjectKey(RESOURCE, "default", name))
        spec = msgspec.json.decode(stored.body.json)["spec"] | {"cancelled": True}
        body = Body(msgspec.json.encode({"spec": spec}))
        [written] = await self.write(replace(stored, body=body))
        return written.revision

    async def cancel(self, name="go"):
        """Cancel a Placement, and wait until its runner could know."""
        await self.jobs.reached(await self.ask_to_cancel(name))
        for _ in range(10):
            await self.store.get(ObjectKey(RESOURCE, "default", name))

    async def status(self, name="go"):
        """Return the status that is stored."""
        stored = await self.store.get(ObjectKey(RESOURCE, "default", name))
        return placement_job(stored).status

    async def assigned(self, name="go"):
        """Return pod → node, as the Placement says."""
        stored = await self.store.get(ObjectKey(RESOURCE, "default", name))
        found, _ = await self.store.assignments_of(stored.meta.uid, 0, 100)
        return {each.pod.partition("/")[2]: each.node for each in found}

    async def ended(self, name="go"):
        """Wait for the end of a Placement; return its status."""
        at = ObjectKey(RESOURCE, "default", name)

        def final():
            found = self.jobs.items.get(at)
            return found is not None and found.status.phase in FINAL

        await passing(self.jobs, final)
        return self.jobs.items[at].status

    async def nodes_by_pod(self):
        """Return pod → node, as the store has it."""
        return {
            each.meta.name: each.binding.node if each.binding else ""
            for each in (await self.store.list("pods")).objects
        }

    async def used(self):
        """Return node → requested thousandths of cpu, of bindings in the store."""
        used = {}
        for each in (await self.store.list("pods")).objects:
            if each.binding is not None:
                requests = msgspec.json.decode(each.body.json)["spec"]["containers"][0]["resources"]
                amount = int(requests["requests"]["cpu"]) * 1000
                used[each.binding.node] = used.get(each.binding.node, 0) + amount
        return used


class OneOfAKind:
    """A plugin: of pods with the label, one at most in the whole cluster."""

    name = "OneOfAKind"
    wakes_on = Change.POD_REMOVED

    def filter(self, pod, snapshot):
        if "kind" not in pod.labels:
            return None
        taken = any("kind" in other.labels for other in snapshot.placed)
        room = snapshot.none() if taken else snapshot.every()
        return Verdict(room, "there is one already", coupling=OneMore(room))

    def terms(self, batch):
        mine = [c for c, pod in enumerate(batch.pods) if "kind" in pod.labels]
        return [Linear(dict.fromkeys(mine, 1.0), "<=", 1)] if mine else []

    def check(self, batch, plan):
        mine = [c for c, pod in enumerate(batch.pods) if "kind" in pod.labels]
        there = sum("kind" in other.labels for other in batch.snapshot.placed)
        many = int(plan.of(*mine).sum())
        return [Complaint("more than one", tuple(mine))] if many and many + there > 1 else []

    @hookimpl
    def ironfree_filters(self):
        return [self]

    @hookimpl
    def ironfree_batch_rules(self):
        return [self]


class OneMore:
    """Room for one copy, wherever it goes."""

    settled = False

    def __init__(self, room):
        self._room = room

    def put(self, row):
        self._room = np.zeros_like(self._room)

    def room(self):
        return self._room


def with_plugin(plugin):
    """Return the rules by schedulerName with those of a further plugin."""
    plugins = PluginManager.load()
    plugins.register(plugin, "further")
    plugins.collect()
    return {name: plugins.rules(profile) for name, profile in by_name().items()}


@pytest.fixture
async def bench(store, monkeypatch, request):
    await store.write(create("namespaces", "default"))
    async with store.leadership("test").hold() as epoch:
        running = Bench(store, epoch, getattr(request, "param", None))
        monkeypatch.setattr(jobs, "SolverProcess", lambda: running)
        monkeypatch.setattr(store, "bind_all", running.bind_all)
        parts = (running.pods, running.nodes, running.events, running.jobs, running.placement)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each.run()) for each in (*parts, running.placements)]
            yield running
            for task in tasks:
                task.cancel()


def held(name, cpu="2", **more):
    """Return a pod that only a Placement places."""
    return pod(name, cpu=cpu, schedulerName="batch", **more)


def remove(name, resource="pods", namespace="default"):
    return Remove(key(resource, name, namespace))


async def online(bench, *names, cpu="2"):
    """Have pods placed online, and wait until they are bound."""
    await bench.write(*(pod(name, cpu=cpu) for name in names))
    await bench.seen(lambda pods: all(name in pods and pods[name].node for name in names))


@pytest.mark.parametrize("moment", ["solved", "binding"])
async def test_a_pod_placed_online_meanwhile_is_not_crowded_out(bench, moment):
    """The same leader binds beside the Placement; neither may overcommit the other's host."""
    await bench.write(node("n0"), node("n1"), held("p0"), held("p1"), held("p2"), held("p3"))

    async def meanwhile():
        await online(bench, "late")

    getattr(bench, moment).append(meanwhile)
    await bench.place()
    status = await bench.ended()
    assert status.phase == "Committed", status
    assert (status.attempts, status.placed, status.pods) == (2, 3, 4), status
    used = await bench.used()
    assert used == {"n0": CPU, "n1": CPU}


async def test_online_placement_does_not_crowd_out_what_was_committed_meanwhile(bench):
    """What it decided on before the commit it decides on again."""
    await bench.write(node("n0"), held("p0"))
    made = await bench.store.get(key("pods", "p0", "default"))
    snapshot = await bench.store.revision()
    late = (await bench.write(held("late", cpu="4")))[0]
    batch = BindAll((bind(made, "n0", snapshot),), bench.epoch, apart=True)
    [done] = await bench.store.bind_all([batch])
    assert isinstance(done, BoundTogether)
    [refused] = await bench.store.write_many([bind(late, "n0", snapshot, epoch=bench.epoch)])
    assert "another binder has used node" in str(refused)


async def test_two_placements_for_the_same_hosts_take_turns(bench):
    await bench.write(node("n0"), *(held(f"a{n}", labels=None) for n in range(2)))
    await bench.write(held("b0"), held("b1"))
    await bench.place("one")
    await bench.place("two")
    first, second = await bench.ended("one"), await bench.ended("two")
    assert (first.phase, first.placed) == ("Committed", 2)
    assert (second.phase, second.placed) == ("Infeasible", 0)
    assert await bench.used() == {"n0": CPU}


async def test_a_rival_commit_for_the_same_hosts_leads_to_another_solution(bench):
    """Another process commits its own batch in the very moment; nothing is overcommitted."""
    await bench.write(node("n0"), node("n1", cpu="8"))
    mine = await bench.write(*(held(f"a{n}", cpu="4") for n in range(2)))
    rivals = await bench.write(pod("r0", cpu="4", schedulerName="other"))

    async def rival():
        read = await bench.store.get(rivals[0].key)
        write = BindAll((bind(read, "n1", await bench.store.revision()),), bench.epoch, apart=True)
        [done] = await type(bench.store).bind_all(bench.store, [write])
        assert isinstance(done, BoundTogether)

    bench.binding.append(rival)
    names = [each.meta.name for each in mine]
    await bench.place(pods={"selector": {"matchExpressions": []}})
    status = await bench.ended()
    assert status.phase == "Committed", status
    assert status.attempts == 2
    nodes = await bench.nodes_by_pod()
    assert sorted(nodes[name] for name in names) in (["n0", "n1"], ["n1", "n0"])
    assert max((await bench.used()).values()) <= 8000


async def test_pods_deleted_while_solving_are_left_out_and_the_rest_is_committed(bench):
    await bench.write(node("n0"), *(held(f"p{n}", cpu="1") for n in range(4)))

    async def meanwhile():
        await bench.write(remove("p1"))

    bench.solved.append(meanwhile)
    await bench.place()
    status = await bench.ended()
    assert status.phase == "Committed", status
    assert (status.attempts, status.placed) == (1, 3)
    assert status.message == "pods that were deleted, bound or changed meanwhile: 1"
    assert await bench.nodes_by_pod() == dict.fromkeys(("p0", "p2", "p3"), "n0")


async def test_pods_deleted_while_committing_are_left_out_of_the_next_solution(bench):
    await bench.write(node("n0"), *(held(f"p{n}", cpu="1") for n in range(4)))

    async def meanwhile():
        await bench.write(remove("p1"))

    bench.binding.append(meanwhile)
    await bench.place()
    status = await bench.ended()
    assert (status.phase, status.attempts, status.placed) == ("Committed", 2, 3), status


async def test_a_placement_whose_pods_are_all_gone_says_so(bench):
    await bench.write(node("n0"), held("p0"))

    async def meanwhile():
        await bench.write(remove("p0"))

    bench.solved.append(meanwhile)
    await bench.place()
    status = await bench.ended()
    assert status.phase == "Failed"
    assert "no pending pod is chosen" in status.message


@pytest.mark.parametrize("moment", ["solved", "binding"])
@pytest.mark.parametrize("loss", ["cordoned", "gone"])
async def test_a_host_that_is_lost_meanwhile_gets_nothing(bench, moment, loss):
    await bench.write(node("n0"), node("n1"), held("p0"), held("p1"))

    async def meanwhile():
        lost = await bench.store.get(key("nodes", first[0]))
        if loss == "gone":
            await bench.write(remove(first[0], "nodes", ""))
        else:
            await bench.write(replace(lost, body=Body(b'{"spec":{"unschedulable":true}}')))

    first = ["n0"]
    getattr(bench, moment).append(meanwhile)
    await bench.place()
    status = await bench.ended()
    assert status.phase == "Committed", status
    assert set((await bench.nodes_by_pod()).values()) == {"n1"}
    assert status.attempts == 2


def gang(name, least):
    body = Body(msgspec.json.encode({"spec": {"minMember": least}}))
    return create(GROUPS, name, "default", body)


def member(name, **more):
    return held(name, schedulingGroup={"podGroupName": "g"}, **more)


async def test_a_gang_is_committed_whole(bench):
    await bench.write(node("n0"), node("n1"), gang("g", 3), *(member(f"m{n}") for n in range(3)))
    await bench.place(pods={"groups": ["g"]})
    status = await bench.ended()
    assert (status.phase, status.placed) == ("Committed", 3), status
    assert "" not in (await bench.nodes_by_pod()).values()


@pytest.mark.parametrize("moment", ["solved", "binding"])
async def test_a_gang_that_loses_its_room_meanwhile_is_not_placed_in_part(bench, moment):
    await bench.write(node("n0"), node("n1"), gang("g", 4), *(member(f"m{n}") for n in range(4)))
    await bench.write(held("single", cpu="1"))

    async def meanwhile():
        await online(bench, "late")

    getattr(bench, moment).append(meanwhile)
    await bench.place()
    status = await bench.ended()
    nodes = await bench.nodes_by_pod()
    assert (status.phase, status.attempts, status.placed) == ("Committed", 2, 1), status
    assert nodes["single"]
    assert {nodes[f"m{n}"] for n in range(4)} == {""}
    assert max((await bench.used()).values()) <= CPU


async def test_a_gang_that_loses_a_member_meanwhile_is_not_placed_in_part(bench):
    await bench.write(node("n0"), node("n1"), gang("g", 3), *(member(f"m{n}") for n in range(3)))
    await bench.write(held("single", cpu="1"))

    async def meanwhile():
        await bench.write(remove("m1"))

    bench.solved.append(meanwhile)
    await bench.place()
    status = await bench.ended()
    nodes = await bench.nodes_by_pod()
    assert (status.phase, status.attempts) == ("Committed", 2), status
    assert nodes["single"]
    assert (nodes["m0"], nodes["m2"]) == ("", "")


def labelled(name, **fields):
    """Return a pod that a disruption budget can cover."""
    made = pod(name, **fields)
    return msgspec.structs.replace(
        made, meta=msgspec.structs.replace(made.meta, labels={"app": name})
    )


def guard(name):
    """Return a budget that lets none of the pods of that app go."""
    spec = {"selector": {"matchLabels": {"app": name}}, "minAvailable": 1}
    body = Body(msgspec.json.encode({"spec": spec}))
    status = b'{"disruptionsAllowed":0,"observedGeneration":1}'
    return create("poddisruptionbudgets.policy", name, "default", body, status=status)


async def test_a_victim_is_evicted_and_its_place_taken(bench):
    await bench.write(node("n0"), labelled("low", cpu="3", terminationGracePeriodSeconds=0))
    await bench.seen(lambda pods: "low" in pods and pods["low"].node)
    await bench.write(held("high", cpu="3", priority=10))
    await bench.place(limits={"maxPreemptions": 1})
    status = await bench.ended()
    assert (status.phase, status.evicted) == ("Committed", 1), status
    assert await bench.nodes_by_pod() == {"high": "n0"}


async def test_a_victim_that_a_budget_has_come_to_protect_stays(bench):
    await bench.write(node("n0"), labelled("low", cpu="3", terminationGracePeriodSeconds=0))
    await bench.seen(lambda pods: "low" in pods and pods["low"].node)
    await bench.write(held("high", cpu="3", priority=10))

    async def meanwhile():
        await bench.write(guard("low"))

    bench.solved.append(meanwhile)
    await bench.place(limits={"maxPreemptions": 1})
    status = await bench.ended()
    assert (status.phase, status.evicted) == ("Failed", 0), status  # the bound knows no budgets
    assert "not proved" in status.message
    assert await bench.nodes_by_pod() == {"high": "", "low": "n0"}


async def test_nobody_is_evicted_for_a_plan_that_does_not_hold_any_more(bench):
    """The host is cordoned once the victim is chosen; the one that waits needs it no more."""
    await bench.write(node("n0"), labelled("low", cpu="3", terminationGracePeriodSeconds=0))
    await bench.seen(lambda pods: "low" in pods and pods["low"].node)
    await bench.write(held("high", cpu="3", priority=10))

    async def meanwhile():
        stored = await bench.store.get(key("nodes", "n0"))
        await bench.write(replace(stored, body=Body(b'{"spec":{"unschedulable":true}}')))

    bench.solved.append(meanwhile)
    await bench.place(limits={"maxPreemptions": 1})
    status = await bench.ended()
    assert (status.phase, status.evicted) == ("Infeasible", 0), status
    assert await bench.nodes_by_pod() == {"high": "", "low": "n0"}


async def test_nobody_of_a_gang_is_bound_if_room_for_one_is_lost(bench):
    """The victim has gone when others take the second host: all or none, and none it is."""
    await bench.write(
        node("n0"), node("n1"), labelled("low", cpu="3", terminationGracePeriodSeconds=0)
    )
    await bench.seen(lambda pods: "low" in pods and pods["low"].node)
    group = Body(b'{"spec":{"minMember":2}}')
    await bench.write(create(GROUPS, "ring", "default", group, status=b"{}"))
    for name in ("g0", "g1"):
        made = held(name, cpu="3", priority=10)
        labels = {"ironfree.dev/pod-group": "ring"}
        meta = msgspec.structs.replace(made.meta, labels=labels)
        await bench.write(msgspec.structs.replace(made, meta=meta))

    async def meanwhile():
        await online(bench, "late", cpu="2")

    bench.binding.append(meanwhile)
    await bench.place(pods={"groups": ["ring"]}, limits={"maxPreemptions": 1})
    status = await bench.ended()
    assert (status.phase, status.placed) == ("Infeasible", 0), status
    found = await bench.nodes_by_pod()
    assert (found["g0"], found["g1"]) == ("", "")


ALONE = pytest.mark.parametrize("bench", [with_plugin(OneOfAKind())], indirect=True, ids=["one"])


def of_kind(made):
    return msgspec.structs.replace(
        made, meta=msgspec.structs.replace(made.meta, labels={"kind": "x"})
    )


@ALONE
@pytest.mark.parametrize("moment", ["solved", "binding"])
async def test_a_cap_over_the_cluster_holds_whoever_comes_meanwhile(bench, moment):
    """The store tells the two apart by hosts only, and here the hosts differ."""
    await bench.write(node("n0", cpu="2"), node("n1", cpu="3"), of_kind(held("p0")))

    async def meanwhile():
        revision = (await bench.write(of_kind(pod("late", cpu="3"))))[0].revision
        await bench.pods.reached(revision)
        if moment == "solved":
            await bench.seen(lambda pods: pods["late"].node)
        else:  # it would be decided on and bound by now
            for _ in range(20):
                await bench.store.get(key("pods", "late", "default"))

    getattr(bench, moment).append(meanwhile)
    await bench.place()
    status = await bench.ended()
    if moment == "binding":
        assert (status.phase, status.placed) == ("Committed", 1), status
        await bench.told("FailedScheduling", 1)
    bound = [node for node in (await bench.nodes_by_pod()).values() if node]
    assert len(bound) == 1


async def test_nothing_is_placed_online_while_a_binder_wants_it_still(bench):
    await bench.write(node("n0"), pod("before"))
    async with bench.placement.still():
        assert (await bench.nodes_by_pod())["before"] in ("", "n0")
        revision = (await bench.write(pod("late")))[0].revision
        await bench.pods.reached(revision)
        for _ in range(10):
            await bench.store.get(key("pods", "late", "default"))
        assert not (await bench.nodes_by_pod())["late"]
    await bench.seen(lambda pods: pods["before"].node and pods["late"].node)


async def test_a_placement_that_is_cancelled_while_it_is_bound_is_committed_and_says_so(bench):
    await bench.write(node("n0"), held("p0"), held("p1"))
    bench.bound.append(bench.cancel)
    await bench.place()
    status = await bench.ended()
    assert (status.phase, status.placed) == ("Committed", 2), status
    assert "cancelled came too late" in status.message
    bound = await bench.nodes_by_pod()
    assert bound == {"p0": "n0", "p1": "n0"}
    assert await bench.assigned() == bound


async def test_a_placement_that_is_cancelled_before_a_commit_that_fails_is_not_tried_again(bench):
    await bench.write(node("n0"), held("p0"), held("p1"))

    async def meanwhile():
        await bench.cancel()
        await online(bench, "late")

    bench.binding.append(meanwhile)
    await bench.place()
    status = await bench.ended()
    assert (status.phase, status.attempts) == ("Cancelled", 1), status
    assert await bench.nodes_by_pod() == {"p0": "", "p1": "", "late": "n0"}
    assert await bench.assigned() == {}


async def test_a_queued_placement_is_cancelled_while_another_is_solved(bench):
    await bench.write(node("n0"), held("p0"))

    async def meanwhile():
        await bench.place("queued")
        await passing(bench.jobs, lambda: bench.jobs.get("default", "queued"))
        await bench.cancel("queued")
        status = await bench.ended("queued")
        assert (status.phase, status.attempts) == ("Cancelled", 0), status
        assert (await bench.status()).phase == "Solving"

    bench.solved.append(meanwhile)
    await bench.place()
    assert (await bench.ended()).phase == "Committed"


class Killed(Exception):
    """The leader is gone."""


async def lead(bench, monkeypatch, until=None):
    """Lead until something that happens meanwhile, or the end of `until`, kills the leader."""

    async def end():
        await until()
        raise Killed

    monkeypatch.setattr(jobs, "SolverProcess", lambda: bench)
    monkeypatch.setattr(bench.store, "bind_all", bench.bind_all)
    parts = (bench.pods, bench.nodes, bench.events, bench.jobs, bench.placement, bench.placements)
    runs = [each.run() for each in parts]
    with pytest.raises(ExceptionGroup) as died:
        await together([*runs, end()] if until is not None else runs)
    assert died.value.split(Killed)[1] is None, died.value


async def together(runs):
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for each in runs:
            group.create_task(each)


async def die():
    raise Killed


@pytest.fixture
async def epoch(store):
    await store.write(create("namespaces", "default"))
    async with store.leadership("test").hold() as epoch:
        yield epoch


async def succeed(store, epoch, monkeypatch):
    """Have the next leader take over until the Placement has ended; return the Bench."""
    bench = Bench(store, epoch)
    await lead(bench, monkeypatch, bench.ended)
    return bench


async def test_a_leader_that_dies_after_the_commit_leaves_a_committed_placement(
    store, epoch, monkeypatch
):
    first = Bench(store, epoch)
    await first.write(node("n0"), *(held(f"p{n}", cpu="1") for n in range(3)))
    await first.place()
    first.bound.append(die)
    await lead(first, monkeypatch)
    assert (await first.status()).phase == "Committing"
    await first.write(remove("p1"), held("p3", cpu="1"))  # what comes and goes since says nothing
    second = await succeed(store, epoch, monkeypatch)
    status = await second.status()
    assert (status.phase, status.attempts, status.placed) == ("Committed", 1, 3), status
    assert await second.nodes_by_pod() == {"p0": "n0", "p2": "n0", "p3": ""}
    assert await second.assigned() == dict.fromkeys(("p0", "p1", "p2"), "n0")


async def test_a_commit_that_was_made_is_not_cancelled_by_the_next_leader(
    store, epoch, monkeypatch
):
    first = Bench(store, epoch)
    await first.write(node("n0"), held("p0"))
    await first.place()
    first.bound.append(die)
    await lead(first, monkeypatch)
    await first.ask_to_cancel()
    second = await succeed(store, epoch, monkeypatch)
    assert (await second.status()).phase == "Committed"


async def test_a_leader_that_dies_before_the_commit_has_it_solved_again(store, epoch, monkeypatch):
    first = Bench(store, epoch)
    await first.write(node("n0"), held("p0"), held("p1"))
    await first.place()
    first.binding.append(die)
    await lead(first, monkeypatch)
    assert (await first.status()).phase == "Committing"
    assert await first.nodes_by_pod() == {"p0": "", "p1": ""}
    second = await succeed(store, epoch, monkeypatch)
    assert (await second.status()).phase == "Committed"
    assert await second.nodes_by_pod() == {"p0": "n0", "p1": "n0"}


async def test_a_commit_of_which_the_database_did_not_tell_is_known_by_its_pods(bench):
    await bench.write(node("n0"), held("p0"), held("p1"))

    async def lost():
        raise Unavailable("the database does not answer")

    bench.bound.append(lost)
    await bench.place()
    status = await bench.ended()
    assert (status.phase, status.attempts, status.placed) == ("Committed", 1, 2), status
    assert await bench.assigned() == {"p0": "n0", "p1": "n0"}


class Late:
    """A store whose watchers hear late of the end of a Placement."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def watch(self, resources, since):
        async for batch in self._store.watch(resources, since):
            if any(b'"Planned"' in change.object.status for change in batch.changes):
                for _ in range(30):
                    await self._store.revision()
            yield batch


async def test_a_placement_whose_end_is_heard_of_late_is_not_begun_anew(store, epoch, monkeypatch):
    bench = Bench(store, epoch)
    monkeypatch.setattr(bench.placements, "_jobs", Informer(Late(store), RESOURCE, placement_job))
    await bench.write(node("n0"), held("p0"))
    await bench.place(mode="plan")

    async def seen():
        await bench.ended()
        for _ in range(40):
            await store.revision()

    await lead(bench, monkeypatch, seen)
    assert ((await bench.status()).phase, len(bench.problems)) == ("Planned", 1)


async def test_a_second_attempt_begins_with_what_still_holds_and_has_the_time_that_is_left(bench):
    await bench.write(node("n0"), node("n1"), *(held(f"p{n}", cpu="1") for n in range(6)))

    async def meanwhile():
        await bench.write(remove("p1"))

    bench.binding.append(meanwhile)
    await bench.place()
    status = await bench.ended()
    assert (status.phase, status.attempts, status.placed) == ("Committed", 2, 5), status
    (first, whole), (second, left) = bench.problems
    assert first.current.shape[1] == 0
    assert int(second.current[2].sum()) == int(second.count.sum()) == 5
    assert left < whole
