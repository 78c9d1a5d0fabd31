"""What a rebalance moves, what it leaves alone, and what it proves."""

from datetime import timedelta

import msgspec
import pytest

from scheduler.objects.pod import AT_MOST_ONCE
from scheduler.objects.replication import REPLACE_FIRST, REPLACES
from scheduler.objects.selectors import EVERYTHING, from_map
from scheduler.placement.rebalance.floor import Floor
from scheduler.placement.rebalance.movability import Scope
from scheduler.placement.rebalance.plan import Aim
from scheduler.placement.rebalance.repair import repair
from scheduler.placement.rebalance.room import hopeless
from scheduler.placement.rebalance.waiting import Waiting
from scheduler.placement.solver.engine import Options, solve
from scheduler.placement.tenancy import Budget
from tests.placement_cases import pod
from tests.rebalance_cases import FILTERS, NOW, apply, host, member, planned, scenario, used


def fragmented(**fields):
    """Four hosts, each with a pod that takes a quarter."""
    hosts = [host(f"h{n}") for n in range(4)]
    return scenario(*hosts, pods=[member(f"p{n}", f"h{n}", cpu="1", **fields) for n in range(4)])


def test_a_fragmented_cluster_comes_together_on_one_host():
    cluster = fragmented()
    made = planned(cluster)
    assert (made.total, made.used, made.after, made.bound) == (4, 4, 1, 1)
    assert len(made.moves) == 3
    assert len(made.empty) == 3
    assert {move.why for move in made.moves} == {f"empties {move.source}" for move in made.moves}
    apply(cluster, made)
    assert len(used(cluster)) == 1
    assert planned(cluster).moves == ()


def test_hosts_with_the_fewest_pods_are_emptied():
    pods = [member(f"a{n}", "a", cpu="1") for n in range(3)]
    made = planned(scenario(host("a"), host("b"), pods=[*pods, member("b0", "b", cpu="1")]))
    assert [(move.pod.name, move.target) for move in made.moves] == [("b0", "a")]
    assert made.empty == ("b",)


def test_a_host_that_costs_too_many_moves_stays():
    pods = [member(f"{on}{n}", on, cpu="500m") for on in ("a", "b") for n in range(3)]
    cluster = scenario(host("a"), host("b"), pods=pods)
    assert planned(cluster, Aim(moves_per_host=2)).moves == ()
    assert len(planned(cluster, Aim(moves_per_host=3)).moves) == 3


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"owner": None}, "no ReplicationController or ReplicaSet replaces it"),
        ({"owner": "Job"}, "no ReplicationController or ReplicaSet replaces it"),
        ({"annotations": {AT_MOST_ONCE: "true"}}, "it may run once at most"),
        ({"annotations": {REPLACE_FIRST: "false"}}, "not to be replaced first"),
        ({"annotations": {"ironfree.dev/movable": "false"}}, "it is annotated"),
        (
            {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
            "it is annotated",
        ),
        ({"annotations": {REPLACE_FIRST: "true"}}, "it is leaving"),
        ({"labels": {"ironfree.dev/pod-group": "g"}}, "it is a member of PodGroup"),
        ({"ready": False}, "it is not ready"),
        ({"volumes": [{"name": "v", "emptyDir": {}}]}, "it has local data"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/data"}}]}, "it has local data"),
        ({"namespace": "other"}, "its namespace is not chosen"),
        ({"labels": {"app": "db"}}, "it is not chosen"),
        ({"annotations": {REPLACES: "uid"}}, "it has just been moved"),
    ],
)
def test_what_may_not_be_moved_stays_and_its_host_says_why(fields, reason):
    fields = {"labels": {"app": "web"}, **fields}
    if fields["labels"] != {"app": "db"}:
        fields["labels"] = {"app": "web", **fields["labels"]}
    cluster = scenario(
        host("a"), host("b"), pods=[member("x", "a", cpu="1", **fields), member("y", "b", cpu="1")]
    )
    cluster.bound["uid-y"].pod.meta.annotations["ironfree.dev/movable"] = "false"
    scope = Scope(
        EVERYTHING,
        from_map({"app": "web"}),
        frozenset({"default"}),
        NOW - timedelta(hours=1),
    )
    made = planned(cluster, scope=scope)
    assert made.moves == ()
    assert reason in dict(made.fixed)["a"]


def test_local_data_may_be_given_up():
    volumes = [{"name": "v", "emptyDir": {}}]
    free = {"ironfree.dev/movable": "true"}
    pods = [member("x", "a", cpu="1", volumes=volumes, annotations=free), member("y", "b", cpu="1")]
    assert len(planned(scenario(host("a"), host("b"), pods=pods)).moves) == 1


