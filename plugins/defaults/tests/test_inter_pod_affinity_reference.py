"""InterPodAffinity against a reading of kube-scheduler pod by pod, on random clusters."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ironfree_defaults.inter_pod_affinity import InterPodAffinity

from scheduler.hookspecs import Change, Verdict
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from tests.affinity_cases import AFFINITY, ANTI, OTHERS, a_snapshot, explained, runs, wants
from tests.placement_cases import everywhere, node

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
