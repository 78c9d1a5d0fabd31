"""A pod's life on a host, from binding to removal, seen through the store."""

import base64

import msgspec
from ironfree_simulated import Behaviour

from scheduler.drivers import EngineState
from scheduler.objects.stored import ObjectKey
from tests.store_values import create, replace


def condition(pod, kind):
    found = pod.status.condition(kind)
    return found.status if found else ""


async def test_a_bound_pod_runs_and_says_so(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    pod = await cluster.pod(
        "web",
        lambda p: p.status.condition("Ready") and p.status.condition("Ready").status == "True",
    )
    status = pod.status
    assert status.phase == "Running"
    assert status.pod_ip.startswith("10.")
    assert status.pod_ips[0].ip == status.pod_ip
    assert status.host_ip == "10.0.0.1"
    assert status.qos_class == "Burst", "what is not the node's to say is kept"
    [container] = status.container_statuses
    assert container.state.running.started_at is not None
    assert container.ready
    assert container.restart_count == 0
    assert container.container_id.startswith("simulated://")
    raw = msgspec.json.decode((await cluster.store.get(ObjectKey("pods", "default", "web"))).status)
    assert raw["containerStatuses"][0]["restartCount"] == 0
    assert raw["hostIPs"] == [{"ip": "10.0.0.1"}]
    events = await cluster.events("Pulled", "Created", "Started")
    started = next(e for e in events if e["reason"] == "Started")
    assert started["message"] == "Started container web"
    assert started["source"] == {"component": "kubelet", "host": "h1"}
    assert started["involvedObject"]["fieldPath"] == "spec.containers{web}"


async def test_a_deleted_pod_is_stopped_and_gone(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    await cluster.running("web")
    await cluster.delete_pod("web")
    await cluster.pod("web", lambda p: p is None)
    assert cluster.driver.machine("h1").observe() == ()
    await cluster.events("Killing")


async def test_a_pod_that_ignores_term_is_killed_after_its_grace(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.script("web:1", Behaviour(ignores_term=True))
    await cluster.add_pod("web", "h1", terminationGracePeriodSeconds=600)
    await cluster.running("web")
    await cluster.delete_pod("web")
    await cluster.events("Killing")
    assert machine.observe()[0].containers[0].state is EngineState.RUNNING
    await cluster.delete_pod("web", grace=1)  # a second delete shortens the wait
    await cluster.pod("web", lambda p: p is None)
    assert machine.observe() == ()


async def test_a_pod_removed_by_force_is_killed_at_once(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.script("web:1", Behaviour(ignores_term=True))
    await cluster.add_pod("web", "h1", terminationGracePeriodSeconds=600)
    await cluster.running("web")
    await cluster.delete_pod("web")
    await cluster.events("Killing")
    await cluster.delete_pod("web", grace=0)
    await cluster.eventually(lambda: machine.observe() == ())


async def test_finalizers_keep_the_object_but_not_the_containers(cluster):
    await cluster.add_host("h1")
    made = await cluster.add_pod("web", "h1")
    await cluster.running("web")
    stored = await cluster.store.get(made.key)
    await cluster.store.write(replace(stored, expected=None, finalizers=("example.com/hold",)))
    await cluster.delete_pod("web")
    await cluster.pod("web", lambda p: p.meta.deletion_grace_period_seconds == 0)
    assert cluster.driver.machine("h1").observe() == ()
    stored = await cluster.store.get(made.key)
    await cluster.store.write(replace(stored, expected=None, finalizers=()))
    await cluster.pod("web", lambda p: p is None)


async def test_a_crashing_container_backs_off(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    cluster.driver.machine("h1").script("web:1", Behaviour(run_seconds=0.01, exit_code=3))
    await cluster.add_pod("web", "h1")

    def backing_off(pod):
        statuses = pod.status.container_statuses
        waiting = statuses[0].state.waiting if statuses else None
        return waiting is not None and waiting.reason == "CrashLoopBackOff"

    pod = await cluster.pod("web", backing_off)
    [container] = pod.status.container_statuses
    assert container.restart_count == 1, "the first restart is immediate"
    assert container.last_state.terminated.exit_code == 3
    assert container.last_state.terminated.reason == "Error"
    assert pod.status.phase == "Running"
    assert pod.status.condition("Ready").reason == "ContainersNotReady"
    [event] = [e for e in await cluster.events("BackOff") if e["reason"] == "BackOff"]
    assert event["type"] == "Warning"
    await cluster.pod("web", lambda p: p.status.container_statuses[0].restart_count == 2)


async def test_never_and_on_failure_end_as_they_should(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.script("good", Behaviour(run_seconds=0.01))
    machine.script("bad", Behaviour(run_seconds=0.01, exit_code=137, oom_killed=True))
    good, bad = [{"name": "c", "image": "good"}], [{"name": "c", "image": "bad"}]
    await cluster.add_pod("good", "h1", restartPolicy="OnFailure", containers=good)
    await cluster.add_pod("bad", "h1", restartPolicy="Never", containers=bad)
    done = await cluster.pod("good", lambda p: p.status.phase == "Succeeded")
    assert done.status.container_statuses[0].state.terminated.reason == "Completed"
    assert done.status.condition("Ready").reason == "PodCompleted"
    lost = await cluster.pod("bad", lambda p: p.status.phase == "Failed")
    assert lost.status.container_statuses[0].state.terminated.reason == "OOMKilled"
    assert not any(seen.sandbox.running for seen in machine.observe()), "ports are free again"
    assert len(machine.starts) == 2


async def test_init_containers_run_one_after_another_before_the_apps(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.script("init", Behaviour(run_seconds=0.02))
    inits = [{"name": "one", "image": "init"}, {"name": "two", "image": "init"}]
    side = {"name": "side", "image": "side", "restartPolicy": "Always"}
    await cluster.add_pod("web", "h1", initContainers=[side, *inits])
    pod = await cluster.running("web")
    assert [name for _, name, _ in machine.starts] == ["side", "one", "two", "web"]
    assert [s.name for s in pod.status.init_container_statuses] == ["side", "one", "two"]
    assert pod.status.condition("Initialized").status == "True"


async def test_an_absent_image_is_named_and_pulled_when_it_comes(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.withhold("web:1")
    await cluster.add_pod("web", "h1")

    def waits_for(reason):
        def test(pod):
            statuses = pod.status.container_statuses
            waiting = statuses[0].state.waiting if statuses else None
            return waiting is not None and waiting.reason == reason

        return test

    pod = await cluster.pod("web", waits_for("ErrImagePull"))
    assert "web:1" in pod.status.container_statuses[0].state.waiting.message
    pod = await cluster.pod("web", waits_for("ImagePullBackOff"))
    assert pod.status.phase == "Pending"
    events = await cluster.events("Failed")
    assert any('Failed to pull image "web:1"' in e["message"] for e in events)
    machine.provide("web:1")
    await cluster.running("web")


async def test_references_are_resolved_or_named(cluster):
    await cluster.add_host("h1")
    secret = {"data": {"word": base64.b64encode(b"hush").decode()}}
    body = msgspec.json.encode(secret)
    await cluster.store.write(create("secrets", "keys", "default", body))
    env = [
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "word"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "look", "key": "colour"}}},
        {"name": "BOTH", "value": "$(WORD) $(COLOUR)"},
    ]
    container = {"name": "web", "image": "web:1", "env": env, "args": ["--say=$(BOTH)"]}
    await cluster.add_pod("web", "h1", containers=[container])

    def misconfigured(pod):
        statuses = pod.status.container_statuses
        waiting = statuses[0].state.waiting if statuses else None
        return waiting is not None and waiting.reason == "CreateContainerConfigError"

    pod = await cluster.pod("web", misconfigured)
    assert pod.status.container_statuses[0].state.waiting.message == 'configmap "look" not found'
    look = msgspec.json.encode({"data": {"colour": "blue"}})
    await cluster.store.write(create("configmaps", "look", "default", look))
    pod = await cluster.running("web")
    [place] = cluster.driver.machine("h1").pods.values()
    spec = place.processes["web", 0].spec
    assert dict(spec.env) == {
        "WORD": "hush",
        "IP": pod.status.pod_ip,
        "COLOUR": "blue",
        "BOTH": "hush blue",
    }
    assert spec.args == ("--say=hush blue",)
    assert "hush" not in repr(spec).replace("--say=hush blue", "")


async def test_a_taken_port_is_an_event_and_is_tried_again(cluster):
    await cluster.add_host("h1")
    web = {"name": "web", "image": "web:1", "ports": [{"containerPort": 80, "hostPort": 8080}]}
    await cluster.add_pod("one", "h1", containers=[web])
    await cluster.running("one")
    await cluster.add_pod("two", "h1", containers=[web])
    events = await cluster.events("FailedCreatePodSandBox")
    assert any("port is already allocated" in e["message"] for e in events)
    await cluster.delete_pod("one", grace=1)
    await cluster.running("two")


async def test_a_pod_waits_for_its_runtime_class(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    await cluster.add_pod("web", "h1", runtimeClassName="sandboxed")
    (refused,) = await cluster.events("FailedCreatePodSandBox")
    assert 'RuntimeClass "sandboxed" not found' in refused["message"]
    body = b'{"handler":"runsc"}'
    await cluster.store.write(create("runtimeclasses.node.k8s.io", "sandboxed", body=body))
    await cluster.running("web")
