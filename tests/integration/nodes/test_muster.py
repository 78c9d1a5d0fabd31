"""Pods of a cohort start together, and are looked after like any others."""

import re

import msgspec
from ironfree_simulated import Behaviour

from scheduler.drivers import EngineState
from scheduler.objects.stored import ObjectKey
from scheduler.store.operations import Remove
from tests.store_values import replace


async def hosts(cluster, *names):
    for name in names:
        await cluster.add_host(name)
    for name in names:
        await cluster.ready(name)
    await cluster.eventually(
        lambda: all(cluster.agents._agents[name].company is not None for name in names)
    )


async def all_running(cluster, lot):
    return [await cluster.running(lot.name(ordinal)) for ordinal in range(lot.size)]


async def lodged(cluster):
    return [pod for pod in (await cluster.store.list("pods")).objects if pod.lodged]


def alike(status):
    """Return a status without what no two pods share."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|10\.\d+\.\d+\.\d+|[0-9a-f]{16}", "*", status)
    return msgspec.json.decode(text)


async def test_they_start_together_and_say_what_a_worker_would_say(cluster):
    await hosts(cluster, "h1", "h2")
    lot = await cluster.add_cohort(["h1", "h2"] * 20)
    pods = await all_running(cluster, lot)
    assert len(await lodged(cluster)) == 40
    assert len({pod.status.pod_ip for pod in pods}) == 40
    for pod in pods:
        seen = {o.identity.uid: o for o in cluster.driver.machine(pod.node).observe()}
        observed = seen[pod.meta.uid]
        assert observed.identity.name == pod.meta.name
        assert observed.sandbox.ip == pod.status.pod_ip
        (container,) = pod.status.container_statuses
        assert container.container_id == f"simulated://{observed.containers[0].id}"
    alone = await cluster.add_pod("alone", "h1")
    await cluster.running("alone")
    single = await cluster.store.get(alone.key)
    assert alike(pods[0].stored.status.decode()) == alike(single.status.decode())


async def test_a_container_that_dies_is_replaced(cluster):
    await hosts(cluster, "h1")
    lot = await cluster.add_cohort(["h1"] * 3)
    await all_running(cluster, lot)
    machine = cluster.driver.machine("h1")
    (seen,) = (o for o in machine.observe() if o.identity.uid == lot.pod_uid(1))
    machine.exit_container(seen.containers[0].id, 137)
    again = lambda p: p.status.container_statuses[0].restart_count == 1  # noqa: E731
    pod = await cluster.pod(lot.name(1), again)
    assert pod.status.container_statuses[0].last_state.terminated.exit_code == 137
    await cluster.eventually(lambda: len(machine.starts) == 4)
    assert len(await lodged(cluster)) == 2


async def test_one_is_deleted_and_another_changed(cluster):
    await hosts(cluster, "h1")
    lot = await cluster.add_cohort(["h1"] * 3)
    await all_running(cluster, lot)
    machine = cluster.driver.machine("h1")
    await cluster.delete_pod(lot.name(0), grace=1)
    changed = await cluster.store.get(ObjectKey("pods", "default", lot.name(1)))
    await cluster.store.write(replace(changed, labels={"x": "y"}))
    await cluster.pod(lot.name(0), lambda p: p is None)
    await cluster.store.write(Remove(ObjectKey("pods", "default", lot.name(2))))
    await cluster.eventually(lambda: set(machine.pods) == {lot.pod_uid(1)})
    assert len(machine.starts) == 3


async def test_a_restarted_scheduler_adopts_them(cluster):
    await hosts(cluster, "h1")
    lot = await cluster.add_cohort(["h1"] * 5)
    await all_running(cluster, lot)
    machine = cluster.driver.machine("h1")
    await cluster.stop_agents()
    await cluster.start_agents()
    await cluster.ready("h1")
    late = await cluster.add_cohort(["h1"] * 2)
    await all_running(cluster, late)
    assert len(machine.starts) == 7
    assert len(await lodged(cluster)) == 7


async def test_a_rebooted_host_starts_them_again(cluster):
    await hosts(cluster, "h1")
    lot = await cluster.add_cohort(["h1"] * 3)
    await all_running(cluster, lot)
    machine = cluster.driver.machine("h1")
    machine.power_off()
    machine.power_on()
    await cluster.eventually(
        lambda: (
            [
                c.state
                for o in machine.observe()
                if o.sandbox is not None and o.sandbox.running
                for c in o.containers
                if c.attempt == 1
            ]
            == [EngineState.RUNNING] * 3
        )
    )


async def test_an_absent_image_is_told_of_each(cluster):
    await hosts(cluster, "h1")
    machine = cluster.driver.machine("h1")
    machine.withhold("web:1")
    lot = await cluster.add_cohort(["h1"] * 2)
    for ordinal in range(2):
        await cluster.pod(lot.name(ordinal), waits_for_its_image)
    machine.provide("web:1")
    await all_running(cluster, lot)
    assert len(machine.starts) == 2


def waits_for_its_image(pod):
    statuses = pod.status.container_statuses if pod else ()
    return bool(statuses) and "ErrImagePull" in str(statuses[0].state.waiting)


async def test_those_that_do_not_start_alike_start_one_by_one(cluster):
    await hosts(cluster, "h1")
    name = {"fieldRef": {"fieldPath": "metadata.name"}}
    containers = [
        {"name": "web", "image": "web:1", "env": [{"name": "ME", "valueFrom": name}]},
    ]
    lot = await cluster.add_cohort(["h1"] * 2, containers=containers)
    await all_running(cluster, lot)
    machine = cluster.driver.machine("h1")
    told = {
        dict(process.spec.env)["ME"]
        for place in machine.pods.values()
        for process in place.processes.values()
    }
    assert told == {lot.name(0), lot.name(1)}


async def test_commands_that_cannot_start_are_told_of_each(cluster):
    await hosts(cluster, "h1")
    machine = cluster.driver.machine("h1")
    machine.script("web:1", Behaviour(start_error="no such file"))
    lot = await cluster.add_cohort(["h1"] * 2)
    for ordinal in range(2):
        await cluster.pod(
            lot.name(ordinal), lambda p: p is not None and "no such file" in str(p.status)
        )


async def test_a_slow_host_keeps_no_other_waiting(cluster):
    await cluster.add_host("slow", address="simulated://slow?start=5")
    await hosts(cluster, "h1")
    await cluster.ready("slow")
    await cluster.eventually(lambda: cluster.agents._agents["slow"].company is not None)
    mixed = await cluster.add_cohort(["slow"])
    lot = await cluster.add_cohort(["h1"] * 3)
    await all_running(cluster, lot)
    assert cluster.pods.get("default", mixed.name(0)).status.phase == "Pending"
