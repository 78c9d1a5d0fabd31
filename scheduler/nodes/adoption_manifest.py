"""Manifests that make pods of containers that run, from what the engine says of them. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..foreign import ForeignDescription, ForeignMount
from ..objects import quantity
from ..objects.adoption import CONTAINER, SCHEDULER
from ..objects.json import JsonObject
from ..objects.pod_class import ANY_ADDRESS
from .adoption import why_not
from .foreign_holdings import rounded

_LABEL, _NAME = 63, 253
_ALWAYS_LOST = (
    "port-forward and debug containers that share its network, while it has not been restarted",
)


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """What an adoption comes to.

    Args:
        items: objects to create, pods last.
        lost: pod's name, and what it or its successor will not have.
        refused: container's name, and why it is not adopted.
    """

    items: tuple[JsonObject, ...]
    lost: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, str], ...]


def plan(host: str, namespace: str, found: Sequence[ForeignDescription]) -> AdoptionPlan:
    """Return the objects that make pods of containers.

    Args:
        host: the node that they run on.
    """
    refused = tuple((each.holds.name, why) for each in found if (why := why_not(each)))
    fit = sorted((e for e in found if not why_not(e)), key=lambda e: (e.project, _pod_name(e)))
    volumes: dict[str, JsonObject] = {}
    claims: dict[str, JsonObject] = {}
    for mount in (m for each in fit for m in each.mounts if m.kind == "volume"):
        volumes[mount.source] = _volume(host, namespace, mount.source)
        claims[mount.source] = _claim(host, namespace, mount.source)
    pods = tuple(_pod(host, namespace, each) for each in fit)
    lost = tuple((_pod_name(e), what) for e in fit for what in (*e.lost, *_ALWAYS_LOST))
    return AdoptionPlan((*volumes.values(), *claims.values(), *pods), lost, refused)


def _word(text: str, longest: int) -> str:
    """Return a DNS label or, where it may be longer, subdomain made of a name."""
    allowed = r"[^a-z0-9-]+" if longest == _LABEL else r"[^a-z0-9.-]+"
    return re.sub(allowed, "-", text.lower())[:longest].strip("-.") or "adopted"


def _pod_name(found: ForeignDescription) -> str:
    if not found.service:
        return _word(found.holds.name, _LABEL)
    suffix = f"-{found.number}" if found.number > 1 else ""
    return _word(found.service, _LABEL - len(suffix)) + suffix


def _pod(host: str, namespace: str, found: ForeignDescription) -> JsonObject:
    name = _pod_name(found)
    labels: JsonObject = {"app": _word(found.service or found.holds.name, _LABEL)}
    if found.project:
        labels["app.kubernetes.io/part-of"] = _word(found.project, _LABEL)
    spec: JsonObject = {
        "schedulerName": SCHEDULER,
        "nodeName": host,
        "restartPolicy": found.restart,
        "containers": [_container(found)],
    }
    if found.mounts:
        spec["volumes"] = [_source(n, host, each) for n, each in enumerate(found.mounts)]
    shared = {"Network": found.host_network, "PID": found.host_pid, "IPC": found.host_ipc}
    spec |= {f"host{what}": True for what, on in shared.items() if on}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {CONTAINER: found.holds.id},
        },
        "spec": spec,
    }


def _container(found: ForeignDescription) -> JsonObject:
    said: JsonObject = {
        "command": [_literal(each) for each in found.entrypoint],
        "args": [_literal(each) for each in found.command],
        "workingDir": found.working_dir,
        "env": list(_env(found.env)),
        "ports": list(_ports(found)),
        "volumeMounts": [_mount(n, each) for n, each in enumerate(found.mounts)],
        "securityContext": _security(found),
        "tty": found.tty,
        "stdin": found.stdin,
    }
    return {
        "name": _word(found.service or found.holds.name, _LABEL),
        "image": found.holds.image,
        "imagePullPolicy": "IfNotPresent",
        "resources": _resources(found),
        **{key: value for key, value in said.items() if value},
    }


def _literal(text: str) -> str:
    """Return a text that expansion of $(NAME) leaves as it is."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def _env(env: Sequence[str]) -> Iterator[JsonObject]:
    for each in env:
        name, equals, value = each.partition("=")
        if name and equals:
            yield {"name": name, "value": _literal(value)}


def _ports(found: ForeignDescription) -> Iterator[JsonObject]:
    for number, port in found.ports:
        said: JsonObject = {
            "containerPort": number,
            "hostPort": port.port,
            "protocol": port.protocol,
        }
        yield said if port.host_ip == ANY_ADDRESS else said | {"hostIP": port.host_ip}


def _resources(found: ForeignDescription) -> JsonObject:
    """What it holds is requested: then a host offers as much after the adoption as before."""
    requests: JsonObject = {}
    limits: JsonObject = {}
    if found.holds.cpu:
        requests["cpu"] = quantity.format_cpu(found.holds.cpu)
    memory = found.holds.memory
    memory = rounded(memory) if found.holds.measured else memory
    if memory:
        requests["memory"] = quantity.format_binary(memory)
    if found.cpu_limit:
        limits["cpu"] = quantity.format_cpu(found.cpu_limit)
    if found.memory_limit:
        limits["memory"] = quantity.format_binary(found.memory_limit)
    for resource in sorted({resource for resource, _ in found.holds.devices}):
        limits[resource] = str(sum(each == resource for each, _ in found.holds.devices))
    return {"requests": requests, "limits": limits} if limits else {"requests": requests}


def _security(found: ForeignDescription) -> JsonObject:
    said: JsonObject = {}
    user, _, group = found.user.partition(":")
    if user.isdecimal():
        said["runAsUser"] = int(user)
        said |= {"runAsGroup": int(group)} if group.isdecimal() else {}
    if found.privileged:
        said["privileged"] = True
    if found.read_only_root:
        said["readOnlyRootFilesystem"] = True
    capabilities: JsonObject = {
        key: list(names)
        for key, names in (("add", found.capabilities_added), ("drop", found.capabilities_dropped))
        if names
    }
    if capabilities:
        said["capabilities"] = capabilities
    return said


# --- volumes --------------------------------------------------------------------------------


def _mount(number: int, mount: ForeignMount) -> JsonObject:
    said: JsonObject = {"name": f"volume-{number}", "mountPath": mount.path}
    return said | {"readOnly": True} if mount.read_only else said


def _source(number: int, host: str, mount: ForeignMount) -> JsonObject:
    source: JsonObject = {"emptyDir": {"medium": "Memory"}}
    if mount.kind == "bind":
        source = {"hostPath": {"path": mount.source}}
    elif mount.kind == "volume":
        source = {"persistentVolumeClaim": {"claimName": _volume_name(host, mount.source)}}
    return {"name": f"volume-{number}", **source}


def _volume_name(host: str, volume: str) -> str:
    return _word(f"{host}-{volume}", _NAME)


def _volume(host: str, namespace: str, volume: str) -> JsonObject:
    """A volume of the engine that is there already, and stays when its claim goes."""
    name = _volume_name(host, volume)
    where: JsonObject = {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": name},
            "csi": {"driver": "docker-volume.ironfree.dev", "volumeHandle": volume},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [where]}]}},
        },
    }


def _claim(host: str, namespace: str, volume: str) -> JsonObject:
    name = _volume_name(host, volume)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "storageClassName": "",
            "volumeName": name,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
