"""What metadata may say, and what the server writes into it."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from msgspec.structs import replace

from ..errors import BadRequest, Cause
from ..objects import names
from ..objects.kind import Kind
from ..objects.meta import ObjectMeta
from ..objects.stored import StoredObject

_MAX_FINALIZER = 253


@lru_cache(maxsize=65536)
def _label_complaints(key: str, value: str) -> tuple[str, ...]:
    return tuple(names.labels_complaints({key: value}))


def causes(meta: ObjectMeta, kind: Kind) -> Iterable[Cause]:
    """Yield a cause per bad field of metadata."""
    if meta.generate_name:
        for complaint in names.name_complaints(meta.generate_name, kind.name_rule, prefix=True):
            yield Cause(
                "metadata.generateName", f'Invalid value: "{meta.generate_name}": {complaint}'
            )
    if meta.name:
        for complaint in names.name_complaints(meta.name, kind.name_rule, prefix=False):
            yield Cause("metadata.name", f'Invalid value: "{meta.name[:300]}": {complaint}')
    elif not meta.generate_name:
        yield Cause(
            "metadata.name",
            "Required value: name or generateName is required",
            "FieldValueRequired",
        )
    for key, value in meta.labels.items():
        for complaint in _label_complaints(key, value):
            yield Cause("metadata.labels", complaint)
    if meta.annotations:
        for complaint in names.annotations_complaints(meta.annotations):
            yield Cause("metadata.annotations", complaint)
    if meta.owner_references or meta.finalizers:
        yield from _reference_causes(meta)


def _reference_causes(meta: ObjectMeta) -> Iterable[Cause]:
    for index, owner in enumerate(meta.owner_references):
        for field, value in (
            ("apiVersion", owner.api_version),
            ("kind", owner.kind),
            ("name", owner.name),
            ("uid", owner.uid),
        ):
            if not value:
                where = f"metadata.ownerReferences[{index}].{field}"
                yield Cause(where, "Required value: must not be empty", "FieldValueRequired")
    controllers = [owner.kind for owner in meta.owner_references if owner.controller]
    if len(controllers) > 1:
        yield Cause(
            "metadata.ownerReferences",
            'Invalid value: Only one reference can have Controller set to true. Found "true" in '
            f"references for {' and '.join(controllers)}",
        )
    for finalizer in meta.finalizers:
        if not finalizer or names.label_key_complaints(finalizer):
            yield Cause(
                "metadata.finalizers",
                f'Invalid value: "{finalizer[:_MAX_FINALIZER]}": name is not a qualified name',
            )


def settle_namespace(meta: ObjectMeta, namespace: str, kind: Kind) -> ObjectMeta:
    """Return the metadata with the namespace of the path.

    Raises:
        BadRequest: the object names another one, or none where one is needed.
    """
    if not kind.namespaced:
        return replace(meta, namespace="") if meta.namespace else meta
    if meta.namespace and namespace and meta.namespace != namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if not (namespace or meta.namespace):
        raise BadRequest("the object needs metadata.namespace, or a namespace in the path")
    return meta if meta.namespace else replace(meta, namespace=namespace)


def stamped(meta: ObjectMeta, kind: Kind, uid: str, now: datetime) -> ObjectMeta:
    """Return the metadata of a new object: uid, creation time, generation, generated name."""
    return replace(
        meta,
        name=meta.name or names.generate(meta.generate_name),
        uid=uid,
        resource_version="",
        generation=1 if kind.has_status else 0,
        creation_timestamp=now,
        deletion_timestamp=None,
        deletion_grace_period_seconds=None,
    )


def carried_over(meta: ObjectMeta, current: StoredObject) -> ObjectMeta:
    """Return a client's metadata with what only the server may change taken from the object."""
    was = current.meta
    return replace(
        meta,
        name=was.name,
        namespace=was.namespace,
        generate_name=was.generate_name,
        uid=was.uid,
        resource_version="",
        generation=was.generation,
        creation_timestamp=was.creation_timestamp,
        deletion_timestamp=was.deletion_timestamp,
        deletion_grace_period_seconds=was.deletion_grace_period_seconds,
    )


def finished(meta: ObjectMeta, resource: str) -> bool:
    """Tell whether a deleting object has nothing left to wait for.

    Pods wait for their containers, namespaces for their content: others remove those.
    """
    return (
        meta.deletion_timestamp is not None
        and not meta.finalizers
        and not meta.deletion_grace_period_seconds
        and resource != "namespaces"
    )
