"""ServiceAccounts may do what roles allow them, and neither give nor take what they have not."""

import json

import aiohttp
import pytest

from tests.integration.api.conftest import RIGHTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PODS = ("", "pods")
REVIEWS = "/apis/authorization.k8s.io/v1"
NOT_HELD = "is attempting to grant RBAC permissions not currently held:\n"


def place(ns, plural="pods", name=""):
    return f"/api/v1/namespaces/{ns}/{plural}{name and '/'}{name}"


def user(ns, name="robot"):
    return f"system:serviceaccount:{ns}:{name}"


async def test_a_role_allows_what_it_says_in_its_namespace(guarded, home, pod):
    robot = await guarded.robot(home, (("list", "create"), *PODS))
    other = await guarded.main.fresh_namespace()

    async def code(method, path, *body):
        return (await guarded.pods.call(method, path, *body, headers=robot)).code

    assert await code("POST", place(home), pod()) == 201
    assert await code("GET", place(home)) == 200
    assert await code("GET", place(home) + "?watch=true") == 403
    assert await code("GET", place(home, name="web")) == 403
    assert await code("DELETE", place(home)) == 403
    assert await code("GET", place(other)) == 403
    assert await code("POST", place(other), pod()) == 403
    refused = await guarded.pods.get("/api/v1/pods", headers=robot)
    assert refused.body["message"] == (
        f'pods is forbidden: User "{user(home)}" cannot list resource "pods" in API group "" at '
        "the cluster scope"
    )
    assert refused.body["details"] == {"kind": "pods"}
    refused = await guarded.pods.get(place(home, "secrets", "s"), headers=robot)
    assert refused.body["message"] == (
        f'secrets "s" is forbidden: User "{user(home)}" cannot get resource "secrets" in API '
        f'group "" in the namespace "{home}"'
    )


async def test_a_right_is_lost_with_its_binding(guarded, home):
    robot = await guarded.robot(home)
    await guarded.give(home, "robot", (("list",), *PODS), everywhere=True)
    assert (await guarded.pods.get("/api/v1/pods", headers=robot)).code == 200
    bound = await guarded.main.get(f"{RIGHTS}/clusterrolebindings")
    [name] = [
        each["metadata"]["name"]
        for each in bound.body["items"]
        if {"kind": "ServiceAccount", "name": "robot", "namespace": home} in each["subjects"]
    ]

    await guarded.main.call("DELETE", f"{RIGHTS}/clusterrolebindings/{name}")

    assert (await guarded.pods.get("/api/v1/pods", headers=robot)).code == 403


async def test_bulk_creation_at_the_cluster_takes_rights_everywhere(guarded, home, pod):
    robot = await guarded.robot(home, (("create",), *PODS))
    line = {**pod(), "metadata": {"name": "bulk", "namespace": home}}
    headers = {**robot, "Content-Type": "application/x-ndjson"}
    data = json.dumps(line).encode()

    refused = await guarded.pods.call("POST", "/api/v1/pods", headers=headers, data=data)
    assert refused.code == 403
    made = await guarded.pods.call("POST", place(home), headers=headers, data=data)
    assert made.code == 200
    assert '"ironfree.dev/created":"1"' in made.body


async def test_applying_what_is_not_there_takes_the_right_to_create(guarded, home):
    robot = await guarded.robot(home, (("patch",), "", "configmaps"))
    path = place(home, "configmaps", "c")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}

    async def apply():
        headers = {**robot, "Content-Type": "application/apply-patch+yaml"}
        data = json.dumps(body).encode()
        return await guarded.pods.call(
            "PATCH", path, headers=headers, data=data, fieldManager="robot"
        )

    refused = await apply()
    assert refused.code == 403
    assert (
        f'configmaps "c" is forbidden: User "{user(home)}" cannot create'
        in (refused.body["message"])
    )
    await guarded.main.post(place(home, "configmaps"), {"metadata": {"name": "c"}})
    assert (await apply()).code == 200
    await guarded.main.call("DELETE", path)
    await guarded.give(home, "robot", (("create",), "", "configmaps"))
    assert (await apply()).code == 201


