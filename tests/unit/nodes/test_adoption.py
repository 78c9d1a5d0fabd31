"""Pods made of containers that run: their manifests, and who may not become one."""

import msgspec
import pytest
from msgspec.structs import replace

from scheduler.foreign import ForeignContainer, ForeignDescription, ForeignMount
from scheduler.nodes.adoption import adopted, adopts, refusal
from scheduler.nodes.adoption_manifest import plan
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import pod_view
from scheduler.objects.pod_class import HostPort
from scheduler.objects.stored import Body, StoredObject

ID = "a" * 64
WEB = ForeignDescription(
    holds=ForeignContainer(ID, "Shop_Web.1", "web:1", 500, 64 << 20),
    running=True,
    manager="",
    entrypoint=("sh", "-c"),
    command=("echo $(HOME) $$", "$x"),
    env=("A=1=2", "B=$(A)", "broken"),
    user="10:20",
    mounts=(
        ForeignMount("bind", "/srv", "/srv", read_only=True),
        ForeignMount("volume", "shop_data", "/data"),
        ForeignMount("tmpfs", "", "/tmp"),
    ),
    ports=((80, HostPort("TCP", 8080)), (53, HostPort("UDP", 53, "127.0.0.1"))),
    restart="Always",
    cpu_limit=500,
    memory_limit=128 << 20,
    lost=("its ulimits",),
)


def planned(*found, host="h1"):
    return plan(host, "default", found)


def pod_of(manifest):
    meta = manifest["metadata"]
    made = ObjectMeta(
        name=meta["name"], namespace="default", uid="u-1", annotations=meta["annotations"]
    )
    body = Body(msgspec.json.encode({"spec": manifest["spec"]}))
    return pod_view(StoredObject("pods", made, 1, 1, body, b"{}"))


def test_a_container_becomes_a_pod_that_says_the_same():
    found = planned(WEB)
    pod = found.items[-1]
    assert pod["metadata"] == {
        "name": "shop-web-1",
        "namespace": "default",
        "labels": {"app": "shop-web-1"},
        "annotations": {"ironfree.dev/adopts": ID},
    }
    spec = pod["spec"]
    (container,) = spec["containers"]
    assert (spec["nodeName"], spec["schedulerName"]) == ("h1", "ironfree-adoption")
    assert container["command"] == ["sh", "-c"]
    assert container["args"] == ["echo $$(HOME) $$$$", "$x"]
    assert container["env"] == [{"name": "A", "value": "1=2"}, {"name": "B", "value": "$$(A)"}]
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "64Mi"},
        "limits": {"cpu": "500m", "memory": "128Mi"},
    }
    assert container["securityContext"] == {"runAsUser": 10, "runAsGroup": 20}
    assert container["ports"] == [
        {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"},
        {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "127.0.0.1"},
    ]
    assert container["volumeMounts"][0] == {
        "name": "volume-0",
        "mountPath": "/srv",
        "readOnly": True,
    }
    assert spec["volumes"] == [
        {"name": "volume-0", "hostPath": {"path": "/srv"}},
        {"name": "volume-1", "persistentVolumeClaim": {"claimName": "h1-shop-data"}},
        {"name": "volume-2", "emptyDir": {"medium": "Memory"}},
    ]
    assert ("shop-web-1", "its ulimits") in found.lost


def test_a_volume_is_kept_and_one_that_two_mount_is_made_once():
    other = replace(WEB, holds=replace(WEB.holds, id="b" * 64, name="other"))
    volume, claim, *pods = planned(WEB, other).items
    assert [each["kind"] for each in pods] == ["Pod", "Pod"]
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["csi"]["volumeHandle"] == "shop_data"
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]


def test_a_compose_project_is_a_pod_for_each_service_container():
    parts = [
        replace(WEB, project="shop", service="web", number=2, mounts=()),
        replace(WEB, project="shop", service="web", number=1, mounts=()),
        replace(WEB, project="shop", service="db", number=1, mounts=()),
    ]
    pods = planned(*parts).items
    assert [each["metadata"]["name"] for each in pods] == ["db", "web", "web-2"]
    assert {each["metadata"]["labels"]["app.kubernetes.io/part-of"] for each in pods} == {"shop"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"manager": "Kubernetes"}, "Kubernetes manages it"),
        ({"manager": "Ironfree"}, "Ironfree manages it"),
        ({"running": False}, "it does not run"),
    ],
)
def test_what_is_managed_or_does_not_run_is_refused(change, why):
    found = planned(replace(WEB, **change))
    assert (found.items, found.refused) == ((), (("Shop_Web.1", why),))
    assert refusal(pod_of(planned(WEB).items[-1]), replace(WEB, **change)) == why


def test_a_pod_is_the_container_that_its_manifest_names():
    pod = pod_of(planned(WEB).items[-1])
    assert adopts(pod) == ID
    assert refusal(pod, WEB) == ""
    assert refusal(pod, None) == "the host has no such container"
    image = replace(WEB, holds=replace(WEB.holds, image="evil:1"))
    assert refusal(pod, image) == "it was made of image evil:1, and the pod names web:1"
    assert adopted(pod, 3).spec_hash.endswith(".0")


@pytest.mark.parametrize(
    ("change", "unsaid"),
    [
        ({"privileged": True}, "securityContext.privileged"),
        (
            {"host_network": True, "host_pid": True, "host_ipc": True},
            "hostNetwork, hostPID, hostIPC",
        ),
        ({"capabilities_added": ("SYS_ADMIN",)}, "capabilities SYS_ADMIN"),
        ({"mounts": (ForeignMount("bind", "/", "/host"),)}, "hostPath /"),
    ],
)
def test_a_container_that_has_more_than_its_pod_says_is_refused(change, unsaid):
    """Otherwise it would get past the Pod Security level of its namespace."""
    found = replace(WEB, **change)
    why = refusal(pod_of(planned(WEB).items[-1]), found)
    assert why == f"its namespace was asked about less than it has: {unsaid}"
    assert refusal(pod_of(planned(found).items[-1]), found) == ""


def test_a_pod_that_must_not_run_as_root_is_no_container_that_may():
    manifest = planned(WEB).items[-1]
    manifest["spec"]["securityContext"] = {"runAsNonRoot": True}
    assert refusal(pod_of(manifest), WEB) == ""
    assert refusal(pod_of(manifest), replace(WEB, user="")).endswith("a user that may be root")


@pytest.mark.parametrize(
    "change",
    [
        {"schedulerName": "default-scheduler"},
        {"initContainers": [{"name": "i", "image": "i"}]},
        {"containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}]},
    ],
)
def test_other_pods_adopt_nothing_whatever_their_annotations_say(change):
    manifest = planned(WEB).items[-1]
    manifest["spec"] |= change
    assert adopts(pod_of(manifest)) == ""


def test_memory_that_was_measured_is_requested_as_the_node_counts_it():
    measured = replace(WEB, holds=replace(WEB.holds, memory=(3 << 20) + 1, measured=True))
    (container,) = planned(measured).items[-1]["spec"]["containers"]
    assert container["resources"]["requests"]["memory"] == "4Mi"
