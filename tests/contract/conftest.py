"""A store that holds a namespace and two nodes."""

import pytest

from tests.store_values import create


@pytest.fixture
async def cluster(store):
    for op in (
        create("namespaces", "default"),
        create("nodes", "a", body=b'{"spec":{}}'),
        create("nodes", "b"),
    ):
        await store.write(op)
    return store
