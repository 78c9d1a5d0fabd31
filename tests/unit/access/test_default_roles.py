"""What the roles that every cluster starts with allow, and that they are well-formed."""

from typing import Any

import pytest

from scheduler.access import DEFAULT_ROLES
from scheduler.access.rbac import Attributes, allows
from scheduler.objects import checking
from scheduler.objects.kinds import ALL_KINDS, REGISTRY
from scheduler.objects.role import Rule, rules_of

ROLES: dict[str, Any] = {
    each["metadata"]["name"]: each for each in DEFAULT_ROLES if each["kind"] == "ClusterRole"
}
BINDINGS: dict[str, Any] = {
    each["metadata"]["name"]: each for each in DEFAULT_ROLES if each["kind"] != "ClusterRole"
}
READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")


def rules(name: str) -> tuple[Rule, ...]:
    return rules_of(ROLES[name])


def may(name: str, verb: str, resource: str, group: str = "", subresource: str = "") -> bool:
    wanted = Attributes(verb, "n", group, resource, subresource, "x")
    return any(allows(rule, wanted) for rule in rules(name))


@pytest.mark.parametrize("obj", DEFAULT_ROLES, ids=lambda each: each["metadata"]["name"])
def test_they_are_valid(obj: Any) -> None:
    kind = REGISTRY.by_gvk(obj["apiVersion"], obj["kind"])
    assert kind is not None
    assert checking.check(kind.message, obj) == []
    assert [*kind.validate(obj)] == []
    assert obj["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults"}


def test_only_administrators_are_bound_to_everything() -> None:
    assert {name: {s["name"] for s in b["subjects"]} for name, b in BINDINGS.items()} == {
        "cluster-admin": {"system:masters"},
        "system:basic-user": {"system:authenticated"},
        "system:discovery": {"system:authenticated"},
        "system:public-info-viewer": {"system:authenticated", "system:unauthenticated"},
    }
    assert all(name == b["roleRef"]["name"] for name, b in BINDINGS.items())


def test_strangers_see_health_and_version_alone() -> None:
    paths = ("/healthz", "/livez", "/readyz", "/version", "/metrics", "/api", "/openapi/v3")
    seen = [
        path
        for path in paths
        if any(allows(r, Attributes("get", path=path)) for r in rules("system:public-info-viewer"))
    ]
    assert seen == ["/healthz", "/livez", "/readyz", "/version"]


def test_whoever_views_reads_no_secrets_and_writes_nothing() -> None:
    assert not any(may("view", verb, "secrets") for verb in (*READ, *WRITE))
    assert may("view", "list", "pods")
    assert may("view", "get", "pods", subresource="log")
    for kind in ALL_KINDS:
        assert not any(may("view", verb, kind.plural, kind.group) for verb in WRITE)
        if kind.group == "ironfree.dev" and "get" in kind.verbs:
            assert may("view", "watch", kind.plural, kind.group), kind.plural
    for stream in ("attach", "exec", "portforward"):
        assert not any(may("view", verb, "pods", subresource=stream) for verb in ("get", "create"))
    assert not may("view", "list", "roles", "rbac.authorization.k8s.io")
    assert not may("view", "create", "serviceaccounts", subresource="token")


def test_whoever_edits_runs_pods_but_gives_no_rights() -> None:
    assert may("edit", "create", "deployments", "apps")
    assert may("edit", "update", "deployments", "apps", "scale")
    assert may("edit", "create", "pods", subresource="exec")
    assert may("edit", "get", "secrets")
    for kind in ("roles", "rolebindings", "clusterroles", "clusterrolebindings"):
        assert not any(may("edit", v, kind, "rbac.authorization.k8s.io") for v in (*READ, *WRITE))
    for verb in WRITE:
        assert not may("edit", verb, "resourcequotas")
        assert not may("edit", verb, "nodes")
        assert not may("edit", verb, "endpointslices", "discovery.k8s.io")
        assert not may("edit", verb, "dockerhosts", "ironfree.dev")


def test_an_administrator_of_a_namespace_does_not_get_beyond_what_he_has() -> None:
    assert may("admin", "create", "rolebindings", "rbac.authorization.k8s.io")
    for verb in ("bind", "escalate"):
        assert not may("admin", verb, "roles", "rbac.authorization.k8s.io")
        assert not may("admin", verb, "clusterroles", "rbac.authorization.k8s.io")
    assert not may("admin", "update", "resourcequotas")
    assert not may("admin", "delete", "namespaces")


@pytest.mark.parametrize("name", ["edit", "admin"])
def test_whoever_edits_a_namespace_does_nothing_to_the_hosts_of_all(name: str) -> None:
    for kind in ALL_KINDS:
        if kind.group == "ironfree.dev":
            written = any(may(name, verb, kind.plural, kind.group) for verb in WRITE)
            assert written == (kind.plural in {"explanations", "placements", "podgroups"})
    assert may(name, "get", "imagebuilds", "ironfree.dev")
    assert not may(name, "update", "imagebuilds", "ironfree.dev", "context")


def test_to_build_images_is_a_role_of_its_own() -> None:
    role = "ironfree-image-builder"
    assert all(may(role, verb, "imagebuilds", "ironfree.dev") for verb in (*READ, *WRITE))
    assert may(role, "update", "imagebuilds", "ironfree.dev", "context")
    for kind in ALL_KINDS:
        if kind.plural != "imagebuilds":
            verbs = (*READ, *WRITE)
            assert not any(may(role, verb, kind.plural, kind.group) for verb in verbs)
