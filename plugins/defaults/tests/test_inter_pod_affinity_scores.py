"""InterPodAffinity's scores against their Kubernetes semantics."""

import numpy as np
import pytest
from ironfree_defaults.inter_pod_affinity import InterPodAffinity

from tests.affinity_cases import (
    DB,
    NAMESPACES,
    RULE,
    TEAM,
    TWO,
    WEB,
    a_snapshot,
    runs,
    term,
    wants,
    zones,
)


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


def mutual(pods, running=(), rule=RULE):
    """Return (class, its points by other class, its domains) of a batch."""
    snapshot = a_snapshot(zones("a", "a", None), running)
    found = rule.mutual(pods, snapshot, snapshot.all_rows)
    return [(each.pod, dict(each.others), each.domain.tolist()) for each in found]


def test_pods_of_a_batch_read_each_others_terms():
    batch = [wants(DB), wants(WEB, liked=[(5, term("app=db"))])]
    assert mutual(batch) == [(0, {1: 100.0}, [0, 0, -1]), (1, {0: 100.0}, [0, 0, -1])]
    deaf = InterPodAffinity(ignores_others=True)
    assert mutual(batch, rule=deaf) == [(1, {0: 100.0}, [0, 0, -1])]
    hard = [wants(DB), wants(WEB, near=[term("app=db")])]
    assert mutual(hard) == [(0, {1: 100.0}, [0, 0, -1])]
    assert mutual(hard, rule=InterPodAffinity(hard_weight=0)) == []


def test_pods_of_a_batch_are_scored_on_the_scale_of_those_that_run():
    away = wants(WEB, disliked=[(5, term("app=web", "host")), (2, term("app=db"))])
    _, (_, points, _) = mutual([away, wants(DB)])[:2]
    assert points == {1: -20.0}
    crowd = [runs("n0", WEB) for _ in range(4)]
    (_, points, _), *_ = mutual([away], crowd)
    assert points == {0: -50.0}
