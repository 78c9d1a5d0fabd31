"""What every caller of the store may rely on, on real PostgreSQL."""

import uuid

import pytest

from scheduler.errors import AlreadyExists
from scheduler.objects.meta import ObjectMeta, now_seconds
from scheduler.objects.stored import Body
from scheduler.store.operations import Create


def create(resource, name, namespace="", body=b"{}"):
    meta = ObjectMeta(
        name=name, namespace=namespace, uid=str(uuid.uuid4()), creation_timestamp=now_seconds()
    )
    return Create(resource, meta, body if isinstance(body, Body) else Body(body))


async def test_a_created_object_can_be_read(store):
    created = await store.write(create("nodes", "a"))
    assert await store.get(created.key) == created
    with pytest.raises(AlreadyExists, match='nodes "a" already exists'):
        await store.write(create("nodes", "a"))
