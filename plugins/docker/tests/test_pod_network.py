"""The network of pods through the driver: the engine's network, and what its server is told."""

import asyncio
from contextlib import nullcontext
from dataclasses import replace

import pytest
from ironfree_docker import DockerDriver, pause

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import Host, HostAddress, PodIdentity, SandboxSpec
from scheduler.errors import EngineRejected, HostUnreachable
from scheduler.networks import Backend, Listener, NetworkedHost, Peer, PodNetwork, Record

POD = PodIdentity("u-1", "default", "web-0")
SECRET = "5e" * 32
NETWORK = PodNetwork(
    "10.240.3.0/24", ("10.96.0.0/16",), "10.96.0.10", "cluster.local", 7447, SECRET
)
WEB = Listener("10.96.0.20", 80, "TCP", (Backend("10.240.3.2", 8080), Backend("10.240.4.2", 8080)))
NAME = Record("web.default.svc.cluster.local", "A", ("10.96.0.20",))
PEER = Peer("10.240.4.0/24", "192.0.2.4")


@pytest.fixture
def networked(host: Host) -> NetworkedHost:
    assert isinstance(host, NetworkedHost)
    return host


async def test_pods_with_a_subnet_are_in_the_engines_network_for_it(
    engine: FakeEngine, host: Host, networked: NetworkedHost
):
    assert await networked.join(NETWORK)
    assert engine.networks["ironfree"]["IPAM"] == {"Config": [{"Subnet": "10.240.3.0/24"}]}
    spec = SandboxSpec(POD, "web-0", subnet="10.240.3.0/24")
    sandbox = await host.ensure_sandbox(spec)
    found = engine.find(sandbox.id)
    assert found is not None
    assert found.body["HostConfig"]["NetworkMode"] == "ironfree"
    plain = await host.ensure_sandbox(
        SandboxSpec(replace_uid("u-2"), "web-1", dns_servers=("192.0.2.53",))
    )
    other = engine.find(plain.id)
    assert other is not None
    assert "NetworkMode" not in other.body["HostConfig"]


def replace_uid(uid: str) -> PodIdentity:
    return PodIdentity(uid, "default", "web-1")


async def test_a_subnet_that_has_changed_is_made_anew_unless_it_is_used(
    engine: FakeEngine, networked: NetworkedHost
):
    await networked.join(NETWORK)
    moved = replace(NETWORK, subnet="10.240.9.0/24")
    engine.inhabited.add("ironfree")
    with pytest.raises(EngineRejected, match=r"has the subnet 10\.240\.3\.0/24 and containers"):
        await networked.join(moved)
    engine.inhabited.clear()
    assert await networked.join(moved)
    assert engine.networks["ironfree"]["IPAM"] == {"Config": [{"Subnet": "10.240.9.0/24"}]}


async def test_addresses_that_the_host_uses_otherwise_are_named(
    engine: FakeEngine, networked: NetworkedHost
):
    engine.reject["new-network"] = (403, "Pool overlaps with other one on this address space")
    with pytest.raises(EngineRejected, match=r"Pool overlaps.*10\.240\.3\.0/24.*POD_RANGE"):
        await networked.join(NETWORK)


@pytest.mark.parametrize(
    ("theirs", "refused"),
    [("10.240.7.0/24", True), ("10.96.4.0/24", True), ("10.80.7.0/24", False)],
)
async def test_a_host_where_another_installation_has_pods_of_the_same_range_is_left_to_it(
    engine: FakeEngine, address: HostAddress, theirs: str, *, refused: bool
):
    neighbour = await DockerDriver().connect(replace(address, cluster="hers"))
    ours = await DockerDriver().connect(replace(address, cluster="ours"))
    assert isinstance(neighbour, NetworkedHost)
    assert isinstance(ours, NetworkedHost)
    await neighbour.join(replace(NETWORK, subnet=theirs, ranges=("10.97.0.0/16",)))
    network = replace(NETWORK, ranges=("10.96.0.0/16", "10.240.4.0/22"))
    words = r"another installation serves pods in .*/24 here.*cluster=hers.*network ironfree-hers"
    with pytest.raises(EngineRejected, match=words) if refused else nullcontext():
        await ours.join(network)
    assert ("ironfree-ours" in engine.networks) is not refused
    assert await neighbour.subnet() == theirs
    wider = replace(NETWORK, subnet=theirs, ranges=("10.240.0.0/16",))
    await neighbour.join(wider)  # who was first stays
    for host in (neighbour, ours):
        await host.close()


async def test_a_host_may_stay_out(
    engine: FakeEngine, address: HostAddress, networked: NetworkedHost
):
    await networked.join(NETWORK)
    assert await networked.subnet() == "10.240.3.0/24"
    async with networked.network(NETWORK):
        assert engine.containers
    host = await DockerDriver().connect(replace(address, options={"network": "none"}))
    assert isinstance(host, NetworkedHost)
    assert not await host.join(NETWORK)
    engine.inhabited.add("ironfree")
    with pytest.raises(EngineRejected, match="active endpoints"):
        await host.leave()
    assert not engine.containers, "nothing serves old pods any more"
    assert await host.subnet() == "10.240.3.0/24"
    engine.inhabited.clear()
    await host.leave()
    assert not await host.subnet()
    await host.close()


