"""PersistentVolumes, claims and storage classes: defaults, what is refused, and what is printed."""

from datetime import UTC, datetime

import pytest

from scheduler.objects.kinds import REGISTRY

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MADE = {"creationTimestamp": "2026-01-01T23:59:00Z"}
VOLUME = REGISTRY.by_resource("persistentvolumes")
CLAIM = REGISTRY.by_resource("persistentvolumeclaims")
CLASS = REGISTRY.by_resource("storageclasses.storage.k8s.io")
NODE = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n"]}
AFFINITY = {"required": {"nodeSelectorTerms": [{"matchExpressions": [NODE]}]}}


def made(kind, body):
    obj = {"metadata": {"name": "x", **MADE}, **body}
    kind.complete(obj)
    kind.default(obj)
    return obj


def volume(**spec):
    fine = {"capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}
    return made(VOLUME, {"spec": {**fine, "hostPath": {"path": "/x"}, **spec}})


def claim(**spec):
    wanted = {"requests": {"storage": "1Gi"}}
    return made(CLAIM, {"spec": {"accessModes": ["ReadWriteOnce"], "resources": wanted, **spec}})


def storage_class(**fields):
    return made(CLASS, {"provisioner": "ironfree.dev/docker-volume", **fields})


def causes(kind, obj):
    return [(cause.field, cause.message) for cause in kind.validate(obj)]


def test_what_is_given_by_default():
    assert volume()["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume()["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert claim()["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert claim()["spec"]["volumeMode"] == "Filesystem"
    assert storage_class()["volumeBindingMode"] == "WaitForFirstConsumer"
    assert storage_class(provisioner="a.b/c")["volumeBindingMode"] == "Immediate"
    docker = {"driver": "docker-volume.ironfree.dev", "volumeHandle": "v"}
    assert "ironfree.dev/docker-volume" in volume(csi=docker)["metadata"]["finalizers"]


@pytest.mark.parametrize(
    ("kind", "obj", "field", "says"),
    [
        (VOLUME, volume(capacity={}), "spec.capacity[storage]", "Required"),
        (VOLUME, volume(accessModes=["Some"]), "spec.accessModes", '"ReadWriteOnce"'),
        (VOLUME, volume(hostPath=None), "spec", "must specify a volume type"),
        (VOLUME, volume(nfs={"server": "s", "path": "/"}), "spec.nfs", "more than 1 volume type"),
        (VOLUME, volume(hostPath=None, iscsi={}), "spec.iscsi", "cannot be mounted"),
        (
            VOLUME,
            volume(hostPath=None, local={"path": "/x"}),
            "spec.nodeAffinity",
            "Local volume requires node affinity",
        ),
        (
            VOLUME,
            volume(hostPath=None, csi={"driver": "ebs.csi.aws.com", "volumeHandle": "v"}),
            "spec.csi.driver",
            "docker-volume.ironfree.dev",
        ),
        (
            VOLUME,
            volume(hostPath=None, nfs={"server": "s,exec", "path": "/x"}),
            "spec.nfs.server",
            "host name",
        ),
        (VOLUME, volume(volumeMode="Block"), "spec.volumeMode", "no block devices"),
        (
            VOLUME,
            volume(persistentVolumeReclaimPolicy="Recycle"),
            "spec.persistentVolumeReclaimPolicy",
            "not supported",
        ),
        (CLAIM, claim(accessModes=[]), "spec.accessModes", "at least 1 access mode"),
        (CLAIM, claim(resources={}), "spec.resources[storage]", "Required"),
        (
            CLAIM,
            claim(accessModes=["ReadWriteOncePod", "ReadWriteOnce"]),
            "spec.accessModes",
            "may not use ReadWriteOncePod with other access modes",
        ),
        (CLAIM, claim(dataSource={"kind": "x", "name": "y"}), "spec.dataSource", "begin empty"),
        (CLASS, storage_class(provisioner=""), "provisioner", "Required"),
        (CLASS, storage_class(volumeBindingMode="Immediate"), "volumeBindingMode", "use Wait"),
        (CLASS, storage_class(parameters={"a": "b"}), "parameters", "has none"),
    ],
)
def test_what_is_refused(kind, obj, field, says):
    ((where, message),) = causes(kind, obj)
    assert where == field
    assert says in message


def test_what_is_fine():
    assert causes(VOLUME, volume(hostPath=None, local={"path": "/x"}, nodeAffinity=AFFINITY)) == []
    nfs = {"server": "10.0.0.1", "path": "/x"}
    assert causes(VOLUME, volume(hostPath=None, nfs=nfs, mountOptions=["nfsvers=4.1"])) == []
    assert causes(CLAIM, claim(selector={"matchLabels": {"a": "b"}}, volumeName="v")) == []
    assert causes(CLASS, storage_class(reclaimPolicy="Retain")) == []


def test_a_claim_changes_only_by_getting_a_volume_and_a_class():
    def refused(old, new):
        return [cause.field for cause in CLAIM.validate_update(old, new)]

    assert refused(claim(), claim(volumeName="v", storageClassName="c")) == []
    larger = {"requests": {"storage": "2Gi"}}
    assert refused(claim(), claim(resources=larger)) == ["spec"]
    assert refused(claim(volumeName="v"), claim(volumeName="w")) == ["spec"]


def test_what_kubectl_prints():
    reference = {"namespace": "shop", "name": "data"}
    bound = {**volume(claimRef=reference, storageClassName="fast"), "status": {"phase": "Bound"}}
    assert list(VOLUME.printer.cells(bound, NOW)) == [
        *("x", "1Gi", "RWO,ROX", "Retain", "Bound", "shop/data", "fast", "<unset>", "", "60s"),
        "Filesystem",
    ]
    has = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}}
    mine = {**claim(volumeName="v", storageClassName="fast"), "status": has}
    assert list(CLAIM.printer.cells(mine, NOW)) == [
        *("x", "Bound", "v", "2Gi", "RWO", "fast", "<unset>", "60s", "Filesystem"),
    ]
    leaving = claim()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert CLAIM.printer.cells(leaving, NOW)[1] == "Terminating"
    default = storage_class()
    default["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert list(CLASS.printer.cells(default, NOW)) == [
        "x (default)",
        "ironfree.dev/docker-volume",
        "Delete",
        "WaitForFirstConsumer",
        False,
        "60s",
    ]
