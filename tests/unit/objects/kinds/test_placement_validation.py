"""What a pod may say of where it runs: Kubernetes' field errors, merged label keys, gated pods."""

import copy
import json

import pytest

from scheduler.objects.kinds import REGISTRY
from scheduler.objects.kinds.label_keys import merge_label_keys

POD = REGISTRY.by_resource("pods")
HARD = "requiredDuringSchedulingIgnoredDuringExecution"
SOFT = "preferredDuringSchedulingIgnoredDuringExecution"


def made(labels=None, **spec):
    """Return a pod as a create makes it."""
    spec.setdefault("containers", [{"name": "c", "image": "i"}])
    pod = {"metadata": {"name": "p", "labels": labels or {}}, "spec": json.loads(json.dumps(spec))}
    POD.complete(pod)
    POD.default(pod)
    return pod


def causes(labels=None, **spec):
    found = POD.validate(made(labels, **spec))
    return [(c.field.removeprefix("spec."), c.message) for c in found]


def term(**fields):
    return {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}, **fields}


def affinity(kind="podAffinity", hard=(), soft=()):
    return {kind: {HARD: list(hard), SOFT: list(soft)}}


def spread(**fields):
    return {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {},
        **fields,
    }


@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
@pytest.mark.parametrize(
    "good",
    [
        term(),
        term(labelSelector=None),
        term(labelSelector={}, namespaceSelector={}, namespaces=["default", "x"]),
        term(matchLabelKeys=["a.b/c"], mismatchLabelKeys=["d"]),
        term(mismatchLabelKeys=["a"]),
        term(topologyKey="kubernetes.io/hostname"),
    ],
)
def test_terms_that_are_fine(kind, good):
    weighted = [{"weight": weight, "podAffinityTerm": good} for weight in (1, 100)]
    assert causes({"d": "1"}, affinity=affinity(kind, [good], weighted)) == []


