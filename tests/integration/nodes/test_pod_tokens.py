"""Pods on fake engines find tokens of their ServiceAccounts, which a real store has."""

import asyncio
import contextlib
from collections import Counter

import msgspec
import pytest
from ironfree_docker import DockerDriver
from msgspec.structs import replace as replace_fields

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.access import Holder, Tokens
from scheduler.network import NetworkBook, NetworkSettings
from scheduler.nodes import pod_tokens, volume_sources
from scheduler.nodes.adoption_planner import AdoptionPlanner
from scheduler.nodes.api_access import MOUNT_PATH, VOLUME
from scheduler.nodes.directory import Shared
from scheduler.nodes.pod_tokens import ApiForPods
from scheduler.objects.storage import CLAIMS, VOLUMES
from scheduler.objects.stored import Body, ObjectKey
from scheduler.store.operations import Remove
from tests.store_values import create, replace

TOKENS = Tokens(bytes(32))
API = ApiForPods(TOKENS, b"CERTIFICATE")
PROJECTED = [
    {
        "name": "v",
        "projected": {
            "sources": [{"serviceAccountToken": {"path": "deep/t", "audience": "vault"}}]
        },
    }
]

CHANGES = {"volume", "remove-volume", "create", "start", "exec", "exec-start", "archive", "stat"}


@pytest.fixture
async def engine():
    made = FakeEngine(id="id-0", name="h0", images={"web:1"})
    yield made
    await made.stop()


@pytest.fixture
async def pods(cluster, engine, tmp_path, monkeypatch):
    """The cluster with a host of the network of pods, on which an API is offered."""
    monkeypatch.setattr(volume_sources, "_PATIENCE", 0.05)
    await cluster.stop_agents()
    cluster.driver = DockerDriver()
    cluster.url = await engine.serve(tmp_path / "engine.sock")
    settings = NetworkSettings(pods="10.240.0.0/22")
    cluster.network = NetworkBook(
        cluster.store, cluster.epoch, settings, cluster.pods, cluster.nodes
    )
    book = asyncio.create_task(cluster.network.run())
    await cluster.start_agents(Shared(network=cluster.network, api=API))
    yield cluster
    book.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await book


async def start(cluster, api=API):
    """Have another leader's agents go on."""
    await cluster.stop_agents()
    await cluster.start_agents(Shared(network=cluster.network, api=api))


async def add_host(cluster, **options):
    await cluster.add_host("h0", address=cluster.url, options=options)
    await cluster.ready("h0")


async def add_account(cluster, name="default", **body):
    made = create("serviceaccounts", name, "default", body=msgspec.json.encode(body))
    return await cluster.store.write(made)


def container(engine, name, kind="web"):
    """Return the newest attempt of a pod's container."""
    found = [c for c in engine.containers.values() if f"_{kind}_{name}_" in c.name]
    return max(found, key=lambda each: each.name)


def end(engine, running):
    """Have a container end by itself."""
    running.status, running.exit_code = "exited", 1
    engine.emit("die", running)


def mounted(engine, name, kind="web"):
    """Return where a container has the volume mounted, and how."""
    return [
        (mount["Target"], mount["ReadOnly"])
        for mount in container(engine, name, kind).body["HostConfig"]["Mounts"]
        if VOLUME.name in mount["Source"]
    ]


def present(engine, path="/volumes/0"):
    """Return the files that are in a volume of the only pod."""
    version = engine.links[f"{path}/..data"].rpartition("/")[2]
    base = f"{path}/{version}/"
    return {
        each.removeprefix(base): content
        for each, content in engine.contents.items()
        if each.startswith(base)
    }


def holder(engine, audience=None, file="token"):
    token = present(engine)[file].decode()
    return TOKENS.read(token, [audience]) if audience else TOKENS.read(token)


async def test_a_pods_containers_find_a_token_of_its_account(pods, engine):
    await add_host(pods)
    account = await add_account(pods)
    mine = {"name": "c", "image": "web:1"}
    made = await pods.add_pod("p", "h0", containers=[mine, {**mine, "name": "d"}])
    await pods.running("p")
    assert present(engine).keys() == {"token", "ca.crt", "namespace"}
    assert (present(engine)["ca.crt"], present(engine)["namespace"]) == (b"CERTIFICATE", b"default")
    assert holder(engine) == Holder("default", "default", account.meta.uid, "p", made.meta.uid)
    assert mounted(engine, "p", "c") == mounted(engine, "p", "d") == [(MOUNT_PATH, True)]
    (volume,) = [body for name, body in engine.volumes.items() if VOLUME.name in name]
    assert volume["DriverOpts"] == {}
    stored = await pods.store.get(ObjectKey("pods", "default", "p"))
    assert VOLUME.name.encode() not in stored.body.json, "pods made alike stay alike"
    await pods.delete_pod("p", 0)
    await pods.eventually(lambda: not engine.volumes)


