"""Room for Placements in random small clusters, held against every way there is to make it."""

from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.objects.placement_job import Limits
from tests.batch_cases import template
from tests.clearance_cases import COUNT, host, job, running, tried

SIZES = (1, 2, 3)
LOW, HIGH = 0, 10


@st.composite
def cases(draw):
    """Return (cpus of hosts, running pods as (host, cpu, movable, priority), cpus that wait)."""
    hosts = draw(st.lists(st.sampled_from((3, 4, 6)), min_size=2, max_size=3))
    free, pods = list(hosts), []
    for row, cpu, movable, priority in draw(
        st.lists(
            st.tuples(
                st.integers(0, len(hosts) - 1),
                st.sampled_from(SIZES),
                st.booleans(),
                st.sampled_from((LOW, HIGH)),
            ),
            max_size=4,
        )
    ):
        if free[row] >= cpu:
            free[row] -= cpu
            pods.append((row, cpu, movable, priority))
    waiting = draw(st.lists(st.sampled_from((2, 3, 4)), min_size=1, max_size=3))
    return hosts, pods, waiting


def most_placed(hosts, pods, waiting, may_move, evictions):
    """Return how many of the waiting pods can be placed at most, whoever is moved where."""
    best = 0
    lower = [n for n, (_, _, _, priority) in enumerate(pods) if priority < HIGH]
    choices = [range(len(hosts)) if movable and may_move else (row,) for row, _, movable, _ in pods]
    for count in range(min(evictions, len(lower)) + 1):
        for gone in combinations(lower, count):
            for rows in product(*choices):
                free = list(hosts)
                for n, row in enumerate(rows):
                    free[row] -= 0 if n in gone else pods[n][1]
                if min(free) >= 0:
                    best = max(best, packed(free, waiting))
    return best


def packed(free, waiting):
    if not waiting:
        return 0
    cpu, *others = waiting
    best = packed(free, others)
    for row, room in enumerate(free):
        if room >= cpu:
            rest = [*free[:row], room - cpu, *free[row + 1 :]]
            best = max(best, 1 + packed(rest, others))
    return best


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(0, 3), st.integers(0, 2))
def test_room_is_made_within_limits_and_its_bound_holds(case, max_moves, max_preemptions):
    hosts, pods, waiting = case
    nodes = [host(f"h{n}", cpu=str(cpu)) for n, cpu in enumerate(hosts)]
    there = [
        running(f"r{n}", f"h{row}", cpu=str(cpu), owner=movable, priority=priority)
        for n, (row, cpu, movable, priority) in enumerate(pods)
    ]
    asked = job(
        *(template(f"w{n}", 1, cpu=str(c), priority=HIGH) for n, c in enumerate(waiting)),
        objective=COUNT,
    )
    limits = Limits(max_moves=max_moves, max_preemptions=max_preemptions)
    found = tried(asked, nodes, there, limits)
    moves = found.clearance.moves if found.clearance else ()
    victims = found.clearance.evictions if found.clearance else ()
    assert found.violations == ()
    assert len(moves) <= max_moves
    assert len(victims) <= max_preemptions
    movable = {f"r{n}" for n, (_, _, can, _) in enumerate(pods) if can}
    lower = {f"r{n}" for n, (_, _, _, priority) in enumerate(pods) if priority < HIGH}
    assert {each.pod.key.name for each in moves} <= movable
    assert {each.pod.key.name for each in victims} <= lower
    assert_fits(hosts, pods, waiting, found)
    goal = found.solver.goals[0]
    best = most_placed(hosts, pods, waiting, max_moves > 0, max_preemptions)
    assert found.placed <= best <= float(goal.bound)
    assert found.placed >= most_placed(hosts, pods, waiting, may_move=False, evictions=0)


def assert_fits(hosts, pods, waiting, found):
    """While moves are made both copies are there; in the end nobody has too little."""
    free = list(hosts)
    for row, cpu, _, _ in pods:
        free[row] -= cpu
    if found.clearance:
        cpus = {f"r{n}": cpu for n, (_, cpu, _, _) in enumerate(pods)}
        for each in found.clearance.moves:
            free[int(each.target[1:])] -= cpus[each.pod.key.name]
        assert min(free) >= 0, "replacements have room beside everybody"
        for each in found.clearance.moves:
            free[int(each.source[1:])] += cpus[each.pod.key.name]
        for each in found.clearance.evictions:
            free[int(each.node[1:])] += cpus[each.pod.key.name]
    for each in found.assignments():
        free[int(each.node[1:])] -= waiting[int(each.pod.partition("/w")[2].partition("-")[0])]
    assert min(free) >= 0
