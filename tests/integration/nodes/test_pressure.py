"""Hosts that run short of memory or process ids: what their Nodes say, and which pods make room."""

import asyncio

import pytest
from ironfree_simulated import Behaviour

from scheduler.drivers import EngineState
from scheduler.errors import HostUnreachable
from scheduler.nodes import pressure_watch, storage_limit_watch
from scheduler.nodes.pod_disk import is_limited
from scheduler.streams import DiskUsage, Level, Signals

GI = 1 << 30


@pytest.fixture
async def pressed(cluster):
    """A cluster whose hosts are looked at all the time; a condition goes with its shortage."""
    await cluster.stop_agents()
    await cluster.start_agents(pressure=0.02, storage_limits=0.02)
    await cluster.add_host("h1", evictionPressureTransitionSeconds=0, options={"disk": "100Gi"})
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.script("greedy:1", Behaviour(memory=3 * GI, processes=500))
    machine.script("modest:1", Behaviour(memory=1 * GI, processes=5))
    return cluster


async def add(cluster, name, image, *, priority=0, request="0", limits=None, **spec):
    resources = {"requests": {"memory": request}, "limits": limits or {}}
    containers = [{"name": "c", "image": image, "resources": resources}]
    await cluster.add_pod(name, "h1", containers=containers, priority=priority, **spec)
    started = ("Running", "Failed")  # it may be evicted before anybody has seen it run
    return await cluster.pod(name, lambda p: p is not None and p.status.phase in started)


def node(cluster, kind, status):
    def holds(found):
        condition = found.status.condition(kind) if found is not None else None
        return condition is not None and condition.status == status

    return cluster.until(cluster.nodes, "", "h1", holds)


def failed(cluster, name):
    return cluster.pod(name, lambda p: p.status.phase == "Failed")


def runs(cluster, uid):
    seen = {o.identity.uid: o for o in cluster.driver.machine("h1").observe()}
    return any(c.state is EngineState.RUNNING for c in seen[uid].containers)


async def test_who_uses_more_than_it_requests_makes_room(pressed):
    greedy = await add(pressed, "greedy", "greedy:1", request="1Gi")
    modest = await add(pressed, "modest", "modest:1", request="2Gi", priority=-1)
    machine = pressed.driver.machine("h1")
    machine.spare = Signals(Level(4 * GI, 8 * GI), Level(30_000, 32_768))
    found = await failed(pressed, "greedy")
    assert (found.status.reason, found.status.condition("Ready").status) == ("Evicted", "False")
    assert found.status.message.startswith("The node was low on resource: memory. Threshold")
    assert "Container c was using 3Gi, request is 1Gi" in found.status.message
    assert found.status.condition("DisruptionTarget").reason == "TerminationByKubelet"
    assert not runs(pressed, greedy.meta.uid), "it has ended before it says so"
    told = await pressed.events(
        "EvictionThresholdMet", "NodeHasInsufficientMemory", "Evicted", "NodeHasSufficientMemory"
    )
    assert next(e for e in told if e["reason"] == "Evicted")["type"] == "Warning"
    await node(pressed, "MemoryPressure", "False")
    assert runs(pressed, modest.meta.uid), "one was enough"
    assert pressed.agents.evictions == {"memory": 1}


async def test_for_process_ids_the_least_important_makes_room(pressed):
    await add(pressed, "greedy", "greedy:1", priority=5)
    await add(pressed, "modest", "modest:1", priority=1)
    machine = pressed.driver.machine("h1")
    machine.spare = Signals(Level(100 * GI, 128 * GI), Level(830, 32_768))
    found = await failed(pressed, "modest")
    assert found.status.message == (
        "The node was low on resource: pids. Threshold quantity: 328, available: 325. "
    )
    assert (await pressed.pod("greedy", lambda p: p is not None)).status.phase == "Running"
    await node(pressed, "PIDPressure", "False")


async def test_a_condition_outlasts_its_shortage_and_the_service(pressed):
    await pressed.add_host("h2", evictionHard={"memory.available": "50%"})
    await pressed.ready("h2")
    machine = pressed.driver.machine("h2")
    machine.spare = Signals(Level(3 * GI, 8 * GI), Level(30_000, 32_768))

    def holds(found):
        return found.status.condition("MemoryPressure").status == "True"

    await pressed.until(pressed.nodes, "", "h2", holds)
    assert pressed.agents.pressures() == {"MemoryPressure": 1}
    machine.spare = Signals(Level(7 * GI, 8 * GI), Level(30_000, 32_768))
    await pressed.stop_agents()
    await pressed.start_agents(pressure=0.02)
    await pressed.eventually(lambda: pressed.agents.host("h2") is not None)
    looks, look = [], machine.signals
    machine.signals = lambda: looks.append(1) or look()
    await pressed.eventually(lambda: len(looks) > 2)
    assert holds(pressed.nodes.get("", "h2"))


