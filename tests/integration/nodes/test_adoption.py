"""Containers that become pods, on a fake engine and a real store."""

import msgspec
import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.nodes.adoption_planner import AdoptionPlanner
from scheduler.objects.stored import intern_body
from tests.store_values import create

LIMITS = {"NanoCpus": 1_000_000_000, "Memory": 1 << 30, "RestartPolicy": {"Name": "always"}}
PORTS = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
TOUCHED = {"create", "start", "stop", "kill", "remove"}


@pytest.fixture
async def engine():
    engine = FakeEngine(images={"theirs:v1"}, pullable={"theirs:v1"})
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
    await cluster.ready("one")
    return cluster


async def manifests(cluster, *names, **spec):
    wanted = {"host": "one", "containers": list(names), **spec}
    status = await AdoptionPlanner(cluster.agents).adoption("default", wanted)
    return status["items"]


async def create_pod(cluster, manifest, name=""):
    meta = manifest["metadata"]
    body = intern_body(msgspec.json.encode({"spec": manifest["spec"]}, order="deterministic"))
    named = create("pods", name or meta["name"], "default", body, status=b'{"phase":"Pending"}')
    annotated = msgspec.structs.replace(named.meta, annotations=meta["annotations"])
    return await cluster.store.write(msgspec.structs.replace(named, meta=annotated))


async def adopted(cluster, engine):
    theirs = engine.add("db", HostConfig={**LIMITS, "PortBindings": PORTS})
    (manifest,) = await manifests(cluster, "db")
    await create_pod(cluster, manifest)
    return theirs, await cluster.running("db")


async def offers(cluster, cpu):
    def test(node):
        return node is not None and node.status.allocatable.get("cpu") == cpu

    return await cluster.until(cluster.nodes, "", "one", test)


async def test_a_container_becomes_a_pod_and_goes_on(engine, shared):
    theirs, pod = await adopted(shared, engine)
    (status,) = pod.status.container_statuses
    assert (pod.node, status.container_id) == ("one", f"docker://{theirs.id}")
    assert (status.ready, status.restart_count) == (True, 0)
    assert not set(engine.calls) & TOUCHED
    assert theirs.body["HostConfig"]["RestartPolicy"]["Name"] == "no"
    await offers(shared, "4")  # it is no longer somebody else's, but a pod that requests as much
    await shared.events("Adopted")


async def test_after_a_restart_of_the_service_it_is_still_that_one(engine, shared):
    theirs, _ = await adopted(shared, engine)
    await shared.stop_agents()
    await shared.start_agents(foreign_settle=0.01)
    await shared.ready("one")
    await shared.delete_pod("db", grace=5)
    await shared.pod("db", lambda pod: pod is None)
    assert engine.containers == {}
    assert theirs.status == "exited"
    assert not set(engine.calls) & {"create", "start"}


async def test_when_it_ends_its_pod_goes_on_as_an_ordinary_one(engine, shared):
    theirs, _ = await adopted(shared, engine)
    theirs.status, theirs.exit_code = "exited", 1
    engine.emit("die", theirs)

    def restarted(pod):
        statuses = pod.status.container_statuses if pod else ()
        return any(s.restart_count == 1 and s.ready for s in statuses)

    pod = await shared.pod("db", restarted)
    (status,) = pod.status.container_statuses
    assert status.last_state.terminated.container_id == f"docker://{theirs.id}"
    running = [c for c in engine.containers.values() if c.status == "running"]
    assert len(running) == 2
    assert theirs not in running


async def test_what_another_scheduler_manages_waits_and_says_why(engine, shared):
    engine.add("db", HostConfig=LIMITS)
    (manifest,) = await manifests(shared, "db")
    engine.containers["db"].body["Labels"] = {"io.kubernetes.pod.uid": "1"}
    made = await create_pod(shared, manifest)
    (event,) = [e for e in await shared.events("FailedAdoption") if e["reason"] == "FailedAdoption"]
    assert event["message"].endswith("is not adopted: Kubernetes manages it")
    stored = await shared.store.get(made.key)
    assert stored.binding is None
    assert not set(engine.calls) & (TOUCHED | {"update"})


async def test_one_container_is_one_pod(engine, shared):
    theirs, _ = await adopted(shared, engine)
    manifest = {
        "metadata": {"annotations": {"ironfree.dev/adopts": theirs.id}},
        "spec": {
            "schedulerName": "ironfree-adoption",
            "nodeName": "one",
            "containers": [{"name": "db", "image": "theirs:v1"}],
        },
    }
    made = await create_pod(shared, manifest, "second")
    await shared.events("FailedAdoption")
    assert (await shared.store.get(made.key)).binding is None


async def test_a_pod_forced_away_while_the_host_is_connected_takes_it_along(engine, shared):
    _, pod = await adopted(shared, engine)
    await shared.delete_pod("db", grace=0)
    await shared.pod("db", lambda pod: pod is None)
    await shared.eventually(lambda: not engine.containers)
    assert pod.status.phase == "Running"
