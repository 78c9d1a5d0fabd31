"""What pods take over from their RuntimeClass."""

import pytest

from scheduler.errors import Forbidden
from scheduler.objects.kinds.runtime import assign_runtime, runtime_view
from scheduler.objects.kinds.runtime_class import KIND
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, StoredObject

SLOW = {"cpu": "250m", "memory": "120Mi"}
TAINT = {"key": "sandboxed", "operator": "Exists", "effect": "NoSchedule"}


def known(text):
    meta = ObjectMeta(name="gvisor")
    stored = StoredObject("runtimeclasses.node.k8s.io", meta, 1, 1, Body(text))
    return {"gvisor": runtime_view(stored)}


PLAIN = known(b'{"handler":"runsc"}')
HEAVY = known(b'{"handler":"runsc","overhead":{"podFixed":{"cpu":"250m","memory":"120Mi"}}}')
PICKY = known(
    b'{"handler":"runsc","scheduling":{"nodeSelector":{"runtime":"gvisor"},"tolerations":'
    b'[{"key":"sandboxed","operator":"Exists","effect":"NoSchedule"}]}}'
)


@pytest.mark.parametrize(
    ("classes", "given", "becomes"),
    [
        (PLAIN, {}, {}),
        (HEAVY, {}, {"overhead": SLOW}),
        (HEAVY, {"overhead": SLOW}, {"overhead": SLOW}),
        (HEAVY, {"overhead": {"cpu": "0.25", "memory": "120Mi"}}, {"overhead": SLOW}),
        (PICKY, {}, {"nodeSelector": {"runtime": "gvisor"}, "tolerations": [TAINT]}),
        (
            PICKY,
            {"nodeSelector": {"zone": "a"}, "tolerations": [{"key": "x"}]},
            {
                "nodeSelector": {"zone": "a", "runtime": "gvisor"},
                "tolerations": [{"key": "x"}, TAINT],
            },
        ),
        (
            PICKY,
            {"nodeSelector": {"runtime": "gvisor"}, "tolerations": [TAINT]},
            {"nodeSelector": {"runtime": "gvisor"}, "tolerations": [TAINT]},
        ),
    ],
)
def test_a_pod_takes_over_what_its_class_says(classes, given, becomes):
    spec = {"runtimeClassName": "gvisor", **given}
    assign_runtime(spec, classes)
    assert spec == {"runtimeClassName": "gvisor", **becomes}


@pytest.mark.parametrize(
    ("classes", "given", "why"),
    [
        ({}, {}, 'pod rejected: RuntimeClass "gvisor" not found'),
        (PLAIN, {"overhead": SLOW}, "set without corresponding RuntimeClass defined Overhead"),
        (HEAVY, {"overhead": {"cpu": "1"}}, "doesn't match RuntimeClass's defined Overhead"),
        (PICKY, {"nodeSelector": {"runtime": "runc"}}, "conflict: runtimeClass.scheduling"),
    ],
)
def test_a_pod_that_says_something_else_is_forbidden(classes, given, why):
    with pytest.raises(Forbidden, match=why.replace("(", r"\(")):
        assign_runtime({"runtimeClassName": "gvisor", **given}, classes)


def test_a_pod_without_a_class_stays_as_it_is():
    spec = {"nodeSelector": {"zone": "a"}}
    assign_runtime(spec, HEAVY)
    assert spec == {"nodeSelector": {"zone": "a"}}


def test_a_pod_without_a_class_has_no_overhead():
    with pytest.raises(Forbidden, match="without corresponding RuntimeClass"):
        assign_runtime({"overhead": SLOW}, HEAVY)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "handler"),
        ({"handler": "io.containerd.runc"}, "handler"),
        ({"handler": "Runsc"}, "handler"),
        ({"handler": "runsc", "overhead": {"podFixed": {"cpu": "-1"}}}, "overhead.podFixed[cpu]"),
        (
            {"handler": "runsc", "scheduling": {"nodeSelector": {"a": "-"}}},
            "scheduling.nodeSelector",
        ),
        (
            {"handler": "runsc", "scheduling": {"tolerations": [{"effect": "NoSchedule"}]}},
            "scheduling.tolerations[0].operator",
        ),
    ],
)
def test_a_class_that_cannot_be_is_refused(body, field):
    assert [cause.field for cause in KIND.validate(body)] == [field]


def test_the_handler_stays_the_same():
    (cause,) = KIND.validate_update({"handler": "runsc"}, {"handler": "kata"})
    assert cause.field == "handler"
    assert not list(KIND.validate_update({"handler": "runsc"}, {"handler": "runsc"}))
