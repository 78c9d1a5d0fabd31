"""Whatever happens to members and groups: nobody is lost, and nobody goes unless enough go."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scheduler.hookspecs import Change
from scheduler.placement.framework import Diagnosis
from scheduler.placement.gangs import Muster
from scheduler.placement.queue import LONGEST_PARKING
from tests.placement_cases import a_class
from tests.unit.placement.test_gangs import Hall, pending, podgroup

NOWHERE = Diagnosis(1, (), Change.POD_REMOVED)
CLASSES = [
    a_class(schedulingGroup={"podGroupName": "g"}, cpu="1"),
    a_class(schedulingGroup={"podGroupName": "g"}, cpu="2", priority=-3),
    a_class(cpu="1"),
]
wanted = st.sampled_from([CLASSES[0], CLASSES[0], *CLASSES])
numbers = st.integers(0, 5)


class GangMachine(RuleBasedStateMachine):
    """One group; pods with it and without, that wait, are in flight, have nodes, or are not."""

    def __init__(self):
        super().__init__()
        self.hall = Hall()
        self.group = None
        self.waiting = {}  # number → class
        self.bound = set()
        self.flying = []  # what was taken and has not landed: (what, numbers)

    def in_flight(self):
        return {number for _, pods in self.flying for number in pods}

    @rule(number=numbers, wanted=wanted)
    def wait(self, number, wanted):
        """A new pod, or one whose labels have changed; as ingest does, not while it is assumed."""
        if number in self.bound or number in self.in_flight():
            return
        if wanted.group:
            self.hall.wait(number, pod=wanted)
        else:
            self.hall.gangs.leave(pending(number).key)
            self.hall.queue.add(wanted, pending(number), self.hall.now)
            self.hall.gangs.settle()
        self.waiting[number] = wanted

    @rule(number=numbers)
    def bind(self, number):
        """Somebody else binds a member."""
        wanted = self.waiting.pop(number, None)
        if wanted is None:
            return
        if wanted.group:
            self.hall.bound(number, pod=wanted)
            self.bound.add(number)
        else:
            self.hall.leave(number)

    @rule(number=numbers)
    def leave(self, number):
        self.hall.leave(number)
        self.waiting.pop(number, None)
        self.bound.discard(number)

    @rule(data=st.data())
    def end(self, data):
        """A member that has a node loses it."""
        if self.bound:
            self.leave(data.draw(st.sampled_from(sorted(self.bound))))

    @rule(least=st.sampled_from([1, 1, 2, 2, 3, 5]), expired=st.sampled_from([False] * 4 + [True]))
    def set_group(self, least, expired):
        self.group = podgroup(least, expired=expired)
        self.hall.group(self.group)

    @rule(number=st.integers(0, 3))
    def remove_group(self, number):
        if not number:
            self.group = None
            self.hall.group(None)

    @rule()
    def take(self):
        for taken in self.hall.take():
            pods = taken if isinstance(taken, list) else [p.uid for p in each_pod(taken)]
            found = [int(uid.removeprefix("p")) for uid in pods]
            assert found
            assert all(number in self.waiting for number in found)
            assert not self.in_flight() & set(found)
            classes = {self.waiting[number] for number in found}
            if isinstance(taken, Muster):
                assert all(wanted.group for wanted in classes)
                assert not self.group.expired
                assert taken.wanting == self.group.spec.min_member - len(self.bound)
                assert 0 < taken.wanting <= len(found)
            elif next(iter(classes)).group:
                assert len(self.bound) >= self.group.spec.min_member
            self.flying.append((taken, found))

    @rule(data=st.data(), outcome=st.sampled_from(["park", "retry", "retry", "back off", "done"]))
    def land(self, data, outcome):
        if not self.flying:
            return
        index = data.draw(st.integers(0, len(self.flying) - 1))
        taken, found = self.flying.pop(index)
        if isinstance(taken, Muster):
            self.land_gang(taken, found, outcome, data)
            return
        there = [number for number in found if number in self.waiting]
        for number in there if outcome == "done" else ():
            wanted = self.waiting[number]
            self.hall.queue.done(pending(number).key)
            self.bind(number)
            assert number not in self.waiting, wanted
        if outcome != "done" and there:
            wanted, pods = self.waiting[there[0]], [pending(number) for number in there]
            if outcome == "park":
                self.hall.queue.park(wanted, pods, NOWHERE, self.hall.now)
            else:
                self.hall.queue.retry(wanted, pods, self.hall.now, backoff=outcome == "back off")

    def land_gang(self, muster, found, outcome, data):
        gangs, now = self.hall.gangs, self.hall.now
        if outcome == "park":
            gangs.park(muster.gang, NOWHERE, now)
        elif outcome != "done":
            gangs.retry(muster.gang, now, backoff=outcome == "back off")
        else:
            count = data.draw(st.integers(muster.wanting, len(found)))
            gangs.done(muster.gang, [pending(number) for number in found[:count]])
            for number in found[:count]:
                if self.waiting.pop(number, None) is not None:
                    self.bound.add(number)

    @rule(seconds=st.sampled_from([0.5, 20.0, 20.0]), change=st.sampled_from(list(Change)))
    def happen(self, seconds, change):
        self.hall.now += seconds
        self.hall.queue.changed(change)

    @invariant()
    def every_pod_is_somewhere(self):
        assert sum(self.hall.counts().values()) == len(self.waiting)

    def teardown(self):
        """Once one is enough, everybody comes out."""
        for taken, found in self.flying:
            if isinstance(taken, Muster):
                self.hall.gangs.retry(taken.gang, self.hall.now, backoff=False)
            elif there := [number for number in found if number in self.waiting]:
                pods = [pending(number) for number in there]
                self.hall.queue.retry(self.waiting[there[0]], pods, self.hall.now, backoff=False)
        self.flying.clear()
        self.hall.group(podgroup(1, generation=9))
        self.group = podgroup(1, generation=9)
        out = set()
        for _ in range(20):
            self.hall.now += 2 * LONGEST_PARKING
            self.take()
            for taken, found in self.flying:
                out |= set(found)
                self.flying = []
                if isinstance(taken, Muster):
                    self.hall.gangs.done(taken.gang, each_pod(taken))
                    self.bound |= set(found)
                else:
                    for number in found:
                        self.hall.queue.done(pending(number).key)
                for number in found:
                    del self.waiting[number]
        assert not self.waiting


def each_pod(muster):
    return [pod for pods in muster.pods.values() for pod in pods]


TestGangs = GangMachine.TestCase
TestGangs.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
