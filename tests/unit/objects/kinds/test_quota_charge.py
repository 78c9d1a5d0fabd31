"""What objects cost of a quota, and what a quota makes of it."""

import json

import pytest

from scheduler.objects.kinds import REGISTRY
from scheduler.objects.kinds.quota_account import Account, shown
from scheduler.objects.kinds.quota_charge import charge_of, counted_resource
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, StoredObject

CLASS = "fast.storageclass.storage.k8s.io"


def charge(resource, spec, **more):
    return charge_of(resource, Body(json.dumps({"spec": spec}).encode()), ended=False, **more)


def container(name="a", requests=None, limits=None, **more):
    return {"name": name, "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


def pod(*containers, **more):
    return {"containers": list(containers), **more}


def account(hard, used=None, **spec):
    """Return the account of a quota, of which so much is used."""
    body = Body(json.dumps({"spec": {"hard": hard, **spec}}).encode())
    zero = dict.fromkeys(hard, "0")
    status = json.dumps({"hard": hard, "used": {**zero, **(used or {})}}).encode()
    stored = StoredObject("resourcequotas", ObjectMeta(name="q"), 1, 1, body, status)
    return Account(stored, 1)


def counted(hard, charges, **spec):
    """Return what is used as people read it."""
    found = account(hard, **spec)
    found.recount((each, 1) for each in charges)
    return json.loads(found.tell(1).status)["used"]


ONE_CPU = pod(container(requests={"cpu": "1"}))
HALF = pod(
    container(requests={"cpu": "500m", "memory": "64Mi"}, limits={"cpu": "1", "memory": "128Mi"})
)
SIDECAR = pod(
    container(requests={"cpu": "1"}),
    initContainers=[
        container("s", {"cpu": "200m"}, restartPolicy="Always"),
        container("i", {"cpu": "3"}),
    ],
)
GPU = pod(container(requests={"nvidia.com/gpu": "2"}, limits={"nvidia.com/gpu": "2"}))
LEVEL = pod(container(requests={"cpu": "1"}), resources={"requests": {"cpu": "4"}})
OVERHEAD = {**HALF, "overhead": {"cpu": "100m", "memory": "10Mi"}}


@pytest.mark.parametrize(
    ("spec", "name", "used"),
    [
        (pod(container()), "pods", "1"),
        (pod(container()), "count/pods", "1"),
        (pod(container()), "cpu", "0"),
        (ONE_CPU, "cpu", "1"),
        (ONE_CPU, "requests.cpu", "1"),
        (ONE_CPU, "limits.cpu", "0"),
        (HALF, "requests.cpu", "500m"),
        (HALF, "limits.cpu", "1"),
        (HALF, "memory", "64Mi"),
        (HALF, "limits.memory", "128Mi"),
        (pod(container("a", {"cpu": "1"}), container("b", {"cpu": "250m"})), "cpu", "1250m"),
        (SIDECAR, "cpu", "3200m"),
        (GPU, "requests.nvidia.com/gpu", "2"),
        (GPU, "limits.nvidia.com/gpu", "0"),
        (LEVEL, "requests.cpu", "4"),
        (OVERHEAD, "requests.cpu", "600m"),
        (OVERHEAD, "limits.cpu", "1100m"),
        (OVERHEAD, "limits.memory", "138Mi"),
        ({**ONE_CPU, "overhead": {"cpu": "100m"}}, "limits.cpu", "0"),
        (pod(container(requests={"hugepages-2Mi": "4Mi"})), "hugepages-2Mi", "4Mi"),
        (pod(container(requests={"hugepages-2Mi": "4Mi"})), "requests.hugepages-2Mi", "4Mi"),
        (pod(container(requests={"ephemeral-storage": "1Gi"})), "ephemeral-storage", "1Gi"),
        (pod(container(limits={"ephemeral-storage": "1Gi"})), "limits.ephemeral-storage", "1Gi"),
        (pod(container(requests={"memory": "1500M"})), "memory", "1500M"),
        (pod(container(requests={"cpu": "1n"})), "cpu", "1n"),
    ],
)
def test_what_a_pod_costs(spec, name, used):
    assert counted({name: "10"}, [charge("pods", spec)]) == {name: used}


CLAIM = {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}
PORTS = [{"port": 80}, {"port": 81, "nodePort": 30001}]


@pytest.mark.parametrize(
    ("resource", "spec", "name", "used"),
    [
        ("persistentvolumeclaims", CLAIM, "persistentvolumeclaims", "1"),
        ("persistentvolumeclaims", CLAIM, "requests.storage", "5Gi"),
        ("persistentvolumeclaims", CLAIM, f"{CLASS}/requests.storage", "5Gi"),
        ("persistentvolumeclaims", CLAIM, f"{CLASS}/persistentvolumeclaims", "1"),
        ("persistentvolumeclaims", CLAIM, f"slow.{CLASS[5:]}/requests.storage", "0"),
        ("services", {"ports": PORTS}, "services", "1"),
        ("services", {"ports": PORTS}, "services.nodeports", "0"),
        ("services", {"type": "NodePort", "ports": PORTS}, "services.nodeports", "2"),
        ("services", {"type": "LoadBalancer", "ports": PORTS}, "services.loadbalancers", "1"),
        ("services", {"type": "LoadBalancer", "ports": PORTS}, "services.nodeports", "2"),
        (
            "services",
            {"type": "LoadBalancer", "ports": PORTS, "allocateLoadBalancerNodePorts": False},
            "services.nodeports",
            "1",
        ),
        ("configmaps", {}, "configmaps", "1"),
        ("secrets", {}, "count/secrets", "1"),
        ("deployments.apps", {}, "count/deployments.apps", "1"),
        ("deployments.apps", {}, "count/replicasets.apps", "0"),
    ],
)
def test_what_other_objects_cost(resource, spec, name, used):
    assert counted({name: "10"}, [charge(resource, spec)]) == {name: used}
    if used != "0":
        assert counted_resource(name) == resource


def test_a_claim_may_name_its_class_by_annotation():
    claim = charge("persistentvolumeclaims", CLAIM, old_class="slow")
    hard = {f"slow.{CLASS[5:]}/requests.storage": "1Ti", f"{CLASS}/requests.storage": "1Ti"}
    assert list(counted(hard, [claim]).values()) == ["0", "5Gi"]


def test_what_has_ended_counts_as_an_object_only():
    ended = charge_of("pods", Body(json.dumps({"spec": ONE_CPU}).encode()), ended=True)
    hard = {"pods": "1", "cpu": "1", "count/pods": "1"}
    assert counted(hard, [ended]) == {"pods": "0", "cpu": "0", "count/pods": "1"}


DEADLINE = pod(container(), activeDeadlineSeconds=0)
CRITICAL = pod(container(), priorityClassName="high")
TERM = {"topologyKey": "zone", "namespaceSelector": {}}
ACROSS = pod(
    container(),
    affinity={
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": TERM}
            ]
        }
    },
)