def test_pods_of_daemons_do_not_keep_a_host():
    pods = [member(f"d-{on}", on, owner="DaemonSet", cpu="100m") for on in ("a", "b")]
    pods += [member("x", "a", cpu="1"), member("y", "b", cpu="1")]
    made = planned(scenario(host("a"), host("b"), pods=pods))
    assert len(made.moves) == 1
    assert made.after == 1


def test_a_budget_that_allows_nothing_keeps_its_pods():
    cluster = fragmented(labels={"app": "web"})
    cluster.budgets = {("default", "web"): Budget("default", from_map({"app": "web"}), 0)}
    assert planned(cluster).moves == ()
    cluster.budgets = {("default", "web"): Budget("default", from_map({"app": "web"}), 1)}
    assert len(planned(cluster).moves) == 3


def test_only_chosen_hosts_take_part():
    pods = [member(f"p-{on}", on, cpu="1") for on in ("a", "b", "c")]
    hosts = [host("a"), host("b", labels={"pool": "x"}), host("c", labels={"pool": "x"})]
    made = planned(scenario(*hosts, pods=pods), scope=Scope(from_map({"pool": "x"})))
    assert made.total == 2
    assert {move.source for move in made.moves} | {move.target for move in made.moves} == {"b", "c"}


def test_cordoned_and_silent_hosts_take_no_part():
    hosts = [host("a"), host("b", unschedulable=True), host("c", ready="False")]
    pods = [member(f"p-{on}", on, cpu="1") for on in ("a", "b", "c")]
    made = planned(scenario(*hosts, pods=pods))
    assert (made.total, made.moves) == (1, ())


def test_rules_between_pods_hold_where_they_go():
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    made = planned(fragmented(labels={"app": "web"}, affinity=apart))
    assert made.moves == ()
    assert made.bound == 4


def spreading(skew):
    return [
        {
            "maxSkew": skew,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "even"}},
        }
    ]


def test_a_bound_does_not_ask_of_who_stays_what_is_broken_already():
    hosts = [host(n, labels={"zone": z}) for n, z in (("h1", "x"), ("h2", "x"), ("h3", "y"))]
    fields = {"labels": {"app": "even"}, "topologySpreadConstraints": spreading(1)}
    pods = [member(f"s{n}", "h1", cpu="1", **fields) for n in range(3)]
    made = planned(scenario(*hosts, pods=[*pods, member("other", "h2", cpu="1")]))
    assert (made.used, made.after, made.bound) == (2, 1, 1)


def test_a_bound_does_not_ask_for_less_skew_than_leaving_pods_leave():
    """One of the emptiest zone goes to another, and the fullest is further above it than 2."""
    zones = (("h1", "x"), ("h2", "y"), ("h3", "z"))
    hosts = [host(n, "3", labels={"zone": z}) for n, z in zones]
    fields = {"labels": {"app": "even"}, "topologySpreadConstraints": spreading(2)}
    on = ["h1", "h1", "h1", "h2", "h3"]
    pods = [member(f"s{n}", where, cpu="1", **fields) for n, where in enumerate(on)]
    cluster = scenario(*hosts, pods=pods)
    made = planned(cluster)
    apply(cluster, made)
    assert made.bound is not None
    assert made.bound <= len(used(cluster)) == made.after == 2


def test_a_bound_lets_pods_stay_where_a_filter_would_not_let_them_come():
    pods = [
        member("a", "h1", cpu="1", nodeSelector={"zone": "gone"}),
        member("b", "h2", cpu="1", nodeSelector={"zone": "here"}),
    ]
    zones = (("h1", "here"), ("h2", "here"), ("h3", "gone"))
    hosts = [host(n, labels={"zone": z}) for n, z in zones]
    made = planned(scenario(*hosts, pods=pods))
    assert (made.used, made.after, made.bound) == (2, 1, 1)


def test_a_bound_lets_pods_come_to_where_those_are_that_they_want():
    """Of two zones with such pods only one has a pod that may not be moved."""
    near = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a"}}}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [near]}}
    fields = {"labels": {"app": "a"}, "affinity": affinity, "cpu": "1"}
    hosts = [
        host("h1", "2", labels={"zone": "x"}),
        host("h2", "2", labels={"zone": "x"}),
        host("h3", "8", labels={"zone": "y"}),
    ]
    pods = [
        member("fixed", "h1", cpu="2", labels={"app": "a"}, owner=None),
        member("m1", "h2", **fields),
        member("m2", "h3", **fields),
        member("m3", "h3", **fields),
    ]
    made = planned(scenario(*hosts, pods=pods))
    assert (made.used, made.after, made.bound) == (3, 2, 2)


