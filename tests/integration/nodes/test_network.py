"""Hosts are told of Services: on fake engines and a real store."""

import asyncio
import contextlib
from dataclasses import replace as replace_settings

import msgspec
import pytest
from ironfree_docker import DockerDriver
from ironfree_docker.host_program import packed

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.network import NetworkBook, NetworkSettings
from scheduler.network.secret import NAME
from scheduler.nodes import network_part, network_telling
from scheduler.nodes.api_gateway import ApiService
from scheduler.nodes.directory import Shared
from scheduler.objects.endpoints import SERVICE_NAME, SLICES
from scheduler.objects.stored import Body, ObjectKey
from scheduler.store.operations import Remove
from tests.store_values import create, replace

SETTINGS = NetworkSettings(pods="10.240.0.0/22")
WEB = "web.default.svc.cluster.local"


@pytest.fixture
async def engines():
    made = [FakeEngine(id=f"id-{n}", name=f"h{n}", images={"web:1"}) for n in range(2)]
    yield made
    for engine in made:
        await engine.stop()


@pytest.fixture
async def networked(cluster, engines, tmp_path):
    """The cluster with agents that drive fake Docker engines "h0" and "h1"."""
    await cluster.stop_agents()
    cluster.driver = DockerDriver()
    cluster.urls = [await each.serve(tmp_path / f"{each.name}.sock") for each in engines]
    await start(cluster)
    yield cluster
    await stop_book(cluster)


async def start(cluster, settings=SETTINGS, api=None):
    book = NetworkBook(cluster.store, cluster.epoch, settings, cluster.pods, cluster.nodes)
    cluster.book = asyncio.create_task(book.run())
    await cluster.start_agents(Shared(network=book, gateway=api))


async def stop_book(cluster):
    cluster.book.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await cluster.book


async def add_host(cluster, number):
    options = {"address": f"192.0.2.{number + 1}"}
    await cluster.add_host(f"h{number}", address=cluster.urls[number], options=options)
    return await serves(cluster, f"h{number}", "True")


async def serves(cluster, name, status):
    def served(node):
        condition = node.status.condition("ServiceNetwork") if node else None
        return condition is not None and condition.status == status

    return await cluster.until(cluster.nodes, "", name, served)


async def add_service(cluster, *addresses, node="h0", name="web"):
    spec = {"clusterIP": "10.96.0.20", "ports": [{"port": 80, "protocol": "TCP"}]}
    body = msgspec.json.encode({"spec": spec})
    service = await cluster.store.write(create("services", name, "default", body=body))
    return service, await add_slice(cluster, *addresses, node=node, name=name)


async def add_slice(cluster, *addresses, node="h0", name="web"):
    endpoints = [
        {"addresses": [each], "conditions": {"ready": True}, "nodeName": node} for each in addresses
    ]
    ports = [{"name": "", "port": 8080, "protocol": "TCP"}]
    body = {"addressType": "IPv4", "endpoints": endpoints, "ports": ports}
    labels = {SERVICE_NAME: name}
    made = create(SLICES, f"{name}-1", "default", body=msgspec.json.encode(body), labels=labels)
    return await cluster.store.write(made)


async def told(engine, *lines):
    """Wait until an engine has been told all of these, whatever else."""
    async with asyncio.timeout(10):
        while not {*lines} <= {*engine.told}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_each_host_has_a_subnet_and_is_told_of_services_and_of_the_others(networked, engines):
    first = await add_host(networked, 0)
    second = await add_host(networked, 1)
    subnets = [node.spec.pod_cidr for node in (first, second)]
    assert subnets == ["10.240.0.0/24", "10.240.1.0/24"]
    made = [network for each in engines for network in each.networks.values()]
    assert [each["IPAM"]["Config"][0]["Subnet"] for each in made] == subnets
    await add_service(networked, "10.240.0.2")
    for engine in engines:
        await told(
            engine,
            "peer 10.240.0.0/24 192.0.2.1",
            "peer 10.240.1.0/24 192.0.2.2",
            "listen 10.96.0.20 80 tcp 0 10.240.0.2:8080",
            f"name {WEB} a 10.96.0.20",
        )


