"""pods/{name}/ephemeralcontainers: containers put into a pod that runs."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRATEGIC = "application/strategic-merge-patch+json"
LOOKER = {"name": "looker", "image": "tools:1", "targetContainerName": "c", "stdin": True}


async def add(api, path, *containers, **headers):
    return await api.call(
        "PATCH",
        f"{path}/ephemeralcontainers",
        {"spec": {"ephemeralContainers": list(containers)}},
        headers={"Content-Type": STRATEGIC, **headers},
    )


async def test_they_are_added_and_never_changed(api, ns, pod):
    path = f"/api/v1/namespaces/{ns}/pods/web"
    made = (await api.post(f"/api/v1/namespaces/{ns}/pods", pod())).body
    first = await add(api, path, LOOKER)
    assert first.code == 200
    (added,) = first.body["spec"]["ephemeralContainers"]
    assert LOOKER.items() <= added.items()
    assert added["imagePullPolicy"] == "IfNotPresent"
    assert first.body["metadata"]["generation"] == made["metadata"]["generation"] + 1
    second = await add(api, path, {"name": "other", "image": "tools:1"})
    names = [each["name"] for each in second.body["spec"]["ephemeralContainers"]]
    assert sorted(names) == ["looker", "other"]
    assert (await api.get(f"{path}/ephemeralcontainers")).body == (await api.get(path)).body
    changed = await add(api, path, {"name": "looker", "image": "tools:2"})
    assert changed.code == 422
    assert "may not be removed or changed" in changed.body["message"]
    labelled = await api.call(
        "PATCH",
        path,
        {"metadata": {"labels": {"a": "b"}}},
        headers={"Content-Type": STRATEGIC},
    )
    assert labelled.code == 200, "such a pod can still be written"


async def test_nothing_else_is_written_through_them(api, ns, pod):
    path = f"/api/v1/namespaces/{ns}/pods/web"
    made = (await api.post(f"/api/v1/namespaces/{ns}/pods", pod())).body
    wanted = {**made, "metadata": {**made["metadata"], "labels": {"x": "y"}}}
    wanted["spec"] = {**made["spec"], "containers": [], "ephemeralContainers": [LOOKER]}
    answer = await api.call("PUT", f"{path}/ephemeralcontainers", wanted)
    assert answer.code == 200
    assert answer.body["spec"]["containers"] == made["spec"]["containers"]
    assert answer.body["metadata"]["labels"] == made["metadata"]["labels"]
    wanted = (await api.get(path)).body
    wanted["spec"]["ephemeralContainers"] = []
    answer = await api.call("PUT", path, wanted)
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"name": "looker"}, "image: Required"),
        ({**LOOKER, "name": "c"}, "Duplicate"),
        ({**LOOKER, "targetContainerName": "none"}, "must be a container of the pod"),
        ({**LOOKER, "ports": [{"containerPort": 80}]}, "may not be set for ephemeral containers"),
        ({**LOOKER, "resources": {"limits": {"cpu": "1"}}}, "may not be set for ephemeral"),
        ({**LOOKER, "securityContext": {"procMount": "Bare"}}, "securityContext.procMount"),
    ],
)
async def test_what_they_may_not_be(api, ns, pod, container, words):
    path = f"/api/v1/namespaces/{ns}/pods/web"
    await api.post(f"/api/v1/namespaces/{ns}/pods", pod())
    answer = await add(api, path, container)
    assert answer.code == 422
    assert words in answer.body["message"]


async def test_a_pod_does_not_begin_with_them(api, ns, pod):
    answer = await api.post(f"/api/v1/namespaces/{ns}/pods", pod(ephemeralContainers=[LOOKER]))
    assert answer.code == 422
    assert "spec.ephemeralContainers: Forbidden: cannot be set on create" in answer.body["message"]
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": pod(ephemeralContainers=[LOOKER])["spec"],
    }
    controller = {"metadata": {"name": "rc"}, "spec": {"template": template}}
    answer = await api.post(f"/api/v1/namespaces/{ns}/replicationcontrollers", controller)
    assert answer.code == 422
    assert "spec.template.spec.ephemeralContainers: Forbidden" in answer.body["message"]


async def test_a_capability_that_kubectl_asks_for_is_given(api, ns, pod):
    path = f"/api/v1/namespaces/{ns}/pods/web"
    await api.post(f"/api/v1/namespaces/{ns}/pods", pod())
    security = {"capabilities": {"add": ["SYS_PTRACE"]}}
    answer = await add(api, path, {**LOOKER, "securityContext": security})
    assert answer.code == 200
    assert "Warning" not in answer.headers
