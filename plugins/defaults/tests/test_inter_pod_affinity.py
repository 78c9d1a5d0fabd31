"""InterPodAffinity against its Kubernetes semantics, node by node and copy by copy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ironfree_defaults.inter_pod_affinity import InterPodAffinity

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import Change, Verdict
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from tests.placement_cases import a_class, cluster, everywhere, node, pod, spec

RULE = InterPodAffinity()
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI = "node(s) didn't match pod anti-affinity rules"
OTHERS = "node(s) didn't satisfy existing pods anti-affinity rules"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
OK = None


def term(selector=None, key="zone", **more):
    """Return a PodAffinityTerm; text "k=v" selects by one label, a dict is the selector itself."""
    if isinstance(selector, str):
        name, value = selector.split("=")
        selector = {"matchLabels": {name: value}}
    found = {"topologyKey": key, **more}
    return found if selector is None else {**found, "labelSelector": selector}


def affinity(*, near=(), far=(), liked=(), disliked=()):
    """Return spec.affinity; liked and disliked are (weight, term)."""

    def kind(required, preferred):
        weighted = [{"weight": w, "podAffinityTerm": t} for w, t in preferred]
        return {REQUIRED: list(required), PREFERRED: weighted}

    found = {}
    if near or liked:
        found["podAffinity"] = kind(near, liked)
    if far or disliked:
        found["podAntiAffinity"] = kind(far, disliked)
    return found


def wants(labels=None, namespace="default", **kinds):
    return a_class(labels=labels, namespace=namespace, json=spec(affinity=affinity(**kinds)))


def runs(on, labels=None, namespace="default", **kinds):
    body = spec(affinity=affinity(**kinds)) if kinds else spec()
    return pod(node=on, labels=labels, namespace=namespace, json=body)


def zones(*values):
    """Return nodes n0, n1, … with a zone each (None: without one) and their own name."""
    return [
        node(f"n{i}", labels={"host": f"n{i}"} | ({"zone": zone} if zone else {}))
        for i, zone in enumerate(values)
    ]


def a_snapshot(nodes, pods=(), namespaces=None):
    state = cluster(*nodes, pods=pods)
    for name, labels in (namespaces or {}).items():
        state.set_namespace(name, labels)
    return state.freeze(1)


def reasons(wanted, nodes, pods=(), namespaces=None):
    """Return, node by node, why the pod may not run there, None if it may."""
    snapshot = a_snapshot(nodes, pods, namespaces)
    return explained(RULE.filter(wanted, snapshot), snapshot.size)


def explained(verdict, size):
    found = [None] * size
    if verdict is None:
        return found
    if isinstance(verdict.because, str):
        return [None if room else verdict.because for room in verdict.room.tolist()]
    for rejection in verdict.because():
        assert rejection.resolvable == (rejection.reason != AFFINITY)
        for row in np.flatnonzero(rejection.nodes).tolist():
            assert found[row] is None
            found[row] = rejection.reason
    assert [reason is None for reason in found] == (verdict.room > 0).tolist()
    return found


WEB, DB = {"app": "web"}, {"app": "db"}
TWO = ("a", "a", "b")

FILTERED = {
    "no terms anywhere": (wants(), TWO, [], [OK, OK, OK]),
    "affinity draws into the domain": (
        wants(near=[term("app=db")]),
        TWO,
        [runs("n0", DB)],
        [OK, OK, AFFINITY],
    ),
    "affinity with nobody": (wants(near=[term("app=db")]), TWO, [], [AFFINITY] * 3),
    "affinity with nobody, of a pod that would match": (
        wants(DB, near=[term("app=db")]),
        TWO,
        [],
        [OK] * 3,
    ),
    "the first of a group still needs the label": (
        wants(DB, near=[term("app=db")]),
        ("a", None, "b"),
        [],
        [OK, AFFINITY, OK],
    ),
    "the first of a group needs every label": (
        wants(DB, near=[term("app=db"), term("app=db", "rack")]),
        TWO,
        [],
        [AFFINITY] * 3,
    ),
    "the second of a group follows the first": (
        wants(DB, near=[term("app=db")]),
        TWO,
        [runs("n2", DB)],
        [AFFINITY, AFFINITY, OK],
    ),
    "a match where no label is leaves the group without a first": (
        wants(DB, near=[term("app=db")]),
        ("a", None),
        [runs("n1", DB)],
        [OK, AFFINITY],
    ),
    "the first must match all its terms": (
        wants(DB, near=[term("app=db"), term("app=web", "host")]),
        TWO,
        [],
        [AFFINITY] * 3,
    ),
    "a match in another namespace is none": (
        wants(near=[term("app=db")]),
        TWO,
        [runs("n0", DB, "other")],
        [AFFINITY] * 3,
    ),
    "one pod must match all terms": (
        wants(near=[term("app=db"), term("tier=back")]),
        TWO,
        [runs("n0", DB), runs("n0", {"tier": "back"})],
        [AFFINITY] * 3,
    ),
    "one pod that matches all terms": (
        wants(near=[term("app=db"), term("tier=back")]),
        TWO,
        [runs("n0", DB | {"tier": "back"})],
        [OK, OK, AFFINITY],
    ),
    "two keys, one pod": (
        wants(near=[term("app=db"), term("app=db", "host")]),
        TWO,
        [runs("n0", DB)],
        [OK, AFFINITY, AFFINITY],
    ),
    "an absent selector matches nothing": (
        wants(near=[term()]),
        TWO,
        [runs("n0", DB)],
        [AFFINITY] * 3,
    ),
    "an absent selector keeps from nothing": (
        wants(far=[term()]),
        TWO,
        [runs("n0", DB)],
        [OK] * 3,
    ),
    "an empty selector matches everything": (
        wants(near=[term({})]),
        TWO,
        [runs("n0")],
        [OK, OK, AFFINITY],
    ),
    "an empty selector keeps from everything": (
        wants(far=[term({})]),
        TWO,
        [runs("n0")],
        [ANTI, ANTI, OK],
    ),
    "anti-affinity closes the domain": (
        wants(far=[term("app=db")]),
        TWO,
        [runs("n0", DB)],
        [ANTI, ANTI, OK],
    ),
    "anti-affinity by host": (
        wants(far=[term("app=db", "host")]),
        TWO,
        [runs("n0", DB)],
        [ANTI, OK, OK],
    ),
    "anti-affinity where the label is missing": (
        wants(far=[term("app=db")]),
        ("a", None),
        [runs("n1", DB)],
        [OK, OK],
    ),
    "each anti-affinity term on its own": (
        wants(far=[term("app=db"), term("app=web", "host")]),
        TWO,
        [runs("n0", WEB), runs("n2", DB)],
        [ANTI, OK, ANTI],
    ),
    "others keep it away": (
        wants(WEB),
        TWO,
        [runs("n0", DB, far=[term("app=web")])],
        [OTHERS, OTHERS, OK],
    ),
    "others of another namespace mean their own": (
        wants(WEB),
        TWO,
        [runs("n0", DB, "other", far=[term("app=web")])],
        [OK] * 3,
    ),
    "others of another namespace that name it": (
        wants(WEB),
        TWO,
        [runs("n0", DB, "other", far=[term("app=web", namespaces=["default"])])],
        [OTHERS, OTHERS, OK],
    ),
    "others on a node without the label": (
        wants(WEB),
        ("a", None),
        [runs("n1", DB, far=[term("app=web")])],
        [OK, OK],
    ),
    "others' affinity forbids nothing": (
        wants(WEB),
        TWO,
        [runs("n0", DB, near=[term("app=web")])],
        [OK] * 3,
    ),
    "others' preferences forbid nothing": (
        wants(WEB),
        TWO,
        [runs("n0", DB, disliked=[(100, term("app=web"))])],
        [OK] * 3,
    ),
    "affinity is looked at first, others last": (
        wants(WEB, near=[term("app=db")], far=[term("app=cache", "host")]),
        ("a", "a", "b", "a"),
        [
            runs("n0", DB),
            runs("n0", {"app": "cache"}, far=[term("app=web", "host")]),
            runs("n1", far=[term("app=web", "host")]),
            runs("n2", {"app": "cache"}, far=[term("app=web", "host")]),
        ],
        [ANTI, OTHERS, AFFINITY, OK],
    ),
    "affinity and anti-affinity to one pod": (
        wants(near=[term("app=db")], far=[term("app=db", "host")]),
        TWO,
        [runs("n0", DB)],
        [ANTI, OK, AFFINITY],
    ),
    "itself does not keep it away": (wants(WEB, far=[term("app=web")]), TWO, [], [OK] * 3),
    "matchLabelKeys narrow to the same value": (
        wants(WEB | {"v": "2"}, far=[term("app=web", matchLabelKeys=["v"])]),
        TWO,
        [runs("n0", WEB | {"v": "1"}), runs("n2", WEB | {"v": "2"})],
        [OK, OK, ANTI],
    ),
    "mismatchLabelKeys leave out the same value": (
        wants({"tenant": "t"}, far=[term({}, mismatchLabelKeys=["tenant"])]),
        TWO,
        [runs("n0", {"tenant": "t"}), runs("n2")],
        [OK, OK, ANTI],
    ),
    "label keys the pod lacks do nothing": (
        wants(far=[term("app=web", matchLabelKeys=["v"], mismatchLabelKeys=["w"])]),
        TWO,
        [runs("n0", WEB | {"v": "1", "w": "1"})],
        [ANTI, ANTI, OK],
    ),
    "label keys do not make an absent selector match": (
        wants({"v": "1"}, far=[term(matchLabelKeys=["v"])]),
        TWO,
        [runs("n0", {"v": "1"})],
        [OK] * 3,
    ),
    "label keys of others": (
        wants(WEB | {"v": "2"}),
        TWO,
        [
            runs("n0", WEB | {"v": "1"}, far=[term("app=web", matchLabelKeys=["v"])]),
            runs("n2", WEB | {"v": "2"}, far=[term("app=web", matchLabelKeys=["v"])]),
        ],
        [OK, OK, OTHERS],
    ),
    "operators": (
        wants(
            near=[
                term(
                    {
                        "matchExpressions": [
                            {"key": "app", "operator": "In", "values": ["db", "web"]},
                            {"key": "tier", "operator": "NotIn", "values": ["front"]},
                            {"key": "old", "operator": "DoesNotExist"},
                            {"key": "app", "operator": "Exists"},
                        ]
                    },
                    "host",
                )
            ]
        ),
        ("a",) * 5,
        [
            runs("n0", DB),
            runs("n1", WEB | {"tier": "back"}),
            runs("n2", WEB | {"tier": "front"}),
            runs("n3", WEB | {"old": ""}),
            runs("n4"),
        ],
        [OK, OK, AFFINITY, AFFINITY, AFFINITY],
    ),
}


@pytest.mark.parametrize("case", FILTERED.values(), ids=FILTERED.keys())
def test_filter(case):
    wanted, where, pods, expected = case
    assert reasons(wanted, zones(*where), pods) == expected


def test_two_keys_may_be_satisfied_by_two_pods_that_each_match_all_terms():
    nodes = [
        node("n0", labels={"zone": "a"}),
        node("n1", labels={"rack": "r"}),
        node("n2", labels={"zone": "a", "rack": "r"}),
    ]
    wanted = wants(near=[term("app=db"), term("app=db", "rack")])
    pods = [runs("n0", DB), runs("n1", DB)]
    assert reasons(wanted, nodes, pods) == [AFFINITY, AFFINITY, OK]


TEAM = {"matchLabels": {"team": "one"}}
NAMESPACES = {"default": {}, "one": {"team": "one"}, "two": {"team": "two"}}
SELECTED = {
    # name: the term's namespaces; the namespace of the pod that runs; matched or not, when the term
    # belongs to the pod to be placed, and when the two change places.
    "none of either: the own": ({}, "default", True, True),
    "none of either: not another": ({}, "one", False, False),
    "by name": ({"namespaces": ["one"]}, "one", True, True),
    "by name, not the own": ({"namespaces": ["one"]}, "default", False, False),
    "by label": ({"namespaceSelector": TEAM}, "one", True, True),
    "by label, another's": ({"namespaceSelector": TEAM}, "two", False, False),
    "by label, not the own": ({"namespaceSelector": TEAM}, "default", False, False),
    "by label or name": ({"namespaceSelector": TEAM, "namespaces": ["two"]}, "two", True, True),
    "an empty selector: all": ({"namespaceSelector": {}}, "two", True, True),
    "an empty selector: unknown ones, too": ({"namespaceSelector": {}}, "lost", True, True),
    "null selector, empty list: the own": (
        {"namespaceSelector": None, "namespaces": []},
        "default",
        True,
        True,
    ),
    "an unknown namespace has no labels, and is not listed": (
        {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}},
        "lost",
        False,
        True,
    ),
}


@pytest.mark.parametrize("case", SELECTED.values(), ids=SELECTED.keys())
def test_namespaces(case):
    of_term, namespace, matched, mirrored = case
    wanted = wants(far=[term("app=web", **of_term)])
    nodes = zones("a", "b")
    closed = reasons(wanted, nodes, [runs("n0", WEB, namespace)], NAMESPACES)
    assert closed == ([ANTI, OK] if matched else [OK, OK])
    other = runs("n0", far=[term("app=web", **of_term)])
    closed = reasons(wants(WEB, namespace), nodes, [other], NAMESPACES)
    assert closed == ([OTHERS, OK] if mirrored else [OK, OK])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"near": [term("app=.bad.")]}, "requiredAffinityTerms"),
        ({"far": [term("app=.bad.")]}, "requiredAntiAffinityTerms"),
        ({"liked": [(1, term("app=.bad."))]}, "preferredAffinityTerms"),
        ({"disliked": [(1, term("app=.bad."))]}, "preferredAntiAffinityTerms"),
    ],
)
def test_a_selector_that_cannot_be_read_forbids_every_node(kind, said):
    snapshot = a_snapshot(zones("a"))
    verdict = RULE.filter(wants(**kind), snapshot)
    assert not verdict.room.any()
    assert not verdict.resolvable
    assert verdict.because.startswith(f"parsing pod: {said}: ")
    assert ".bad." in verdict.because


def test_terms_of_others_that_cannot_be_read_are_as_if_absent():
    other = runs("n0", far=[term("app=.bad."), term("app=web")], near=[term("app=.bad.")])
    assert reasons(wants(WEB), zones("a", "b"), [other]) == [OK, OK]


def test_what_nobody_asks_for_costs_nothing():
    snapshot = a_snapshot(zones(*TWO), [runs("n0", WEB)])
    assert RULE.filter(a_class(), snapshot) is None
    assert RULE.score(a_class(), snapshot, snapshot.all_rows, everywhere(3)) is None


def scores(wanted, nodes, pods=(), *, rule=RULE, namespaces=None, rows=None):
    """Return the scores of nodes, None if the rule has nothing to say."""
    snapshot = a_snapshot(nodes, pods, namespaces)
    rows = snapshot.all_rows if rows is None else np.array(rows)
    found = rule.score(wanted, snapshot, rows, np.zeros(rows.size, dtype=np.int64))
    if found is None:
        return None
    return found.scores(rows).tolist()


SCORED = {
    "nothing to say": (wants(liked=[(5, term("app=db"))]), TWO, [], None),
    "liked": (wants(liked=[(5, term("app=db"))]), TWO, [runs("n0", DB)], [100, 100, 0]),
    "disliked": (wants(disliked=[(5, term("app=db"))]), TWO, [runs("n0", DB)], [0, 0, 100]),
    "every pod counts": (
        wants(liked=[(5, term("app=db", "host"))]),
        TWO,
        [runs("n0", DB), runs("n0", DB), runs("n1", DB)],
        [100, 50, 0],
    ),
    "weights add up over terms": (
        wants(liked=[(2, term("app=db")), (1, term("app=web", "host"))]),
        TWO,
        [runs("n0", DB), runs("n1", WEB)],
        [66, 100, 0],
    ),
    "liked and disliked cancel out": (
        wants(liked=[(3, term("app=db"))], disliked=[(3, term("app=db"))]),
        TWO,
        [runs("n0", DB)],
        None,
    ),
    "below zero is scaled, too": (
        wants(liked=[(1, term("app=web"))], disliked=[(3, term("app=db"))]),
        ("a", "b", "c"),
        [runs("n0", DB), runs("n1", WEB)],
        [0, 100, 75],
    ),
    "truncated": (
        wants(liked=[(1, term("app=db", "host"))]),
        TWO,
        [runs(on, DB) for on in ("n0", "n1", "n1", "n2", "n2", "n2", "n2")],
        [0, 33, 100],
    ),
    "missing label counts nothing": (
        wants(disliked=[(1, term("app=db"))]),
        ("a", None),
        [runs("n0", DB)],
        [0, 100],
    ),
    "pods where the label is missing count nothing": (
        wants(liked=[(1, term("app=db"))]),
        ("a", None),
        [runs("n1", DB)],
        None,
    ),
    "required terms do not score": (
        wants(near=[term("app=db")], far=[term("app=web", "host")]),
        TWO,
        [runs("n0", DB), runs("n2", WEB)],
        None,
    ),
    "others like it": (
        wants(WEB),
        TWO,
        [runs("n0", DB, liked=[(9, term("app=web"))])],
        [100, 100, 0],
    ),
    "others dislike it": (
        wants(WEB),
        TWO,
        [runs("n0", DB, disliked=[(9, term("app=web"))])],
        [0, 0, 100],
    ),
    "others require it": (
        wants(WEB),
        TWO,
        [runs("n0", DB, near=[term("app=web")])],
        [100, 100, 0],
    ),
    "others require it by each term on its own": (
        wants(WEB),
        TWO,
        [runs("n0", DB, near=[term("app=web"), term("app=gone", "host")])],
        [100, 100, 0],
    ),
    "others' required anti-affinity does not score": (
        wants(WEB),
        TWO,
        [runs("n0", DB, far=[term("app=web")])],
        None,
    ),
    "both directions add up": (
        wants(WEB, liked=[(2, term("app=db", "host"))]),
        TWO,
        [runs("n0", DB), runs("n2", disliked=[(2, term("app=web", "host"))])],
        [100, 50, 0],
    ),
    "label keys of others' preferences": (
        wants(WEB | {"v": "1"}),
        TWO,
        [runs("n0", {"v": "2"}, liked=[(2, term("app=web", matchLabelKeys=["v"]))])],
        None,
    ),
}


@pytest.mark.parametrize("case", SCORED.values(), ids=SCORED.keys())
def test_score(case):
    wanted, where, pods, expected = case
    assert scores(wanted, zones(*where), pods) == expected


def test_scores_are_scaled_over_the_nodes_that_are_left():
    wanted = wants(liked=[(1, term("app=db", "host"))])
    pods = [runs("n0", DB), *(runs("n1", DB) for _ in range(3))]
    nodes = zones("a", "a", "a")
    assert scores(wanted, nodes, pods) == [33, 100, 0]
    assert scores(wanted, nodes, pods, rows=[0, 2]) == [100, 0]
    assert scores(wanted, nodes, pods, rows=[1]) == [0]


def test_the_weight_of_required_affinity_is_an_argument():
    pods = [
        runs("n0", near=[term("app=web", "host")]),
        runs("n1", liked=[(4, term("app=web", "host"))]),
    ]
    nodes = zones("a", "a", "a")
    heavy = InterPodAffinity.from_args({"hardPodAffinityWeight": 8})
    assert scores(wants(WEB), nodes, pods, rule=heavy) == [100, 50, 0]
    assert scores(wants(WEB), nodes, pods) == [25, 100, 0]
    without = InterPodAffinity.from_args({"hardPodAffinityWeight": 0})
    assert scores(wants(WEB), nodes, pods, rule=without) == [0, 100, 0]


def test_preferences_of_others_can_be_ignored():
    rule = InterPodAffinity.from_args({"ignorePreferredTermsOfExistingPods": True})
    pods = [runs("n0", DB, liked=[(9, term("app=web"))], near=[term("app=web", "host")])]
    nodes = zones("a", "b", "b")
    assert scores(wants(WEB), nodes, pods, rule=rule) is None
    # A pod with preferences of its own is scored by those of others, too.
    wanted = wants(WEB, liked=[(5, term("app=gone"))])
    assert scores(wanted, nodes, pods, rule=rule) == [100, 0, 0]


@pytest.mark.parametrize("namespace", ["one", "two"])
def test_preferences_select_namespaces(namespace):
    of_term = {"namespaceSelector": TEAM}
    nodes = zones("a", "b")
    expected = [100, 0] if namespace == "one" else None
    wanted = wants(liked=[(1, term("app=web", **of_term))])
    others = [runs("n0", WEB, namespace)]
    assert scores(wanted, nodes, others, namespaces=NAMESPACES) == expected
    wanted = wants(WEB, namespace)
    others = [runs("n0", liked=[(1, term("app=web", **of_term))])]
    assert scores(wanted, nodes, others, namespaces=NAMESPACES) == expected


def test_arguments():
    assert InterPodAffinity.from_args({}) == InterPodAffinity(1, False)
    given = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "InterPodAffinityArgs",
        "hardPodAffinityWeight": 100,
        "ignorePreferredTermsOfExistingPods": True,
    }
    assert InterPodAffinity.from_args(given) == InterPodAffinity(100, True)
    assert InterPodAffinity.from_args({"hardPodAffinityWeight": None}).hard_weight == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"hardPodAffinityWeight": -1}, r"hardPodAffinityWeight: Invalid value: -1: not in valid"),
        ({"hardPodAffinityWeight": 101}, r"range \[0, 100\]"),
        ({"hardPodAffinityWeight": True}, "hardPodAffinityWeight is True"),
        ({"hardPodAffinityWeight": "1"}, "hardPodAffinityWeight is '1'"),
        ({"ignorePreferredTermsOfExistingPods": 1}, "ignorePreferredTermsOfExistingPods is 1"),
        ({"hardpodaffinityweight": 1}, "no field 'hardpodaffinityweight'"),
    ],
)
def test_arguments_that_cannot_be(args, said):
    with pytest.raises(ConfigurationError, match=said):
        InterPodAffinity.from_args(args)


def test_room_alone_says_that_copies_keep_apart_by_host():
    wanted = wants(WEB, far=[term("app=web", "host")])
    nodes = [*zones("a", "a"), node("bare")]
    verdict = RULE.filter(wanted, a_snapshot(nodes, [runs("n0", WEB)]))
    assert verdict.coupling is None
    assert verdict.room[:2].tolist() == [0, 1]
    assert verdict.room[2] > 1000


def test_copies_that_only_others_terms_keep_apart_are_not_coupled():
    verdict = RULE.filter(wants(WEB, far=[term("app=db")]), a_snapshot(zones(*TWO), [runs("n0")]))
    assert verdict is None


def test_a_group_settles_with_its_first_copy():
    snapshot = a_snapshot(zones(*TWO))
    coupling = RULE.filter(wants(WEB, near=[term("app=web")]), snapshot).coupling
    assert not coupling.settled
    coupling.put(1)
    assert coupling.settled
    assert coupling.room().tolist() == [True, True, False]


def test_a_group_that_runs_is_not_coupled():
    verdict = RULE.filter(
        wants(WEB, near=[term("app=web")]), a_snapshot(zones(*TWO), [runs("n0", WEB)])
    )
    assert verdict.coupling is None
    assert verdict.room.tolist() == [True, True, False]


def test_copies_close_their_domains():
    snapshot = a_snapshot(zones("a", "b", "a", None))
    coupling = RULE.filter(wants(WEB, far=[term("app=web")]), snapshot).coupling
    assert not coupling.settled
    coupling.put(2)
    assert coupling.room().tolist() == [False, True, False, True]
    assert not coupling.settled
    coupling.put(1)
    assert coupling.room().tolist() == [False, False, False, True]
    assert coupling.settled


def test_only_what_can_help_wakes():
    assert not RULE.wakes_on & (Change.NODE_RESOURCES | Change.NODE_TAINTS)
    helps = Change.POD_PLACED | Change.POD_REMOVED | Change.POD_LABELS
    helps |= Change.NODE_ADDED | Change.NODE_LABELS | Change.NAMESPACE
    assert RULE.wakes_on == helps


# A reading of kube-scheduler pod by pod and node by node, against random clusters.

small = st.sampled_from(["1", "2"])
a_namespace = st.sampled_from(["default", "one", "lost"])
some_labels = st.dictionaries(st.sampled_from(["p", "q"]), small, max_size=2)
expressions = st.one_of(
    st.builds(
        lambda key, operator, value: {"key": key, "operator": operator, "values": [value]},
        st.sampled_from(["p", "q"]),
        st.sampled_from(["In", "NotIn"]),
        small,
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(["p", "q"]),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
selectors = st.one_of(
    st.none(),
    st.just({}),
    st.builds(lambda labels: {"matchLabels": labels}, some_labels),
    st.builds(lambda each: {"matchExpressions": [each]}, expressions),
)


@st.composite
def terms(draw):
    found = {"topologyKey": draw(st.sampled_from(["host", "zone", "rack"]))}
    found["labelSelector"] = draw(selectors)
    if draw(st.integers(0, 2)) == 0:
        found["namespaces"] = draw(st.lists(a_namespace, max_size=2, unique=True))
    if draw(st.integers(0, 3)) == 0:
        found["namespaceSelector"] = draw(selectors)
    for name in ("matchLabelKeys", "mismatchLabelKeys"):
        if draw(st.integers(0, 4)) == 0:
            found[name] = [draw(st.sampled_from(["p", "q"]))]
    return found


some_terms = st.lists(terms(), max_size=2)
weighted_terms = st.lists(st.tuples(st.integers(1, 5), terms()), max_size=2)


@st.composite
def templates(draw):
    """Labels, namespace and terms of pods."""
    kinds = {}
    for name, these in (("near", some_terms), ("far", some_terms)):
        kinds[name] = draw(these) if draw(st.integers(0, 1)) else []
    for name in ("liked", "disliked"):
        kinds[name] = draw(weighted_terms) if draw(st.integers(0, 1)) else []
    return {"labels": draw(some_labels), "namespace": draw(a_namespace), "kinds": kinds}


@st.composite
def clusters(draw):
    """Nodes, pods as (template, node), and namespaces; "lost" is never known."""
    count = draw(st.integers(1, 6))
    nodes = []
    for number in range(count):
        labels = {"host": f"n{number}"} if draw(st.integers(0, 6)) else {}
        for key in ("zone", "rack"):
            if draw(st.integers(0, 3)):
                labels[key] = draw(st.sampled_from(["x", "y"]))
        nodes.append(node(f"n{number}", labels=labels, pods=draw(st.sampled_from(["2", "110"]))))
    placed = draw(st.lists(st.tuples(templates(), st.integers(0, count - 1)), max_size=4))
    return nodes, placed, {"default": draw(some_labels), "one": draw(some_labels)}


def selected(selector, labels):
    if selector is None:
        return False
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for each in selector.get("matchExpressions", []):
        value, values = labels.get(each["key"]), each.get("values", [])
        held = {
            "In": value is not None and value in values,
            "NotIn": value is None or value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[each["operator"]]
        if not held:
            return False
    return True


def about(found, owner, other, namespaces, *, own):
    """Whether an owner's term is about another pod; own: the owner is the one to be placed."""
    names, by_label = found.get("namespaces", []), found.get("namespaceSelector")
    if not names and by_label is None:
        names = [owner["namespace"]]
    within = other["namespace"] in names
    if own and by_label and any(by_label.values()):
        known = other["namespace"] in namespaces
        within |= known and selected(by_label, namespaces[other["namespace"]])
    else:
        within |= selected(by_label, namespaces.get(other["namespace"], {}))
    if not within or not selected(found["labelSelector"], other["labels"]):
        return False
    mine, theirs = owner["labels"], other["labels"]
    same = [k for k in found.get("matchLabelKeys", []) if k in mine]
    different = [k for k in found.get("mismatchLabelKeys", []) if k in mine]
    return all(theirs.get(k) == mine[k] for k in same) and all(
        theirs.get(k) != mine[k] for k in different
    )


