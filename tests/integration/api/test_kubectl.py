"""The real kubectl against the API."""

import asyncio
import json

import pytest
import yaml

pytestmark = pytest.mark.asyncio(loop_scope="module")


def rc(pod, name="rc", replicas=2):
    template = {"metadata": {"labels": {"app": name}}, "spec": pod()["spec"]}
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": template},
    }


async def apply(api, ns, *objects, flags=()):
    text = "---\n".join(yaml.safe_dump(each) for each in objects)
    return await api.kubectl("-n", ns, "apply", "-f", "-", *flags, stdin=text)


async def test_apply_get_describe_delete(api, ns, pod):
    assert await apply(api, ns, pod()) == "pod/web created\n"
    assert await apply(api, ns, pod()) == "pod/web unchanged\n"
    changed = pod()
    changed["spec"]["containers"][0]["image"] = "nginx:2"
    assert await apply(api, ns, changed) == "pod/web configured\n"
    wide = await api.kubectl("-n", ns, "get", "pods", "-o", "wide")
    header, row = wide.splitlines()
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert row.split()[:4] == ["web", "0/1", "Pending", "0"]
    described = await api.kubectl("-n", ns, "describe", "pod", "web")
    assert "nginx:2" in described
    assert "node.kubernetes.io/not-ready:NoExecute" in described
    assert 'pod "web" deleted' in await api.kubectl("-n", ns, "delete", "pod", "web")
    assert (await api.kubectl("-n", ns, "get", "pod", "web", check=False)).err.startswith(
        'Error from server (NotFound): pods "web" not found'
    )


async def test_labels_annotations_and_patches(api, ns, pod):
    await apply(api, ns, pod())
    await api.kubectl("-n", ns, "label", "pod", "web", "tier=front")
    await api.kubectl("-n", ns, "annotate", "pod", "web", "note=x")
    for kind, patch in (
        ("strategic", '{"metadata":{"labels":{"p":"1"}}}'),
        ("merge", '{"metadata":{"labels":{"q":"1"}}}'),
        ("json", '[{"op":"add","path":"/metadata/labels/r","value":"1"}]'),
    ):
        await api.kubectl("-n", ns, "patch", "pod", "web", "--type", kind, "-p", patch)
    meta = json.loads(await api.kubectl("-n", ns, "get", "pod", "web", "-o", "json"))["metadata"]
    assert meta["labels"] == {"app": "web", "tier": "front", "p": "1", "q": "1", "r": "1"}
    assert meta["annotations"]["note"] == "x"
    shown = await api.kubectl("-n", ns, "get", "pods", "-l", "tier=front", "--show-labels")
    assert "tier=front" in shown


async def test_server_side_apply(api, ns):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "1"}}
    assert "serverside-applied" in await apply(api, ns, body, flags=["--server-side"])
    assert "serverside-applied" in await apply(api, ns, body, flags=["--server-side"])


async def test_scale_a_replication_controller(api, ns, pod):
    await apply(api, ns, rc(pod))
    assert "scaled" in await api.kubectl("-n", ns, "scale", "rc/rc", "--replicas", "5")
    table = await api.kubectl("-n", ns, "get", "rc", "-o", "wide")
    assert table.splitlines()[1].split()[:4] == ["rc", "5", "0", "0"]
    assert table.splitlines()[1].split()[-1] == "app=rc"
    refused = await api.kubectl("-n", ns, "scale", "rc/rc", "--replicas", "-1", check=False)
    assert refused.code == 1


async def test_protobuf_creates(api, ns):
    create = ("-n", ns, "create")
    await api.kubectl(*create, "configmap", "c", "--from-literal=a=b")
    await api.kubectl(*create, "secret", "generic", "s", "--from-literal=p=q")
    await api.kubectl("create", "namespace", f"{ns}-more")
    await api.kubectl(*create, "service", "clusterip", "svc", "--tcp=80:8080")
    await api.kubectl("create", "priorityclass", f"{ns}-pc", "--value=5")
    found = await api.get(f"/api/v1/namespaces/{ns}/configmaps/c")
    assert found.body["data"] == {"a": "b"}
    assert (await api.get(f"/api/v1/namespaces/{ns}/secrets/s")).body["data"] == {"p": "cQ=="}
    service = (await api.get(f"/api/v1/namespaces/{ns}/services/svc")).body
    assert service["spec"]["ports"][0]["targetPort"] == 8080
    listed = await api.kubectl("-n", ns, "get", "all,cm,secrets")
    assert "service/svc" in listed


