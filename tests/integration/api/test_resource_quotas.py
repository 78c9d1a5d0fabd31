"""ResourceQuotas as clients meet them."""

import asyncio
import json

import pytest
import yaml

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def quota(api, ns, hard, name="q", **spec):
    body = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name},
        "spec": {"hard": hard, **spec},
    }
    made = await api.post(f"/api/v1/namespaces/{ns}/resourcequotas", body)
    assert made.code == 201, made.body
    return made.body


async def used(api, ns, name="q"):
    return (await api.get(f"/api/v1/namespaces/{ns}/resourcequotas/{name}")).body["status"]["used"]


def sized(pod, name="web", cpu="100m", **spec):
    made = pod(name, **spec)
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return made


async def test_who_asks_for_too_much_is_refused(api, ns, pod):
    made = await quota(api, ns, {"requests.cpu": "150m", "pods": "5"})
    assert made["status"] == {
        "hard": {"pods": "5", "requests.cpu": "150m"},
        "used": {"pods": "0", "requests.cpu": "0"},
    }
    path = f"/api/v1/namespaces/{ns}/pods"
    assert (await api.post(path, sized(pod))).code == 201
    refused = await api.post(path, sized(pod, "more"))
    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert refused.body["message"] == (
        'pods "more" is forbidden: exceeded quota: q, requested: requests.cpu=100m, '
        "used: requests.cpu=100m, limited: requests.cpu=150m"
    )
    silent = await api.post(path, pod("silent"))
    assert (silent.code, silent.body["message"]) == (
        403,
        'pods "silent" is forbidden: failed quota: q: must specify requests.cpu for: c',
    )
    gone = await api.call("DELETE", f"{path}/web", gracePeriodSeconds="0")
    assert gone.code == 200
    assert (await api.post(path, sized(pod, "more"))).code == 201
    assert await used(api, ns) == {"pods": "1", "requests.cpu": "100m"}


async def test_limits_are_filled_in_before_they_are_counted(api, ns, pod):
    limits = {"limits": [{"type": "Container", "default": {"cpu": "300m"}}]}
    body = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": limits}
    assert (await api.post(f"/api/v1/namespaces/{ns}/limitranges", body)).code == 201
    await quota(api, ns, {"limits.cpu": "500m"})
    path = f"/api/v1/namespaces/{ns}/pods"
    codes = [(await api.post(path, pod(name))).code for name in ("a", "b")]
    assert codes == [201, 403]
    assert await used(api, ns) == {"limits.cpu": "300m"}


async def test_dry_runs_are_judged_and_not_counted(api, ns, pod):
    await quota(api, ns, {"pods": "1", "services.nodeports": "0"})
    path = f"/api/v1/namespaces/{ns}/pods"
    assert (await api.post(path, pod(), dryRun="All")).code == 201
    assert await used(api, ns) == {"pods": "0", "services.nodeports": "0"}
    assert (await api.post(path, pod())).code == 201
    assert (await api.post(path, pod("b"), dryRun="All")).code == 403
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}]},
    }
    services = f"/api/v1/namespaces/{ns}/services"
    assert (await api.post(services, service)).code == 201
    patch = json.dumps({"spec": {"type": "NodePort"}}).encode()
    merge = {"Content-Type": "application/merge-patch+json"}
    for more in ({"dryRun": "All"}, {}):
        refused = await api.call("PATCH", f"{services}/s", data=patch, headers=merge, **more)
        assert refused.code == 403, refused.body
        assert "requested: services.nodeports=1" in refused.body["message"]


async def test_applied_objects_count(api, ns):
    await quota(api, ns, {"configmaps": "1", "count/secrets": "0"})
    apply = {"Content-Type": "application/apply-patch+yaml"}

    async def applied(name):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {}}
        path = f"/api/v1/namespaces/{ns}/configmaps/{name}"
        data = yaml.safe_dump(body).encode()
        return (await api.call("PATCH", path, data=data, headers=apply, fieldManager="t")).code

    assert [await applied(name) for name in ("a", "b", "a")] == [201, 403, 200]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    refused = await api.post(f"/api/v1/namespaces/{ns}/secrets", secret)
    assert "exceeded quota: q, requested: count/secrets=1" in refused.body["message"]


