"""NodeResourcesFit as kube-scheduler has it: what fits, the reasons, and the three strategies."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ironfree_defaults.node_resources_fit import NodeResourcesFit

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import node_view
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from tests.placement_cases import a_class, cluster, node, pod, rated, refused

GPU = "example.com/gpu"
FOO = "intel.com/foo"


def fit(kind="LeastAllocated", resources=(), shape=(), **args):
    """Return the rule; resources are (name, weight), shape is (utilisation, score)."""
    strategy = {"type": kind, "resources": [{"name": n, "weight": w} for n, w in resources]}
    if shape:
        points = [{"utilization": u, "score": s} for u, s in shape]
        strategy["requestedToCapacityRatio"] = {"shape": points}
    return NodeResourcesFit.from_args({"scoringStrategy": strategy, **args})


PLAIN = fit()


def container(restart=None, **requests):
    made = {"name": "c", "resources": {"requests": requests}}
    return made | ({"restartPolicy": restart} if restart else {})


def asks(*containers, init=(), **more):
    """Return the class of a pod of these containers' requests."""
    return a_class(
        json={"containers": list(containers), "initContainers": list(init), **more},
    )


NODE = {"cpu": "10m", "memory": "20", GPU: "5", "ephemeral-storage": "20"}


def why(wanted, *, rule=PLAIN, bound=(), **offer):
    """Return the reasons of one node, [] where the pod fits."""
    pods = [pod(node="n", json={"containers": [container(**each)]}) for each in bound]
    found = refused(rule, wanted, node("n", **{**NODE, **offer}), pods=pods)
    return found.get("n", ([], True))


BUSY = [{"cpu": "5m", "memory": "5"}]
FULL = [{"cpu": "10m", "memory": "20"}]
CASES = [
    # (the pod, bound pods, offer, reasons, resolvable)
    (asks(), FULL, {}, [], True),
    (asks(container()), FULL, {}, [], True),
    (asks(container(cpu="0", memory="0")), FULL, {}, [], True),
    (asks(container(cpu="1m", memory="1")), FULL, {}, ["cpu", "memory"], True),
    (asks(container(cpu="1m", memory="1")), BUSY, {}, [], True),
    (asks(container(cpu="6m", memory="1")), BUSY, {}, ["cpu"], True),
    (asks(container(cpu="1m", memory="16")), BUSY, {}, ["memory"], True),
    (asks(container(cpu="5m", memory="15")), BUSY, {}, [], True),
    (asks(container(cpu="11m")), [], {}, ["cpu"], False),
    (asks(container(cpu="11m", memory="16")), BUSY, {}, ["cpu", "memory"], False),
    (asks(container(cpu="6m", memory="21")), BUSY, {}, ["cpu", "memory"], False),
    (asks(container(memory="21")), [], {}, ["memory"], False),
    (asks(container(cpu="1m"), container(cpu="9m")), [], {}, [], True),
    (asks(container(cpu="2m"), container(cpu="9m")), [], {}, ["cpu"], False),
    # init containers
    (asks(container(cpu="1m"), init=[container(cpu="6m")]), BUSY, {}, ["cpu"], True),
    (asks(container(cpu="1m"), init=[container(cpu="3m")] * 2), BUSY, {}, [], True),
    (asks(container(cpu="3m"), init=[container("Always", cpu="3m")]), BUSY, {}, ["cpu"], True),
    (
        asks(init=[container("Always", cpu="3m"), container(cpu="3m")]),
        BUSY,
        {},
        ["cpu"],
        True,
    ),
    (asks(init=[container(cpu="3m"), container("Always", cpu="3m")]), BUSY, {}, [], True),
    # overhead and pod-level requests
    (asks(container(cpu="3m"), overhead={"cpu": "2m"}), BUSY, {}, [], True),
    (asks(container(cpu="3m"), overhead={"cpu": "3m"}), BUSY, {}, ["cpu"], True),
    (asks(container(cpu="1m"), resources={"requests": {"cpu": "6m"}}), BUSY, {}, ["cpu"], True),
    (asks(container(cpu="9m"), resources={"requests": {"cpu": "5m"}}), BUSY, {}, [], True),
    (asks(container(cpu="1m"), resources={"limits": {"cpu": "99m"}}), BUSY, {}, [], True),
    (
        asks(container(**{GPU: "3"}), resources={"requests": {GPU: "9"}}),
        [{GPU: "2"}],
        {},
        [],
        True,
    ),
    # extended resources, storage, huge pages
    (asks(container(**{GPU: "5"})), [], {}, [], True),
    (asks(container(**{GPU: "6"})), [], {}, [GPU], False),
    (asks(container(**{GPU: "4"})), [{GPU: "2"}], {}, [GPU], True),
    (asks(container(**{GPU: "3"}), container(**{GPU: "3"})), [], {}, [GPU], False),
    (asks(container(**{GPU: "0"})), [{GPU: "5"}], {}, [], True),
    (asks(container(**{FOO: "1"})), [], {}, [FOO], False),
    (asks(container(**{"kubernetes.io/thing": "1"})), [], {}, ["kubernetes.io/thing"], False),
    (asks(container(**{"ephemeral-storage": "21"})), [], {}, ["ephemeral-storage"], False),
    (
        asks(container(**{"ephemeral-storage": "10"})),
        [{"ephemeral-storage": "11"}],
        {},
        ["ephemeral-storage"],
        True,
    ),
    (asks(container(**{"hugepages-2Mi": "5"})), [], {"hugepages-2Mi": "5"}, [], True),
    (
        asks(container(**{"hugepages-2Mi": "1"})),
        [{"hugepages-2Mi": "5"}],
        {"hugepages-2Mi": "5"},
        ["hugepages-2Mi"],
        True,
    ),
    # amounts are summed exactly and rounded up once
    (asks(container(cpu="0.5m"), container(cpu="0.5m"), container(cpu="4m")), BUSY, {}, [], True),
    (asks(container(cpu="5.1m")), BUSY, {}, ["cpu"], True),
]


