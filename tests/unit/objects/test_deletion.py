"""How long a pod that is deleted stays."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from scheduler.objects.deletion import DeletionRequest, delete
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import AT_MOST_ONCE
from scheduler.objects.stored import Binding, Body, StoredObject

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ONCE = {AT_MOST_ONCE: "true"}


def pod(grace, annotations=None, finalizers=()):
    body = b'{"spec":{"terminationGracePeriodSeconds":%d}}' % grace
    meta = ObjectMeta(name="p", uid="p", annotations=annotations or {}, finalizers=finalizers)
    return StoredObject("pods", meta, 1, 1, Body(body), binding=Binding("a", NOW))


@pytest.mark.parametrize(
    ("grace", "annotations", "asked", "left"),
    [
        (30, {}, None, 30),
        (30, {}, 5, 5),
        (0, {}, None, None),
        (0, ONCE, None, 1),
        (30, ONCE, None, 30),
        (30, ONCE, 0, None),
    ],
)
def test_what_may_run_once_at_most_stays_until_its_host_has_ended_it(
    grace, annotations, asked, left
):
    meta = delete(pod(grace, annotations), DeletionRequest(asked), NOW)
    assert (meta and meta.deletion_grace_period_seconds) == left


@pytest.mark.parametrize(("asked", "left"), [(0, 0), (10, 10), (60, 30), (None, 30)])
def test_a_repeat_may_shorten_the_grace_even_when_its_time_is_over(asked, left):
    stored = pod(30, finalizers=("a/b",))
    first = delete(stored, DeletionRequest(), NOW)
    later = NOW + timedelta(hours=1)
    again = delete(replace(stored, meta=first), DeletionRequest(asked), later)
    assert again.deletion_grace_period_seconds == left
    assert again.deletion_timestamp == first.deletion_timestamp
    assert (again == first) == (left == 30)
