"""Answers of Simulations: preemption, nominations, and objects as people write them down."""

import pytest

from scheduler.errors import BadRequest
from scheduler.placement.scenario import Scenario, read_scenario
from scheduler.placement.simulation import Simulation, read_question
from scheduler.plugin_manager import PluginManager
from scheduler.profile import by_name

FIT = [{"name": "NodeResourcesFit"}, {"name": "DefaultPreemption"}]


@pytest.fixture(scope="module")
def ask():
    """Return the results of a Simulation's spec."""
    plugins = PluginManager.load()

    def results(live=None, **spec):
        scenario = read_scenario(spec, live)
        simulation = Simulation(plugins, by_name(), read_question(spec), scenario)
        return simulation.run()["results"]

    return results


def node(name="n", cpu="2", where="allocatable", **more):
    return {"metadata": {"name": name}, "status": {where: {"cpu": cpu, "pods": "9"}}, **more}


def pod(name=None, on=None, cpu="2", *, priority=None, labels=None, status=None, **spec):
    metadata = {"name": name} if name else {}
    if labels:
        metadata["labels"] = labels
    spec |= {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}
    spec |= {k: v for k, v in (("nodeName", on), ("priority", priority)) if v is not None}
    return {"metadata": metadata, "spec": spec, "status": status or {}}


def outcome(result):
    return result["nodeName"], result["nominatedNodeName"], result["victims"]


def test_every_answer_has_the_same_keys(ask):
    pods = [pod("low", "n"), pod("high", priority=9), pod("more", priority=9), pod("tiny", cpu="0")]
    preempts, stuck, placed = ask(nodes=[node()], pods=pods, profile={"plugins": FIT})
    assert outcome(preempts) == (None, "n", ["default/low"])
    assert preempts["message"] == "0/1 nodes are available: 1 Insufficient cpu."
    assert outcome(stuck) == (None, None, [])
    assert stuck["message"] == (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )
    assert outcome(placed) == ("n", None, [])


def test_alone_no_pod_sees_what_the_others_displace(ask):
    pods = [pod("low", "n"), pod("a", priority=9), pod("b", priority=9)]
    results = ask(nodes=[node()], pods=pods, profile={"plugins": FIT}, placeAll=False)
    assert [outcome(each) for each in results] == [(None, "n", ["default/low"])] * 2


def test_nobody_is_displaced_without_the_rule(ask):
    pods = [pod("low", "n"), pod("high", priority=9)]
    (result,) = ask(nodes=[node()], pods=pods, profile={"plugins": FIT[:1]})
    assert outcome(result) == (None, None, [])
    assert result["message"] == "0/1 nodes are available: 1 Insufficient cpu."


def test_without_nodes_nobody_can_make_room(ask):
    (result,) = ask(pods=[pod("p", priority=9)])
    assert result["message"] == "no nodes available to schedule pods"


def test_pods_and_nodes_without_names_are_numbered(ask):
    first, second = ask(nodes=[{}, {}], pods=[{}, {}], profile={"plugins": []}, explain="full")
    assert [each["pod"] for each in (first, second)] == ["default/0", "default/1"]
    assert [each["name"] for each in first["nodes"]] == ["0", "1"]
    assert first["nodeName"] == "0"


def test_victims_of_one_name_are_different_pods(ask):
    pods = [pod("twin", "n", cpu="1"), pod("twin", "n", cpu="1"), pod("high", priority=9)]
    (result,) = ask(nodes=[node()], pods=pods, profile={"plugins": FIT})
    assert result["victims"] == ["default/twin", "default/twin"]


@pytest.mark.parametrize("where", ["allocatable", "capacity"])
def test_a_node_may_say_only_what_it_has_or_what_it_gives(ask, where):
    (result,) = ask(nodes=[node(where=where)], pods=[pod("p")], profile={"plugins": FIT})
    assert result["nodeName"] == "n"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_that_have_ended_neither_count_nor_are_displaced(ask, phase):
    pods = [pod("over", "n", status={"phase": phase}), pod("high", priority=9)]
    (result,) = ask(nodes=[node()], pods=pods, profile={"plugins": FIT})
    assert outcome(result) == ("n", None, [])


