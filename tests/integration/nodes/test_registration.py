"""From DockerHost to Node: capacity, labels, conditions, heartbeats, removal."""

import asyncio
import logging

import msgspec
import pytest

from scheduler.drivers import EngineState, HostAddress, PodIdentity, SandboxSpec
from scheduler.nodes.agent import NodeAgent
from scheduler.nodes.docker_host import RESOURCE
from scheduler.nodes.engines import ENGINE
from scheduler.nodes.heartbeat import LEASES
from scheduler.nodes.session import Session
from scheduler.objects.stored import Body, ObjectKey
from scheduler.store.operations import Remove
from tests.store_values import replace


async def test_a_host_becomes_a_node(cluster):
    made = await cluster.add_host(
        "h1",
        address="simulated://h1?cpu=4&memory=8Gi&disk=100Gi&arch=arm64&gpu=2",
        zone="east",
        labels={"disk": "ssd"},
        reserved={"cpu": "500m", "memory": "1Gi"},
        capacity={"pods": "20", "example.com/seat": "3"},
        taints=[{"key": "dedicated", "value": "db", "effect": "NoSchedule"}],
    )
    node = await cluster.ready("h1")
    assert node.status.capacity == {
        "cpu": "4",
        "memory": "8Gi",
        "pods": "20",
        "ephemeral-storage": "100Gi",
        "nvidia.com/gpu": "2",
        "example.com/seat": "3",
    }
    assert node.status.allocatable["cpu"] == "3500m"
    assert node.status.allocatable["memory"] == "7Gi"
    assert node.meta.labels["kubernetes.io/hostname"] == "h1"
    assert node.meta.labels["kubernetes.io/arch"] == "arm64"
    assert node.meta.labels["topology.kubernetes.io/zone"] == "east"
    assert node.meta.labels["disk"] == "ssd"
    assert node.spec.taints[0].key == "dedicated"
    assert node.meta.owner_references[0].uid == made.meta.uid
    assert {c.type: c.status for c in node.status.conditions} == {
        "Ready": "True",
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "EngineStuck": "False",
    }
    host = await cluster.host("h1", lambda h: h.status.node_name == "h1")
    assert host.status.engine_version == "simulated://1.0"
    assert {c.type: c.status for c in host.status.conditions} == {
        "Ready": "True",
        "Reachable": "True",
    }