def by_class(operator, *values):
    expression = {"scopeName": "PriorityClass", "operator": operator, "values": [*values]}
    return {"scopeSelector": {"matchExpressions": [expression]}}


@pytest.mark.parametrize(
    ("spec", "scope", "counts"),
    [
        (DEADLINE, {"scopes": ["Terminating"]}, True),
        (ONE_CPU, {"scopes": ["Terminating"]}, False),
        (DEADLINE, {"scopes": ["NotTerminating"]}, False),
        (ONE_CPU, {"scopes": ["NotTerminating"]}, True),
        (DEADLINE, {"scopes": ["BestEffort"]}, True),
        (ONE_CPU, {"scopes": ["BestEffort"]}, False),
        (ONE_CPU, {"scopes": ["NotBestEffort"]}, True),
        (ONE_CPU, {"scopes": ["NotBestEffort", "Terminating"]}, False),
        (CRITICAL, by_class("Exists"), True),
        (ONE_CPU, by_class("Exists"), False),
        (CRITICAL, by_class("DoesNotExist"), False),
        (ONE_CPU, by_class("DoesNotExist"), True),
        (CRITICAL, by_class("In", "low", "high"), True),
        (CRITICAL, by_class("In", "low"), False),
        (ONE_CPU, by_class("In", "low"), False),
        (CRITICAL, by_class("NotIn", "high"), False),
        (CRITICAL, by_class("NotIn", "low"), True),
        (ONE_CPU, by_class("NotIn", "low"), True),
        (ACROSS, {"scopes": ["CrossNamespacePodAffinity"]}, True),
        (ONE_CPU, {"scopes": ["CrossNamespacePodAffinity"]}, False),
    ],
)
def test_scopes(spec, scope, counts):
    assert counted({"pods": "9"}, [charge("pods", spec)], **scope) == {
        "pods": "1" if counts else "0"
    }


def test_a_scope_of_pods_counts_nothing_else():
    services = charge("services", {"ports": []})
    assert counted({"count/services": "9"}, [services], scopes=["Terminating"]) == {
        "count/services": "0"
    }


