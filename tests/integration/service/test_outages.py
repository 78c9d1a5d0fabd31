"""The database goes away, or the service is killed: nothing acknowledged is lost."""

import asyncio
import itertools
import json
import signal

import aiohttp
import pytest

from scheduler.store.postgres import connect

pytestmark = pytest.mark.timeout(300)  # longer than patience, which says what it waited for

CONFIG = "/api/v1/namespaces/default/configmaps"


async def follow(service, position, seen):
    """Watch configmaps from `position` as a client does: again from the last version it saw."""
    while True:
        params = {"watch": "1", "resourceVersion": str(position), "timeoutSeconds": "100"}
        try:
            async with service.session.get(service.url + CONFIG, params=params) as response:
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        assert event["object"]["code"] == 503, event
                        break
                    meta = event["object"]["metadata"]
                    position = int(meta["resourceVersion"])
                    seen.append((event["type"], meta["name"]))
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)


async def write_on(service, prefix, acknowledged, refused):
    """Create objects one after another; note what was acknowledged and what was refused."""
    for number in itertools.count():
        name = f"{prefix}-{number}"
        answer = await service.call("POST", CONFIG, {"metadata": {"name": name}})
        if answer.code == 201:
            acknowledged.append(name)
        else:
            refused.append(answer)
        await asyncio.sleep(0.02)


async def names(service):
    return {item["metadata"]["name"] for item in (await service.get(CONFIG))["items"]}


async def test_an_outage_of_the_database_is_told_and_then_over(postgres, processes):
    service = await processes(postgres.url)
    await service.add_hosts(2)
    await service.add_controller(3)
    before = await service.running(3)
    position = (await service.get(CONFIG))["metadata"]["resourceVersion"]
    seen, acknowledged, refused = [], [], []
    tasks = [
        asyncio.create_task(follow(service, position, seen)),
        *(asyncio.create_task(write_on(service, f"w{i}", acknowledged, refused)) for i in range(4)),
    ]
    await service.eventually(lambda: len(seen) > 20, "writes are seen")
    await postgres.crash()
    scaled = asyncio.create_task(service.scale(5))
    # A writer has its refusal only once patience is at its end, so all of this lies in the outage.
    # Patience is doubled for writes that were committing when the database went.
    await service.eventually(lambda: refused, "a refusal", seconds=45)
    assert (await service.call("GET", "/readyz")).code == 503
    assert (await service.call("GET", "/livez")).code == 200
    answer = await scaled
    assert answer.code in {200, 503}, answer.body
    await postgres.start()
    count = len(acknowledged)
    await service.eventually(lambda: len(acknowledged) > count + 20, "writes go on")
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks[1:])
    for one in refused:
        assert (one.code, one.body["reason"]) == (503, "ServiceUnavailable")
        told = one.body["message"]
        assert "database does not answer" in told or "went away while committing" in told
        assert int(one.headers["Retry-After"]) >= 1
    assert set(acknowledged) <= await names(service)
    assert (await service.scale(6)).code == 200
    after = await service.running(6)
    assert set(before) <= set(after), "nothing was restarted for the database's sake"
    assert service.alive
    for uid in before:
        assert before[uid]["spec"]["nodeName"] == after[uid]["spec"]["nodeName"]
    await service.eventually(
        lambda: {name for _, name in seen} >= set(acknowledged), "the watch has caught up"
    )
    assert len(seen) == len(set(seen)), "the watch told something twice"
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    assert "Traceback" not in service.output


async def test_a_service_killed_under_load_keeps_what_it_acknowledged(database_url, processes):
    service = await processes(database_url)
    acknowledged = []

    async def client(number):
        for turn in itertools.count():
            name = f"c{number}-{turn}"
            try:
                answer = await service.call("POST", CONFIG, {"metadata": {"name": name}})
            except aiohttp.ClientError:
                return
            assert answer.code == 201, answer.body
            acknowledged.append(name)

    async with asyncio.TaskGroup() as clients:
        for number in range(64):
            clients.create_task(client(number))
        await service.eventually(lambda: len(acknowledged) > 500, "load")
        await service.end(signal.SIGKILL)
    again = await processes(database_url)
    found = await names(again)
    assert set(acknowledged) <= found
    assert len(found) <= len(acknowledged) + 64, "at most one write of each client was under way"


async def test_a_leader_that_was_replaced_for_a_moment_leads_again(database_url, processes):
    service = await processes(database_url)
    await service.said("leading, epoch 1")
    await service.add_hosts(1)
    await service.add_controller(1)
    await service.running(1)
    connection = await connect(database_url)
    await connection.execute("UPDATE head SET epoch = 7")
    await connection.close()
    await service.said("no longer leading")
    await service.said("leading, epoch 8")
    assert (await service.scale(2)).code == 200
    await service.running(2)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_another_service_takes_over_from_a_leader(database_url, processes, fault):
    first = await processes(database_url)
    await first.said("leading, epoch")
    second = await processes(database_url)
    await first.add_hosts(2)
    await first.add_controller(4)
    before = await second.running(4)
    assert not any("leading" in line for line in second.lines), "two lead"
    first.send(fault)
    assert (await second.scale(6)).code == 200
    await second.said("leading, epoch")
    after = await second.running(6)
    assert set(before) <= set(after)
    if fault is signal.SIGSTOP:
        first.send(signal.SIGCONT)
        await first.said("no longer leading")
        assert (await first.scale(3)).code == 200, "its API serves on"
        kept = await first.running(3)
        assert set(kept) < set(after)
        assert len([line for line in first.lines if "leading, epoch" in line]) == 1
        assert second.alive
        assert first.alive
        assert "Traceback" not in first.output + second.output