async def test_rights_to_one_object_suffice_to_list_and_watch_it(guarded, home):
    robot = await guarded.robot(home)
    rule = {
        "verbs": ["get", "list", "watch", "delete"],
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["mine"],
    }
    await guarded.main.post(
        f"{RIGHTS}/namespaces/{home}/roles", {"metadata": {"name": "r"}, "rules": [rule]}
    )
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": home}
    bound = {
        "metadata": {"name": "r"},
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [subject],
    }
    await guarded.main.post(f"{RIGHTS}/namespaces/{home}/rolebindings", bound)
    path = place(home, "configmaps")
    for name in ("mine", "yours"):
        await guarded.main.post(path, {"metadata": {"name": name}})

    async def get(path, **params):
        return await guarded.pods.call("GET", path, headers=robot, **params)

    listed = await get(path, fieldSelector="metadata.name=mine")
    assert [each["metadata"]["name"] for each in listed.body["items"]] == ["mine"]
    assert (await get(f"{path}/mine")).code == 200
    for selector in ("", "metadata.name=yours", "metadata.name!=mine", "metadata.name"):
        assert (await get(path, fieldSelector=selector)).code == 403
    assert (await get(f"{path}/yours")).code == 403
    watched = await get(path, fieldSelector="metadata.name=mine", watch="true", timeoutSeconds="1")
    assert watched.code == 200
    assert b'"mine"' in watched.raw
    assert b'"yours"' not in watched.raw


async def test_a_page_of_others_is_not_turned(guarded, home):
    for name in ("a", "b", "c"):
        await guarded.main.post(place(home, "secrets"), {"metadata": {"name": name}})
    first = await guarded.main.get(place(home, "secrets"), limit="1")
    token = first.body["metadata"]["continue"]
    robot = await guarded.robot(home, (("list",), "", "configmaps"))

    async def turn(plural):
        path = place(home, plural)
        return await guarded.pods.call(
            "GET", path, headers=robot, **{"limit": "1", "continue": token}
        )

    assert (await turn("secrets")).code == 403
    assert (await turn("configmaps")).code == 400


async def test_a_namespace_is_asked_for_in_itself(guarded, home):
    robot = await guarded.robot(home, (("get",), "", "namespaces"))

    assert (await guarded.pods.get(f"/api/v1/namespaces/{home}", headers=robot)).code == 200
    assert (await guarded.pods.get("/api/v1/namespaces/default", headers=robot)).code == 403
    assert (await guarded.pods.get("/api/v1/namespaces", headers=robot)).code == 403


async def test_to_look_is_not_to_act_in_a_stream(guarded, home, pod):
    robot = await guarded.robot(home, (("get",), "", "pods/exec", "pods/log"))
    await guarded.main.post(place(home), pod())
    path = place(home, name="web/exec")

    refused = await guarded.pods.get(path, headers=robot, command="id", stdout="true")
    assert refused.code == 403
    assert 'cannot create resource "pods/exec"' in refused.body["message"]
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await guarded.pods.session.ws_connect(guarded.pods.url + path, headers=robot)
    assert error.value.status == 403
    assert (await guarded.pods.get(place(home, name="web/log"), headers=robot)).code == 400
    await guarded.give(home, "robot", (("create",), "", "pods/exec"))
    allowed = await guarded.pods.get(path, headers=robot, command="id", stdout="true")
    assert allowed.code == 400


ROLE_RULES = (("*",), "rbac.authorization.k8s.io", "roles", "rolebindings")


def role(*rules, name="new", kind="Role"):
    listed = [{"verbs": [*v], "apiGroups": [g], "resources": [*r]} for v, g, *r in rules]
    version = "rbac.authorization.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "rules": listed}


def binding(ref, name="new", kind="Role"):
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"kind": kind, "name": ref, "apiGroup": "rbac.authorization.k8s.io"},
    }


WRITING = (("create", "update", "patch", "delete"), "rbac.authorization.k8s.io")


