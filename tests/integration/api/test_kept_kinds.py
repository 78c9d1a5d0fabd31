"""Kinds that are kept and returned without anything acting on them: rights and the network."""

import json

import pytest
import yaml
from kubernetes_asyncio import client

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_roles_are_created_shown_and_described(api, ns):
    create = ("-n", ns, "create")
    done = await api.kubectl(
        *(*create, "role", "reader", "--verb=get,list", "--resource=pods,deployments.apps"),
        check=False,
    )
    assert (done.code, done.err) == (0, "")
    found = await api.get(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles/reader")
    assert found.body["rules"] == [
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["get", "list"], "apiGroups": ["apps"], "resources": ["deployments"]},
    ]
    binding = ("rolebinding", "readers", "--role=reader", "--user=u", f"--serviceaccount={ns}:a")
    await api.kubectl(*create, *binding)
    wide = await api.kubectl("-n", ns, "get", "rolebindings", "-o", "wide")
    header, row = wide.splitlines()
    assert header.split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert row.split()[:2] == ["readers", "Role/reader"]
    assert row.split()[3:] == ["u", f"{ns}/a"]
    assert "deployments.apps" in await api.kubectl("-n", ns, "describe", "role", "reader")
    described = await api.kubectl("-n", ns, "describe", "rolebinding", "readers")
    assert "ServiceAccount" in described
    header, row = (await api.kubectl("-n", ns, "get", "roles")).splitlines()
    assert header.split() == ["NAME", "CREATED", "AT"]
    assert row.split()[1].endswith("Z")


async def test_cluster_roles_have_names_with_colons(api, ns):
    name = f"system:{ns}"
    urls = ("--verb=get", "--non-resource-url=/healthz")
    await api.kubectl("create", "clusterrole", name, *urls)
    assert "/healthz" in await api.kubectl("describe", "clusterrole", name)
    bound = ("create", "clusterrolebinding", name, f"--clusterrole={name}")
    refused = await api.kubectl(*bound, "--serviceaccount=nobody", check=False)
    assert refused.code == 1
    await api.kubectl(*bound, "--group=ops")
    wide = await api.kubectl("get", "clusterrolebindings", name, "-o", "wide")
    assert wide.splitlines()[1].split()[1::2] == [f"ClusterRole/{name}", "ops"]
    await api.kubectl("delete", "clusterrolebinding,clusterrole", name)


async def test_auth_reconcile(api, ns):
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "r", "namespace": ns},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "b", "namespace": ns},
        "subjects": [{"kind": "Group", "name": "g"}],
        "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
    }

    async def reconcile():
        text = "---\n".join(yaml.safe_dump(each) for each in (role, binding))
        return await api.kubectl("auth", "reconcile", "-f", "-", stdin=text)

    out = await reconcile()
    assert "role.rbac.authorization.k8s.io/r reconciled" in out
    role["rules"].append({"verbs": ["list"], "apiGroups": ["apps"], "resources": ["replicasets"]})
    binding["roleRef"]["name"] = "other"  # made anew, because a reference cannot change
    assert "reconciled" in await reconcile()
    shown = await api.kubectl("-n", ns, "get", "role/r", "rolebinding/b", "-o", "json")
    kept, bound = json.loads(shown)["items"]
    assert kept["rules"] == role["rules"]
    assert bound["roleRef"]["name"] == "other"
    bound["roleRef"]["name"] = "third"
    text = json.dumps(bound)
    refused = await api.kubectl("replace", "-f", "-", stdin=text, check=False)
    assert "cannot change roleRef" in refused.err


async def test_everybody_with_the_token_may_do_everything(api):
    done = await api.kubectl("auth", "can-i", "delete", "pods", check=False)
    assert (done.code, done.out) == (0, "yes\n")
    listed = await api.kubectl("auth", "can-i", "--list")
    assert "*.*" in listed
    assert "system:masters" in await api.kubectl("auth", "whoami")
    async with client.ApiClient(client.Configuration(host=api.url)) as connection:
        attributes = client.V1ResourceAttributes(verb="get", resource="pods", namespace="default")
        spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        review = client.V1SelfSubjectAccessReview(spec=spec)
        rights = client.AuthorizationV1Api(connection)
        answer = await rights.create_self_subject_access_review(review)
        assert answer.status.allowed
        assert "system:masters" in answer.status.reason


async def test_ingresses_are_created_shown_and_described(api, ns):
    rule = "--rule=a.example.com/x*=web:80,tls=cert"
    done = await api.kubectl(
        *("-n", ns, "create", "ingress", "in", "--class=c", rule, "--rule=/y=web:named"),
        check=False,
    )
    assert done.code == 0, done.err
    assert "Warning: nothing in Ironfree serves Ingresses yet" in done.err
    header, row = (await api.kubectl("-n", ns, "get", "ing")).splitlines()
    assert header.split() == ["NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"]
    assert row.split()[:5] == ["in", "c", "a.example.com", "80,", "443"]
    described = await api.kubectl("-n", ns, "describe", "ingress", "in")
    assert "web:named" in described
    found = await api.get(f"/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses/in")
    [first, second] = found.body["spec"]["rules"]
    path = {"path": "/x", "pathType": "Prefix"}
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    assert first == {"host": "a.example.com", "http": {"paths": [{**path, "backend": backend}]}}
    assert second["http"]["paths"][0]["backend"]["service"]["port"] == {"name": "named"}


async def test_network_policies_and_classes(api, ns):
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "db"}},
            "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 5432}]}],
        },
    }
    ingress_class = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": ns},
        "spec": {"controller": "example.com/ingress"},
    }
    text = "---\n".join(yaml.safe_dump(each) for each in (policy, ingress_class))
    done = await api.kubectl("-n", ns, "apply", "-f", "-", stdin=text, check=False)
    assert done.code == 0, done.err
    assert "Warning: network policies are not enforced" in done.err
    header, row = (await api.kubectl("-n", ns, "get", "netpol")).splitlines()
    assert header.split() == ["NAME", "POD-SELECTOR", "AGE"]
    assert row.split()[:2] == ["p", "app=db"]
    assert "To Port: 5432/TCP" in await api.kubectl("-n", ns, "describe", "netpol", "p")
    row = (await api.kubectl("get", "ingressclass", ns)).splitlines()[1]
    assert row.split()[1:3] == ["example.com/ingress", "<none>"]
    assert "unchanged" in await api.kubectl("-n", ns, "apply", "-f", "-", stdin=text)


async def test_the_client_library_knows_them(api, ns):
    async with client.ApiClient(client.Configuration(host=api.url)) as connection:
        rights = client.RbacAuthorizationV1Api(connection)
        rule = client.V1PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"])
        role = client.V1Role(metadata=client.V1ObjectMeta(name="r"), rules=[rule])
        made = await rights.create_namespaced_role(ns, role)
        assert made.rules[0].verbs == ["*"]
        network = client.NetworkingV1Api(connection)
        everybody = client.V1NetworkPolicySpec(pod_selector=client.V1LabelSelector())
        policy = client.V1NetworkPolicy(metadata=client.V1ObjectMeta(name="none"), spec=everybody)
        made = await network.create_namespaced_network_policy(ns, policy)
        assert made.spec.policy_types == ["Ingress"]
        listed = await network.list_namespaced_network_policy(ns)
        assert [each.metadata.name for each in listed.items] == ["none"]
