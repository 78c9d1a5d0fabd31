"""Cohorts wait in line by priority; who leaves its cohort leaves the line."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.placement.express import ExpressLane
from tests.placement_cases import a_class
from tests.store_values import cohort

PRIORITIES = {n: a_class(cpu="1", priority=n) for n in (-5, 0, 7)}


def told(batch):
    return [(pod.priority, pods.cohort.uid, tuple(pods.ordinals)) for pod, pods in batch]


def test_higher_priority_goes_first_and_equals_in_order():
    lane = ExpressLane()
    lots = [cohort(2) for _ in range(4)]
    for lot, priority in zip(lots, (0, 7, 0, 7), strict=True):
        lane.add(PRIORITIES[priority], lot, 1.0)
    assert (len(lane), lane.priority()) == (8, 7)
    assert told(lane.pop(10)) == [(7, lots[1].uid, (0, 1)), (7, lots[3].uid, (0, 1))]
    assert told(lane.pop(1)) == [(0, lots[0].uid, (0, 1))]
    assert told(lane.pop(1)) == [(0, lots[2].uid, (0, 1))]
    assert (len(lane), lane.priority(), lane.pop(1)) == (0, None, [])


def test_who_left_does_not_wait():
    lane = ExpressLane()
    some, all_, none = cohort(3), cohort(1), cohort(2)
    for lot in (some, all_, none):
        lane.add(PRIORITIES[0], lot, 2.5)
    for lot, ordinal in ((some, 1), (some, 1), (all_, 0), (cohort(1), 0)):
        lane.leave(lot.pod_uid(ordinal))
    assert len(lane) == 4
    batch = lane.pop(3)
    assert told(batch) == [(0, some.uid, (0, 2)), (0, none.uid, (0, 1))]
    assert [pods.arrived for _, pods in batch] == [2.5, 2.5]
    lane.leave(some.pod_uid(0))
    assert lane.pop(3) == []


@given(st.data())
def test_each_pod_comes_out_once(data):
    lane, inside, out = ExpressLane(), {}, []
    for _ in range(data.draw(st.integers(0, 30))):
        step = data.draw(st.sampled_from(("add", "leave", "pop")))
        if step == "add":
            lot = cohort(data.draw(st.integers(1, 4)))
            priority = data.draw(st.sampled_from(list(PRIORITIES)))
            lane.add(PRIORITIES[priority], lot, 0.0)
            inside |= {lot.pod_uid(n): priority for n in range(lot.size)}
        elif step == "leave" and inside:
            gone = data.draw(st.sampled_from(list(inside)))
            lane.leave(gone)
            del inside[gone]
        elif step == "pop":
            for pod, pods in lane.pop(data.draw(st.integers(1, 3))):
                assert pod.priority == max(inside.values())
                for pending in pods:
                    del inside[pending.uid]
                    out.append(pending.uid)
        assert len(lane) == len(inside)
    assert len(set(out)) == len(out)
