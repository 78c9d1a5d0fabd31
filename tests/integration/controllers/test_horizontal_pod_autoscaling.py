"""Autoscalers follow what the containers of their targets use."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from scheduler import meter
from scheduler.objects.horizontal_pod_autoscaler import RESOURCE
from scheduler.objects.kinds import REGISTRY
from scheduler.objects.stored import ObjectKey
from scheduler.streams import ContainerUsage

KEY = ObjectKey(RESOURCE, "default", "h")
WEB = {"app": "web"}
PERIOD = 15


class Engine:
    """Every container uses so many thousandths of a core; each look is a second later."""

    def __init__(self, millicores):
        self.millicores, self.used = millicores, 0
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    async def usage(self):
        self.now += timedelta(seconds=1)
        self.used += self.millicores * 1_000_000
        return {f"id-{i}": ContainerUsage(self.now, self.used, 1 << 20) for i in range(20)}


@pytest.fixture
def engine(hosts, monkeypatch):
    monkeypatch.setattr(meter, "_APART", 0.0)
    monkeypatch.setattr(meter, "WINDOW", 0.0)
    hosts["n"] = Engine(100)
    return hosts["n"]


async def autoscaler(cluster, kind, api_version, **spec):
    reference = {"apiVersion": api_version, "kind": kind, "name": "web"}
    target = {"type": "Utilization", "averageUtilization": 50}
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    body = {"spec": {"scaleTargetRef": reference, "maxReplicas": 5, "metrics": metrics, **spec}}
    REGISTRY.by_resource(RESOURCE).default(body)
    await cluster.create(RESOURCE, "h", body=body)


async def run(cluster, pods):
    """Let pods run on the node, ready for long."""
    taken = {p.status for p in await cluster.pods()}
    ids = iter([f"id-{i}" for i in range(20) if not any(b'//id-%d"' % i in s for s in taken)])
    past = (cluster.clock.now() - timedelta(hours=1)).isoformat()
    for pod in pods:
        if pod.binding is not None:
            continue
        await cluster.bind(pod, "n")
        running = {"running": {"startedAt": past}}
        container = {"name": "c", "containerID": f"fake://{next(ids)}", "state": running}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": past}
        status = {"phase": "Running", "startTime": past, "conditions": [ready]}
        await cluster.change(pod.key, status={**status, "containerStatuses": [container]})


async def status(cluster, **wanted):
    """Wait for these numbers of the status; time passes for whoever waits."""

    async def there():
        found = (await cluster.document(KEY)).get("status") or {}
        return found if all(found.get(key) == value for key, value in wanted.items()) else None

    return await cluster.until(there)


REQUESTS = {
    "containers": [{"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "0.1"}}}]
}


async def events(cluster):
    listed = (await cluster.store.list("events")).objects
    found = [await cluster.document(each.key) for each in listed]
    return [(e["reason"], e["message"]) for e in found if e["involvedObject"]["name"] == "h"]


async def test_a_replication_controller_grows_and_shrinks(cluster, engine):
    await cluster.node("n")
    await cluster.replication("web", 2, spec=REQUESTS)
    await run(cluster, await cluster.running(2, **WEB))
    await autoscaler(cluster, "ReplicationController", "v1")
    found = await status(cluster, desiredReplicas=4)
    assert found["currentMetrics"][0]["resource"]["current"]["averageUtilization"] == 100
    assert found["lastScaleTime"]
    pods = await cluster.running(4, **WEB)
    assert ("SuccessfulRescale", "New size: 4; reason: cpu resource utilization (percentage of "
            "request) above target") in await events(cluster)  # fmt: skip
    await run(cluster, pods)
    engine.millicores = 10
    cluster.clock.pass_time(PERIOD)
    found = await status(cluster, currentReplicas=4)
    assert found["desiredReplicas"] == 4
    able = {c["type"]: c["reason"] for c in found["conditions"]}
    assert able["AbleToScale"] == "ScaleDownStabilized"
    cluster.clock.pass_time(301)
    await status(cluster, desiredReplicas=1)
    await cluster.running(1, **WEB)


async def test_a_deployment_is_scaled_through_its_own_field(cluster, engine):
    await cluster.node("n")
    template = {"metadata": {"labels": WEB}, "spec": REQUESTS}
    body = {"spec": {"replicas": 1, "selector": {"matchLabels": WEB}, "template": template}}
    owner = REGISTRY.by_resource("deployments.apps")
    owner.default(body)
    fields = {"f:spec": {"f:replicas": {}, "f:template": {}}}
    applied = {
        "manager": "me",
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    managed = msgspec.Raw(msgspec.json.encode([applied]))
    await cluster.create("deployments.apps", "web", body=body, managed_fields=managed)
    await run(cluster, await cluster.running(1, **WEB))
    await autoscaler(cluster, "Deployment", "apps/v1")
    await cluster.running(2, **WEB)
    made = await cluster.document(ObjectKey("deployments.apps", "default", "web"))
    assert made["spec"]["replicas"] == 2
    assert made["metadata"]["generation"] == 2
    owners = {each["manager"]: each for each in made["metadata"]["managedFields"]}
    assert "f:replicas" not in owners["me"]["fieldsV1"]["f:spec"]
    owner = owners["kube-controller-manager"]
    assert (owner["subresource"], owner["fieldsV1"]) == ("scale", {"f:spec": {"f:replicas": {}}})


async def test_a_target_that_comes_later(cluster, engine):
    await autoscaler(cluster, "ReplicationController", "v1", minReplicas=2)

    async def said():
        found = (await cluster.document(KEY)).get("status") or {}
        return found.get("conditions")

    [able] = await cluster.until(said)
    assert (able["status"], able["reason"]) == ("False", "FailedGetScale")
    assert any(reason == "FailedGetScale" for reason, _ in await events(cluster))
    await cluster.replication("web", 1, spec=REQUESTS)
    await cluster.running(1, **WEB)
    cluster.clock.pass_time(PERIOD)
    await cluster.running(2, **WEB)


async def test_hosts_that_do_not_answer_change_nothing(cluster, hosts):
    await cluster.node("n")
    await cluster.replication("web", 2, spec=REQUESTS)
    await run(cluster, await cluster.running(2, **WEB))
    await autoscaler(cluster, "ReplicationController", "v1")
    found = await status(cluster, currentReplicas=2)
    reasons = {c["type"]: (c["status"], c["reason"]) for c in found["conditions"]}
    assert reasons["ScalingActive"] == ("False", "FailedGetResourceMetric")
    assert len(await cluster.running(2, **WEB)) == 2
