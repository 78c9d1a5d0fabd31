"""InterPodAffinity against its Kubernetes semantics, node by node and copy by copy."""

import pytest
from ironfree_defaults.inter_pod_affinity import InterPodAffinity

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import Change
from tests.affinity_cases import (
    AFFINITY,
    ANTI,
    DB,
    NAMESPACES,
    OK,
    OTHERS,
    RULE,
    TEAM,
    TWO,
    WEB,
    a_snapshot,
    reasons,
    runs,
    term,
    wants,
    zones,
)
from tests.placement_cases import a_class, everywhere, node

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


NOT_TEAM = {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["one"]}]}
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
    "not by label": ({"namespaceSelector": NOT_TEAM}, "two", True, True),
    "not by label, the one left out": ({"namespaceSelector": NOT_TEAM}, "one", False, False),
    "not by label, the own": ({"namespaceSelector": NOT_TEAM}, "default", True, True),
    "not by label, but by name": (
        {"namespaceSelector": NOT_TEAM, "namespaces": ["one"]},
        "one",
        True,
        True,
    ),
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
