"""Order, back-off, parking and waking in the scheduling queue."""

from scheduler.hookspecs import Change
from scheduler.objects.stored import ObjectKey
from scheduler.placement.framework import Diagnosis
from scheduler.placement.plan import PendingPod
from scheduler.placement.queue import LONGEST_PARKING, SchedulingQueue
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
        queue.add(wanted, named(name), 0.0)
    assert popped(queue) == [["d"], ["a", "c"], ["b"]]
    assert not queue.ready(0.0)


def test_classes_of_one_priority_take_turns():
    queue = SchedulingQueue(turn=2)
    for wanted, name in [(ONE, "a"), (ONE, "b"), (ONE, "c"), (ONE, "d"), (ONE, "e"), (TWO, "x")]:
        queue.add(wanted, named(name), 0.0)
    assert popped(queue, limit=4) == [["a", "b", "c"], ["x"]]
    assert popped(queue, limit=4) == [["d", "e"]]


def test_a_class_that_the_limit_cut_off_goes_on_first_and_a_full_turn():
    queue = SchedulingQueue(turn=2)
    for name in "abcde":
        queue.add(TWO, named(name), 0.0)
    for name in "vwxyz":
        queue.add(ONE, named(name), 0.0)
    assert popped(queue, limit=3) == [["a", "b"], ["v"]]
    assert popped(queue, limit=3) == [["w", "x"], ["c"]]
    assert popped(queue, limit=3) == [["d", "e"], ["y"]]


def test_a_class_alone_is_taken_whole():
    queue = SchedulingQueue(turn=2)
    for name in "abcde":
        queue.add(ONE, named(name), 0.0)
    queue.add(URGENT, named("u"), 0.0)
    assert popped(queue, limit=6) == [["u"], list("abcde")]


def test_what_comes_back_goes_behind_what_waits():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"), 0.0)
    popped(queue)
    queue.park(ONE, [named("a")], WAITS, 0.0)
    queue.add(TWO, named("b"), 1.0)
    queue.changed(Change.NODE_ADDED)
    assert popped(queue, 2.0) == [["b"], ["a"]]


def test_those_never_tried_and_those_that_failed_take_turns():
    queue, classes = SchedulingQueue(), [a_class(cpu=f"{n}m") for n in range(1, 7)]
    for number, wanted in enumerate(classes[:4]):
        queue.add(wanted, named(f"old{number}"), 0.0)
    for wanted, pods in queue.pop(10, 10, 0.0):
        queue.park(wanted, pods, WAITS, 0.0)
    queue.changed(Change.NODE_ADDED)
    queue.ready(5.0)
    for number, wanted in enumerate(classes[4:]):
        queue.add(wanted, named(f"new{number}"), 5.0)
    order = [popped(queue, 5.0, classes=1)[0][0] for _ in range(6)]
    assert order == ["new0", "old0", "new1", "old1", "old2", "old3"]


def test_no_more_classes_than_asked_for():
    queue = SchedulingQueue(turn=1)
    for wanted, name in [(ONE, "a"), (ONE, "b"), (TWO, "c"), (TWO, "d"), (URGENT, "u")]:
        queue.add(wanted, named(name), 0.0)
    assert popped(queue, classes=2) == [["u"], ["a"]]
    assert popped(queue, classes=2) == [["c", "d"], ["b"]]


def test_a_group_cut_off_waits_for_the_others():
    queue = SchedulingQueue()
    for wanted, name in [(ONE, "a"), (TWO, "b"), (ONE, "c")]:
        queue.add(wanted, named(name), 0.0)
    assert popped(queue, limit=1) == [["a"]]
    assert popped(queue, limit=1) == [["b"]]
    assert popped(queue, limit=1) == [["c"]]


def test_parked_pods_wake_for_what_can_help_after_their_back_off():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"), 0.0)
    popped(queue)
    queue.park(ONE, [named("a")], WAITS, 0.0)
    assert queue.changed(Change.POD_REMOVED) == 0
    assert not queue.ready(0.5)
    assert queue.changed(Change.NODE_ADDED) == 1
    assert not queue.ready(0.9)
    assert queue.next_timer() == 1.0
    assert popped(queue, 1.0) == [["a"]]


def test_back_off_doubles_to_ten_seconds_and_is_forgotten_with_success():
    queue, now, waits = SchedulingQueue(), 0.0, []
    queue.add(ONE, named("a"), 0.0)
    for _ in range(6):
        assert popped(queue, now) == [["a"]]
        queue.retry(ONE, [named("a")], now, backoff=True)
        waits.append(queue.next_timer() - now)
        now = queue.next_timer()
    assert waits == [1, 2, 4, 8, 10, 10]
    popped(queue, now)
    queue.done(named("a").key)
    queue.add(ONE, named("b"), 0.0)
    popped(queue, now)
    queue.retry(ONE, [named("b")], now, backoff=True)
    assert queue.next_timer() == now + 1


def test_an_identical_pod_joins_those_parked_with_their_reason():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"), 0.0)
    popped(queue)
    queue.park(ONE, [named("a")], WAITS, 0.0)
    assert queue.add(ONE, named("b"), 0.0) is WAITS
    assert queue.add(TWO, named("c"), 0.0) is None
    assert popped(queue) == [["c"]]
    queue.changed(Change.NODE_ADDED)
    assert popped(queue, 2.0) == [["a", "b"]]


def test_parked_pods_are_tried_again_after_five_minutes():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"), 0.0)
    popped(queue)
    queue.park(ONE, [named("a")], WAITS, 0.0)
    assert not queue.ready(299.0)
    assert queue.ready(300.0)


