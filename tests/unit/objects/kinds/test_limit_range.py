"""What LimitRanges fill in and refuse, in upstream's words."""

import copy

import msgspec
import pytest

from scheduler.objects.kinds import REGISTRY
from scheduler.objects.kinds.limit_admission import claim_refusals, fill_limits, pod_refusals
from scheduler.objects.limit_range import limit_range_view
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, StoredObject

KIND = REGISTRY.by_resource("limitranges")
POD = REGISTRY.by_resource("pods")


def made(*items):
    obj = {"metadata": {"name": "l"}, "spec": {"limits": copy.deepcopy([*items])}}
    KIND.default(obj)
    return obj


def ranges(*items):
    body = Body(msgspec.json.encode({"spec": made(*items)["spec"]}))
    return [limit_range_view(StoredObject("limitranges", ObjectMeta(name="l"), 1, 1, body))]


def container(**fields):
    return {"type": "Container", **fields}


def pod(*resources, init=()):
    def containers(given):
        return [{"name": f"c{i}", "image": "i", **each} for i, each in enumerate(given)]

    spec = {"containers": containers({"resources": each} for each in resources)}
    obj = {"metadata": {"name": "p"}, "spec": {**spec, "initContainers": containers(init)}}
    POD.default(obj)
    return obj


def test_an_item_fills_its_own_gaps():
    given = container(max={"cpu": "2"}, min={"cpu": "0.5", "memory": "1Mi"})
    [item] = made(given)["spec"]["limits"]
    assert item["default"] == {"cpu": "2"}
    assert item["defaultRequest"] == {"cpu": "2", "memory": "1Mi"}
    assert item["min"] == {"cpu": "500m", "memory": "1Mi"}
    [item] = made({"type": "Pod", "max": {"cpu": "2"}})["spec"]["limits"]
    assert "default" not in item


