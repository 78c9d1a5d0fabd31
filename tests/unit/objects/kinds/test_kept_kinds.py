"""Rights and the network: what is filled in, what is refused, and what is printed."""

from datetime import UTC, datetime

import pytest

from scheduler.objects.kinds import REGISTRY

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RIGHTS, NETWORK = "rbac.authorization.k8s.io", "networking.k8s.io"
ROLE, CLUSTER_ROLE = (REGISTRY.by_resource(f"{p}.{RIGHTS}") for p in ("roles", "clusterroles"))
BINDING = REGISTRY.by_resource(f"rolebindings.{RIGHTS}")
CLUSTER_BINDING = REGISTRY.by_resource(f"clusterrolebindings.{RIGHTS}")
POLICY = REGISTRY.by_resource(f"networkpolicies.{NETWORK}")
INGRESS = REGISTRY.by_resource(f"ingresses.{NETWORK}")
CLASS = REGISTRY.by_resource(f"ingressclasses.{NETWORK}")

RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
REFERENCE = {"kind": "ClusterRole", "name": "r"}
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


def made(kind, **body):
    obj = {"metadata": {"name": "x", "creationTimestamp": "2026-01-01T23:59:00Z"}, **body}
    kind.default(obj)
    return obj


def role(*rules):
    return made(ROLE, rules=[{**RULE, **rule} for rule in rules])


def binding(*subjects, of=BINDING, **reference):
    return made(of, subjects=[*subjects], roleRef={**REFERENCE, **reference})


def policy(**spec):
    return made(POLICY, spec=spec)


def peer(**fields):
    return policy(ingress=[{"from": [fields]}])


def port(**fields):
    return policy(egress=[{"ports": [fields]}])


def ingress(path=None, host="a.example.com", **spec):
    entry = {"path": "/", "pathType": "Prefix", "backend": BACKEND, **(path or {})}
    rules = [{"host": host, "http": {"paths": [entry]}}]
    return made(INGRESS, spec={"rules": rules, **spec})


def ingress_class(controller="a.b/c", **parameters):
    given = {"parameters": {"kind": "K", "name": "n", **parameters}} if parameters else {}
    return made(CLASS, spec={"controller": controller, **given})


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        (ROLE, role()),
        (ROLE, role({"resourceNames": ["a"]})),
        (CLUSTER_ROLE, made(CLUSTER_ROLE, rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}])),
        (CLUSTER_ROLE, made(CLUSTER_ROLE, aggregationRule={"clusterRoleSelectors": [{}]})),
        (BINDING, binding({"kind": "User", "name": "system:admin"})),
        (BINDING, binding({"kind": "ServiceAccount", "name": "a"})),
        (POLICY, policy()),
        (POLICY, peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]})),
        (POLICY, peer(podSelector={}, namespaceSelector={})),
        (POLICY, port(port="http-alt")),
        (POLICY, port(port=80, endPort=90)),
        (INGRESS, ingress()),
        (INGRESS, ingress(host="*.example.com")),
        (INGRESS, ingress(path={"pathType": "ImplementationSpecific", "path": ""})),
        (INGRESS, made(INGRESS, spec={"defaultBackend": {"resource": {"kind": "K", "name": "n"}}})),
        (CLASS, ingress_class()),
        (CLASS, ingress_class(apiGroup="k.io", scope="Namespace", namespace="n")),
    ],
)
def test_what_upstream_accepts_is_accepted(kind, obj):
    assert [*kind.validate(obj)] == []
    assert [*kind.validate_creation(obj)] == []
    assert bool([*kind.warnings(obj)]) is (kind.group == NETWORK)


