"""PersistentVolume (core/v1): hostPath, local, nfs, and named Docker volumes as CSI volumes."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from ...errors import BadRequest, Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..quantity import canonical, parse
from ..selectors import node_requirements
from ..storage import DATA, DRIVER, RETAIN, VOLUME_PROTECTION
from .causes import forbidden, invalid, one_of, required
from .fields import child, default_text, ensure, indexed, text
from .persistent_volume_claim import access_mode_causes, protect
from .printing import AGE, NAME, age, name
from .storage_printing import (
    ATTRIBUTES,
    CAPACITY,
    CLASS,
    MODE,
    MODES,
    STATUS,
    UNSET,
    modes,
    phase,
    storage,
)
from .volume_validation import host_path_causes, nfs_causes

_SUPPORTED = ("hostPath", "local", "nfs", "csi")
_OTHERS = (
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "rbd",
    "iscsi",
    "cinder",
    "cephfs",
    "fc",
    "flocker",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
)


def _complete(obj: JsonObject) -> None:
    protect(obj, VOLUME_PROTECTION)
    if text(child(child(obj, "spec"), "csi"), "driver") == DRIVER:
        protect(obj, DATA)


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    default_text(spec, "persistentVolumeReclaimPolicy", RETAIN)
    default_text(spec, "volumeMode", "Filesystem")
    capacity = child(spec, "capacity")
    for resource, amount in capacity.items():
        capacity[resource] = canonical(str(amount))


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    amount = child(spec, "capacity").get("storage")
    if amount is None:
        yield required("spec.capacity[storage]")
    elif parse(str(amount)) <= 0:
        yield invalid("spec.capacity[storage]", str(amount), "must be greater than zero")
    yield from access_mode_causes(spec, "spec")
    policy, where = (
        text(spec, "persistentVolumeReclaimPolicy"),
        "spec.persistentVolumeReclaimPolicy",
    )
    if policy == "Recycle":
        yield forbidden(where, "not supported by Ironfree: volumes are not scrubbed")
    else:
        yield from one_of(where, policy, (RETAIN, "Delete"))
    if text(spec, "volumeMode") != "Filesystem":
        yield forbidden("spec.volumeMode", "not supported by Ironfree: no block devices")
    yield from _source_causes(spec)
    yield from _affinity_causes(child(spec, "nodeAffinity"))


def _source_causes(spec: JsonObject) -> Iterator[Cause]:
    given = [each for each in (*_SUPPORTED, *_OTHERS) if spec.get(each) is not None]
    if not given:
        yield required("spec", "must specify a volume type")
    for each in given[1:]:
        yield forbidden(f"spec.{each}", "may not specify more than 1 volume type")
    for each in given:
        source, where = child(spec, each), f"spec.{each}"
        match each:
            case "hostPath":
                yield from host_path_causes(source, where)
            case "nfs":
                yield from nfs_causes(source, where)
            case "local":
                yield from host_path_causes(source, where)
                if not child(child(spec, "nodeAffinity"), "required"):
                    why = "Local volume requires node affinity"
                    yield required("spec.nodeAffinity", why)
            case "csi":
                yield from one_of(f"{where}.driver", text(source, "driver"), (DRIVER,))
                if not text(source, "volumeHandle"):
                    yield required(f"{where}.volumeHandle")
            case _:
                yield forbidden(where, "not supported by Ironfree: cannot be mounted")
    if spec.get("mountOptions") and spec.get("nfs") is None:
        yield forbidden("spec.mountOptions", "not supported by Ironfree but for nfs")


def _affinity_causes(affinity: JsonObject) -> Iterator[Cause]:
    wanted = child(affinity, "required")
    path = "spec.nodeAffinity.required"
    if affinity and not wanted:
        yield required(path, "must specify required node constraints")
    for where, term in indexed(wanted, "nodeSelectorTerms", path):
        try:
            node_requirements(term.get("matchExpressions"))
        except BadRequest as error:
            yield invalid(where, "", error.message)
        if term.get("matchFields"):
            yield forbidden(f"{where}.matchFields", "volumes are tied to nodes by labels")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    before, after = child(old, "spec"), child(new, "spec")
    for field in (*_SUPPORTED, "volumeMode"):
        if before.get(field) != after.get(field):
            why = "spec.persistentvolumesource is immutable after creation"
            yield forbidden(f"spec.{field}", why)
    if before.get("nodeAffinity") and before.get("nodeAffinity") != after.get("nodeAffinity"):
        yield invalid("spec.nodeAffinity", "", "field is immutable")


def _initial_status(_obj: JsonObject) -> JsonObject | None:
    return {"phase": "Pending"}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec = child(obj, "spec")
    claim = child(spec, "claimRef")
    return (
        name(obj),
        storage(child(spec, "capacity")),
        modes(spec),
        text(spec, "persistentVolumeReclaimPolicy"),
        phase(obj),
        f"{text(claim, 'namespace')}/{text(claim, 'name')}" if claim else "",
        text(spec, "storageClassName"),
        text(spec, "volumeAttributesClassName") or UNSET,
        text(child(obj, "status"), "reason"),
        age(obj, now),
        text(spec, "volumeMode") or UNSET,
    )


KIND = Kind(
    kind="PersistentVolume",
    plural="persistentvolumes",
    message="core.v1.PersistentVolume",
    short_names=("pv",),
    namespaced=False,
    printer=Printer(
        (
            NAME,
            CAPACITY,
            MODES,
            Column("Reclaim Policy", description="What becomes of it without its claim."),
            STATUS,
            Column("Claim", description="The claim it is bound to."),
            CLASS,
            ATTRIBUTES,
            Column("Reason", description="Why it is in its phase."),
            AGE,
            MODE,
        ),
        _cells,
    ),
    default=_default,
    complete=_complete,
    initial_status=_initial_status,
    validate=_validate,
    validate_update=_validate_update,
)