KEY_RULE = "must consist of alphanumeric characters"
TERMS = [
    (term(topologyKey=""), ".topologyKey", "Required value: can not be empty"),
    (term(topologyKey="a b"), ".topologyKey", KEY_RULE),
    (term(topologyKey="a/b/c"), ".topologyKey", "a valid label key"),
    (term(namespaces=["A"]), ".namespace", "lowercase RFC 1123 label"),
    (term(namespaces=["a.b"]), ".namespace", "must not contain dots"),
    (term(labelSelector={"matchLabels": {"a b": "c"}}), ".labelSelector.matchLabels", KEY_RULE),
    (term(namespaceSelector={"matchLabels": {"a": "-"}}), ".namespaceSelector.matchLabels", "'-'"),
    (
        term(labelSelector={"matchExpressions": [{"key": "a", "operator": "Gt"}]}),
        ".labelSelector.matchExpressions[0].operator",
        'Invalid value: "Gt": not a valid selector operator',
    ),
    (
        term(labelSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        ".labelSelector.matchExpressions[0].values",
        "Required value: must be specified when `operator` is 'In' or 'NotIn'",
    ),
    (
        term(
            labelSelector={
                "matchExpressions": [{"key": "a", "operator": "Exists", "values": ["v"]}]
            }
        ),
        ".labelSelector.matchExpressions[0].values",
        "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
    ),
    (
        term(labelSelector={"matchExpressions": [{"key": "", "operator": "Exists"}]}),
        ".labelSelector.matchExpressions[0].key",
        "name part must be non-empty",
    ),
    (
        term(
            labelSelector={
                "matchExpressions": [{"key": "a", "operator": "In", "values": ["ok", "n o"]}]
            }
        ),
        ".labelSelector.matchExpressions[0].values[1]",
        "a valid label must be",
    ),
    (
        term(labelSelector=None, matchLabelKeys=["k"]),
        ".matchLabelKeys",
        "Forbidden: must not be specified when labelSelector is not set",
    ),
    (
        term(labelSelector=None, mismatchLabelKeys=["k"]),
        ".mismatchLabelKeys",
        "Forbidden: must not be specified when labelSelector is not set",
    ),
    (term(matchLabelKeys=["a b"]), ".matchLabelKeys[0]", KEY_RULE),
    (
        term(matchLabelKeys=["x", "a"]),
        "[1]",
        'Invalid value: "a": exists in both matchLabelKeys and labelSelector',
    ),
    (
        term(matchLabelKeys=["d"], mismatchLabelKeys=["d"]),
        ".matchLabelKeys[0]",
        'Invalid value: "d": exists in both matchLabelKeys and mismatchLabelKeys',
    ),
]


@pytest.mark.parametrize(("bad", "where", "says"), TERMS)
def test_terms_that_are_not(bad, where, says):
    labels = {"a": "1"}
    found = causes(labels, affinity=affinity("podAntiAffinity", [term(), bad]))
    assert any(
        field == f"affinity.podAntiAffinity.{HARD}[1]{where}" and says in message
        for field, message in found
    ), found
    weighted = [{"weight": 5, "podAffinityTerm": bad}]
    found = causes(labels, affinity=affinity("podAffinity", soft=weighted))
    assert any(
        field == f"affinity.podAffinity.{SOFT}[0].podAffinityTerm{where}" and says in message
        for field, message in found
    ), found


@pytest.mark.parametrize("weight", [0, 101, -1])
def test_weights_are_1_to_100(weight):
    soft = [{"weight": weight, "podAffinityTerm": term()}]
    assert causes(affinity=affinity(soft=soft)) == [
        (
            f"affinity.podAffinity.{SOFT}[0].weight",
            f"Invalid value: {weight}: must be in the range 1-100",
        )
    ]


@pytest.mark.parametrize(
    "good",
    [
        [spread()],
        [spread(labelSelector=None)],
        [spread(minDomains=1), spread(whenUnsatisfiable="ScheduleAnyway")],
        [spread(), spread(topologyKey="host")],
        [spread(nodeAffinityPolicy="Ignore", nodeTaintsPolicy="Honor")],
        [spread(matchLabelKeys=["pod-template-hash"])],
    ],
)
def test_constraints_that_are_fine(good):
    assert causes({"pod-template-hash": "1"}, topologySpreadConstraints=good) == []


CONSTRAINTS = [
    (spread(maxSkew=0), ".maxSkew", "Invalid value: 0: must be greater than zero"),
    (spread(maxSkew=-1), ".maxSkew", "Invalid value: -1: must be greater than zero"),
    (spread(topologyKey=""), ".topologyKey", "Required value: can not be empty"),
    (
        spread(whenUnsatisfiable=""),
        ".whenUnsatisfiable",
        'Unsupported value: "": supported values: "DoNotSchedule", "ScheduleAnyway"',
    ),
    (spread(minDomains=0), ".minDomains", "Invalid value: 0: must be greater than zero"),
    (
        spread(minDomains=2, whenUnsatisfiable="ScheduleAnyway"),
        ".minDomains",
        "Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, "
        "not ScheduleAnyway",
    ),
    (
        spread(nodeAffinityPolicy="Maybe"),
        ".nodeAffinityPolicy",
        'Unsupported value: "Maybe": supported values: "Honor", "Ignore"',
    ),
    (
        spread(nodeTaintsPolicy=""),
        ".nodeTaintsPolicy",
        'Unsupported value: "": supported values: "Honor", "Ignore"',
    ),
    (
        spread(labelSelector=None, matchLabelKeys=["k"]),
        ".matchLabelKeys",
        "Forbidden: must not be specified when labelSelector is not set",
    ),
    (
        spread(labelSelector={"matchLabels": {"a": "1"}}, matchLabelKeys=["a"]),
        ".matchLabelKeys[0]",
        'Invalid value: "a": exists in both matchLabelKeys and labelSelector',
    ),
    (
        spread(labelSelector={"matchExpressions": [{"key": "a", "operator": "Is"}]}),
        ".labelSelector.matchExpressions[0].operator",
        'Invalid value: "Is": not a valid selector operator',
    ),
]


@pytest.mark.parametrize(("bad", "where", "says"), CONSTRAINTS)
def test_constraints_that_are_not(bad, where, says):
    found = causes({"a": "1"}, topologySpreadConstraints=[spread(topologyKey="other"), bad])
    assert (f"topologySpreadConstraints[1]{where}", says) in found


def test_a_constraint_given_twice():
    assert causes(topologySpreadConstraints=[spread(), spread(maxSkew=2)]) == [
        (
            "topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}",
            'Duplicate value: "{zone, DoNotSchedule}"',
        )
    ]


def test_a_new_pods_label_values_become_requirements():
    wanted = term(matchLabelKeys=["hash", "absent"], mismatchLabelKeys=["tenant"])
    pod = made(
        {"hash": "1", "tenant": "t"},
        affinity=affinity("podAntiAffinity", [wanted], [{"weight": 1, "podAffinityTerm": wanted}]),
        topologySpreadConstraints=[spread(matchLabelKeys=["hash"])],
    )
    terms = pod["spec"]["affinity"]["podAntiAffinity"]
    merged = {
        "matchLabels": {"a": "b"},
        "matchExpressions": [
            {"key": "hash", "operator": "In", "values": ["1"]},
            {"key": "tenant", "operator": "NotIn", "values": ["t"]},
        ],
    }
    assert terms[HARD][0]["labelSelector"] == merged
    assert terms[SOFT][0]["podAffinityTerm"]["labelSelector"] == merged
    assert pod["spec"]["topologySpreadConstraints"][0]["labelSelector"] == {
        "matchExpressions": [{"key": "hash", "operator": "In", "values": ["1"]}]
    }
    assert list(POD.validate(pod)) == []


def test_without_a_selector_nothing_is_merged():
    pod = {"metadata": {"labels": {"a": "1"}}, "spec": {"topologySpreadConstraints": [{}]}}
    before = copy.deepcopy(pod)
    merge_label_keys(pod)
    assert pod == before


def test_labels_may_change_later_and_selectors_do_not_follow():
    old = made({"hash": "1"}, topologySpreadConstraints=[spread(matchLabelKeys=["hash"])])
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"hash": "2"}
    POD.default(new)
    assert list(POD.validate_update(old, new)) == []
    assert list(POD.validate(new)) == []