@pytest.mark.parametrize(
    ("kind", "obj", "field", "says"),
    [
        (ROLE, role({"verbs": []}), "rules[0].verbs", "at least one value"),
        (ROLE, role({"apiGroups": []}), "rules[0].apiGroups", "at least one api group"),
        (ROLE, role({}, {"resources": []}), "rules[1].resources", "at least one resource"),
        (ROLE, made(ROLE, rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}]),
         "rules[0].nonResourceURLs", "namespaced rules"),
        (CLUSTER_ROLE, role({"nonResourceURLs": ["/x"]}), "rules[0].nonResourceURLs", "both"),
        (CLUSTER_ROLE, made(CLUSTER_ROLE, aggregationRule={}),
         "aggregationRule.clusterRoleSelectors", "at least one"),
        (BINDING, binding(kind="Service"), "roleRef.kind", '"Role", "ClusterRole"'),
        (BINDING, binding(apiGroup="apps"), "roleRef.apiGroup", "rbac"),
        (BINDING, binding(name=""), "roleRef.name", "Required"),
        (BINDING, binding(name="a/b"), "roleRef.name", "may not contain '/'"),
        (BINDING, binding({"kind": "Robot", "name": "r"}), "subjects[0].kind", '"Group"'),
        (BINDING, binding({"kind": "User"}), "subjects[0].name", "Required"),
        (BINDING, binding({"kind": "ServiceAccount", "name": "A"}), "subjects[0].name", "1123"),
        (BINDING, binding({"kind": "ServiceAccount", "name": "a", "apiGroup": RIGHTS}),
         "subjects[0].apiGroup", "Unsupported"),
        (CLUSTER_BINDING, binding({"kind": "ServiceAccount", "name": "a"}),
         "subjects[0].namespace", "Required"),
        (CLUSTER_BINDING, made(CLUSTER_BINDING, roleRef={"kind": "Role", "name": "r"}),
         "roleRef.kind", '"ClusterRole"'),
        (POLICY, policy(podSelector={"matchLabels": {"a": "/"}}), "spec.podSelector", "Invalid"),
        (POLICY, policy(policyTypes=["Both"]), "spec.policyTypes[0]", '"Egress"'),
        (POLICY, policy(policyTypes=["Ingress"] * 3), "spec.policyTypes", "more than two"),
        (POLICY, peer(), "spec.ingress[0].from[0]", "must specify a peer"),
        (POLICY, peer(ipBlock={"cidr": "10.0.0.0/8"}, podSelector={}),
         "spec.ingress[0].from[0]", "both ipBlock and another"),
        (POLICY, peer(ipBlock={"cidr": "10.0.0.0"}),
         "spec.ingress[0].from[0].ipBlock.cidr", "CIDR"),
        (POLICY, peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}),
         "spec.ingress[0].from[0].ipBlock.except[0]", "strict subset"),
        (POLICY, peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["fd00::/8"]}),
         "spec.ingress[0].from[0].ipBlock.except[0]", "strict subset"),
        (POLICY, port(protocol="ICMP"), "spec.egress[0].ports[0].protocol", '"TCP"'),
        (POLICY, port(port=0), "spec.egress[0].ports[0].port", "between 1 and 65535"),
        (POLICY, port(port="UPPER"), "spec.egress[0].ports[0].port", "alpha-numeric"),
        (POLICY, port(port="a--b"), "spec.egress[0].ports[0].port", "consecutive hyphens"),
        (POLICY, port(endPort=1), "spec.egress[0].ports[0].endPort", "`port` is not specified"),
        (POLICY, port(port="http", endPort=1), "spec.egress[0].ports[0].endPort", "non-numeric"),
        (POLICY, port(port=9, endPort=1), "spec.egress[0].ports[0].endPort", "greater than"),
        (INGRESS, made(INGRESS, spec={}), "spec", "`defaultBackend` or `rules`"),
        (INGRESS, ingress(host="1.2.3.4"), "spec.rules[0].host", "not an IP address"),
        (INGRESS, ingress(host="a.*.com"), "spec.rules[0].host", "wildcard"),
        (INGRESS, ingress(tls=[{"hosts": ["A"]}]), "spec.tls[0].hosts[0]", "1123"),
        (INGRESS, ingress(ingressClassName="A"), "spec.ingressClassName", "1123"),
        (INGRESS, ingress(path={"pathType": None}),
         "spec.rules[0].http.paths[0].pathType", "must be specified"),
        (INGRESS, ingress(path={"pathType": "Regex"}),
         "spec.rules[0].http.paths[0].pathType", '"Exact"'),
        (INGRESS, ingress(path={"path": ""}), "spec.rules[0].http.paths[0].path", "absolute"),
        (INGRESS, ingress(path={"path": "/a//b"}), "spec.rules[0].http.paths[0].path", "'//'"),
        (INGRESS, ingress(path={"path": "/a/.."}), "spec.rules[0].http.paths[0].path", "end with"),
        (INGRESS, ingress(path={"backend": {}}),
         "spec.rules[0].http.paths[0].backend", "Required"),
        (INGRESS, ingress(path={"backend": {**BACKEND, "resource": {"kind": "K", "name": "n"}}}),
         "spec.rules[0].http.paths[0].backend", "both resource and service"),
        (INGRESS, ingress(path={"backend": {"service": {"name": "w", "port": {}}}}),
         "spec.rules[0].http.paths[0].backend.service", "name or number"),
        (INGRESS, ingress(path={"backend": {"service": {"name": "w", "port": {"number": 99999}}}}),
         "spec.rules[0].http.paths[0].backend.service.port.number", "between 1 and 65535"),
        (INGRESS, made(INGRESS, spec={"rules": [{"http": {"paths": []}}]}),
         "spec.rules[0].http.paths", "Required"),
        (CLASS, ingress_class(""), "spec.controller", "Required"),
        (CLASS, ingress_class("nginx"), "spec.controller", "domain-prefixed path"),
        (CLASS, ingress_class(f"a.b/{'c' * 300}"), "spec.controller", "250 bytes"),
        (CLASS, ingress_class(scope="Namespace"), "spec.parameters.namespace", "Required"),
        (CLASS, ingress_class(namespace="n"), "spec.parameters.namespace", "Forbidden"),
    ],
)  # fmt: skip
def test_what_upstream_refuses_is_refused(kind, obj, field, says):
    found: dict[str, str] = {}
    for cause in kind.validate(obj):
        found[cause.field] = found.get(cause.field, "") + cause.message
    assert says in found.get(field, ""), found


