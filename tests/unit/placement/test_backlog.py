"""What is kept of plans until they are written down: whole up to a number, and then the latest."""

from datetime import UTC, datetime

import numpy as np

from scheduler.placement.backlog import Backlog
from scheduler.placement.framework import Decision
from scheduler.placement.plan import Allotment
from tests.placement_cases import a_class, cluster, node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLASSES = [a_class(cpu=f"{number + 1}m") for number in range(8)]


def a_plan(count):
    rows = np.zeros(1, dtype=np.int64)
    return [Allotment(pod, (), (), (), Decision(pod, 1, rows)) for pod in CLASSES[:count]]


def backlog(**limits):
    """Return a backlog, and what puts a plan of those ids into it."""
    state, kept = cluster(node("a"), node("b")), Backlog(**limits)

    def hear(*ids):
        kept.add(state.freeze(0), a_plan(len(ids)), ids, NOW)

    return kept, hear


def told(kept, most=100):
    return [[number for _, _, number in each.placed] for each in kept.take(most)]


def test_plans_come_out_in_order_with_all_that_was_placed():
    kept, hear = backlog()
    hear(1, 0, 2)
    hear(0, 3)
    assert (kept.decisions, kept.size > 0) == (3, True)
    assert told(kept) == [[1, 0, 2], [0, 3]]
    assert (kept.decisions, kept.size, told(kept)) == (0, 0, [])


def test_what_no_untold_decision_follows_is_not_kept():
    kept, hear = backlog()
    hear(1, 0, 0)
    hear(0, 0)
    assert told(kept) == [[1]]


def test_as_many_plans_are_taken_as_are_wanted_but_one_at_least():
    kept, hear = backlog()
    for ids in ((1, 2, 3), (4,), (5,), (6, 7)):
        hear(*ids)
    assert told(kept, 1) == [[1, 2, 3]]
    assert told(kept, 3) == [[4], [5]]
    assert told(kept, 3) == [[6, 7]]


def test_nothing_is_dropped_up_to_the_number_and_of_the_oldest_beyond_it():
    kept, hear = backlog(most=5)
    hear(1, 0, 2, 3)
    hear(4, 5)
    assert kept.decisions == 5
    hear(6)
    assert kept.decisions == 5
    hear(7)
    assert told(kept) == [[1], [4, 5], [6], [7]]
    hear(1, 2)
    hear(3, 4, 5, 6, 7, 8)
    assert told(kept) == [[3, 4, 5, 6, 7]]


def test_snapshots_take_no_more_memory_than_a_limit():
    kept, hear = backlog()
    hear(1)
    first = kept.size  # and the list of nodes, which the others share
    hear(2)
    one = kept.size - first
    kept, hear = backlog(most_bytes=3 * one)
    for number in range(1, 9):
        hear(number)
    assert kept.size <= 3 * one
    assert told(kept) == [[6], [7], [8]]
    kept, hear = backlog(most_bytes=1)
    hear(1)
    hear(2)
    assert told(kept) == [[2]]