async def test_one_of_a_cohort_makes_room(pressed):
    lot = await pressed.add_cohort(["h1"] * 3, containers=[{"name": "c", "image": "modest:1"}])
    for ordinal in range(3):
        await pressed.running(lot.name(ordinal))
    machine = pressed.driver.machine("h1")
    machine.spare = Signals(Level(3 * GI, 8 * GI), Level(30_000, 32_768))

    def ended():
        pods = [pressed.pods.get("default", lot.name(ordinal)) for ordinal in range(3)]
        return sum(pod.status.phase == "Failed" for pod in pods)

    await pressed.eventually(lambda: ended() == 1)
    await node(pressed, "MemoryPressure", "False")
    assert ended() == 1


async def test_who_takes_too_long_to_end_is_not_evicted_again(pressed, monkeypatch):
    monkeypatch.setattr(pressure_watch, "_CLEANUP", 0.0)
    machine = pressed.driver.machine("h1")
    machine.script("greedy:1", Behaviour(memory=3 * GI, ignores_term=True))
    await add(pressed, "greedy", "greedy:1")
    await add(pressed, "modest", "modest:1")
    machine.spare = Signals(Level(3 * GI, 8 * GI), Level(30_000, 32_768))
    await failed(pressed, "modest")
    await failed(pressed, "greedy")
    told = [e for e in await pressed.events("Evicted") if e["reason"] == "Evicted"]
    assert sorted(e["involvedObject"]["name"] for e in told) == ["greedy", "modest"]


async def test_an_eviction_that_a_restart_cut_off_is_finished(pressed):
    machine = pressed.driver.machine("h1")
    machine.script("greedy:1", Behaviour(memory=3 * GI, ignores_term=True))
    await add(pressed, "greedy", "greedy:1")
    machine.spare = Signals(Level(3 * GI, 8 * GI), Level(30_000, 32_768))
    await pressed.pod("greedy", lambda p: p.status.condition("DisruptionTarget") is not None)
    await pressed.stop_agents()
    machine.spare = None
    await pressed.start_agents()
    found = await failed(pressed, "greedy")
    assert found.status.reason == "Evicted"


async def test_a_full_disk_is_rid_of_what_has_ended_then_of_who_fills_it(pressed):
    machine = pressed.driver.machine("h1")
    machine.script("greedy:1", Behaviour(disk=2 * GI, volumes=(("data", 30 * GI),)))
    machine.script("modest:1", Behaviour(disk=6 * GI))
    machine.script("job:1", Behaviour(disk=20 * GI, run_seconds=0))
    volumes = [{"name": "data", "emptyDir": {}}]
    greedy = await add(pressed, "greedy", "greedy:1", volumes=volumes)
    modest = await add(pressed, "modest", "modest:1")
    containers = [{"name": "c", "image": "job:1"}]
    await pressed.add_pod("job", "h1", containers=containers, restartPolicy="Never")
    job = await pressed.pod("job", lambda p: p.status.phase == "Succeeded")
    machine.filled = 35 * GI
    await node(pressed, "DiskPressure", "True")
    await pressed.eventually(lambda: job.meta.uid not in machine.pods)
    await node(pressed, "DiskPressure", "False")
    assert runs(pressed, greedy.meta.uid), "what had ended was enough"
    assert (await pressed.pod("job", lambda p: p is not None)).status.phase == "Succeeded"

    machine.filled = 55 * GI
    found = await failed(pressed, "greedy")
    assert (found.status.reason, found.status.phase) == ("Evicted", "Failed")
    assert found.status.message.startswith(
        "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 7Gi"
    )
    assert "Container c was using 2Gi, request is 0, has larger" in found.status.message
    assert found.status.condition("DisruptionTarget").reason == "TerminationByKubelet"
    await node(pressed, "DiskPressure", "False")
    assert greedy.meta.uid not in machine.pods, "its files are gone"
    assert runs(pressed, modest.meta.uid)
    told = await pressed.events("EvictionThresholdMet", "NodeHasDiskPressure", "Evicted")
    assert any(e["message"] == "Attempting to reclaim ephemeral-storage" for e in told)
    assert pressed.agents.evictions == {"ephemeral-storage": 1}


async def test_who_keeps_more_on_disk_than_its_limits_say_is_evicted(pressed):
    machine = pressed.driver.machine("h1")
    machine.script("greedy:1", Behaviour(disk=2 * GI, volumes=(("data", 3 * GI),)))
    limited = [{"name": "data", "emptyDir": {"sizeLimit": "2Gi"}}]
    plain = [{"name": "data", "emptyDir": {}}]
    limits = {"ephemeral-storage": "5Gi"}
    within = await add(pressed, "within", "greedy:1", limits=limits, volumes=plain)
    await add(pressed, "volume", "greedy:1", volumes=limited)
    found = await failed(pressed, "volume")
    words = 'Usage of EmptyDir volume "data" exceeds the limit "2Gi". '
    assert (found.status.reason, found.status.message) == ("Evicted", words)
    assert found.status.condition("DisruptionTarget") is None, "it is its own doing"
    few = {"ephemeral-storage": "4Gi"}
    await add(pressed, "layer", "greedy:1", limits=few, volumes=plain)
    found = await failed(pressed, "layer")
    assert found.status.message == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 4Gi. "
    )
    assert runs(pressed, within.meta.uid)
    told = [e for e in await pressed.events("Evicted") if e["reason"] == "Evicted"]
    assert sorted(e["involvedObject"]["name"] for e in told) == ["layer", "volume"], "once each"
    assert pressed.agents.evictions == {"ephemeral-storage-limit": 2}


