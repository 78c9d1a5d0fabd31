"""What pods and nodes become in the solver's numbers."""

import numpy as np

from scheduler.hookspecs import Change, Verdict
from scheduler.placement.batch.modelling import Demand, Wish, model
from scheduler.placement.solver.objectives import Placed
from scheduler.placement.solver.rules import Apart, Exclusive, Gang, Spread, Together
from tests.placement_cases import a_class, cluster, default_framework, node, pod, spec

APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "a"}},
            }
        ]
    }
}


def near(key, **labels):
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def spreading(key, skew=1, **more):
    return [
        {
            "maxSkew": skew,
            "topologyKey": key,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "a"}},
            **more,
        }
    ]


def host(name, **more):
    labels = {"kubernetes.io/hostname": name, **more.pop("labels", {})}
    return node(name, labels=labels, **more)


def labelled(**fields):
    return a_class(labels={"app": "a"}, **fields)


def modelled(state, *wanted, hosts=None, filters=None, count=3):
    snapshot = state.freeze(1)
    rows = np.arange(snapshot.size) if hosts is None else np.array(hosts)
    demands = [Demand(each, count, 1.0) for each in wanted]
    asked = default_framework().filters if filters is None else filters
    return model(demands, snapshot, rows, asked, Wish((Placed(np.ones(len(wanted))),)))


def ruled(made, kind):
    return [rule for rule in made.problem.rules if isinstance(rule, kind)]


def test_what_is_free_is_what_running_pods_leave():
    state = cluster(host("a", cpu="4"), host("b", cpu="2"), pods=[pod(node="a", cpu="1500m")])
    problem = modelled(state, a_class(cpu="500m")).problem
    assert problem.free[0].tolist() == [2500, 2000]
    assert problem.demand[0].tolist() == [500]


def test_nodes_that_no_rule_tells_apart_are_one_group():
    tainted = host("c", taints=[("dedicated", "NoSchedule", "x")])
    state = cluster(host("a", cpu="4"), host("b", cpu="64"), tainted)
    made = modelled(state, a_class(cpu="1"))
    assert made.problem.group.tolist() == [0, 0, 1]
    assert made.problem.feasible.tolist() == [[True, False]]
    assert made.exact


def test_only_chosen_hosts_are_in_it():
    made = modelled(cluster(host("a"), host("b"), host("c")), a_class(cpu="1"), hosts=[0, 2])
    assert made.problem.free.shape[1] == 2
    assert made.rows.tolist() == [0, 2]


def test_pods_with_the_same_host_port_exclude_each_other():
    one, two, other = a_class(port=80), a_class(port=80, cpu="1"), a_class(port=81)
    made = modelled(cluster(host("a")), one, two, other)
    assert sorted(rule.classes for rule in ruled(made, Exclusive)) == [(0, 1), (2,)]


def test_ports_of_two_addresses_exclude_only_those_of_all_addresses():
    def at(address):
        body = spec(cpu="1")
        port = {"containerPort": 80, "hostPort": 80, "hostIP": address}
        body["containers"][0]["ports"] = [port]
        return a_class(json=body)

    made = modelled(cluster(host("a")), at("10.0.0.1"), at("10.0.0.2"), at("0.0.0.0"))
    assert sorted(rule.classes for rule in ruled(made, Exclusive)) == [(0, 2), (1, 2)]


def test_a_taken_port_closes_its_node():
    state = cluster(host("a"), host("b"), pods=[pod(node="a", port=80)])
    made = modelled(state, a_class(port=80))
    assert made.problem.feasible[0, made.problem.group].tolist() == [False, True]


def test_spreading_is_written_down_with_what_runs():
    zones = [host(n, labels={"zone": z}) for n, z in (("a", "x"), ("b", "x"), ("c", "y"))]
    state = cluster(*zones, host("d"), pods=[pod(node="a", labels={"app": "a"})])
    made = modelled(state, labelled(cpu="1", topologySpreadConstraints=spreading("zone")))
    (rule,) = ruled(made, Spread)
    assert rule.classes == (0,)
    assert rule.skew == 1
    assert rule.domain[made.problem.group].tolist() == [0, 0, 1, -1]
    assert rule.existing.tolist() == [1, 0]
    assert made.exact


def test_too_few_domains_count_as_an_empty_one():
    state = cluster(host("a", labels={"zone": "x"}))
    few = spreading("zone", minDomains=3)
    (rule,) = ruled(modelled(state, labelled(topologySpreadConstraints=few)), Spread)
    assert rule.existing.tolist() == [0, 0]


def test_a_missing_domain_may_be_more_than_the_skew_below_what_runs():
    zones = [host(n, labels={"zone": z}) for n, z in (("a", "x"), ("b", "y"))]
    running = [pod(node=on, labels={"app": "a"}) for on in "aaab"]
    few = spreading("zone", skew=2, minDomains=3)  # one more fits in y, whatever x has
    made = modelled(cluster(*zones, pods=running), labelled(topologySpreadConstraints=few))
    assert not ruled(made, Spread)
    assert not made.exact


def test_spreading_that_counts_pods_which_are_not_bound_by_it_is_left_out():
    state = cluster(host("a", labels={"zone": "x"}), host("b", labels={"zone": "y"}))
    bound, free = labelled(topologySpreadConstraints=spreading("zone")), labelled(cpu="1")
    made = modelled(state, bound, free)
    assert not ruled(made, Spread)
    assert not made.exact