@pytest.mark.parametrize(
    ("account", "spec"),
    [
        ({}, {"automountServiceAccountToken": False}),
        ({"automountServiceAccountToken": False}, {}),
        (None, {"automountServiceAccountToken": False}),
    ],
)
async def test_a_pod_that_is_to_have_none_starts_without(pods, engine, account, spec):
    await add_host(pods)
    if account is not None:
        await add_account(pods, **account)
    await pods.add_pod("p", "h0", **spec)
    await pods.running("p")
    assert mounted(engine, "p") == []
    assert not [name for name in engine.volumes if VOLUME.name in name]


async def test_no_account_is_needed_where_the_api_cannot_be_reached(pods, engine):
    await add_host(pods, network="none")
    await pods.add_pod("p", "h0")
    await pods.running("p")
    await pods.add_pod("q", "h0", volumes=PROJECTED)
    found = await pods.events("FailedMount")
    assert any('serviceaccount "default" not found' in event["message"] for event in found)
    await add_account(pods)
    await pods.running("q")
    assert holder(engine, "vault", "deep/t").pod == "q", "who asks for a token has it anywhere"
    assert mounted(engine, "p") == mounted(engine, "q") == []


async def test_a_pod_waits_until_its_account_exists(pods, engine):
    await add_host(pods)
    await add_account(pods)
    await pods.add_pod("p", "h0", serviceAccountName="robot")
    await pods.events("FailedMount")
    assert not [c for c in engine.containers.values() if "_POD_" in c.name]
    account = await add_account(pods, "robot")
    await pods.running("p")
    assert holder(engine).account_uid == account.meta.uid
    found = [e for e in await pods.events("FailedMount") if e["reason"] == "FailedMount"]
    assert all('serviceaccount "robot" not found' in event["message"] for event in found)


async def test_a_token_is_made_anew_in_place(pods, engine, monkeypatch):
    monkeypatch.setattr(pod_tokens, "_period", lambda _uid, _seconds: 1)
    await add_host(pods)
    await add_account(pods)
    await pods.add_pod("p", "h0")
    await pods.running("p")
    first, before = holder(engine), present(engine)["token"]
    running = container(engine, "p")
    engine.calls.clear()
    await pods.eventually(lambda: present(engine)["token"] != before)
    assert holder(engine) == first
    assert container(engine, "p") is running
    assert running.status == "running"
    assert not {"create", "start", "stop", "kill"} & {*engine.calls}


async def test_a_token_is_made_anew_beside_a_volume_that_fails(pods, engine, monkeypatch):
    monkeypatch.setattr(pod_tokens, "_period", lambda _uid, _seconds: 1)
    await add_host(pods)
    await add_account(pods)
    look = await pods.store.write(create("configmaps", "look", "default", body=b'{"data":{}}'))
    await pods.add_pod("p", "h0", volumes=[{"name": "v", "configMap": {"name": "look"}}])
    await pods.running("p")
    await pods.store.write(Remove(look.key, look.meta.uid))
    await pods.events("FailedMount")
    before = present(engine)["token"]
    await pods.eventually(lambda: present(engine)["token"] != before)


async def add_claim(cluster):
    """Make a claim "c" that is bound, and return it."""
    size = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
    there = {"nfs": {"server": "192.0.2.1", "path": "/x"}}
    bound = {"claimRef": {"name": "c", "namespace": "default"}}
    made = []
    for resource, name, namespace, spec in (
        (VOLUMES, "pv", "", size | there | bound),
        (CLAIMS, "c", "default", {"volumeName": "pv", "accessModes": ["ReadWriteOnce"]}),
    ):
        body = msgspec.json.encode({"spec": spec})
        wanted = create(resource, name, namespace, body, status=b'{"phase":"Bound"}')
        made.append(await cluster.store.write(wanted))
    return made[-1]


async def test_a_token_is_made_anew_though_a_claim_has_lost_its_volume(pods, engine, monkeypatch):
    monkeypatch.setattr(pod_tokens, "_period", lambda _uid, _seconds: 1)
    await add_host(pods)
    await add_account(pods)
    claim = await add_claim(pods)
    claimed = {"name": "data", "persistentVolumeClaim": {"claimName": "c"}}
    await pods.add_pod("p", "h0", volumes=[claimed, *PROJECTED])
    await pods.running("p")
    assert present(engine, "/volumes/2").keys() == {"deep/t"}
    await pods.store.write(replace(claim, expected=None, status=b'{"phase":"Lost"}'))
    await pods.events("FailedMount")
    before = present(engine)["token"]
    await pods.eventually(lambda: present(engine)["token"] != before)
    assert "/volumes/1/..data" not in engine.links, "that is the claim's place"


async def test_a_pod_may_have_as_many_volumes_as_without_a_token(pods, engine):
    await add_host(pods)
    await add_account(pods)
    many = [{"name": f"v{number}", "emptyDir": {}} for number in range(64)]
    await pods.add_pod("p", "h0", volumes=many)
    await pods.running("p")
    assert holder(engine).pod == "p"


