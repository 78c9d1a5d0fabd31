"""PodTopologySpread's scores and default constraints as kube-scheduler has them."""

import pytest
from ironfree_defaults.pod_topology_spread import PodTopologySpread

from scheduler.objects.selectors import from_label_selector, from_map
from tests.placement_cases import pod
from tests.spread_cases import (
    BAR,
    FOO,
    FOO_SERVICE,
    HARD,
    HOST,
    PICKED,
    SYSTEM,
    ZONE,
    at,
    fits,
    four,
    on,
    scored,
    soft,
    spread,
    wants,
    workloads,
)

# Scores: raw is the sum over constraints of pods · ln(domains + 2) + maxSkew - 1, rounded.


@pytest.mark.parametrize(
    ("wanted", "pods", "only", "expected"),
    [
        pytest.param(wants(soft()), [], None, [100] * 4, id="no pods: all are best"),
        pytest.param(wants(soft(skew=5)), [], None, [100] * 4, id="skew alone changes nothing"),
        pytest.param(wants(soft()), on("a"), None, [0, 0, 100, 100], id="the emptier zone"),
        pytest.param(wants(soft()), on("a", 2) + on("x"), None, [33, 33, 100, 100], id="3 and 1"),
        pytest.param(
            wants(soft(HOST)),
            on("a", 2) + on("b") + on("y", 3),
            None,
            # ln 6: 4, 2, 0, 5
            [20, 60, 100, 0],
            id="by host name",
        ),
        pytest.param(
            wants(soft(HOST, 2)),
            on("a", 2) + on("b") + on("y", 3),
            None,
            # 5, 3, 1, 6
            [33, 66, 100, 16],
            id="maxSkew waters differences down",
        ),
        pytest.param(
            wants(soft(HOST)),
            on("a", 4) + on("b", 2) + on("x") + on("y", 3),
            "abx",
            # ln 5: 6, 3, 2
            [33, 83, 100],
            id="hosts that are no candidates are no domains",
        ),
        pytest.param(
            wants(soft()),
            on("a", 4) + on("b", 2) + on("x") + on("y", 3),
            "abx",
            # ln 4: 8, 8, 6
            [75, 75, 100],
            id="pods on nodes that are no candidates count in the zone",
        ),
        pytest.param(
            wants(soft(), soft(HOST)),
            on("a", 2) + on("b") + on("x", 2) + on("y", 4),
            "ax",
            # ln 4 twice: 3·1.386 + 2·1.386 = 7, 6·1.386 + 2·1.386 = 11
            [100, 63],
            id="zone and host name",
        ),
        pytest.param(
            wants(soft(select=FOO), soft(select=BAR), labels=("foo", "bar")),
            [
                *on("a", 1, "foo", "bar"),
                *on("a"),
                *on("b", 1, "foo", "bar"),
                *on("y", 2),
                *on("y", 1, "foo", "bar"),
            ],
            "ax",
            # (3 + 2)·1.386 = 7, (3 + 1)·1.386 = 6
            [85, 100],
            id="one key, two selectors",
        ),
        pytest.param(
            wants(soft(), soft(HOST, select=BAR), labels=("foo", "bar")),
            [*on("a"), *on("b", 1, "foo", "bar"), *on("y"), *on("y", 1, "bar")],
            None,
            # 2·1.386 = 3, 3 + 1.79 = 5, 1, 3
            [60, 20, 100, 60],
            id="zone and host name with different selectors",
        ),
        pytest.param(wants(soft(select=None)), on("a", 3), None, [100] * 4, id="absent selector"),
        pytest.param(
            wants(soft(select={})), on("a", 1, "bar"), None, [0, 0, 100, 100], id="empty selector"
        ),
        pytest.param(
            wants(soft(), labels=("bar",)), on("a"), None, [0, 0, 100, 100], id="no self match"
        ),
        pytest.param(
            wants(soft()), on("a", 3, namespace="other"), None, [100] * 4, id="other namespace"
        ),
        pytest.param(wants(spread()), on("a"), None, None, id="DoNotSchedule scores nothing"),
        pytest.param(
            wants(soft(matchLabelKeys=["v"]), labels={"foo": "", "v": "2"}),
            [*on("a"), pod(node="x", labels={"foo": "", "v": "2"})],
            None,
            [100, 100, 0, 0],
            id="matchLabelKeys",
        ),
    ],
)
def test_scores(wanted, pods, only, expected):
    found = scored(wanted, four(), pods, only=only)
    assert (None if found is None else list(found.values())) == expected


def test_nodes_that_lack_a_label_score_nothing_and_are_no_domain():
    nodes = [at("a", "1"), at("b", host=False), at("x", "2"), at("y", host=False)]
    # host names: 2 scored nodes, ln 4 = 1.386: 6, 1
    pods = on("a", 4) + on("b", 2) + on("x")
    assert scored(wants(soft(HOST)), nodes, pods) == {"a": 16, "b": 0, "x": 100, "y": 0}
    assert scored(wants(soft(HOST)), nodes) == {"a": 100, "b": 0, "x": 100, "y": 0}
    assert scored(wants(soft("rack")), nodes) == dict.fromkeys("abxy", 0)
    assert scored(wants(soft("rack", select=BAR)), nodes, pods) == dict.fromkeys("abxy", 0)


