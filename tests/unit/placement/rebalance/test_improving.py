"""What a rebalance moves for an objective, and what it says of it."""

import numpy as np
import pytest

from scheduler.batch_terms import Capacity, Excess, Limit, Worth
from scheduler.objects.objective import Goal
from scheduler.objects.rebalance_job import PlannedMove
from scheduler.objects.selectors import from_map
from scheduler.placement.rebalance.floor import Floor
from scheduler.placement.rebalance.improving import pays
from scheduler.placement.rebalance.movability import Scope
from scheduler.placement.rebalance.objective import Objective, better
from scheduler.placement.rebalance.plan import Aim
from scheduler.placement.tenancy import Budget
from scheduler.plugin_manager import GuardedBatchRule
from tests.rebalance_cases import FILTERS, apply, host, member, planned, scenario

HOUSE = (Goal(prefer="House"),)


def cpu(batch):
    return {c: float(p.requests.amounts.get("cpu", 0)) for c, p in enumerate(batch.pods)}


def by_name(batch, amounts):
    """Return (H,) amounts by name of the host."""
    names = [batch.snapshot.nodes[row].name for row in batch.hosts]
    return np.array([float(amounts.get(name, 0)) for name in names])


class House:
    """CPU beyond what a host should have at most costs its millicores; what runs counts."""

    name = "House"

    def __init__(self, most, *more):
        self.most, self.more = most, more

    def terms(self, batch):
        row = batch.snapshot.resource_row["cpu"]
        used = batch.snapshot.requested[row, batch.hosts]
        yield Excess(cpu(batch), by_name(batch, self.most) - used)
        yield from (each(batch) for each in self.more)

    def check(self, batch, plan):
        return ()


def rule(most, *more):
    return [GuardedBatchRule(House(most, *more), "tests")]


def improving(cluster, batch, goals=HOUSE, least=0.0, **aim):
    wanted = Objective(goals, (), least)
    return planned(cluster, Aim(objective=wanted, **aim), batch=batch)


def full(names="ab", pods="1111", on="a"):
    """Return hosts of 8 CPUs, with pods of so many CPUs each on one of them."""
    made = [member(f"p{n}", on, cpu=cpu) for n, cpu in enumerate(pods)]
    return scenario(*(host(name, "8") for name in names), pods=made)


def told(made):
    (goal,) = made.improved
    return goal.before, goal.after, goal.bound


def test_no_more_pods_are_moved_than_the_objective_asks():
    cluster = full()
    batch = rule({"a": 2000, "b": 4000})
    made = improving(cluster, batch)
    assert len(made.moves) == 2
    assert told(made) == (-2000, 0, 0)
    assert {move.why for move in made.moves} == {"improves prefer:House"}
    assert made.empty == ()
    apply(cluster, made)
    again = improving(cluster, batch)
    assert again.moves == ()
    assert told(again) == (0, 0, 0)


def test_a_plan_is_only_made_if_it_is_better_by_as_much_as_is_asked():
    batch = rule({"a": 1000, "b": 100})  # 4000 where 1000 should be; one pod moved gains 100
    assert told(improving(full(), batch))[:2] == (-3000, -2900)
    assert improving(full(), batch, least=0.04).moves == ()
    assert told(improving(full(), batch, least=0.04))[:2] == (-3000, -3000)


def test_what_the_limits_of_moves_do_not_allow_is_left():
    made = improving(full(), rule({"b": 8000}), moves_per_host=3)
    assert len(made.moves) == 3
    assert told(made) == (-4000, -1000, 0)


def test_moves_wait_for_room_that_others_leave():
    """b can take p0 only once its own pod has gone to c."""
    pods = [member("p0", "a", cpu="6"), member("p1", "b", cpu="6")]
    cluster = scenario(host("a", "8"), host("b", "8"), host("c", "8"), pods=pods)
    liking = lambda batch: Worth(  # noqa: E731
        {
            c: by_name(batch, {"b": 10} if p.labels["app"] == "x" else {"c": 10})
            for c, p in enumerate(batch.pods)
        }
    )
    pods = [
        member("p0", "a", cpu="6", labels={"app": "x"}),
        member("p1", "b", cpu="6", labels={"app": "y"}),
    ]
    cluster = scenario(host("a", "8"), host("b", "8"), host("c", "8"), pods=pods)
    made = improving(cluster, rule(dict.fromkeys("abc", 8000), liking))
    assert [(m.pod.name, m.target) for m in made.moves] == [("p1", "c"), ("p0", "b")]
    assert told(made) == (0, 20, 20)


def test_pods_that_would_have_to_change_places_stay_and_the_rest_is_moved():
    pods = [
        member("p0", "a", cpu="6", labels={"app": "b"}),
        member("p1", "b", cpu="6", labels={"app": "a"}),
        member("p2", "a", cpu="1", labels={"app": "b"}),
    ]
    cluster = scenario(host("a", "8"), host("b", "8"), pods=pods)
    liking = lambda batch: Worth(  # noqa: E731
        {c: by_name(batch, {p.labels["app"]: 10}) for c, p in enumerate(batch.pods)}
    )
    made = improving(cluster, rule(dict.fromkeys("ab", 8000), liking))
    assert [(m.pod.name, m.target) for m in made.moves] == [("p2", "b")]
    assert told(made) == (0, 10, 30)


