"""Defaults, quality of service, priority."""

from datetime import UTC, datetime

import pytest

from scheduler.errors import Forbidden
from scheduler.objects.kinds import ALL_KINDS, REGISTRY
from scheduler.objects.kinds.pod_defaults import (
    default_pod,
    qos_class,
    tolerate_lost_nodes,
)
from scheduler.objects.kinds.priority import PriorityView, assign_priority


def pod(**container):
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", **container}]}}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image, policy):
    obj = pod(image=image)
    default_pod(obj)
    assert obj["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_requests_follow_limits_in_canonical_form():
    obj = pod(image="x", resources={"limits": {"cpu": 2, "memory": "1024Mi"}})
    default_pod(obj)
    amounts = {"cpu": "2", "memory": "1Gi"}
    assert obj["spec"]["containers"][0]["resources"] == {"limits": amounts, "requests": amounts}


def test_defaults_are_stable():
    obj = pod(image="x", ports=[{"containerPort": 1}], readinessProbe={"httpGet": {"port": 1}})
    default_pod(obj)
    once = repr(obj)
    default_pod(obj)
    assert repr(obj) == once


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"requests": {"nvidia.com/gpu": "1"}}, "BestEffort"),
        (
            {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
            "Guaranteed",
        ),
        (
            {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            "Burstable",
        ),
    ],
)
def test_quality_of_service(resources, expected):
    assert qos_class({"containers": [{"resources": resources}]}) == expected


BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("level", "container", "expected"),
    [
        ({"limits": BOTH}, {}, "Guaranteed"),
        ({"limits": BOTH, "requests": BOTH}, {"requests": {"cpu": "100m"}}, "Guaranteed"),
        ({"limits": BOTH}, {"requests": BOTH}, "Guaranteed"),
        ({"limits": BOTH}, {"requests": {"cpu": "100m"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, {"requests": BOTH, "limits": BOTH}, "Burstable"),
        ({"requests": {"cpu": "1"}}, {}, "Burstable"),
        ({"requests": {"cpu": "0"}}, {}, "BestEffort"),
        ({"limits": {"example.com/gpu": "1"}}, {"requests": BOTH, "limits": BOTH}, "Guaranteed"),
    ],
)
def test_what_a_pod_asks_for_as_a_whole_decides_its_quality_of_service(level, container, expected):
    obj = pod(resources=container)
    obj["spec"]["resources"] = level
    default_pod(obj)
    assert qos_class(obj["spec"]) == expected


def test_lost_nodes_are_tolerated_unless_said_otherwise():
    spec = {"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]}
    tolerate_lost_nodes(spec, 5)
    assert [t["key"].rpartition("/")[2] for t in spec["tolerations"]] == [
        "not-ready",
        "unreachable",
    ]
    assert spec["tolerations"][1]["tolerationSeconds"] == 5
    everything = {"tolerations": [{"operator": "Exists"}]}
    tolerate_lost_nodes(everything, 5)
    assert len(everything["tolerations"]) == 1


def test_priority_of_the_class_or_of_the_least_default():
    classes = {
        "high": PriorityView(10, preemption_policy="Never"),
        "b": PriorityView(5, global_default=True),
        "a": PriorityView(3, global_default=True),
    }
    spec = {"priorityClassName": "high"}
    assign_priority(spec, classes)
    assert (spec["priority"], spec["preemptionPolicy"]) == (10, "Never")
    spec = {}
    assign_priority(spec, classes)
    assert (spec["priority"], spec["priorityClassName"]) == (3, "a")
    for wrong in ({"priorityClassName": "none"}, {"priority": 4}, {"preemptionPolicy": "Never"}):
        with pytest.raises(Forbidden):
            assign_priority(wrong, classes)


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.kind)
def test_a_kind_prints_as_many_cells_as_columns(kind):
    cells = kind.printer.cells({"metadata": {"name": "x"}}, datetime.now(UTC))
    assert len(cells) == len(kind.printer.columns)
    wanted = {"string": str, "integer": int, "boolean": bool, "date": str}
    for cell, column in zip(cells, kind.printer.columns, strict=True):
        assert isinstance(cell, wanted[column.type]), column.name


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.kind)
def test_a_kind_is_found_by_all_its_names(kind):
    assert REGISTRY.by_path(kind.group, kind.version, kind.plural) is kind
    assert REGISTRY.by_gvk(kind.group_version, kind.kind) is kind
    assert REGISTRY.by_resource(kind.resource) is kind.stored


@pytest.mark.parametrize(
    ("spec", "driver"),
    [
        ({"address": "unix:///run/docker.sock"}, "docker"),
        ({"address": "tcp://10.0.0.5:2376"}, "docker"),
        ({"address": "simulated://h1?cpu=8"}, "simulated"),
        ({"address": "simulated://h1", "driver": "docker"}, "docker"),
        ({"address": "no address"}, "docker"),
        ({}, "docker"),
    ],
)
def test_a_host_is_reached_by_the_driver_its_address_names(spec, driver):
    obj = {"metadata": {"name": "h"}, "spec": spec}
    REGISTRY.by_gvk("ironfree.dev/v1", "DockerHost").default(obj)
    assert obj["spec"]["driver"] == driver


@pytest.mark.parametrize(
    ("level", "container", "requests"),
    [
        ({"limits": {"cpu": "2"}}, {}, {"cpu": "2"}),
        ({"limits": {"cpu": "2"}}, {"cpu": "1"}, None),
        ({"limits": {"cpu": "2"}}, {"cpu": "0"}, None),
        ({"limits": {"cpu": "2", "memory": "1Gi"}}, {"cpu": "1"}, {"memory": "1Gi"}),
        ({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}, {}, {"cpu": "1"}),
        ({"limits": {"hugepages-2Mi": "2Mi"}}, {}, {"hugepages-2Mi": "2Mi"}),
        ({"limits": {"example.com/gpu": "2"}}, {}, None),
        ({"requests": {"cpu": "1"}}, {}, {"cpu": "1"}),
    ],
)
def test_pod_level_requests_follow_limits_that_no_container_shares(level, container, requests):
    obj = pod(resources={"requests": container})
    obj["spec"]["resources"] = level
    default_pod(obj)
    assert obj["spec"]["resources"].get("requests") == requests
