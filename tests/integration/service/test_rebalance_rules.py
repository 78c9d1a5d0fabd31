"""Rebalances by the whole service with a plugin's batch rules: held to them, and for their sake."""

import asyncio
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

EXAMPLE = Path(__file__).parents[3] / "examples" / "licence-cap"
PODS = "/api/v1/namespaces/default/pods"
CONTROLLERS = "/api/v1/namespaces/default/replicationcontrollers"
REBALANCES = "/apis/ironfree.dev/v1/rebalances"
PLUGIN = '''
"""The example's cap without its filter, and a liking for fast hosts."""

import numpy as np
from ironfree_licence_cap import Licence, LicenceCap
from scheduler import hookimpl
from scheduler.batch_terms import Worth


class Fast:
    name = "Fast"

    def terms(self, batch):
        tiers = [batch.snapshot.nodes[row].labels.get("tier") for row in batch.hosts]
        fast = np.array([float(tier == "fast") for tier in tiers])
        mine = [c for c, pod in enumerate(batch.pods) if pod.labels.get("app") == "web"]
        return [Worth({c: fast for c in mine})]

    def check(self, batch, plan):
        return ()


@hookimpl
def ironfree_batch_rules():
    return [LicenceCap((Licence("vendor/db", 4),)), Fast()]
'''


@pytest.fixture
async def service(postgres, processes, tmp_path, monkeypatch):
    about = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site"
    info = site / "ironfree_house-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: ironfree-house\nVersion: 1\n")
    group = next(iter(about["entry-points"]))
    (info / "entry_points.txt").write_text(f"[{group}]\nhouse = ironfree_house\n")
    (site / "ironfree_house.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", f"{EXAMPLE}:{site}")
    started = await processes(postgres.url, IRONFREE_NODE_GRACE_SECONDS="90")
    await started.add_ready_hosts(3)
    return started


async def controller(service, name, image):
    """Have a pod on every host."""
    labels = {"app": name}
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": "1"}}}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "topologySpreadConstraints": [spread]},
    }
    body = {
        "metadata": {"name": name},
        "spec": {"replicas": 3, "selector": labels, "template": template},
    }
    made = await service.call("POST", CONTROLLERS, body)
    assert made.code == 201, made.body


async def rebalance(service, **spec):
    spec = {"intervalSeconds": 2, "deadlineSeconds": 20, "restSeconds": 0, **spec}
    body = {"metadata": {"name": "tidy"}, "spec": spec}
    made = await service.call("POST", REBALANCES, body)
    assert made.code == 201, made.body


async def reached(service, test, what):
    async def look():
        status = (await service.get(f"{REBALANCES}/tidy")).get("status", {})
        return status if test(status) else None

    return await service.eventually(look, f"the rebalance {what}")


async def where(service, app):
    """Return the nodes of the pods of an app that are there and not going."""
    answer = await service.call("GET", PODS, labelSelector=f"app={app}")
    return sorted(
        pod["spec"].get("nodeName", "")
        for pod in answer.body["items"]
        if "deletionTimestamp" not in pod["metadata"]
    )


async def test_a_rebalance_keeps_a_cap_and_moves_what_an_objective_likes(service):
    await controller(service, "db", "vendor/db:1")
    await controller(service, "web", "web:1")
    await service.running(6)
    hosts = await where(service, "db")
    assert len(set(hosts)) == 3

    await rebalance(service, mode="auto")
    status = await reached(service, lambda s: s.get("phase") == "Quiet", "is quiet")
    assert status["hosts"]["used"] == status["hosts"]["after"] == 3, "a copy on each"
    assert status["made"] == 0
    assert (await service.call("DELETE", f"{REBALANCES}/tidy")).code == 200

    node = await service.get(f"/api/v1/nodes/{hosts[0]}")
    node["metadata"]["labels"]["tier"] = "fast"
    del node["metadata"]["resourceVersion"]
    assert (await service.call("PUT", f"/api/v1/nodes/{hosts[0]}", node)).code == 200
    await rebalance(service, goal="improve", objective=[{"prefer": "Fast"}])
    status = await reached(service, lambda s: s.get("phase") == "Planned", "has a plan")
    assert status["goals"] == [{"name": "prefer:Fast", "before": "1", "after": "3", "bound": "3"}]
    assert [move["to"] for move in status["moves"]] == [hosts[0]] * 2
    assert {move["why"] for move in status["moves"]} == {"improves prefer:Fast"}

    changed = await service.get(f"{REBALANCES}/tidy")
    changed["spec"]["mode"] = "auto"
    del changed["metadata"]["resourceVersion"]
    assert (await service.call("PUT", f"{REBALANCES}/tidy", changed)).code == 200
    done = await reached(service, lambda s: s.get("made") == 2 and s["phase"] == "Quiet", "is done")
    assert done["missed"] == 0
    assert done["goals"] == [{"name": "prefer:Fast", "before": "3", "after": "3", "bound": "3"}]
    assert await where(service, "web") == [hosts[0]] * 3
    assert await where(service, "db") == hosts


async def test_who_binds_pods_himself_is_held_to_caps(service):
    async def bound(number, image, node):
        container = {"name": "c", "image": image, "resources": {"requests": {"cpu": "1"}}}
        spec = {"schedulerName": "own", "containers": [container]}
        body = {"metadata": {"name": f"p{number}"}, "spec": spec}
        made = await service.call("POST", PODS, body)
        assert made.code == 201, made.body
        return await service.call(
            "POST", f"{PODS}/p{number}/binding", {"target": {"kind": "Node", "name": node}}
        )

    nodes = [node["metadata"]["name"] for node in (await service.get("/api/v1/nodes"))["items"]]
    assert (await bound(0, "vendor/db:1", nodes[0])).code == 201
    refused = await bound(1, "vendor/db:2", nodes[0])
    assert refused.code == 409
    assert "batch rule LicenceCap" in refused.body["message"]
    assert refused.body["reason"] == "Conflict"
    assert (await bound(2, "web:1", nodes[0])).code == 201
    together = await asyncio.gather(
        *(bound(3 + number, "vendor/db:1", nodes[1]) for number in range(4))
    )
    assert sorted(each.code for each in together) == [201, 409, 409, 409]


async def test_an_objective_that_cannot_be_is_refused(service):
    async def causes(**spec):
        body = {"metadata": {"name": "x"}, "spec": spec}
        answer = await service.call("POST", REBALANCES, body)
        assert answer.code == 422, answer.body
        return {cause["field"] for cause in answer.body["details"]["causes"]}

    assert await causes(goal="improve") == {"spec.objective"}
    assert await causes(objective=[{"prefer": "Fast"}]) == {"spec.objective"}
    placing = [{"place": "count"}, {"hosts": "none"}]
    expected = {"spec.objective[0].place", "spec.objective[1].hosts"}
    assert await causes(goal="improve", objective=placing) == expected
    await rebalance(service, goal="improve", objective=[{"prefer": "Nobody"}])
    status = await reached(service, lambda s: s.get("phase") == "Failed", "has failed")
    assert "spec.objective[0].prefer is 'Nobody'" in status["message"]
