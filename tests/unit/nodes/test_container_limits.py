"""What a pod and its node set for a container besides its own limits (kubelet's numbers)."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as msgspec_replace

from scheduler.drivers import ContainerSpec, HostInfo, Ulimit
from scheduler.nodes.container_limits import NodeLimits, limited, node_limits
from scheduler.nodes.docker_host import DockerHost, DockerHostSpec
from scheduler.nodes.registration import Registration
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import (
    Container,
    EphemeralContainer,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
)
from scheduler.objects.stored import Body, StoredObject

GIB = 1 << 30
NODE = NodeLimits(memory=8 * GIB, swap=4 * GIB)
ALONE = ContainerSpec("c", "i", 0, "h")


def app(request="", limit="", **more):
    requests = {"memory": request} if request else {}
    limits = {"memory": limit} if limit else {}
    return Container("c", resources=ResourceRequirements(requests, limits), **more)


def pod(container, qos="Burstable", **spec):
    meta = ObjectMeta(name="p", namespace="n", uid="u")
    spec = PodSpec(containers=(container,), **spec)
    return Pod(meta, spec, PodStatus(qos_class=qos), "h1", 1, b"")


@pytest.mark.parametrize(
    ("container", "qos", "priority_class", "swap"),
    [
        (app("2Gi", "4Gi"), "Burstable", "", GIB),
        (app("2Gi"), "Burstable", "", GIB),
        (app("2Gi", "2Gi"), "Burstable", "", 0),
        (app(), "Burstable", "", 0),
        (app("2Gi", "2Gi"), "Guaranteed", "", 0),
        (app(), "BestEffort", "", 0),
        (app("2Gi", "4Gi"), "Burstable", "system-cluster-critical", 0),
    ],
)
def test_swap_goes_to_burstable_pods_by_their_memory(container, qos, priority_class, swap):
    of = pod(container, qos, priority_class_name=priority_class)
    assert limited(ALONE, of, container, NODE).swap == swap
    assert limited(ALONE, of, container, NodeLimits(memory=8 * GIB)).swap == 0


@pytest.mark.parametrize(
    ("container", "qos", "priority_class", "score"),
    [
        (app("1Gi", "1Gi"), "Guaranteed", "", -997),
        (app(), "BestEffort", "", 1000),
        (app("2Gi"), "Burstable", "", 750),
        (app(), "Burstable", "", 999),
        (app("8Gi"), "Burstable", "", 3),
        (app(), "BestEffort", "system-node-critical", -997),
    ],
)
def test_who_is_killed_first_when_memory_runs_out(container, qos, priority_class, score):
    of = pod(container, qos, priority_class_name=priority_class)
    assert limited(ALONE, of, container, NODE).oom_score == score


def test_a_sidecar_is_not_killed_before_whom_it_serves():
    of, sidecar = pod(app("4Gi")), app("1Gi", restart_policy="Always")
    assert limited(ALONE, of, sidecar, NODE).oom_score == 500


def test_a_pods_limits_hold_for_containers_without_their_own():
    level = ResourceRequirements(limits={"cpu": "2", "memory": "1Gi"})
    found = limited(ALONE, pod(app(), resources=level), app(), NODE)
    assert (found.cpu_limit, found.memory_limit) == (2000, GIB)


def test_what_a_pod_requests_beyond_its_containers_is_shared_out():
    level = ResourceRequirements(requests={"cpu": "2", "memory": "4Gi"})
    sidecar, init = app(restart_policy="Always"), app()
    own = Container("own", resources=ResourceRequirements({"cpu": "500m", "memory": "1Gi"}))
    of = pod(app(), resources=level)
    containers, inits = (app(), own), (sidecar, init)
    spec = msgspec_replace(of.spec, containers=containers, init_containers=inits)
    of = msgspec_replace(of, spec=spec)
    for container, requested, cpu, score in (
        (app(), 0, 500, 875),
        (own, 500, 1000, 750),
        (sidecar, 0, 500, 875),
        (EphemeralContainer("debug"), 0, 0, 999),
    ):
        found = limited(replace(ALONE, cpu_request=requested), of, container, NODE)
        assert (found.cpu_request, found.oom_score) == (cpu, score), container.name


def test_what_a_host_declares_holds_for_all_its_containers():
    spec = DockerHostSpec(
        capacity={"memory": "2Gi"},
        pod_pids_limit=100,
        swap="1Gi",
        ulimits={"nofile": "64:128", "core": "0"},
    )
    stored = StoredObject("dockerhosts", ObjectMeta(name="h"), 1, 1, Body(b"{}"), b"")
    info = HostInfo("docker://1", "1.41", "h", "", "linux", "amd64", "", 4, 8 * GIB)
    gpus = {"nvidia.com/gpu": 2}

    def limits(**changes):
        host = DockerHost(stored.meta, msgspec_replace(spec, **changes), stored)
        return node_limits(Registration(host, replace(info, resources=gpus), 110, 1))

    found = limits(swap_behavior="LimitedSwap")
    assert (found.memory, found.pids, found.swap) == (2 * GIB, 100, GIB)
    assert found.ulimits == (Ulimit("core", 0, 0), Ulimit("nofile", 64, 128))
    assert limits(swap_behavior="NoSwap").swap == 0
    wanted = ResourceRequirements(limits={"nvidia.com/gpu": "2", "example.com/other": "1"})
    container = Container("c", resources=wanted)
    made = limited(ALONE, pod(container), container, found)
    assert made.devices == (("nvidia.com/gpu", 2),)
    assert (made.pids_limit, made.ulimits) == (100, found.ulimits)
