"""Simulations and explanations of gangs, and orders in which members are tried."""

import pytest

from scheduler.errors import BadRequest
from scheduler.placement.scenario import read_scenario
from scheduler.placement.simulation import Simulation, read_question
from scheduler.plugin_manager import PluginManager
from scheduler.profile import by_name


@pytest.fixture(scope="module")
def plugins():
    return PluginManager.load()


def node(name, cpu, **labels):
    offer = {"cpu": str(cpu), "memory": "8Gi", "pods": "10"}
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": offer}}


def member(name, cpu, gang="g", **spec):
    container = {"resources": {"requests": {"cpu": str(cpu)}}}
    group = {"schedulingGroup": {"podGroupName": gang}} if gang else {}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **group, **spec}}


def group(least, name="g"):
    return {"metadata": {"name": name}, "spec": {"minMember": least}}


def simulated(plugins, **spec):
    simulation = Simulation(plugins, by_name(), read_question(spec), read_scenario(spec))
    return {
        result["pod"].removeprefix("default/"): result for result in simulation.run()["results"]
    }


def where(results):
    return {name: result["nodeName"] for name, result in results.items()}


def test_all_or_none(plugins):
    pods = [member(f"p{i}", 1) for i in range(3)]
    results = simulated(plugins, nodes=[node("n", 2)], pods=pods, podGroups=[group(3)])
    assert set(where(results).values()) == {None}
    assert {result["message"] for result in results.values()} == {
        'PodGroup "g" needs nodes for 3 of its 3 waiting pods together, 2 would fit; '
        "p2: 0/1 nodes are available: 1 Insufficient cpu."
    }
    results = simulated(plugins, nodes=[node("n", 3)], pods=pods, podGroups=[group(3)])
    assert set(where(results).values()) == {"n"}


def test_who_is_too_many_is_tried_alone(plugins):
    pods = [member(f"p{i}", 1) for i in range(3)]
    results = simulated(plugins, nodes=[node("n", 2)], pods=pods, podGroups=[group(2)])
    assert where(results) == {"p0": "n", "p1": "n", "p2": None}
    assert results["p2"]["message"] == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: "
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )


def test_what_is_missing(plugins):
    nodes = [node("n", 9)]
    results = simulated(plugins, nodes=nodes, pods=[member("p", 1)], podGroups=[group(2)])
    assert results["p"]["message"].startswith('waiting for 1 more pod of PodGroup "g"')
    results = simulated(plugins, nodes=nodes, pods=[member("p", 1)], podGroups=[])
    assert results["p"]["message"] == 'PodGroup "g" not found'
    running = member("r", 1, nodeName="n")
    results = simulated(plugins, nodes=nodes, pods=[running, member("p", 1)], podGroups=[group(2)])
    assert where(results) == {"p": "n"}


def test_without_groups_given_nobody_is_held_back(plugins):
    assert where(simulated(plugins, nodes=[node("n", 9)], pods=[member("p", 1)])) == {"p": "n"}


def test_each_pod_alone_leaves_the_gang_together(plugins):
    spec = {"nodes": [node("n", 2)], "podGroups": [group(2)], "placeAll": False, "explain": "full"}
    pods = [*(member(f"p{i}", 1) for i in range(2)), member("x", 2, gang="")]
    results = simulated(plugins, pods=pods, **spec)
    assert set(where(results).values()) == {"n"}
    assert [each["name"] for each in results["p1"]["nodes"]] == ["n"]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_small_pod_that_fits_one_node_is_not_pushed_out_by_a_large_one(plugins, backwards):
    nodes = [node("gpu", 3, gpu="yes"), node("other", 2)]
    pods = [member("large", 2), member("small", 1.5, nodeSelector={"gpu": "yes"})]
    pods = pods[::-1] if backwards else pods
    results = simulated(plugins, nodes=nodes, pods=pods, podGroups=[group(2)])
    assert where(results) == {"large": "other", "small": "gpu"}


def test_a_large_pod_that_need_not_be_there_keeps_no_gang_from_its_nodes(plugins):
    pods = [member("large", 4), *(member(f"small{i}", 1) for i in range(4))]
    results = simulated(plugins, nodes=[node("n", 4)], pods=pods, podGroups=[group(4)])
    assert where(results) == {"large": None, **{f"small{i}": "n" for i in range(4)}}


def test_members_that_others_attract_come_after_them(plugins):
    term = {"labelSelector": {"matchLabels": {"role": "master"}}, "topologyKey": "zone"}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    master = member("master", 1, nodeSelector={"zone": "b"})
    master["metadata"]["labels"] = {"role": "master"}
    pods = [member("worker", 2, affinity=affinity), master]
    nodes = [node("a", 4, zone="a"), node("b", 4, zone="b")]
    results = simulated(plugins, nodes=nodes, pods=pods, podGroups=[group(2)])
    assert where(results) == {"worker": "b", "master": "b"}


def test_a_group_that_cannot_be_read(plugins):
    with pytest.raises(BadRequest, match=r"spec.podGroups\[0\].spec"):
        simulated(plugins, podGroups=[{"spec": {"minMember": "many"}}])
