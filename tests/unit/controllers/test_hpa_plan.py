"""What an autoscaler does, from what its pods use (the algorithm that Kubernetes documents)."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from scheduler.controllers.hpa_behavior import Memory, Past
from scheduler.controllers.hpa_metrics import Replica
from scheduler.controllers.hpa_plan import Rescale, Target, not_rescaled, plan, unreachable
from scheduler.meter import Rate
from scheduler.objects.horizontal_pod_autoscaler import RESOURCE, autoscaler_view
from scheduler.objects.kinds import REGISTRY
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Condition, Container, Pod, PodSpec, PodStatus
from scheduler.objects.pod import ResourceRequirements as Requirements
from scheduler.objects.stored import Body, StoredObject

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR_AGO = NOW - timedelta(hours=1)
MI = 1 << 20


def cpu(percent=50, container=""):
    target = {"type": "Utilization", "averageUtilization": percent}
    return metric("cpu", target, container)


def average(resource, amount, container=""):
    return metric(resource, {"type": "AverageValue", "averageValue": amount}, container)


def metric(resource, target, container):
    if container:
        source = {"name": resource, "target": target, "container": container}
        return {"type": "ContainerResource", "containerResource": source}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


PODS = {"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": {"type": "Value"}}}


def hpa(*metrics, status=None, **spec):
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    given = {"scaleTargetRef": reference, "maxReplicas": 10, "metrics": [*metrics], **spec}
    obj = {"spec": given}
    REGISTRY.by_resource(RESOURCE).default(obj)
    meta = ObjectMeta(name="h", namespace="d", uid="u", generation=2)
    body = Body(msgspec.json.encode(obj))
    encoded = msgspec.json.encode(status) if status else b""
    return autoscaler_view(StoredObject(RESOURCE, meta, 1, 1, body, encoded))


def replica(
    name,
    millicores=None,
    *,
    memory=0,
    phase="Running",
    ready=True,
    started=HOUR_AGO,
    turned=HOUR_AGO,
    request="100m",
    deleting=False,
    containers=("c",),
):
    """A pod that has been measured a moment ago over 15 seconds, unless millicores is None."""
    requests = {"cpu": request, "memory": "100Mi"} if request else {}
    spec = PodSpec(tuple(Container(c, resources=Requirements(requests)) for c in containers))
    conditions = (Condition("Ready", "True" if ready else "False", last_transition_time=turned),)
    status = PodStatus(phase=phase, conditions=conditions, start_time=started)
    meta = ObjectMeta(name=name, namespace="d", deletion_timestamp=NOW if deleting else None)
    rate = None
    if millicores is not None:
        rate = Rate(millicores * 1_000_000, memory, 15.0, NOW - timedelta(seconds=1))
    usage = None if rate is None else dict.fromkeys(containers, rate)
    return Replica(Pod(meta, spec, status, "n", 1, b""), usage)


def pods(*millicores, **more):
    return [replica(f"p{i}", used, **more) for i, used in enumerate(millicores)]


BOOTING = {"started": NOW - timedelta(seconds=30), "ready": False}


def new(name, millicores, **more):
    return replica(name, millicores, **{**BOOTING, **more})


# metrics, present replicas, pods, wanted replicas, all without a past that holds them back
SCALES = {
    "half the wanted use": ([cpu()], 4, pods(25, 25, 25, 25), 2),
    "twice the wanted use": ([cpu()], 2, pods(100, 100), 4),
    "more than four times": ([cpu(10)], 2, pods(100, 100), 6),  # 4 more, the policy's most
    "doubling beats four more": ([cpu(10)], 5, pods(*[90] * 5), 10),
    "rounded up": ([cpu()], 3, pods(60, 60, 60), 4),
    "within the tolerance above": ([cpu()], 3, pods(55, 55, 55), 3),
    "within the tolerance below": ([cpu()], 3, pods(45, 45, 45), 3),
    "just outside the tolerance": ([cpu()], 3, pods(56, 56, 56), 4),
    "just outside below": ([cpu()], 10, pods(*[44] * 10), 9),
    "exactly at the edge": ([cpu(10)], 10, pods(*[11] * 10), 10),
    "exact where floats are not": ([cpu(10)], 10, pods(*[11] * 10, request="90m"), 10),
    "idle, down to the least": ([cpu()], 4, pods(0, 0, 0, 0), 1),
    "an average value": ([average("cpu", "50m")], 2, pods(100, 100), 4),
    "memory": ([average("memory", "50Mi")], 2, pods(0, 0, memory=75 * MI), 3),
    "the most of several metrics": ([cpu(), average("memory", "50Mi")], 2,
                                    pods(10, 10, memory=100 * MI), 4),
    "one container only": ([cpu(50, "b")], 2, pods(100, 100, containers=("a", "b")), 4),
    "an average of one container": ([average("cpu", "50m", "b")], 2,
                                    pods(100, 100, containers=("a", "b")), 4),
    # pods that do not count
    "missing pods use all when shrinking": ([cpu()], 4, pods(10, 10, 10, None), 3),
    "missing pods may keep it as it is": ([cpu()], 3, pods(20, 20, None), 3),
    "missing pods use nothing when growing": ([cpu()], 4, pods(100, 100, None, None), 4),
    "missing pods make growth smaller": ([cpu()], 3, pods(150, 150, None), 6),
    "missing pods of an average": ([average("cpu", "50m")], 4, pods(10, 10, 10, None), 2),
    "unready pods use nothing when growing": ([cpu()], 3, [*pods(100, 100), new("x", 100)], 4),
    "unready pods do not count when shrinking": ([cpu()], 3, [*pods(25, 25), new("x", 100)], 1),
    "pending pods are unready": ([cpu()], 3,
                                 [*pods(100, 100), replica("x", phase="Pending")], 4),
    "no change of direction": ([cpu()], 4, [*pods(60), *(new(f"x{i}", 9) for i in range(3))], 4),
    "failed pods do not count": ([cpu()], 3, [*pods(100, 100), replica("x", 900, phase="Failed")],
                                 4),
    "leaving pods do not count": ([cpu()], 3, [*pods(100, 100), replica("x", 9, deleting=True)],
                                  4),
    "memory counts from the start": ([average("memory", "50Mi")], 2,
                                     [new("a", 0, memory=100 * MI), new("b", 0, memory=100 * MI)],
                                     4),
    "a ready pod counts once its window is over": (
        [cpu()], 1, [new("a", 100, ready=True, turned=NOW - timedelta(seconds=20))], 2),
    "a late start counts even if unready": (
        [cpu()], 1, [replica("a", 100, ready=False, turned=NOW - timedelta(minutes=1))], 2),
    # metrics that fail
    "a failing metric lets it grow": ([PODS, cpu()], 2, pods(100, 100), 4),
}  # fmt: skip


@pytest.mark.parametrize("case", SCALES.values(), ids=SCALES.keys())
def test_how_many_are_wanted(case):
    metrics, current, replicas, wanted = case
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    found = plan(hpa(*metrics, behavior=behavior), Target(current), replicas, Memory(), NOW)
    assert found.status.desired_replicas == wanted
    assert found.status.current_replicas == current
    assert (found.rescale is None) == (wanted == current)


def conditions(found):
    return {c.type: (c.status, c.reason) for c in found.status.conditions}


# present replicas, pods, spec, target, the reason of ScalingActive False, part of its message
FAILS = {
    "nothing measured": (2, pods(None, None), [cpu()], {},
                         "FailedGetResourceMetric", "no pod has been measured yet"),
    "no pods": (2, [], [cpu()], {}, "FailedGetResourceMetric", "there are no pods"),
    "all too young": (1, [new("a", 100)], [cpu()], {},
                      "FailedGetResourceMetric", "pods might be unready"),
    "ready, but not for a whole window": (
        1, [new("a", 100, ready=True, turned=NOW - timedelta(seconds=5))], [cpu()], {},
        "FailedGetResourceMetric", "pods might be unready"),
    "never ready": (1, [replica("a", 100, ready=False, turned=HOUR_AGO)], [cpu()], {},
                    "FailedGetResourceMetric", "pods might be unready"),
    "no request": (2, pods(9, 9, request=""), [cpu()], {},
                   "FailedGetResourceMetric", "missing request for cpu in container c of Pod p0"),
    "another resource": (2, pods(9, 9), [average("x.y/gpu", "1")], {},
                         "FailedGetResourceMetric", "cpu and memory only"),
    "a container that is not there": (2, pods(9, 9), [cpu(50, "z")], {},
                                      "FailedGetContainerResourceMetric", "did not receive"),
    "metrics of pods": (2, pods(9, 9), [PODS], {},
                        "FailedGetPodsMetric", "unable to get metric hits"),
    "metrics from elsewhere": (2, pods(9, 9), [{"type": "External"}], {},
                               "FailedGetExternalMetric", "no custom or external metrics API"),
    "a failing metric keeps it from shrinking": (4, pods(1, 1, 1, 1), [cpu(), PODS], {},
                                                 "FailedGetPodsMetric", "hits"),
    "no selector": (2, pods(9, 9), [cpu()], {"selects": False}, "InvalidSelector", "selector"),
    "two autoscalers": (2, pods(9, 9), [cpu()], {"rivals": 1}, "AmbiguousSelector", "by 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILS.values(), ids=FAILS.keys())
def test_what_cannot_be_worked_out_changes_nothing_and_is_told(case):
    current, replicas, metrics, target, reason, says = case
    found = plan(hpa(*metrics), Target(current, **target), replicas, Memory(), NOW)
    assert found.rescale is None
    active = next(c for c in found.status.conditions if c.type == "ScalingActive")
    assert (active.status, active.reason) == ("False", reason)
    assert says in active.message
    assert (found.notes[0].reason, found.notes[0].warning) == (reason, True)


def test_the_limits_come_before_the_metrics():
    bounded = hpa(cpu(), minReplicas=3, maxReplicas=5)
    found = plan(bounded, Target(8), [], Memory(), NOW)
    above, below = "above Spec.MaxReplicas", "below Spec.MinReplicas"
    assert found.rescale == Rescale(8, 5, f"Current number of replicas {above}")
    found = plan(bounded, Target(1), [], Memory(), NOW)
    assert found.rescale == Rescale(1, 3, f"Current number of replicas {below}")
    found = plan(bounded, Target(0), [], Memory(), NOW)
    assert found.rescale is None
    assert conditions(found)["ScalingActive"] == ("False", "ScalingDisabled")


@pytest.mark.parametrize(
    ("spec", "current", "used", "wanted", "reason"),
    [
        ({"maxReplicas": 3}, 2, [100, 100], 3, "TooManyReplicas"),
        ({"minReplicas": 2}, 4, [0] * 4, 2, "TooFewReplicas"),
        ({}, 2, [900, 900], 6, "ScaleUpLimit"),
        ({}, 2, [100, 100], 4, "DesiredWithinRange"),
        ({}, 2, [50, 50], 2, "DesiredWithinRange"),
    ],
)
def test_limits_are_told(spec, current, used, wanted, reason):
    given = hpa(cpu(), behavior={"scaleDown": {"stabilizationWindowSeconds": 0}}, **spec)
    found = plan(given, Target(current), pods(*used), Memory(), NOW)
    assert found.status.desired_replicas == wanted
    limited = reason != "DesiredWithinRange"
    assert conditions(found)["ScalingLimited"] == ("True" if limited else "False", reason)


def policy(kind, value, seconds=60):
    return {"type": kind, "value": value, "periodSeconds": seconds}


def seconds_ago(seconds, replicas):
    return Past(NOW - timedelta(seconds=seconds), replicas)


IDLE, BUSY = [0] * 10, [900] * 10
# rules, use of ten replicas, what was, wanted replicas
RATES = {
    "pods upwards": ({"scaleUp": {"policies": [policy("Pods", 2)]}}, BUSY, Memory(), 12),
    "percent upwards, rounded up": (
        {"scaleUp": {"policies": [policy("Percent", 15)]}}, BUSY, Memory(), 12),
    "the larger change": (
        {"scaleUp": {"policies": [policy("Pods", 2), policy("Percent", 50)]}}, BUSY, Memory(), 15),
    "the smaller change": (
        {"scaleUp": {"selectPolicy": "Min",
                     "policies": [policy("Pods", 2), policy("Percent", 50)]}},
        BUSY, Memory(), 12),
    "never upwards": ({"scaleUp": {"selectPolicy": "Disabled"}}, BUSY, Memory(), 10),
    "what the period has seen counts": (
        {"scaleUp": {"policies": [policy("Pods", 5)]}}, BUSY,
        Memory(added=(seconds_ago(30, 3),)), 12),
    "a used up period": (
        {"scaleUp": {"policies": [policy("Pods", 3)]}}, BUSY,
        Memory(added=(seconds_ago(30, 5),)), 10),
    "an older change does not count": (
        {"scaleUp": {"policies": [policy("Pods", 5)]}}, BUSY,
        Memory(added=(seconds_ago(61, 3),)), 15),
    "what was removed may come back": (
        {"scaleUp": {"policies": [policy("Pods", 1)]}}, BUSY,
        Memory(removed=(seconds_ago(30, 4),)), 15),
    "pods downwards": ({"scaleDown": {"policies": [policy("Pods", 4)]}}, IDLE, Memory(), 6),
    "percent downwards": ({"scaleDown": {"policies": [policy("Percent", 10)]}}, IDLE, Memory(), 9),
    "the larger change downwards": (
        {"scaleDown": {"policies": [policy("Pods", 4), policy("Percent", 10)]}}, IDLE, Memory(), 6),
    "the smaller change downwards": (
        {"scaleDown": {"selectPolicy": "Min",
                       "policies": [policy("Pods", 4), policy("Percent", 10)]}},
        IDLE, Memory(), 9),
    "never downwards": ({"scaleDown": {"selectPolicy": "Disabled"}}, IDLE, Memory(), 10),
    "a tolerance of its own": ({"scaleUp": {"tolerance": "0.5"}}, [70] * 10, Memory(), 10),
    "no tolerance": ({"scaleUp": {"tolerance": "0"}}, [51] * 10, Memory(), 11),
    "windows: the highest holds": (
        {"scaleDown": {"stabilizationWindowSeconds": 300}}, IDLE,
        Memory(recommended=(seconds_ago(299, 8), seconds_ago(10, 2))), 8),
    "windows: an older one does not": (
        {"scaleDown": {"stabilizationWindowSeconds": 300}}, IDLE,
        Memory(recommended=(seconds_ago(300, 8), seconds_ago(10, 2))), 2),
    "windows: the lowest holds": (
        {"scaleUp": {"stabilizationWindowSeconds": 60}}, BUSY,
        Memory(recommended=(seconds_ago(50, 12),)), 12),
    "windows: never beyond the present": (
        {"scaleUp": {"stabilizationWindowSeconds": 60}}, BUSY,
        Memory(recommended=(seconds_ago(50, 4),)), 10),
}  # fmt: skip


@pytest.mark.parametrize("case", RATES.values(), ids=RATES.keys())
def test_how_fast_it_goes(case):
    behavior, used, memory, wanted = case
    down = {"stabilizationWindowSeconds": 0, **behavior.get("scaleDown", {})}
    given = hpa(cpu(), maxReplicas=100, behavior={**behavior, "scaleDown": down})
    found = plan(given, Target(10), pods(*used), memory, NOW)
    assert found.status.desired_replicas == wanted


def test_a_new_leader_does_not_shrink_for_five_minutes():
    given, memory = hpa(cpu()), Memory()
    for minutes in (0, 4):
        now = NOW + timedelta(minutes=minutes)
        found = plan(given, Target(4), pods(0, 0, 0, 0), memory, now)
        assert found.rescale is None
        assert conditions(found)["AbleToScale"] == ("True", "ScaleDownStabilized")
        memory = found.memory
    found = plan(given, Target(4), pods(0, 0, 0, 0), memory, NOW + timedelta(minutes=5))
    assert found.rescale == Rescale(4, 1, "All metrics below target")


def test_what_no_window_reaches_is_forgotten():
    past = tuple(seconds_ago(at, 1) for at in (4000, 301, 299))
    found = plan(hpa(cpu()), Target(2), pods(50, 50), Memory(past, past, past), NOW)
    assert len(found.memory.recommended) == 2
    assert found.memory.added == found.memory.removed == ()


def test_a_change_is_remembered_with_its_direction():
    assert Memory().scaled(2, 5, NOW) == Memory(added=(Past(NOW, 3),))
    assert Memory().scaled(5, 2, NOW) == Memory(removed=(Past(NOW, 3),))


def test_a_status_tells_it_all():
    found = plan(
        hpa(cpu(), average("memory", "80Mi")), Target(2), pods(80, 90, memory=MI), Memory(), NOW
    )
    status = msgspec.to_builtins(found.status)
    assert status["observedGeneration"] == 2
    assert status["lastScaleTime"] == "2026-01-01T12:00:00Z"
    current = {"averageUtilization": 85, "averageValue": "85m"}
    first, second = status["currentMetrics"]
    assert first == {"type": "Resource", "resource": {"name": "cpu", "current": current}}
    assert second["resource"]["current"] == {"averageValue": "1048576"}
    assert conditions(found) == {
        "AbleToScale": ("True", "SucceededRescale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    reason = "cpu resource utilization (percentage of request) above target"
    assert found.rescale == Rescale(2, 4, reason)


def test_a_condition_keeps_its_time_until_its_status_changes():
    before = plan(hpa(cpu()), Target(2), pods(50, 50), Memory(), HOUR_AGO).status
    again = hpa(cpu(), status=msgspec.to_builtins(before))
    same = plan(again, Target(2), pods(50, 50), Memory(), NOW).status
    assert same == before
    other = plan(again, Target(2), pods(None, None), Memory(), NOW).status
    times = {c.type: c.last_transition_time for c in other.conditions}
    assert (times["AbleToScale"], times["ScalingActive"]) == (HOUR_AGO, NOW)


def test_a_target_that_is_not_there():
    found = unreachable(hpa(cpu()), 'deployments.apps "web" not found', Memory(), NOW)
    assert conditions(found) == {"AbleToScale": ("False", "FailedGetScale")}
    assert [note.reason for note in found.notes] == ["FailedGetScale"]


def test_a_number_that_cannot_be_written():
    given = hpa(cpu(), status={"desiredReplicas": 2})
    planned = plan(given, Target(2), pods(100, 100), Memory(), NOW)
    found = not_rescaled(given, planned, "it was changed", NOW)
    assert conditions(found)["AbleToScale"] == ("False", "FailedUpdateScale")
    assert (found.status.desired_replicas, found.status.last_scale_time) == (2, None)
    assert "New size: 4" in found.notes[0].message
    assert found.memory.added == ()
