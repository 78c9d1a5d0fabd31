"""PodGroups: who belongs to one, and what one may ask for."""

import pytest

from scheduler.objects.kinds import REGISTRY
from scheduler.objects.meta import now_seconds
from scheduler.objects.pod import PodSpec, SchedulingGroup
from scheduler.objects.pod_group import COSCHEDULING_LABEL, LABEL, group_name

KIND = REGISTRY.by_resource("podgroups.ironfree.dev")


def group(**spec):
    return {
        "apiVersion": "ironfree.dev/v1",
        "kind": "PodGroup",
        "metadata": {"name": "g"},
        "spec": spec,
    }


@pytest.mark.parametrize(
    ("labels", "named", "expected"),
    [
        ({}, "", ""),
        ({"app": "x"}, "", ""),
        ({LABEL: "a"}, "", "a"),
        ({COSCHEDULING_LABEL: "b"}, "", "b"),
        ({COSCHEDULING_LABEL: "b", LABEL: "a"}, "", "a"),
        ({COSCHEDULING_LABEL: "b", LABEL: "a"}, "c", "c"),
    ],
)
def test_membership(labels, named, expected):
    spec = PodSpec(scheduling_group=SchedulingGroup(named) if named else None)
    assert group_name(labels, spec) == expected


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"minMember": 0}, "spec.minMember"),
        ({"minMember": -1}, "spec.minMember"),
        ({"minMember": 4097}, "spec.minMember"),
        ({"minMember": 2, "scheduleTimeoutSeconds": -1}, "spec.scheduleTimeoutSeconds"),
    ],
)
def test_what_is_refused(spec, field):
    assert [cause.field for cause in KIND.validate(group(**spec))] == [field]


@pytest.mark.parametrize("spec", [{"minMember": 1}, {"minMember": 4096}, {}])
def test_what_is_accepted(spec):
    obj = group(**spec)
    KIND.default(obj)
    assert list(KIND.validate(obj)) == []
    assert obj["spec"]["minMember"] == spec.get("minMember", 1)


def test_what_is_printed():
    status = {
        "phase": "Scheduling",
        "members": 3,
        "scheduled": 1,
        "running": 0,
        "conditions": [{"type": "Scheduled", "status": "False", "message": "no room"}],
    }
    cells = KIND.printer.cells({**group(minMember=3), "status": status}, now_seconds())
    assert cells == ("g", "Scheduling", 3, 3, 1, 0, "<unknown>", "no room")