async def test_cordon_and_foreign_conditions_last(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    stored = await cluster.store.get(ObjectKey("nodes", "", "h1"))
    status = msgspec.json.decode(stored.status)
    for condition in status["conditions"]:
        if condition["type"] == "Ready":
            condition["status"] = "Unknown"
    status["conditions"].append({"type": "NetworkUnavailable", "status": "False"})
    spec = msgspec.json.decode(stored.body.json)
    spec["spec"]["unschedulable"] = True
    body = msgspec.structs.replace(stored.body, json=msgspec.json.encode(spec))
    await cluster.store.write(
        replace(stored, expected=None, body=body, status=msgspec.json.encode(status))
    )
    node = await cluster.until(
        cluster.nodes,
        "",
        "h1",
        lambda n: n.spec.unschedulable and n.status.condition("Ready").status == "True",
    )
    assert node.status.condition("NetworkUnavailable").status == "False"


async def test_what_changes_while_a_host_is_being_connected_is_not_lost(cluster, monkeypatch):
    looking, changed = asyncio.Event(), asyncio.Event()
    look_around, change = Session.look_around, NodeAgent.changed

    async def look(session):
        looking.set()
        await changed.wait()
        await look_around(session)

    async def take_in(agent, docker_host):
        await change(agent, docker_host)
        changed.set()

    monkeypatch.setattr(Session, "look_around", look)
    monkeypatch.setattr(NodeAgent, "changed", take_in)
    made = await cluster.add_host("h1")
    await looking.wait()
    spec = {"driver": "simulated", "address": "simulated://h1", "labels": {"disk": "ssd"}}
    body = msgspec.structs.replace(made.body, json=msgspec.json.encode({"spec": spec}))
    present = await cluster.store.get(made.key)  # which has a finalizer by now
    await cluster.store.write(replace(present, expected=None, body=body))
    node = await cluster.until(
        cluster.nodes, "", "h1", lambda n: n is not None and n.meta.labels.get("disk") == "ssd"
    )
    assert node.status.condition("Ready").status == "True"


async def test_heartbeats_are_renewed_while_the_engine_answers(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    key = ObjectKey(LEASES, "kube-node-lease", "h1")

    def renewed(lease):
        return msgspec.json.decode(lease.body.json)["spec"]["renewTime"]

    first = renewed(await cluster.store.get(key))
    subscription = cluster.store.watch({LEASES}, await cluster.store.revision())
    async for batch in subscription:
        if batch.changes:
            break
    await subscription.aclose()
    assert renewed(await cluster.store.get(key)) > first
    machine = cluster.driver.machine("h1")
    machine.partition()
    await cluster.eventually(lambda: cluster.agents.host("h1") is None)
    last = renewed(await cluster.store.get(key))
    await cluster.host("h1", lambda h: h.status.conditions[0].status == "False")
    assert renewed(await cluster.store.get(key)) == last


async def test_a_removed_host_takes_its_node_with_it(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    await cluster.store.write(Remove(ObjectKey(RESOURCE, "", "h1")))
    await cluster.until(cluster.nodes, "", "h1", lambda n: n is None)
    assert cluster.agents.host("h1") is None


async def test_what_is_wrong_with_a_host_is_said_on_it(cluster):
    await cluster.add_host("typo", address="simulated://typo?cpus=4")
    await cluster.add_host("engine", driver="podman")
    await cluster.add_host("secret", tlsSecretName="absent")

    def failed(host):
        return any(c.status == "False" for c in host.status.conditions)

    typo = await cluster.host("typo", failed)
    assert "unknown option 'cpus'" in typo.status.conditions[0].message
    engine = await cluster.host("engine", failed)
    assert 'no driver "podman" is installed' in engine.status.conditions[0].message
    secret = await cluster.host("secret", failed)
    assert 'secret "kube-system/absent" not found' in secret.status.conditions[0].message
    assert cluster.nodes.items == {}


@pytest.mark.parametrize(
    "address", ["simulated://first?cpu=64", "simulated://first/spelled?cpu=64"]
)
async def test_one_engine_is_one_node(cluster, address):
    await cluster.add_host("first")
    await cluster.add_pod("web", "first")
    await cluster.running("web")
    await cluster.add_host("second", address=address)
    await refused(cluster, "second", "DockerHost first already")
    assert cluster.nodes.get("", "second") is None
    assert len(cluster.driver.machine("first").starts) == 1, "the pod was left alone"
    await cluster.store.write(Remove(ObjectKey(RESOURCE, "", "first")))
    await cluster.ready("second")


async def refused(cluster, name, words):
    """Wait until a DockerHost says that it cannot be used, and why."""

    def said(host):
        return host and any(words in c.message for c in host.status.conditions)

    host = await cluster.host(name, said)
    assert {(c.status, c.reason) for c in host.status.conditions} == {
        ("False", "InvalidConfiguration")
    }


async def move(cluster, name, address):
    stored = await cluster.store.get(ObjectKey(RESOURCE, "", name))
    body = msgspec.json.encode({"spec": {"driver": "simulated", "address": address}})
    await cluster.store.write(replace(stored, body=Body(body), expected=None))


async def test_an_engine_stays_with_the_host_that_has_it_under_the_next_leader(cluster):
    await cluster.add_host("older", address="simulated://older")
    await cluster.add_host("younger", address="simulated://younger")
    await cluster.add_pod("web", "younger")
    await cluster.running("web")
    await move(cluster, "older", "simulated://younger/spelled")
    await refused(cluster, "older", "DockerHost younger already")
    await cluster.stop_agents()
    await cluster.start_agents()
    await cluster.ready("younger")
    assert cluster.agents.host("older") is None
    await cluster.delete_host("older")
    await cluster.host("older", lambda h: h is None)
    [seen] = cluster.driver.machine("younger").observe()
    assert seen.containers[0].state is EngineState.RUNNING


async def test_an_address_may_be_spelled_otherwise(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    await cluster.running("web")
    await move(cluster, "h1", "simulated://h1/spelled")

    def moved(node):
        return node.meta.annotations[ENGINE] == "simulated simulated://h1/spelled"

    await cluster.until(cluster.nodes, "", "h1", moved)
    await cluster.ready("h1")
    assert len(cluster.driver.machine("h1").starts) == 1


async def test_a_node_with_pods_stays_on_its_engine(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    await cluster.running("web")
    await move(cluster, "h1", "simulated://h2")
    await refused(cluster, "h1", "simulated://h2 is another engine than simulated://h1")
    assert cluster.driver.machine("h2").starts == []
    await cluster.delete_host("h1")
    await refused(cluster, "h1", "may still run")
    assert len(cluster.driver.machine("h1").observe()) == 1
    await move(cluster, "h1", "simulated://h1")
    await cluster.host("h1", lambda h: h is None)
    assert cluster.driver.machine("h1").observe() == ()


async def test_a_node_without_pods_may_go_to_another_engine(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    await move(cluster, "h1", "simulated://h2")
    await cluster.until(
        cluster.nodes, "", "h1", lambda n: n.status.node_info.machine_id == "simulated/h2"
    )
    await cluster.add_host("h2", address="simulated://h1")
    await cluster.ready("h2")


async def test_another_installation_on_the_engine_keeps_its_pods(cluster):
    address = HostAddress("h1", "simulated://h1", cluster="another")
    hers = await cluster.driver.connect(address)
    identity = PodIdentity("hers", "default", "hers")
    await hers.ensure_sandbox(SandboxSpec(identity, "hers"))
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    await cluster.running("web")
    assert [pod.identity for pod in await hers.observe()] == [identity]
    await cluster.delete_host("h1")
    await cluster.host("h1", lambda h: h is None)
    [left] = cluster.driver.machine("h1").observe()
    assert (left.identity, left.sandbox.running) == (identity, True)


async def test_a_host_that_stays_unreachable_is_logged_once(cluster, caplog):
    caplog.set_level(logging.INFO, "scheduler.nodes.agent")
    connect, attempts = cluster.driver.connect, 0

    async def counted(address):
        nonlocal attempts
        attempts += 1
        return await connect(address)

    cluster.driver.connect = counted
    await cluster.add_host("h1", address="simulated://h1?cpus=4")
    await cluster.eventually(lambda: attempts >= 4)
    lines = [r.message for r in caplog.records if r.message.startswith("host h1:")]
    assert len(lines) == 1
    assert "unknown option 'cpus'" in lines[0]


async def test_a_deleted_host_goes_after_its_containers(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    await cluster.running("web")
    left = []

    def gone(node):
        if node is None:
            left.append(len(cluster.driver.machine("h1").observe()))
        return node is None

    await cluster.delete_host("h1")
    await cluster.until(cluster.nodes, "", "h1", gone)
    assert left == [0]
    await cluster.pod("web", lambda p: p is None)
    await cluster.host("h1", lambda h: h is None)
    assert await cluster.store.get(ObjectKey(LEASES, "kube-node-lease", "h1")) is None


async def test_a_deleted_host_that_does_not_answer_waits_for_its_containers(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    await cluster.running("web")
    machine = cluster.driver.machine("h1")
    machine.partition()
    await cluster.delete_host("h1")

    def says_so(host):
        return any("may still run" in c.message for c in host.status.conditions)

    host = await cluster.host("h1", says_so)
    assert "kubectl patch dockerhost h1" in host.status.conditions[0].message
    node = await cluster.until(cluster.nodes, "", "h1", lambda n: n is None or n.spec.unschedulable)
    assert node is not None, "its pods would be replaced while they may still run"
    machine.heal()
    await cluster.host("h1", lambda h: h is None)
    assert machine.observe() == ()


async def test_a_deleted_host_can_be_given_up(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    cluster.driver.machine("h1").partition()
    await cluster.delete_host("h1")
    await cluster.host("h1", lambda h: "may still run" in h.status.conditions[0].message)
    await cluster.store.write(Remove(ObjectKey(RESOURCE, "", "h1")))
    await cluster.until(cluster.nodes, "", "h1", lambda n: n is None)


async def test_a_host_is_examined_when_somebody_asks(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    before = await cluster.store.get(ObjectKey(RESOURCE, "", "h1"))
    asked = {"ironfree.dev/examine": "for once"}
    await cluster.store.write(replace(before, expected=None, annotations=asked))

    def examined(host):
        return any((c.type, c.message) == ("Examined", "for once") for c in host.status.conditions)

    await cluster.host("h1", examined)
    machine.partition()

    def away(host):
        return any((c.type, c.status) == ("Reachable", "False") for c in host.status.conditions)

    assert examined(await cluster.host("h1", away)), "what was found last stays"
