"""What a machine may claim to have, and be called."""

import pytest

from scheduler.objects.kinds import REGISTRY

NODE = REGISTRY.by_resource("nodes")
HOST = REGISTRY.by_resource("dockerhosts.ironfree.dev")


def causes_of_host(**spec):
    host = {"metadata": {"name": "h"}, "spec": {"address": "tcp://h:2376", **spec}}
    HOST.default(host)
    return [(cause.field, cause.message) for cause in HOST.validate(host)]


@pytest.mark.parametrize("field", ["capacity", "allocatable"])
@pytest.mark.parametrize(
    ("resource", "amount", "why"),
    [
        ("cpu", "-1", "must be greater than or equal to 0"),
        ("memory", -1, "must be greater than or equal to 0"),
        ("example.com/gpu", "-1m", "must be greater than or equal to 0"),
        ("pods", "1.5", "must be an integer"),
        ("example.com/gpu", "500m", "must be an integer"),
    ],
)
def test_a_node_has_no_impossible_amounts(field, resource, amount, why):
    status = {"capacity": {"cpu": "500m"}, field: {"ephemeral-storage": "0", resource: amount}}
    first = next(iter(NODE.validate_status({"metadata": {"name": "n"}, "status": status})))
    assert first.field == f"status.{field}.{resource}"
    assert first.message == f'Invalid value: "{amount}": {why}'


def test_a_node_may_have_any_other_amounts():
    fine = {"cpu": "500m", "memory": "1.5Gi", "pods": "1e2", "example.com/gpu": 0, "disk": "0"}
    for status in ({"capacity": fine, "allocatable": fine}, {}):
        assert list(NODE.validate_status({"metadata": {"name": "n"}, "status": status})) == []


@pytest.mark.parametrize("field", ["capacity", "reserved"])
def test_a_host_has_no_negative_amounts(field):
    assert causes_of_host(**{field: {"cpu": "1", "memory": "-1"}}) == [
        (f"spec.{field}.memory", 'Invalid value: "-1": must be greater than or equal to 0')
    ]


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        ({"labels": {"a b": "x"}}, "spec.labels", '"a b"'),
        ({"labels": {"a": "x y"}}, "spec.labels", '"x y"'),
        ({"labels": {"a": "x" * 64}}, "spec.labels", "63"),
        ({"zone": "here and there"}, "spec.zone", '"here and there"'),
    ],
)
def test_what_becomes_a_label_of_the_node_must_be_one(spec, field, says):
    ((where, message),) = causes_of_host(**spec)
    assert where == field
    assert says in message


def test_labels_of_a_host_are_those_kubernetes_takes():
    assert causes_of_host(labels={"example.com/rack": "r1", "spare": ""}, zone="eu-1.a_b") == []


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        ({"podPidsLimit": -1}, "spec.podPidsLimit", "greater than or equal to 0"),
        ({"swapBehavior": "Some"}, "spec.swapBehavior", '"NoSwap", "LimitedSwap"'),
        ({"swap": "-1Gi"}, "spec.swap", "greater than or equal to 0"),
        ({"ulimits": {"files": "1"}}, "spec.ulimits[files]", "nofile"),
        ({"ulimits": {"nofile": "many"}}, "spec.ulimits[nofile]", "SOFT:HARD"),
        ({"ulimits": {"nofile": "2:1"}}, "spec.ulimits[nofile]", "must not exceed"),
        ({"ulimits": {"nofile": "-1:1"}}, "spec.ulimits[nofile]", "must not exceed"),
        ({"evictionHard": {"disk": "1"}}, "spec.evictionHard[disk]", '"pid.available"'),
        (
            {"evictionMinimumReclaim": {"nodefs.available": "0"}},
            "spec.evictionMinimumReclaim[nodefs.available]",
            "above 0",
        ),
        (
            {"evictionHard": {"memory.available": "much"}},
            "spec.evictionHard[memory.available]",
            "100Mi or 5%",
        ),
        (
            {"evictionPressureTransitionSeconds": -1},
            "spec.evictionPressureTransitionSeconds",
            "between 0 and",
        ),
        (
            {"maintenance": {"windows": ["Sunday 02:00-04:00"]}},
            "spec.maintenance.windows[0]",
            "Sat,Sun 22:00-06:00",
        ),
        (
            {"maintenance": {"windows": [], "leadSeconds": 90_000}},
            "spec.maintenance.leadSeconds",
            "between 0 and 86400",
        ),
        ({"devices": [{"name": "gpu", "ids": ["0"]}]}, "spec.devices[0].name", "extended resource"),
        ({"devices": [{"name": "a.b/c"}]}, "spec.devices[0].ids", "Required"),
        ({"devices": [{"name": "a.b/c", "ids": ["x y"]}]}, "spec.devices[0].ids[0]", "a word"),
        ({"devices": [{"name": "a.b/c", "ids": ["0"] * 2}]}, "spec.devices[0].ids[1]", "Duplicate"),
        (
            {"devices": [{"name": "a.b/c", "ids": ["0"]}], "capacity": {"a.b/c": 1}},
            "spec.capacity[a.b/c]",
            "spec.devices",
        ),
    ],
)
def test_limits_and_devices_of_a_host(spec, field, says):
    ((where, message),) = causes_of_host(**spec)
    assert where == field
    assert says in message


def test_a_host_may_limit_and_equip_its_containers():
    spec = {
        "podPidsLimit": 100,
        "evictionHard": {"memory.available": "5%", "pid.available": "1000"},
        "evictionMinimumReclaim": {"nodefs.available": "1Gi"},
        "evictionPressureTransitionSeconds": 60,
        "maintenance": {"windows": ["Sun 02:00-04:00", "22:00-06:00"], "leadSeconds": 600},
        "swapBehavior": "LimitedSwap",
        "swap": "4Gi",
        "ulimits": {"nofile": "1024:-1", "core": "0", "memlock": "-1"},
        "devices": [{"name": "nvidia.com/gpu", "ids": ["0", "GPU-1", "/dev/x", "a.b/c=d"]}],
    }
    assert causes_of_host(**spec) == []