@pytest.mark.parametrize(("wanted", "bound", "offer", "short", "resolvable"), CASES)
def test_what_fits(wanted, bound, offer, short, resolvable):
    reasons, could = why(wanted, bound=bound, **offer)
    assert reasons == [f"Insufficient {name}" for name in short]
    assert could is resolvable


@pytest.mark.parametrize(
    ("pods", "wanted", "bound", "reasons", "resolvable"),
    [
        ("1", asks(), [], [], True),
        ("1", asks(), [{}], ["Too many pods"], True),
        ("0", asks(), [], ["Too many pods"], True),
        ("1", asks(container(cpu="6m")), BUSY, ["Too many pods", "Insufficient cpu"], True),
        ("0", asks(container(cpu="11m")), [], ["Too many pods", "Insufficient cpu"], False),
    ],
)
def test_too_many_pods(pods, wanted, bound, reasons, resolvable):
    assert why(wanted, bound=bound, pods=pods) == (reasons, resolvable)


@pytest.mark.parametrize(
    ("args", "name", "ignored"),
    [
        ({"ignoredResources": [GPU]}, GPU, True),
        ({"ignoredResources": [FOO]}, GPU, False),
        ({"ignoredResourceGroups": ["example.com"]}, GPU, True),
        ({"ignoredResourceGroups": ["example"]}, GPU, False),
        ({"ignoredResourceGroups": ["com"], "ignoredResources": [GPU]}, GPU, True),
        ({"ignoredResources": ["cpu"]}, "cpu", False),
        ({"ignoredResources": ["kubernetes.io/thing"]}, "kubernetes.io/thing", False),
        ({"ignoredResources": ["hugepages-2Mi"]}, "hugepages-2Mi", False),
        ({"ignoredResourceGroups": ["kubernetes.io"]}, "kubernetes.io/thing", False),
    ],
)
def test_only_extended_resources_can_be_ignored(args, name, ignored):
    wanted = asks(container(**{name: "100"}))
    assert (why(wanted, rule=NodeResourcesFit.from_args(args)) == ([], True)) is ignored


