"""Whose selectors make a pod's default spread constraints, as kube-scheduler's DefaultSelector."""

import msgspec
import pytest
from ironfree_defaults.topology_domains import default_selector

from scheduler.objects.meta import OwnerReference
from scheduler.objects.pod_class import pod_class
from scheduler.objects.selectors import NOTHING, from_label_selector, from_map
from tests.placement_cases import cluster, pod
from tests.spread_cases import SYSTEM, four, on, scored, workloads

APP = {"app": "shop"}
TIER = from_label_selector({"matchExpressions": [{"key": "tier", "operator": "Exists"}]})


def owned(kind, api_version="apps/v1", name="shop", *, controller=True, labels=APP):
    """Return the class of pods with an owner."""
    owner = OwnerReference(api_version, kind, name, "uid", controller=controller)
    each = pod(labels=labels)
    return pod_class(
        msgspec.structs.replace(
            each, meta=msgspec.structs.replace(each.meta, owner_references=(owner,))
        )
    )


def nobodys(**labels):
    return pod_class(pod(labels=labels))


def by_service(*labels, **controllers):
    return workloads(*map(from_map, labels), **controllers)


RC = {"replicationcontrollers": {"shop": from_map({"app": "shop", "rev": "2"})}}
RS = {"replicasets_apps": {"shop": TIER}}
SS = {"statefulsets_apps": {"shop": TIER}}


@pytest.mark.parametrize(
    ("wanted", "change", "expected"),
    [
        pytest.param(nobodys(**APP), by_service(), "", id="nobody"),
        pytest.param(nobodys(**APP), by_service(APP), "app=shop", id="a service"),
        pytest.param(nobodys(**APP), by_service({"app": "bar"}), "", id="another's service"),
        pytest.param(nobodys(**APP), by_service({}), "", id="a service of everything"),
        pytest.param(
            nobodys(app="shop", rev="1"),
            by_service(APP, {"rev": "1"}, {"rev": "2"}),
            "app=shop,rev=1",
            id="services that match, together",
        ),
        pytest.param(
            nobodys(app="shop", rev="1"),
            by_service({"app": "shop", "rev": "1"}, APP),
            "app=shop,rev=1",
            id="what services share counts once",
        ),
        pytest.param(
            nobodys(app="shop", rev="2"), by_service(**RC), "", id="a controller of others' pods"
        ),
        pytest.param(nobodys(tier="1"), by_service(**RS), "", id="a set of others' pods"),
        pytest.param(
            owned("ReplicationController", "v1"),
            by_service(**RC),
            "app=shop,rev=2",
            id="the controller that owns it, even if it does not select it",
        ),
        pytest.param(
            owned("ReplicationController", "v1", labels={"app": "shop", "rev": "1"}),
            by_service({"rev": "1"}, **RC),
            "app=shop,rev=2",
            id="a controller's labels before a service's",
        ),
        pytest.param(owned("ReplicaSet"), by_service(**RS), "tier", id="a ReplicaSet"),
        pytest.param(
            owned("ReplicaSet"), by_service(APP, **RS), "app=shop,tier", id="and a service"
        ),
        pytest.param(owned("StatefulSet"), by_service(**SS), "tier", id="a StatefulSet"),
        pytest.param(owned("StatefulSet"), by_service(**RS), "", id="same name, other kind"),
        pytest.param(owned("ReplicaSet", name="new"), by_service(**RS), "", id="one that is gone"),
        pytest.param(
            owned("ReplicaSet", name="new"),
            by_service(APP, **RS),
            "app=shop",
            id="only the service",
        ),
        pytest.param(owned("ReplicaSet", "v1"), by_service(**RS), "", id="another group"),
        pytest.param(
            owned("ReplicationController", "apps/v1"), by_service(**RC), "", id="not in apps"
        ),
        pytest.param(
            owned("ReplicaSet", controller=False),
            by_service(**RS),
            "",
            id="an owner, no controller",
        ),
        pytest.param(owned("Job", "batch/v1"), by_service(APP), "app=shop", id="a Job's pod"),
        pytest.param(
            owned("ReplicaSet"),
            by_service(APP, replicasets_apps={"shop": NOTHING}),
            "app=shop",
            id="a set that selects nothing adds nothing",
        ),
        pytest.param(
            owned("ReplicaSet"),
            by_service(replicasets_apps={"shop": from_label_selector({})}),
            "",
            id="a set that selects all is no default",
        ),
    ],
)
def test_the_default_selector(wanted, change, expected):
    assert str(default_selector(wanted, change(cluster().freeze(1)))) == expected


def test_a_controllers_pods_are_spread_and_its_twins_are_not():
    mine, twin = owned("ReplicaSet", labels={"tier": "1"}), nobodys(tier="1")
    change = by_service(**RS)
    pods = on("a", 3, "tier")
    assert scored(mine, four(), pods, rule=SYSTEM, change=change)["a"] < 100
    assert scored(twin, four(), pods, rule=SYSTEM, change=change) is None


def test_only_such_owners_divide_classes():
    assert owned("ReplicaSet") == owned("ReplicaSet") != owned("ReplicaSet", name="other")
    assert owned("Job", "batch/v1", "a") == owned("Job", "batch/v1", "b") == nobodys(**APP)
