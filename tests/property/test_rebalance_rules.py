"""Rebalancing under random batch rules: no move makes worse what they forbid or demand.

What a rule states is counted here once more, plainly, pod by pod.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.batch_terms import (
    Across,
    Apart,
    Capacity,
    Complaint,
    Excess,
    Limit,
    Linear,
    Needs,
    Together,
    Worth,
)
from scheduler.objects.objective import Goal
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from scheduler.placement.rebalance.objective import Objective
from scheduler.placement.rebalance.plan import Aim
from scheduler.placement.rebalance.waiting import Waiting
from scheduler.plugin_manager import GuardedBatchRule
from tests.placement_cases import pod
from tests.rebalance_cases import FILTERS, apply, host, member, planned, scenario

APPS = ("a", "b", "c")
KINDS = ("limit", "apart", "capacity", "linear", "least", "needs", "across", "together")


@st.composite
def clusters(draw):
    """Return hosts in zones with pods on them, rules or no rules."""
    many = draw(st.integers(2, 6))
    hosts = [host(f"h{n}", "6", labels={"zone": f"z{n % 3}"}) for n in range(many)]
    pods, used = [], Counter()
    for number in range(draw(st.integers(1, 12))):
        app, on = draw(st.sampled_from(APPS)), f"h{draw(st.integers(0, many - 1))}"
        cpu = draw(st.integers(1, 2))
        if used[on] + cpu <= 6:
            used[on] += cpu
            owner = draw(st.sampled_from(["ReplicaSet", "ReplicaSet", "ReplicaSet", None]))
            made = member(f"{app}{number}", on, owner=owner, cpu=str(cpu), labels={"app": app})
            pods.append(made)
    waits = [pod(f"w{n}", cpu="5") for n in range(draw(st.integers(0, 1)))]
    return scenario(*hosts, pods=[*pods, *waits])


rules = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.permutations(APPS), st.integers(0, 4), st.sampled_from("hz")
    ),
    min_size=1,
    max_size=3,
)


class Stated:
    """A batch rule that states what was drawn."""

    name = "Drawn"

    def __init__(self, drawn, talks):
        self.drawn, self.talks = drawn, talks

    def terms(self, batch):
        if self.talks:
            return  # its check alone has to do
        for kind, (one, two, _), amount, where in self.drawn:
            left, right = self._of(batch, one), self._of(batch, two)
            domain = None if where == "h" else batch.domains("zone")
            weights = dict.fromkeys(left, 1.0)
            if kind == "limit":
                yield Limit(left, amount, domain)
            elif kind == "apart":
                yield Apart(left, right, domain)
            elif kind == "capacity":
                yield Capacity(dict.fromkeys(left, 2.0), 2.0 * amount, domain)
            elif kind == "linear":
                yield Linear(weights, "<=", amount)
            elif kind == "least":
                zone = np.array(
                    [batch.snapshot.nodes[row].labels["zone"] == "z0" for row in batch.hosts]
                )
                yield Linear({c: zone.astype(np.float64) for c in left}, ">=", amount)
            elif kind == "needs":
                yield Needs(left, right, domain)
            elif kind == "across":
                yield Across(left, amount, domain)
            else:
                yield Together(left, domain)

    def check(self, batch, plan):
        if not self.talks:
            return
        placed = Counter()
        for c, h, copies in zip(plan.classes, plan.hosts, plan.copies, strict=True):
            node = batch.snapshot.nodes[batch.hosts[h]]
            placed[batch.pods[c].labels["app"], node.name, node.labels["zone"]] += int(copies)
        for what, much in broken(self.drawn, placed).items():
            for unit in range(int(much)):
                yield Complaint(f"{what}, {unit}", ())

    def _of(self, batch, app):
        return tuple(c for c, p in enumerate(batch.pods) if p.labels.get("app") == app)


def broken(drawn, placed):
    """Return by how much each rule is broken in each domain.

    Args:
        placed: copies by app, host and zone.
    """
    found = Counter()
    for number, (kind, (one, two, _), amount, where) in enumerate(drawn):
        sides = {app: Counter() for app in (one, two)}
        for (app, name, zone), copies in placed.items():
            if app in sides and copies:
                sides[app][name if where == "h" else zone] += copies
        left, right = sides[one], sides[two]
        if kind in ("limit", "capacity"):
            for domain, copies in left.items():
                found[number, domain] = max(copies - amount, 0)
        elif kind == "apart":
            for domain, copies in left.items():
                found[number, domain] = copies * right[domain]
        elif kind == "linear":
            found[number, ""] = max(left.total() - amount, 0)
        elif kind == "least":
            there = sum(n for (app, _, zone), n in placed.items() if app == one and zone == "z0")
            found[number, ""] = max(amount - there, 0)
        elif kind == "needs":
            for domain, copies in left.items():
                found[number, domain] = 0 if right[domain] else copies
        elif kind == "across":
            found[number, ""] = max(amount - sum(n > 0 for n in left.values()), 0)
        else:
            found[number, ""] = left.total() - max(left.values(), default=0)
    return found


def count(cluster):
    """Return copies by app, host and zone."""
    placed = Counter()
    for name, pods in cluster.running.items():
        for each in pods.values():
            placed[each.pod.labels["app"], name, f"z{int(name[1:]) % 3}"] += 1
    return placed


class Weighed(Stated):
    """… and that pods of an app are worth something on each host, and cost where they crowd."""

    def __init__(self, drawn, talks, worth, most):
        super().__init__(drawn, talks)
        self.worth, self.most = worth, most

    def terms(self, batch):
        yield from super().terms(batch)
        yield Worth(
            {
                c: np.array([self.worth[APPS.index(p.labels["app"])][row] for row in batch.hosts])
                for c, p in enumerate(batch.pods)
                if p.labels.get("app") in APPS
            }
        )
        row = batch.snapshot.resource_row["cpu"]
        used = batch.snapshot.requested[row, batch.hosts]
        weights = {c: p.requests.amounts.get("cpu", 0) for c, p in enumerate(batch.pods)}
        yield Excess(weights, 1000.0 * self.most - used, 0.01)


worths = st.lists(
    st.lists(st.integers(-5, 5), min_size=6, max_size=6).map(lambda row: list(map(float, row))),
    min_size=3,
    max_size=3,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    cluster=clusters(),
    drawn=st.one_of(st.just([]), rules),
    talks=st.booleans(),
    worth=worths,
    most=st.integers(1, 4),
    limit=st.integers(1, 20),
)
def test_improving_makes_better_breaks_nothing_and_becomes_quiet(
    cluster, drawn, talks, worth, most, limit
):
    batch = [GuardedBatchRule(Weighed(drawn, talks, worth, most), "tests")]
    aim = Aim(limit, objective=Objective((Goal(prefer="Drawn"),)))
    before = None
    for _ in range(8):
        made = planned(cluster, aim, batch=batch)
        for goal in made.improved:
            assert before is None or goal.before == pytest.approx(before), "as was promised"
            assert goal.bound is None or goal.bound >= goal.after - 1e-6
            assert goal.after > goal.before if made.moves else goal.after == goal.before
            before = goal.after
        if not made.moves:
            return
        assert max(Counter(move.source for move in made.moves).values()) <= limit
        today = broken(drawn, count(cluster))
        placed = count(cluster)
        for move in made.moves:
            there = cluster.bound[move.uid]
            snapshot = cluster.state.freeze(1)
            wish = snapshot.all_rows * 0
            wish[snapshot.row_of[move.target]] = 1
            framework = Framework(FILTERS, ())
            assert framework.follow(there.wanted, wish, Draft(snapshot)).size == 1, move
            for name, copies in ((move.target, 1), (move.source, -1)):
                placed[there.pod.meta.labels["app"], name, f"z{int(name[1:]) % 3}"] += copies
                assert not broken(drawn, placed) - today
            apply(cluster, replace(made, moves=(move,)))
    raise AssertionError("it does not become quiet")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    cluster=clusters(),
    drawn=rules,
    talks=st.booleans(),
    solver=st.booleans(),
    room=st.booleans(),
)
def test_no_move_makes_anything_worse(cluster, drawn, talks, solver, room):
    batch = [GuardedBatchRule(Stated(drawn, talks), "tests")]
    waiting = tuple(Waiting.of([each]) for each in cluster.pending)
    made = planned(cluster, Aim(waiting=waiting if room else ()), solver=solver, batch=batch)
    placed = count(cluster)
    today = broken(drawn, placed)
    for move in made.moves:
        there = cluster.bound[move.uid].pod
        app = there.meta.labels["app"]
        for name, copies in ((move.target, 1), (move.source, -1)):
            placed[app, name, f"z{int(name[1:]) % 3}"] += copies
            worse = broken(drawn, placed) - today
            assert not worse, (move, worse)
