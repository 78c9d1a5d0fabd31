"""Pod Security levels of a namespace, as the API enforces them."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")
LABEL = "pod-security.kubernetes.io/"


def pod(name, **spec):
    spec = {"containers": [{"name": "c", "image": "i:1"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def controller(api, ns, template):
    """Make a ReplicationController of no pods."""
    body = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "rc"},
        "spec": {"replicas": 0, "selector": {"a": "b"}, "template": template},
    }
    return await api.post(f"/api/v1/namespaces/{ns}/replicationcontrollers", body)


async def label(api, ns, **levels):
    labels = {LABEL + mode: level for mode, level in levels.items()}
    patch = {"metadata": {"labels": labels}}
    headers = {"Content-Type": "application/merge-patch+json"}
    return await api.call("PATCH", f"/api/v1/namespaces/{ns}", patch, headers=headers)


@pytest.mark.parametrize("known", [False, True], ids=["first", "repeated"])
async def test_enforce_refuses_a_pod_even_if_its_spec_was_seen_before(api, ns, known):
    if known:
        assert (
            await api.post(f"/api/v1/namespaces/{ns}/pods", pod("before", hostPID=True))
        ).code == 201
    assert (await label(api, ns, enforce="baseline")).code == 200
    answer = await api.post(f"/api/v1/namespaces/{ns}/pods", pod("bad", hostPID=True))
    assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
    assert answer.body["message"] == (
        'pods "bad" is forbidden: violates PodSecurity "baseline:latest": host namespaces '
        "(hostPID=true)"
    )
    assert (await api.post(f"/api/v1/namespaces/{ns}/pods", pod("good"))).code == 201
    assert (await label(api, ns, enforce="privileged")).code == 200
    assert (await api.post(f"/api/v1/namespaces/{ns}/pods", pod("bad", hostPID=True))).code == 201


async def test_warn_tells_and_lets_pass_templates_too(api, ns):
    await label(api, ns, warn="restricted")
    answer = await api.post(f"/api/v1/namespaces/{ns}/pods", pod("loud"))
    assert answer.code == 201
    assert "would violate PodSecurity" in answer.headers["Warning"]
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    answer = await controller(api, ns, template)
    assert answer.code == 201
    assert "would violate PodSecurity" in answer.headers["Warning"]


async def test_an_apparmor_profile_may_be_named_by_annotation(api, ns):
    key = "container.apparmor.security.beta.kubernetes.io/"
    pods = f"/api/v1/namespaces/{ns}/pods"

    async def made(name, **profiles):
        obj = pod(name)
        annotations = {key + each: value for each, value in profiles.items()}
        return await api.post(pods, {**obj, "metadata": {"name": name, "annotations": annotations}})

    def profile(answer):
        security = answer.body["spec"]["containers"][0].get("securityContext", {})
        return security.get("appArmorProfile")

    assert profile(await api.post(pods, pod("none"))) is None
    local = {"type": "Localhost", "localhostProfile": "x"}
    assert profile(await made("local", c="localhost/x")) == local
    assert profile(await made("usual", c="runtime/default")) == {"type": "RuntimeDefault"}
    assert profile(await made("free", c="unconfined")) == {"type": "Unconfined"}
    other = await made("other", d="unconfined")
    assert profile(other) is None
    assert "no such container" in other.headers["Warning"]
    wrong = await made("wrong", c="Unconfined")
    assert wrong.code == 422
    assert (
        'appArmorProfile.type: Unsupported value: "annotated Unconfined"' in wrong.body["message"]
    )
    await label(api, ns, enforce="baseline", warn="baseline")
    assert (await made("again", c="unconfined")).code == 403
    template = {
        "metadata": {"labels": {"a": "b"}, "annotations": {key + "c": "unconfined"}},
        "spec": pod("x")["spec"],
    }
    answer = await controller(api, ns, template)
    assert "appArmorProfile" in answer.headers["Warning"]
    held = answer.body["spec"]["template"]["spec"]["containers"][0]
    assert "appArmorProfile" not in held.get("securityContext", {}), "templates stay as they are"


async def test_a_level_that_is_none_is_refused(api, ns):
    answer = await label(api, ns, enforce="baselin")
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