async def test_what_changes_and_what_goes_is_told(networked, engines):
    await add_host(networked, 0)
    service, found = await add_service(networked, "10.240.0.2")
    await told(engines[0], "listen 10.96.0.20 80 tcp 0 10.240.0.2:8080")
    await networked.store.write(Remove(found.key, found.meta.uid))
    await told(engines[0], "listen 10.96.0.20 80 tcp 0")
    await networked.store.write(Remove(service.key, service.meta.uid))
    await told(engines[0], "unlisten 10.96.0.20 80 tcp", f"unname {WEB} a")


async def test_a_new_leader_keeps_subnets_and_secret_and_tells_anew(networked, engines):
    before = await add_host(networked, 0)
    await add_service(networked, "10.240.0.2")
    await told(engines[0], "listen 10.96.0.20 80 tcp 0 10.240.0.2:8080")
    key = next(line for line in engines[0].told if line.startswith("key "))
    await networked.stop_agents()
    await stop_book(networked)
    (server,) = [c for c in engines[0].containers.values() if "network" in c.name]
    engines[0].told.clear()
    await start(networked)
    await told(engines[0], key, "listen 10.96.0.20 80 tcp 0 10.240.0.2:8080")
    after = await serves(networked, "h0", "True")
    assert after.spec.pod_cidr == before.spec.pod_cidr
    assert [c for c in engines[0].containers.values() if "network" in c.name] == [server]
    assert await networked.store.get(ObjectKey("keys.ironfree.dev", "", NAME))


async def test_a_secret_that_was_spoilt_is_made_anew(networked, engines):
    await add_host(networked, 0)
    stored = await networked.store.get(ObjectKey("keys.ironfree.dev", "", NAME))
    for spoilt in (b'{"data":{"secret":"!"}}', b'{"data":{}}', b"[]"):
        await stop_book(networked)
        await networked.stop_agents()
        await networked.store.write(replace(stored, expected=None, body=Body(spoilt)))
        engines[0].told.clear()
        await start(networked)
        await told(engines[0], "self 10.240.0.0/24")
        (key,) = [line for line in engines[0].told if line.startswith("key ")]
        assert len(key) == len("key ") + 64


async def test_a_host_whose_address_others_do_not_know_is_no_peer(networked, engines, caplog):
    await networked.add_host("h0", address=networked.urls[0])
    await serves(networked, "h0", "True")
    assert "other hosts cannot reach" not in caplog.text
    await add_host(networked, 1)
    await told(engines[0], "peer 10.240.1.0/24 192.0.2.2")
    assert not [line for line in engines[1].told if line.startswith("peer 10.240.0.0")]
    assert caplog.text.count("node h0: other hosts cannot reach its pods") == 1


async def test_addresses_that_mean_something_else_elsewhere_are_not_told(networked, engines):
    await add_host(networked, 0)
    strange = ["172.17.0.2", "127.0.0.1", "10.96.0.99", "169.254.1.1", "0.0.0.0", "nonsense"]
    strange += ["10.240.0.0", "10.240.0.1", "10.240.0.255", "10.240.1.2"]
    await add_service(networked, *strange, "10.240.0.2", "192.0.2.1")
    await told(engines[0], "listen 10.96.0.20 80 tcp 0 10.240.0.2:8080 192.0.2.1:8080")


async def test_what_a_host_cannot_do_is_said_until_it_can(networked, engines, monkeypatch):
    monkeypatch.setattr(network_telling, "_MENDING", 0.05)
    engines[0].failures = ["fail listen 10.96.0.20 80 tcp 98"]
    await networked.add_host("h0", address=networked.urls[0])
    node = await serves(networked, "h0", "False")
    assert "10.96.0.20 80 tcp" in node.status.condition("ServiceNetwork").message
    await serves(networked, "h0", "True")


async def test_another_range_of_pods_is_taken_over(networked, engines):
    await add_host(networked, 0)
    await networked.stop_agents()
    await stop_book(networked)
    await start(networked, replace_settings(SETTINGS, pods="10.232.0.0/16"))
    await networked.until(
        networked.nodes, "", "h0", lambda node: node.spec.pod_cidr == "10.232.0.0/24"
    )
    (network,) = engines[0].networks.values()
    assert network["IPAM"]["Config"] == [{"Subnet": "10.232.0.0/24"}]


