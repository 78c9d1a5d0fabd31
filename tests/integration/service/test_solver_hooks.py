"""The service with a third party's plugin, found by its entry point as pip would install it."""

import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

EXAMPLE = Path(__file__).parents[3] / "examples" / "licence-cap"
PODS = "/api/v1/namespaces/default/pods"
PLACEMENTS = "/apis/ironfree.dev/v1/namespaces/default/placements"


@pytest.fixture
async def service(postgres, processes, tmp_path, monkeypatch):
    """A service whose path has the example, and what its wheel would say of it."""
    about = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / f"ironfree_licence_cap-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    ((name, value),) = about["entry-points"]["ironfree"].items()
    (info / "entry_points.txt").write_text(f"[ironfree]\n{name} = {value}\n")
    monkeypatch.setenv("PYTHONPATH", f"{EXAMPLE}:{info.parent}")
    monkeypatch.setenv("IRONFREE_PROFILES", str(EXAMPLE / "profiles.yaml"))
    started = await processes(postgres.url)
    await started.add_ready_hosts(5)
    return started


async def create(service, name, image, cpu, scheduler):
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}}
    made = await service.call(
        "POST",
        PODS,
        {
            "metadata": {"name": name},
            "spec": {"schedulerName": scheduler, "containers": [container]},
        },
    )
    assert made.code == 201, made.body


async def nodes(service, prefix):
    pods = (await service.get(PODS))["items"]
    found = {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in pods}
    return {name: node for name, node in found.items() if name.startswith(prefix)}


async def test_licences_hold_for_a_placement_and_for_the_pods_after_it(service):
    for number in range(4):
        await create(service, f"db{number}", "vendor/db:1", f"{number + 1}", "batch")
        await create(service, f"web{number}", "web:1", "1", "batch")
    spec = {"mode": "commit", "pods": {"selector": {}}, "deadlineSeconds": 10}
    made = await service.call("POST", PLACEMENTS, {"metadata": {"name": "go"}, "spec": spec})
    assert made.code == 201, made.body

    async def ended():
        status = (await service.get(f"{PLACEMENTS}/go"))["status"]
        return status if status["phase"] in ("Committed", "Failed", "Infeasible") else None

    status = await service.eventually(ended, "placement ended", seconds=60)
    assert status["phase"] == "Committed", status
    assert (status["placed"], status["pods"]) == (7, 8), status
    assert status["solver"]["goals"][0]["bound"] == "7"
    assert "no licence left for vendor/db" in status["unplaced"][0]["reason"]
    used = [node for node in (await nodes(service, "db")).values() if node]
    assert len(set(used)) == len(used) == 3

    await create(service, "late", "vendor/db:2", "1", "default-scheduler")

    async def told():
        pod = await service.get(f"{PODS}/late")
        conditions = {c["type"]: c for c in pod["status"].get("conditions", ())}
        return conditions.get("PodScheduled", {}).get("message")

    reason = await service.eventually(told, "late is told why", seconds=60)
    assert "no licence left for vendor/db" in reason
    running = next(name for name, node in (await nodes(service, "db")).items() if node)
    gone = await service.call("DELETE", f"{PODS}/{running}", {"gracePeriodSeconds": 0})
    assert gone.code == 200, gone.body

    async def placed():
        return (await nodes(service, "late"))["late"]

    others = {node for name, node in (await nodes(service, "db")).items() if name != running}
    node = await service.eventually(placed, "late has a node", seconds=60)
    assert node not in others - {""}
