"""HorizontalPodAutoscalers in both versions, on kubectl and the client library."""

import json

import pytest
import yaml
from kubernetes_asyncio import client

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMORY = {
    "type": "Resource",
    "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
}
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def path(ns, version="v2", name=""):
    return f"/apis/autoscaling/{version}/namespaces/{ns}/horizontalpodautoscalers" + (
        f"/{name}" if name else ""
    )


def hpa(version="v2", **spec):
    given = {"scaleTargetRef": REFERENCE, "maxReplicas": 5, **spec}
    meta = {"name": "web"}
    kind = "HorizontalPodAutoscaler"
    return {"apiVersion": f"autoscaling/{version}", "kind": kind, "metadata": meta, "spec": given}


async def test_kubectl_autoscale_get_and_describe(api, ns, pod):
    await api.kubectl("-n", ns, "create", "deployment", "web", "--image=nginx:1")
    options = ("--min=2", "--max=4", "--cpu=70%", "--memory=1Gi")
    await api.kubectl("-n", ns, "autoscale", "deployment", "web", *options)
    header, row = (await api.kubectl("-n", ns, "get", "hpa")).splitlines()
    names = ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"]
    assert header.split() == names
    targets = "cpu: <unknown>/70%, memory: <unknown>/1Gi"
    assert targets in row
    assert row.replace(targets, "").split()[:5] == ["web", "Deployment/web", "2", "4", "0"]
    described = await api.kubectl("-n", ns, "describe", "hpa", "web")
    assert "resource cpu on pods  (as a percentage of request):  <unknown> / 70%" in described
    row = (await api.kubectl("-n", ns, "get", "hpa.v1.autoscaling")).splitlines()[1]
    assert targets in row
    assert "web" in await api.kubectl("-n", ns, "get", "all")
    assert "targetCPUUtilizationPercentage" in await api.kubectl(
        "explain", "hpa.spec", "--api-version=autoscaling/v1"
    )


async def test_v1_is_a_view_on_v2(api, ns):
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    metrics = [MEMORY, {"type": "Resource", "resource": cpu}]
    made = await api.post(path(ns), hpa(metrics=metrics, behavior=behavior))
    assert made.code == 201, made.body
    old = (await api.get(path(ns, "v1", "web"))).body
    assert old["apiVersion"] == "autoscaling/v1"
    assert old["spec"] == {
        "scaleTargetRef": REFERENCE,
        "minReplicas": 1,
        "maxReplicas": 5,
        "targetCPUUtilizationPercentage": 50,
    }
    assert old["status"] == {"currentReplicas": 0, "desiredReplicas": 0}
    old["spec"]["maxReplicas"] = 9
    replaced = await api.call("PUT", path(ns, "v1", "web"), old)
    assert replaced.code == 200, replaced.body
    kept = (await api.get(path(ns, name="web"))).body["spec"]
    assert kept == {**made.body["spec"], "maxReplicas": 9}
    patched = await api.call(
        "PATCH",
        path(ns, "v1", "web"),
        {"spec": {"targetCPUUtilizationPercentage": 60}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert patched.body["spec"]["targetCPUUtilizationPercentage"] == 60
    kept = (await api.get(path(ns, name="web"))).body["spec"]
    percents = [each["resource"]["target"].get("averageUtilization") for each in kept["metrics"]]
    assert percents == [60, None]
    assert kept["behavior"] == made.body["spec"]["behavior"]
    listed = (await api.get(path(ns, "v1"))).body
    assert listed["apiVersion"] == "autoscaling/v1"
    assert listed["items"][0]["spec"] == {**old["spec"], "targetCPUUtilizationPercentage": 60}


async def test_v1_manifests_are_applied(api, ns):
    text = yaml.safe_dump(hpa("v1", targetCPUUtilizationPercentage=40))
    assert "created" in await api.kubectl("-n", ns, "apply", "-f", "-", stdin=text)
    assert "unchanged" in await api.kubectl("-n", ns, "apply", "-f", "-", stdin=text)
    text = yaml.safe_dump(hpa("v1", targetCPUUtilizationPercentage=30))
    assert "configured" in await api.kubectl("-n", ns, "apply", "-f", "-", stdin=text)
    shown = await api.kubectl("-n", ns, "get", "hpa", "web", "-o", "json")
    [metric] = json.loads(shown)["spec"]["metrics"]
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 30}
    text = yaml.safe_dump(hpa("v1", maxReplicas=7, targetCPUUtilizationPercentage=30))
    forced = ("--server-side", "--force-conflicts")
    assert "applied" in await api.kubectl("-n", ns, "apply", *forced, "-f", "-", stdin=text)
    assert (await api.get(path(ns, name="web"))).body["spec"]["maxReplicas"] == 7
    await api.kubectl("-n", ns, "delete", "-f", "-", stdin=text)


async def test_both_versions_of_the_client_library(api, ns):
    async with client.ApiClient(client.Configuration(host=api.url)) as connection:
        old, new = client.AutoscalingV1Api(connection), client.AutoscalingV2Api(connection)
        reference = client.V1CrossVersionObjectReference(
            api_version="apps/v1", kind="Deployment", name="web"
        )
        spec = client.V1HorizontalPodAutoscalerSpec(max_replicas=3, scale_target_ref=reference)
        meta = client.V1ObjectMeta(name="web")
        body = client.V1HorizontalPodAutoscaler(metadata=meta, spec=spec)
        made = await old.create_namespaced_horizontal_pod_autoscaler(ns, body)
        assert made.spec.target_cpu_utilization_percentage == 80
        [found] = (await new.list_namespaced_horizontal_pod_autoscaler(ns)).items
        assert found.spec.metrics[0].resource.target.average_utilization == 80
        assert found.status.desired_replicas == 0


async def test_what_cannot_be_measured_is_warned_about(api, ns):
    target = {"type": "AverageValue", "averageValue": "10"}
    metrics = [{"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": target}}]
    made = await api.post(path(ns), hpa(metrics=metrics))
    assert made.code == 201
    assert "measures cpu and memory only" in made.headers["Warning"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"maxReplicas": 0}, "spec.maxReplicas"),
        ({"minReplicas": 0}, "spec.minReplicas"),
        ({"minReplicas": 6}, "spec.maxReplicas"),
        ({"scaleTargetRef": {"kind": "", "name": "a/b"}}, "spec.scaleTargetRef.name"),
        ({"metrics": [{"type": "Odd"}]}, "spec.metrics[0].type"),
        ({"metrics": [{"type": "Resource"}]}, "spec.metrics[0].resource"),
        ({"metrics": [{**MEMORY, "pods": {}}]}, "spec.metrics[0].pods"),
        (
            {"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {}}}]},
            "spec.metrics[0].resource.target.type",
        ),
        (
            {"metrics": [{"type": "ContainerResource", "containerResource": MEMORY["resource"]}]},
            "spec.metrics[0].containerResource.container",
        ),
        (
            {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}},
            "spec.behavior.scaleUp.stabilizationWindowSeconds",
        ),
        ({"behavior": {"scaleDown": {"policies": []}}}, "spec.behavior.scaleDown.policies"),
        (
            {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0}]}}},
            "spec.behavior.scaleUp.policies[0].periodSeconds",
        ),
    ],
)
async def test_what_upstream_refuses_is_refused(api, ns, spec, field):
    refused = await api.post(path(ns), hpa(**spec))
    assert refused.code == 422
    assert field in [cause["field"] for cause in refused.body["details"]["causes"]]
