"""What a disruption budget allows, from the pods it covers."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from scheduler.controllers.disruption_plan import PATIENCE, amount, plan
from scheduler.objects.disruption import disruption_budget
from scheduler.objects.meta import ObjectMeta, OwnerReference
from scheduler.objects.pod import Condition, Pod, PodSpec, PodStatus
from scheduler.objects.stored import Body, StoredObject

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def budget(disrupted=None, **spec):
    spec.setdefault("selector", {"matchLabels": {"app": "web"}})
    status = {"disruptedPods": {k: v.isoformat() for k, v in (disrupted or {}).items()}}
    meta = ObjectMeta(name="b", namespace="d", generation=3)
    body = Body(msgspec.json.encode({"spec": spec}))
    encoded = msgspec.json.encode(status)
    return disruption_budget(StoredObject("poddisruptionbudgets.policy", meta, 1, 1, body, encoded))


def pod(name, *, ready=True, deleting=False, owner="rc", labels=None):
    owners = (OwnerReference("v1", "ReplicationController", owner, owner, True),) if owner else ()
    meta = ObjectMeta(
        name=name,
        namespace="d",
        labels=labels or {"app": "web"},
        owner_references=owners,
        deletion_timestamp=NOW if deleting else None,
    )
    conditions = (Condition("Ready", "True" if ready else "False"),)
    return Pod(meta, PodSpec(), PodStatus(phase="Running", conditions=conditions), "n", 1, b"")


def numbers(found):
    status = found.status
    return (
        status.current_healthy,
        status.desired_healthy,
        status.expected_pods,
        status.disruptions_allowed,
    )


THREE = [pod("a"), pod("b"), pod("c")]


@pytest.mark.parametrize(
    ("spec", "pods", "scales", "expected"),
    [
        ({"minAvailable": 2}, THREE, {}, (3, 2, 3, 1)),
        ({"minAvailable": 3}, THREE, {}, (3, 3, 3, 0)),
        ({"minAvailable": 5}, THREE, {}, (3, 5, 3, 0)),
        ({"minAvailable": 0}, THREE, {}, (3, 0, 3, 3)),
        ({"minAvailable": 0}, [], {}, (0, 0, 0, 0)),
        ({}, THREE, {}, (3, 0, 3, 3)),
        ({"minAvailable": "50%"}, THREE, {"rc": 3}, (3, 2, 3, 1)),
        ({"minAvailable": "100%"}, THREE, {"rc": 3}, (3, 3, 3, 0)),
        ({"minAvailable": "0%"}, THREE, {"rc": 3}, (3, 0, 3, 3)),
        ({"minAvailable": "50%"}, THREE, {"rc": 10}, (3, 5, 10, 0)),
        ({"maxUnavailable": 1}, THREE, {"rc": 3}, (3, 2, 3, 1)),
        ({"maxUnavailable": 1}, THREE, {"rc": 4}, (3, 3, 4, 0)),
        ({"maxUnavailable": 9}, THREE, {"rc": 3}, (3, 0, 3, 3)),
        ({"maxUnavailable": "34%"}, THREE, {"rc": 3}, (3, 1, 3, 2)),
        ({"maxUnavailable": "0%"}, THREE, {"rc": 3}, (3, 3, 3, 0)),
        ({"maxUnavailable": 1}, THREE, {"rc": 2, "other": 1}, (3, 2, 3, 1)),
        ({"maxUnavailable": 1}, THREE, {}, (3, 0, 0, 0)),
        ({"minAvailable": 1}, [pod("a"), pod("b", ready=False)], {}, (1, 1, 2, 0)),
        ({"minAvailable": 1}, [pod("a"), pod("b", deleting=True)], {}, (1, 1, 2, 0)),
    ],
)
def test_numbers(spec, pods, scales, expected):
    found = plan(budget(**spec), pods, scales, NOW)
    assert numbers(found) == expected
    assert found.status.observed_generation == 3


def test_a_pod_whose_eviction_was_allowed_is_not_healthy_for_a_while():
    since = NOW - timedelta(seconds=30)
    found = plan(budget({"a": since, "gone": since}, minAvailable=1), THREE, {}, NOW)
    assert numbers(found) == (2, 1, 3, 1)
    assert found.status.disrupted_pods == {"a": since}
    assert found.look_again == PATIENCE - timedelta(seconds=29)


def test_a_pod_that_did_not_go_counts_again():
    since = NOW - PATIENCE - timedelta(seconds=1)
    found = plan(budget({"a": since}, minAvailable=1), THREE, {}, NOW)
    assert numbers(found) == (3, 1, 3, 2)
    assert found.stayed == ("a",)
    assert not found.status.disrupted_pods
    assert found.look_again is None


def test_a_pod_that_goes_is_forgotten():
    found = plan(budget({"a": NOW}, minAvailable=1), [pod("a", deleting=True)], {}, NOW)
    assert not found.status.disrupted_pods


@pytest.mark.parametrize(
    ("value", "of", "expected"),
    [(3, 10, 3), ("1%", 1, 1), ("50%", 3, 2), ("100%", 7, 7), ("0%", 7, 0)],
)
def test_percentages_are_rounded_up(value, of, expected):
    assert amount(value, of) == expected


@pytest.mark.parametrize(
    ("selector", "labels", "covered"),
    [
        ({"matchLabels": {"app": "web"}}, {"app": "web"}, True),
        ({"matchLabels": {"app": "web"}}, {"app": "db"}, False),
        ({}, {"app": "db"}, True),
        (None, {"app": "web"}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Odd"}]}, {"app": "web"}, False),
    ],
)
def test_whom_a_budget_covers(selector, labels, covered):
    assert budget(selector=selector).covers(pod("a", labels=labels)) is covered
