"""What wakes a pod depends on why the rules rejected it, not only on which rule did."""

import pytest

from scheduler.hookspecs import Change
from tests.placement_cases import a_class, cluster, decide, node, pod

ZONE = "topology.kubernetes.io/zone"


def affinity(kind, app):
    term = {"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": app}}}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def spread():
    return {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }


HERE = node("n", cpu="4", labels={ZONE: "a"})
WEB = pod("web", node="n", cpu="1", labels={"app": "web"})


@pytest.mark.parametrize(
    ("wanted", "nodes", "wakes", "sleeps"),
    [
        ({"cpu": "5"}, [HERE], Change.NODE_RESOURCES, Change.POD_REMOVED),
        ({"requests": {"x.com/gpu": "1"}}, [HERE], Change.NODE_RESOURCES, Change.POD_REMOVED),
        ({"cpu": "4"}, [HERE], Change.NODE_RESOURCES | Change.POD_REMOVED, Change.POD_PLACED),
        (
            {"affinity": affinity("podAffinity", "db")},
            [HERE],
            Change.POD_PLACED,
            Change.NODE_TAINTS,
        ),
        (
            {"affinity": affinity("podAntiAffinity", "web")},
            [HERE],
            Change.POD_REMOVED | Change.POD_LABELS | Change.NODE_LABELS | Change.NAMESPACE,
            Change.POD_PLACED,
        ),
        (
            {"labels": {"app": "web"}, "topologySpreadConstraints": [spread()]},
            [HERE, node("full", cpu="0", pods="0", labels={ZONE: "b"})],
            Change.POD_REMOVED | Change.POD_PLACED | Change.NODE_REMOVED,
            Change.NAMESPACE,
        ),
        (
            {"labels": {"app": "web"}, "topologySpreadConstraints": [spread()]},
            [node("n", cpu="4")],
            Change.NODE_LABELS,
            Change.POD_REMOVED | Change.POD_PLACED | Change.NODE_REMOVED,
        ),
    ],
)
def test_only_what_can_help_wakes(wanted, nodes, wakes, sleeps):
    _, decision = decide(cluster(*nodes, pods=[WEB]), a_class(**wanted))
    wakes_on = decision.diagnosis.wakes_on
    assert wakes_on & (wakes | Change.NODE_ADDED) == wakes | Change.NODE_ADDED
    assert not wakes_on & sleeps
