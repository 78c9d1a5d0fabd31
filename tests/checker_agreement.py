"""The rules and the checker on one cluster, pod after pod."""

from scheduler.placement.checker import check
from scheduler.placement.draft import Draft
from scheduler.placement.plan import Plan
from scheduler.placement.stepping import openings
from tests.placement_cases import allotment


def assert_agreed(framework, state, wanted):
    """Assert that a node is open to the next copy just where the checker would accept it.

    Args:
        wanted: classes, and how many copies of each are then decided.
    """
    snapshot = state.freeze(1)
    draft, plan = Draft(snapshot), []
    for number, (chosen, count) in enumerate(wanted):
        room, couplings, _ = framework._room(chosen, draft.snapshot, 1)
        room = openings(room, couplings)
        for row in range(snapshot.size):
            tried = allotment(number, chosen, [snapshot.nodes[row].name])
            found = check(Plan(1, (*plan, tried)), snapshot, ())
            assert bool(room[row]) == (not found), (snapshot.nodes[row].name, found)
        decision = framework.decide(chosen, count, draft)
        plan.append(allotment(number, chosen, snapshot.names(decision.rows)))
    assert check(Plan(1, tuple(plan)), snapshot, ()) == []
