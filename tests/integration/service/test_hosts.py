"""Hosts that refuse, lie, hang or are no engines: each says why, and the others work on."""

import asyncio
import contextlib
import os

import pytest

pytestmark = pytest.mark.timeout(60)

HOSTS = "/apis/ironfree.dev/v1/dockerhosts"
WATCH = {"watch": "1", "timeoutSeconds": "100"}


async def web_site(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    page = b"<html>It works!</html>"
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n" % len(page)
    )
    writer.write(b"Connection: close\r\n\r\n" + page)
    await writer.drain()
    writer.close()


async def noise(reader, writer):
    await reader.read(10)
    writer.write(b"\x00\xffSSH-2.0-\r\n\r\n" * 50)
    await writer.drain()
    writer.close()


async def silence(_reader, writer):
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    writer.close()


async def hang_up(_reader, writer):
    writer.close()


@contextlib.asynccontextmanager
async def listening(handler):
    connections = set()

    async def serve(reader, writer):
        task = asyncio.current_task()
        connections.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()
        finally:
            connections.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(connections):
            task.cancel()


async def test_every_bad_host_says_what_is_wrong_and_the_good_one_works(database_url, processes):
    service = await processes(database_url)
    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(listening(web_site))
        garbage = await stack.enter_async_context(listening(noise))
        hung = await stack.enter_async_context(listening(silence))
        closing = await stack.enter_async_context(listening(hang_up))
        bad = {
            "refused": ({"address": "tcp://127.0.0.1:1"}, "127.0.0.1:1"),
            "no-socket": ({"address": "unix:///nowhere/docker.sock"}, "/nowhere/docker.sock"),
            "no-name": ({"address": "tcp://no-such-host.invalid:2375"}, "no-such-host.invalid"),
            "site": ({"address": site}, "answered what no Docker engine answers"),
            "garbage": ({"address": garbage}, "does not speak HTTP"),
            "hung": ({"address": hung}, "did not answer in time"),
            "closing": ({"address": closing}, "cannot be reached"),
            "scheme": ({"address": "file:///etc/passwd"}, "file"),
            "port": ({"address": "tcp://h:99999"}, "tcp://host:port"),
            "empty": ({"address": "tcp://"}, "tcp://host:port"),
            "tls": ({"address": "tcp://127.0.0.1:2", "tlsSecretName": "absent"}, "absent"),
            "password": ({"address": "http://user:hunter2@127.0.0.1:1"}, "tcp://host:port"),
        }
        for name, (spec, _) in bad.items():
            made = await service.call("POST", HOSTS, {"metadata": {"name": name}, "spec": spec})
            assert made.code in {201, 422}, made.body
        await service.add_hosts(1)
        await service.add_controller(3)
        await service.running(3)

        async def told():
            items = (await service.get(HOSTS))["items"]
            found = {}
            for item in items:
                for condition in item.get("status", {}).get("conditions", []):
                    if condition["status"] != "True":
                        found[item["metadata"]["name"]] = condition["message"]
            expected = {item["metadata"]["name"] for item in items} - {"h0"}
            return found if set(found) == expected else None

        messages = await service.eventually(told, "a condition on every bad host")
        for name, message in messages.items():
            assert bad[name][1] in message
            assert "\n" not in message
            assert "hunter2" not in message
        nodes = await service.get("/api/v1/nodes")
        assert [node["metadata"]["name"] for node in nodes["items"]] == ["h0"]
        assert "hunter2" not in service.output
        assert "Traceback" not in service.output


async def test_watches_that_were_dropped_leave_nothing(database_url, processes):
    service = await processes(database_url)
    descriptors = f"/proc/{service.pid}/fd"

    async def round_of(count):
        async with contextlib.AsyncExitStack() as stack:
            for number in range(count):
                path = "/api/v1/pods" if number % 2 else "/api/v1/namespaces/default/configmaps"
                answer = await stack.enter_async_context(
                    service.session.get(service.url + path, params=WATCH)
                )
                assert answer.status == 200
                stack.callback(answer.close)

    await round_of(10)
    before = len(os.listdir(descriptors))
    await round_of(200)
    memory = resident(service.pid)
    for _ in range(2):
        await round_of(200)
    await service.eventually(
        lambda: len(os.listdir(descriptors)) <= before + 5, "descriptors are closed"
    )
    assert resident(service.pid) < memory + 16 * 1024
    assert (await service.call("GET", "/readyz")).code == 200
    assert "Traceback" not in service.output


def resident(pid):
    """Resident memory in KiB."""
    with open(f"/proc/{pid}/status") as status:
        [line] = [line for line in status if line.startswith("VmRSS")]
    return int(line.split()[1])
