"""What a pod's claims stand for on its host."""

import asyncio
import json
from contextlib import contextmanager

import pytest

from scheduler.nodes import claims
from scheduler.nodes.claims import ClaimProblem, with_claims
from scheduler.nodes.translation import container_spec, sandbox_spec
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Container, Pod, PodSpec, PodStatus, Volume, VolumeMount
from scheduler.objects.storage import CLAIMS, VOLUMES
from scheduler.objects.stored import Body, ObjectKey, StoredObject
from scheduler.objects.volumes import ClaimSource, NfsSource
from scheduler.volumes import Mount, NamedVolume

REFERENCE = {"namespace": "shop", "name": "c", "uid": "u-c"}


def stored(resource, name, body, phase, uid="", namespace=""):
    meta = ObjectMeta(name=name, namespace=namespace, uid=uid)
    status = json.dumps({"phase": phase}).encode()
    return StoredObject(resource, meta, 1, 1, Body(json.dumps(body).encode()), status)


def claim(phase="Bound", volume="v"):
    return stored(CLAIMS, "c", {"spec": {"volumeName": volume}}, phase, "u-c", "shop")


def volume(**spec):
    return stored(VOLUMES, "v", {"spec": {"claimRef": REFERENCE, **spec}}, "Bound")


def pod(source=None, **mount):
    source = source or {"persistent_volume_claim": ClaimSource("c")}
    mounts = (VolumeMount("data", "/data", **mount),)
    spec = PodSpec(
        containers=(Container("app", "i", volume_mounts=mounts),),
        volumes=(Volume("data", **source),),
    )
    return Pod(ObjectMeta(name="p", namespace="shop", uid="u-p"), spec, PodStatus(), "h", 1, b"")


@contextmanager
def no_news(_key: ObjectKey):
    yield asyncio.Event()


async def seen(there, wanted):
    """Return the volumes and mounts that a host is asked for, or why not."""
    objects = {each.key: each for each in there}

    async def read(key):
        return objects.get(key)

    found = await with_claims(read, no_news, wanted)
    if isinstance(found, ClaimProblem):
        return found.message
    app = found.spec.containers[0]
    made = container_spec(found.spec, app, 0, 0, ())
    return sandbox_spec(found, 0, 1).volumes, made.mounts


NFS = NamedVolume(
    "data",
    options=(("type", "nfs"), ("device", "s:/x"), ("o", "addr=s,nfsvers=4.1")),
)
DOCKER = {"csi": {"driver": "docker-volume.ironfree.dev", "volumeHandle": "pvc-1"}}


@pytest.mark.parametrize(
    ("spec", "volumes", "mount"),
    [
        (DOCKER, (NamedVolume("data", "pvc-1"),), Mount("data", "/data", lasting="pvc-1")),
        ({"local": {"path": "/disk"}}, (), Mount("data", "/data", host_path="/disk")),
        ({"hostPath": {"path": "/d"}}, (), Mount("data", "/data", host_path="/d", create=True)),
        (
            {"nfs": {"server": "s", "path": "/x"}, "mountOptions": ["nfsvers=4.1"]},
            (NFS,),
            Mount("data", "/data"),
        ),
    ],
)
async def test_each_sort_of_volume_reaches_the_host(spec, volumes, mount):
    assert await seen([claim(), volume(**spec)], pod()) == (volumes, (mount,))


async def test_a_claim_may_be_mounted_for_reading_only():
    wanted = pod({"persistent_volume_claim": ClaimSource("c", read_only=True)})
    _, (mount,) = await seen([claim(), volume(**DOCKER)], wanted)
    assert mount.read_only


async def test_a_file_server_needs_no_claim():
    volumes, (mount,) = await seen([], pod({"nfs": NfsSource("2001:db8::1", "/x", True)}))
    options = (("type", "nfs"), ("device", "[2001:db8::1]:/x"), ("o", "addr=2001:db8::1"))
    assert volumes == (NamedVolume("data", options=options),)
    assert mount.read_only


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ([], 'persistentvolumeclaim "c" not found'),
        ([claim("Pending", "")], 'PersistentVolumeClaim is not bound: "shop/c"'),
        ([claim("Lost")], 'persistentvolumeclaim "c" has lost its volume v'),
        ([claim()], 'volume v of claim "c" is not the claim\'s'),
        (
            [claim(), volume(claimRef={**REFERENCE, "uid": "u-other"}, **DOCKER)],
            'volume v of claim "c" is not the claim\'s',
        ),
    ],
)
async def test_what_is_not_bound_is_not_mounted(monkeypatch, there, why):
    monkeypatch.setattr(claims, "_PATIENCE", 0.01)
    assert await seen(there, pod()) == why


async def test_a_claim_that_is_bound_just_now_is_waited_for():
    there = [claim("Pending", ""), volume(**DOCKER)]
    objects = {each.key: each for each in there}
    changed, looked = asyncio.Event(), asyncio.Event()

    @contextmanager
    def news(key: ObjectKey):
        assert key == there[0].key
        yield changed

    async def read(key: ObjectKey):
        looked.set()
        return objects.get(key)

    waiting = asyncio.create_task(with_claims(read, news, pod()))
    await looked.wait()
    looked.clear()
    changed.set()  # something else of it
    await looked.wait()
    objects[there[0].key] = claim()
    changed.set()
    found = await waiting
    assert isinstance(found, Pod)
    assert found.spec.volumes[0].csi.volume_handle == "pvc-1"