def test_what_is_filled_in():
    users = binding({"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "a"})
    assert users["roleRef"]["apiGroup"] == users["subjects"][0]["apiGroup"] == RIGHTS
    assert "apiGroup" not in users["subjects"][1]
    assert policy()["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    both = port(port=53)["spec"]
    assert both["policyTypes"] == ["Ingress", "Egress"]
    assert both["egress"][0]["ports"][0]["protocol"] == "TCP"
    assert ingress_class(apiGroup="k")["spec"]["parameters"]["scope"] == "Cluster"


def test_what_cannot_change():
    [cause] = BINDING.validate_update(binding(), binding(name="other"))
    assert cause.message.endswith("cannot change roleRef")
    assert not [*BINDING.validate_update(binding(), binding({"kind": "Group", "name": "g"}))]
    [cause] = CLASS.validate_update(ingress_class(), ingress_class("d.e/f"))
    assert cause.field == "spec.controller"


def test_the_class_is_named_once():
    twice = ingress(ingressClassName="a")
    twice["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "b"}
    [cause] = INGRESS.validate_creation(twice)
    assert "must match" in cause.message


@pytest.mark.parametrize(
    ("kind", "obj", "cells"),
    [
        (ROLE, role(), ("x", "2026-01-01T23:59:00Z")),
        (
            BINDING,
            binding(
                {"kind": "Group", "name": "g"},
                {"kind": "Group", "name": "h"},
                {"kind": "ServiceAccount", "name": "a", "namespace": "n"},
            ),
            ("x", "ClusterRole/r", "60s", "", "g, h", "n/a"),
        ),
        (POLICY, policy(), ("x", "<none>", "60s")),
        (INGRESS, ingress(), ("x", "<none>", "a.example.com", "", "80", "60s")),
        (
            INGRESS,
            made(
                INGRESS,
                spec={"rules": [{"host": h} for h in "abcd"], "tls": [{}], "ingressClassName": "c"},
                status={"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "h"}]}},
            ),
            ("x", "c", "a,b,c + 1 more...", "1.2.3.4,h", "80, 443", "60s"),
        ),
        (CLASS, ingress_class(), ("x", "a.b/c", "<none>", "60s")),
        (CLASS, ingress_class(apiGroup="k.io"), ("x", "a.b/c", "K.k.io/n", "60s")),
    ],
)
def test_what_is_printed(kind, obj, cells):
    assert tuple(kind.printer.cells(obj, NOW)) == cells
    assert len(cells) == len(kind.printer.columns)
