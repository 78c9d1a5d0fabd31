"""Hosts that are short of something make room; provoked by a threshold above what there is."""

import json
from typing import Any

import pytest

from tests.e2e.lab import Lab
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import Ironfree, copies, eventually, replication_controller

pytestmark = pytest.mark.timeout(180)


def shell_pod(name: str, host: str, script: str, **spec: Any) -> dict[str, Any]:
    """A pod of one container on a host, with an emptyDir volume at /data."""
    resources = {"limits": spec.pop("limits", {})}
    main = {
        "name": "main",
        "image": SHELL_IMAGE,
        "command": ["sh", "-c", f"{script}; exec sleep 600"],
        "resources": resources,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spec = {"nodeName": host, "containers": [main], "volumes": [{"name": "data"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def apply(ironfree: Ironfree, *pods: dict[str, Any]) -> None:
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
    ironfree.kubectl("apply", "-f", "-", given=given)


def failed(ironfree: Ironfree, name: str) -> Any:
    def look() -> Any:
        status = ironfree.get("pod", name)["status"]
        return status if status["phase"] == "Failed" else None

    return eventually(look, what=f"pod {name} fails")


def limit(ironfree: Ironfree, host: str, hard: dict[str, str | None]) -> None:
    spec = {"evictionHard": hard, "evictionPressureTransitionSeconds": 0}
    patch = json.dumps({"spec": spec})
    ironfree.kubectl("patch", "dockerhost", host, "--type=merge", "-p", patch)


def condition(ironfree: Ironfree, host: str, kind: str) -> str:
    conditions = ironfree.get("node", host)["status"]["conditions"]
    return next(c["status"] for c in conditions if c["type"] == kind)


def evicted(ironfree: Ironfree) -> list[Any]:
    return [p for p in ironfree.pods("app=web") if p["status"].get("reason") == "Evicted"]


@pytest.mark.parametrize(
    ("signal", "amount", "resource"),
    [("memory.available", "100Ti", "memory"), ("pid.available", "10M", "pids")],
)
def test_a_short_host_evicts_and_is_avoided_until_it_recovers(
    shared_ironfree: Ironfree, lab: Lab, signal: str, amount: str, resource: str
):
    kind = "MemoryPressure" if resource == "memory" else "PIDPressure"
    ironfree = shared_ironfree
    ironfree.kubectl("apply", "-f", "-", given=replication_controller("web", 1, spread_out=False))
    (first,) = ironfree.running(1, "app=web")
    node, uid = first["spec"]["nodeName"], first["metadata"]["uid"]
    limit(ironfree, node, {signal: amount})
    (pod,) = eventually(lambda: evicted(ironfree), what="the pod is evicted")
    assert (pod["metadata"]["uid"], pod["status"]["phase"]) == (uid, "Failed")
    assert pod["status"]["message"].startswith(f"The node was low on resource: {resource}. ")
    assert condition(ironfree, node, kind) == "True"
    assert uid not in copies(lab.hosts), "the daemon has nothing running of it"

    def replaced() -> bool:
        living = [p for p in ironfree.pods("app=web") if p["status"]["phase"] == "Running"]
        return [p["spec"]["nodeName"] != node for p in living] == [True]

    eventually(replaced, what="it runs on another host")
    taint = ironfree.get("node", node)["spec"]["taints"][0]
    key = f"node.kubernetes.io/{signal.partition('.')[0]}-pressure"
    assert (taint["key"], taint["effect"]) == (key, "NoSchedule")
    events = ironfree.kubectl("get", "events", "--field-selector=reason=EvictionThresholdMet")
    assert f"Attempting to reclaim {resource}" in events

    limit(ironfree, node, {signal: None})
    eventually(lambda: condition(ironfree, node, kind) == "False", what="it has recovered")
    eventually(lambda: not ironfree.get("node", node)["spec"].get("taints"), what="no taint")


def test_what_is_critical_stays_whatever_is_short(shared_ironfree: Ironfree, lab: Lab):
    ironfree, host = shared_ironfree, lab.hosts[0]
    important = {"priorityClassName": "system-node-critical"}
    apply(ironfree, shell_pod("critical", host.name, "true", **important))
    ironfree.kubectl("wait", "--for=condition=Ready", "pod/critical", "--timeout=40s")
    limit(ironfree, host.name, {"memory.available": "100Ti"})
    eventually(
        lambda: condition(ironfree, host.name, "MemoryPressure") == "True", what="memory is short"
    )
    assert ironfree.get("pod", "critical")["status"]["phase"] == "Running"
    assert condition(ironfree, lab.hosts[1].name, "MemoryPressure") == "False"
    limit(ironfree, host.name, {"memory.available": None})


def test_who_fills_a_disk_goes_with_all_it_has_written_and_its_neighbour_stays(
    bare_ironfree: Ironfree, lab: Lab
):
    ironfree = bare_ironfree
    with lab.small_host(disk=64) as host:
        ironfree.add_hosts(lab, [host])
        limit(ironfree, host.name, {})
        few = "dd if=/dev/zero of=/data/few bs=64k count=16"
        apply(ironfree, shell_pod("neighbour", host.name, few))
        ironfree.kubectl("wait", "--for=condition=Ready", "pod/neighbour", "--timeout=40s")
        before = ironfree.get("pod", "neighbour")
        apply(ironfree, shell_pod("greedy", host.name, "dd if=/dev/zero of=/data/all bs=64k"))
        status = failed(ironfree, "greedy")
        assert status["reason"] == "Evicted"
        assert status["message"].startswith("The node was low on resource: ephemeral-storage. ")
        eventually(
            lambda: condition(ironfree, host.name, "DiskPressure") == "False", what="there is room"
        )
        uid = before["metadata"]["uid"]
        assert set(copies([host])) == {uid}
        assert [name for name in host.volumes() if uid not in name] == []
        after = ironfree.get("pod", "neighbour")["status"]
        assert after["containerStatuses"] == before["status"]["containerStatuses"]
        events = ironfree.kubectl("get", "events", "--field-selector=reason=EvictionThresholdMet")
        assert "Attempting to reclaim ephemeral-storage" in events


def test_who_exceeds_a_limit_of_its_own_is_evicted(shared_ironfree: Ironfree, lab: Lab):
    ironfree, host = shared_ironfree, lab.hosts[0].name
    into = "dd if=/dev/zero of={}/file bs=64k count=48"  # 3 MiB
    sized = {"volumes": [{"name": "data", "emptyDir": {"sizeLimit": "2Mi"}}]}
    limits = {"limits": {"ephemeral-storage": "2Mi"}}
    apply(
        ironfree,
        shell_pod("volume", host, into.format("/data"), **sized),
        shell_pod("layer", host, into.format(""), **limits),
        shell_pod("other-volume", host, into.format(""), **sized),
        shell_pod("both", host, into.format("/data"), **limits),
    )
    total = "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "
    messages = {
        "volume": 'Usage of EmptyDir volume "data" exceeds the limit "2Mi". ',
        "layer": total,
        "both": total,
    }
    found = {name: failed(ironfree, name) for name in messages}
    assert {name: status["message"] for name, status in found.items()} == messages
    assert {status["reason"] for status in found.values()} == {"Evicted"}
    assert ironfree.get("pod", "other-volume")["status"]["phase"] == "Running"
