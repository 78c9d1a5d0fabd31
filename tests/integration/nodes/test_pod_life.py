"""Hooks, probes and written volumes of pods on a simulated host, seen through the store."""

import msgspec
from ironfree_simulated import Behaviour

from scheduler.objects.stored import Body
from tests.store_values import create, replace

TRUE = {"exec": {"command": ["true"]}}


def ready(pod):
    found = pod.status.condition("Ready") if pod else None
    return found is not None and found.status == "True"


def restarts(pod):
    return {s.name: s.restart_count for s in pod.status.container_statuses}


async def add(cluster, name="web", *, image="web:1", spec=None, **container):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    containers = [{"name": "web", "image": image, **container}]
    return await cluster.add_pod(name, "h1", containers=containers, **(spec or {}))


async def test_readiness_follows_its_probe_both_ways(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.script("web:1", Behaviour(exec_code=1))
    probe = {**TRUE, "periodSeconds": 1, "failureThreshold": 1}
    await cluster.add_pod(
        "web", "h1", containers=[{"name": "web", "image": "web:1", "readinessProbe": probe}]
    )
    await cluster.events("Unhealthy")
    pod = await cluster.running("web")
    assert not ready(pod)
    machine.script("web:1", Behaviour())
    await cluster.pod("web", ready)
    machine.script("web:1", Behaviour(exec_code=1))
    pod = await cluster.pod("web", lambda p: not ready(p))
    assert pod.status.container_statuses[0].restart_count == 0
    assert pod.status.phase == "Running"


async def test_readiness_is_probed_until_a_deleted_pod_has_ended(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.script("web:1", Behaviour(ignores_term=True))
    probe = {**TRUE, "periodSeconds": 1, "failureThreshold": 1}
    web = {"name": "web", "image": "web:1", "readinessProbe": probe, "livenessProbe": probe}
    await cluster.add_pod("web", "h1", containers=[web])
    await cluster.pod("web", ready)
    await cluster.delete_pod("web", grace=600)
    await cluster.events("Killing")
    machine.script("web:1", Behaviour(ignores_term=True, exec_code=1))
    pod = await cluster.pod("web", lambda p: not ready(p))
    assert pod.meta.deletion_timestamp is not None
    assert pod.status.container_statuses[0].state.running is not None
    machine.script("web:1", Behaviour(ignores_term=True))
    pod = await cluster.pod("web", ready)
    assert pod.status.container_statuses[0].restart_count == 0
    failures = [e for e in await cluster.events("Unhealthy") if e["reason"] == "Unhealthy"]
    assert {each["message"].split()[0] for each in failures} == {"Readiness"}


async def test_a_liveness_probe_restarts_its_container_and_no_other(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    probe = {**TRUE, "periodSeconds": 1, "failureThreshold": 1}
    sick = {"name": "sick", "image": "sick", "livenessProbe": probe}
    well = {"name": "well", "image": "well", "livenessProbe": probe}
    await cluster.add_pod("web", "h1", containers=[sick, well])
    await cluster.pod("web", ready)
    machine.script("sick", Behaviour(exec_code=1))
    await cluster.events("Killing")
    machine.script("sick", Behaviour())
    pod = await cluster.pod("web", lambda p: ready(p) and restarts(p)["sick"] > 0)
    assert restarts(pod)["well"] == 0


async def test_hooks_run_around_a_containers_life(cluster):
    hooks = {
        "postStart": {"exec": {"command": ["begin"]}},
        "preStop": {"exec": {"command": ["end"]}},
    }
    await add(cluster, lifecycle=hooks)
    machine = cluster.driver.machine("h1")
    pod = await cluster.pod("web", ready)
    container = pod.status.container_statuses[0].container_id.removeprefix("simulated://")
    assert machine.commands == [(container, ("begin",))]
    await cluster.delete_pod("web")
    await cluster.pod("web", lambda p: p is None)
    assert machine.commands == [(container, ("begin",)), (container, ("end",))]


async def test_a_hook_that_fails_restarts_its_container(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.script("web:1", Behaviour(exec_code=1))
    hooks = {"postStart": TRUE}
    await cluster.add_pod(
        "web", "h1", containers=[{"name": "web", "image": "web:1", "lifecycle": hooks}]
    )
    await cluster.events("FailedPostStartHook", "Killing")
    machine.script("web:1", Behaviour())
    pod = await cluster.pod("web", ready)
    assert pod.status.container_statuses[0].restart_count >= 1


async def test_probes_that_reach_no_network_never_pass_in_silence(cluster):
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    await add(cluster, readinessProbe=probe)
    events = await cluster.events("ProbeError")
    assert any("offers no way to reach its pods" in event["message"] for event in events)
    assert not ready(await cluster.running("web"))


async def test_a_deadline_ends_a_pod(cluster):
    await add(cluster, spec={"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1})
    pod = await cluster.pod("web", lambda p: p.status.phase == "Failed")
    assert pod.status.reason == "DeadlineExceeded"
    assert not any(seen.sandbox.running for seen in cluster.driver.machine("h1").observe())


async def test_written_volumes_wait_for_their_source_and_follow_it(cluster):
    volumes = [
        {"name": "look", "configMap": {"name": "look"}},
        {
            "name": "self",
            "downwardAPI": {
                "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            },
        },
    ]
    made = await add(cluster, spec={"volumes": volumes})
    machine, key = cluster.driver.machine("h1"), (made.meta.uid, "look")
    events = await cluster.events("FailedMount")
    assert any('configmap "look" not found' in event["message"] for event in events)
    assert machine.starts == []
    body = msgspec.json.encode({"data": {"colour": "blue"}, "binaryData": {"b": "AAE="}})
    look = await cluster.store.write(create("configmaps", "look", "default", body))
    await cluster.pod("web", ready)
    assert machine.files[key] == {"colour": b"blue", "b": b"\0\1"}
    body = msgspec.json.encode({"data": {"colour": "green"}})
    await cluster.store.write(replace(look, body=Body(body)))
    await cluster.eventually(lambda: machine.files[key] == {"colour": b"green"})
    assert machine.files[made.meta.uid, "self"] == {"labels": b""}
    stored = await cluster.store.get(made.key)
    await cluster.store.write(replace(stored, expected=None, labels={"app": 'a"b'}))
    await cluster.eventually(
        lambda: machine.files[made.meta.uid, "self"] == {"labels": b'app="a\\"b"'}
    )
    assert len(machine.starts) == 1


async def test_a_group_without_a_user_goes_with_the_images_user(cluster):
    await add(cluster, spec={"securityContext": {"runAsGroup": 3000}})
    await cluster.running("web")
    (place,) = cluster.driver.machine("h1").pods.values()
    (process,) = [p for p in place.processes.values() if p.spec.name == "web"]
    assert process.spec.user == "0:3000"
