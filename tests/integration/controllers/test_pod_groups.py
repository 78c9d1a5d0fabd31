"""The status of PodGroups follows their members, and says when time has run out."""

import msgspec
import pytest

from scheduler.objects.pod_group import LABEL, RESOURCE
from scheduler.objects.stored import ObjectKey

KEY = ObjectKey(RESOURCE, "default", "g")


async def group(cluster, least=2, seconds=0):
    spec = {"minMember": least, "scheduleTimeoutSeconds": seconds}
    return await cluster.create(RESOURCE, "g", body={"spec": spec})


async def members(cluster, *numbers):
    return [await cluster.pod(f"p{number}", {LABEL: "g"}) for number in numbers]


async def numbers(cluster, **wanted):
    """Wait until the status has these numbers, and return it."""

    async def there():
        status = (await cluster.document(KEY)).get("status") or {}
        return status if all(status.get(k) == v for k, v in wanted.items()) else None

    return await cluster.until(there)


async def with_spec(cluster, **spec):
    """Change the spec as the API does."""
    stored = await cluster.store.get(KEY)
    await cluster.change(KEY, body=spec, generation=stored.meta.generation + 1)


async def told(cluster, reason):
    """Return the warnings of that reason."""
    events = await cluster.store.list("events")
    found = [msgspec.json.decode(event.body.json) for event in events.objects]
    return [e for e in found if (e["reason"], e["type"]) == (reason, "Warning")]


def condition(status):
    (found,) = status["conditions"]
    assert found["type"] == "Scheduled"
    return found["status"], found["reason"], found["message"]


async def bind(cluster, *pods, phase=None):
    for pod in pods:
        await cluster.bind(pod, "n")
        if phase:
            await cluster.change(pod.key, status={"phase": phase})


@pytest.mark.parametrize("before", [True, False], ids=["group first", "pods first"])
async def test_a_group_from_its_first_member_to_its_end(cluster, before):
    await cluster.node("n")
    if before:
        await group(cluster)
        status = await numbers(cluster, phase="Pending", members=0, observedGeneration=1)
        assert "schedulingStartTime" not in status
    (first,) = await members(cluster, 0)
    if not before:
        await group(cluster)
    status = await numbers(cluster, phase="Pending", members=1)
    assert condition(status) == (
        "False",
        "WaitingForMembers",
        'waiting for 1 more pod of PodGroup "g": 1 of 2 are there',
    )
    assert status["schedulingStartTime"] == "2030-01-01T00:00:00Z"
    (second,) = await members(cluster, 1)
    await numbers(cluster, phase="Scheduling", members=2, scheduled=0)
    await bind(cluster, first, second)
    status = await numbers(cluster, phase="Scheduled", scheduled=2, running=0)
    assert condition(status) == ("True", "Scheduled", "")
    assert "schedulingStartTime" not in status
    for pod in (first, second):
        await cluster.change(pod.key, status={"phase": "Running"})
    await numbers(cluster, phase="Running", running=2)
    await cluster.change(first.key, status={"phase": "Succeeded"})
    await numbers(cluster, phase="Running", members=1, running=1, succeeded=1)
    await cluster.change(second.key, status={"phase": "Failed"})
    await numbers(cluster, phase="Failed", members=0, succeeded=1, failed=1)
    await cluster.delete(second.key)
    await numbers(cluster, phase="Succeeded", succeeded=1, failed=0)


async def test_why_a_complete_gang_waits_is_what_its_pods_say(cluster):
    await group(cluster)
    pod, _ = await members(cluster, 0, 1)
    said = {"type": "PodScheduled", "status": "False", "message": "no room"}
    await cluster.change(pod.key, status={"conditions": [said]})

    async def there():
        status = (await cluster.document(KEY)).get("status") or {"conditions": []}
        return any(c["message"] == "no room" for c in status.get("conditions", ()))

    await cluster.until(there)


@pytest.mark.parametrize("count", [1, 2], ids=["incomplete", "complete"])
@pytest.mark.parametrize("what", ["spec", "another", "one less"])
async def test_a_deadline_passes_and_something_changes(cluster, count, what):
    await group(cluster, seconds=30)
    pods = await members(cluster, *range(count))
    await numbers(cluster, members=count)
    cluster.clock.pass_time(29)
    await cluster.change(pods[0].key, status={"phase": "Pending", "message": "looks again"})
    await numbers(cluster, phase="Scheduling" if count == 2 else "Pending")
    cluster.clock.pass_time(1)
    status = await numbers(cluster, phase="Failed")
    word, reason, message = condition(status)
    assert (word, reason) == ("False", "DeadlineExceeded")
    assert message.startswith('PodGroup "g" was not scheduled within 30 s; it is tried again once')
    await cluster.until(lambda: told(cluster, reason), "events")
    cluster.clock.pass_time(100)
    if what == "spec":
        await with_spec(cluster, scheduleTimeoutSeconds=60)
    elif what == "another":
        await members(cluster, 7)
    else:
        await cluster.delete(pods[0].key)
    status = await numbers(cluster, phase="Scheduling" if _enough(count, what) else "Pending")
    if what == "one less" and count == 1:
        assert "schedulingStartTime" not in status
    else:
        assert status["schedulingStartTime"] == "2030-01-01T00:02:10Z"
    assert condition(status)[1] != "DeadlineExceeded"


def _enough(count, what):
    return count + {"spec": 0, "another": 1, "one less": -1}[what] >= 2


async def test_pods_of_others_do_not_count(cluster):
    await group(cluster)
    await cluster.pod("other", {LABEL: "h"})
    pod, leaves = await members(cluster, 0, 1)
    await numbers(cluster, members=2)
    await cluster.change(leaves.key, labels={})
    await numbers(cluster, members=1)
    await cluster.change(pod.key, labels={LABEL: "h"})
    await numbers(cluster, members=0, phase="Pending")