async def test_another_account_of_the_name_is_another_holder(pods, engine):
    await add_host(pods)
    old = await add_account(pods)
    await pods.add_pod("p", "h0")
    await pods.running("p")
    await pods.store.write(Remove(old.key, old.meta.uid))
    new = await add_account(pods)
    await pods.eventually(lambda: holder(engine).account_uid == new.meta.uid)


async def test_a_new_leader_finds_what_it_would_write(pods, engine):
    await add_host(pods)
    await add_account(pods)
    await pods.add_pod("p", "h0")
    await pods.running("p")
    before, running = present(engine), container(engine, "p")
    engine.calls.clear()
    await start(pods)
    await pods.eventually(lambda: "stat" in engine.calls)
    await pods.add_pod("q", "h0", automountServiceAccountToken=False)
    await pods.running("q")
    assert present(engine) == before
    assert "archive" not in engine.calls
    assert container(engine, "p") is running


async def test_pods_from_before_stay_as_they_are_until_they_have_another_sandbox(pods, engine):
    await start(pods, api=None)
    await add_host(pods)
    await pods.add_pod("p", "h0")
    await pods.running("p")
    first = container(engine, "p")
    await start(pods)
    end(engine, first)
    await pods.pod("p", lambda pod: pod.status.container_statuses[0].restart_count == 1)
    await pods.running("p")
    assert mounted(engine, "p") == []
    assert not engine.archives
    await add_account(pods)
    end(engine, container(engine, "p", "POD"))
    await pods.eventually(lambda: mounted(engine, "p") != [])
    assert not [e for e in await pods.events("Started") if e["reason"] == "FailedMount"]


async def test_an_adopted_container_goes_on_without(pods, engine):
    await add_host(pods)
    theirs = engine.add("db")
    wanted = {"host": "h0", "containers": ["db"]}
    (manifest,) = (await AdoptionPlanner(pods.agents).adoption("default", wanted))["items"]
    engine.calls.clear()
    made = create("pods", "db", "default", msgspec.json.encode({"spec": manifest["spec"]}))
    meta = replace_fields(made.meta, annotations=manifest["metadata"]["annotations"])
    await pods.store.write(replace_fields(made, meta=meta, status=b'{"phase":"Pending"}'))
    await pods.running("db")
    assert not {"stop", "kill", "archive", "volume"} & {*engine.calls}
    assert not [c for c in engine.containers.values() if "_POD_" in c.name]
    assert theirs.status == "running"


async def test_what_is_mounted_does_not_change_with_the_account(pods, engine):
    await add_host(pods)
    account = await add_account(pods)
    await pods.add_pod("p", "h0")
    await pods.running("p")
    first = container(engine, "p")
    body = Body(b'{"automountServiceAccountToken":false}')
    await pods.store.write(replace(account, expected=None, body=body))
    end(engine, first)
    await pods.pod("p", lambda pod: pod.status.container_statuses[0].restart_count == 1)
    await pods.eventually(lambda: container(engine, "p") is not first)
    assert mounted(engine, "p") == [(MOUNT_PATH, True)]


async def test_a_token_cannot_be_had_without_an_api(pods):
    await start(pods, api=None)
    await add_host(pods)
    await pods.add_pod("p", "h0", volumes=PROJECTED)
    found = await pods.events("FailedMount")
    assert any("no API for pods" in event["message"] for event in found)


async def test_what_it_costs_an_engine(pods, engine):
    await add_host(pods)
    await add_account(pods)
    counted = []
    for name, wanted in (("first", True), ("without", False), ("with", True)):
        engine.calls.clear()
        await pods.add_pod(name, "h0", automountServiceAccountToken=wanted)
        await pods.running(name)
        await pods.delete_pod(name, 0)
        await pods.eventually(lambda: not engine.volumes)
        engine.links.clear()  # which it does not keep apart by container
        counted.append(Counter(each for each in engine.calls if each in CHANGES))
    _, without, with_it = counted  # the first pod has a host make what all need
    assert with_it == without + Counter(("archive", "remove-volume"))


async def test_every_container_is_told_where_the_api_is(pods, engine):
    await add_host(pods)
    port = {"name": "https", "port": 443, "protocol": "TCP"}
    for name, address in (("kubernetes", "10.96.0.1"), ("web", "10.96.0.20")):
        body = msgspec.json.encode({"spec": {"clusterIP": address, "ports": [port]}})
        await pods.store.write(create("services", name, "default", body=body))
    await pods.add_pod("p", "h0", enableServiceLinks=False, automountServiceAccountToken=False)
    await pods.running("p")
    env = {*container(engine, "p").body["Env"]}
    assert {"KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443"} <= env
    assert {"KUBERNETES_SERVICE_PORT_HTTPS=443", "KUBERNETES_PORT=tcp://10.96.0.1:443"} <= env
    assert not [each for each in env if each.startswith("WEB")]
