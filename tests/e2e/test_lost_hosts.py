"""Hosts that are lost, come back, do nothing or are emptied: nothing runs beside its successor."""

import json
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import Host, Lab, Relay
from tests.e2e.recovery import Recovery
from tests.e2e.service import Ironfree, copies, is_ready, replication_controller
from tests.e2e.test_faults import apply, on_host, settled, uids

pytestmark = pytest.mark.timeout(240)

ONCE = {"ironfree.dev/at-most-once": "true"}


def workload(kind: str, name: str, replicas: int = 1, **annotations: str) -> dict[str, Any]:
    """A workload of shell pods, which may all be on one host."""
    made: dict[str, Any] = json.loads(replication_controller(name, replicas, spread_out=False))
    template = made["spec"]["template"]
    template["metadata"]["annotations"] = annotations
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
        return {**made, "apiVersion": "batch/v1", "kind": kind, "spec": {"template": template}}
    if kind == "Deployment":
        made["spec"]["selector"] = {"matchLabels": template["metadata"]["labels"]}
        return {**made, "apiVersion": "apps/v1", "kind": kind}
    return made


def apply_all(ironfree: Ironfree, *items: dict[str, Any]) -> None:
    apply(ironfree, json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def waiting_for(host: Host) -> dict[str, Any]:
    """A pod for a host, be it there or not."""
    main = {"name": "main", "image": "lab-shell:v1", "command": ["sleep", "100000"]}
    spec = {
        "containers": [main],
        "nodeSelector": {"kubernetes.io/hostname": host.name},
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
    }
    meta = {"name": "waiting", "labels": {"app": "waiting"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def told(hosts: Sequence[Host], since: float) -> list[tuple[int, str, str, str]]:
    """What happened to `main` containers: when (ns), the host's name, the action, the pod's uid."""
    span = ("--since", f"{since:.3f}", "--until", f"{time.time():.3f}")
    found: list[tuple[int, str, str, str]] = []
    for host in hosts:
        said = host.run("events", *span, "--filter", "type=container", "--format", "{{json .}}")
        for each in map(json.loads, said.splitlines()):
            labels = each["Actor"]["Attributes"]
            if labels.get("ironfree.dev/container") == "main":
                uid = labels["ironfree.dev/pod-uid"]
                found.append((each["timeNano"], host.name, each["Action"], uid))
    return sorted(found)


def test_what_may_run_once_at_most_waits_and_stale_pods_go_first(
    shared_ironfree: Ironfree, lab: Lab, recovery: Recovery
):
    ironfree, (lost, *others) = shared_ironfree, lab.hosts
    kubectl, began = ironfree.kubectl, time.time()
    kubectl("cordon", *(host.name for host in others))
    kinds = {"rc": "ReplicationController", "roll": "Deployment", "job": "Job"}
    items = [workload(kind, name, **ONCE) for name, kind in kinds.items()]
    apply_all(ironfree, *items, workload("ReplicationController", "free"))
    before = {pod["metadata"]["labels"]["app"]: pod for pod in ironfree.running(4)}
    assert len(on_host(before.values(), lost.name)) == 4
    kubectl("uncordon", *(host.name for host in others))
    lost.partition()
    (free,) = ironfree.running(1, "app=free", away_from=lost.name)
    leaving = "jsonpath={.metadata.deletionTimestamp}"
    for name in kinds:
        kubectl("wait", "pod", "-l", f"app={name}", f"--for={leaving}", "--timeout=30s")
    kubectl("wait", "job/job", "--for=jsonpath={.status.terminating}=1", "--timeout=30s")
    kubectl("set", "env", "deployment/roll", "NEW=1")
    seen = "jsonpath={.status.observedGeneration}=2"
    kubectl("wait", "deployment/roll", f"--for={seen}", "--timeout=30s")
    apply_all(ironfree, waiting_for(lost))
    kubectl("wait", "pod/waiting", f"--for=jsonpath={{.spec.nodeName}}={lost.name}")
    assert set(copies(others)) == uids([free]), "nothing else was started elsewhere"
    assert set(copies([lost])) == uids(before.values()), "and all of it may run on"
    assert len(ironfree.pods()) == 6

    lost.heal()
    with recovery("a partition, until what may run once at most runs again"):
        after = {pod["metadata"]["labels"]["app"]: pod for pod in settled(ironfree, lab.hosts, 5)}
    happened = told(lab.hosts, began)
    stale = uids(before.values())
    removed = {uid: at for at, _, action, uid in happened if action == "die" and uid in stale}
    started = {uid: at for at, _, action, uid in happened if action == "start"}
    assert removed.keys() == stale
    for name in kinds:
        old, new = (pods[name]["metadata"]["uid"] for pods in (before, after))
        assert removed[old] < started[new], f"{name} ran twice"
    new = [
        at
        for at, where, action, uid in happened
        if action == "create" and where == lost.name and uid not in stale
    ]
    assert new, "the pod that waited was made there"
    assert max(removed.values()) < min(new), "stale pods go before anything is made"


def circuits(ironfree: Ironfree) -> dict[str, float]:
    """How many hosts' circuits are in each state."""
    lines = ironfree.kubectl("get", "--raw", "/metrics").splitlines()
    found = [line for line in lines if line.startswith("ironfree_host_circuits{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in found}


def test_a_host_that_answers_and_does_nothing_is_spared_and_slows_nobody(
    bare_ironfree: Ironfree, lab: Lab, tmp_path: Path, recovery: Recovery
):
    ironfree, (stuck, sane, _) = bare_ironfree, lab.hosts
    node = f"node/{stuck.name}"
    with Relay.run(tmp_path / "stuck.sock", stuck.unix_socket) as relay:
        ironfree.add_hosts(lab, [stuck, sane], {stuck.name: f"unix://{tmp_path / 'stuck.sock'}"})
        apply(ironfree, replication_controller("web", 2, gone_after=240))
        before = ironfree.running(2)
        assert on_host(before, stuck.name)
        relay.faults.unanswered = b"POST "
        apply(ironfree, replication_controller("more", 8, gone_after=240))
        ironfree.kubectl("wait", node, "--for=condition=EngineStuck", "--timeout=60s")
        assert circuits(ironfree)["closed"] == 1
        assert is_ready(ironfree.get("node", stuck.name)), "what runs there runs on"
        events = ironfree.get("events", "-A", "--field-selector=reason=EngineStuck")["items"]
        assert {event["involvedObject"]["name"] for event in events} == {stuck.name}
        with recovery("ordering 4 pods beside an engine that does nothing"):
            apply(ironfree, replication_controller("late", 4))
            late = ironfree.running(4, "app=late")
        assert len(on_host(late, sane.name)) == 4
        assert len(on_host(ironfree.pods("app=more"), stuck.name)) == 4
        assert copies([stuck]).keys() == uids(on_host(before, stuck.name))
        relay.faults.unanswered = b""
        with recovery("an engine that did nothing works again"):
            ironfree.kubectl("wait", node, "--for=condition=EngineStuck=False", "--timeout=60s")
            after = settled(ironfree, lab.hosts, 14)
        assert uids(before) < uids(after)
        assert circuits(ironfree)["closed"] == 2


def test_drained_hosts_are_emptied_and_their_pods_run_elsewhere(
    shared_ironfree: Ironfree, lab: Lab
):
    ironfree, (first, *others) = shared_ironfree, lab.hosts
    kubectl = ironfree.kubectl
    kubectl("cordon", *(host.name for host in others))
    kinds = {"web": ("ReplicationController", 3), "roll": ("Deployment", 2)}
    apply_all(ironfree, *(workload(kind, name, n) for name, (kind, n) in kinds.items()))
    kubectl("create", "pdb", "web", "--selector=app=web", "--max-unavailable=1")
    before = ironfree.running(5)
    assert len(on_host(before, first.name)) == 5
    kubectl("uncordon", *(host.name for host in others))
    said = kubectl("drain", first.name, "--timeout=60s")
    assert said.count("evicted") == 5
    assert not copies([first]), "its daemon has nothing left of them"
    ironfree.running(5, away_from=first.name)
    settled(ironfree, lab.hosts, 5)

    kubectl("uncordon", first.name)
    kubectl("delete", "pdb", "web")
    kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=100%")
    second = others[0] if on_host(ironfree.pods("app=web"), others[0].name) else others[1]
    began = time.time()
    code, words = ironfree.cli("node", "drain", second.name, "--timeout", "60")
    assert code == 0, words
    assert not copies([second])
    settled(ironfree, lab.hosts, 5)
    happened = told(lab.hosts, began)
    changes = [{"start": 1, "die": -1}.get(action, 0) for _, _, action, _ in happened]
    running = list(accumulate(changes, initial=5))
    assert max(running) > min(running) == 5, "replacements run before anybody goes"
    kubectl("uncordon", second.name)
