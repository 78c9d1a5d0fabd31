"""Running pods make room for a Placement: no more of them than may, and never for nothing."""

from scheduler.objects.placement_job import Limits
from tests.batch_cases import template, where
from tests.clearance_cases import COUNT, budget, host, job, running, tried


def moves(outcome):
    clearance = outcome.clearance
    found = clearance.moves if clearance is not None else ()
    return {each.pod.key.name: (each.source, each.target) for each in found}


def victims(outcome):
    clearance = outcome.clearance
    return sorted(each.pod.key.name for each in clearance.evictions) if clearance else []


def scattered(hosts="ab", cpu="8"):
    """Return hosts with a pod on each, so that nothing large fits."""
    return [host(name, cpu=cpu) for name in hosts], [running(f"r-{name}", name) for name in hosts]


def big(count=1, cpu="7", **fields):
    return template("big", count, cpu=cpu, **fields)


def first(outcome):
    goal = outcome.solver.goals[0]
    return goal.value, goal.bound, goal.gap


def test_without_limits_nobody_makes_room():
    assert Limits().any is False
    hosts, pods = scattered()
    found = tried(job(big(), objective=COUNT), hosts, pods, Limits())
    assert (found.placed, found.clearance) == (0, None)


def test_a_pod_is_moved_so_that_a_large_one_fits():
    hosts, pods = scattered()
    found = tried(job(big(), objective=COUNT), hosts, pods, Limits(max_moves=1))
    assert found.placed == 1
    ((source, target),) = moves(found).values()
    assert where(found) == {source: ["big-0"]}
    assert target != source
    assert first(found) == ("1", "1", "0%")
    assert found.solver.status == "optimal"


def test_no_more_pods_are_moved_than_may_be():
    hosts = [host(name, cpu="8") for name in "ab"]
    pods = [running(f"r{n}", "ab"[n % 2], cpu="2") for n in range(4)]
    assert tried(job(big(cpu="8"), objective=COUNT), hosts, pods, Limits(max_moves=1)).placed == 0
    found = tried(job(big(cpu="8"), objective=COUNT), hosts, pods, Limits(max_moves=2))
    assert (found.placed, len(moves(found))) == (1, 2)


def test_who_may_not_be_moved_stays():
    hosts, _ = scattered()
    once = {"annotations": {"ironfree.dev/at-most-once": "true"}}
    pinned = [running("r-a", "a", meta=once), running("r-b", "b", owner=False)]
    found = tried(job(big(), objective=COUNT), hosts, pinned, Limits(max_moves=5))
    assert (found.placed, found.clearance) == (0, None)
    assert first(found) == ("0", "0", "0%")
    _, pods = scattered()
    found = tried(
        job(big(), objective=COUNT),
        hosts,
        pods,
        Limits(max_moves=5),
        podDisruptionBudgets=[budget(0)],
    )
    assert found.clearance is None


def test_pods_of_lower_priority_are_evicted_where_moving_does_not_help():
    hosts = [host("a", cpu="8")]
    pods = [running("low", "a", cpu="4", owner=False)]
    asked = job(big(priority=10), objective=COUNT)
    found = tried(asked, hosts, pods, Limits(max_moves=5, max_preemptions=1))
    assert (victims(found), moves(found), found.placed) == (["low"], {}, 1)
    assert tried(asked, hosts, pods, Limits(max_moves=5)).placed == 0
    assert tried(job(big(), objective=COUNT), hosts, pods, Limits(max_preemptions=1)).placed == 0


def test_victims_are_counted_and_budgets_hold():
    hosts = [host("a", cpu="8"), host("b", cpu="8")]
    pods = [running(f"{n}-{node}", node, cpu="4") for node in "ab" for n in range(2)]
    asked = job(big(2, cpu="8", priority=10), objective=COUNT)
    found = tried(asked, hosts, pods, Limits(max_preemptions=3))
    assert (found.placed, len(victims(found))) == (1, 2)
    assert first(found)[:2] == ("1", "1")
    guarded = {"podDisruptionBudgets": [budget(1)]}
    assert tried(asked, hosts, pods, Limits(max_preemptions=4), **guarded).placed == 0
    some = {"podDisruptionBudgets": [budget(2)]}
    found = tried(asked, hosts, pods, Limits(max_preemptions=4), **some)
    assert (found.placed, len(victims(found))) == (1, 2)


