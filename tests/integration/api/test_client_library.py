"""kubernetes_asyncio against the API."""

import asyncio

import pytest
import pytest_asyncio
from kubernetes_asyncio import client, watch

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def core(api):
    configuration = client.Configuration(host=api.url)
    async with client.ApiClient(configuration) as connection:
        yield client.CoreV1Api(connection)


async def test_objects_are_made_read_changed_and_removed(core, ns):
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a"), data={"k": "1"})
    made = await core.create_namespaced_config_map(ns, body)
    assert made.metadata.uid
    made.data["k"] = "2"
    replaced = await core.replace_namespaced_config_map("a", ns, made)
    assert replaced.data == {"k": "2"}
    patched = await core.patch_namespaced_config_map("a", ns, {"data": {"l": "3"}})
    assert patched.data == {"k": "2", "l": "3"}
    listed = await core.list_namespaced_config_map(ns)
    assert [item.metadata.name for item in listed.items] == ["a"]
    await core.delete_namespaced_config_map("a", ns)
    with pytest.raises(client.ApiException) as gone:
        await core.read_namespaced_config_map("a", ns)
    assert gone.value.status == 404


async def test_pods_are_watched(core, ns):
    container = client.V1Container(name="c", image="x:1")
    body = client.V1Pod(
        metadata=client.V1ObjectMeta(name="p"), spec=client.V1PodSpec(containers=[container])
    )
    async with asyncio.timeout(20), watch.Watch() as stream:
        await core.create_namespaced_pod(ns, body)
        seen = []
        async for event in stream.stream(core.list_namespaced_pod, ns):
            seen.append((event["type"], event["object"].status.phase))
            if len(seen) == 1:
                await core.delete_namespaced_pod("p", ns)
            else:
                break
    assert seen == [("ADDED", "Pending"), ("DELETED", "Pending")]