def test_a_pod_on_a_node_that_is_not_given_counts_for_nothing(ask):
    pods = [pod("elsewhere", "gone", labels={"app": "web"}), pod("p", labels={"app": "web"})]
    (result,) = ask(nodes=[node()], pods=pods, explain="full")
    assert (result["pod"], result["nodeName"]) == ("default/p", "n")
    assert [each["name"] for each in result["nodes"]] == ["n"]


def test_a_pod_that_is_being_deleted_counts_and_may_be_the_victim(ask):
    leaving = pod("leaving", "n")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    (result,) = ask(nodes=[node()], pods=[leaving, pod("p", priority=9)], profile={"plugins": FIT})
    assert outcome(result) == (None, "n", ["default/leaving"])


def test_a_pending_pod_that_is_being_deleted_is_not_tried(ask):
    leaving = pod("p")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    (result,) = ask(nodes=[node()], pods=[leaving])
    assert outcome(result) == (None, None, [])
    assert result["message"] == "skip schedule deleting pod: default/p"


def going(name, by="PreemptionByScheduler"):
    found = pod(name, "n", status={"conditions": [{"type": "DisruptionTarget", "status": "True"}]})
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found["status"]["conditions"][0]["reason"] = by
    return found


def test_a_pod_whose_victims_still_go_keeps_its_nomination_and_takes_no_others(ask):
    waits = pod("p", priority=9, status={"nominatedNodeName": "n"})
    nodes = [node(), node("m")]
    pods = [going("a"), pod("b", "m"), waits]
    (result,) = ask(nodes=nodes, pods=pods, profile={"plugins": FIT})
    assert outcome(result) == (None, "n", [])
    assert result["message"].endswith(
        ". preemption: not eligible due to a terminating pod on the nominated node."
    )
    pods[0] = going("a", "EvictionByEvictionAPI")
    (result,) = ask(nodes=nodes, pods=pods, profile={"plugins": FIT})
    assert outcome(result) == (None, "n", ["default/a"])


def test_never_keeps_its_nomination_and_a_vain_search_loses_it(ask):
    runs = pod("king", "n", priority=99)
    never = pod("never", priority=9, preemptionPolicy="Never")
    never["status"] = {"nominatedNodeName": "n"}
    vain = pod("vain", priority=9, status={"nominatedNodeName": "n"})
    results = ask(nodes=[node()], pods=[runs, never, vain], profile={"plugins": FIT})
    assert [each["nominatedNodeName"] for each in results] == ["n", None]


def test_a_nominated_node_that_has_room_is_taken_whatever_others_score(ask):
    waits = pod("p", cpu="1", status={"nominatedNodeName": "small"})
    nodes = [node("large", "64"), node("small", "1")]
    (result,) = ask(nodes=nodes, pods=[waits])
    assert result["nodeName"] == "small"


def test_room_that_only_a_nominated_pod_would_make_is_none(ask):
    near = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "host"}
            ]
        }
    }
    waits = pod("db", cpu="1", priority=9, labels={"app": "db"}, nodeSelector={"no": "where"})
    waits["status"] = {"nominatedNodeName": "n"}
    web = pod("web", cpu="1", affinity=near)
    there = node()
    there["metadata"]["labels"] = {"host": "n"}
    results = ask(nodes=[there], pods=[web, waits], placeAll=False)
    assert results[0]["nodeName"] is None


def test_start_times_count_to_the_nanosecond(ask):
    times = ["1970-01-01T00:00:00.000000002Z", "1970-01-01T00:00:00.000000003Z"]
    pods = [pod(f"p{i}", f"n{i}", status={"startTime": t}) for i, t in enumerate(times)]
    nodes = [node("n0"), node("n1")]
    (result,) = ask(nodes=nodes, pods=[*pods, pod("high", priority=9)], profile={"plugins": FIT})
    assert outcome(result) == (None, "n1", ["default/p1"])


