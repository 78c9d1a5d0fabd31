"""Members are held back, wait as one, and go on alone once enough have nodes."""

import pytest

from scheduler.hookspecs import Change
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Condition
from scheduler.objects.pod_group import RESOURCE, PodGroup, PodGroupSpec, PodGroupStatus
from scheduler.objects.stored import Body, ObjectKey, StoredObject
from scheduler.placement.batches import Batches, Waiting
from scheduler.placement.express import ExpressLane
from scheduler.placement.framework import Diagnosis
from scheduler.placement.gangs import HELD_BACK, Gangs
from scheduler.placement.lines import FIRST_BACKOFF
from scheduler.placement.nominations import Nominations
from scheduler.placement.plan import Gang, PendingPod
from scheduler.placement.queue import SchedulingQueue
from tests.placement_cases import a_class

KEY = ObjectKey(RESOURCE, "default", "g")
NOWHERE = Diagnosis(1, (), Change.POD_REMOVED)


def grouped(**fields):
    return a_class(schedulingGroup={"podGroupName": "g"}, **fields)


SMALL, LARGE = grouped(cpu="1"), grouped(cpu="2", priority=-5)


def podgroup(least, *, uid="u", generation=1, expired=False):
    said = Condition("Scheduled", "False", "DeadlineExceeded", observed_generation=generation)
    return PodGroup(
        ObjectMeta(name="g", namespace="default", uid=uid, generation=generation),
        PodGroupSpec(min_member=least),
        PodGroupStatus(conditions=(said,) if expired else ()),
        StoredObject(RESOURCE, ObjectMeta(), 1, 1, Body(b"{}"), b""),
    )


def pending(number):
    key = ObjectKey("pods", "default", f"p{number}")
    return PendingPod(key, key.name)


class Hall:
    """Queue and gangs, and what their pods were told."""

    def __init__(self, least=None):
        self.now = 0.0
        self.told = {}
        self.queue = SchedulingQueue()
        self.gangs = Gangs(self.queue, self._tell)
        waiting = Waiting(self.queue, ExpressLane(), self.gangs)
        self.batches = Batches(waiting, Nominations(), self._tell, lambda: self.now)
        if least:
            self.group(podgroup(least))

    def _tell(self, pods, message):
        self.told |= {pod.uid: message for pod in pods}

    def group(self, group):
        self.gangs.set_group(KEY, group)
        self.gangs.settle()

    def wait(self, *numbers, pod=SMALL):
        for number in numbers:
            self.gangs.wait(pod, pending(number), self.now)
        self.gangs.settle()

    def bound(self, *numbers, pod=SMALL):
        for number in numbers:
            self.queue.remove(pending(number).key)
            self.gangs.bound(pod, pending(number).key)
        self.gangs.settle()

    def leave(self, *numbers):
        for number in numbers:
            self.queue.remove(pending(number).key)
            self.gangs.leave(pending(number).key)
        self.gangs.settle()

    def take(self):
        """Return what may be decided on: musters of gangs, and uids of pods alone."""
        self.queue.ready(self.now)
        return [
            self.gangs.take(pod, pods[0]) if isinstance(pod, Gang) else [p.uid for p in pods]
            for pod, pods in self.batches.take(self.now)
        ]

    def counts(self):
        counts = self.gangs.counts()
        for place, number in self.queue.counts().items():
            counts[place] += number
        return {place: number for place, number in counts.items() if number}


def uids(muster):
    return sorted(pod.uid for pods in muster.pods.values() for pod in pods)


def test_nobody_goes_before_enough_are_there():
    hall = Hall(3)
    hall.wait(1, 2)
    assert hall.take() == []
    assert hall.counts() == {"gated": 2}
    hall.wait(3, pod=LARGE)
    assert hall.counts() == {"active": 3}
    (muster,) = hall.take()
    assert (uids(muster), muster.wanting) == (["p1", "p2", "p3"], 3)
    assert muster.gang == Gang(KEY, LARGE.priority, "default-scheduler")
    assert {pod: len(pods) for pod, pods in muster.pods.items()} == {SMALL: 2, LARGE: 1}
    assert hall.counts() == {"flying": 3}
    assert hall.take() == []


def test_what_is_missing_is_told_once_things_have_come_to_rest():
    hall = Hall()
    hall.wait(1)
    assert hall.gangs.tell(0.0) == HELD_BACK
    hall.group(podgroup(3))
    hall.wait(2)
    assert hall.told == {}
    assert hall.gangs.tell(HELD_BACK) is None
    message = 'waiting for 1 more pod of PodGroup "g": 2 of 3 are there'
    assert hall.told == {"p1": message, "p2": message}
    hall.told.clear()
    hall.leave(2)
    hall.wait(4)
    hall.gangs.tell(5.0)
    hall.gangs.tell(5.0 + HELD_BACK)
    assert hall.told == {"p4": message}
    hall.group(None)
    hall.gangs.tell(9.0)
    hall.gangs.tell(9.0 + HELD_BACK)
    assert set(hall.told.values()) == {'PodGroup "g" not found'}
    assert hall.gangs.tell(99.0) is None