async def test_nobody_writes_a_role_of_more_than_he_has(guarded, home):
    robot = await guarded.robot(home, (*WRITING, "roles", "rolebindings"), (("get", "list"), *PODS))
    roles = f"{RIGHTS}/namespaces/{home}/roles"

    async def post(body, path=roles, **more):
        return await guarded.pods.call("POST", path, body, headers={**robot, **more})

    assert (await post(role((("get", "list"), *PODS)))).code == 201
    more = role((("get", "delete"), "", "pods", "secrets"), name="more")
    refused = await post(more)
    assert refused.code == 403
    groups = f'["system:serviceaccounts" "system:serviceaccounts:{home}" "system:authenticated"]'
    assert refused.body["message"] == (
        f'roles.rbac.authorization.k8s.io "more" is forbidden: user "{user(home)}" '
        f"(groups={groups}) {NOT_HELD}"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}'
    )
    lines = json.dumps(more).encode()
    bulk = await guarded.pods.call(
        "POST", roles, headers={**robot, "Content-Type": "application/x-ndjson"}, data=lines
    )
    assert '"Forbidden"' in bulk.body
    listed = {"kind": "RoleList", "apiVersion": "v1", "items": [more]}
    assert (await post(listed)).body["items"][0]["reason"] == "Forbidden"
    dry = await guarded.pods.call("POST", roles, more, headers=robot, dryRun="All")
    assert dry.code == 403
    assert (await guarded.main.get(f"{roles}/more")).code == 404

    for method, content_type, body in (
        ("PUT", "application/json", role((("*",), *PODS))),
        ("PATCH", "application/merge-patch+json", role((("*",), *PODS))),
        ("PATCH", "application/strategic-merge-patch+json", role((("*",), *PODS))),
        (
            "PATCH",
            "application/json-patch+json",
            [{"op": "replace", "path": "/rules/0/verbs", "value": ["*"]}],
        ),
        ("PATCH", "application/apply-patch+yaml", role((("*",), *PODS))),
    ):
        headers = {**robot, "Content-Type": content_type}
        path = f"{roles}/new?fieldManager=r&force=true"
        refused = await guarded.pods.call(method, path, body, headers=headers)
        assert refused.code == 403, content_type
        assert NOT_HELD in refused.body["message"]
    applied = {**robot, "Content-Type": "application/apply-patch+yaml"}
    path = f"{roles}/more?fieldManager=r"
    assert (await guarded.pods.call("PATCH", path, more, headers=applied)).code == 403
    kept = await guarded.main.get(f"{roles}/new")
    assert kept.body["rules"][0]["verbs"] == ["get", "list"]
    less = {**robot, "Content-Type": "application/merge-patch+json"}
    smaller = {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}
    assert (await guarded.pods.call("PATCH", f"{roles}/new", smaller, headers=less)).code == 200

    await guarded.give(home, "robot", (("escalate",), "rbac.authorization.k8s.io", "roles"))
    assert (await post(more)).code == 201


async def test_what_collects_a_role_may_be_changed_by_whoever_may_write(guarded, home):
    robot = await guarded.robot(home, (*WRITING, "roles"))
    roles = f"{RIGHTS}/namespaces/{home}/roles"
    await guarded.main.post(roles, role((("*",), "", "secrets")))
    headers = {**robot, "Content-Type": "application/merge-patch+json"}

    async def patch(metadata):
        body = {"metadata": metadata}
        return (await guarded.pods.call("PATCH", f"{roles}/new", body, headers=headers)).code

    assert await patch({"finalizers": ["a.io/b"]}) == 200
    assert await patch({"labels": {"a": "b"}}) == 403


async def test_nobody_binds_a_role_of_more_than_he_has(guarded, home):
    robot = await guarded.robot(home, (*WRITING, "roles", "rolebindings"), (("get",), *PODS))
    base = f"{RIGHTS}/namespaces/{home}"
    await guarded.main.post(f"{base}/roles", role((("get",), *PODS), name="less"))
    await guarded.main.post(f"{base}/roles", role((("get",), "", "secrets"), name="more"))

    async def post(body):
        return await guarded.pods.call("POST", f"{base}/rolebindings", body, headers=robot)

    assert (await post(binding("less"))).code == 201
    for body in (binding("more"), binding("cluster-admin", kind="ClusterRole")):
        refused = await post({**body, "metadata": {"name": "b"}})
        assert refused.code == 403
        assert NOT_HELD in refused.body["message"]
    assert (await post(binding("nothing", name="b"))).code == 404
    patched = {**robot, "Content-Type": "application/merge-patch+json"}
    path, all_users = f"{base}/rolebindings/strong", {"subjects": [{"kind": "Group", "name": "g"}]}
    await guarded.main.post(f"{base}/rolebindings", binding("more", name="strong"))
    assert (await guarded.pods.call("PATCH", path, all_users, headers=patched)).code == 403

    await guarded.give(home, "robot", (("bind",), "rbac.authorization.k8s.io", "roles"))
    assert (await post(binding("more", name="b"))).code == 201
    everything = binding("cluster-admin", name="c", kind="ClusterRole")
    assert (await post(everything)).code == 403


