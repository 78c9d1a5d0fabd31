"""Registries are asked what images are made for, once, where nodes differ."""

import json

from scheduler.objects.image_manifest import RESOURCE, manifest_name
from scheduler.objects.stored import ObjectKey
from tests.store_values import create

AMD = {"os": "linux", "architecture": "amd64"}
NOISE = {"os": "unknown", "architecture": "unknown"}
APP = "r.io/app:v1"


async def known(works, image, test=lambda m: m is not None):
    return await works.until(works.manifests, "", manifest_name(image), test)


async def pod(works, name, image, **spec):
    body = json.dumps({"spec": {"containers": [{"name": "c", "image": image}], **spec}}).encode()
    status = b'{"phase":"Pending"}'
    return await works.store.write(create("pods", name, "default", body, status=status))


def questions(*engines):
    return sum(engine.calls.count("distribution") for engine in engines)


async def test_an_image_is_asked_for_once_where_nodes_differ(works):
    amd = await works.add("amd", platforms={APP: [AMD, NOISE]})
    await pod(works, "early", APP)  # nodes are alike, so it does not matter
    arm = await works.add("arm", architecture="arm64", platforms={APP: [AMD, NOISE]})
    found = await known(works, APP)
    assert found.spec.image == APP
    assert found.architectures == {"amd64"}
    assert [p.architecture for p in found.status.platforms] == ["amd64"]
    await pod(works, "late", APP)
    for engine in amd, arm:
        engine.platforms["r.io/last:v1"] = [AMD]
    await pod(works, "last", "r.io/last:v1")
    await known(works, "r.io/last:v1")
    assert questions(amd, arm) == 2


async def test_nobody_asks_while_all_nodes_are_alike(works):
    engine = await works.add("one", platforms={APP: [AMD]})
    await pod(works, "p", APP)
    await works.add_pod("runs", "one", containers=[{"name": "c", "image": "app:v1"}])
    await works.running("runs")
    assert "distribution" not in engine.calls


async def test_the_pods_secrets_are_shown_to_the_registry(works):
    account = {"username": "me", "password": "hush", "serveraddress": "r.io"}
    engines = [
        await works.add(name, architecture=name, platforms={APP: [AMD]}, accounts=[account])
        for name in ("amd64", "arm64")
    ]
    auths = {"auths": {"r.io": {"username": "me", "password": "hush"}}}
    content = {".dockerconfigjson": json.dumps(auths).encode()}
    await works.secret("login", "kubernetes.io/dockerconfigjson", **content)
    await pod(works, "p", APP, imagePullSecrets=[{"name": "login"}])
    assert (await known(works, APP)).architectures == {"amd64"}
    assert account in [login for engine in engines for login in engine.logins]


async def test_what_a_registry_does_not_tell_is_not_kept(works):
    platforms = {"r.io/told:v1": [AMD], "r.io/noise:v1": [NOISE]}
    engines = [
        await works.add(name, architecture=name, platforms=platforms) for name in ("amd64", "arm64")
    ]
    for image in "r.io/denied:v1", "r.io/noise:v1", "Not An Image", "r.io/told:v1":
        await pod(works, manifest_name(image)[:20], image)
    await known(works, "r.io/told:v1")
    await works.eventually(lambda: questions(*engines) == 4)  # of the denied one both were asked
    for image in "r.io/denied:v1", "r.io/noise:v1":
        key = ObjectKey(RESOURCE, "", manifest_name(image))
        assert await works.store.get(key) is None
