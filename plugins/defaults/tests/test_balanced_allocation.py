"""NodeResourcesBalancedAllocation as kube-scheduler has it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ironfree_defaults.balanced_allocation import NodeResourcesBalancedAllocation

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import node_view
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from tests.placement_cases import a_class, cluster, node, pod, rated

GPU = "example.com/gpu"


def over(*names):
    return NodeResourcesBalancedAllocation.from_args(
        {"resources": [{"name": name, "weight": 1} for name in names]}
    )


PLAIN = NodeResourcesBalancedAllocation.from_args({})
THREE = over("cpu", "memory", GPU)


def asks(cpu=None, memory=None, gpu=None, **more):
    requests = {GPU: gpu} if gpu else {}
    return a_class(cpu=cpu, memory=memory, requests=requests, **more)


def bound(cpu=None, memory=None, gpu=None):
    requests = {GPU: gpu} if gpu else {}
    return pod(node="n", cpu=cpu, memory=memory, requests=requests)


def score(rule, wanted, *pods, cpu="10", memory="10000", **offer):
    found = rated(rule, wanted, node("n", cpu=cpu, memory=memory, **offer), pods=pods)
    return found["n"]


CASES = [
    # Balance is 100 · (1 - |cpu - memory| / 2); the score is 50 + (50 + after - before) // 2.
    (PLAIN, asks("1", "1000"), [], {}, 75),  # 100 → 100
    (PLAIN, asks("5", "1000"), [], {}, 65),  # 100 → 80
    (PLAIN, asks("1", "5000"), [], {}, 65),
    (PLAIN, asks("10", "0"), [], {}, 50),  # from balanced to not at all
    (PLAIN, asks("0", "10000"), [bound("10", "0")], {}, 100),
    (PLAIN, asks("3", "3000"), [bound("2", "2000")], {}, 75),
    (PLAIN, asks("3", "1000"), [bound("1", "3000")], {}, 80),  # 90 → 100
    (PLAIN, asks("1", "3000"), [bound("1", "3000")], {}, 70),  # 90 → 80
    (PLAIN, asks("1", "1500"), [], {}, 73),  # 100 → 97 (cut, not rounded): 50 + 47 // 2
    (PLAIN, asks("333m", "1000"), [], {}, 73),  # 100 → 96
    # shares stop at the whole
    (PLAIN, asks("5", "5000"), [bound("10", "10000")], {}, 75),
    (PLAIN, asks("10", "1000"), [bound("8", "8000")], {}, 72),  # 100 → 95
    # what a node lacks is left out; a single share is balanced
    (PLAIN, asks("5", "1000"), [], {"memory": "0"}, 75),
    (PLAIN, asks("5", "1000"), [], {"cpu": "0", "memory": "0"}, 75),
    (over("cpu"), asks("9"), [], {}, 75),
    # requests count as they are: nothing is assumed of containers without
    (PLAIN, asks("5"), [], {}, 62),  # 100 → 75
    (PLAIN, asks("5"), [bound()], {}, 62),
    (PLAIN, asks("5", "1000", overhead={"memory": "4000"}), [], {}, 75),
    (PLAIN, asks("1", resources={"requests": {"cpu": "5", "memory": "5000"}}), [], {}, 75),
    # best effort is not scored
    (PLAIN, asks(), [], {}, 0),
    (PLAIN, asks(), [bound("5")], {}, 0),
    (PLAIN, asks("0", "0"), [bound("5")], {}, 0),
    (PLAIN, asks(gpu="1"), [bound("5")], {GPU: "4"}, 0),
    # further resources count where the pod asks for them, before as after
    (THREE, asks("1", "1000"), [bound(gpu="3")], {GPU: "4"}, 75),
    (THREE, asks("5", "5000", "2"), [], {GPU: "4"}, 75),
    (THREE, asks("5", "5000", "4"), [], {GPU: "4"}, 63),  # 100 → 76, deviation 0.2357
    (THREE, asks(gpu="2"), [], {GPU: "4"}, 63),  # the same spread
    (THREE, asks(gpu="4"), [], {GPU: "4"}, 51),  # 100 → 52, deviation 0.4714
    (THREE, asks(gpu="2"), [bound("5", "5000")], {GPU: "4"}, 87),  # 76 → 100
    (THREE, asks("5", gpu="1"), [], {GPU: "0"}, 62),  # gpu left out
    (over("cpu", GPU), asks("5", gpu="1"), [], {}, 75),  # nobody offers gpu
    (over("cpu", "ephemeral-storage"), asks("5"), [], {"ephemeral-storage": "9"}, 62),
    (over("cpu", "pods"), asks("5"), [], {}, 75),
    (over("memory", "pods"), asks("5"), [bound("5")], {}, 0),  # a pod is no request of its own
]


@pytest.mark.parametrize(("rule", "wanted", "pods", "offer", "expected"), CASES)
def test_scores(rule, wanted, pods, offer, expected):
    assert score(rule, wanted, *pods, **offer) == expected


def test_nodes_that_offer_different_resources_are_judged_by_their_own():
    nodes = [
        node("both", cpu="10", memory="10000", **{GPU: "4"}),
        node("no-gpu", cpu="10", memory="10000"),
        node("no-memory", cpu="10", memory="0", **{GPU: "4"}),
    ]
    found = rated(THREE, asks("5", "1000", "4"), *nodes)
    assert found == {"both": 56, "no-gpu": 65, "no-memory": 62}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"resource": []}, "has no field 'resource'"),
        ({"resources": {}}, "must be a list"),
        ({"resources": [{"name": "cpu", "weight": 2}]}, r"\[0\].weight: Invalid value: 2: must be"),
        ({"resources": [{"name": "cpu"}, {"name": "cpu"}]}, r'\[1\].name: Duplicate value: "cpu"'),
        ({"resources": [{"name": "cpu", "weight": -1}]}, "Invalid value: -1"),
    ],
)
def test_arguments_that_cannot_be_are_refused(args, says):
    with pytest.raises(ConfigurationError, match=says):
        NodeResourcesBalancedAllocation.from_args(args)


def balance(shares):
    """The plain formula for one node."""
    if len(shares) < 2:
        return 100
    if len(shares) == 2:
        deviation = abs((shares[0] - shares[1]) / 2)
    else:
        mean = sum(shares) / len(shares)
        squares = 0.0
        for share in shares:
            squares += (share - mean) * (share - mean)
        deviation = math.sqrt(squares / len(shares))
    return int((1 - deviation) * 100)


AMOUNTS = st.sampled_from([None, "0", "1", "1700m", "3", "7"])
REQUESTS = st.tuples(AMOUNTS, AMOUNTS, AMOUNTS)
OFFERS = st.lists(
    st.fixed_dictionaries(
        {name: st.sampled_from(["0", "7", "9", "23"]) for name in ("cpu", "memory", GPU)}
    ),
    min_size=1,
    max_size=4,
)
RULES = st.sampled_from([PLAIN, THREE, over("cpu"), over("memory", GPU), over(GPU, "cpu", "x/y")])


@settings(max_examples=150, deadline=None)
@given(RULES, REQUESTS, OFFERS, st.lists(REQUESTS, max_size=4), st.integers(0, 3))
def test_equals_a_node_by_node_reference(rule, wants, offers, there, copies):
    nodes = [node(f"n{number}", **offer) for number, offer in enumerate(offers)]
    pods = [
        pod(
            node=f"n{n % len(nodes)}",
            cpu=each[0],
            memory=each[1],
            requests={GPU: each[2]} if each[2] else {},
        )
        for n, each in enumerate(there)
    ]
    wanted = asks(*wants)
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    already = np.full(len(nodes), copies, dtype=np.int64)
    raw = rule.score(wanted, snapshot, snapshot.all_rows, already)
    amounts = wanted.requests.amounts
    if not any(resource.name in amounts for resource in rule.resources):
        assert raw is None
        return
    for row in range(len(nodes)):
        view = node_view(snapshot, row, wanted, copies)
        before, after = [], []
        for resource in rule.resources:
            name, capacity = resource.name, view.allocatable.get(resource.name, 0)
            own = amounts.get(name, 0)
            if capacity and (own or "/" not in name):
                before.append(min(1.0, view.requested[name] / capacity))
                after.append(min(1.0, (view.requested[name] + own) / capacity))
        assert raw[row] == 50 + (50 + balance(after) - balance(before)) // 2


@settings(max_examples=100, deadline=None)
@given(RULES, REQUESTS, OFFERS, st.integers(1, 6))
def test_one_shot_equals_one_by_one(rule, wants, offers, count):
    snapshot = cluster(*[node(f"n{n}", **offer) for n, offer in enumerate(offers)]).freeze(1)
    wanted = asks(*wants)
    framework = Framework([], [rule])
    at_once = framework.decide(wanted, count, Draft(snapshot)).rows.tolist()
    draft = Draft(snapshot)
    one_by_one = [framework.decide(wanted, 1, draft).rows.tolist() for _ in range(count)]
    assert at_once == [row for rows in one_by_one for row in rows]
