"""Hosts whose engine runs other containers, too, on a fake engine and a real store."""

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.objects.node_ports import FOREIGN_PORTS

LIMITS = {"NanoCpus": 1_000_000_000, "Memory": 1 << 30}
PORTS = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}


@pytest.fixture
async def engine():
    engine = FakeEngine(images={"web:1"}, pullable={"web:1"})
    yield engine
    await engine.stop()


@pytest.fixture
async def shared(cluster, engine, tmp_path):
    """The cluster with agents that drive a fake Docker engine, whose host is "one"."""
    await cluster.stop_agents()
    cluster.driver = DockerDriver()
    url = await engine.serve(tmp_path / "docker.sock")
    await cluster.start_agents(foreign_settle=0.01)
    await cluster.add_host("one", address=url)
    return cluster


async def offers(cluster, cpu, memory):
    def test(node):
        offer = node.status.allocatable if node else {}
        return (offer.get("cpu"), offer.get("memory")) == (cpu, memory)

    return await cluster.until(cluster.nodes, "", "one", test)


async def test_a_node_offers_less_from_the_beginning_and_more_when_others_go(engine, shared):
    other = engine.add("db", HostConfig={**LIMITS, "PortBindings": PORTS})
    node = await shared.until(shared.nodes, "", "one", lambda n: n is not None)
    assert node.status.allocatable["cpu"] == "3"
    assert node.status.capacity["cpu"] == "4"
    assert node.meta.annotations[FOREIGN_PORTS] == "TCP/8080"
    await shared.ready("one")
    other.status = "exited"
    engine.emit("die", other)
    node = await offers(shared, "4", "8Gi")
    assert FOREIGN_PORTS not in node.meta.annotations


async def test_a_pod_without_a_limit_is_told_of_what_others_leave(engine, shared):
    engine.add("db", HostConfig=LIMITS)
    told = {"name": "MOST", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}
    web = {"name": "web", "image": "web:1", "env": [told]}
    await shared.add_pod("p", "one", containers=[web])
    await shared.running("p")
    (made,) = [each for each in engine.containers.values() if "_web_" in each.name]
    assert f"MOST={7 << 30}" in made.body["Env"]


async def test_a_container_that_somebody_starts_is_counted_by_its_event(engine, shared):
    await shared.ready("one")
    engine.add("db", HostConfig=LIMITS)
    node = await offers(shared, "3", "7Gi")
    assert "db (theirs:v1, cpu 1, memory 1Gi)" in node.status.condition("ForeignContainers").message


async def test_pods_run_beside_others_and_are_not_counted_as_such(engine, shared):
    other = engine.add("db", HostConfig=LIMITS)
    await shared.add_pod("web", "one")
    await shared.running("web")
    await offers(shared, "3", "7Gi")
    await shared.delete_pod("web", grace=1)
    await shared.pod("web", lambda pod: pod is None)
    assert (other.status, [c.name for c in engine.containers.values()]) == ("running", ["db"])


async def test_nonsense_about_others_keeps_no_host_from_its_pods(engine, shared):
    await shared.ready("one")
    engine.garbage["stats"] = b"{"
    engine.add("unlimited")
    await shared.add_pod("web", "one")
    await shared.running("web")