async def test_a_role_of_the_cluster_takes_rights_in_the_whole_cluster(guarded, home):
    robot = await guarded.robot(home, (("*",), "", "secrets"))
    await guarded.give(home, "robot", (*WRITING, "clusterroles"), everywhere=True)

    async def post(body):
        return await guarded.pods.call("POST", f"{RIGHTS}/clusterroles", body, headers=robot)

    name = f"{home}-wide"
    assert (await post(role((("get",), "", "secrets"), name=name, kind="ClusterRole"))).code == 403
    collecting = {
        **role(name=name, kind="ClusterRole"),
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
    }
    refused = await post(collecting)
    assert refused.code == 403
    assert (
        "must have cluster-admin privileges to use an aggregationRule" in (refused.body["message"])
    )
    assert (await post(role(name=name, kind="ClusterRole"))).code == 201


async def as_user(guarded, robot, name, path="/api/v1/nodes", **more):
    headers = {**robot, "Impersonate-User": name, **more}
    return await guarded.pods.get(path, headers=headers)


async def test_nobody_is_somebody_else_without_a_right(guarded, home):
    robot = await guarded.robot(home, (("impersonate",), "", "serviceaccounts"))
    await guarded.account(home, "other")
    await guarded.give(home, "other", (("list",), *PODS))

    allowed = await as_user(guarded, robot, user(home, "other"), place(home))
    assert allowed.code == 200
    own = await guarded.pods.get(place(home), headers=robot)
    assert own.code == 403
    for name, more, says in (
        ("jane", {}, 'users "jane" is forbidden'),
        (user("default", "x"), {}, 'in the namespace "default"'),
        (user(home, "other"), {"Impersonate-Group": "system:masters"}, 'groups "system:masters"'),
        (user(home, "other"), {"Impersonate-Uid": "u"}, 'uids.authentication.k8s.io "u"'),
        (user(home, "other"), {"Impersonate-Extra-A%2Fb": "c"}, '"userextras/a/b"'),
    ):
        refused = await as_user(guarded, robot, name, **more)
        assert refused.code == 403
        assert "cannot impersonate resource" in refused.body["message"]
        assert says in refused.body["message"]
    nameless = {**robot, "Impersonate-Group": "system:masters"}
    assert (await guarded.pods.get("/api/v1/nodes", headers=nameless)).code == 400
    refused = await guarded.pods.get("/api/v1/nodes", headers={"Impersonate-User": "jane"})
    assert (refused.code, "system:anonymous" in refused.body["message"]) == (403, True)


async def test_an_administrator_is_anybody(guarded, home):
    await guarded.robot(home, (("list",), *PODS))

    async def get(path, **headers):
        return (await guarded.main.call("GET", path, headers=headers)).code

    robot = {"Impersonate-User": user(home)}
    assert await get(place(home), **robot) == 200
    assert await get(place(home, "secrets"), **robot) == 403
    masters = {"Impersonate-User": "jane", "Impersonate-Group": "system:masters"}
    assert await get(place(home, "secrets"), **masters) == 200
    who = await guarded.main.post(
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        {},
        headers={
            "Impersonate-User": "jane",
            "Impersonate-Extra-Scopes": "a",
            "Impersonate-Uid": "u",
        },
    )
    assert who.body["status"]["userInfo"] == {
        "username": "jane",
        "uid": "u",
        "groups": ["system:authenticated"],
        "extra": {"scopes": ["a"]},
    }


def access(ns, resource="pods", verb="list", **more):
    return {"namespace": ns, "verb": verb, "resource": resource, **more}