def budget(allowed=0, name=None, **labels):
    metadata = {"name": name} if name else {}
    spec = {"selector": {"matchLabels": labels}}
    return {"metadata": metadata, "spec": spec, "status": {"disruptionsAllowed": allowed}}


def test_budgets_without_names_all_count(ask):
    pods = [pod(f"p{i}", f"n{i}", labels={"app": f"a{i}"}) for i in range(3)]
    (result,) = ask(
        nodes=[node(f"n{i}") for i in range(3)],
        pods=[*pods, pod("high", priority=9)],
        podDisruptionBudgets=[budget(app="a0"), budget(app="a1"), {}],
        profile={"plugins": FIT},
    )
    assert outcome(result) == (None, "n2", ["default/p2"])


def test_a_budget_whose_selector_cannot_be_read_covers_nobody(ask):
    wrong = budget()
    wrong["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "Like"}]}
    pods = [pod("p", "n", labels={"app": "web"}), pod("high", priority=9)]
    (result,) = ask(
        nodes=[node()], pods=pods, podDisruptionBudgets=[wrong], profile={"plugins": FIT}
    )
    assert result["victims"] == ["default/p"]


def test_arguments_of_preemption_count(ask):
    pods = [pod(f"p{i}", f"n{i}", priority=5 - i) for i in range(5)]
    plugins = [FIT[0], {"name": "DefaultPreemption", "args": {"minCandidateNodesAbsolute": 2}}]
    plugins[1]["args"]["minCandidateNodesPercentage"] = 0
    wanting = [pod("x", priority=9), pod("y", priority=9)]
    nodes = [node(f"n{i}") for i in range(5)]
    results = ask(nodes=nodes, pods=[*pods, *wanting], profile={"plugins": plugins})
    assert [each["nominatedNodeName"] for each in results] == ["n1", "n3"]
    plugins[1]["args"]["minCandidateNodesAbsolute"] = -1
    with pytest.raises(BadRequest, match=r"minCandidateNodesAbsolute: Invalid value: -1"):
        ask(nodes=nodes, pods=wanting, profile={"plugins": plugins})


def test_a_priority_that_is_given_as_nought_is_one(ask):
    classes = [{"metadata": {"name": "gold"}, "value": 7}]
    pods = [
        pod("low", "n", priority=1),
        pod("nought", priority=0, priorityClassName="gold"),
        pod("gold", priorityClassName="gold"),
    ]
    results = ask(nodes=[node()], pods=pods, priorityClasses=classes, profile={"plugins": FIT})
    assert [outcome(each) for each in results] == [(None, None, []), (None, "n", ["default/low"])]


def test_gates_hold_a_pod_back_where_their_rule_runs(ask):
    gated = pod("p", schedulingGates=[{"name": "foo"}, {"name": "bar"}])
    (result,) = ask(nodes=[node()], pods=[gated], explain="full")
    why = "waiting for scheduling gates: [foo bar]"
    assert result["message"] == why
    assert result["nodes"] == [
        {
            "name": "n",
            "feasible": False,
            "plugin": "SchedulingGates",
            "reasons": [why],
            "resolvable": False,
        }
    ]
    (result,) = ask(nodes=[node()], pods=[gated], profile={"plugins": FIT})
    assert result["nodeName"] == "n"


def test_statuses_need_not_be_complete(ask):
    untidy = {
        "phase": "Running",
        "containerStatuses": [{"ready": True}],
        "conditions": [{"reason": "Because"}],
        "startTime": "2026-01-01T00:00:00Z",
    }
    there = node()
    there["status"]["conditions"] = [{"type": "Ready"}]
    pods = [pod("low", "n", status=untidy), pod("high", priority=9)]
    (result,) = ask(nodes=[there], pods=pods, profile={"plugins": FIT})
    assert result["victims"] == ["default/low"]


def test_objects_laid_over_others_take_their_place(ask):
    live = read_scenario(
        {
            "nodes": [node()],
            "pods": [pod("p", "n"), pod("q", cpu="9")],
            "podDisruptionBudgets": [budget(name="b", app="web")],
        },
        Scenario(live=True),
    )
    over = [pod(status={"phase": "Failed"})] * 2  # pods are numbered: uids must not be used twice
    pods = [*over, pod("p", "n", labels={"app": "web"}), pod("high", priority=9)]
    waits, high = ask(
        live, pods=pods, podDisruptionBudgets=[budget(1, "b", app="web")], profile={"plugins": FIT}
    )
    assert waits["pod"] == "default/q"
    assert outcome(high) == (None, "n", ["default/p"])
    assert list(live.budgets) == [("default", "b")]


LIMITS = [
    {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}}
]
RUNTIMES = [
    {
        "metadata": {"name": "vm"},
        "handler": "kata",
        "overhead": {"podFixed": {"cpu": "500m"}},
        "scheduling": {
            "nodeSelector": {"kvm": "yes"},
            "tolerations": [{"key": "vms", "operator": "Exists"}],
        },
    }
]