STRATEGY = "scoringStrategy"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"ignored": []}, "has no field 'ignored'"),
        ({"ignoredResources": "x"}, "ignoredResources must be a list"),
        ({"ignoredResources": ["a b"]}, r"ignoredResources\[0\]: Invalid value"),
        ({"ignoredResources": ["a/b/c"]}, r"ignoredResources\[0\]"),
        ({"ignoredResourceGroups": ["ok.com", "a/b"]}, r"Groups\[1\].*can't contain '/'$"),
        (
            {"ignoredResourceGroups": ["ok.com", "a/"]},
            r"^\[.*Groups\[1\]: Invalid value: \"a/\": resource group name can't contain '/', "
            r".*Groups\[1\]: Invalid value: \"a/\": name part must be non-empty, ",
        ),
        (
            {STRATEGY: {"type": "Best"}},
            'type: Unsupported value: "Best": supported values: "LeastAllocated", "MostAllocated", '
            '"RequestedToCapacityRatio"',
        ),
        ({STRATEGY: {}}, 'type: Unsupported value: "": supported'),
        ({STRATEGY: {"type": "LeastAllocated", "resources": [{"weight": -1}]}}, r"\(0, 100\]"),
        (
            {STRATEGY: {"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 101}]}},
            r"resources\[0\].weight: Invalid value: 101",
        ),
        ({STRATEGY: {"type": "MostAllocated", "resources": ["cpu"]}}, "must be an object"),
        (
            {STRATEGY: {"type": "RequestedToCapacityRatio"}},
            "requestedToCapacityRatio: Required value: must be specified when type is Requested",
        ),
        (
            {STRATEGY: {"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {}}},
            "shape: Required value: at least one point must be specified",
        ),
        (
            {
                STRATEGY: {
                    "type": "LeastAllocated",
                    "requestedToCapacityRatio": {"shape": [{"utilization": 101}]},
                }
            },
            r"shape\[0\].utilization: Invalid value: 101: not in valid range \[0, 100\]",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused(args, says):
    with pytest.raises(ConfigurationError, match=says):
        NodeResourcesFit.from_args(args)


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ([(0, 11)], r"score: Invalid value: 11: not in valid range \[0, 10\]"),
        ([(0, -1)], "score: Invalid value: -1"),
        ([(-1, 0)], "utilization: Invalid value: -1"),
        ([(50, 1), (50, 2)], "must be sorted"),
        ([(50, 1), (20, 2)], "must be sorted"),
    ],
)
def test_shapes_that_cannot_be_are_refused(shape, says):
    with pytest.raises(ConfigurationError, match=says):
        fit("RequestedToCapacityRatio", shape=shape)


SMALL = node("small", cpu="4", memory="10000", **{FOO: "8"})
LARGE = node("large", cpu="6", memory="10000", **{FOO: "4"})
NONE = asks()
SOME = asks(container(cpu="1", memory="2000"), container(cpu="2", memory="3000"))
RISING = [(0, 0), (100, 10)]
FALLING = [(0, 10), (100, 0)]
THRICE = [("cpu", 1), ("memory", 1), (FOO, 3)]
BOUND = [
    pod(node="small", json={"containers": [container(cpu="3", memory="0")]}),
    pod(node="large", json={"containers": [container(cpu="3", memory="5000")]}),
]
FOOS = [
    pod(node="small", json={"containers": [container(cpu="0", memory="0", **{FOO: "2"})]}),
    pod(node="large", json={"containers": [container(cpu="0", memory="0", **{FOO: "2"})]}),
]
LITTLE = asks(container(cpu="0", memory="0", **{FOO: "2"}))


@pytest.mark.parametrize(
    ("rule", "wanted", "bound", "small", "large"),
    [
        (PLAIN, NONE, [], 100, 100),
        (PLAIN, SOME, [], 37, 50),
        (PLAIN, NONE, BOUND, 62, 50),
        (fit("MostAllocated"), NONE, [], 0, 0),
        (fit("MostAllocated"), SOME, [], 62, 50),
        (fit("MostAllocated"), NONE, BOUND, 37, 50),
        # weights: (25·1 + 50·3)/4 and (50·1 + 50·3)/4
        (fit("LeastAllocated", [("cpu", 1), ("memory", 3)]), SOME, [], 43, 50),
        (fit("LeastAllocated", [("cpu", 3), ("memory", 1)]), SOME, [], 31, 50),
        (fit("LeastAllocated", [("memory", 1)]), SOME, [], 50, 50),
        (fit("LeastAllocated", [("cpu", 0)]), SOME, [], 25, 50),
        # extended resources count where the pod asks for them
        (fit("MostAllocated", [(FOO, 1)]), LITTLE, [], 25, 50),
        (fit("MostAllocated", [(FOO, 1)]), LITTLE, FOOS, 50, 100),
        (fit("LeastAllocated", [(FOO, 1)]), LITTLE, FOOS, 50, 0),
        (fit("MostAllocated", [(FOO, 1)]), NONE, FOOS, 0, 0),
        (fit("MostAllocated", THRICE), LITTLE, [], 15, 30),
        (fit("MostAllocated", THRICE), NONE, FOOS, 0, 0),
        (fit("MostAllocated", [("example.com/none", 5), ("cpu", 1)]), SOME, [], 75, 50),
        (fit("MostAllocated", [("pods", 5), ("cpu", 1)]), SOME, [], 75, 50),
        (fit("MostAllocated", [("ephemeral-storage", 5), ("cpu", 1)]), SOME, [], 75, 50),
        # shapes: 0 does not count in the mean, the rest is rounded
        (fit("RequestedToCapacityRatio", shape=RISING), NONE, [], 0, 0),
        (fit("RequestedToCapacityRatio", shape=FALLING), NONE, [], 100, 100),
        (fit("RequestedToCapacityRatio", shape=FALLING), SOME, [], 38, 50),
        (fit("RequestedToCapacityRatio", shape=RISING), SOME, [], 63, 50),
        (fit("RequestedToCapacityRatio", [(FOO, 1)], RISING), LITTLE, [], 25, 50),
        (fit("RequestedToCapacityRatio", [(FOO, 1)], RISING), LITTLE, FOOS, 50, 100),
        (fit("RequestedToCapacityRatio", THRICE, RISING), LITTLE, [], 25, 50),
        (fit("RequestedToCapacityRatio", shape=[(0, 3)]), SOME, [], 30, 30),
        (fit("RequestedToCapacityRatio", [("cpu", 1)], [(30, 2), (50, 9)]), SOME, [], 90, 90),
        (fit("RequestedToCapacityRatio", [("cpu", 1)], [(51, 2), (80, 9)]), SOME, [], 77, 20),
    ],
)
def test_scores(rule, wanted, bound, small, large):
    found = rated(rule, wanted, SMALL, LARGE, pods=bound)
    assert found == {"small": small, "large": large}


def test_the_broken_line_cuts_towards_the_point_before():
    rule = fit("RequestedToCapacityRatio", shape=[(0, 10), (30, 9), (100, 2)])
    assert rule.shape[:4] == (100, 100, 100, 99)  # -10·n/30, cut towards zero
    assert rule.shape[30:33] == (90, 89, 88)
    assert rule.shape[100] == 20


def test_an_overcommitted_node_is_full():
    bound = [pod(node="small", json={"containers": [container()]})]  # 200Mi assumed of 10000
    for rule, score in ((PLAIN, 48), (fit("MostAllocated"), 51)):
        assert rated(rule, NONE, SMALL, pods=bound) == {"small": score}
    ratio = fit("RequestedToCapacityRatio", [("memory", 1)], shape=[(0, 0), (100, 10)])
    assert rated(ratio, NONE, SMALL, pods=bound) == {"small": 100}


def test_without_arguments_it_spreads():
    rule = NodeResourcesFit.from_args({})
    assert rated(rule, SOME, SMALL, LARGE) == {"small": 37, "large": 50}
    assert NodeResourcesFit.from_args({"scoringStrategy": None}) == rule


def test_defaults_beside_pod_level_requests_are_for_what_nobody_requests():
    level = {"requests": {"memory": "1Gi"}}
    wanted = asks(container(cpu="1"), container(), resources=level).requests
    assert (wanted.asked["cpu"], wanted.assumed_cpu) == (1100, 1000)
    assert (wanted.asked["memory"], wanted.assumed_memory) == (2 * 200 * 2**20, 2**30)
    nothing = asks(container(), resources=level).requests
    assert (nothing.asked["cpu"], nothing.assumed_cpu) == (100, 100)
    none = asks(container(cpu="0"), container(), resources=level).requests
    assert (none.asked["cpu"], none.assumed_cpu) == (100, 0)
    plain = asks(container(cpu="1"), container()).requests
    assert (plain.asked["cpu"], plain.assumed_cpu) == (1100, 1100)


@pytest.mark.parametrize(("kind", "score"), [("LeastAllocated", 87), ("MostAllocated", 12)])
def test_pod_level_requests_fill_a_node_but_are_not_scored(kind, score):
    """What kube-scheduler 1.35 answers, whose scorer is not told that the feature is on."""
    level = {"requests": {"cpu": "2", "memory": "4Gi", "hugepages-2Mi": "1Gi"}}
    big = node("big", cpu="4", memory="8Gi", **{"hugepages-2Mi": "4Gi"})
    own = asks(container(cpu="500m", memory="1Gi"), resources=level)
    resources = [("cpu", 1), ("memory", 1), ("hugepages-2Mi", 5)]
    assert rated(fit(kind, resources), own, big) == {"big": score}


AMOUNTS = st.sampled_from(["0", "1", "1500m", "3", "7"])
REQUESTS = st.dictionaries(st.sampled_from(["cpu", "memory", GPU, FOO]), AMOUNTS)
PODS = st.builds(
    lambda containers, init, overhead: {
        "containers": [container(**each) for each in containers],
        "initContainers": [container(restart, **each) for restart, each in init],
        "overhead": overhead,
    },
    st.lists(REQUESTS, max_size=2),
    st.lists(st.tuples(st.sampled_from([None, "Always"]), REQUESTS), max_size=2),
    REQUESTS,
)
NODES = st.lists(
    st.dictionaries(
        st.sampled_from(["cpu", "memory", GPU, "ephemeral-storage"]),
        st.sampled_from(["0", "4", "9", "300Mi", "500Mi"]),
    ),
    min_size=1,
    max_size=4,
)
RULES = st.builds(
    fit,
    st.sampled_from(["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"]),
    st.lists(
        st.tuples(
            st.sampled_from(["cpu", "memory", GPU, FOO, "ephemeral-storage", "pods"]),
            st.integers(1, 5),
        ),
        max_size=3,
    ),
    st.sampled_from([RISING, FALLING, [(10, 7), (60, 2), (90, 10)]]),
)


def one_score(rule, wanted, view, assumed):
    """Kube-scheduler's scorers, one node and one resource at a time, in plain numbers."""
    nodes = weights = 0
    for resource in rule.resources:
        name = resource.name
        own = wanted.requests.asked.get(name, 0)
        scalar = "/" in name
        capacity = view.allocatable.get(name, 0)
        if name == "pods" or (scalar and not own) or not capacity:
            continue
        used = assumed.get(name, view.requested[name]) + own
        if rule.strategy == "LeastAllocated":
            score = 0 if used > capacity else (capacity - used) * 100 // capacity
        elif rule.strategy == "MostAllocated":
            score = min(used, capacity) * 100 // capacity
        else:
            score = rule.shape[100 if used > capacity else used * 100 // capacity]
            if not score:
                continue
        nodes += score * resource.weight
        weights += resource.weight
    if not weights:
        return 0
    if rule.strategy == "RequestedToCapacityRatio":
        return math.floor(nodes / weights + 0.5)
    return nodes // weights


@settings(max_examples=150, deadline=None)
@given(RULES, PODS, NODES, st.lists(PODS, max_size=4))
def test_equals_a_node_by_node_reference(rule, body, offers, there):
    names = [f"n{number}" for number in range(len(offers))]
    nodes = [
        node(name, **{"cpu": "0", "memory": "0", **offer})
        for name, offer in zip(names, offers, strict=True)
    ]
    bound = [pod(node=names[n % len(names)], json=each) for n, each in enumerate(there)]
    wanted = a_class(json=body)
    snapshot = cluster(*nodes, pods=bound).freeze(1)
    verdict = rule.filter(wanted, snapshot)
    raw = rule.score(wanted, snapshot, snapshot.all_rows, np.zeros(len(nodes), dtype=np.int64))
    for row in range(len(nodes)):
        view = node_view(snapshot, row)
        left = {name: view.allocatable.get(name, 0) - view.requested.get(name, 0)
                for name in wanted.requests.amounts}  # fmt: skip
        fits = all(amount <= left[name] for name, amount in wanted.requests.amounts.items())
        assert (verdict.room[row] > 0) == fits
        assumed = dict(zip(("cpu", "memory"), snapshot.assumed[:, row].tolist(), strict=True))
        expected = one_score(rule, wanted, view, assumed)
        assert (0 if raw is None else raw[row]) == expected


@settings(max_examples=100, deadline=None)
@given(RULES, PODS, NODES, st.integers(1, 6))
def test_one_shot_equals_one_by_one(rule, body, offers, count):
    nodes = [
        node(f"n{number}", **{"cpu": "9", "memory": "9", GPU: "9", **offer})
        for number, offer in enumerate(offers)
    ]
    snapshot = cluster(*nodes).freeze(1)
    wanted = a_class(json=body)
    framework = Framework([rule], [rule])
    at_once = framework.decide(wanted, count, Draft(snapshot)).rows.tolist()
    draft = Draft(snapshot)
    one_by_one = [framework.decide(wanted, 1, draft).rows.tolist() for _ in range(count)]
    assert at_once == [row for rows in one_by_one for row in rows]