async def test_who_is_on_its_way_out_when_it_is_measured_is_not_evicted_again(pressed, monkeypatch):
    monkeypatch.setattr(storage_limit_watch, "_SHARE", 0)
    machine, host = pressed.driver.machine("h1"), pressed.agents.host("h1")
    machine.script("greedy:1", Behaviour(memory=3 * GI, disk=2 * GI, ignores_term=True))
    machine.script("deaf:1", Behaviour(disk=2 * GI, ignores_term=True))
    measure, may_end, asked = host.disk_usage, asyncio.Event(), []

    async def nothing(containers, *, volumes):
        return DiskUsage({}, {})

    async def slowly(containers, *, volumes):
        asked.append(len(containers))
        found = await measure(containers, volumes=volumes)
        await may_end.wait()
        return found

    host.disk_usage = nothing
    few = {"ephemeral-storage": "1Gi"}
    await add(pressed, "greedy", "greedy:1", limits=few)
    await add(pressed, "deleted", "deaf:1", limits=few)
    await add(pressed, "within", "modest:1", limits=few)
    host.disk_usage = slowly
    await pressed.eventually(lambda: asked == [3])
    await pressed.delete_pod("deleted")
    await add(pressed, "later", "modest:1")  # so the deletion has been heard of
    machine.spare = Signals(Level(4 * GI, 8 * GI), Level(30_000, 32_768))
    await pressed.pod("greedy", lambda p: p.status.condition("DisruptionTarget") is not None)
    may_end.set()
    await pressed.eventually(lambda: len(asked) > 1)
    assert pressed.agents.evictions == {"memory": 1}
    found = await failed(pressed, "greedy")
    assert found.status.message.startswith("The node was low on resource: memory.")
    told = [e for e in await pressed.events("Evicted") if e["reason"] == "Evicted"]
    assert [e["involvedObject"]["name"] for e in told] == ["greedy"]


async def test_one_of_a_cohort_speaks_for_all_of_whether_they_have_limits(pressed, monkeypatch):
    asked, expanded, host = set(), [], pressed.agents.host("h1")
    measure = host.disk_usage

    async def measures(containers, *, volumes):
        expanded.append(len(containers))
        return await measure(containers, volumes=volumes)

    def asks(pod):
        asked.add(pod.meta.name)
        return is_limited(pod)

    # Before anybody has answered: what is answered of a spec is not asked again.
    monkeypatch.setattr(storage_limit_watch, "is_limited", asks)
    machine = pressed.driver.machine("h1")
    machine.script("modest:1", Behaviour(disk=2 * GI))
    free = await pressed.add_cohort(["h1"] * 20, containers=[{"name": "c", "image": "modest:1"}])
    for ordinal in range(20):
        await pressed.running(free.name(ordinal))
    host.disk_usage = measures
    resources = {"limits": {"ephemeral-storage": "1Gi"}}
    containers = [{"name": "c", "image": "modest:1", "resources": resources}]
    limited = await pressed.add_cohort(["h1"] * 3, containers=containers)
    for ordinal in range(3):
        found = await failed(pressed, limited.name(ordinal))
        assert found.status.reason == "Evicted"
    assert 0 < len(asked & {free.name(ordinal) for ordinal in range(20)}) < 20
    assert max(expanded) <= 3, "the others were not looked at one by one"


async def test_what_had_ended_is_enough_though_images_cannot_be_looked_at(pressed):
    await pressed.stop_agents()
    await pressed.start_agents(pressure=0.5)  # time for what is cleared to go before the next look
    await pressed.ready("h1")
    machine, host = pressed.driver.machine("h1"), pressed.agents.host("h1")
    machine.script("modest:1", Behaviour(disk=6 * GI))
    machine.script("job:1", Behaviour(disk=20 * GI, run_seconds=0))
    await add(pressed, "modest", "modest:1")
    containers = [{"name": "c", "image": "job:1"}]
    await pressed.add_pod("job", "h1", containers=containers, restartPolicy="Never")
    job = await pressed.pod("job", lambda p: p.status.phase == "Succeeded")

    async def fails():
        raise HostUnreachable("no answer")

    host.images.list = fails
    machine.filled = 70 * GI
    await pressed.eventually(lambda: job.meta.uid not in machine.pods)
    await node(pressed, "DiskPressure", "True")
    await node(pressed, "DiskPressure", "False")
    assert pressed.agents.evictions == {}