async def test_reviews_of_oneself_are_true(guarded, home):
    robot = await guarded.robot(home, (("list",), *PODS), (("update",), "apps", "*/scale"))

    async def may(**spec):
        path = f"{REVIEWS}/selfsubjectaccessreviews"
        answer = await guarded.pods.post(path, {"spec": spec}, headers=robot)
        assert answer.code == 201, answer.body
        return answer.body["status"]

    yes = await may(resourceAttributes=access(home))
    assert yes["allowed"]
    assert f'to ServiceAccount "robot/{home}"' in yes["reason"]
    assert await may(resourceAttributes=access(home, "secrets")) == {"allowed": False}
    scale = {"group": "apps", "subresource": "scale", "verb": "update"}
    assert (await may(resourceAttributes={**access(home, "deployments"), **scale}))["allowed"]
    assert not (await may(resourceAttributes=access("")))["allowed"]
    assert (await may(nonResourceAttributes={"verb": "get", "path": "/version"}))["allowed"]
    assert not (await may(nonResourceAttributes={"verb": "get", "path": "/metrics"}))["allowed"]
    for spec in ({}, {"resourceAttributes": {}, "nonResourceAttributes": {}}):
        path = f"{REVIEWS}/selfsubjectaccessreviews"
        assert (await guarded.pods.post(path, {"spec": spec}, headers=robot)).code == 422

    path, spec = f"{REVIEWS}/selfsubjectrulesreviews", {"namespace": home}
    found = (await guarded.pods.post(path, {"spec": spec}, headers=robot)).body["status"]
    rule = {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}
    assert rule in found["resourceRules"]
    assert {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version",
            "/version/"]} in found["nonResourceRules"]  # fmt: skip
    assert (await guarded.pods.post(path, {"spec": {}}, headers=robot)).code == 400


async def test_reviews_of_others_are_true(guarded, home):
    robot = await guarded.robot(home, (("list",), *PODS))
    path = f"{REVIEWS}/subjectaccessreviews"
    local = f"{REVIEWS}/namespaces/{home}/localsubjectaccessreviews"

    async def may(path=path, **spec):
        return await guarded.main.post(path, {"spec": spec})

    asked = {"user": user(home), "resourceAttributes": access(home)}
    for where in (path, local):
        assert (await may(where, **asked)).body["status"]["allowed"]
        refused = {**asked, "resourceAttributes": access(home, verb="delete")}
        assert not (await may(where, **refused)).body["status"]["allowed"]
        assert (await guarded.pods.post(where, {"spec": asked}, headers=robot)).code == 403
    group = {"groups": ["system:masters"], "user": "x", "resourceAttributes": access(home)}
    assert (await may(**group)).body["status"]["allowed"]
    assert (await may(resourceAttributes=access(home))).code == 422
    assert (await may(local, **{**asked, "resourceAttributes": access("default")})).code == 422
    no_resource = {"user": "x", "nonResourceAttributes": {"verb": "get", "path": "/version"}}
    assert (await may(local, **no_resource)).code == 422
    assert not (await may(**no_resource)).body["status"]["allowed"]
    extra = {**asked, "extra": {"a": ["b"]}, "uid": "u"}
    assert (await may(**extra)).body["status"]["allowed"]


async def test_the_default_roles_do_what_they_say(guarded, home, pod):
    for name in ("view", "edit", "admin"):
        await guarded.account(home, name)
        subject = {"kind": "ServiceAccount", "name": name, "namespace": home}
        bound = {**binding(name, name=name, kind="ClusterRole"), "subjects": [subject]}
        made = await guarded.main.post(f"{RIGHTS}/namespaces/{home}/rolebindings", bound)
        assert made.code == 201

    async def get(name, path):
        headers = {"Impersonate-User": user(home, name)}
        return (await guarded.main.call("GET", path, headers=headers)).code

    assert [await get(n, place(home)) for n in ("view", "edit", "admin")] == [200, 200, 200]
    secrets = place(home, "secrets")
    assert [await get(n, secrets) for n in ("view", "edit", "admin")] == [403, 200, 200]
    roles = f"{RIGHTS}/namespaces/{home}/roles"
    assert [await get(n, roles) for n in ("view", "edit", "admin")] == [403, 403, 200]
    assert await get("admin", place("default")) == 403
    headers = {"Impersonate-User": user(home, "admin")}
    base = f"{RIGHTS}/namespaces/{home}/rolebindings"
    handed_on = binding("edit", name="jane", kind="ClusterRole")
    assert (await guarded.main.call("POST", base, handed_on, headers=headers)).code == 201
    too_much = binding("cluster-admin", name="j", kind="ClusterRole")
    assert (await guarded.main.call("POST", base, too_much, headers=headers)).code == 403


