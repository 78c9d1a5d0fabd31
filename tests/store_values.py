"""Writes that tests of the store are made of."""

import uuid

import msgspec

from scheduler.objects.cohort import Cohort, cohort_uid
from scheduler.objects.meta import ObjectMeta, now_seconds
from scheduler.objects.stored import Body, ObjectKey, intern_body
from scheduler.store.operations import Bind, Create, Replace

SPEC = intern_body(b'{"spec":{"containers":[{"image":"web:1","name":"web"}]}}')


def create(resource, name, namespace="", body=b"{}", **fields):
    """Return a Create of a new uid."""
    meta = ObjectMeta(
        name=name,
        namespace=namespace,
        uid=fields.pop("uid", None) or str(uuid.uuid4()),
        creation_timestamp=now_seconds(),
        labels=fields.pop("labels", {}),
    )
    body = body if isinstance(body, Body) else Body(body)
    return Create(resource, meta, body, **fields)


def pod(name, body=SPEC, namespace="default", **fields):
    """Return a Create of a pod."""
    return create("pods", name, namespace, body, **fields)


def cohort(size, start=0, body=SPEC, prefix="web-", namespace="default", **fields):
    """Return a cohort that is yet to be made."""
    meta = ObjectMeta(generate_name=prefix, creation_timestamp=now_seconds(), **fields)
    return Cohort(cohort_uid(), namespace, prefix, start, size, 0, meta, body, b"")


def replace(obj, *, status=None, body=None, expected=0, epoch=None, **meta):
    """Return a Replace of an object as read; expected=None overwrites."""
    return Replace(
        obj.resource,
        msgspec.structs.replace(obj.meta, **meta),
        obj.body if body is None else body,
        obj.status if status is None else status,
        obj.revision if expected == 0 else expected,
        epoch,
    )


def bind(obj, node, snapshot, **fields):
    """Return a Bind of a pod as read."""
    requests = fields.pop("requests", {"cpu": 100, "memory": 1 << 20, "pods": 1})
    return Bind(obj.key, obj.meta.uid, node, snapshot, requests, **fields)


def key(resource, name, namespace=""):
    return ObjectKey(resource, namespace, name)
