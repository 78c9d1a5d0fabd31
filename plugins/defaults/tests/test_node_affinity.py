"""NodeAffinity as kube-scheduler has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ironfree_defaults.node_affinity import NodeAffinity

from scheduler.errors import ConfigurationError, PluginError
from tests.placement_cases import a_class, cluster, everywhere, node, rated, refused

UNMATCHED = "node(s) didn't match Pod's node affinity/selector"
ENFORCED = "node(s) didn't match scheduler-enforced node affinity"
CONFLICT = "pod affinity terms conflict"
PLAIN = NodeAffinity()
NODES = {
    "east": {"zone": "east", "cores": "8", "empty": ""},
    "west": {"zone": "west", "cores": "16"},
    "odd": {"zone": "odd", "cores": "many"},
    "bare": {},
}


def fleet():
    return [node(name, labels=labels) for name, labels in NODES.items()]


def test(key, operator, *values):
    return {"key": key, "operator": operator, "values": list(values)}


test.__test__ = False


def labels(*tests):
    return {"matchExpressions": list(tests)}


def fields(*tests):
    return {"matchFields": list(tests)}


def named(*names, operator="In"):
    return test("metadata.name", operator, *names)


def required(*terms, **more):
    selector = {"nodeSelectorTerms": list(terms)}
    return a_class(
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}},
        **more,
    )


def preferred(*weighted, **more):
    terms = [{"weight": weight, "preference": term} for weight, term in weighted]
    return a_class(
        affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}},
        **more,
    )


def admitted(rule, wanted):
    return NODES.keys() - refused(rule, wanted, *fleet()).keys()


CASES = [
    # In, NotIn, Exists, DoesNotExist
    ([labels(test("zone", "In", "east"))], {"east"}),
    ([labels(test("zone", "In", "east", "west"))], {"east", "west"}),
    ([labels(test("zone", "NotIn", "east"))], {"west", "odd", "bare"}),
    ([labels(test("zone", "Exists"))], {"east", "west", "odd"}),
    ([labels(test("zone", "DoesNotExist"))], {"bare"}),
    ([labels(test("empty", "In", ""))], {"east"}),
    ([labels(test("empty", "NotIn", ""))], {"west", "odd", "bare"}),
    # Gt, Lt: integers only, on both sides
    ([labels(test("cores", "Gt", "8"))], {"west"}),
    ([labels(test("cores", "Gt", "0"))], {"east", "west"}),
    ([labels(test("cores", "Gt", "-1"))], set()),  # no value a label could have
    ([labels(test("cores", "Lt", "9"))], {"east"}),
    ([labels(test("cores", "Lt", "09"))], {"east"}),
    ([labels(test("cores", "Gt", "many"))], set()),
    ([labels(test("cores", "Gt"))], set()),
    ([labels(test("cores", "Gt", "1", "2"))], set()),
    ([labels(test("cores", "Gt", "99999999999999999999"))], set()),
    # what cannot be read matches nothing, with all of its term but no other
    ([labels(test("zone", "In"))], set()),
    ([labels(test("zone", "NotIn"))], set()),
    ([labels(test("zone", "Exists", "east"))], set()),
    ([labels(test("zone", "Near", "east"))], set()),
    ([labels(test("zone", "NotIn", "bad value"))], set()),
    ([labels(test("not a key!", "DoesNotExist"))], set()),
    ([labels(test("zone", "In", "east"), test("zone", "Near"))], set()),
    ([labels(test("zone", "Near")), labels(test("zone", "In", "east"))], {"east"}),
    # terms are alternatives, requirements conditions
    ([labels(test("zone", "In", "east")), labels(test("cores", "In", "16"))], {"east", "west"}),
    ([labels(test("zone", "In", "east"), test("cores", "In", "16"))], set()),
    ([], set()),
    ([{}], set()),
    ([{}, labels(test("zone", "In", "east"))], {"east"}),
    ([{"matchExpressions": [], "matchFields": []}], set()),
    # fields
    ([fields(named("west"))], {"west"}),
    ([fields(named("west", operator="NotIn"))], {"east", "odd", "bare"}),
    ([fields(named("west", "east"))], set()),
    ([fields(named(operator="NotIn"))], set()),
    ([fields(named(operator="Exists"))], set()),
    ([fields(named("west")), fields(named("east"))], {"west", "east"}),
    ([fields(named("west")), labels(test("zone", "In", "east"))], {"west", "east"}),
    ([fields(named("west")) | labels(test("zone", "In", "east"))], set()),
    ([fields(named("west")) | labels(test("zone", "In", "west"))], {"west"}),
    ([fields(test("metadata.namespace", "In", "x"))], set()),
    ([fields(test("metadata.namespace", "NotIn", "x"))], set(NODES)),
    ([fields(named("gone"))], set()),
]


@pytest.mark.parametrize(("terms", "nodes"), CASES)
def test_required_terms(terms, nodes):
    wanted = required(*terms)
    assert admitted(PLAIN, wanted) == nodes
    for reasons, resolvable in refused(PLAIN, wanted, *fleet()).values():
        assert (reasons, resolvable) == ([UNMATCHED], False)


@pytest.mark.parametrize(
    "terms",
    [
        [fields(named("east"), named("west"))],
        [fields(named("east"), named("west")), fields(named("west"), named("east"))],
        [fields(named())],
        [fields(named("east"), named("west")) | labels(test("zone", "Exists"))],
    ],
)
def test_terms_that_name_no_node_conflict(terms):
    for rule in (PLAIN, ADDED):
        found = refused(rule, required(*terms), *fleet())
        assert found == {name: ([CONFLICT], False) for name in NODES}


@pytest.mark.parametrize(
    "terms",
    [
        [fields(named("east"), named("west")), fields(named("west"))],
        [fields(named("east"), named("west")), labels(test("zone", "In", "west"))],
    ],
)
def test_one_term_that_can_match_is_no_conflict(terms):
    assert admitted(PLAIN, required(*terms)) == {"west"}


def test_node_selector_and_affinity_must_both_match():
    wanted = required(labels(test("cores", "Exists")), nodeSelector={"zone": "east"})
    assert admitted(PLAIN, wanted) == {"east"}
    assert admitted(PLAIN, a_class(nodeSelector={"zone": "east", "cores": "16"})) == set()
    assert admitted(PLAIN, a_class(nodeSelector={"empty": ""})) == {"east"}
    assert admitted(PLAIN, a_class()) == set(NODES)


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
ADDED = NodeAffinity.from_args(
    {
        "addedAffinity": {
            REQUIRED: {"nodeSelectorTerms": [labels(test("zone", "In", "east", "west"))]},
            PREFERRED: [{"weight": 5, "preference": labels(test("zone", "In", "west"))}],
        }
    }
)


def test_added_affinity_is_demanded_first():
    assert refused(ADDED, a_class(), *fleet()) == {
        "odd": ([ENFORCED], False),
        "bare": ([ENFORCED], False),
    }
    found = refused(ADDED, required(labels(test("zone", "In", "east"))), *fleet())
    assert found == {
        "west": ([UNMATCHED], False),
        "odd": ([ENFORCED], False),
        "bare": ([ENFORCED], False),
    }


def test_added_affinity_without_terms_admits_nobody():
    rule = NodeAffinity.from_args({"addedAffinity": {REQUIRED: {"nodeSelectorTerms": []}}})
    assert admitted(rule, a_class()) == set()


def test_added_preferences_add_to_the_pods():
    assert rated(ADDED, a_class(), *fleet()) == {"east": 0, "west": 100}
    wanted = preferred((10, labels(test("zone", "In", "east"))))
    assert rated(ADDED, wanted, *fleet()) == {"east": 100, "west": 50}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"addedAffinity": []}, "addedAffinity"),
        ({"affinity": {}}, "no argument 'affinity'"),
        ({"addedAffinity": {PREFERRED: [{"weight": 1}]}}, "addedAffinity"),
        (
            {"addedAffinity": {REQUIRED: {"nodeSelectorTerms": [labels(test("a", "Near"))]}}},
            rf"{REQUIRED}.nodeSelectorTerms\[0\].matchExpressions\[0\].operator: "
            'Unsupported value: "Near": supported values: '
            '"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"$',
        ),
        (
            {
                "addedAffinity": {
                    REQUIRED: {
                        "nodeSelectorTerms": [
                            {},
                            labels(test("a", "Exists", "x"), test("b", "Gt", "x")),
                            fields(named("a", operator="Exists")),
                        ]
                    }
                }
            },
            r"\[NodeAffinity.*Terms\[1\].matchExpressions\[0\].values: Invalid value: "
            r'\["x"\]: values set must be empty.*, '
            r"NodeAffinity.*Terms\[1\].matchExpressions\[1\].values\[0\]: Invalid value: "
            r'"x": for .* must be an integer, '
            r"NodeAffinity.*Terms\[2\].matchFields\[0\].operator: Unsupported value: "
            r'"Exists": supported values: "In", "NotIn"\]$',
        ),
        (
            {"addedAffinity": {REQUIRED: {"nodeSelectorTerms": [fields(named("a", "b"))]}}},
            r'matchFields\[0\].values: Invalid value: \["a","b"\]: must have one element$',
        ),
        (
            {"addedAffinity": {PREFERRED: [{"weight": 1, "preference": labels(test("a", "In"))}]}},
            rf"{PREFERRED}\[0\].matchExpressions\[0\].values: Invalid value: null: "
            "for 'in', 'notin' operators, values set can't be empty$",
        ),
    ],
)
def test_added_affinity_that_cannot_be_read_is_refused(args, says):
    with pytest.raises(ConfigurationError, match=says):
        NodeAffinity.from_args(args)


EAST = labels(test("zone", "In", "east"))
WEST = labels(test("zone", "In", "west"))


@pytest.mark.parametrize(
    ("terms", "scores"),
    [
        ([(30, EAST), (10, WEST)], [100, 33, 0, 0]),
        ([(2, EAST), (2, labels(test("cores", "Exists")))], [100, 50, 50, 0]),
        ([(1, EAST)], [100, 0, 0, 0]),
        ([(100, labels(test("zone", "In", "nowhere")))], [0, 0, 0, 0]),
        ([(5, {})], [0, 0, 0, 0]),
        ([(5, {}), (1, WEST)], [0, 100, 0, 0]),
        ([(0, labels(test("zone", "Near"))), (1, WEST)], [0, 100, 0, 0]),
        ([(7, fields(named("odd"))), (3, EAST)], [42, 0, 100, 0]),
        ([(7, fields(named("odd", operator="NotIn")))], [100, 100, 0, 100]),
        ([(1, EAST), (1, EAST), (1, WEST)], [100, 50, 0, 0]),
    ],
)
def test_preferences_are_normalised_to_the_largest(terms, scores):
    assert list(rated(PLAIN, preferred(*terms), *fleet()).values()) == scores


def test_without_preferences_nobody_gains():
    assert set(rated(PLAIN, a_class(), *fleet()).values()) == {0}


def test_only_feasible_nodes_are_normalised_over():
    wanted = preferred((30, EAST), (10, WEST), nodeSelector={"zone": "west"})
    assert rated(PLAIN, wanted, *fleet()) == {"west": 100}


def test_a_pod_whose_preferences_cannot_be_read_goes_nowhere():
    terms = (1, EAST), (2, labels(test("a b", "Exists"))), (3, labels(test("zone", "Near")))
    wanted = preferred(*terms, nodeSelector={"zone": "east"})
    found = refused(PLAIN, wanted, *fleet())
    assert found.keys() == NODES.keys()
    (reason,), resolvable = found["east"]
    assert not resolvable
    assert reason.startswith('[[1].matchExpressions[0].key: Invalid value: "a b": name part must')
    assert ', [2].matchExpressions[0].operator: Unsupported value: "Near": supported' in reason
    state = cluster(*fleet()).freeze(1)
    with pytest.raises(PluginError, match="Unsupported value"):
        PLAIN.score(wanted, state, state.all_rows, everywhere(state.size))


def test_terms_that_conflict_are_told_before_preferences_that_cannot_be_read():
    bad = labels(test("zone", "Near"))
    affinity = {
        REQUIRED: {"nodeSelectorTerms": [fields(named("east"), named("west"))]},
        PREFERRED: [{"weight": 1, "preference": bad}],
    }
    wanted = a_class(affinity={"nodeAffinity": affinity})
    assert set(map(str, refused(PLAIN, wanted, *fleet()).values())) == {str(([CONFLICT], False))}


VALUES = st.sampled_from(["", "a", "1", "7", "-3", "x y"])
REQUIREMENTS = st.builds(
    lambda key, operator, values: test(key, operator, *values),
    st.sampled_from(["k", "l", "no key!"]),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Near"]),
    st.lists(VALUES, max_size=2),
)
TERMS = st.lists(st.lists(REQUIREMENTS, max_size=2).map(lambda tests: labels(*tests)), max_size=2)
LABELS = st.dictionaries(st.sampled_from("kl"), st.sampled_from(["", "a", "1", "7", "-3"]))


def holds(found, key, operator, values):
    """The rule for one node and one requirement that can be read."""
    value = found.get(key)
    if operator in ("In", "NotIn"):
        return (value in values) == (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    if value in (None, "", "a"):
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def readable(key, operator, values):
    if key == "no key!" or {"x y", "-3"} & set(values) or operator == "Near":
        return False
    if operator in ("In", "NotIn"):
        return bool(values)
    if operator in ("Exists", "DoesNotExist"):
        return not values
    return len(values) == 1 and values[0] not in ("", "a")


@given(TERMS, st.lists(LABELS, min_size=1, max_size=4))
def test_equals_a_node_by_node_reference(terms, found):
    nodes = [node(f"n{number}", labels=each) for number, each in enumerate(found)]
    expected = set()
    for number, each in enumerate(found):
        for term in terms:
            tests = [tuple(t.values()) for t in term["matchExpressions"]]
            if tests and all(readable(*t) and holds(each, *t) for t in tests):
                expected.add(f"n{number}")
    closed = refused(PLAIN, required(*terms), *nodes)
    assert {each.meta.name for each in nodes} - closed.keys() == expected