def counted(pairs):
    found = {}
    for labels, key, amount in pairs:
        if key in labels:
            found[key, labels[key]] = found.get((key, labels[key]), 0) + amount
    return found


def naive_reasons(wanted, nodes, placed, namespaces):
    near, far = wanted["kinds"]["near"], wanted["kinds"]["far"]

    def all_match(other):
        return bool(near) and all(about(t, wanted, other, namespaces, own=True) for t in near)

    labels = [each.meta.labels for each in nodes]
    drawn = counted(
        (labels[at], t["topologyKey"], 1) for other, at in placed if all_match(other) for t in near
    )
    kept = counted(
        (labels[at], t["topologyKey"], 1)
        for other, at in placed
        for t in far
        if about(t, wanted, other, namespaces, own=True)
    )
    repelled = counted(
        (labels[at], t["topologyKey"], 1)
        for other, at in placed
        for t in other["kinds"]["far"]
        if about(t, other, wanted, namespaces, own=False)
    )
    found = []
    for mine in labels:
        there = all(t["topologyKey"] in mine for t in near)
        held = there and all((t["topologyKey"], mine[t["topologyKey"]]) in drawn for t in near)
        if not held and not (there and not drawn and all_match(wanted)):
            found.append(AFFINITY)
        elif any((t["topologyKey"], mine.get(t["topologyKey"])) in kept for t in far):
            found.append(ANTI)
        elif any(pair in repelled for pair in mine.items()):
            found.append(OTHERS)
        else:
            found.append(None)
    return found


