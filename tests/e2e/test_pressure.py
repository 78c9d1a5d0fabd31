"""Hosts that are short of something make room; provoked by a threshold above what there is."""

import json
from typing import Any

import pytest

from tests.e2e.lab import Lab
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import Ironfree, copies, eventually, replication_controller

pytestmark = pytest.mark.timeout(180)


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
    main = {"name": "main", "image": SHELL_IMAGE, "command": ["sleep", "600"]}
    spec = {
        "nodeName": host.name,
        "priorityClassName": "system-node-critical",
        "containers": [main],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "critical"}, "spec": spec}
    ironfree.kubectl("apply", "-f", "-", given=json.dumps(pod))
    ironfree.kubectl("wait", "--for=condition=Ready", "pod/critical", "--timeout=40s")
    limit(ironfree, host.name, {"memory.available": "100Ti"})
    eventually(
        lambda: condition(ironfree, host.name, "MemoryPressure") == "True", what="memory is short"
    )
    assert ironfree.get("pod", "critical")["status"]["phase"] == "Running"
    assert condition(ironfree, lab.hosts[1].name, "MemoryPressure") == "False"
    limit(ironfree, host.name, {"memory.available": None})