async def test_a_node_that_is_made_anew_keeps_its_hosts_subnet(networked, engines):
    await add_host(networked, 0)
    await add_host(networked, 1)
    await networked.stop_agents()
    await stop_book(networked)
    for name in ("h0", "h1"):
        await networked.store.write(Remove(ObjectKey("nodes", "", name)))
    await start(networked)
    nodes = [await serves(networked, name, "True") for name in ("h1", "h0")]
    assert [node.spec.pod_cidr for node in nodes] == ["10.240.1.0/24", "10.240.0.0/24"]


async def test_nonsense_in_nodes_and_slices_stops_nobody(networked, engines):
    await add_host(networked, 0)
    for name, subnet in (("a", "fd00::/64"), ("b", "x")):
        body = msgspec.json.encode({"spec": {"podCIDR": subnet}})
        await networked.store.write(create("nodes", name, body=body))
    await add_slice(networked, "10.240.0.9", node="a", name="odd")
    endpoints = [{"addresses": ["10.240.0.8"], "targetRef": {}}]
    body = {"addressType": "IPv4", "endpoints": endpoints, "ports": [{}]}
    labels = {SERVICE_NAME: "web"}
    odd = create(SLICES, "odd", "default", body=msgspec.json.encode(body), labels=labels)
    await networked.store.write(odd)
    await add_service(networked, "10.240.0.2")
    await told(engines[0], "listen 10.96.0.20 80 tcp 0 10.240.0.2:8080")


async def test_nobody_takes_the_place_of_the_name_server(networked, engines):
    await add_host(networked, 0)
    spec = {"clusterIP": "10.96.0.10", "ports": [{"port": 53, "protocol": "UDP"}]}
    body = msgspec.json.encode({"spec": spec})  # made before there was a network
    await networked.store.write(create("services", "dns", "default", body=body))
    await told(engines[0], "name dns.default.svc.cluster.local a 10.96.0.10")
    assert not [line for line in engines[0].told if line.startswith("listen 10.96.0.10")]


async def test_a_host_that_cannot_have_the_subnet_says_so_and_runs_pods_without(networked, engines):
    engines[0].reject["new-network"] = (403, "Pool overlaps with other one on this address space")
    await networked.add_host("h0", address=networked.urls[0])
    node = await serves(networked, "h0", "False")
    assert "Pool overlaps" in node.status.condition("ServiceNetwork").message
    assert not node.spec.pod_cidr
    await networked.add_pod("p", "h0")
    await networked.running("p")
    (infra,) = [c for c in engines[0].containers.values() if "_POD_" in c.name]
    assert not infra.body["HostConfig"].get("NetworkMode")


async def test_a_host_that_takes_no_part_any_more_keeps_its_subnet_for_old_pods(
    networked, engines, monkeypatch
):
    monkeypatch.setattr(network_part, "_AGAIN", 0.05)
    await add_host(networked, 0)
    await add_host(networked, 1)
    await add_service(networked, "10.240.0.2")
    reached = "listen 10.96.0.20 80 tcp 0 10.240.0.2:8080"
    await told(engines[1], "peer 10.240.0.0/24 192.0.2.1", reached)
    (name,) = engines[0].networks
    engines[0].inhabited.add(name)
    host = networked.hosts.get("", "h0")
    body = msgspec.json.decode(host.stored.body.json)
    body["spec"]["options"]["network"] = "none"
    await networked.store.write(
        replace(host.stored, expected=None, body=Body(msgspec.json.encode(body)))
    )
    node = await serves(networked, "h0", "False")
    assert "spec.options.network" in node.status.condition("ServiceNetwork").message
    assert node.spec.pod_cidr == "10.240.0.0/24"
    assert not [c for c in engines[0].containers.values() if "network" in c.name]
    await told(engines[1], "unpeer 10.240.0.0/24", "listen 10.96.0.20 80 tcp 0")
    engines[0].inhabited.clear()
    await networked.until(networked.nodes, "", "h0", lambda node: not node.spec.pod_cidr)
    assert not engines[0].networks


async def test_pods_find_names_by_their_host(networked, engines):
    await add_host(networked, 0)
    await networked.add_pod("p", "h0")
    await networked.running("p")
    (infra,) = [c for c in engines[0].containers.values() if "_POD_" in c.name]
    asked = infra.body["HostConfig"]
    assert asked["Dns"] == ["10.96.0.10"]
    assert asked["DnsSearch"] == [
        "default.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
    ]
    assert asked["DnsOptions"] == ["ndots:5"]


