"""No pod waits for ever: the bound that scheduler.placement.queue states, whatever else happens."""

import math

import hypothesis.strategies as st
from hypothesis import given, settings

from scheduler.hookspecs import Change
from scheduler.objects.stored import ObjectKey
from scheduler.placement.framework import Diagnosis
from scheduler.placement.lines import LONGEST_BACKOFF
from scheduler.placement.plan import PendingPod
from scheduler.placement.queue import LONGEST_PARKING, SchedulingQueue
from tests.placement_cases import a_class

PEERS = [a_class(cpu=f"{n + 1}") for n in range(5)]
LOWER = [a_class(cpu="1", priority=-n) for n in (1, 2)]
CHANGES = [Change.NODE_ADDED, Change.POD_REMOVED]
WAITS = [Diagnosis(1, (), change) for change in CHANGES]

rivals = st.sampled_from(PEERS[1:] + LOWER)
happenings = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(PEERS + LOWER), st.integers(1, 12)),
    st.tuples(st.just("park"), rivals, st.sampled_from(WAITS)),
    st.tuples(st.just("again"), rivals, st.none()),
    st.tuples(st.just("wake"), st.sampled_from(CHANGES), st.none()),
    st.tuples(st.just("later"), st.sampled_from([0.1, 1.0, 20.0]), st.none()),
)


class Crowd:
    """A queue, and what has been made of the pods that it gave out."""

    def __init__(self, turn):
        self.queue = SchedulingQueue(turn)
        self.now = 0.0
        self.made = 0
        self.flying = {}

    def add(self, wanted, count=1):
        for _ in range(count):
            self.made += 1
            key = ObjectKey("pods", "default", f"p{self.made}")
            pending = PendingPod(key, key.name)
            self.queue.add(wanted, pending, self.now)
        return pending

    def happens(self, what, which, more):
        if what == "add":
            self.add(which, more)
        elif what == "park":
            self.queue.park(which, self.flying.pop(which, []), more, self.now)
        elif what == "again":
            self.queue.retry(which, self.flying.pop(which, []), self.now, backoff=False)
        elif what == "wake":
            self.queue.changed(which)
        else:
            self.now += which

    def pop(self, limit, classes):
        """Pop; the first class's pods are bound, others fly until something happens to them."""
        out = self.queue.pop(limit, classes, self.now)
        for wanted, pods in out:
            if wanted is PEERS[0]:
                for pod in pods:
                    self.queue.done(pod.key)
            else:
                self.flying.setdefault(wanted, []).extend(pods)
        return {pod for _, pods in out for pod in pods}


@given(st.data(), st.integers(1, 4), st.integers(1, 9), st.integers(1, 4), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_every_active_pod_comes_out_within_the_bound(data, turn, limit, classes, ahead):
    crowd = Crowd(turn)
    crowds = data.draw(st.lists(st.tuples(rivals, st.integers(1, 30)), max_size=4))
    for wanted, count in crowds:
        crowd.add(wanted, count)
    if ahead:
        crowd.add(PEERS[0], ahead)
    target = crowd.add(PEERS[0])
    turn = min(turn, limit)
    turns = 2 * (ahead // turn + 1) * len(PEERS)
    bound = math.ceil(turns / min(classes, limit // turn))
    for _ in range(bound):
        for step in data.draw(st.lists(happenings, max_size=4)):
            crowd.happens(*step)
        if target in crowd.pop(limit, classes):
            return
    raise AssertionError(f"still waits after {bound} pops")


@given(st.lists(happenings, max_size=20), st.sampled_from(WAITS), st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_a_parked_pod_is_tried_again_in_time(steps, reason, fails):
    """After the longest parking, or when woken after the longest back-off, whatever it failed."""
    crowd = Crowd(4)
    target = crowd.add(PEERS[0])
    for _ in range(fails):
        (wanted, pods), *_ = crowd.queue.pop(1, 1, crowd.now)
        crowd.queue.park(wanted, pods, reason, crowd.now)
        crowd.now += LONGEST_PARKING
    (wanted, pods), *_ = crowd.queue.pop(1, 1, crowd.now)
    crowd.queue.park(wanted, pods, reason, crowd.now)
    parked = crowd.now
    out = set()
    for step in steps:
        crowd.happens(*step)
        woken = step[:2] == ("wake", reason.wakes_on)
        out |= crowd.pop(1000, 1000)
        if woken and crowd.now >= parked + LONGEST_BACKOFF:
            assert target in out
    crowd.now = max(crowd.now, parked + LONGEST_PARKING)
    out |= crowd.pop(1000, 1000)
    assert target in out


def test_one_pod_beside_a_class_of_many_thousand_waits_for_one_pop():
    queue = SchedulingQueue()
    many, one = PEERS[:2]
    for n in range(20_000):
        queue.add(many, PendingPod(ObjectKey("pods", "default", f"m{n}"), f"m{n}"), 0.0)
    first = queue.pop(4096, 128, 0.0)
    lonely = PendingPod(ObjectKey("pods", "default", "lonely"), "lonely")
    queue.add(one, lonely, 0.0)
    assert [(wanted, len(pods)) for wanted, pods in first] == [(many, 4096)]
    assert [(wanted, len(pods)) for wanted, pods in queue.pop(4096, 128, 0.0)] == [
        (many, 4095),
        (one, 1),
    ]