async def test_bulk_creates_stop_where_the_quota_does(api, ns, pod):
    """Alike pods are cohorts, the others rows; each line says what became of its pod."""
    await quota(api, ns, {"pods": "50"})
    alike = json.dumps({**pod(), "metadata": {"generateName": "p-"}})
    named = [json.dumps(pod(f"n{number}")) for number in range(20)]
    lines = "\n".join([*[alike] * 40, *named]).encode()
    ndjson = {"Content-Type": "application/x-ndjson"}
    path = f"/api/v1/namespaces/{ns}/pods"
    answer = await api.call("POST", path, data=lines, headers=ndjson)
    outcomes = [json.loads(line) for line in answer.raw.splitlines()]
    kinds = [each["kind"] for each in outcomes[:-1]]
    assert kinds == ["Pod"] * 50 + ["Status"] * 10
    assert {each["code"] for each in outcomes[50:-1]} == {403}
    assert await used(api, ns) == {"pods": "50"}
    answer = await api.call("POST", path, data="\n".join([alike] * 33).encode(), headers=ndjson)
    refused = [json.loads(line) for line in answer.raw.splitlines()][:-1]
    assert {each["code"] for each in refused} == {403}
    await api.call("DELETE", f"{path}/n0", gracePeriodSeconds="0")
    answer = await api.call("POST", path, data="\n".join([alike] * 33).encode(), headers=ndjson)
    outcomes = [json.loads(line)["kind"] for line in answer.raw.splitlines()][:-1]
    assert outcomes == ["Pod"] + ["Status"] * 32


async def test_concurrent_clients_share_the_room(api, ns, pod):
    await quota(api, ns, {"requests.cpu": "1"})
    path = f"/api/v1/namespaces/{ns}/pods"
    answers = await asyncio.gather(*(api.post(path, sized(pod, f"p{n}")) for n in range(30)))
    assert sorted(each.code for each in answers) == [201] * 10 + [403] * 20
    assert await used(api, ns) == {"requests.cpu": "1"}


async def test_a_quota_can_be_edited_while_pods_come(api, ns, pod):
    await quota(api, ns, {"pods": "1000"})
    path, stop = f"/api/v1/namespaces/{ns}/pods", asyncio.Event()

    async def create():
        number = 0
        while not stop.is_set():
            assert (await api.post(path, pod(f"p{number}"))).code == 201
            number += 1

    creating = asyncio.create_task(create())
    merge = {"Content-Type": "application/merge-patch+json"}
    for number in range(20):
        patch = json.dumps({"spec": {"hard": {"pods": str(2000 + number)}}}).encode()
        where = f"/api/v1/namespaces/{ns}/resourcequotas/q"
        assert (await api.call("PATCH", where, data=patch, headers=merge)).code == 200
    stop.set()
    await creating
    found = (await api.get(f"/api/v1/namespaces/{ns}/resourcequotas/q")).body["status"]
    pods = (await api.get(path)).body["items"]
    assert found == {"hard": {"pods": "2019"}, "used": {"pods": str(len(pods))}}


async def test_kubectl_creates_shows_and_describes_them(api, ns):
    hard = "pods=3,requests.cpu=1,limits.memory=1Gi,count/deployments.apps=2"
    await api.kubectl("-n", ns, "create", "quota", "q", f"--hard={hard}")
    scoped = ("create", "quota", "brief", "--hard=pods=2", "--scopes=Terminating,BestEffort")
    await api.kubectl("-n", ns, *scoped)
    run = ("run", "web", "--image=nginx", "--restart=Never")
    resources = {"requests": {"cpu": "250m"}, "limits": {"memory": "256Mi"}}
    container = {"name": "web", "image": "nginx", "resources": resources}
    overrides = json.dumps({"spec": {"containers": [container]}})
    await api.kubectl("-n", ns, *run, f"--overrides={overrides}")
    header, row = (await api.kubectl("-n", ns, "get", "quota", "q")).splitlines()
    assert header.split() == ["NAME", "REQUEST", "LIMIT", "AGE"]
    for cell in ("count/deployments.apps: 0/2", "pods: 1/3", "requests.cpu: 250m/1"):
        assert cell in row
    assert "limits.memory: 256Mi/1Gi" in row
    described = await api.kubectl("-n", ns, "describe", "quota", "q")
    lines = [line.split() for line in described.splitlines()]
    assert ["limits.memory", "256Mi", "1Gi"] in lines
    assert ["requests.cpu", "250m", "1"] in lines
    described = await api.kubectl("-n", ns, "describe", "quota", "brief")
    assert "Scopes:" in described
    assert "Terminating" in described
    described = await api.kubectl("describe", "ns", ns)
    assert "Resource Quotas" in described
    assert ["pods", "1", "3"] in [line.split() for line in described.splitlines()]
    refused = await api.kubectl("-n", ns, "run", "b", "--image=nginx", check=False)
    assert "must specify limits.memory for: b; requests.cpu for: b" in refused.err


async def test_kubectl_says_what_is_wrong_with_one(api, ns):
    refused = await api.kubectl("-n", ns, "create", "quota", "q", "--hard=widgets=1", check=False)
    assert "must be a standard resource for quota" in refused.err