def test_pods_that_keep_apart_on_hosts_are_exclusive():
    made = modelled(cluster(host("a"), host("b")), labelled(affinity=APART))
    assert [(rule.classes, rule.domain) for rule in ruled(made, Exclusive)] == [((0,), None)]
    assert len(made.problem.free) == len(cluster(host("a")).freeze(1).resources)  # no further one
    assert made.exact


def test_pods_that_keep_apart_in_zones_are_exclusive_in_each():
    far = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a"}}}
            ]
        }
    }
    zones = [host(n, labels={"zone": z}) for n, z in (("a", "x"), ("b", "x"), ("c", "y"))]
    made = modelled(cluster(*zones), labelled(affinity=far))
    (rule,) = ruled(made, Exclusive)
    assert rule.domain[made.problem.group].tolist() == [0, 0, 1]


def test_pods_that_keep_away_from_others_are_apart_from_them():
    shy, others = a_class(cpu="1", affinity=APART), labelled(cpu="1")
    made = modelled(cluster(host("a"), host("b")), shy, others)
    assert [(rule.left, rule.right) for rule in ruled(made, Apart)] == [((0,), (1,))]
    assert made.exact


def test_what_runs_keeps_pods_apart_from_it():
    state = cluster(host("a"), host("b"), pods=[pod(node="a", labels={"app": "a"})])
    made = modelled(state, labelled(affinity=APART))
    assert made.problem.feasible[0, made.problem.group].tolist() == [False, True]


def test_pods_that_want_each_other_are_together_in_one_domain():
    zones = [host(n, labels={"zone": z}) for n, z in (("a", "x"), ("b", "y"))]
    made = modelled(cluster(*zones), labelled(affinity=near("zone", app="a")))
    (rule,) = ruled(made, Together)
    assert rule.domain[made.problem.group].tolist() == [0, 1]
    assert made.exact


def test_pods_that_want_one_that_runs_go_to_its_domain():
    zones = [host(n, labels={"zone": z}) for n, z in (("a", "x"), ("b", "y"))]
    state = cluster(*zones, pods=[pod(node="b", labels={"app": "db"})])
    made = modelled(state, labelled(affinity=near("zone", app="db")))
    assert not ruled(made, Together)
    assert made.problem.feasible[0, made.problem.group].tolist() == [False, True]
    assert made.exact


def test_pods_that_come_may_open_a_domain_for_others_that_want_them():
    zones = [host(n, labels={"zone": z}) for n, z in (("a", "x"), ("b", "y"))]
    opening = labelled(affinity=near("zone", app="a"))
    following = a_class(labels={"app": "b"}, affinity=near("zone", app="a"))
    made = modelled(cluster(*zones), opening, following)
    assert made.problem.feasible.all()
    assert [rule.classes for rule in ruled(made, Together)] == [(0, 1)]
    assert not made.exact


def test_pods_that_nobody_opens_a_domain_for_can_go_nowhere():
    zones = [host(n, labels={"zone": z}) for n, z in (("a", "x"), ("b", "y"))]
    made = modelled(cluster(*zones), labelled(affinity=near("zone", app="db")))
    assert not made.problem.feasible.any()


def test_who_runs_on_a_node_without_the_key_leaves_the_first_copy_its_choice():
    running = pod(node="b", labels={"app": "a"})
    state = cluster(host("a", labels={"zone": "x"}), host("b"), pods=[running])
    made = modelled(state, labelled(affinity=near("zone", app="a")))
    assert made.problem.feasible[0, made.problem.group].all()
    (rule,) = ruled(made, Together)
    assert rule.domain[made.problem.group].tolist() == [0, -1]


def test_pods_that_want_others_of_the_batch_are_left_to_the_rules():
    zones = [host(n, labels={"zone": z}) for n, z in (("a", "x"), ("b", "y"))]
    wanted, wanting = a_class(labels={"app": "db"}), labelled(affinity=near("zone", app="db"))
    made = modelled(cluster(*zones), wanted, wanting)
    assert made.problem.feasible.all()
    assert not made.exact


class AtMostTwo:
    """A third party's filter that counts."""

    name = "AtMostTwo"
    wakes_on = Change.ANY

    def filter(self, pod, snapshot):
        room = np.full(snapshot.size, 2, dtype=np.int64)
        room[0] = 0
        return Verdict(room, "no more")


def test_what_a_filter_counts_is_one_more_resource():
    made = modelled(cluster(host("a"), host("b")), a_class(), filters=[AtMostTwo()])
    problem = made.problem
    assert problem.feasible[0, problem.group].tolist() == [False, True]
    assert problem.free[-1].tolist() == [0, 2]
    assert problem.demand[-1].tolist() == [1]


def test_gangs_that_need_every_member_are_all_or_nothing():
    one, two = (a_class(labels={"ironfree.dev/pod-group": "g"}, cpu=cpu) for cpu in ("1", "2"))
    snapshot = cluster(host("a")).freeze(1)
    rows = np.arange(1)
    whole = [Demand(one, 2, 1.0, least=5), Demand(two, 3, 1.0, least=5)]
    wish = Wish((Placed(np.ones(2)),))
    made = model(whole, snapshot, rows, default_framework().filters, wish)
    assert [gang.classes for gang in ruled(made, Gang)] == [(0, 1)]
    some = [Demand(one, 2, 1.0, least=4), Demand(two, 3, 1.0, least=4)]
    made = model(some, snapshot, rows, default_framework().filters, wish)
    assert not ruled(made, Gang)
    assert not made.exact
