"""What volumes and their mounts may say (Kubernetes core/v1 validation, in its words)."""

from collections.abc import Iterator

from ...errors import Cause
from ..json import JsonObject
from ..names import label_name_complaints
from ..quantity import parse
from .causes import duplicate, forbidden, invalid, one_of, required
from .fields import child, indexed, number, text

_HOST_TYPES = ("", "DirectoryOrCreate", "Directory", "File", "Socket", "CharDevice", "BlockDevice")
_LEAST_SECONDS, _MOST_SECONDS = 600, 1 << 32
_PROPAGATIONS = ("None", "HostToContainer", "Bidirectional")


def volume_causes(spec: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of a pod's volumes."""
    seen: set[str] = set()
    for where, volume in indexed(spec, "volumes", path):
        name = text(volume, "name")
        if not name:
            yield required(f"{where}.name")
            continue
        for complaint in label_name_complaints(name):
            yield invalid(f"{where}.name", name, complaint)
        if name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)
        if len(volume) > 2:
            yield forbidden(where, "may not specify more than 1 volume type")
        yield from _source(volume, where)


def _source(volume: JsonObject, path: str) -> Iterator[Cause]:
    empty = child(volume, "emptyDir")
    yield from one_of(f"{path}.emptyDir.medium", text(empty, "medium"), ("", "Memory"))
    if empty.get("sizeLimit") is not None and parse(str(empty["sizeLimit"])) < 0:
        where = f"{path}.emptyDir[sizeLimit]"
        yield invalid(where, str(empty["sizeLimit"]), "must be greater than or equal to 0")
    if volume.get("hostPath") is not None:
        yield from host_path_causes(child(volume, "hostPath"), f"{path}.hostPath")
    if volume.get("nfs") is not None:
        yield from nfs_causes(child(volume, "nfs"), f"{path}.nfs")
    if volume.get("persistentVolumeClaim") is not None:
        claim = text(child(volume, "persistentVolumeClaim"), "claimName")
        if not claim:
            yield required(f"{path}.persistentVolumeClaim.claimName")
    yield from _written(volume, path, whole=True)
    projected = child(volume, "projected")
    yield from _mode(projected, "defaultMode", f"{path}.projected")
    for where, each in indexed(projected, "sources", f"{path}.projected"):
        if len([kind for kind in each if each[kind] is not None]) > 1:
            yield forbidden(where, "may not specify more than 1 volume type per source")
        yield from _written(each, where, whole=False)
        if each.get("serviceAccountToken") is not None:
            yield from _token(child(each, "serviceAccountToken"), f"{where}.serviceAccountToken")


