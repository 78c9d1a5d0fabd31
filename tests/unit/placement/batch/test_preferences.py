"""What pods prefer is a goal after those of the Placement, unless it is named earlier."""

import numpy as np
import pytest

from tests.batch_cases import host, job, prepared, rules, settled, template, where

PACKED = ({"place": "count"}, {"hosts": "fewest"})


def likes(key, *values, weight=10):
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}
    preferred = {"weight": weight, "preference": term}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}


def near(key, kind="podAffinity", **labels):
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    weighted = {"weight": 100, "podAffinityTerm": term}
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}}


def zones(*names):
    return [host(name, zone=name) for name in names]


def nodes(outcome):
    return sorted(where(outcome))


def running(name, node, **labels):
    body = {"containers": [{"name": "c", "image": "i"}], "nodeName": node}
    return {"metadata": {"name": name, "labels": labels}, "spec": body}


def test_of_packed_plans_the_one_that_pods_prefer_is_chosen():
    found = settled(
        job(template("p", 3, cpu="1", affinity=likes("zone", "c"))), zones(*"abcd"), rules()
    )
    assert nodes(found) == ["c"]
    goal = found.solver.goals[-1]
    assert (goal.name, goal.value, goal.gap) == ("prefer:pods", goal.bound, "0%")


def test_preferences_cost_no_host_unless_they_come_first():
    wanted = [template(zone, 1, cpu="1", affinity=likes("zone", zone)) for zone in ("a", "b")]
    assert len(nodes(settled(job(*wanted), zones(*"ab"), rules()))) == 1
    first = ({"place": "count"}, {"prefer": "pods"}, {"hosts": "fewest"})
    found = settled(job(*wanted, objective=first), zones(*"ab"), rules())
    assert where(found) == {"a": ["a-0"], "b": ["b-0"]}


def test_hosts_that_are_tainted_softly_are_kept_off():
    hosts = zones(*"abc")
    for each in hosts[:2]:
        each["spec"] = {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}
    assert nodes(settled(job(template("p", 2, cpu="1")), hosts, rules())) == ["c"]


def test_affinity_to_pods_that_run_is_heeded():
    there = [running("db", "b", app="db"), running("other", "a", app="x")]
    wanted = template("p", 2, cpu="1", affinity=near("zone", app="db"))
    assert nodes(settled(job(wanted), zones(*"abc"), rules(), there)) == ["b"]
    away = template("p", 2, cpu="1", affinity=near("zone", "podAntiAffinity", app="db"))
    assert nodes(settled(job(away), zones(*"ab"), rules(), there)) == ["a"]


def test_soft_spreading_heeds_pods_that_run():
    spread = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "p"}},
    }
    there = [running(f"p{n}", "a", app="p") for n in range(3)] + [running("x", "b", app="x")]
    wanted = template("p", 1, cpu="1", topologySpreadConstraints=[spread])
    assert nodes(settled(job(wanted), zones(*"ab"), rules(), there)) == ["b"]


def test_pods_without_preferences_have_no_goal():
    asked, _ = prepared(job(template("p", 1, cpu="1")), zones(*"ab"), rules())
    assert asked.names == ("place:count", "hosts:fewest")


def test_preferences_that_tell_too_many_hosts_apart_are_left_out():
    names = [f"h{n}" for n in range(300)]
    each = [likes("zone", name, weight=1)["nodeAffinity"] for name in names]
    kind = "preferredDuringSchedulingIgnoredDuringExecution"
    terms = [{**term[kind][0], "weight": n % 100 + 1} for n, term in enumerate(each)]
    few = template("few", 9, cpu="1m", affinity=likes("zone", "h7"))
    many = [
        template(f"m{part}", 1, cpu="1m", affinity={"nodeAffinity": {kind: terms[part::3]}})
        for part in range(3)
    ]
    asked, _ = prepared(job(few, *many), zones(*names), rules())
    problem = asked.model.problem
    assert np.unique(problem.group).size <= 256
    (liked,) = [
        o for o, name in zip(problem.objectives, asked.names, strict=True) if "pods" in name
    ]
    assert liked.weight[0].any()
    assert not liked.weight[1:].any(axis=1).all()


def spread(key, **labels):
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }


LIKED = ({"place": "count"}, {"prefer": "pods"}, {"hosts": "fewest"})


@pytest.mark.parametrize("key", ["zone", "kubernetes.io/hostname"])
def test_pods_of_a_batch_that_keep_off_each_other_softly_are_spread(key):
    wanted = template("p", 4, cpu="1", affinity=near(key, "podAntiAffinity", app="p"))
    found = settled(job(wanted, objective=LIKED), zones(*"abc"), rules())
    assert sorted(len(pods) for pods in where(found).values()) == [1, 1, 2]
    goal = found.solver.goals[1]
    assert (goal.value, goal.bound, goal.gap) == ("-400", "-400", "0%")
    packed = settled(job(wanted), zones(*"abc"), rules())
    assert len(nodes(packed)) == 1
    assert packed.solver.goals[2].value == "-2400"


def test_pods_of_a_batch_that_like_each_other_meet():
    hosts = zones(*"abc")
    wanted = [
        template("web", 2, cpu="3", affinity=near("zone", app="db")),
        template("db", 1, cpu="2"),
        template("other", 2, cpu="5"),
    ]
    found = settled(job(*wanted, objective=LIKED), hosts, rules())
    placed = where(found)
    (home,) = [pods for pods in placed.values() if "db-0" in pods]
    assert home == ["db-0", "web-0", "web-1"]
    assert found.solver.goals[1].value == "800"
    assert found.solver.status == "optimal"


def test_soft_spreading_counts_pods_of_the_batch_and_those_that_run():
    hosts = [host(name, zone=zone) for name, zone in zip("abcd", "xxyy", strict=True)]
    there = [running("p0", "a", app="p")]
    wanted = template("p", 3, cpu="1", topologySpreadConstraints=[spread("zone", app="p")])
    placed = where(settled(job(wanted, objective=LIKED), hosts, rules(), there))
    assert sum(len(placed.get(node, ())) for node in "cd") == 2


def test_soft_spreading_over_zones_of_nothing_that_runs_is_even():
    wanted = template("p", 4, cpu="1", topologySpreadConstraints=[spread("zone", app="p")])
    hosts = [host(name, zone=zone) for name, zone in zip("abc", "xxy", strict=True)]
    found = settled(job(wanted, objective=LIKED), hosts, rules())
    assert len(where(found)["c"]) == 2
    goal = found.solver.goals[1]  # two pairs, a whole score for each of the two pods, weight 2
    assert (goal.value, goal.bound) == ("-800", "-800")


def test_pairs_that_tell_too_many_hosts_apart_are_left_out():
    hosts = [host(f"h{n}", rack=f"r{n // 2}") for n in range(600)]
    few = template("few", 2, cpu="1", affinity=near("rack", app="few"))
    many = template("many", 5, cpu="1", affinity=near("kubernetes.io/hostname", app="many"))
    asked, _ = prepared(job(few, many), hosts, rules())
    problem = asked.model.problem
    assert problem.group.max() == 0
    assert [each.sets for each in problem.objectives[-1].companies] == [((1,),)]