def naive_scores(wanted, nodes, placed, namespaces, rule):
    own = [(w, t) for w, t in wanted["kinds"]["liked"]]
    own += [(-w, t) for w, t in wanted["kinds"]["disliked"]]
    if rule.ignores_others and not own:
        return [0] * len(nodes)
    labels = [each.meta.labels for each in nodes]
    pairs = []
    for other, at in placed:
        theirs = [(w, t) for w, t in other["kinds"]["liked"]]
        theirs += [(-w, t) for w, t in other["kinds"]["disliked"]]
        theirs += [(rule.hard_weight, t) for t in other["kinds"]["near"]]
        for w, t in own:
            if about(t, wanted, other, namespaces, own=True):
                pairs.append((labels[at], t["topologyKey"], w))
        for w, t in theirs:
            if about(t, other, wanted, namespaces, own=False):
                pairs.append((labels[at], t["topologyKey"], w))
    sums = counted(pairs)
    raw = [sum(sums.get(pair, 0) for pair in mine.items()) for mine in labels]
    width = max(raw) - min(raw)
    return [int(100 * ((each - min(raw)) / width)) if width else 0 for each in raw]


def built(case):
    nodes, placed, namespaces = case
    pods = [
        runs(nodes[at].meta.name, each["labels"], each["namespace"], **each["kinds"])
        for each, at in placed
    ]
    return a_snapshot(nodes, pods, namespaces)