def test_the_solver_packs_what_one_after_the_other_does_not():
    """Best fit fills the gap of 3 with a 2, and then a 3 has no place."""
    hosts = [host("a", "10"), host("b", "10"), host("c", "10"), host("d", "10")]
    pods = [
        member("a0", "a", cpu="7", owner=None),
        member("b0", "b", cpu="6", owner=None),
        *(member(f"c{n}", "c", cpu=cpu) for n, cpu in enumerate(("2", "2"))),
        *(member(f"d{n}", "d", cpu=cpu) for n, cpu in enumerate(("3",))),
    ]
    cluster = scenario(*hosts, pods=pods)
    alone = planned(cluster, solver=False)
    made = planned(cluster)
    assert made.after == made.bound == 2
    assert made.after <= alone.after
    apply(cluster, made)
    assert used(cluster) == {"a", "b"}


def test_a_waiting_pod_gets_room_by_moving_the_fewest():
    pods = [member(f"a{n}", "a", cpu="1") for n in range(3)]
    pods += [member("b0", "b", cpu="2"), member("c0", "c", cpu="2")]
    big = pod("big", cpu="3")
    cluster = scenario(host("a"), host("b"), host("c"), pods=[*pods, big])
    waiting = tuple(Waiting.of([each]) for each in cluster.pending)
    made = planned(cluster, Aim(waiting=waiting))
    assert [key.name for key in made.room] == ["big"]
    assert len(made.moves) == 1
    assert made.moves[0].why == "makes room for default/big"
    apply(cluster, made)
    free = {
        name: 4 - sum(int(p.pod.requests.amounts["cpu"]) // 1000 for p in pods.values())
        for name, pods in cluster.running.items()
    }
    assert max(free.values()) >= 3


def test_nothing_is_moved_for_a_pod_that_fits_nowhere_anyway():
    cluster = fragmented()
    cluster.wait(next(iter(scenario(pods=[pod("huge", cpu="5")]).pending)))
    waiting = tuple(Waiting.of([each]) for each in cluster.pending)
    made = planned(cluster, Aim(waiting=waiting))
    assert made.room == ()
    assert all("empties" in move.why for move in made.moves)


def test_a_pod_is_hopeless_only_if_no_moving_helps():
    pods = [member("a", "a", cpu="3"), member("b", "b", cpu="3", owner=None)]
    cluster = scenario(host("a"), host("b"), pods=pods)
    for cpu, proof in (("4", False), ("5", True)):
        (waits,) = scenario(pods=[pod("w", cpu=cpu)]).pending
        assert bool(hopeless(waits, cluster, FILTERS)) is proof
    cluster.bound["uid-a"].pod.meta.annotations["ironfree.dev/movable"] = "false"
    (waits,) = scenario(pods=[pod("w", cpu="4")]).pending
    assert hopeless(waits, cluster, FILTERS) == (
        "no node would take it even if all of the 0 pods that may be moved were elsewhere"
    )


def test_a_pod_that_waits_for_its_victims_is_not_hopeless():
    waits = pod("w", cpu="4")
    status = msgspec.structs.replace(waits.status, nominated_node_name="a")
    waits = msgspec.structs.replace(waits, status=status)
    cluster = scenario(host("a"), pods=[waits])
    assert hopeless(cluster.pending[0], cluster, FILTERS) == ""


def test_a_host_that_a_pod_waits_for_is_not_emptied():
    cluster = fragmented()
    nominee = pod("n", cpu="1")
    status = msgspec.structs.replace(nominee.status, nominated_node_name="h0")
    other = scenario(pods=[msgspec.structs.replace(nominee, status=status)])
    cluster.wait(other.pending[0])
    made = planned(cluster)
    assert "h0" not in made.empty
    assert made.after == 2


@pytest.mark.parametrize(("least", "moved"), [(2, 2), (3, None)])
def test_the_solver_makes_room_for_as_many_of_a_gang_as_it_needs(least, moved):
    """Of four half-full hosts two can be free for a gang of three."""
    pods = [member(f"{name}0", name, cpu="2") for name in "abcd"]
    ring = [pod(f"ring-{n}", cpu="4") for n in range(3)]
    cluster = scenario(*(host(name) for name in "abcd"), pods=[*pods, *ring])
    floor = Floor(cluster, FILTERS, Scope())
    repairing = repair(floor, Waiting.of(tuple(cluster.pending), least), 20, [])
    problem = next(repairing)
    with pytest.raises(StopIteration) as done:
        repairing.send(solve(problem, Options(seconds=2.0)))
    step = done.value.value
    assert (len(step.moves) if step else None) == moved
    assert sum(map(len, floor.guests.values())) == (moved + 2 if moved else 0)
