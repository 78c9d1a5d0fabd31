"""Every default scorer gives kube-scheduler's 0-100 scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ironfree_defaults.node_resources_fit import NodeResourcesFit
from ironfree_defaults.scored_resources import hundredths

from scheduler.errors import ConfigurationError
from scheduler.profile import PACKING
from tests.placement_cases import (
    a_class,
    by_strategy,
    cluster,
    decide,
    default_framework,
    node,
    pod,
)


def scores(wanted, *nodes, pods=(), plugin, profile=PACKING):
    """Return the plugin's score by node."""
    state = cluster(*nodes, pods=pods)
    _, decision = decide(state, wanted, framework=default_framework(profile))
    return {a.node: a.scores.get(plugin) for a in decision.alternatives}


def fit(wanted, *nodes, pods=(), strategy="MostAllocated"):
    profile = by_strategy(strategy)
    return scores(wanted, *nodes, pods=pods, plugin="NodeResourcesFit", profile=profile)


def test_most_and_least_allocated_are_upstreams_integers():
    # cpu (3000+300)*100//8000 = 41, memory (5000+500)*100//20000 = 27; (41+27)//2 = 34
    nodes = [node("n", cpu="8", memory="20000")]
    bound = [pod(node="n", cpu="3", memory="5000")]
    wanted = a_class(cpu="300m", memory="500")
    assert fit(wanted, *nodes, pods=bound) == {"n": 34}
    # (8000-3300)*100//8000 = 58, (20000-5500)*100//20000 = 72; 65
    assert fit(wanted, *nodes, pods=bound, strategy="LeastAllocated") == {"n": 65}


def test_pods_without_requests_count_with_upstreams_defaults():
    # 100m of 1000m = 10; 200Mi of 1000Mi = 20
    assert fit(a_class(), node("n", cpu="1", memory="1000Mi")) == {"n": 15}


def test_a_resource_that_a_node_lacks_is_left_out_of_the_average():
    assert fit(a_class(cpu="1"), node("n", cpu="4", memory="0")) == {"n": 25}


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ConfigurationError, match='"LeastAllocated", "MostAllocated"'):
        NodeResourcesFit.from_args({"scoringStrategy": {"type": "Tightest"}})


@given(
    st.lists(
        st.tuples(st.integers(0, 2**56), st.integers(0, 2**56)).filter(lambda p: p[0] <= p[1]),
        min_size=1,
    )
)
def test_shares_are_exact_integer_division(pairs):
    used = np.array([part for part, _ in pairs], dtype=np.int64)
    whole = np.array([whole for _, whole in pairs], dtype=np.int64)
    expected = [part * 100 // whole if whole else 0 for part, whole in pairs]
    assert hundredths(used, whole).tolist() == expected
    small = used % 2**46 % np.maximum(whole % 2**46, 1), whole % 2**46
    expected = [int(p) * 100 // int(w) if w else 0 for p, w in zip(*small, strict=True)]
    assert hundredths(*small).tolist() == expected


def test_preferred_affinity_is_normalised_to_the_largest():
    def prefer(weight, value):
        match = [{"key": "zone", "operator": "In", "values": [value]}]
        return {"weight": weight, "preference": {"matchExpressions": match}}

    preferred = [prefer(30, "a"), prefer(10, "b")]
    wanted = a_class(
        affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    )
    nodes = [node(zone, labels={"zone": zone}) for zone in "abc"]
    assert scores(wanted, *nodes, plugin="NodeAffinity") == {"a": 100, "b": 33, "c": 0}
    assert decide(cluster(*nodes), wanted)[0] == ["a"]


def test_prefer_no_schedule_taints_are_normalised_in_reverse():
    soft = [(key, "PreferNoSchedule", "") for key in "xyz"]
    nodes = [node("none"), node("one", taints=soft[:1]), node("three", taints=soft)]
    wanted = a_class()
    assert scores(wanted, *nodes, plugin="TaintToleration") == {"none": 100, "one": 67, "three": 0}
    tolerant = a_class(tolerations=[{"operator": "Exists"}])
    assert set(scores(tolerant, *nodes, plugin="TaintToleration").values()) == {None}


def test_weights_are_upstreams():
    framework = default_framework()
    assert {s.name: s.weight for s in framework.scorers} == {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "PodTopologySpread": 2,
        "InterPodAffinity": 2,
        "NodeResourcesFit": 1,
        "NodeResourcesBalancedAllocation": 1,
        "ImageLocality": 1,
    }


def test_packing_is_the_default():
    state = cluster(node("a"), node("b"), pods=[pod(node="b", cpu="1", memory="1Gi")])
    assert decide(state, a_class(cpu="1"))[0] == ["b"]
    spread = default_framework(by_strategy("LeastAllocated"))
    assert decide(state, a_class(cpu="1"), framework=spread)[0] == ["a"]
