"""What pods hold while containers are resized in place (component-helpers, UseStatusResources)."""

import pytest

from scheduler.errors import BadRequest
from scheduler.objects.resizing import count_held


def held(asked, has, allocated=None, *, conditions=(), **container):
    """Return the requests of a container of such a spec and status."""
    resources = {} if asked is None else {"requests": asked}
    status = {"name": "c"}
    if has is not None:
        status["resources"] = {"requests": has}
    if allocated is not None:
        status["allocatedResources"] = allocated
    field = container.pop("field", "containers")
    pod = {
        "spec": {field: [{"name": "c", "resources": resources, **container}]},
        "status": {
            "containerStatuses" if field == "containers" else "initContainerStatuses": [status],
            "conditions": list(conditions),
        },
    }
    count_held(pod)
    return pod["spec"][field][0]["resources"].get("requests")


PENDING = {"type": "PodResizePending", "status": "True"}
INFEASIBLE = {**PENDING, "reason": "Infeasible"}
DEFERRED = {**PENDING, "reason": "Deferred"}


@pytest.mark.parametrize(
    ("asked", "has", "allocated", "counts"),
    [
        ({"cpu": "1"}, {"cpu": "1"}, {"cpu": "1"}, {"cpu": "1"}),
        ({"cpu": "2"}, {"cpu": "1"}, {"cpu": "1"}, {"cpu": "2"}),
        ({"cpu": "1"}, {"cpu": "2"}, {"cpu": "1"}, {"cpu": "2"}),
        ({"cpu": "1"}, {"cpu": "1"}, {"cpu": "3"}, {"cpu": "3"}),
        ({"cpu": "1"}, {"memory": "1Gi"}, {"cpu": "500m"}, {"cpu": "1", "memory": "1Gi"}),
        ({"cpu": "999m"}, {"cpu": "1"}, None, {"cpu": "1"}),
        ({"memory": "1Gi"}, {"memory": "1G"}, None, {"memory": "1Gi"}),
        (None, {"cpu": "1"}, None, {"cpu": "1"}),
        ({"cpu": "1"}, {}, None, {"cpu": "1"}),
        # what was allocated counts only beside what the container has
        ({"cpu": "1"}, None, {"cpu": "3"}, {"cpu": "1"}),
    ],
)
def test_the_largest_of_asked_had_and_allocated_counts(asked, has, allocated, counts):
    assert held(asked, has, allocated) == counts


@pytest.mark.parametrize(
    ("conditions", "counts"),
    [
        ([INFEASIBLE], {"cpu": "2"}),
        ([DEFERRED], {"cpu": "4"}),
        ([DEFERRED, INFEASIBLE], {"cpu": "4"}),
        ([{**INFEASIBLE, "type": "Ready"}], {"cpu": "4"}),
    ],
)
def test_what_a_node_can_never_give_does_not_count(conditions, counts):
    assert held({"cpu": "4"}, {"cpu": "1"}, {"cpu": "2"}, conditions=conditions) == counts


@pytest.mark.parametrize(("restart", "counts"), [("Always", "3"), (None, "1")])
def test_of_init_containers_only_sidecars_hold_anything(restart, counts):
    policy = {"restartPolicy": restart} if restart else {}
    found = held({"cpu": "1"}, {"cpu": "3"}, field="initContainers", **policy)
    assert found == {"cpu": counts}


def test_the_status_of_another_container_does_not_count():
    pod = {
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {"containerStatuses": [{"name": "d", "resources": {"requests": {"cpu": "3"}}}]},
    }
    count_held(pod)
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}


def test_an_amount_that_cannot_be_read_is_refused():
    with pytest.raises(BadRequest, match="quantities must match"):
        held({"cpu": "1"}, {"cpu": "1x"})