async def test_the_server_is_told_all_then_changes_and_goes_on_when_nobody_tells(
    engine: FakeEngine, networked: NetworkedHost
):
    async with networked.network(NETWORK) as feed:
        await feed.begin([PEER, WEB, NAME])
        number = engine.told[0].removeprefix("reset ")
        assert engine.told[1:] == [
            f"key {SECRET}",
            "self 10.240.3.0/24",
            "resolver 10.96.0.10 53",
            "zone cluster.local",
            "range 10.96.0.0/16",
            "peer 10.240.4.0/24 192.0.2.4",
            "listen 10.96.0.20 80 tcp 0 10.240.3.2:8080 10.240.4.2:8080",
            "name web.default.svc.cluster.local a 10.96.0.20",
            f"commit {number}",
        ]
        engine.told.clear()
        await feed.change([WEB._replace(backends=(), sticky=True)], [PEER.key, NAME.key, WEB.key])
        assert engine.told == [
            "listen 10.96.0.20 80 tcp 1",
            "unpeer 10.240.4.0/24",
            "unname web.default.svc.cluster.local a",
            "unlisten 10.96.0.20 80 tcp",
            f"commit {int(number) + 1}",
        ]
    (server,) = engine.containers.values()
    assert server.status == "running"
    host_config = server.body["HostConfig"]
    assert (host_config["NetworkMode"], host_config["CapDrop"]) == ("host", ["ALL"])
    assert host_config["CapAdd"] == ["NET_ADMIN", "NET_BIND_SERVICE"]
    assert SECRET not in str(server.body)
    async with networked.network(NETWORK) as feed:
        await feed.begin([])
    assert [*engine.containers.values()] == [server], "the one that runs is told"


async def test_an_older_server_and_one_that_has_ended_are_replaced(
    engine: FakeEngine, networked: NetworkedHost
):
    async with networked.network(NETWORK):
        (first,) = engine.containers.values()
    async with networked.network(replace(NETWORK, port=7448)):
        (second,) = engine.containers.values()
        assert second.body["Entrypoint"] == ["/tools", "network", "7448"]
    second.status = "exited"
    async with networked.network(replace(NETWORK, port=7448)):
        (third,) = engine.containers.values()
    assert len({first.id, second.id, third.id}) == 3
    assert third.status == "running"


async def test_what_it_cannot_do_is_said_in_words(engine: FakeEngine, networked: NetworkedHost):
    async with networked.network(NETWORK) as feed:
        engine.failures = ["fail range 10.96.0.0/16 17", "nonsense"]
        said = await feed.begin([WEB])
        assert "10.96.0.0/16: they are used otherwise there" in said
        engine.complaints = ["fail listen 10.96.0.20 80 tcp 98", "fail peers 98"]
        await feed.change([WEB], [])
        first, second = [await feed.complaint() for _ in range(2)]
    assert first.endswith("cannot serve Service port 10.96.0.20 80 tcp: address already in use")
    assert second.endswith("cannot serve port for other hosts: address already in use")


@pytest.mark.parametrize("name", ["x .\nkey 00 .\ny", "bücher", "two words"])
async def test_words_that_would_break_a_line_are_never_told(
    engine: FakeEngine, networked: NetworkedHost, name: str
):
    evil = Record(f"{name}.default.svc.cluster.local", "A", ("10.96.0.1",))
    alias = Record("a.default.svc.cluster.local", "CNAME", (name,))
    async with networked.network(NETWORK) as feed:
        await feed.begin([evil, alias, NAME])
        await feed.change([evil, alias], [evil.key, alias.key])
    told = [each for each in engine.told if not each.startswith("commit ")]
    assert told[-3:] == [
        "range 10.96.0.0/16",
        "name web.default.svc.cluster.local a 10.96.0.20",
        "unname a.default.svc.cluster.local cname",
    ]


async def test_a_stream_that_ends_is_an_end(engine: FakeEngine, networked: NetworkedHost):
    async with networked.network(NETWORK) as feed:
        await feed.begin([])
        waiting = asyncio.create_task(feed.complaint())
        engine.feeds[-1].close()
        with pytest.raises(HostUnreachable, match="has ended"):
            await waiting
        with pytest.raises(HostUnreachable, match="has ended"):
            await feed.change([WEB], [])


async def test_a_host_that_leaves_keeps_nothing(engine: FakeEngine, networked: NetworkedHost):
    await networked.join(NETWORK)
    async with networked.network(NETWORK) as feed:
        await feed.begin([])
    await networked.leave()
    assert not engine.networks
    assert not engine.containers
    await networked.leave()


async def test_a_network_that_somebody_removed_is_made_again(
    engine: FakeEngine, host: Host, networked: NetworkedHost
):
    await networked.join(NETWORK)
    engine.networks.clear()
    engine.start_fails[pause.IMAGE] = "network ironfree not found"
    spec = SandboxSpec(POD, "web-0", subnet="10.240.3.0/24")
    with pytest.raises(EngineRejected, match="not found"):
        await host.ensure_sandbox(spec)
    del engine.start_fails[pause.IMAGE]
    await host.ensure_sandbox(spec)
    assert "ironfree" in engine.networks
