"""The ClusterRoles and bindings that every cluster starts with; whoever changes them keeps that.

Names and meaning are Kubernetes'; rules are for what is served here. `admin`, `edit` and `view` are
for RoleBindings: each says all that it allows, none is put together from others.
"""

from collections.abc import Sequence

from ..objects.json import Json, JsonObject
from ..objects.role import CLUSTER_ROLE, GROUP, USER_GROUP
from .identity import AUTHENTICATED, MASTERS, UNAUTHENTICATED

_LABELS: JsonObject = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_HEALTH = ("/healthz", "/livez", "/readyz")
_VERSION = ("/version", "/version/")
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*")

_CORE = (
    "configmaps",
    "events",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "services",
)
"""Core kinds that whoever may edit a namespace writes."""
_READ_ONLY = (
    "endpoints",  # whoever writes them leads a Service's clients anywhere, as EndpointSlices do
    "limitranges",
    "namespaces",
    "pods/log",
    "resourcequotas",
    "serviceaccounts",
)
_WORKLOADS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("apps", ("daemonsets", "deployments", "replicasets", "statefulsets")),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("batch", ("cronjobs", "jobs")),
    ("networking.k8s.io", ("ingresses", "networkpolicies")),
    ("policy", ("poddisruptionbudgets",)),
)
_SCALED = (
    ("", ("replicationcontrollers/scale",)),
    ("apps", ("deployments/scale", "replicasets/scale", "statefulsets/scale")),
)
_OWN = "ironfree.dev"
_OWN_WRITTEN = ("placements", "podgroups")
_BUILDS = "imagebuilds"  # a build's image may be given any name, on every host
_OWN_CLUSTER = ("dockerhosts", "imagemanifests", "imageprepulls", "rebalances")
_STATUS = (
    ("", ("persistentvolumeclaims/status", "pods/status", "services/status")),
    ("", ("replicationcontrollers/status", "resourcequotas/status", "namespaces/status")),
    ("apps", ("daemonsets/status", "deployments/status", "replicasets/status")),
    ("apps", ("statefulsets/status",)),
    ("autoscaling", ("horizontalpodautoscalers/status",)),
    ("batch", ("cronjobs/status", "jobs/status")),
    ("networking.k8s.io", ("ingresses/status",)),
    ("policy", ("poddisruptionbudgets/status",)),
    (_OWN, tuple(f"{each}/status" for each in (_BUILDS, *_OWN_WRITTEN, *_OWN_CLUSTER))),
)


def _texts(given: Sequence[str]) -> list[Json]:
    return [*given]


def _rule(verbs: Sequence[str], group: str, *resources: str) -> JsonObject:
    return {
        "verbs": _texts(verbs),
        "apiGroups": [group],
        "resources": _texts(resources),
    }


def _urls(*paths: str) -> JsonObject:
    return {"verbs": ["get"], "nonResourceURLs": _texts(paths)}


def _view() -> list[JsonObject]:
    """Reading a namespace, but neither Secrets nor who has which rights."""
    return [
        _rule(_READ, "", *_CORE, *_READ_ONLY),
        _rule(_READ, "apps", "controllerrevisions"),
        _rule(_READ, "discovery.k8s.io", "endpointslices"),
        *(_rule(_READ, group, *kinds) for group, kinds in (*_WORKLOADS, *_SCALED, *_STATUS)),
        _rule(_READ, _OWN, _BUILDS, *_OWN_WRITTEN, *_OWN_CLUSTER, "placements/assignments"),
        _rule(("get", "list"), "metrics.k8s.io", "nodes", "pods"),
    ]


def _edit() -> list[JsonObject]:
    """Running workloads in a namespace; being any of its ServiceAccounts, by pods or tokens."""
    streams = ("pods/attach", "pods/exec", "pods/portforward")
    return [
        *_view(),
        _rule((*_READ, *_WRITE), "", "secrets"),
        _rule(_WRITE, "", *_CORE, "serviceaccounts"),
        *(_rule(_WRITE, group, *kinds) for group, kinds in _WORKLOADS),
        *(_rule(("patch", "update"), group, *kinds) for group, kinds in _SCALED),
        _rule(("get", "create"), "", *streams),
        _rule(("get", "patch", "update"), "", "pods/ephemeralcontainers"),
        _rule(("create",), "", "pods/eviction", "serviceaccounts/token"),
        _rule(("impersonate",), "", "serviceaccounts"),
        _rule((*_READ, *_WRITE), "coordination.k8s.io", "leases"),
        _rule(_WRITE, _OWN, *_OWN_WRITTEN),
        _rule(("create",), _OWN, "explanations"),
    ]


def _admin() -> list[JsonObject]:
    """Everything in a namespace but its quotas and itself: also who has which rights there."""
    return [
        *_edit(),
        _rule((*_READ, *_WRITE), GROUP, "rolebindings", "roles"),
        _rule(("create",), "authorization.k8s.io", "localsubjectaccessreviews"),
    ]


def _image_builder() -> list[JsonObject]:
    """Building images: as root, under names that pods of other namespaces may be using."""
    return [
        _rule((*_READ, *_WRITE), _OWN, _BUILDS),
        _rule(_READ, _OWN, f"{_BUILDS}/status"),
        _rule(("update",), _OWN, f"{_BUILDS}/context"),
    ]


def _role(name: str, rules: Sequence[JsonObject]) -> JsonObject:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": CLUSTER_ROLE,
        "metadata": {"name": name, "labels": {**_LABELS}},
        "rules": [*rules],
    }


def _binding(name: str, *groups: str) -> JsonObject:
    """Return the binding of a role to groups, which is called as the role."""
    subjects: list[Json] = [
        {"kind": USER_GROUP, "name": each, "apiGroup": GROUP} for each in groups
    ]
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": {**_LABELS}},
        "subjects": subjects,
        "roleRef": {"apiGroup": GROUP, "kind": CLUSTER_ROLE, "name": name},
    }


_ALL: JsonObject = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_ALL_URLS: JsonObject = {"verbs": ["*"], "nonResourceURLs": ["*"]}
_OF_ONESELF = _rule(
    ("create",), "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"
)
_ONESELF = _rule(("create",), "authentication.k8s.io", "selfsubjectreviews")
_JUDGING = (
    _rule(("create",), "authentication.k8s.io", "tokenreviews"),
    _rule(("create",), "authorization.k8s.io", "subjectaccessreviews"),
)

DEFAULT_ROLES: tuple[JsonObject, ...] = (
    _role("cluster-admin", (_ALL, _ALL_URLS)),
    _role("system:discovery", (_urls(*_HEALTH, *_VERSION, *_DISCOVERY),)),
    _role("system:basic-user", (_OF_ONESELF, _ONESELF)),
    _role("system:public-info-viewer", (_urls(*_HEALTH, *_VERSION),)),
    _role("system:auth-delegator", _JUDGING),
    _role("admin", _admin()),
    _role("edit", _edit()),
    _role("view", _view()),
    _role("ironfree-image-builder", _image_builder()),
    _binding("cluster-admin", MASTERS),
    _binding("system:discovery", AUTHENTICATED),
    _binding("system:basic-user", AUTHENTICATED),
    _binding("system:public-info-viewer", AUTHENTICATED, UNAUTHENTICATED),
)
"""To be created where absent, in this order."""
