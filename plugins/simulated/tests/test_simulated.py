"""Simulated hosts behave as the driver protocol asks."""

import asyncio

import pytest
from ironfree_simulated import Behaviour, SimulatedDriver, ironfree_drivers

from scheduler.drivers import (
    ContainerSpec,
    EngineState,
    HostAddress,
    LogOptions,
    PodIdentity,
    PortMapping,
    PullPolicy,
    SandboxSpec,
)
from scheduler.errors import EngineRejected, HostUnreachable, ImageUnavailable
from scheduler.streams import Ends
from tests.streaming_contract import check_echo, check_streams, check_usage

POD = SandboxSpec(PodIdentity("u1", "default", "web"), "web", ports=(PortMapping(80, 8080),))


def container(attempt=0, image="web:1"):
    return ContainerSpec("web", image, attempt, "hash.0")


@pytest.fixture
async def driver():
    return SimulatedDriver()


async def connect(driver, url="simulated://h1", **options):
    return await driver.connect(HostAddress("h1", url, options=options))


async def test_the_address_gives_the_hosts_shape(driver):
    url = "simulated://h1?cpu=4&memory=8Gi&arch=arm64&gpu=2&example.com/seat=3"
    host = await connect(driver, url, cpu="6")
    info = await host.info()
    assert (info.cpus, info.memory_bytes, info.architecture) == (6, 8 << 30, "arm64")
    assert info.resources == {"nvidia.com/gpu": 2, "example.com/seat": 3}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("tcp://h1", "not of the form"),
        ("simulated://h1?cpus=4", "unknown option 'cpus'"),
        ("simulated://h1?memory=much", "quantities must match"),
        ("simulated://h1?cpu=-1", "negative"),
        ("simulated://h1?start=nan", "not between"),
    ],
)
async def test_a_bad_address_is_refused_with_a_reason(driver, url, words):
    with pytest.raises(EngineRejected, match=words):
        await connect(driver, url)


async def test_ensuring_twice_changes_nothing(driver):
    host = await connect(driver)
    first = await host.ensure_sandbox(POD)
    assert await host.ensure_sandbox(POD) == first
    started = await host.ensure_container(first, container())
    assert await host.ensure_container(first, container()) == started
    await host.stop_container(started.id, 0)
    ended = await host.ensure_container(first, container())
    assert (ended.state, ended.exit_code) == (EngineState.EXITED, 143)
    assert driver.machine("h1").starts == [("u1", "web", 0)]


async def test_what_runs_survives_reconnection(driver):
    host = await connect(driver)
    sandbox = await host.ensure_sandbox(POD)
    await host.ensure_container(sandbox, container())
    await host.close()
    again = await connect(driver)
    [seen] = await again.observe()
    assert seen.sandbox == sandbox
    assert seen.containers[0].state is EngineState.RUNNING


async def test_a_host_port_is_given_once_and_freed(driver):
    host = await connect(driver)
    await host.ensure_sandbox(POD)
    other = SandboxSpec(PodIdentity("u2", "default", "two"), "two", ports=POD.ports)
    with pytest.raises(EngineRejected, match="already allocated: 8080"):
        await host.ensure_sandbox(other)
    await host.remove_pod("u1")
    await host.remove_pod("u1")
    assert (await host.ensure_sandbox(other)).running


async def test_a_partition_breaks_calls_and_streams_but_not_containers(driver):
    host = await connect(driver)
    sandbox = await host.ensure_sandbox(POD)
    await host.ensure_container(sandbox, container())
    events = host.events()
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    machine = driver.machine("h1")
    machine.partition()
    with pytest.raises(HostUnreachable):
        await waiting
    with pytest.raises(HostUnreachable):
        await host.ping()
    with pytest.raises(HostUnreachable):
        await connect(driver)
    machine.heal()
    [seen] = await host.observe()
    assert seen.containers[0].state is EngineState.RUNNING
    machine.power_off()
    machine.power_on()
    [seen] = await host.observe()
    assert not seen.sandbox.running
    assert seen.containers[0].exit_code == 137


