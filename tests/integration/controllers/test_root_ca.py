"""The certificate of the cluster's CA is in every namespace, once there is one."""

from base64 import b64encode

import msgspec
import pytest

from scheduler.objects.stored import Body, ObjectKey
from scheduler.store.operations import Remove, Replace
from tests.store_values import create

CONFIG_MAPS = "configmaps"
KEY = ObjectKey("keys.ironfree.dev", "", "ca")
FIRST = "-----BEGIN CERTIFICATE-----\nfirst\n-----END CERTIFICATE-----\n"
SECOND = "-----BEGIN CERTIFICATE-----\nsecond\n-----END CERTIFICATE-----\n"
SPACES = ("default", "kube-node-lease", "kube-system")


def published(namespace):
    return ObjectKey(CONFIG_MAPS, namespace, "kube-root-ca.crt")


def holding(certificate):
    return {"data": {"ca.crt": b64encode(certificate.encode()).decode()}}


async def put(cluster, key, body):
    """Do what a client's update does, whatever is there."""
    present = await cluster.store.get(key)
    encoded = Body(msgspec.json.encode(body))
    return await cluster.store.write(Replace(key.resource, present.meta, encoded, b"", None))


async def give(cluster, certificate, name=KEY.name):
    body = msgspec.json.encode(holding(certificate))
    await cluster.store.write(create(KEY.resource, name, body=body))


async def until_published(cluster, certificate, *namespaces):
    async def everywhere():
        found = [await cluster.document(published(each)) for each in namespaces]
        return all(each and each["data"] == {"ca.crt": certificate} for each in found)

    await cluster.until(everywhere, CONFIG_MAPS)


@pytest.fixture
async def spaces(cluster):
    await cluster.create("namespaces", "kube-system", status={"phase": "Active"})
    return cluster


async def test_all_namespaces_have_it_as_soon_as_it_is_there(spaces):
    accounts = [ObjectKey("serviceaccounts", each, "default") for each in SPACES]

    async def seen():
        return all([await spaces.store.get(each) for each in accounts])

    await spaces.until(seen, "serviceaccounts")  # so the controllers know these namespaces
    assert (await spaces.store.list(CONFIG_MAPS)).objects == ()
    await give(spaces, FIRST)
    await until_published(spaces, FIRST, *SPACES)
    await spaces.create("namespaces", "later", status={"phase": "Active"})
    await until_published(spaces, FIRST, "later")


async def test_another_one_takes_its_place_and_its_loss_changes_nothing(spaces):
    await give(spaces, FIRST)
    await until_published(spaces, FIRST, *SPACES)
    await put(spaces, KEY, {"data": {"ca.crt": "%"}})
    await put(spaces, KEY, holding(SECOND))
    await until_published(spaces, SECOND, *SPACES)
    await spaces.store.write(Remove(KEY))
    made = await spaces.create("namespaces", "later", status={"phase": "Active"})
    await give(spaces, FIRST, "other")
    await give(spaces, FIRST)
    await until_published(spaces, FIRST, *SPACES, made.meta.name)


@pytest.mark.parametrize("data", [{}, {"ca.crt": SECOND}, {"ca.crt": FIRST, "more": "x"}])
async def test_what_others_spoil_is_mended(spaces, data):
    await give(spaces, FIRST)
    await until_published(spaces, FIRST, "default")
    await put(spaces, published("default"), {"data": data})
    await until_published(spaces, FIRST, "default")
    uid = (await spaces.store.get(published("default"))).meta.uid
    await spaces.delete(published("default"))
    await until_published(spaces, FIRST, "default")
    assert (await spaces.store.get(published("default"))).meta.uid != uid


async def test_other_config_maps_are_left_alone(spaces):
    own = await spaces.create(CONFIG_MAPS, "own", body={"data": {"ca.crt": SECOND}})
    await give(spaces, FIRST)
    await until_published(spaces, FIRST, *SPACES)
    assert (await spaces.store.get(own.key)).revision == own.revision


async def test_a_namespace_that_is_deleted_ends(spaces):
    await give(spaces, FIRST)
    made = await spaces.create("namespaces", "doomed", status={"phase": "Active"})
    await until_published(spaces, FIRST, "doomed")
    await spaces.delete(made.key)
    await spaces.gone(made.key)
    assert (await spaces.store.list(CONFIG_MAPS, "doomed")).objects == ()