def test_a_pod_gets_what_it_lacks():
    limits = ranges(container(default={"cpu": "2", "memory": "1Gi"}, defaultRequest={"cpu": "1"}))
    found = pod({}, {"limits": {"cpu": "4"}, "requests": {"memory": "2Gi"}}, init=[{}])
    fill_limits(found, limits)
    first, second = (each["resources"] for each in found["spec"]["containers"])
    full = {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}
    assert first == full
    assert second == {
        "limits": {"cpu": "4", "memory": "1Gi"},
        "requests": {"cpu": "4", "memory": "2Gi"},  # of its own limit, as every pod
    }
    assert found["spec"]["initContainers"][0]["resources"] == full
    said = found["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
    assert said.startswith("LimitRanger plugin set: cpu request for container c0; memory request")
    assert "memory limit for container c1" in said
    assert "cpu limit for init container c0" in said


def test_a_pod_that_lacks_nothing_is_left_alone():
    before = pod({"limits": {"cpu": "1"}})
    after = copy.deepcopy(before)
    fill_limits(after, ranges(container(default={"cpu": "2"})))
    assert after == before


ONE, THREE = {"limits": {"cpu": "1"}}, {"limits": {"cpu": "3"}}
SIDECAR = {"restartPolicy": "Always", "resources": ONE}
LEAST, MOST = "minimum cpu usage per {} is {}", "maximum cpu usage per {} is {}"


@pytest.mark.parametrize(
    ("item", "obj", "said"),
    [
        (container(min={"cpu": "1"}), pod(ONE), []),
        (container(min={"cpu": "2"}), pod(ONE),
         [LEAST.format("Container", 2) + ", but request is 1"]),
        (container(min={"cpu": "1"}), pod({}),
         [LEAST.format("Container", 1) + ". No request is specified"]),
        (container(max={"cpu": "500m"}), pod(ONE),
         [MOST.format("Container", "500m") + ", but limit is 1"]),
        (container(max={"cpu": "1"}), pod({"requests": {"cpu": "1"}}),
         [MOST.format("Container", 1) + ". No limit is specified"]),
        (container(max={"memory": "1Gi"}), pod({"limits": {"memory": "2Gi"}}),
         ["maximum memory usage per Container is 1Gi, but limit is 2Gi"]),
        ({"type": "Pod", "max": {"cpu": "2"}}, pod(ONE, ONE), []),
        ({"type": "Pod", "max": {"cpu": "1500m"}}, pod(ONE, ONE),
         [MOST.format("Pod", "1500m") + ", but limit is 2"]),
        ({"type": "Pod", "max": {"cpu": "2"}}, pod(ONE, init=[{"resources": THREE}]),
         [MOST.format("Pod", 2) + ", but limit is 3"]),
        ({"type": "Pod", "max": {"cpu": "2"}}, pod(ONE, ONE, init=[SIDECAR]),
         [MOST.format("Pod", 2) + ", but limit is 3"]),
        ({"type": "Pod", "min": {"cpu": "3"}}, pod(ONE, ONE),
         [LEAST.format("Pod", 3) + ", but request is 2"]),
        (container(maxLimitRequestRatio={"cpu": "2"}),
         pod({"limits": {"cpu": "3"}, "requests": {"cpu": "1"}}),
         ["cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"]),
        (container(maxLimitRequestRatio={"cpu": "2"}), pod({"requests": {"cpu": "1"}}),
         ["cpu max limit to request ratio per Container is 2, but no limit is specified or limit "
          "is 0"]),
        ({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}, pod({}), []),
    ],
)  # fmt: skip
def test_a_pod_is_held_to_the_limits(item, obj, said):
    assert [*pod_refusals(obj["spec"], ranges(item))] == said


def test_what_a_pod_asks_for_as_a_whole_counts_for_its_sum():
    limits = ranges({"type": "Pod", "max": {"cpu": "2"}})
    whole = pod({})["spec"] | {"resources": {"limits": {"cpu": "1"}}}
    assert not [*pod_refusals(whole, limits)]
    whole["resources"]["limits"]["cpu"] = "8"
    assert [*pod_refusals(whole, limits)] == [MOST.format("Pod", 2) + ", but limit is 8"]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"min": {"storage": "1Gi"}}, []),
        ({"min": {"storage": "5Gi"}},
         ["minimum storage usage per PersistentVolumeClaim is 5Gi, but request is 2Gi"]),
        ({"max": {"storage": "1Gi"}},
         ["maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"]),
    ],
)  # fmt: skip
def test_a_claim_is_held_to_the_limits(item, said):
    claim = {"resources": {"requests": {"storage": "2Gi"}}}
    limits = ranges({"type": "PersistentVolumeClaim", **item}, container(max={"storage": "1"}))
    assert [*claim_refusals(claim, limits)] == said


@pytest.mark.parametrize(
    ("items", "field", "says"),
    [
        ([container(), container()], "spec.limits[1].type", "Duplicate"),
        ([{"type": "Node"}], "spec.limits[0].type", "standard limit type"),
        ([{"type": ""}], "spec.limits[0].type", "Required"),
        ([{"type": "Pod", "default": {"cpu": "1"}}], "spec.limits[0].default", "type` is 'Pod'"),
        ([{"type": "PersistentVolumeClaim"}], "spec.limits[0]", "minimum or maximum storage"),
        ([container(min={"cpu": "2"}, max={"cpu": "1"})], "spec.limits[0].min[cpu]",
         "min value 2 is greater than max value 1"),
        ([container(defaultRequest={"cpu": "2"}, default={"cpu": "1"})],
         "spec.limits[0].defaultRequest[cpu]", "greater than default limit value"),
        ([container(default={"cpu": "2"}, max={"cpu": "1"})], "spec.limits[0].default[cpu]",
         "greater than max value"),
        ([container(min={"cpu": "-1"})], "spec.limits[0].min[cpu]", "non-negative"),
        ([container(maxLimitRequestRatio={"cpu": "0.5"})],
         "spec.limits[0].maxLimitRequestRatio[cpu]", "less than 1"),
    ],
)  # fmt: skip
def test_what_upstream_refuses_is_refused(items, field, says):
    found: dict[str, str] = {}
    for cause in KIND.validate(made(*items)):
        found[cause.field] = found.get(cause.field, "") + cause.message
    assert says in found.get(field, ""), found