async def test_scripted_images_fail_exit_and_write(driver):
    host = await connect(driver)
    machine = driver.machine("h1")
    machine.withhold("gone:1")
    with pytest.raises(ImageUnavailable, match="gone:1"):
        await host.ensure_image("gone:1", PullPolicy.ALWAYS)
    machine.script("bad:1", Behaviour(start_error="no such file"))
    machine.script("short:1", Behaviour(run_seconds=0, exit_code=3, lines=("one", "two")))
    sandbox = await host.ensure_sandbox(POD)
    bad = await host.ensure_container(sandbox, container(0, "bad:1"))
    assert (bad.state, bad.exit_code, bad.message) == (EngineState.CREATED, 127, "no such file")
    events = host.events()
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    short = await host.ensure_container(sandbox, container(1, "short:1"))
    assert (await waiting).action == "start"
    assert (await anext(events)).action == "die"
    await events.aclose()
    [seen] = await host.observe()
    assert seen.containers[1].exit_code == 3
    output = [chunk async for chunk in host.logs(short.id, LogOptions(follow=True))]
    assert output == [b"one\n", b"two\n"]
    assert [chunk async for chunk in host.logs(short.id, LogOptions(tail=1))] == [b"two\n"]
    limited = host.logs(short.id, LogOptions(limit_bytes=5))
    assert b"".join([chunk async for chunk in limited]) == b"one\nt"


async def test_a_running_container_is_not_removed(driver):
    host = await connect(driver)
    sandbox = await host.ensure_sandbox(POD)
    status = await host.ensure_container(sandbox, container())
    with pytest.raises(EngineRejected, match="stop it first"):
        await host.remove_container(status.id)
    await host.stop_container(status.id, 0)
    await host.remove_container(status.id)
    await host.remove_container(status.id)
    [seen] = await host.observe()
    assert seen.containers == ()


async def test_installations_see_only_their_own(driver):
    ours, hers = [
        await driver.connect(HostAddress("h1", "simulated://h1", cluster=cluster))
        for cluster in ("ours", "hers")
    ]
    events = hers.events()
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    sandbox = await ours.ensure_sandbox(POD)
    await ours.ensure_container(sandbox, container())
    with pytest.raises(EngineRejected, match="of another installation"):
        await hers.ensure_sandbox(POD)
    await hers.ensure_sandbox(SandboxSpec(PodIdentity("u2", "default", "hers"), "hers"))
    assert (await first).pod_uid == "u2"
    await events.aclose()
    await hers.remove_pod("u1")
    assert [seen.identity.uid for seen in await ours.observe()] == ["u1"]
    assert [seen.identity.uid for seen in await hers.observe()] == ["u2"]
    assert (await ours.info()).engine_id == (await hers.info()).engine_id


async def test_a_pod_of_no_installation_is_everybodys(driver):
    await (await connect(driver)).ensure_sandbox(POD)
    ours = await driver.connect(HostAddress("h1", "simulated://h1", cluster="ours"))
    assert len(await ours.observe()) == 1
    await ours.remove_pod("u1")
    assert driver.machine("h1").observe() == ()


def test_the_plugin_offers_its_driver():
    assert [driver.name for driver in ironfree_drivers()] == ["simulated"]


async def test_it_streams_and_measures_as_every_driver(driver):
    host = await connect(driver)
    sandbox = await host.ensure_sandbox(POD)
    started = await host.ensure_container(sandbox, container())
    await check_streams(host, started.id)
    await check_echo(host, "u1", 80)
    await check_usage(host, started.id)
    driver.machine("h1").exit_container(started.id, 0)
    with pytest.raises(EngineRejected, match="not running"):
        async with host.exec(started.id, ("true",), Ends()):
            pass
