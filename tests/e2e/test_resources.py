"""What a node limits and hands out: processes, ulimits, the kernel's choice of victims, devices."""

import json
from typing import Any

import pytest

from tests.e2e.lab import Host, Lab
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import Ironfree, eventually, replication_controller

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ironfree(shared_ironfree: Ironfree) -> Ironfree:
    """One process for all tests here."""
    return shared_ironfree


LOOP = "example.com/loop"


@pytest.fixture
def equipped(ironfree: Ironfree, host: Host) -> Host:
    """The first host, with limits and two devices, where everything is placed."""
    ids = ["/dev/loop1", "/dev/loop2"]
    spec = {
        "podPidsLimit": 40,
        "ulimits": {"nofile": "64:128"},
        "swapBehavior": "LimitedSwap",
        "swap": "1Gi",
        "devices": [{"name": LOOP, "ids": ids}],
    }
    patch = json.dumps({"spec": spec})
    ironfree.kubectl("patch", "dockerhost", host.name, "--type=merge", "-p", patch)
    eventually(
        lambda: ironfree.get("node", host.name)["status"]["allocatable"].get(LOOP) == "2",
        what="the node offers its devices",
    )
    return host


def test_a_nodes_limits_and_the_oom_score_reach_the_processes(ironfree: Ironfree, equipped: Host):
    limits = {"memory": "64Mi", "cpu": "100m"}
    script = "ulimit -Sn; ulimit -Hn"
    main = {"name": "main", "image": SHELL_IMAGE, "command": ["sh", "-c", script]}
    score = "cat /proc/self/oom_score_adj"
    other = {"name": "other", "image": SHELL_IMAGE, "command": ["sh", "-c", score]}
    requests = {"memory": "512Mi"}
    containers = [
        {**main, "resources": {"limits": limits}},
        {**other, "resources": {"requests": requests, "limits": {"memory": "1Gi"}}},
    ]
    spec = {"restartPolicy": "Never", "nodeName": equipped.name, "containers": containers}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "limits"}, "spec": spec}
    ironfree.kubectl("apply", "-f", "-", given=json.dumps(pod))
    succeeded = "--for=jsonpath={.status.phase}=Succeeded"
    ironfree.kubectl("wait", succeeded, "pod/limits", "--timeout=40s")
    assert ironfree.kubectl("logs", "limits", "-c", "main").split() == ["64", "128"]
    assert ironfree.kubectl("logs", "limits", "-c", "other").split() == ["750"]
    assert ironfree.get("pod", "limits")["status"]["qosClass"] == "Burstable"

    def seen(of: str) -> tuple[int, int, int]:
        (container,) = [c for c in equipped.containers() if f"_{of}_" in c.name]
        config = equipped.inspect(container.id)["HostConfig"]
        return config["PidsLimit"], config["Memory"], config["MemorySwap"]

    assert seen("main") == (40, 64 << 20, 64 << 20), "it may use all that it requests, and no swap"
    assert seen("other") == (40, 1 << 30, (1 << 30) + (256 << 20)), "a quarter of the node's swap"


def devices(host: Host) -> dict[str, str]:
    """Pod uid → the device that its running container has, as the daemon says."""
    found: dict[str, str] = {}
    for container in host.containers():
        labels = container.labels
        if container.state == "running" and labels.get("ironfree.dev/container") == "main":
            inspected = json.loads(host.run("inspect", container.name))[0]["HostConfig"]
            (device,) = inspected["Devices"]
            found[labels["ironfree.dev/pod-uid"]] = device["PathOnHost"]
    return found


def test_never_two_pods_on_one_device(ironfree: Ironfree, equipped: Host, lab: Lab):
    resources = {"limits": {LOOP: "1"}}
    given = replication_controller("loops", 3, spread_out=False, resources=resources)
    ironfree.kubectl("apply", "-f", "-", given=given)

    def waiting() -> list[Any]:
        pods = [p for p in ironfree.pods("app=loops") if not p["spec"].get("nodeName")]
        said = [c["message"] for p in pods for c in p["status"].get("conditions", [])]
        return [m for m in said if f"Insufficient {LOOP}" in m]

    eventually(lambda: len(devices(equipped)) == 2 and waiting(), what="two run and one waits")
    before = devices(equipped)
    assert sorted(before.values()) == ["/dev/loop1", "/dev/loop2"]
    ironfree.kill()
    ironfree.start()
    victim, freed = min(before.items())
    (name,) = [p["metadata"]["name"] for p in ironfree.pods() if p["metadata"]["uid"] == victim]
    ironfree.kubectl("delete", "pod", name)
    eventually(
        lambda: len(found := devices(equipped)) == 2 and victim not in found,
        what="another has the device that came free",
    )
    after = devices(equipped)
    assert sorted(after.values()) == ["/dev/loop1", "/dev/loop2"]
    assert {uid: each for uid, each in after.items() if uid in before} == {
        uid: each for uid, each in before.items() if uid != victim
    }
    assert freed in after.values()


def test_a_pod_runs_under_the_engines_runtime_of_its_class(ironfree: Ironfree, host: Host):
    """The lab's engines have runc alone, which is as good as another to see that it is named."""

    def runtime_class(name: str, handler: str) -> dict[str, Any]:
        kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass"}
        scheduling = {"nodeSelector": {"runtime.ironfree.dev/runc": "true"}}
        return {**kind, "metadata": {"name": name}, "handler": handler, "scheduling": scheduling}

    def pod(name: str, of: str) -> dict[str, Any]:
        container = {"name": "main", "image": SHELL_IMAGE, "command": ["sleep", "100"]}
        spec = {"runtimeClassName": of, "containers": [container]}
        spec |= {"nodeSelector": {"kubernetes.io/hostname": host.name}}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}

    for given in (runtime_class("known", "runc"), runtime_class("unknown", "absent")):
        ironfree.kubectl("apply", "-f", "-", given=json.dumps(given))
    for given in (pod("well", "known"), pod("ill", "unknown")):
        ironfree.kubectl("apply", "-f", "-", given=json.dumps(given))
    ironfree.kubectl("wait", "--for=condition=Ready", "pod/well", "--timeout=40s")
    mine = [c.name for c in host.containers() if "_well_" in c.name]
    assert len(mine) == 2
    for name in mine:
        assert json.loads(host.run("inspect", name))[0]["HostConfig"]["Runtime"] == "runc"

    def refused() -> bool:
        told = ironfree.kubectl("get", "events", "-o", "jsonpath={.items[*].message}")
        return "Failed to create pod sandbox" in told and "absent" in told

    eventually(refused, what="the pod says that the engine has no such runtime")
