import pytest

from scheduler.objects.meta import ObjectMeta, new_uid, now_seconds
from scheduler.objects.stored import Body
from scheduler.store.operations import Create
from scheduler.store.store import Store


@pytest.fixture(autouse=True)
async def kube_system(store: Store) -> None:
    meta = ObjectMeta(name="kube-system", uid=new_uid(), creation_timestamp=now_seconds())
    await store.write(Create("namespaces", meta, Body(b'{"spec":{}}'), b'{"phase":"Active"}'))
