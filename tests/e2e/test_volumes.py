"""Volumes that outlive pods, on real engines: pods follow their data, and data go when told to."""

import json
from typing import Any

import pytest

from tests.e2e.lab import Lab
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import Ironfree, eventually, is_ready, replication_controller

pytestmark = pytest.mark.timeout(180)


def claim(name: str, **spec: Any) -> dict[str, Any]:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        **spec,
    }
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}}
    return {**kind, "spec": spec}


def pod(name: str, script: str, claim_name: str, **spec: Any) -> dict[str, Any]:
    main = {
        "name": "main",
        "image": SHELL_IMAGE,
        "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}]
    spec = {
        "terminationGracePeriodSeconds": 1,
        "restartPolicy": "Never",
        "containers": [main],
        "volumes": volumes,
        **spec,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def apply(ironfree: Ironfree, *objects: dict[str, Any]) -> None:
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    ironfree.kubectl("apply", "-f", "-", given=given)


def succeeded(ironfree: Ironfree, name: str) -> Any:
    def look() -> Any:
        found = ironfree.get("pod", name)
        return found if found["status"]["phase"] in ("Succeeded", "Failed") else None

    found = eventually(look, what=f"{name} has ended")
    log = ironfree.kubectl("logs", name)
    assert found["status"]["phase"] == "Succeeded", log
    return found


def test_pods_follow_their_data_and_data_go_with_the_claim(ironfree: Ironfree, lab: Lab):
    apply(ironfree, claim("data"))
    waiting = ironfree.kubectl("get", "pvc", "data", "--no-headers").split()
    assert waiting[:2] == ["data", "Pending"]
    user = {"securityContext": {"runAsUser": 1000, "fsGroup": 2000}}
    apply(ironfree, pod("writer", "echo kept > /data/file; id; ls -lnd /data", "data", **user))
    written = succeeded(ironfree, "writer")
    node = written["spec"]["nodeName"]
    assert " 2000 " in ironfree.kubectl("logs", "writer").splitlines()[-1]
    bound = ironfree.get("pvc", "data")
    volume = bound["spec"]["volumeName"]
    assert (bound["status"]["phase"], bound["spec"]["storageClassName"]) == (
        "Bound",
        "docker-volume",
    )
    assert volume in lab.host(node).volumes()
    assert ironfree.get("pv", volume)["status"]["phase"] == "Bound"
    ironfree.kubectl("delete", "pod", "writer")
    for number in range(3):  # wherever there is room, but for the data
        apply(ironfree, pod(f"reader-{number}", "cat /data/file", "data"))
    for number in range(3):
        found = succeeded(ironfree, f"reader-{number}")
        assert found["spec"]["nodeName"] == node
        assert ironfree.kubectl("logs", f"reader-{number}").strip() == "kept"
    ironfree.kubectl("delete", "pvc", "data")
    assert volume in lab.host(node).volumes()  # the engine keeps it for ended containers, too
    ironfree.kubectl("delete", "pod", *(f"reader-{number}" for number in range(3)))
    eventually(lambda: volume not in lab.host(node).volumes(), what="the data are gone")
    ironfree.kubectl("wait", "--for=delete", f"pv/{volume}", "--timeout=40s")


def test_a_claim_in_use_stays_and_a_retained_volume_too(ironfree: Ironfree, lab: Lab):
    kind = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "kept"},
        "provisioner": "ironfree.dev/docker-volume",
        "reclaimPolicy": "Retain",
    }
    apply(ironfree, kind, claim("used", storageClassName="kept"), pod("p", "sleep 99", "used"))
    eventually(lambda: is_ready(ironfree.get("pod", "p")), what="p runs")
    volume = ironfree.get("pvc", "used")["spec"]["volumeName"]
    node = ironfree.get("pod", "p")["spec"]["nodeName"]
    ironfree.kubectl("delete", "pvc", "used", "--wait=false")
    assert ironfree.kubectl("get", "pvc", "used", "--no-headers").split()[1] == "Terminating"
    ironfree.kubectl("delete", "pod", "p")
    ironfree.kubectl("wait", "--for=delete", "pvc/used", "--timeout=40s")
    eventually(
        lambda: ironfree.get("pv", volume)["status"]["phase"] == "Released",
        what="the volume waits for somebody to look at it",
    )
    assert volume in lab.host(node).volumes()
    ironfree.kubectl("delete", "pv", volume)
    assert volume in lab.host(node).volumes()


def test_local_and_static_volumes_bind_where_they_are(ironfree: Ironfree, lab: Lab):
    there = lab.hosts[1].name
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "disk"},
        "spec": {
            "capacity": {"storage": "2Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "disks",
            "local": {"path": "/run"},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {
                                    "key": "kubernetes.io/hostname",
                                    "operator": "In",
                                    "values": [there],
                                }
                            ]
                        }
                    ]
                }
            },
        },
    }
    kind = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "disks"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    apply(ironfree, kind, claim("here", storageClassName="disks"))
    apply(ironfree, pod("early", "hostname > /data/who", "here"))

    def said() -> str:
        conditions = ironfree.get("pod", "early")["status"].get("conditions", [])
        return " ".join(c.get("message", "") for c in conditions)

    eventually(
        lambda: "didn't find available persistent volumes to bind" in said(), what="it waits"
    )
    apply(ironfree, volume)
    assert succeeded(ironfree, "early")["spec"]["nodeName"] == there
    row = ironfree.kubectl("get", "pv", "disk", "--no-headers").split()
    assert row[:7] == ["disk", "2Gi", "RWO", "Retain", "Bound", "default/here", "disks"]


def test_copies_share_one_claim_on_one_node(ironfree: Ironfree, lab: Lab):
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}]
    mounts = [{"name": "data", "mountPath": "/data"}]
    made = json.loads(replication_controller("web", 3, spread_out=False, volumeMounts=mounts))
    made["spec"]["template"]["spec"]["volumes"] = volumes
    apply(ironfree, made, claim("shared"))
    pods = ironfree.running(3, "app=web")
    assert len({each["spec"]["nodeName"] for each in pods}) == 1