def bare(name="bare", on=None, **spec):
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{}], **spec, **({"nodeName": on} if on else {})},
    }


def test_limits_complete_and_refuse_pods_that_wait(ask):
    """`max` is the default of what says nothing; what runs has been through that."""
    nodes = [node("a", "2"), node("b", "2")]
    pods = [
        bare("runs", on="a"),
        bare("first"),
        bare("second"),
        pod("huge", cpu="3"),
        bare("third"),
    ]
    first, second, huge, third = ask(nodes=nodes, pods=pods, limitRanges=LIMITS)
    assert {first["nodeName"], second["nodeName"]} == {"a", "b"}
    assert (huge["nodeName"], huge["message"]) == (
        None,
        'pods "huge" is forbidden: maximum cpu usage per Container is 2, but request is 3',
    )
    assert third["message"].startswith("0/2 nodes are available: 2 Insufficient cpu.")
    elsewhere = {"metadata": {"name": "x", "namespace": "x"}, "spec": {"containers": [{}]}}
    assert ask(nodes=nodes, pods=[elsewhere], limitRanges=LIMITS)[0]["nodeName"]


def test_runtime_classes_add_what_they_say(ask):
    taint = {"taints": [{"key": "vms", "effect": "NoSchedule"}]}
    vms = {"metadata": {"name": "vms", "labels": {"kvm": "yes"}}, "spec": taint}
    nodes = [node("plain", "9"), {**node("vms", "4"), **vms}]
    pods = [pod("a", runtimeClassName="vm"), pod("b", runtimeClassName="vm"), pod("c", cpu="1")]
    a, b, c = ask(nodes=nodes, pods=pods, runtimeClasses=RUNTIMES)
    assert (a["nodeName"], b["nodeName"], c["nodeName"]) == ("vms", None, "plain")
    (lost,) = ask(nodes=nodes, pods=[pod("d", runtimeClassName="no")], runtimeClasses=RUNTIMES)
    why = 'pods "d" is forbidden: pod rejected: RuntimeClass "no" not found'
    assert (lost["nodeName"], lost["message"]) == (None, why)
    (stands,) = ask(nodes=nodes, pods=[pod("e", runtimeClassName="vm")])
    assert stands["nodeName"] == "plain"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"limitRanges": [{"spec": {"limits": [{"max": {"cpu": "x"}}]}}]}, "spec.limitRanges"),
        ({"limitRanges": [{"spec": {"limits": 1}}]}, "spec.limitRanges"),
        ({"runtimeClasses": [{"metadata": {"name": "r"}}]}, "spec.runtimeClasses"),
        ({"runtimeClasses": {}}, "spec.runtimeClasses must be a list"),
    ],
)
def test_what_cannot_be_read_is_named(ask, given, said):
    with pytest.raises(BadRequest, match=said.replace("[", r"\[")):
        ask(nodes=[node()], pods=[pod("p")], **given)