@pytest.mark.parametrize("outcome", ["parked", "refused", "bound"])
def test_what_becomes_of_a_gang(outcome):
    hall = Hall(2)
    hall.wait(1, 2, 3)
    (muster,) = hall.take()
    if outcome == "parked":
        hall.gangs.park(muster.gang, NOWHERE, hall.now)
        assert hall.counts() == {"parked": 3}
        hall.queue.changed(Change.NODE_LABELS)
        assert hall.take() == []
        hall.queue.changed(Change.POD_REMOVED)
        assert hall.take() == []
        assert hall.counts() == {"backoff": 3}
        hall.now = FIRST_BACKOFF
        assert uids(hall.take()[0]) == ["p1", "p2", "p3"]
    elif outcome == "refused":
        hall.gangs.retry(muster.gang, hall.now, backoff=False)
        assert uids(hall.take()[0]) == ["p1", "p2", "p3"]
    else:
        hall.gangs.done(muster.gang, [pending(1), pending(3)])
        assert hall.take() == [["p2"]]
        assert hall.counts() == {"flying": 1}


def test_a_new_member_wakes_a_parked_gang_after_its_back_off():
    hall = Hall(2)
    hall.wait(1, 2)
    (muster,) = hall.take()
    hall.gangs.park(muster.gang, NOWHERE, hall.now)
    hall.wait(3)
    assert hall.take() == []
    assert hall.counts() == {"backoff": 3}
    hall.now = FIRST_BACKOFF
    assert uids(hall.take()[0]) == ["p1", "p2", "p3"]


def test_who_comes_while_a_gang_is_decided_on_wakes_it():
    hall = Hall(2)
    hall.wait(1, 2)
    (muster,) = hall.take()
    hall.wait(3)
    assert hall.counts() == {"flying": 3}
    hall.gangs.park(muster.gang, NOWHERE, hall.now)
    hall.now = FIRST_BACKOFF
    assert uids(hall.take()[0]) == ["p1", "p2", "p3"]


def test_who_goes_while_a_gang_is_decided_on_is_not_there_again():
    hall = Hall(2)
    hall.wait(1, 2)
    (muster,) = hall.take()
    hall.leave(1)
    hall.gangs.retry(muster.gang, hall.now, backoff=False)
    assert hall.take() == []
    assert hall.counts() == {"gated": 1}


def test_what_goes_altogether_is_forgotten():
    hall = Hall(2)
    hall.wait(1, 2)
    (muster,) = hall.take()
    hall.leave(1, 2)
    hall.group(None)
    hall.gangs.retry(muster.gang, hall.now, backoff=True)
    assert hall.counts() == {}
    assert len(hall.queue) == 0


def test_members_with_nodes_count_as_long_as_they_have_them():
    hall = Hall(3)
    hall.bound(1, 2)
    hall.wait(3, 4)
    (muster,) = hall.take()
    assert (uids(muster), muster.wanting) == (["p3", "p4"], 1)
    hall.gangs.done(muster.gang, [pending(3)])
    hall.bound(3)
    assert hall.take() == [["p4"]]
    hall.queue.park(SMALL, [pending(4)], NOWHERE, hall.now)
    hall.wait(5)
    assert hall.counts() == {"parked": 2}
    hall.leave(1, 2)
    assert hall.take()[0].wanting == 2


def test_who_is_in_flight_alone_when_the_group_falls_apart_is_taken_back():
    hall = Hall(2)
    hall.bound(1, 2)
    hall.wait(3)
    assert hall.take() == [["p3"]]
    hall.leave(2)
    hall.queue.retry(SMALL, [pending(3)], hall.now, backoff=False)
    (muster,) = hall.take()
    assert (uids(muster), muster.wanting) == (["p3"], 1)


def test_after_the_deadline_nobody_goes_until_the_spec_changes():
    hall = Hall(2)
    hall.wait(1, 2)
    hall.group(podgroup(2, expired=True))
    assert hall.take() == []
    assert hall.counts() == {"gated": 2}
    hall.group(podgroup(2, generation=2))
    assert len(hall.take()) == 1


def test_a_status_alone_wakes_nobody():
    hall = Hall(2)
    hall.wait(1, 2)
    (muster,) = hall.take()
    hall.gangs.park(muster.gang, NOWHERE, hall.now)
    hall.group(podgroup(2))
    assert hall.counts() == {"parked": 2}
    hall.group(podgroup(1))
    assert hall.counts() == {"parked": 2}
    hall.now = FIRST_BACKOFF
    assert hall.take()[0].wanting == 1


def test_a_member_that_is_none_any_more_waits_alone():
    hall = Hall(2)
    hall.wait(1, 2)
    hall.leave(1)
    hall.queue.add(a_class(cpu="1"), pending(1), hall.now)
    assert hall.take() == [["p1"]]
    assert hall.counts() == {"flying": 1, "gated": 1}


def test_a_gang_waits_behind_what_has_a_higher_priority():
    hall = Hall(2)
    hall.wait(1, pod=SMALL)
    hall.wait(2, pod=LARGE)
    hall.queue.add(a_class(cpu="1", priority=-1), pending(9), hall.now)
    alone, muster = hall.take()
    assert alone == ["p9"]
    assert uids(muster) == ["p1", "p2"]
