"""Rebalancing random clusters until it is quiet: never worse, never overfull, never for nothing."""

from dataclasses import replace

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.objects.pod_class import pod_class
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from scheduler.placement.rebalance.defragmenting import Wanted
from scheduler.placement.rebalance.plan import Aim
from scheduler.placement.rebalance.waiting import Waiting
from tests.placement_cases import pod
from tests.rebalance_cases import FILTERS, apply, host, member, planned, scenario, used

APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "apart"}},
            }
        ]
    }
}
EVEN = [
    {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "even"}},
    }
]
KINDS = {
    "plain": {},
    "fixed": {"owner": None},
    "apart": {"labels": {"app": "apart"}, "affinity": APART},
    "even": {"labels": {"app": "even"}, "topologySpreadConstraints": EVEN},
    "port": {"port": 80},
}
SIZES = ("1", "2", "3")


@st.composite
def clusters(draw):
    """Return hosts, and pods put on them one after another as far as the rules let them."""
    sizes = draw(st.lists(st.sampled_from(["4", "6", "8"]), min_size=2, max_size=6))
    hosts = [host(f"h{n}", cpu, labels={"zone": f"z{n % 2}"}) for n, cpu in enumerate(sizes)]
    cluster = scenario(*hosts)
    framework = Framework(FILTERS, ())
    wanted = draw(
        st.lists(
            st.tuples(
                st.sampled_from(sorted(KINDS)),
                st.sampled_from(SIZES),
                st.integers(0, len(sizes) - 1),
            ),
            max_size=14,
        )
    )
    for number, (kind, cpu, where) in enumerate(wanted):
        made = member(f"p{number}", f"h{where}", cpu=cpu, **KINDS[kind])
        (known,) = scenario(*hosts, pods=[made]).bound.values()
        snapshot = cluster.state.freeze(1)
        wish = snapshot.all_rows * 0
        wish[snapshot.row_of[f"h{where}"]] = 1
        if framework.follow(known.wanted, wish, Draft(snapshot)).size:
            cluster.run(known, f"h{where}")
    for number, cpu in enumerate(draw(st.lists(st.sampled_from(SIZES), max_size=3))):
        cluster.wait(scenario(pods=[pod(f"w{number}", cpu=cpu)]).pending[0])
    return cluster


def settle(cluster):
    """Let the pods that wait go where they fit, as placement would at once."""
    for waits in list(cluster.pending):
        snapshot = cluster.state.freeze(1)
        rows = Framework(FILTERS, ()).decide(waits.wanted, 1, Draft(snapshot)).rows
        if rows.size:
            cluster.waiting.pop(waits.uid)
            (node,) = snapshot.names(rows)
            cluster.run(replace(waits, pod=msgspec.structs.replace(waits.pod, node=node)), node)


def sound(cluster):
    """Tell that no host is overfull and that pods that keep apart are apart."""
    snapshot = cluster.state.freeze(1)
    assert (snapshot.requested <= snapshot.allocatable).all()
    for pods in cluster.running.values():
        apart = [p for p in pods.values() if p.pod.labels.get("app") == "apart"]
        assert len(apart) <= 1
        assert sum(bool(p.pod.host_ports) for p in pods.values()) <= 1


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(cluster=clusters(), solver=st.booleans(), least=st.integers(1, 20), room=st.booleans())
def test_it_becomes_quiet_and_nothing_gets_worse(cluster, solver, least, room):
    settle(cluster)
    for _ in range(2 + len(cluster.pending) + cluster.state.size):
        waiting = tuple(Waiting.of([each]) for each in cluster.pending)
        value = (len(waiting), len(used(cluster)))
        made = planned(cluster, Aim(least, waiting if room else ()), solver=solver)
        assert made.used == value[1]
        assert made.bound is None or made.bound <= made.after
        if not made.moves:
            assert made.after == made.used
            assert made.room == ()
            return
        moved = [move.uid for move in made.moves]
        assert len(moved) == len(set(moved))
        assert not made.room or len(moved) <= least * len(made.room)
        assert made.room or len(moved) <= least * (made.used - made.after)
        if not made.room:
            assert {m.source for m in made.moves}.isdisjoint(m.target for m in made.moves)
        apply(cluster, made)
        sound(cluster)
        settle(cluster)
        assert (len(cluster.pending), len(used(cluster))) < value
    raise AssertionError("it does not become quiet")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    cluster=clusters(),
    sizes=st.lists(st.tuples(st.sampled_from((*SIZES, "4")), st.integers(1, 3)), max_size=3),
    most=st.integers(1, 4),
)
def test_defragmenting_becomes_quiet_and_every_plan_leaves_more_room(cluster, sizes, most):
    shapes = tuple(
        Wanted(f"s{n}", pod_class(pod(f"s{n}", cpu=cpu)), count)
        for n, (cpu, count) in enumerate(sizes)
    )
    aim = Aim(most, empties=False, shapes=shapes)
    for _ in range(2 + sum(count for _, count in sizes) ** 2):
        made = planned(cluster, aim)
        before = [room.fit for room in made.rooms]
        after = [room.after for room in made.rooms]
        assert all(room.bound is None or room.after <= room.bound for room in made.rooms)
        if not made.moves:
            assert after == before
            return
        assert after > before
        apply(cluster, made)
        sound(cluster)
        assert [room.fit for room in planned(cluster, aim, solver=False).rooms] == after
    raise AssertionError("it does not become quiet")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(cluster=clusters())
def test_every_move_of_a_plan_can_be_made_while_its_pod_still_runs(cluster):
    made = planned(cluster, solver=False)
    for move in made.moves:
        snapshot = cluster.state.freeze(1)
        wish = snapshot.all_rows * 0
        wish[snapshot.row_of[move.target]] = 1
        known = cluster.bound[move.uid]
        framework = Framework(FILTERS, ())
        assert framework.follow(known.wanted, wish, Draft(snapshot)).size == 1, move
        cluster.stop(move.uid, move.source)
        cluster.run(known, move.target)