async def test_wait_and_watch(api, ns, pod):
    await apply(api, ns, pod())
    arguments = ("-n", ns, "wait", "pod/web", "--for=jsonpath={.status.phase}=Running")
    waiting = asyncio.create_task(api.kubectl(*arguments, "--timeout=20s"))
    await api.call(
        "PATCH",
        f"/api/v1/namespaces/{ns}/pods/web/status",
        {"status": {"phase": "Running"}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert "condition met" in await waiting
    gone = asyncio.create_task(
        api.kubectl("-n", ns, "wait", "pod/web", "--for=delete", "--timeout=20s")
    )
    await api.kubectl("-n", ns, "delete", "pod", "web", "--now")
    assert (await gone) is not None


async def test_explain_and_discovery(api):
    assert "restartPolicy" in await api.kubectl("explain", "pod.spec")
    assert "address" in await api.kubectl("explain", "dockerhost.spec")
    resources = await api.kubectl("api-resources", "-o", "name")
    assert {"pods", "dockerhosts.ironfree.dev", "leases.coordination.k8s.io"} <= set(
        resources.split()
    )
    assert "ironfree" in await api.kubectl("version")


async def test_custom_resource_definitions_are_none(api):
    done = await api.kubectl("get", "crd", check=False)
    assert (done.code, done.err) == (0, "No resources found\n")
    assert "metadata" in await api.kubectl("explain", "crd")


async def test_edit_without_an_editor(api, ns, monkeypatch):
    await api.kubectl("-n", ns, "create", "configmap", "c", "--from-literal=a=b")
    monkeypatch.setenv("KUBE_EDITOR", "sed -i s/a:.b/a:\\ z/")
    await api.kubectl("-n", ns, "edit", "configmap", "c")
    found = await api.get(f"/api/v1/namespaces/{ns}/configmaps/c")
    assert found.body["data"] == {"a": "z"}


async def test_mistakes_are_told(api, ns, pod):
    wrong = pod()
    wrong["spec"]["contaners"] = []
    text = yaml.safe_dump(wrong)
    done = await api.kubectl("-n", ns, "apply", "-f", "-", stdin=text, check=False)
    assert done.code == 1
    assert 'unknown field "spec.contaners"' in done.err
    done = await api.kubectl(
        "-n", ns, "apply", "--validate=warn", "-f", "-", stdin=text, check=False
    )
    assert done.code == 0
    assert 'Warning: unknown field "spec.contaners"' in done.err


async def test_a_list_is_applied_item_by_item(api, ns, pod):
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [config, pod()]}
    assert await apply(api, ns, listed) == "configmap/a created\npod/web created\n"
    wrong = pod("wrong")
    wrong["spec"]["contaners"] = []
    text = yaml.safe_dump({**listed, "items": [config, wrong]})
    done = await api.kubectl("-n", ns, "apply", "-f", "-", stdin=text, check=False)
    assert done.code == 1
    assert 'unknown field "spec.contaners"' in done.err


async def test_pod_groups(api, ns, pod):
    group = {
        "apiVersion": "ironfree.dev/v1",
        "kind": "PodGroup",
        "metadata": {"name": "g"},
        "spec": {"minMember": 3, "scheduleTimeoutSeconds": 60},
    }
    assert await apply(api, ns, group) == "podgroup.ironfree.dev/g created\n"
    table = await api.kubectl("-n", ns, "get", "podgroups")
    header, row = table.splitlines()
    columns = ["NAME", "PHASE", "MIN", "MEMBERS", "SCHEDULED", "RUNNING", "AGE"]
    assert header.split() == columns
    assert row.split()[:-1] == ["g", "Pending", "3", "0", "0", "0"]
    group["spec"]["minMember"] = 5
    assert "configured" in await apply(api, ns, group)
    assert "minMember" in await api.kubectl("explain", "podgroup.spec")
    assert "5" in await api.kubectl("-n", ns, "describe", "pg", "g")
    group["spec"]["minMember"] = 5000
    text = yaml.safe_dump(group)
    refused = await api.kubectl("-n", ns, "apply", "-f", "-", stdin=text, check=False)
    assert "must be less than or equal to 4096" in refused.err
    member = pod(name="m")
    member["spec"]["schedulingGroup"] = {"podGroupName": "g"}
    done = await api.kubectl("-n", ns, "apply", "-f", "-", stdin=yaml.safe_dump(member))
    assert done == "pod/m created\n"
    assert "deleted" in await api.kubectl("-n", ns, "delete", "podgroup", "g")


async def test_kubectl_proxy(api, ns):
    process = await asyncio.create_subprocess_exec(
        *api.kubectl_command("proxy", "--port=0"),
        stdout=asyncio.subprocess.PIPE,
        env=api.kubectl_environment,
    )
    try:
        async with asyncio.timeout(30):
            said = (await process.stdout.readline()).decode()
        url = f"http://{said.split()[-1]}"
        path = f"{url}/api/v1/namespaces/{ns}/configmaps"
        body = {"metadata": {"name": "of-a-local-page"}}
        async with api.session.post(path, json=body, headers={"Origin": url}) as answer:
            assert answer.status == 201
    finally:
        process.terminate()
        await process.wait()
