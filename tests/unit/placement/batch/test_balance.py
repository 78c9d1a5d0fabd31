"""Evenly used hosts, and room that stays usable, as goals of a Placement."""

import pytest

from scheduler.errors import BadRequest
from tests.batch_cases import host, job, prepared, rules, settled, template, where

EVEN = ({"place": "count"}, {"balance": "resources"})


def sizes(outcome):
    return {node: len(pods) for node, pods in sorted(where(outcome).items())}


def running(name, node, **requests):
    body = {"containers": [{"name": "c", "resources": {"requests": requests}}], "nodeName": node}
    return {"metadata": {"name": name}, "spec": body}


def test_equal_hosts_get_equal_shares():
    found = settled(job(template("p", 6, cpu="1"), objective=EVEN), map(host, "abc"), rules())
    assert sizes(found) == {"a": 2, "b": 2, "c": 2}
    goal = found.solver.goals[1]
    assert (goal.name, goal.value, goal.gap) == ("balance:resources", "0.0625", "0%")


def test_larger_hosts_get_more_and_what_runs_counts():
    hosts = [host("large", "12"), host("small", "4"), host("busy", "8")]
    there = [running("x", "busy", cpu="4")]
    asked = job(template("p", 8, cpu="1"), objective=EVEN)
    assert sizes(settled(asked, hosts, rules(), there)) == {"large": 6, "small": 2}


def test_one_resource_is_balanced_and_others_do_not_count():
    hosts, there = [host("a"), host("b")], [running("x", "a", memory="30Gi")]
    for balance, expected in (("cpu", {"a": 2, "b": 2}), ("memory", {"b": 4})):
        asked = job(
            template("p", 4, cpu="1", memory="512Mi"),
            objective=({"place": "count"}, {"balance": balance}),
        )
        assert sizes(settled(asked, hosts, rules(), there)) == expected, balance


def test_amounts_that_share_no_unit_are_balanced_nearly():
    """Bytes, whose squares are beyond what can be counted."""
    asked = [template(name, 2, memory=str((1 << 30) + n)) for n, name in enumerate("pq", 1)]
    found = settled(job(*asked, objective=EVEN), map(host, "abcd"), rules())
    assert sizes(found) == dict.fromkeys("abcd", 1)


def test_balance_first_wants_every_pod_placed():
    even = ({"balance": "cpu"},)
    found = settled(job(template("p", 2, cpu="8"), objective=even), map(host, "ab"), rules())
    assert sizes(found) == {"a": 1, "b": 1}
    found = settled(job(template("p", 3, cpu="8"), objective=even), map(host, "ab"), rules())
    assert found.solver.status == "infeasible"


def test_of_balanced_plans_the_preferred_one_is_taken_and_hosts_may_come_before():
    packed = ({"place": "count"}, {"hosts": "fewest"}, {"balance": "cpu"})
    asked = job(template("p", 10, cpu="1"), objective=packed)
    assert sorted(sizes(settled(asked, map(host, "abc"), rules())).values()) == [5, 5]


def test_a_resource_that_no_host_has_is_refused():
    asked = job(template("p", 1), objective=({"place": "count"}, {"balance": "example.com/x"}))
    with pytest.raises(BadRequest, match=r"none of the hosts offers example\.com/x"):
        prepared(asked, map(host, "ab"), rules())


WHOLE = ({"place": "count"}, {"fragmentation": "example.com/gpu"})


def gpus(name, number):
    made = host(name)
    made["status"]["allocatable"]["example.com/gpu"] = str(number)
    return made


def test_room_stays_where_pods_of_the_batch_can_use_it():
    """Two of four are left together, not one here and one there."""
    asked = [
        template("small", 2, cpu="1", **{"example.com/gpu": "1"}),
        template("large", 1, cpu="1", **{"example.com/gpu": "2"}),
        template("plain", 6, cpu="1"),
    ]
    found = settled(job(*asked, objective=WHOLE), [gpus(name, 2) for name in "abc"], rules())
    goal = found.solver.goals[1]
    assert (goal.name, goal.value, goal.gap) == ("fragmentation:example.com/gpu", "0", "0%")
    with_devices = {n: [p for p in pods if p[0] in "sl"] for n, pods in where(found).items()}
    assert sorted(filter(None, with_devices.values())) == [["large-0"], ["small-0", "small-1"]]


def test_what_lies_idle_beside_full_processors_is_stranded():
    asked = [
        template("plain", 8, cpu="1"),
        template("train", 1, cpu="2", **{"example.com/gpu": "1"}),
    ]
    hosts = [gpus("g", 4), host("p")]
    found = settled(job(*asked, objective=WHOLE), hosts, rules())
    assert where(found) == {"g": ["train-0"], "p": [f"plain-{n}" for n in range(8)]}
    assert found.solver.goals[1].value == "0"
