"""The writes by which volumes and claims are bound, made and given a phase. Pure."""

from datetime import datetime
from typing import cast

import msgspec
from msgspec.structs import replace

from ..objects.json import Json, JsonObject
from ..objects.kinds.fields import ensure
from ..objects.meta import ObjectMeta, new_uid
from ..objects.storage import (
    DATA,
    DRIVER,
    HOSTNAME,
    PROVISIONER,
    VOLUME_PROTECTION,
    VOLUMES,
    Claim,
    NamedClass,
    PersistentVolume,
)
from ..objects.stored import Body, StoredObject
from ..store.operations import Create, Replace

_BOUND_BY_US = "pv.kubernetes.io/bound-by-controller"
_COMPLETED = "pv.kubernetes.io/bind-completed"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"

_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


def volume_with_claim(volume: PersistentVolume, claim: Claim, now: datetime) -> Replace | None:
    """Return the write that gives a volume to a claim, None where it says so already."""
    body = _object.decode(volume.stored.body.json)
    spec, annotations = ensure(body, "spec"), dict(volume.meta.annotations)
    if spec.get("claimRef") is None:
        annotations[_BOUND_BY_US] = "yes"
    spec["claimRef"] = {**ensure(spec, "claimRef"), **reference(claim)}
    return _changed(
        volume.stored, annotations, body, _status(volume.stored, {"phase": "Bound"}, now)
    )


def volume_in_phase(
    volume: PersistentVolume, phase: str, now: datetime, message: str = ""
) -> Replace | None:
    """Return the write that gives a volume a phase, None where it has it."""
    body = _object.decode(volume.stored.body.json)
    said: JsonObject = {"phase": phase, "message": message or None}
    status = _status(volume.stored, said, now)
    return _changed(volume.stored, volume.meta.annotations, body, status)


def claim_with_volume(claim: Claim, volume: PersistentVolume) -> Replace | None:
    """Return the write that binds a claim to a volume that is its own, None where it is bound."""
    body = _object.decode(claim.stored.body.json)
    spec, annotations = ensure(body, "spec"), {**claim.meta.annotations, _COMPLETED: "yes"}
    if not spec.get("volumeName"):
        annotations[_BOUND_BY_US] = "yes"
    spec["volumeName"] = volume.meta.name
    status: JsonObject = {
        "phase": "Bound",
        "accessModes": list(volume.spec.access_modes),
        "capacity": dict[str, Json](volume.spec.capacity),
    }
    return _changed(claim.stored, annotations, body, _status(claim.stored, status))


def claim_in_phase(claim: Claim, phase: str) -> Replace | None:
    """Return the write that gives a claim a phase, None where it has it."""
    body = _object.decode(claim.stored.body.json)
    status = _status(claim.stored, {"phase": phase})
    return _changed(claim.stored, claim.meta.annotations, body, status)


def claim_of_class(claim: Claim, name: str) -> Replace | None:
    """Return the write that gives a claim the default class."""
    body = _object.decode(claim.stored.body.json)
    ensure(body, "spec")["storageClassName"] = name
    return _changed(claim.stored, claim.meta.annotations, body, claim.stored.status)


def reference(claim: Claim) -> JsonObject:
    """Return a volume's reference to its claim."""
    return {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "namespace": claim.meta.namespace,
        "name": claim.meta.name,
        "uid": claim.meta.uid,
    }


def volume_name(claim: Claim) -> str:
    """Return the name of the volume made for a claim, on the engine too."""
    return f"pvc-{claim.meta.uid}"


def docker_volume(claim: Claim, kind: NamedClass, hostname: str, now: datetime) -> Create:
    """Return the write that makes the volume of a claim, a named Docker volume on one node.

    Args:
        hostname: the node's label kubernetes.io/hostname.
    """
    name = volume_name(claim)
    wanted: Json = {"key": HOSTNAME, "operator": "In", "values": [hostname]}
    terms: list[Json] = [{"matchExpressions": [wanted]}]
    spec: JsonObject = {
        "capacity": dict[str, Json](claim.spec.resources.requests),
        "accessModes": list(claim.spec.access_modes),
        "claimRef": reference(claim),
        "persistentVolumeReclaimPolicy": kind.spec.reclaim_policy,
        "storageClassName": kind.meta.name,
        "volumeMode": "Filesystem",
        "csi": {"driver": DRIVER, "volumeHandle": name},
        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
    }
    meta = ObjectMeta(
        name=name,
        uid=new_uid(),
        creation_timestamp=now.replace(microsecond=0),
        annotations={_PROVISIONED_BY: PROVISIONER},
        finalizers=(VOLUME_PROTECTION, DATA),
    )
    status = _status(None, {"phase": "Bound"}, now)
    return Create(VOLUMES, meta, _body({"spec": spec}), status)


def _status(stored: StoredObject | None, said: JsonObject, now: datetime | None = None) -> bytes:
    """Put fields into a status; a volume (now given) notes when its phase changed."""
    before = _object.decode(stored.status) if stored is not None and stored.status else {}
    fields = {**before, **said}
    if now is not None and before.get("phase") != said["phase"]:
        fields["lastPhaseTransitionTime"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return msgspec.json.encode({key: value for key, value in fields.items() if value is not None})


def _changed(
    stored: StoredObject, annotations: dict[str, str], body: JsonObject, status: bytes
) -> Replace | None:
    fresh, meta = _body(body), replace(stored.meta, annotations=annotations)
    same = _object.decode(fresh.json) == _object.decode(stored.body.json)
    known = cast(Json, msgspec.json.decode(stored.status or b"{}"))
    if same and meta == stored.meta and known == msgspec.json.decode(status or b"{}"):
        return None
    return Replace(stored.resource, meta, fresh, status, stored.revision)


def _body(value: JsonObject) -> Body:
    return Body(msgspec.json.encode(value, order="deterministic"))