def class_of(template):
    return wants(template["labels"], template["namespace"], **template["kinds"])


rules = st.builds(InterPodAffinity, st.sampled_from([0, 1, 7]), st.booleans())


@settings(max_examples=400, deadline=None)
@given(clusters(), templates(), rules)
def test_columns_say_what_pods_and_nodes_say_one_by_one(case, wanted, rule):
    nodes, placed, namespaces = case
    snapshot, found = built(case), class_of(wanted)
    verdict = rule.filter(found, snapshot)
    assert explained(verdict, len(nodes)) == naive_reasons(wanted, nodes, placed, namespaces)
    scored = rule.score(found, snapshot, snapshot.all_rows, everywhere(len(nodes)))
    expected = naive_scores(wanted, nodes, placed, namespaces, rule)
    assert (scored.scores(snapshot.all_rows).tolist() if scored else [0] * len(nodes)) == expected


@settings(max_examples=400, deadline=None)
@given(clusters(), templates(), rules, st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_after_every_copy_a_coupling_says_what_a_fresh_call_says(case, wanted, rule, puts):
    snapshot, found = built(case), class_of(wanted)
    draft = Draft(snapshot)
    rows = snapshot.all_rows
    verdict = rule.filter(found, snapshot)
    scored = rule.score(found, snapshot, rows, everywhere(snapshot.size))
    for put in puts:
        fresh = rule.filter(found, draft.snapshot)
        open_rows = np.flatnonzero(fresh.room > 0) if fresh else rows
        if not open_rows.size:
            break
        row = int(open_rows[put % open_rows.size])
        settled = verdict is None or verdict.coupling is None or verdict.coupling.settled
        draft.add(found, np.array([row]))
        after = rule.filter(found, draft.snapshot)
        room = (after.room > 0) if after else snapshot.every()
        if verdict is not None and verdict.coupling is not None:
            verdict.coupling.put(row)
            assert verdict.coupling.room().tolist() == room.tolist()
        if settled:  # nothing changes on other nodes, and here not beyond what room said
            before = fresh.room > 0 if fresh else snapshot.every()
            if fresh is not None and fresh.room.dtype != np.bool_ and fresh.room[row] == 1:
                before[row] = False
            assert room.tolist() == before.tolist()
        again = rule.score(found, draft.snapshot, rows, everywhere(snapshot.size))
        if scored is None:
            assert again is None
        else:
            scored.put(row)
            expected = again.scores(rows).tolist() if again else [0] * snapshot.size
            assert scored.scores(rows).tolist() == expected


@settings(max_examples=300, deadline=None)
@given(clusters(), templates(), rules, st.integers(1, 12))
def test_one_shot_is_one_by_one(case, wanted, rule, count):
    snapshot, found = built(case), class_of(wanted)
    framework = Framework([rule, Slots()], [rule])
    together = framework.decide(found, count, Draft(snapshot)).rows.tolist()
    alone, draft = [], Draft(snapshot)
    for _ in range(count):
        alone += framework.decide(found, 1, draft).rows.tolist()
    assert together == alone


class Slots:
    """A filter by the number of pods, so that nodes fill up."""

    name = "Slots"
    wakes_on = Change.ANY

    def filter(self, pod, snapshot):
        row = snapshot.resource_row["pods"]
        room = np.maximum(snapshot.allocatable[row] - snapshot.requested[row], 0)
        return Verdict(room, "Too many pods")
