"""The checker judges affinity and spreading as the rules do, and by other means."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checker_agreement import assert_agreed
from tests.placement_cases import a_class, cluster, default_framework, node, pod, spec

HARD = "requiredDuringSchedulingIgnoredDuringExecution"
FRAMEWORK = default_framework()
keys = st.sampled_from(["zone", "host"])
values = st.sampled_from(["a", "b", "c"])
apps = st.sampled_from(["x", "y"])
some_labels = st.dictionaries(st.sampled_from(["app", "tier"]), apps, max_size=2)
expressions = st.builds(
    lambda key, operator, value: {
        "key": key,
        "operator": operator,
        "values": [value] if operator in ("In", "NotIn") else [],
    },
    st.sampled_from(["app", "tier"]),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    apps,
)
selectors = st.one_of(
    st.none(),
    st.just({}),
    st.builds(lambda app: {"matchLabels": {"app": app}}, apps),
    st.builds(lambda each: {"matchExpressions": [each]}, expressions),
)
spaces = st.sampled_from(["default", "other"])


@st.composite
def terms(draw):
    term = {"topologyKey": draw(keys), "labelSelector": draw(selectors)}
    if draw(st.integers(0, 3)) == 0:
        term["namespaces"] = [draw(spaces)]
    if draw(st.integers(0, 3)) == 0:
        term["namespaceSelector"] = draw(st.sampled_from([{}, {"matchLabels": {"team": "1"}}]))
    if draw(st.integers(0, 4)) == 0:
        term["matchLabelKeys"] = ["tier"]
    if draw(st.integers(0, 4)) == 0:
        term["mismatchLabelKeys"] = ["tier"]
    return term


@st.composite
def constraints(draw):
    made = {
        "maxSkew": draw(st.integers(1, 2)),
        "topologyKey": draw(keys),
        "whenUnsatisfiable": draw(st.sampled_from(["DoNotSchedule", "ScheduleAnyway"])),
        "labelSelector": draw(selectors),
    }
    for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if draw(st.booleans()):
            made[field] = draw(st.sampled_from(["Honor", "Ignore"]))
    if made["whenUnsatisfiable"] == "DoNotSchedule" and draw(st.booleans()):
        made["minDomains"] = draw(st.integers(1, 4))
    if made["labelSelector"] is not None and draw(st.integers(0, 3)) == 0:
        made["matchLabelKeys"] = ["tier"]
    return made


@st.composite
def fields(draw):
    """The class of a pod with one or two rules."""
    made = {}
    for name in draw(st.lists(st.sampled_from(["podAffinity", "podAntiAffinity"]), max_size=2)):
        made.setdefault("affinity", {})[name] = {
            HARD: draw(st.lists(terms(), min_size=1, max_size=2))
        }
    if draw(st.booleans()):
        made["topologySpreadConstraints"] = draw(
            st.lists(
                constraints(),
                max_size=2,
                unique_by=lambda c: (c["topologyKey"], c["whenUnsatisfiable"]),
            )
        )
    if draw(st.integers(0, 4)) == 0:
        made["nodeSelector"] = {"zone": draw(values)}
    return {"labels": draw(some_labels), "namespace": draw(spaces), "json": spec(**made)}


@st.composite
def clusters(draw):
    nodes = [
        node(
            f"n{number}",
            labels={
                **({"zone": draw(values)} if draw(st.integers(0, 4)) else {}),
                **({"host": f"n{number}"} if draw(st.integers(0, 5)) else {}),
            },
            taints=[("t", "NoSchedule", "")] if draw(st.integers(0, 4)) == 0 else [],
        )
        for number in range(draw(st.integers(1, 6)))
    ]
    bound = [
        pod(node=f"n{draw(st.integers(0, len(nodes) - 1))}", **draw(fields()))
        for _ in range(draw(st.integers(0, 5)))
    ]
    state = cluster(*nodes, pods=bound)
    for each in bound:
        if draw(st.integers(0, 4)) == 0:
            known = state._pods[each.meta.uid][0]
            state.set_pod(each.meta.uid, known, each.node, leaving=True)
    state.set_namespace("default", {"team": "1"})
    if draw(st.booleans()):
        state.set_namespace("other", {})
    return state


groups = st.lists(st.tuples(fields(), st.integers(1, 5)), min_size=1, max_size=3)


@settings(max_examples=120, deadline=None)
@given(clusters(), groups)
def test_what_the_framework_decides_passes_and_nothing_else_would(state, wanted):
    """Step by step: a node is open to the next copy just where the checker would accept it."""
    assert_agreed(FRAMEWORK, state, [(a_class(**fields_), count) for fields_, count in wanted])