def test_who_cannot_change_places_goes_where_it_is_better_still():
    """a and b are full of pods that would be best on the other; c is the second best."""
    liking = lambda batch: Worth(  # noqa: E731
        {c: by_name(batch, {p.labels["app"]: 10, "c": 6}) for c, p in enumerate(batch.pods)}
    )
    pods = [
        member("p0", "a", cpu="6", labels={"app": "b"}),
        member("p1", "b", cpu="6", labels={"app": "a"}),
    ]
    cluster = scenario(*(host(name, "8") for name in "abc"), pods=pods)
    made = improving(cluster, rule(dict.fromkeys("abc", 8000), liking))
    assert told(made) == (0, 16, 20)
    assert sorted(m.target for m in made.moves)[1] == "c"


def test_hard_terms_hold_on_the_way():
    limit = lambda batch: Limit(tuple(range(len(batch.pods))), 1)  # noqa: E731
    made = improving(full(pods="11"), rule({"b": 8000}, limit))
    assert made.moves == (), "what is broken already is left alone"
    pods = [member("p0", "a", cpu="1")]
    cluster = scenario(
        *(host(name, "8") for name in "abc"), pods=[*pods, member("p1", "b", cpu="1")]
    )
    made = improving(cluster, rule({"b": 8000, "c": 8000}, limit))
    assert [(m.pod.name, m.target) for m in made.moves] == [("p0", "c")]
    cap = lambda batch: Capacity(dict.fromkeys(range(len(batch.pods)), 1.0), 1.0)  # noqa: E731
    made = improving(cluster, rule({"b": 8000, "c": 8000}, cap))
    assert [(m.pod.name, m.target) for m in made.moves] == [("p0", "c")]


def test_who_may_not_be_moved_is_counted_where_it_is():
    pods = [member("p0", "a", cpu="1", owner=None), member("p1", "a", cpu="1", labels={"app": "x"})]
    cluster = scenario(host("a", "8"), host("b", "8"), pods=pods)
    made = improving(cluster, rule({"b": 8000}))
    assert [move.pod.name for move in made.moves] == ["p1"]
    assert told(made)[:2] == (-2000, -1000)
    cluster.budgets = {("default", "x"): Budget("default", from_map({"app": "x"}), 0)}
    assert improving(cluster, rule({"b": 8000})).moves == ()


def test_goals_are_taken_in_order():
    goals = (Goal(hosts="fewest"), *HOUSE)
    cluster = full(names="abc", pods="1111")
    made = improving(cluster, rule(dict.fromkeys("abc", 2000)), goals)
    assert made.moves == (), "one host is all it takes, and another would be a second"
    assert [(goal.name, goal.before, goal.after) for goal in made.improved] == [
        ("hosts:fewest", 1, 1),
        ("prefer:House", -2000, -2000),
    ]
    spread = [member(f"p{n}", on, cpu="1") for n, on in enumerate("abc")]
    cluster = scenario(*(host(name, "8") for name in "abc"), pods=spread)
    made = improving(cluster, rule({"b": 8000}), goals)
    assert {m.target for m in made.moves} == {"b"}
    assert [goal.after for goal in made.improved] == [1, 0]


def test_load_is_balanced():
    made = improving(full(names="abc", pods="111111"), (), (Goal(balance="cpu"),))
    assert sorted(move.target for move in made.moves) == ["b", "b", "c", "c"]
    (goal,) = made.improved
    assert (goal.before, goal.after) == (0.1875, 0.0625)


def test_a_bound_does_not_ask_for_what_is_broken_already():
    even = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "even"}},
    }
    fields = {"labels": {"app": "even"}, "topologySpreadConstraints": [even]}
    hosts = [host(n, labels={"zone": z}) for n, z in (("a", "x"), ("b", "x"), ("c", "y"))]
    pods = [member(f"s{n}", "a", cpu="1", **fields) for n in range(3)]
    cluster = scenario(*hosts, pods=[*pods, member("other", "b", cpu="1")])
    assert told(improving(cluster, (), (Goal(hosts="fewest"),))) == (2, 1, 1)


@pytest.mark.parametrize(
    ("before", "after", "least", "expected"),
    [
        ((-10.0,), (-9.0,), 0.0, True),
        ((-10.0,), (-9.0,), 0.2, False),
        ((1.0, -10.0), (1.0, -9.0), 0.0, True),
        ((1.0, -10.0), (0.9, 0.0), 0.0, False),
        ((100.0, -10.0), (100.5, 0.0), 0.01, True),
        ((1.0,), (1.0,), 0.0, False),
        ((1.0,), (1.0 + 1e-12,), 0.0, False),
    ],
)
def test_better_is_by_the_first_goal_that_differs(before, after, least, expected):
    assert better(before, after, least) is expected


def test_moves_that_no_longer_pay_are_known():
    batch = rule({"a": 3000, "b": 8000})
    wanted = Objective(HOUSE)
    moves = [PlannedMove("default/p0", "uid-p0", "a", "b")]

    def worth(cluster):
        return pays(Floor(cluster, FILTERS, Scope(), batch), wanted, moves)

    cluster = full()
    assert worth(cluster)
    cluster.stop("uid-p3", "a")
    assert not worth(cluster), "a has no more than it should have"
