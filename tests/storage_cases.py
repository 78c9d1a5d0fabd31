"""Volumes, claims and storage classes for tests."""

import json

from scheduler.objects.meta import ObjectMeta
from scheduler.objects.storage import CLAIMS, CLASSES, VOLUMES
from scheduler.objects.stored import Body, StoredObject


def stored(resource, name, body, status=None, namespace="", labels=None, **meta):
    uid = f"uid-{name}"
    known = ObjectMeta(name=name, namespace=namespace, uid=uid, labels=labels or {}, **meta)
    encoded = json.dumps(status).encode() if status else b""
    return StoredObject(resource, known, 1, 1, Body(json.dumps(body).encode()), encoded)


def claim(name, volume="", phase=None, kind="wait", modes=("ReadWriteOnce",), size="1Gi"):
    spec = {
        "accessModes": list(modes),
        "resources": {"requests": {"storage": size}},
        "storageClassName": kind,
        "volumeName": volume,
    }
    phase = phase or ("Bound" if volume else "Pending")
    return stored(CLAIMS, name, {"spec": spec}, {"phase": phase}, "default")


def volume(name, *hosts, labels=None, size="1Gi", kind="wait", **spec):
    spec = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"],
        "storageClassName": kind,
        **spec,
    }
    if hosts:
        wanted = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(hosts)}
        term = {"matchExpressions": [wanted]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return stored(VOLUMES, name, {"spec": spec}, {"phase": "Available"}, labels=labels)


def storage_class(name, provisioner, mode="WaitForFirstConsumer"):
    return stored(CLASSES, name, {"provisioner": provisioner, "volumeBindingMode": mode})


CLASSES_THERE = (
    storage_class("wait", "kubernetes.io/no-provisioner"),
    storage_class("make", "ironfree.dev/docker-volume"),
    storage_class("other", "example.com/disks"),
    storage_class("now", "kubernetes.io/no-provisioner", "Immediate"),
)


def mounting(*claims):
    volumes = [
        {"name": f"v{n}", "persistentVolumeClaim": {"claimName": each}}
        for n, each in enumerate(claims)
    ]
    return {"volumes": volumes}