async def test_kubectl_asks_about_others(guarded, home):
    await guarded.robot(home, (("list", "get"), *PODS))
    robot = f"--as={user(home)}"

    async def can(*arguments):
        done = await guarded.main.kubectl("auth", "can-i", *arguments, check=False)
        return done.code, done.out.strip()

    assert await can("list", "pods", robot, "-n", home) == (0, "yes")
    assert await can("delete", "pods", robot, "-n", home) == (1, "no")
    assert await can("list", "pods", robot, "-n", "default") == (1, "no")
    assert await can("list", "pods", robot, "-A") == (1, "no")
    assert await can("get", "/version", robot) == (0, "yes")
    assert await can("*", "*") == (0, "yes")
    code, listed = await can("--list", robot, "-n", home)
    assert code == 0
    assert "[get list]" in listed or "[list get]" in listed


async def test_kubectl_creates_tokens_and_says_who_one_is(guarded, home):
    await guarded.account(home)
    command = ("create", "token", "robot", "-n", home)

    token = (await guarded.main.kubectl(*command, "--duration=20m")).strip()

    shown_to = ("--token", token, "--certificate-authority", str(guarded.pods.authority))
    shown = await guarded.pods.kubectl(*shown_to, "auth", "whoami")
    assert user(home) in shown
    assert "JTI=" in shown
    refused = await guarded.pods.kubectl(*shown_to, "get", "pods", "-n", home, check=False)
    assert refused.code == 1
    assert f'Error from server (Forbidden): pods is forbidden: User "{user(home)}" cannot list' in (
        refused.err
    )
    await guarded.give(home, "robot", (("list",), *PODS))
    found = await guarded.pods.kubectl(*shown_to, "get", "pods", "-n", home, check=False)
    assert found.err.startswith("No resources found")
    short = await guarded.main.kubectl(*command, "--duration=1m", check=False)
    assert "may not specify a duration less than 10 minutes" in short.err


async def test_only_administrators_send_long_bodies(guarded, home, pod):
    """What everybody may ask must not fill memory."""
    robot = await guarded.robot(home, (("create",), *PODS))
    asked = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
    items = {"kind": "List", "apiVersion": "v1", "items": [pod()]}

    async def code(door, path, body):
        data = json.dumps(body).encode() + b" " * (4 << 20)
        headers = {"Content-Type": "application/json", **(robot if door is guarded.pods else {})}
        return (await door.call("POST", path, headers=headers, data=data)).code

    for door in (guarded.pods, guarded.main):
        assert await code(door, f"{REVIEWS}/selfsubjectaccessreviews", {"spec": asked}) == 413
        assert await code(door, place(home), pod()) == 413
    assert await code(guarded.pods, place(home), items) == 413
    assert await code(guarded.main, place(home), items) == 200


ADOPTS = "ironfree.dev/adopts"


async def test_to_adopt_a_container_takes_the_right_to_adoptions(guarded, home, pod):
    robot = await guarded.robot(home, (("create", "update", "patch"), *PODS))

    def adopting(name, container="a" * 64):
        made = pod(name, schedulerName="ironfree-adoption", nodeName="n")
        made["metadata"]["annotations"] = {ADOPTS: container}
        return made

    async def create(body, content_type="application/json"):
        headers = {**robot, "Content-Type": content_type}
        return await guarded.pods.call("POST", place(home), body, headers=headers)

    async def patch(name, container, content_type="application/merge-patch+json"):
        body = {"metadata": {"annotations": {ADOPTS: container}}}
        if "apply" in content_type:
            body |= {"apiVersion": "v1", "kind": "Pod"}
        headers = {**robot, "Content-Type": content_type}
        path = place(home, name=f"{name}?fieldManager=r&force=true")
        return await guarded.pods.call("PATCH", path, body, headers=headers)

    assert (await create(pod("plain"))).code == 201
    whole = adopting("plain")
    whole["spec"] = (await guarded.main.get(place(home, name="plain"))).body["spec"]
    listed = {"kind": "List", "apiVersion": "v1", "items": [adopting("listed")]}
    refused = await create(adopting("new"))
    assert refused.code == 403
    assert refused.body["message"] == (
        f'adoptions.ironfree.dev is forbidden: User "{user(home)}" cannot create resource '
        f'"adoptions" in API group "ironfree.dev" in the namespace "{home}": Pod new has the '
        f"annotation {ADOPTS}: it takes this right, too"
    )
    unmarked = adopting("unmarked")
    del unmarked["metadata"]["annotations"]
    assert (await create(unmarked)).code == 201
    assert (await create(adopting("new"))).code == 403, "a spec seen before makes no difference"
    assert (await create(listed)).body["items"][0]["reason"] == "Forbidden"
    assert '"Forbidden"' in (await create(adopting("line"), "application/x-ndjson")).body
    for method in ("merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"):
        assert (await patch("plain", "b" * 64, f"application/{method}")).code == 403
    put = await guarded.pods.call("PUT", place(home, name="plain"), whole, headers=robot)
    assert put.code == 403
    mine = await guarded.main.get(place(home))
    assert [each["metadata"]["name"] for each in mine.body["items"]] == ["plain", "unmarked"]

    assert (await guarded.main.post(place(home), adopting("theirs"))).code == 201
    assert (await patch("theirs", "b" * 64)).code == 403
    labels = {"metadata": {"labels": {"a": "b"}}}
    headers = {**robot, "Content-Type": "application/merge-patch+json"}
    path = place(home, name="theirs")
    assert (await guarded.pods.call("PATCH", path, labels, headers=headers)).code == 200
    assert (await patch("theirs", None)).code == 200
    await guarded.give(home, "robot", (("create",), "ironfree.dev", "adoptions"))
    assert (await create(adopting("new"))).code == 201
    assert (await patch("plain", "b" * 64)).code == 200