def test_a_gated_pod_starts_as_such():
    status = POD.initial_status(made(schedulingGates=[{"name": "g"}]))
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
    assert (status["phase"], condition["reason"]) == ("Pending", "SchedulingGated")
    assert "conditions" not in POD.initial_status(made())


ONE = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
MORE = {"matchExpressions": [*ONE["matchExpressions"], {"key": "b", "operator": "Exists"}]}


def node_affinity(*terms):
    return {"nodeAffinity": {HARD: {"nodeSelectorTerms": list(terms)}}}


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ({}, {"nodeSelector": {"a": "1"}}, ""),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": "1", "b": "2"}}, ""),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": "2"}}, "nodeSelector"),
        ({"nodeSelector": {"a": "1"}}, {}, "nodeSelector"),
        ({}, {"affinity": node_affinity(ONE)}, ""),
        ({"affinity": node_affinity(ONE)}, {"affinity": node_affinity(MORE)}, ""),
        ({"affinity": node_affinity(MORE)}, {"affinity": node_affinity(ONE)}, "[0]"),
        ({"affinity": node_affinity(ONE)}, {"affinity": node_affinity(ONE, MORE)}, "Terms"),
        ({"affinity": node_affinity(ONE)}, {}, "Terms"),
        ({"affinity": node_affinity({})}, {"affinity": node_affinity(ONE)}, "[0]"),
        ({}, {"affinity": affinity(hard=[term()])}, "spec"),
    ],
)
def test_a_gated_pods_node_selection_may_only_be_narrowed(before, after, field):
    gates = [{"name": "g"}]
    old = made(schedulingGates=gates, **before)
    for left in (gates, []):
        new = made(schedulingGates=left, **after)
        found = [cause.field for cause in POD.validate_update(old, new)]
        assert len(found) == bool(field), found
        assert not field or found[0].endswith(field)
    free = [cause.field for cause in POD.validate_update(made(**before), made(**after))]
    assert free == ["spec"]


def test_gates_may_only_go():
    def update(old, new):
        old, new = (made(schedulingGates=[{"name": n} for n in names]) for names in (old, new))
        return [cause.field for cause in POD.validate_update(old, new)]

    assert update("ab", "a") == update("a", "") == update("a", "a") == []
    assert update("a", "ab") == update("", "a") == ["spec.schedulingGates"]


@pytest.mark.parametrize(
    ("toleration", "found"),
    [
        ({"key": "level", "operator": "Gt", "value": "5"}, []),
        ({"key": "level", "operator": "Lt", "value": "-5", "effect": "NoExecute"}, []),
        ({"key": "level", "operator": "Gt", "value": "05"}, [("value", "must be a valid decimal")]),
        ({"key": "level", "operator": "Lt", "value": "+5"}, [("value", "must be a valid decimal")]),
        ({"key": "level", "operator": "Lt"}, [("value", "must be a valid decimal integer")]),
        ({"key": "level", "operator": "Gt", "value": str(2**63)}, [("value", "must be a valid")]),
        ({"operator": "Gt", "value": "5"}, [("operator", "operator must be Exists when `key`")]),
        ({"key": "a", "operator": "Ge"}, [("operator", 'values: "Equal", "Exists", "Lt", "Gt"')]),
    ],
)
def test_tolerations_that_compare(toleration, found):
    told = causes(tolerations=[toleration])
    assert [field for field, _ in told] == [f"tolerations[0].{field}" for field, _ in found]
    for (_, message), (_, says) in zip(told, found, strict=True):
        assert says in message
