"""`ironfree plan` against the whole service."""

import json

import pytest

pytestmark = pytest.mark.timeout(120)

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def service(postgres, processes):
    return await processes(postgres.url)


async def plan(service, *words):
    code, said, complaints = await service.ironfree("plan", "--json", *words)
    assert said, complaints
    return code, json.loads(said)


async def make(service, name, cpu):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    body = {"metadata": {"name": name}, "spec": {"containers": [container]}}
    assert (await service.call("POST", PODS, body)).code == 201


async def test_more_and_fewer_hosts_and_the_cheapest(service, tmp_path):
    await service.add_hosts(2)
    await make(service, "a", "5")
    await make(service, "b", "5")
    await service.running(2)
    await make(service, "c", "5")

    code, said = await plan(service, "--add", "new=cpu:8,memory:32Gi")
    assert (code, said["gained"], said["lost"]) == (0, {"default/c": "new"}, {})
    code, said = await plan(service, "--remove", "h0")
    assert code == 1
    assert len(said["lost"]) == 1
    assert "Insufficient cpu" in next(iter(said["lost"].values()))
    words = ("--remove", "h0", "--add", "new=cpu:16,memory:32Gi")
    code, said = await plan(service, *words)
    assert (code, said["lost"], said["gained"]) == (0, {}, {"default/c": "new"})
    assert set(said["moved"].values()) == {"new"}

    table = tmp_path / "shapes.csv"
    offers = "host,big,3,10,32Gi,3\nhost,small,5,5,16Gi,2\n"
    table.write_text("kind,name,count,cpu,memory,price\n" + offers)
    code, said = await plan(service, "--cheapest", str(table), "--deadline", "5")
    assert code == 0, said
    assert said["hosts"] == {"big": 1, "small": 1}
    assert said["cost"]["value"] == "5"
    assert 0 < float(said["cost"]["bound"]) <= 5
    table.write_text("kind,name,count,cpu,memory,price\nhost,small,2,5,16Gi,2\n")
    code, said = await plan(service, "--cheapest", str(table), "--deadline", "5")
    assert (code, said["hosts"]) == (1, {})
    placements = "/apis/ironfree.dev/v1/namespaces/default/placements"
    assert (await service.get(placements))["items"] == []
