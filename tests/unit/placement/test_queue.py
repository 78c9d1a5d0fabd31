"""Order, back-off, parking and waking in the scheduling queue."""

from scheduler.hookspecs import Change
from scheduler.objects.stored import ObjectKey
from scheduler.placement.framework import Diagnosis
from scheduler.placement.plan import PendingPod
from scheduler.placement.queue import SchedulingQueue
from tests.placement_cases import a_class

ONE, TWO, URGENT = a_class(cpu="1"), a_class(cpu="2"), a_class(cpu="1", priority=5)
WAITS = Diagnosis(1, (), Change.NODE_ADDED)


def named(name):
    return PendingPod(ObjectKey("pods", "default", name), name)


def names(batch):
    return [[pod.uid for pod in pods] for _, pods in batch]


def popped(queue, now=0.0, limit=100, classes=100):
    return names(queue.pop(limit, classes, now))


def test_priority_then_first_come_and_identical_together():
    queue = SchedulingQueue()
    for wanted, name in [(ONE, "a"), (TWO, "b"), (ONE, "c"), (URGENT, "d")]:
        queue.add(wanted, named(name))
    assert popped(queue) == [["d"], ["a", "c"], ["b"]]
    assert not queue.ready(0.0)


def test_a_group_cut_off_queues_again_where_its_next_pod_stands():
    queue = SchedulingQueue()
    for wanted, name in [(ONE, "a"), (TWO, "b"), (ONE, "c")]:
        queue.add(wanted, named(name))
    assert popped(queue, limit=1) == [["a"]]
    assert popped(queue, limit=1) == [["b"]]
    assert popped(queue, limit=1) == [["c"]]


def test_parked_pods_wake_for_what_can_help_after_their_back_off():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"))
    popped(queue)
    queue.park(ONE, [named("a")], WAITS, 0.0)
    assert queue.changed(Change.POD_REMOVED, 5.0) == 0
    assert not queue.ready(5.0)
    assert queue.changed(Change.NODE_ADDED, 0.5) == 1
    assert not queue.ready(0.9)
    assert queue.next_timer() == 1.0
    assert popped(queue, 1.0) == [["a"]]


def test_back_off_doubles_to_ten_seconds_and_is_forgotten_with_success():
    queue, now, waits = SchedulingQueue(), 0.0, []
    queue.add(ONE, named("a"))
    for _ in range(6):
        assert popped(queue, now) == [["a"]]
        queue.retry(ONE, [named("a")], now, backoff=True)
        waits.append(queue.next_timer() - now)
        now = queue.next_timer()
    assert waits == [1, 2, 4, 8, 10, 10]
    popped(queue, now)
    queue.done(named("a").key)
    queue.add(ONE, named("b"))
    popped(queue, now)
    queue.retry(ONE, [named("b")], now, backoff=True)
    assert queue.next_timer() == now + 1


def test_an_identical_pod_joins_those_parked_with_their_reason():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"))
    popped(queue)
    queue.park(ONE, [named("a")], WAITS, 0.0)
    assert queue.add(ONE, named("b")) is WAITS
    assert queue.add(TWO, named("c")) is None
    assert popped(queue) == [["c"]]
    queue.changed(Change.NODE_ADDED, 2.0)
    assert popped(queue, 2.0) == [["a", "b"]]


def test_parked_pods_are_tried_again_after_five_minutes():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"))
    popped(queue)
    queue.park(ONE, [named("a")], WAITS, 0.0)
    assert not queue.ready(299.0)
    assert queue.ready(300.0)


def test_ten_thousand_parked_pods_wake_as_one():
    queue = SchedulingQueue()
    pods = [named(f"p{i}") for i in range(10_000)]
    for pod in pods:
        queue.add(ONE, pod)
    ((_, taken),) = queue.pop(20_000, 1, 0.0)
    queue.park(ONE, taken, WAITS, 0.0)
    assert queue.changed(Change.NODE_ADDED, 60.0) == 1
    assert len(popped(queue, 60.0, limit=20_000)[0]) == 10_000


def test_a_pod_removed_in_flight_does_not_come_back():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"))
    popped(queue)
    queue.remove(named("a").key)
    queue.retry(ONE, [named("a")], 0.0, backoff=False)
    assert not queue.ready(0.0)
    assert len(queue) == 0


def test_a_pod_that_changes_in_flight_lands_as_what_it_is_now():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"))
    popped(queue)
    queue.add(TWO, named("a"))
    assert not queue.ready(0.0)
    queue.retry(ONE, [named("a")], 0.0, backoff=False)
    assert queue.pop(10, 10, 0.0) == [(TWO, [named("a")])]


def test_a_failed_plugin_is_asked_again_after_a_back_off():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"))
    popped(queue)
    queue.park(ONE, [named("a")], Diagnosis(1, (), Change.ANY, "filter X failed"), 0.0)
    assert queue.counts()["backoff"] == 1
    assert popped(queue, 1.0) == [["a"]]