async def test_a_placement_that_moves_pods_takes_the_right_to_rebalance(guarded, home):
    robot = await guarded.robot(home, (("create", "patch"), "ironfree.dev", "placements"))
    path = f"/apis/ironfree.dev/v1/namespaces/{home}/placements"

    async def create(name, moves):
        limits = {"maxMoves": moves, "maxPreemptions": 1}
        spec = {"pods": {"selector": {}}, "limits": limits}
        body = {"metadata": {"name": name}, "spec": spec}
        return await guarded.pods.call("POST", path, body, headers=robot)

    assert (await create("still", 0)).code == 201
    refused = await create("moves", 1)
    assert refused.code == 403
    assert 'cannot create resource "rebalances"' in refused.body["message"]
    await guarded.give(home, "robot", (("create",), "ironfree.dev", "rebalances"), everywhere=True)
    assert (await create("moves", 1)).code == 201
    headers = {**robot, "Content-Type": "application/merge-patch+json"}
    cancelled = {"spec": {"cancelled": True}}
    ended = await guarded.pods.call("PATCH", f"{path}/moves", cancelled, headers=headers)
    assert ended.code == 200


@pytest.mark.parametrize(
    ("path", "within"),
    [
        ("/api/v1/namespaces/{}/replicationcontrollers", ()),
        ("/apis/apps/v1/namespaces/{}/replicasets", ()),
        ("/apis/apps/v1/namespaces/{}/deployments", ()),
        ("/apis/apps/v1/namespaces/{}/daemonsets", ()),
        ("/apis/apps/v1/namespaces/{}/statefulsets", ()),
        ("/apis/batch/v1/namespaces/{}/jobs", ()),
        ("/apis/batch/v1/namespaces/{}/cronjobs", ("jobTemplate", "spec")),
    ],
)
async def test_no_template_adopts(guarded, home, pod, path, within):
    labels = {"app": "t"}
    job = "batch" in path
    inner = pod(restartPolicy="Never")["spec"] if job else pod()["spec"]
    template = {"metadata": {"labels": labels, "annotations": {ADOPTS: "a" * 64}}, "spec": inner}
    spec = {"template": template}
    if not job:
        spec["selector"] = labels if "replicationcontrollers" in path else {"matchLabels": labels}
    for key in reversed(within):
        spec = {key: spec}
    spec |= {"schedule": "* * * * *"} if within else {}
    body = {"metadata": {"name": "t"}, "spec": spec}

    refused = await guarded.main.post(path.format(home), body)

    field = ".".join(("spec", *within, f"template.metadata.annotations[{ADOPTS}]"))
    assert refused.code == 422
    assert [cause["field"] for cause in refused.body["details"]["causes"]] == [field]
    del template["metadata"]["annotations"]
    assert (await guarded.main.post(path.format(home), body)).code == 201