@pytest.mark.parametrize(
    ("hard", "used", "said"),
    [
        ({"pods": "2"}, {"pods": "1"}, ""),
        ({"pods": "2"}, {"pods": "2"}, "requested: pods=1, used: pods=2, limited: pods=2"),
        ({"cpu": "1"}, {"cpu": "500m"}, ""),
        ({"cpu": "1"}, {"cpu": "501m"}, "requested: cpu=500m, used: cpu=501m, limited: cpu=1"),
        (
            {"requests.memory": "1Gi", "requests.cpu": "1", "pods": "9"},
            {"requests.memory": "1000Mi", "requests.cpu": "800m"},
            "requested: requests.cpu=500m,requests.memory=64Mi, used: requests.cpu=800m,"
            "requests.memory=1000Mi, limited: requests.cpu=1,requests.memory=1Gi",
        ),
        ({"requests.nvidia.com/gpu": "0"}, {}, ""),
        ({"pods": "0"}, {"pods": "3"}, "requested: pods=1, used: pods=3, limited: pods=0"),
    ],
)
def test_what_is_too_much(hard, used, said):
    found = account(hard, used).exceeded(charge("pods", HALF).amounts)
    assert found == (f"exceeded quota: q, {said}" if said else "")


@pytest.mark.parametrize(
    ("hard", "used", "fits"),
    [
        ({"pods": "10"}, {}, 10),
        ({"pods": "10"}, {"pods": "7"}, 3),
        ({"pods": "10", "cpu": "2"}, {}, 4),
        ({"limits.memory": "300Mi"}, {}, 2),
        ({"pods": "1000"}, {}, 50),
        ({"pods": "1"}, {"pods": "5"}, 0),
        ({"requests.nvidia.com/gpu": "0"}, {}, 50),
    ],
)
def test_how_many_fit(hard, used, fits):
    assert account(hard, used).room(charge("pods", HALF), 50) == fits


def test_what_pods_must_say():
    half = pod(container("b", {"cpu": "1"}), container("a"), initContainers=[container("i")])
    hard = {"requests.cpu": "1", "limits.memory": "1Gi", "pods": "1", "ephemeral-storage": "1Gi"}
    assert account(hard).missing(charge("pods", half)) == (
        "failed quota: q: must specify limits.memory for: a,b,i; requests.cpu for: a,i"
    )
    assert account(hard).missing(charge("pods", HALF)) == ""
    level = pod(container("a"), resources={"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}})
    assert account(hard).missing(charge("pods", level)) == ""
    assert account({"requests.storage": "0"}).missing(charge("persistentvolumeclaims", {})) == ""


@pytest.mark.parametrize(
    ("name", "amount", "text"),
    [
        ("pods", 2048 * 10**9, "2048"),
        ("requests.cpu", 1500 * 10**6, "1500m"),
        ("limits.memory", 2**30 * 10**9, "1Gi"),
        ("requests.memory", 0, "0"),
        ("memory", 5 * 10**8, "500m"),
        (f"{CLASS}/requests.storage", 2**40 * 10**9, "1Ti"),
        ("requests.nvidia.com/gpu", 1024 * 10**9, "1024"),
    ],
)
def test_amounts_as_people_write_them(name, amount, text):
    assert shown(name, amount) == text


KIND = REGISTRY.by_resource("resourcequotas")


def quota(**spec):
    return {"metadata": {"name": "q"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"hard": {"cpu": "1", "pods": "2", "requests.nvidia.com/gpu": "1"}}, ""),
        ({"hard": {"count/deployments.apps": "1", "hugepages-2Mi": "1Gi"}}, ""),
        ({"hard": {"pods": "1"}, "scopes": ["BestEffort", "Terminating"]}, ""),
        ({"hard": {"widgets": "1"}}, "spec.hard[widgets]"),
        ({"hard": {"bad name": "1"}}, "spec.hard[bad name]"),
        ({"hard": {"pods": "-1"}}, "spec.hard[pods]"),
        ({"hard": {"pods": "1500m"}}, "spec.hard[pods]"),
        ({"hard": {"pods": "1"}, "scopes": ["Sometimes"]}, "spec.scopes"),
        ({"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}, "spec.scopes"),
        ({"hard": {"secrets": "1"}, "scopes": ["Terminating"]}, "spec.scopes"),
        ({"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}, "spec.scopes"),
        (
            {"hard": {"pods": "1"}, **by_class("In")},
            "spec.scopeSelector.matchExpressions.values",
        ),
        (
            {"hard": {"pods": "1"}, **by_class("Exists", "x")},
            "spec.scopeSelector.matchExpressions.values",
        ),
        (
            {"hard": {"pods": "1"}, **by_class("Like", "x")},
            "spec.scopeSelector.matchExpressions.operator",
        ),
    ],
)
def test_what_a_quota_may_say(spec, field):
    assert [cause.field for cause in KIND.validate(quota(**spec))] == ([field] if field else [])


def test_scopes_stay():
    old, new = quota(hard={"pods": "1"}), quota(hard={"pods": "2"}, scopes=["BestEffort"])
    assert [cause.field for cause in KIND.validate_update(old, new)] == ["spec.scopes"]
    assert list(KIND.validate_update(old, quota(hard={"pods": "2"}))) == []