def test_thousands_of_classes_wake_in_portions_and_in_order():
    queue, classes = SchedulingQueue(), [a_class(cpu=f"{n}m") for n in range(1, 3001)]
    for number, wanted in enumerate(classes):
        queue.add(wanted, named(f"p{number}"), 0.0)
    for wanted, pods in queue.pop(5000, 5000, 0.0):
        queue.park(wanted, pods, WAITS, 0.0)
    assert queue.changed(Change.NODE_ADDED) == 3000
    assert queue.changed(Change.NODE_ADDED) == 0
    assert queue.next_timer() <= 5.0
    first = queue.pop(5000, 5000, 5.0)
    assert 0 < len(first) < 3000
    assert queue.next_timer() <= 5.0
    rest = [*queue.pop(5000, 5000, 5.0), *queue.pop(5000, 5000, 5.0)]
    assert [wanted for wanted, _ in first + rest] == classes
    assert queue.next_timer() is None


def test_a_class_parked_after_the_change_is_not_woken_by_it():
    queue = SchedulingQueue()
    for wanted, name in [(ONE, "a"), (TWO, "b")]:
        queue.add(wanted, named(name), 0.0)
    (first, second) = queue.pop(10, 10, 0.0)
    queue.park(*first, WAITS, 0.0)
    assert queue.changed(Change.NODE_ADDED) == 1
    queue.park(*second, WAITS, 0.0)
    assert popped(queue, 5.0) == [["a"]]
    assert queue.next_timer() == LONGEST_PARKING


def test_a_woken_class_that_went_away_is_not_missed():
    queue = SchedulingQueue()
    for wanted, name in [(ONE, "a"), (TWO, "b")]:
        queue.add(wanted, named(name), 0.0)
    for wanted, pods in queue.pop(10, 10, 0.0):
        queue.park(wanted, pods, WAITS, 0.0)
    queue.changed(Change.NODE_ADDED)
    queue.remove(named("a").key)
    assert popped(queue, 5.0) == [["b"]]


def test_a_pod_in_flight_says_when_it_arrived_through_every_try():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"), 3.0)
    popped(queue, 4.0)
    assert queue.arrivals([named("a")]) == [3.0]
    queue.park(ONE, [named("a")], WAITS, 4.0)
    assert queue.tries(ONE) == 1
    queue.add(TWO, named("a"), 5.0)
    popped(queue, 5.0)
    queue.retry(TWO, [named("a")], 5.0, backoff=False)
    popped(queue, 6.0)
    assert queue.arrivals([named("a")]) == [3.0]
    assert (queue.tries(ONE), queue.tries(TWO)) == (0, 0)


def test_what_is_parked_can_be_listed():
    queue = SchedulingQueue()
    for wanted, name in [(ONE, "a"), (ONE, "b"), (TWO, "c")]:
        queue.add(wanted, named(name), 0.0)
    for wanted, pods in queue.pop(10, 1, 0.0):
        queue.park(wanted, pods, WAITS, 0.0)
    assert list(queue.unschedulable()) == [(ONE, 2, WAITS)]


def test_ten_thousand_parked_pods_wake_as_one():
    queue = SchedulingQueue()
    pods = [named(f"p{i}") for i in range(10_000)]
    for pod in pods:
        queue.add(ONE, pod, 0.0)
    ((_, taken),) = queue.pop(20_000, 1, 0.0)
    queue.park(ONE, taken, WAITS, 0.0)
    assert queue.changed(Change.NODE_ADDED) == 1
    assert len(popped(queue, 60.0, limit=20_000)[0]) == 10_000


def test_a_pod_removed_in_flight_does_not_come_back():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"), 0.0)
    popped(queue)
    queue.remove(named("a").key)
    queue.retry(ONE, [named("a")], 0.0, backoff=False)
    assert not queue.ready(0.0)
    assert len(queue) == 0


def test_a_pod_that_changes_in_flight_lands_as_what_it_is_now():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"), 0.0)
    popped(queue)
    queue.add(TWO, named("a"), 0.0)
    assert not queue.ready(0.0)
    queue.retry(ONE, [named("a")], 0.0, backoff=False)
    assert queue.pop(10, 10, 0.0) == [(TWO, [named("a")])]


def test_a_failed_plugin_is_asked_again_after_a_back_off():
    queue = SchedulingQueue()
    queue.add(ONE, named("a"), 0.0)
    popped(queue)
    queue.park(ONE, [named("a")], Diagnosis(1, (), Change.ANY, "filter X failed"), 0.0)
    assert queue.counts()["backoff"] == 1
    assert popped(queue, 1.0) == [["a"]]


def test_a_class_for_which_room_is_made_does_not_back_off():
    queue = SchedulingQueue()
    for wanted, name in ((ONE, "parked"), (TWO, "flying"), (URGENT, "backing off")):
        queue.add(wanted, named(name), 0.0)
    batch = {pods[0].uid: (wanted, pods) for wanted, pods in queue.pop(100, 100, 0.0)}
    queue.park(*batch["parked"], WAITS, 0.0)
    queue.retry(*batch["backing off"], 0.0, backoff=True)
    assert not queue.ready(0.5)
    for wanted in (ONE, TWO, URGENT):
        queue.forgive(wanted)
    assert popped(queue, now=0.5) == [["backing off"]]
    queue.park(*batch["flying"], WAITS, 0.5)
    queue.changed(Change.NODE_ADDED)
    assert popped(queue, now=0.6) == [["parked"]], "the other one has just failed again"
    assert popped(queue, now=1.5) == [["flying"]]
