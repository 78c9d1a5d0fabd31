"""TaintToleration and NodeUnschedulable as kube-scheduler has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ironfree_defaults.node_unschedulable import NodeUnschedulable
from ironfree_defaults.taint_toleration import TaintToleration

from tests.placement_cases import a_class, node, rated, refused

RULE = TaintToleration()
UNTOLERATED = (["node(s) had untolerated taint(s)"], False)
HARD = ("NoSchedule", "NoExecute")
CORDON = "node.kubernetes.io/unschedulable"


def tolerates(key="", operator="", value="", effect="", **more):
    found = {"key": key, "operator": operator, "value": value, "effect": effect, **more}
    return {name: text for name, text in found.items() if text != ""}


def taint(key="dedicated", value="user1", effect="NoSchedule"):
    return (key, effect, value)


def open_to(tolerations, *taints):
    wanted = a_class(tolerations=list(tolerations))
    found = refused(RULE, wanted, node("n", taints=taints))
    assert found in ({}, {"n": UNTOLERATED})
    return not found


USER1 = taint()
CASES = [
    # (tolerations, taints, admitted)
    ([], [], True),
    ([], [USER1], False),
    ([], [taint(effect="NoExecute")], False),
    ([], [taint(effect="PreferNoSchedule")], True),
    ([], [taint(effect="Whatever")], True),
    ([tolerates("dedicated", value="user1", effect="NoSchedule")], [USER1], True),
    ([tolerates("dedicated", "Equal", "user1", "NoSchedule")], [USER1], True),
    ([tolerates("dedicated", "Equal", "user2", "NoSchedule")], [USER1], False),
    ([tolerates("dedicated", "Equal", "user1", "NoExecute")], [USER1], False),
    ([tolerates("dedicated", "Equal", "user1")], [USER1], True),
    ([tolerates("dedicated", "Equal", "user1")], [taint(effect="NoExecute")], True),
    ([tolerates("Dedicated", "Equal", "user1")], [USER1], False),
    ([tolerates("dedicated", "Exists", effect="NoSchedule")], [USER1], True),
    ([tolerates("dedicated", "Exists", "ignored")], [USER1], True),
    ([tolerates("other", "Exists")], [USER1], False),
    ([tolerates(operator="Exists")], [USER1, taint("b", "", "NoExecute")], True),
    ([tolerates(operator="Exists", effect="NoExecute")], [USER1], False),
    ([tolerates(operator="Exists", effect="NoSchedule")], [USER1], True),
    # an empty key is every key, also with Equal
    ([tolerates(operator="Equal", value="user1")], [USER1], True),
    ([tolerates(operator="Equal")], [USER1], False),
    ([tolerates(operator="Equal")], [taint("b", "")], True),
    ([tolerates("dedicated")], [USER1], False),
    ([tolerates("dedicated")], [taint("dedicated", "")], True),
    # Gt and Lt ask whether the taint's number is greater, or less, than the toleration's
    ([tolerates("level", "Gt", "5")], [taint("level", "7")], True),
    ([tolerates("level", "Gt", "7")], [taint("level", "7")], False),
    ([tolerates("level", "Gt", "9")], [taint("level", "7")], False),
    ([tolerates("level", "Lt", "9")], [taint("level", "7")], True),
    ([tolerates("level", "Lt", "7")], [taint("level", "7")], False),
    ([tolerates("level", "Gt", "-8")], [taint("level", "-7")], True),
    ([tolerates("level", "Lt", "10")], [taint("level", "9")], True),
    ([tolerates("level", "Lt", "9", "NoExecute")], [taint("level", "7")], False),
    ([tolerates("other", "Lt", "9")], [taint("level", "7")], False),
    ([tolerates("level", "Gt", "5")], [taint("level", "7"), taint("level", "3")], False),
    ([tolerates("level", "Gt", str(2**63 - 2))], [taint("level", str(2**63 - 1))], True),
    # numbers are written plainly and fit 64 bits
    ([tolerates("level", "Gt", "5")], [taint("level", "high")], False),
    ([tolerates("level", "Gt", "5")], [taint("level", "")], False),
    ([tolerates("level", "Gt", "5")], [taint("level", "+7")], False),
    ([tolerates("level", "Gt", "5")], [taint("level", "07")], False),
    ([tolerates("level", "Gt", "05")], [taint("level", "7")], False),
    ([tolerates("level", "Gt", "-0")], [taint("level", "7")], False),
    ([tolerates("level", "Gt", "5")], [taint("level", "7.5")], False),
    ([tolerates("level", "Gt", "5")], [taint("level", str(2**63))], False),
    ([tolerates("level", "Gt")], [taint("level", "7")], False),
    # what nobody knows tolerates nothing
    ([tolerates("dedicated", "exists")], [USER1], False),
    # every hard taint must be tolerated, by any of the tolerations
    ([tolerates("dedicated", value="user1")], [USER1, taint("b", "")], False),
    ([tolerates("dedicated", value="user1"), tolerates("b")], [USER1, taint("b", "")], True),
    ([tolerates("x"), tolerates("dedicated", value="user1")], [USER1], True),
    (
        [tolerates("foo", value="bar")],
        [taint("foo", "bar"), taint("s", "", "PreferNoSchedule")],
        True,
    ),
    (
        [tolerates("k", "Exists", effect="NoSchedule")],
        [taint("k", "v"), taint("k", "v", "NoExecute")],
        False,
    ),
    # how long it tolerates is for eviction to mind
    (
        [tolerates("dedicated", "Exists", effect="NoExecute", tolerationSeconds=5)],
        [taint(effect="NoExecute")],
        True,
    ),
]


@pytest.mark.parametrize(("tolerations", "taints", "admitted"), CASES)
def test_hard_taints(tolerations, taints, admitted):
    assert open_to(tolerations, *taints) is admitted


def soft(*keys):
    return [taint(key, "", "PreferNoSchedule") for key in keys]


@pytest.mark.parametrize(
    ("tolerations", "nodes", "scores"),
    [
        ([], [[], []], [100, 100]),
        ([], [[], soft("a")], [100, 0]),
        ([], [soft("a"), soft("a")], [0, 0]),
        ([], [soft("a"), soft("a", "b"), soft(*"abc")], [67, 34, 0]),
        ([], [soft("a"), soft(*"abcdefg")], [86, 0]),
        ([tolerates(operator="Exists")], [[], soft("a")], [100, 100]),
        ([tolerates("a", "Exists")], [soft("a"), soft("b")], [100, 0]),
        ([tolerates("a", "Exists", effect="PreferNoSchedule")], [soft("a"), soft("b")], [100, 0]),
        ([tolerates("a", "Exists", effect="NoSchedule")], [soft("a"), []], [0, 100]),
        ([tolerates("a", "Exists", effect="NoExecute")], [soft("a"), []], [0, 100]),
        ([tolerates("a", value="1")], [[taint("a", "1", "PreferNoSchedule")], soft("b")], [100, 0]),
        ([tolerates("a", value="2")], [[taint("a", "1", "PreferNoSchedule")], []], [0, 100]),
        (
            [tolerates("h", "Exists", effect="NoSchedule")],
            [[taint("h", "1")], soft("a")],
            [100, 0],
        ),
        (
            [tolerates("risk", "Lt", "50")],
            [
                [taint("risk", "60", "PreferNoSchedule")],
                [taint("risk", "40", "PreferNoSchedule")],
                [taint("risk", "none", "PreferNoSchedule"), *soft("a")],
            ],
            [50, 100, 0],
        ),
    ],
)
def test_soft_taints_cost_score(tolerations, nodes, scores):
    fleet = [node(f"n{number}", taints=taints) for number, taints in enumerate(nodes)]
    found = rated(RULE, a_class(tolerations=tolerations), *fleet)
    assert list(found.values()) == scores


def test_only_feasible_nodes_are_normalised_over():
    fleet = [node("a", taints=soft("x")), node("b", taints=[USER1, *soft(*"xyz")])]
    assert rated(RULE, a_class(), *fleet) == {"a": 0}


@pytest.mark.parametrize(
    ("tolerations", "cordoned", "admitted"),
    [
        ([], False, True),
        ([], True, False),
        ([tolerates(CORDON, "Exists")], True, True),
        ([tolerates(CORDON, "Exists", effect="NoSchedule")], True, True),
        ([tolerates(CORDON)], True, True),
        ([tolerates(CORDON, value="x")], True, False),
        ([tolerates(CORDON, "Exists", effect="NoExecute")], True, False),
        ([tolerates(operator="Exists")], True, True),
        ([tolerates("other", "Exists")], True, False),
        ([tolerates(CORDON, "Lt", "1")], True, False),
    ],
)
def test_cordoned_nodes(tolerations, cordoned, admitted):
    fleet = node("n", unschedulable=cordoned)
    found = refused(NodeUnschedulable(), a_class(tolerations=tolerations), fleet)
    assert found == ({} if admitted else {"n": (["node(s) were unschedulable"], False)})


KEYS = st.sampled_from(["", "a", "b"])
VALUES = st.sampled_from(["", "a", "1", "2", "-1", "02"])
EFFECTS = st.sampled_from(["", *HARD, "PreferNoSchedule"])
TOLERATIONS = st.lists(
    st.builds(
        tolerates, KEYS, st.sampled_from(["", "Equal", "Exists", "Gt", "Lt"]), VALUES, EFFECTS
    ),
    max_size=3,
)
TAINTS = st.lists(
    st.builds(taint, st.sampled_from("ab"), VALUES, st.sampled_from([*HARD, "PreferNoSchedule"])),
    max_size=3,
)


def bears(toleration, key, effect, value):
    bound = toleration.get("value", "")
    numbers = {"1", "2", "-1"} >= {bound, value}
    return (
        toleration.get("effect", effect) == effect
        and toleration.get("key", key) == key
        and (
            toleration.get("operator") == "Exists"
            or (toleration.get("operator", "Equal") == "Equal" and bound == value)
            or (toleration.get("operator") == "Gt" and numbers and int(value) > int(bound))
            or (toleration.get("operator") == "Lt" and numbers and int(value) < int(bound))
        )
    )


@given(TOLERATIONS, st.lists(TAINTS, min_size=1, max_size=4))
def test_equals_a_node_by_node_reference(tolerations, fleet):
    nodes = [node(f"n{number}", taints=taints) for number, taints in enumerate(fleet)]
    wanted = a_class(tolerations=tolerations)
    counts = {}
    for number, taints in enumerate(fleet):
        left = [t for t in taints if not any(bears(each, *t) for each in tolerations)]
        if not any(effect in HARD for _, effect, _ in left):
            counts[f"n{number}"] = len(left)
    most = max(counts.values(), default=0)
    expected = {name: 100 - (100 * n // most if most else 0) for name, n in counts.items()}
    assert rated(RULE, wanted, *nodes) == expected
