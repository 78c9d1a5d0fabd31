"""The scheduling queue never loses a pod and never has one twice."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scheduler.hookspecs import Change
from scheduler.objects.stored import ObjectKey
from scheduler.placement.framework import Diagnosis
from scheduler.placement.plan import PendingPod
from scheduler.placement.queue import LONGEST_PARKING, SchedulingQueue
from tests.placement_cases import a_class

CLASSES = [a_class(cpu="1"), a_class(cpu="2"), a_class(cpu="1", priority=10)]
numbers = st.integers(0, 12)
chosen = st.sampled_from(CLASSES)
kinds = st.sampled_from([Change.NODE_ADDED, Change.POD_REMOVED, Change.NODE_LABELS])


def pending(number, generation=0):
    name = f"p{number}"
    return PendingPod(ObjectKey("pods", "default", name), f"{name}-{generation}")


class QueueMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.queue = SchedulingQueue()
        self.now = 0.0
        self.waiting = {}
        self.created = 0
        self.flying = []

    @rule(number=numbers, wanted=chosen, again=st.booleans())
    def add(self, number, wanted, again):
        """A new pod, the same one with another class, or one of the same name created again."""
        known = self.waiting.get(pending(number).key)
        self.created += 1
        pod = known[1] if known and not again else pending(number, self.created)
        self.queue.add(wanted, pod, self.now)
        self.waiting[pod.key] = (wanted, pod)

    @rule(number=numbers)
    def remove(self, number):
        key = pending(number).key
        self.queue.remove(key)
        self.waiting.pop(key, None)

    @rule(limit=st.integers(1, 8), classes=st.integers(1, 3))
    def pop(self, limit, classes):
        batch = self.queue.pop(limit, classes, self.now)
        assert sum(len(pods) for _, pods in batch) <= limit
        assert len(batch) <= classes
        for wanted, pods in batch:
            for pod in pods:
                assert self.waiting[pod.key] == (wanted, pod)
                assert all(pod != other for _, others in self.flying for other in others)
            self.flying.append((wanted, pods))

    @rule(data=st.data(), kind=kinds)
    def finish(self, data, kind):
        if not self.flying:
            return
        index = data.draw(st.integers(0, len(self.flying) - 1))
        wanted, pods = self.flying.pop(index)
        bound = data.draw(st.integers(0, len(pods)))
        for pod in pods[:bound]:
            if self.waiting.get(pod.key, (None, None))[1] == pod:
                self.queue.done(pod.key)
                del self.waiting[pod.key]
        outcome = data.draw(st.sampled_from(["park", "retry", "backoff", "failure"]))
        if outcome in ("park", "failure"):
            failure = "plugin failed" if outcome == "failure" else ""
            self.queue.park(wanted, pods[bound:], Diagnosis(1, (), kind, failure), self.now)
        else:
            self.queue.retry(wanted, pods[bound:], self.now, backoff=outcome == "backoff")

    @rule(kind=kinds)
    def change(self, kind):
        self.queue.changed(kind)

    @rule(seconds=st.sampled_from([0.5, 2.0, 11.0, LONGEST_PARKING + 1]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def every_pod_is_in_exactly_one_place(self):
        assert sum(self.queue.counts().values()) == len(self.queue) == len(self.waiting)
        assert all(key in self.queue for key in self.waiting)

    @invariant()
    def what_waits_has_a_reason_or_a_timer(self):
        counts = self.queue.counts()
        if counts["active"]:
            assert self.queue.ready(self.now)
        elif counts["backoff"] or counts["parked"]:
            assert self.queue.ready(self.now) or self.queue.next_timer() is not None

    def teardown(self):
        """Whatever happened, everything comes out in the end."""
        for wanted, pods in self.flying:
            self.queue.retry(wanted, pods, self.now, backoff=True)
        self.now += 2 * LONGEST_PARKING
        out = [pod for _, pods in self.queue.pop(100, 100, self.now) for pod in pods]
        assert {pod.key: pod for pod in out} == {k: pod for k, (_, pod) in self.waiting.items()}
        assert len(out) == len(self.waiting)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
