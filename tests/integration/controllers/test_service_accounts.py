"""Every namespace has its ServiceAccount "default"."""

from scheduler.objects.stored import ObjectKey

ACCOUNTS = "serviceaccounts"


def account(namespace):
    return ObjectKey(ACCOUNTS, namespace, "default")


async def have(cluster, namespace, but=""):
    """Wait for a namespace's account, another one than that of a uid."""

    async def there():
        found = await cluster.store.get(account(namespace))
        return found if found is not None and found.meta.uid != but else None

    return await cluster.until(there, ACCOUNTS)


async def test_present_and_new_namespaces_have_one(cluster):
    await have(cluster, "default")
    await cluster.create("namespaces", "later", status={"phase": "Active"})
    await have(cluster, "later")


async def test_a_deleted_one_is_made_anew(cluster):
    first = await have(cluster, "default")
    other = await cluster.create(ACCOUNTS, "robot")
    await cluster.delete(other.key)
    await cluster.delete(first.key)
    await have(cluster, "default", but=first.meta.uid)
    assert await cluster.store.get(other.key) is None


async def test_a_namespace_that_is_deleted_ends(cluster):
    made = await cluster.create("namespaces", "doomed", status={"phase": "Active"})
    await have(cluster, "doomed")
    await cluster.delete(made.key)
    await cluster.gone(made.key)
    assert (await cluster.store.list(ACCOUNTS, "doomed")).objects == ()


async def test_one_that_a_quota_forbids_comes_when_there_is_room(cluster):
    first = await have(cluster, "default")
    key = ObjectKey("resourcequotas", "default", "q")
    body = {"spec": {"hard": {"count/serviceaccounts": "0"}}}
    await cluster.create(key.resource, key.name, body=body)
    await cluster.delete(first.key)
    await cluster.create("namespaces", "later", status={"phase": "Active"})
    await have(cluster, "later")  # so it was the other one's turn before
    assert await cluster.store.get(first.key) is None
    await cluster.change(key, body={"hard": {"count/serviceaccounts": "1"}})
    await have(cluster, "default", but=first.meta.uid)
