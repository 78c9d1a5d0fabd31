"""Create, get, list, replace, delete over HTTP against a real store."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_pod_comes_back_with_defaults(api, ns, pod):
    made = await api.post(f"/api/v1/namespaces/{ns}/pods", pod())
    assert made.code == 201
    spec, meta, status = made.body["spec"], made.body["metadata"], made.body["status"]
    assert spec["restartPolicy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert spec["priority"] == 0
    assert {t["tolerationSeconds"] for t in spec["tolerations"]} == {300}
    assert status == {"phase": "Pending", "qosClass": "BestEffort"}
    assert meta["namespace"] == ns
    assert meta["generation"] == 1
    found = await api.get(f"/api/v1/namespaces/{ns}/pods/web")
    assert found.body == made.body


async def test_kubectl_gets_creates_applies_and_deletes(api, ns, pod):
    import json
    out = await api.kubectl("-n", ns, "apply", "-f", "-", stdin=json.dumps(pod()))
    assert out == "pod/web created\n"
    out = await api.kubectl("-n", ns, "get", "pods", "-o", "wide")
    assert out.splitlines()[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE", "READINESS", "GATES"]
    out = await api.kubectl("-n", ns, "apply", "-f", "-", stdin=json.dumps(pod()))
    assert out == "pod/web unchanged\n"
    out = await api.kubectl("-n", ns, "describe", "pod", "web")
    assert "Status:           Pending" in out or "Pending" in out
    out = await api.kubectl("-n", ns, "delete", "pod", "web")
    assert "deleted" in out
    out = await api.kubectl("create", "namespace", "fresh")
    assert out == "namespace/fresh created\n"