def test_policies_leave_pods_out_of_zones_but_not_of_host_names():
    nodes = [at("a", "1", labels=PICKED), at("b", "1"), at("x", "2", labels=PICKED)]
    zone = wants(soft(), nodeSelector=PICKED)
    assert scored(zone, nodes, on("b") + on("x"), only="ax") == {"a": 100, "x": 0}
    loose = wants(soft(nodeAffinityPolicy="Ignore"), nodeSelector=PICKED)
    assert scored(loose, nodes, on("b") + on("x"), only="ax") == {"a": 100, "x": 100}
    tainted = [at("a", "1", taints=HARD), at("x", "2")]
    host = wants(soft(HOST, nodeTaintsPolicy="Honor"))
    assert scored(host, tainted, on("a")) == {"a": 0, "x": 100}
    by_zone = wants(soft(nodeTaintsPolicy="Honor"))
    assert scored(by_zone, tainted, on("a")) == {"a": 100, "x": 100}


def test_system_defaults_score_nodes_without_a_zone():
    """One scored as upstream does: host names decide; the zone-less are one domain."""
    pods = on("a", 4) + on("b", 3) + on("x", 2) + on("y")
    nodes = [at(name) for name in "abxy"]
    found = scored(wants(), nodes, pods, rule=SYSTEM, change=workloads(FOO_SERVICE))
    # ln 6: 9, 7, 6, 4
    assert found == {"a": 44, "b": 66, "x": 77, "y": 100}


def test_system_defaults_with_zones():
    nodes = [at("a", labels={ZONE: "1"}), at("b", labels={ZONE: "1"}), at("x", labels={ZONE: "2"})]
    pods = on("a", 2) + on("x")
    found = scored(wants(), nodes, pods, rule=SYSTEM, change=workloads(FOO_SERVICE))
    # ln 5 = 1.609, ln 4 = 1.386: 2·1.609+2 + 2·1.386+4 = 12, 2 + 6.77 = 9, 3.609 + 5.386 = 9
    assert found == {"a": 75, "b": 100, "x": 100}


def test_nodes_without_a_zone_share_the_domain_of_the_empty_value():
    nodes = [at("a", labels={ZONE: ""}), at("b"), at("x", labels={ZONE: "2"})]
    found = scored(wants(), nodes, on("b", 4), rule=SYSTEM, change=workloads(FOO_SERVICE))
    # ln 5, ln 4: 2 + 4·1.386+4 = 12, 4·1.609+2 = 8 (no zone, no term), 2 + 4 = 6
    assert found == {"a": 50, "b": 83, "x": 100}


@pytest.mark.parametrize(
    "selectors",
    [
        pytest.param((), id="no workloads"),
        pytest.param((from_map({"bar": ""}),), id="none that selects the pod"),
        pytest.param((from_map({}),), id="an empty selector"),
        pytest.param((from_label_selector(None),), id="one that selects nothing"),
    ],
)
def test_without_a_workload_there_are_no_defaults(selectors):
    change = workloads(*selectors)
    assert scored(wants(), four(), on("a"), rule=SYSTEM, change=change) is None


DEFAULTS = PodTopologySpread.from_args(
    {
        "defaultingType": "List",
        "defaultConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            {"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "ScheduleAnyway"},
        ],
    }
)


def test_default_constraints_hold_for_pods_of_workloads():
    change = workloads(FOO_SERVICE)
    assert fits(wants(), four(), on("a"), rule=DEFAULTS, change=change) == "xy"
    assert fits(wants(), four(), on("a"), rule=DEFAULTS) == "abxy"
    found = scored(wants(), four(), on("a"), rule=DEFAULTS, change=change)
    assert found == {"a": 0, "b": 100, "x": 100, "y": 100}


def test_default_selectors_are_merged():
    change = workloads(FOO_SERVICE, from_map({"bar": ""}), from_map({"baz": ""}))
    wanted = wants(labels=("foo", "bar"))
    assert fits(wanted, four(), on("a", 3), rule=DEFAULTS, change=change) == "abxy"
    assert fits(wanted, four(), on("a", 3, "foo", "bar"), rule=DEFAULTS, change=change) == "xy"


def test_a_pods_own_constraints_replace_all_defaults():
    change = workloads(FOO_SERVICE)
    assert fits(wants(soft()), four(), on("a"), rule=DEFAULTS, change=change) == "abxy"
    assert scored(wants(spread()), four(), on("a"), rule=DEFAULTS, change=change) is None


def test_listed_defaults_ignore_nodes_that_lack_a_label():
    nodes = [at("a", "1", host=False), at("x", "2")]
    found = scored(wants(), nodes, rule=DEFAULTS, change=workloads(FOO_SERVICE))
    assert found == {"a": 0, "x": 100}