def test_pods_that_never_preempt_evict_nobody():
    hosts, pods = [host("a", cpu="8")], [running("low", "a", cpu="4")]
    asked = job(big(priority=10, preemptionPolicy="Never"), objective=COUNT)
    found = tried(asked, hosts, pods, Limits(max_preemptions=1))
    assert (found.placed, first(found)[1]) == (0, "0")


def gang(count, least, cpu):
    label = {"ironfree.dev/pod-group": "ring", "app": "ring"}
    waiting = [
        {
            "metadata": {"name": f"w{n}", "labels": label},
            "spec": {
                "schedulerName": "batch",
                "priority": 10,
                "containers": [
                    {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
                ],
            },
        }
        for n in range(count)
    ]
    return waiting, [{"metadata": {"name": "ring"}, "spec": {"minMember": least}}]


def test_for_a_gang_there_is_room_for_all_it_needs_or_nobody_moves():
    hosts, pods = scattered("abc")
    ring, groups = gang(3, 3, "7")
    asked = job(objective=COUNT, pods={"groups": ["ring"]})
    found = tried(asked, hosts, [*pods, *ring], Limits(max_moves=5), podGroups=groups)
    assert (found.placed, found.clearance) == (0, None)
    assert first(found)[1] == "0", "the third has no room, whatever is moved"
    ring, groups = gang(2, 2, "6")
    hosts, pods = scattered("abc", cpu="7")
    found = tried(asked, hosts, [*pods, *ring], Limits(max_moves=2), podGroups=groups)
    assert (found.placed, len(moves(found))) == (2, 2)


def test_room_is_made_for_the_most_valuable_first():
    hosts, pods = scattered()
    labels = [
        {"app": name, "ironfree.dev/value": value} for name, value in (("x", "1"), ("y", "5"))
    ]
    asked = job(
        *(template(each["app"], 1, cpu="7", labels=each) for each in labels),
        objective=({"place": "value"},),
    )
    found = tried(asked, hosts, pods, Limits(max_moves=1))
    assert [each.pod for each in found.assignments()] == ["default/y-0"]
    assert first(found)[:2] == ("5", "5")


def test_moves_hold_beside_everybody_who_runs():
    """Room that another move frees is not counted on: moves wait for nothing."""
    hosts = [host("a", cpu="4"), host("b", cpu="4"), host("c", cpu="3")]
    pods = [running("x", "a", cpu="3"), running("y", "b", cpu="2"), running("z", "c", cpu="1")]
    asked = job(template("p", 1, cpu="4"), objective=COUNT)
    found = tried(asked, hosts, pods, Limits(max_moves=3))
    assert moves(found) == {"y": ("b", "c")}
    assert where(found) == {"b": ["p-0"]}


def test_with_hosts_first_all_pods_are_placed_or_none():
    hosts, pods = scattered()
    asked = job(big(), objective=({"hosts": "fewest"},))
    found = tried(asked, hosts, pods, Limits(max_moves=1))
    assert (found.placed, found.solver.status) == (1, "feasible")
    asked = job(big(2), objective=({"hosts": "fewest"},))
    found = tried(asked, hosts, pods, Limits(max_moves=5))
    assert (found.placed, found.solver.status) == (0, "infeasible")
    assert "not even with any moves" in found.solver.reason


def test_nothing_is_proved_where_fewer_pods_may_be_worse():
    hosts, pods = scattered()
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    found = tried(job(big(affinity=near), objective=COUNT), hosts, pods, Limits(max_moves=5))
    assert first(found) == ("0", "1", "100.000%")


def test_where_the_cheapest_eviction_is_beyond_the_limit_another_host_is_looked_at():
    """Preemption would rather evict many that matter little than one that matters more."""
    hosts = [host("a", cpu="8"), host("b", cpu="8")]
    pods = [running(f"small-{n}", "a", owner=False) for n in range(4)]
    pods.append(running("large", "b", cpu="8", owner=False, priority=5))
    asked = job(big(cpu="8", priority=10), objective=COUNT)
    found = tried(asked, hosts, pods, Limits(max_preemptions=4))
    assert victims(found) == [f"small-{n}" for n in range(4)]
    found = tried(asked, hosts, pods, Limits(max_preemptions=1))
    assert (victims(found), found.placed) == (["large"], 1)
