"""LimitRanges complete and refuse what clients create."""

import json

import pytest
import yaml

from scheduler.api.limit_ranges import LimitRanges

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def limit(api, ns, *items):
    body = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "l"},
        "spec": {"limits": [*items]},
    }
    made = await api.post(f"/api/v1/namespaces/{ns}/limitranges", body)
    assert made.code == 201, made.body


DEFAULTS = {"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}}


async def test_equal_specs_differ_by_namespace(api, pod):
    """What is remembered of a spec must not travel from one namespace to another."""
    plain, limited = await api.fresh_namespace(), await api.fresh_namespace()
    await limit(api, limited, DEFAULTS)

    async def made(ns, name):
        found = await api.post(f"/api/v1/namespaces/{ns}/pods", pod(name))
        assert found.code == 201, found.body
        return found.body["spec"]["containers"][0]["resources"]

    for name in ("a", "b", "c"):
        assert await made(plain, name) == {}
        assert await made(limited, name) == {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}}
    found = await api.get(f"/api/v1/namespaces/{limited}/pods/c")
    assert "limit-ranger" in str(found.body["metadata"]["annotations"])


async def test_what_is_beyond_them_is_refused(api, ns, pod):
    claims = {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}
    await limit(api, ns, {"type": "Pod", "max": {"memory": "1Gi"}}, claims)
    refused = await api.post(f"/api/v1/namespaces/{ns}/pods", pod())
    said = "maximum memory usage per Pod is 1Gi. No limit is specified"
    assert (refused.code, refused.body["message"]) == (403, f'pods "web" is forbidden: {said}')
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}}
    path = f"/api/v1/namespaces/{ns}/persistentvolumeclaims"
    refused = await api.post(path, {**claim, "spec": spec})
    assert refused.code == 403
    assert "but request is 2Gi" in refused.body["message"]


async def test_a_changed_one_counts_at_once(api, ns, pod):
    await limit(api, ns, DEFAULTS)
    path = f"/api/v1/namespaces/{ns}/limitranges/l"
    found = (await api.get(path)).body
    found["spec"]["limits"] = [{"type": "Container", "default": {"cpu": "2"}}]
    assert (await api.call("PUT", path, found)).code == 200
    made = await api.post(f"/api/v1/namespaces/{ns}/pods", pod())
    assert made.body["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "2"}


async def test_bulk_creates_are_completed(api, ns, pod):
    await limit(api, ns, DEFAULTS)
    many = [{**pod(), "metadata": {"generateName": "p-"}} for _ in range(40)]
    body = {"apiVersion": "v1", "kind": "List", "items": many}
    made = await api.post(f"/api/v1/namespaces/{ns}/pods", body)
    assert made.code in {200, 201}, made.body
    listed = (await api.get(f"/api/v1/namespaces/{ns}/pods")).body["items"]
    limits = [each["spec"]["containers"][0]["resources"]["limits"] for each in listed]
    assert limits == [{"cpu": "1"}] * 40


async def test_kubectl_shows_and_describes_them(api, ns):
    body = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "l"},
        "spec": {"limits": [{**DEFAULTS, "max": {"cpu": "2"}}]},
    }
    assert "created" in await api.kubectl("-n", ns, "apply", "-f", "-", stdin=yaml.safe_dump(body))
    assert "unchanged" in await api.kubectl("-n", ns, "apply", "-f", "-", stdin=json.dumps(body))
    header, row = (await api.kubectl("-n", ns, "get", "limits")).splitlines()
    assert header.split() == ["NAME", "CREATED", "AT"]
    assert row.split()[0] == "l"
    described = await api.kubectl("-n", ns, "describe", "limits", "l")
    line = next(line for line in described.splitlines() if line.startswith("Container"))
    assert line.split() == ["Container", "cpu", "-", "2", "100m", "1", "-"]


async def test_a_removed_one_counts_no_more(api, ns, pod):
    """Whoever has been told that it is gone gets no defaults any more; also of a collection."""
    path = f"/api/v1/namespaces/{ns}/limitranges"
    for target in (f"{path}/l", path):
        await limit(api, ns, DEFAULTS)
        given = await api.post(f"/api/v1/namespaces/{ns}/pods", pod("with"), dryRun="All")
        assert given.body["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1"}
        assert (await api.call("DELETE", target)).code == 200
        plain = await api.post(f"/api/v1/namespaces/{ns}/pods", pod("without"), dryRun="All")
        assert plain.body["spec"]["containers"][0]["resources"] == {}


async def test_repeated_specs_are_completed_once(api, ns, pod, monkeypatch):
    """And told so in each pod's annotation, whatever else its annotations say."""
    await limit(api, ns, DEFAULTS)
    path = f"/api/v1/namespaces/{ns}/pods"
    assert (await api.post(path, pod("first"))).code == 201
    monkeypatch.setattr(LimitRanges, "admit", None)
    for name, own in (("second", {}), ("third", {"own": "yes"})):
        wanted = pod(name)
        wanted["metadata"]["annotations"] = own
        made = await api.post(path, wanted)
        assert made.code == 201, made.body
        assert made.body["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "100m"}
        annotations = made.body["metadata"]["annotations"]
        told = annotations.pop("kubernetes.io/limit-ranger")
        assert (
            told == "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
        )
        assert annotations == own


async def test_what_a_client_says_of_it_is_no_others(api, ns, pod):
    await limit(api, ns, {"type": "Pod", "max": {"cpu": "9"}})
    path = f"/api/v1/namespaces/{ns}/pods"
    sized = {"limits": {"cpu": "1"}}
    for name, said in (("a", {"kubernetes.io/limit-ranger": "mine"}), ("b", {})):
        wanted = pod(name)
        wanted["spec"]["containers"][0]["resources"] = sized
        wanted["metadata"]["annotations"] = said
        made = await api.post(path, wanted)
        assert made.body["metadata"].get("annotations", {}) == said