def _token(source: JsonObject, path: str) -> Iterator[Cause]:
    yield from _inside(f"{path}.path", text(source, "path"), needed=True)
    if source.get("expirationSeconds") is None:
        return
    seconds, where = number(source, "expirationSeconds"), f"{path}.expirationSeconds"
    if seconds < _LEAST_SECONDS:
        yield invalid(where, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > _MOST_SECONDS:
        yield invalid(where, seconds, "may not specify a duration larger than 2^32 seconds")


def nfs_causes(source: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of an NFS source."""
    server, export = text(source, "server"), text(source, "path")
    if not server:
        yield required(f"{path}.server")
    elif "," in server or any(each.isspace() for each in server):  # they would be mount options
        yield invalid(f"{path}.server", server, "must be a host name or an address")
    if not export:
        yield required(f"{path}.path")
    elif not export.startswith("/"):
        yield invalid(f"{path}.path", export, "must be an absolute path")


def host_path_causes(source: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of a path on the host."""
    host = text(source, "path")
    if not host:
        yield required(f"{path}.path")
    elif ".." in host.split("/"):
        yield invalid(f"{path}.path", host, "must not contain '..'")
    elif not host.startswith("/") or ":" in host:
        yield invalid(f"{path}.path", host, "must be an absolute path without ':'")
    if text(source, "type") == "FileOrCreate":
        why = "a container engine makes directories only"
        yield forbidden(f"{path}.type", f"not supported by Ironfree: {why}")
    else:
        yield from one_of(f"{path}.type", text(source, "type"), _HOST_TYPES)


def _written(source: JsonObject, path: str, *, whole: bool) -> Iterator[Cause]:
    """Check the sources whose files Ironfree writes.

    Args:
        whole: of a volume, not of one source of a projected one.
    """
    names = {"configMap": "name", "secret": "secretName" if whole else "name"}
    for kind in ("configMap", "secret", "downwardAPI"):
        if source.get(kind) is None:
            continue
        inner, where = child(source, kind), f"{path}.{kind}"
        if kind in names and not text(inner, names[kind]):
            yield required(f"{where}.{names[kind]}")
        yield from _mode(inner, "defaultMode", where)
        for here, item in indexed(inner, "items", where):
            yield from _mode(item, "mode", here)
            if kind != "downwardAPI" and not text(item, "key"):
                yield required(f"{here}.key")
            yield from _inside(f"{here}.path", text(item, "path"), needed=True)
            if kind == "downwardAPI":
                yield from _downward(item, here)


def _downward(item: JsonObject, path: str) -> Iterator[Cause]:
    chosen = [kind for kind in ("fieldRef", "resourceFieldRef") if item.get(kind) is not None]
    if len(chosen) != 1:
        yield required(path, "one of fieldRef and resourceFieldRef is required")
    elif chosen == ["fieldRef"]:
        if not text(child(item, "fieldRef"), "fieldPath"):
            yield required(f"{path}.fieldRef.fieldPath")
    elif not text(child(item, "resourceFieldRef"), "containerName"):
        yield required(f"{path}.resourceFieldRef.containerName")


def _mode(at: JsonObject, field: str, path: str) -> Iterator[Cause]:
    if at.get(field) is not None and not 0 <= number(at, field, -1) <= 0o777:
        why = "must be a number between 0 and 0777 (octal), both inclusive"
        yield invalid(f"{path}.{field}", at.get(field), why)


def _inside(path: str, value: str, *, needed: bool = False) -> Iterator[Cause]:
    """Yield a cause when a relative path may lead out of its volume."""
    if not value:
        if needed:
            yield required(path)
    elif value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    elif ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")
    elif needed and value.startswith(".."):
        yield invalid(path, value, "must not start with '..'")


def mount_causes(
    container: JsonObject, path: str, volumes: dict[str, JsonObject]
) -> Iterator[Cause]:
    """Yield a cause per bad field of a container's volumeMounts.

    Args:
        volumes: of the pod, by name.
    """
    seen: set[str] = set()
    for where, mount in indexed(container, "volumeMounts", path):
        name, mount_path = text(mount, "name"), text(mount, "mountPath")
        if not name:
            yield required(f"{where}.name")
        elif name not in volumes:
            yield Cause(f"{where}.name", f'Not found: "{name}"', "FieldValueNotFound")
        if not mount_path:
            yield required(f"{where}.mountPath")
        elif ":" in mount_path:
            yield invalid(f"{where}.mountPath", mount_path, "must not contain ':'")
        elif mount_path in seen:
            yield invalid(f"{where}.mountPath", mount_path, "must be unique")
        seen.add(mount_path)
        yield from _inside(f"{where}.subPath", text(mount, "subPath"))
        yield from _inside(f"{where}.subPathExpr", text(mount, "subPathExpr"))
        if text(mount, "subPath") and text(mount, "subPathExpr"):
            yield invalid(
                f"{where}.subPathExpr",
                text(mount, "subPathExpr"),
                "subPathExpr and subPath are mutually exclusive",
            )
        yield from _propagation(container, mount, where, volumes.get(name, {}))


def whole_mounts_causes(container: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per part of a volume that an ephemeral container has mounted."""
    for where, mount in indexed(container, "volumeMounts", path):
        for field in ("subPath", "subPathExpr"):
            if text(mount, field):
                yield forbidden(f"{where}.{field}", "cannot be set for an Ephemeral Container")


def _propagation(
    container: JsonObject, mount: JsonObject, path: str, volume: JsonObject
) -> Iterator[Cause]:
    chosen, where = text(mount, "mountPropagation"), f"{path}.mountPropagation"
    if not chosen:
        return
    yield from one_of(where, chosen, _PROPAGATIONS)
    part = text(mount, "subPath") or text(mount, "subPathExpr")
    if chosen != "None" and (volume.get("hostPath") is None or part):
        yield forbidden(
            where, "not supported by Ironfree: only whole mounts of hostPath volumes propagate"
        )
    elif chosen == "Bidirectional" and not child(container, "securityContext").get("privileged"):
        yield forbidden(
            where, "Bidirectional mount propagation is available only to privileged containers"
        )
