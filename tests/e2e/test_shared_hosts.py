"""Hosts on which others run containers, too: those are counted and left alone."""

import json
from typing import Any

import pytest

from scheduler.objects import quantity
from tests.e2e.lab import Host
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import Ironfree, eventually

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def whole(ironfree: Ironfree, host: Host) -> Host:
    """The first host, which offers all that its engine says."""
    patch = json.dumps({"spec": {"capacity": None}})
    ironfree.kubectl("patch", "dockerhost", host.name, "--type=merge", "-p", patch)
    cores = host.run("info", "--format", "{{.NCPU}}").strip()
    eventually(
        lambda: ironfree.get("node", host.name)["status"]["capacity"]["cpu"] == cores,
        what="the node offers what the engine says",
    )
    return host


def offer(ironfree: Ironfree, host: Host) -> tuple[int, int]:
    """Thousandths of a core and bytes that pods may have."""
    offered = ironfree.get("node", host.name)["status"]["allocatable"]
    return quantity.milli(offered["cpu"]), quantity.value(offered["memory"])


def waiting(ironfree: Ironfree, name: str) -> str:
    """Why a pod has no node, "" while nothing is said."""
    said = ironfree.get("pod", name)["status"].get("conditions", [])
    return next((c["message"] for c in said if c["type"] == "PodScheduled" and c["message"]), "")


def serving(name: str, host: Host, port: int) -> str:
    main: dict[str, Any] = {"name": "main", "image": SHELL_IMAGE, "command": ["sleep", "99999"]}
    main["ports"] = [{"containerPort": 80, "hostPort": port}]
    spec = {"nodeName": host.name, "containers": [main], "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    return json.dumps(pod)


def test_what_others_hold_is_not_given_to_pods(ironfree: Ironfree, whole: Host):
    host, before = whole, offer(ironfree, whole)
    less = (before[0] - 1500, before[1] - (512 << 20))
    limits = ("--cpus", "1.5", "--memory", "512m", "--publish", "18080:80")
    name = ("--detach", "--name", "theirs")
    theirs = host.run("run", *name, *limits, SHELL_IMAGE, "sleep", "99999").strip()
    eventually(lambda: offer(ironfree, host) == less, what="it is counted")
    started = host.inspect("theirs")["State"]["StartedAt"]
    described = ironfree.kubectl("describe", "node", host.name)
    assert f"theirs ({SHELL_IMAGE}, cpu 1500m, memory 512Mi)" in described
    ironfree.kubectl("apply", "-f", "-", given=serving("taken", host, 18080))
    words = "didn't have free ports"
    eventually(lambda: words in waiting(ironfree, "taken"), what="the pod waits")
    found = host.inspect("theirs")
    assert (found["Id"], found["State"]["StartedAt"]) == (theirs, started)
    host.remove("theirs")
    eventually(lambda: offer(ironfree, host) == before, what="it is counted no more")
    ironfree.kubectl("wait", "--for=condition=Ready", "pod/taken", "--timeout=40s")


def test_without_limits_measured_memory_counts(ironfree: Ironfree, whole: Host):
    host, before = whole, offer(ironfree, whole)
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60 && exec sleep 99999"
    name = ("--detach", "--name", "theirs", "--shm-size", "64m")
    host.run("run", *name, SHELL_IMAGE, "sh", "-c", script)
    eventually(lambda: offer(ironfree, host) < before, what="what it uses is counted")
    said = ironfree.get("node", host.name)["status"]["conditions"]
    (text,) = [c["message"] for c in said if c["type"] == "ForeignContainers"]
    assert f"theirs ({SHELL_IMAGE}, cpu 0, memory " in text
    assert text.endswith(" measured)")
    host.remove("theirs")
    eventually(lambda: offer(ironfree, host) == before, what="it is gone")