async def test_containers_are_told_of_services_unless_they_do_not_want_it(networked, engines):
    await add_host(networked, 0)
    await add_service(networked, "10.240.0.2")
    await told(engines[0], f"name {WEB} a 10.96.0.20")
    own = [{"name": "c", "image": "web:1", "env": [{"name": "URL", "value": "$(WEB_PORT)/"}]}]
    await networked.add_pod("a", "h0", containers=own)
    await networked.add_pod("b", "h0", containers=own, enableServiceLinks=False)
    for name in "ab":
        await networked.running(name)
    env = {
        name: next(c.body["Env"] for c in engines[0].containers.values() if f"_c_{name}_" in c.name)
        for name in "ab"
    }
    assert {"WEB_SERVICE_HOST=10.96.0.20", "URL=tcp://10.96.0.20:80/"} < {*env["a"]}
    assert env["b"] == ["URL=$(WEB_PORT)/"]


async def test_a_server_that_ends_is_started_and_told_again(networked, engines):
    await add_host(networked, 0)
    (server,) = [c for c in engines[0].containers.values() if "network" in c.name]
    engines[0].told.clear()
    server.status = "exited"
    engines[0].feeds[-1].close()
    await told(engines[0], "self 10.240.0.0/24")
    (fresh,) = [c for c in engines[0].containers.values() if "network" in c.name]
    assert fresh.id != server.id
    await serves(networked, "h0", "True")


async def test_a_host_that_goes_keeps_nothing_of_the_network(networked, engines):
    await add_host(networked, 0)
    await networked.delete_host("h0")
    await networked.until(networked.hosts, "", "h0", lambda host: host is None)
    assert not engines[0].networks
    assert not [c for c in engines[0].containers.values() if "network" in c.name]


async def test_when_there_is_no_subnet_left_the_node_says_so(networked, engines):
    for number in range(4):
        meta = {"spec": {"podCIDR": f"10.240.{number}.0/24"}}
        await networked.store.write(create("nodes", f"n{number}", body=msgspec.json.encode(meta)))
    await networked.until(networked.nodes, "", "n3", lambda node: node is not None)
    await stop_book(networked)
    await networked.stop_agents()
    await start(networked)
    await networked.add_host("h0", address=networked.urls[0])
    node = await serves(networked, "h0", "False")
    assert "no subnet left" in node.status.condition("ServiceNetwork").message
    assert not engines[0].networks


async def test_pods_are_led_to_the_api_through_what_their_host_has_for_that(
    networked, engines, monkeypatch
):
    monkeypatch.setattr(network_telling, "_ANEW", 0.1)
    await networked.stop_agents()
    await stop_book(networked)
    asked = asyncio.Event()

    async def api(_reader, writer):
        asked.set()
        writer.transport.abort()

    engines[0].from_pods.append(packed(1, 1))  # a pod connects
    async with await asyncio.start_server(api, "127.0.0.1", 0) as server:
        where = server.sockets[0].getsockname()
        way = ApiService("10.96.0.1", 443, lambda: asyncio.open_connection(*where))
        await start(networked, api=way)
        await add_host(networked, 0)
        led = "listen 10.96.0.1 443 tcp 0 127.0.0.1:7445"
        await told(engines[0], led)
        await asyncio.wait_for(asked.wait(), 10)

        # The Service that all hosts are told of does not take its place.
        await add_api_service(networked)
        await told(engines[0], "name kubernetes.default.svc.cluster.local a 10.96.0.1")
        engines[0].told.clear()
        await told(engines[0], led)  # all is told anew
        assert "listen 10.96.0.1 443 tcp 0" not in engines[0].told

        # The program is killed: pods are refused until another one runs.
        (program,) = [c for c in engines[0].containers.values() if "gateway" in c.name]
        engines[0].told.clear()
        engines[0].gateways[-1].abort()
        await told(engines[0], "listen 10.96.0.1 443 tcp 0", led)
        assert [c.name for c in engines[0].containers.values() if "gateway" in c.name] != [
            program.name
        ]


async def add_api_service(cluster):
    spec = {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}
    body = msgspec.json.encode({"spec": spec})
    await cluster.store.write(create("services", "kubernetes", "default", body=body))
