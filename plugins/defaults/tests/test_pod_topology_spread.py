"""PodTopologySpread as kube-scheduler has it, and one shot as one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ironfree_defaults.node_resources_fit import NodeResourcesFit
from ironfree_defaults.pod_topology_spread import PodTopologySpread
from msgspec.structs import replace as replaced

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import Change
from scheduler.objects.pod_class import pod_class
from scheduler.objects.selectors import from_label_selector, from_map
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from tests.placement_cases import a_class, cluster, everywhere, node, pod, spec

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
SKEWED = "node(s) didn't match pod topology spread constraints"
UNLABELLED = f"{SKEWED} (missing required label)"
LIST = PodTopologySpread.from_args({"defaultingType": "List"})
SYSTEM = PodTopologySpread.from_args({})
FOO = {"matchLabels": {"foo": ""}}
BAR = {"matchLabels": {"bar": ""}}


def spread(key="zone", skew=1, select=FOO, when="DoNotSchedule", **more):
    """Return a constraint's JSON."""
    found = {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when, **more}
    return found if select is None else {**found, "labelSelector": select}


def soft(key="zone", skew=1, select=FOO, **more):
    return spread(key, skew, select, "ScheduleAnyway", **more)


def wants(*constraints, labels=("foo",), namespace="default", **fields):
    """Return the class of pods with these constraints; labels have the value ""."""
    body = spec(topologySpreadConstraints=list(constraints), **fields)
    marks = labels if isinstance(labels, dict) else dict.fromkeys(labels, "")
    return a_class(json=body, labels=marks, namespace=namespace)


def at(name, zone=None, *, host=True, **more):
    """Return a node in a zone, with its own host name."""
    labels = dict(more.pop("labels", {}))
    if zone is not None:
        labels["zone"] = zone
    if host:
        labels[HOST] = name
    return node(name, labels=labels, **more)


def on(name, count=1, *labels, namespace="default"):
    """Return pods on a node, labelled foo unless told."""
    marks = dict.fromkeys(labels or ("foo",), "")
    return [pod(node=name, labels=marks, namespace=namespace) for _ in range(count)]


def four(zones=("1", "1", "2", "2")):
    """Return the nodes a, b, x, y in their zones."""
    return [at(name, zone) for name, zone in zip("abxy", zones, strict=True)]


def verdict(wanted, nodes, pods=(), rule=LIST, change=None):
    """Return node → reason and whether it is resolvable, "" where the pod may run."""
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    if change is not None:
        snapshot = change(snapshot)
    found = rule.filter(wanted, snapshot)
    answers = {each.name: "" for each in snapshot.nodes}
    if found is None:
        return answers
    for rejection in found.because():
        assert rejection.resolvable == (rejection.reason == SKEWED)
        for row in np.flatnonzero(rejection.nodes).tolist():
            assert not found.room[row]
            assert answers[snapshot.nodes[row].name] == ""
            answers[snapshot.nodes[row].name] = rejection.reason
    assert [not answers[each.name] for each in snapshot.nodes] == found.room.tolist()
    return answers


def fits(wanted, nodes, pods=(), **more):
    """Return the names of the nodes where the pod may run, as text."""
    return "".join(name for name, why in verdict(wanted, nodes, pods, **more).items() if not why)


def scored(wanted, nodes, pods=(), rule=LIST, only=None, change=None):
    """Return node → score over the nodes named; None without an opinion."""
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    if change is not None:
        snapshot = change(snapshot)
    names = [each.name for each in snapshot.nodes if only is None or each.name in only]
    rows = np.array([snapshot.row_of[name] for name in names], dtype=np.int64)
    found = rule.score(wanted, snapshot, rows, everywhere(rows.size))
    if found is None:
        return None
    values = found if isinstance(found, np.ndarray) else found.scores(rows)
    return dict(zip(names, values.tolist(), strict=True))


def workloads(*selectors):
    """Return a change that gives the default namespace these services or controllers."""
    return lambda snapshot: replace(snapshot, workloads={"default": selectors})


@pytest.mark.parametrize(
    ("wanted", "pods", "expected"),
    [
        pytest.param(wants(spread()), [], "abxy", id="no pods yet"),
        pytest.param(wants(spread()), on("a"), "xy", id="the emptier zone"),
        pytest.param(wants(spread()), on("a") + on("x"), "abxy", id="even"),
        pytest.param(wants(spread(skew=2)), on("a"), "abxy", id="skew 2 allows one ahead"),
        pytest.param(wants(spread(skew=2)), on("a", 2), "xy", id="skew 2 is used up"),
        pytest.param(
            wants(spread(skew=1), labels=("bar",)), on("a"), "abxy", id="no self match: 1 - 0 <= 1"
        ),
        pytest.param(
            wants(spread(skew=1), labels=("bar",)), on("a", 2), "xy", id="no self match: 2 - 0 > 1"
        ),
        pytest.param(
            wants(spread(select=None)), on("a", 9), "abxy", id="an absent selector matches nothing"
        ),
        pytest.param(
            wants(spread(select={})), on("a", 9), "abxy", id="an empty selector counts no pod"
        ),
        pytest.param(wants(spread()), on("a", 5, "bar"), "abxy", id="other labels do not count"),
        pytest.param(
            wants(spread()), on("a", namespace="other"), "abxy", id="other namespaces do not count"
        ),
        pytest.param(
            wants(spread(), namespace="other"),
            on("a") + on("x", namespace="other"),
            "ab",
            id="the pod's own namespace counts",
        ),
        pytest.param(wants(spread(HOST)), on("a") + on("b"), "xy", id="by host name"),
        pytest.param(
            wants(spread(HOST, 2)), on("a", 2) + on("b"), "bxy", id="by host name with skew 2"
        ),
        pytest.param(
            wants(spread(), spread(HOST)),
            on("a", 2) + on("b") + on("x", 2) + on("y", 2),
            "b",
            id="zone and host name must both hold",
        ),
        pytest.param(
            wants(spread(), spread(HOST)),
            on("a") + on("x") + on("x"),
            "b",
            id="the zone decides, then the host",
        ),
        pytest.param(
            wants(spread(), spread(HOST)),
            on("a", 2) + on("b", 2) + on("x", 2) + on("y", 3),
            "ab",
            id="only one zone, both hosts",
        ),
        pytest.param(
            wants(spread(select=FOO), spread(select=BAR), labels=("foo", "bar")),
            on("a") + on("x", 1, "bar"),
            "",
            id="one key, two selectors: nowhere",
        ),
        pytest.param(wants(spread(minDomains=2)), on("a") + on("x"), "abxy", id="enough domains"),
        pytest.param(
            wants(spread(minDomains=3)), on("a") + on("x"), "", id="too few domains: floor 0"
        ),
        pytest.param(
            wants(spread(minDomains=3, skew=2)), on("a") + on("x"), "abxy", id="floor 0, skew 2"
        ),
        pytest.param(
            wants(spread(minDomains=5), spread(HOST, 3)), on("a"), "xy", id="floor of one of two"
        ),
        pytest.param(
            wants(spread(matchLabelKeys=["v"]), labels={"foo": "", "v": "2"}),
            on("a"),
            "abxy",
            id="matchLabelKeys leave the old version out",
        ),
        pytest.param(
            wants(spread(matchLabelKeys=["w"]), labels={"foo": "", "v": "2"}),
            on("a"),
            "xy",
            id="matchLabelKeys the pod lacks are ignored",
        ),
        pytest.param(
            wants(spread(select=None, matchLabelKeys=["foo"])),
            on("a"),
            "abxy",
            id="matchLabelKeys of an absent selector match nothing",
        ),
        pytest.param(
            wants(spread(select={}, matchLabelKeys=["foo"])),
            on("a"),
            "xy",
            id="matchLabelKeys make an empty selector count",
        ),
        pytest.param(wants(soft()), on("a", 5), "abxy", id="ScheduleAnyway rejects nothing"),
        pytest.param(
            wants(spread(select={"matchExpressions": [{"key": "foo", "operator": "Exists"}]})),
            on("a"),
            "xy",
            id="expressions",
        ),
    ],
)
def test_where_a_pod_may_run(wanted, pods, expected):
    assert fits(wanted, four(), pods) == expected


PICKED = {"pick": "yes"}
HARD = [("k", "NoSchedule", "")]


@pytest.mark.parametrize(
    ("policies", "third", "more", "expected"),
    [
        pytest.param({}, {}, {}, "axz", id="affinity is honoured by default"),
        pytest.param({"nodeAffinityPolicy": "Honor"}, {}, {}, "axz", id="affinity honoured"),
        pytest.param({"nodeAffinityPolicy": "Ignore"}, {}, {}, "z", id="affinity ignored"),
        pytest.param(
            {}, {"labels": PICKED, "taints": HARD}, {}, "z", id="taints are ignored by default"
        ),
        pytest.param(
            {"nodeTaintsPolicy": "Honor"},
            {"labels": PICKED, "taints": HARD},
            {},
            "axz",
            id="taints honoured",
        ),
        pytest.param(
            {"nodeTaintsPolicy": "Honor"},
            {"labels": PICKED, "taints": HARD},
            {"tolerations": [{"key": "k", "operator": "Exists"}]},
            "z",
            id="tolerated",
        ),
        pytest.param(
            {"nodeTaintsPolicy": "Honor"},
            {"labels": PICKED, "taints": [("k", "PreferNoSchedule", "")]},
            {},
            "z",
            id="a soft taint excludes nothing",
        ),
        pytest.param(
            {"nodeTaintsPolicy": "Honor"},
            {"labels": PICKED, "taints": [("k", "NoExecute", "")]},
            {},
            "axz",
            id="NoExecute excludes",
        ),
        pytest.param(
            {"nodeTaintsPolicy": "Honor"},
            {"labels": PICKED, "unschedulable": True},
            {},
            "z",
            id="spec.unschedulable is no taint",
        ),
        pytest.param(
            {"nodeTaintsPolicy": "Honor", "nodeAffinityPolicy": "Ignore"},
            {"taints": HARD},
            {},
            "axz",
            id="one policy is enough to exclude",
        ),
    ],
)
def test_inclusion_policies_say_which_domains_count(policies, third, more, expected):
    """Zones 1 and 2 have a pod each; zone 3, if it is a domain, has none and is the emptiest."""
    nodes = [at("a", "1", labels=PICKED), at("x", "2", labels=PICKED), at("z", "3", **third)]
    wanted = wants(spread(**policies), nodeSelector=PICKED, **more)
    assert fits(wanted, nodes, on("a") + on("x")) == expected


@pytest.mark.parametrize(("policy", "expected"), [("Honor", "abx"), ("Ignore", "x")])
def test_pods_on_excluded_nodes_do_not_count(policy, expected):
    nodes = [at("a", "1", labels=PICKED), at("b", "1"), at("x", "2", labels=PICKED)]
    wanted = wants(spread(nodeAffinityPolicy=policy), nodeSelector=PICKED)
    assert fits(wanted, nodes, on("b", 5)) == expected


def test_required_affinity_terms_are_honoured_too():
    required = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In",
                "values": ["1"]}]}]}  # fmt: skip
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    assert fits(wants(spread(), affinity=affinity), four(), on("a")) == "abxy"


def test_a_node_without_the_label_cannot_be_helped():
    nodes = [at("a", "1"), at("b"), at("x", "2")]
    assert verdict(wants(spread()), nodes, on("a") + on("b", 5)) == {
        "a": SKEWED,
        "b": UNLABELLED,
        "x": "",
    }


def test_the_first_constraint_that_fails_is_named():
    nodes = [at("a", "1"), at("b", "1", host=False), at("x", "2"), at("y", host=False)]
    wanted = wants(spread(), spread(HOST))
    assert verdict(wanted, nodes, on("a")) == {
        "a": SKEWED,
        "b": SKEWED,
        "x": "",
        "y": UNLABELLED,
    }


def test_pods_on_nodes_that_lack_any_of_the_labels_do_not_count():
    nodes = [at("a", "1"), at("b", "1", host=False), at("x", "2")]
    assert fits(wants(spread(), spread(HOST, 9)), nodes, on("b", 5)) == "ax"


def test_a_label_nobody_has_closes_every_node():
    assert set(verdict(wants(spread("rack")), four()).values()) == {UNLABELLED}


def test_an_empty_label_value_is_a_domain():
    nodes = [at("a", ""), at("x", "2")]
    assert fits(wants(spread()), nodes, on("a")) == "x"


def test_pods_that_are_being_deleted_do_not_count():
    state = cluster(*four(), pods=on("a"))
    for each in on("x", 20):
        state.set_pod(each.meta.uid, pod_class(each), "x", leaving=True)
    found = LIST.filter(wants(spread()), state.freeze(1))
    assert found.room.tolist() == [False, False, True, True]


def test_pods_of_other_classes_count_by_their_labels():
    pods = [pod(node="a", labels={"foo": "", f"n{number}": ""}) for number in range(3)]
    assert fits(wants(spread(skew=3)), four(), pods) == "xy"


def test_it_says_nothing_without_constraints():
    snapshot = cluster(*four()).freeze(1)
    assert LIST.filter(a_class(), snapshot) is None
    assert SYSTEM.filter(a_class(), snapshot) is None
    assert LIST.score(a_class(), snapshot, snapshot.all_rows, everywhere(4)) is None
    assert SYSTEM.score(a_class(), snapshot, snapshot.all_rows, everywhere(4)) is None


def test_no_nodes_are_no_problem():
    snapshot = cluster().freeze(1)
    found = LIST.filter(wants(spread()), snapshot)
    assert found.room.size == 0
    nobody = everywhere(0)
    assert LIST.score(wants(soft()), snapshot, nobody, nobody).scores(nobody).size == 0


def test_only_what_can_help_wakes():
    assert Change.NODE_RESOURCES not in LIST.wakes_on
    assert Change.NAMESPACE not in LIST.wakes_on
    for change in ("NODE_ADDED", "NODE_LABELS", "NODE_TAINTS", "POD_PLACED", "POD_REMOVED"):
        assert Change[change] in LIST.wakes_on
    assert Change.POD_LABELS in LIST.wakes_on


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
        pytest.param(wants(soft(select={})), on("a", 3), None, [100] * 4, id="empty selector"),
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


FOO_SERVICE = from_map({"foo": ""})


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


def constraint(**fields):
    return {"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "ScheduleAnyway"} | fields


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"defaultingType": "Some"}, "defaultingType: Unsupported value"),
        ({"defaultConstraints": [constraint()]}, "defaultingType: Invalid value"),
        ({"defaultConstraints": "all"}, "defaultConstraints must be a list"),
        ({"constraints": []}, "no argument 'constraints'"),
        ([constraint(maxSkew=0)], r"defaultConstraints\[0\].maxSkew: Invalid value: 0"),
        ([constraint(maxSkew=-1)], "maxSkew: Invalid value: -1"),
        ([constraint(maxSkew="1")], r"\[0\]: Expected `int`"),
        ([constraint(topologyKey="")], "topologyKey: Required value"),
        ([constraint(topologyKey="a b")], "topologyKey: Invalid value"),
        ([constraint(whenUnsatisfiable="Never")], "whenUnsatisfiable: Unsupported value"),
        ([{"maxSkew": 1, "topologyKey": "k"}], "whenUnsatisfiable: Required value"),
        ([constraint(labelSelector={})], "labelSelector: Forbidden"),
        ([constraint(), constraint(maxSkew=2)], r"\[1\].*Duplicate value"),
        (["zone"], "Expected `object`"),
    ],
)
def test_wrong_arguments_are_refused(args, said):
    if isinstance(args, list):
        args = {"defaultingType": "List", "defaultConstraints": args}
    with pytest.raises(ConfigurationError, match=said):
        PodTopologySpread.from_args(args)


def test_one_key_may_have_both_actions():
    given = [constraint(), constraint(whenUnsatisfiable="DoNotSchedule")]
    args = {"defaultingType": "List", "defaultConstraints": given}
    assert len(PodTopologySpread.from_args(args).defaults) == 2


# A reference that looks at one node after the other, and one shot against one by one.


def counted(found, name, wanted, each):
    """Count the pods on a node that a constraint's JSON counts."""
    select = each.get("labelSelector")
    if not select or not select["matchLabels"]:
        return 0
    return sum(
        other.meta.namespace == wanted.namespace
        and all(other.meta.labels.get(k) == v for k, v in select["matchLabels"].items())
        for other in found
        if other.node == name
    )


def includes(each, wanted, facts):
    if each.get("nodeAffinityPolicy", "Honor") == "Honor":
        chosen = wanted.spec.node_selector
        if any(facts.meta.labels.get(k) != v for k, v in chosen.items()):
            return False
    return each.get("nodeTaintsPolicy", "Ignore") == "Ignore" or not facts.spec.taints


def naive_filter(wanted, constraints, nodes, pods):
    """Return which nodes pass, node by node."""
    keys = [each["topologyKey"] for each in constraints]
    full = [n for n in nodes if all(key in n.meta.labels for key in keys)]
    passes = []
    for candidate in nodes:
        good = True
        for each in constraints:
            key = each["topologyKey"]
            domains = {}
            for other in full:
                if includes(each, wanted, other):
                    value = other.meta.labels[key]
                    here = counted(pods, other.meta.name, wanted, each)
                    domains[value] = domains.get(value, 0) + here
            select = each.get("labelSelector")
            itself = select is not None and all(k in wanted.labels for k in select["matchLabels"])
            least = min(domains.values(), default=0)
            if len(domains) < each.get("minDomains", 1):
                least = 0
            value = candidate.meta.labels.get(key)
            skew = domains.get(value, 0) + itself - least
            good &= value is not None and skew <= each["maxSkew"]
        passes.append(good)
    return passes


def naive_scores(wanted, constraints, nodes, pods, candidates):
    """Return the candidates' scores, node by node."""
    keys = [each["topologyKey"] for each in constraints]
    full = [n for n in nodes if all(key in n.meta.labels for key in keys)]
    living = [n for n in candidates if n in full]
    raw = {}
    for candidate in living:
        total = 0.0
        for each in constraints:
            key = each["topologyKey"]
            value = candidate.meta.labels[key]
            if key == HOST:
                count = counted(pods, candidate.meta.name, wanted, each)
                size = len(living)
            else:
                count = sum(
                    counted(pods, other.meta.name, wanted, each)
                    for other in full
                    if other.meta.labels[key] == value and includes(each, wanted, other)
                )
                size = len({other.meta.labels[key] for other in living})
            total += count * math.log(size + 2) + (each["maxSkew"] - 1)
        raw[candidate.meta.name] = math.floor(total + 0.5)
    if not raw:
        return [0] * len(candidates)
    most, least = max(raw.values()), min(raw.values())
    return [
        0
        if n.meta.name not in raw
        else 100
        if most == 0
        else 100 * (most + least - raw[n.meta.name]) // most
        for n in candidates
    ]


@st.composite
def cases(draw, whens=("DoNotSchedule", "ScheduleAnyway")):
    """Return nodes, pods, a class and its constraints' JSON."""
    nodes = []
    for number in range(draw(st.integers(1, 7))):
        labels = {"pick": draw(st.sampled_from(["yes", "yes", "no"]))}
        if draw(st.integers(0, 5)):
            labels["zone"] = draw(st.sampled_from(["1", "2", "3", ""]))
        if draw(st.integers(0, 5)):
            labels[HOST] = f"n{number}" if draw(st.integers(0, 5)) else "shared"
        taints = draw(st.sampled_from([[], [], HARD]))
        slots = draw(st.sampled_from(["2", "5", "110"]))
        nodes.append(node(f"n{number}", labels=labels, taints=taints, pods=slots))
    pods = [
        pod(
            node=f"n{draw(st.integers(0, len(nodes) - 1))}",
            labels=draw(st.sampled_from([{"foo": ""}, {"bar": ""}, {"foo": "", "bar": ""}])),
            namespace=draw(st.sampled_from(["default", "default", "other"])),
        )
        for _ in range(draw(st.integers(0, 8)))
    ]
    constraints = []
    for _ in range(draw(st.integers(1, 3))):
        more = {}
        if draw(st.integers(0, 2)) == 0:
            more["nodeAffinityPolicy"] = "Ignore"
        if draw(st.integers(0, 2)) == 0:
            more["nodeTaintsPolicy"] = "Honor"
        when = draw(st.sampled_from(whens))
        if when == "DoNotSchedule" and draw(st.integers(0, 3)) == 0:
            more["minDomains"] = draw(st.integers(1, 4))
        select = draw(st.sampled_from([FOO, FOO, BAR, {"matchLabels": {}}, None]))
        skew = draw(st.integers(1, 3))
        constraints.append(
            spread(draw(st.sampled_from(["zone", HOST])), skew, select, when, **more)
        )
    fields = {"nodeSelector": PICKED} if draw(st.booleans()) else {}
    labels = draw(st.sampled_from([("foo",), ("bar",), ("foo", "bar")]))
    return nodes, pods, wants(*constraints, labels=labels, **fields), constraints


@settings(max_examples=200, deadline=None)
@given(cases())
def test_columns_say_what_looking_at_every_node_says(case):
    nodes, pods, wanted, constraints = case
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    hard = [each for each in constraints if each["whenUnsatisfiable"] == "DoNotSchedule"]
    easy = [each for each in constraints if each["whenUnsatisfiable"] == "ScheduleAnyway"]
    found = LIST.filter(wanted, snapshot)
    if hard:
        assert found.room.tolist() == naive_filter(wanted, hard, nodes, pods)
        if found.coupling is not None:
            assert found.coupling.room().tolist() == found.room.tolist()
        verdict(wanted, nodes, pods)
    else:
        assert found is None
    candidates = nodes[:: 2 if len(pods) % 2 else 1]
    only = {n.meta.name for n in candidates}
    answer = scored(wanted, nodes, pods, only=only)
    if easy:
        expected = naive_scores(wanted, easy, nodes, pods, candidates)
        assert list(answer.values()) == expected
    else:
        assert answer is None


def test_many_nodes_and_many_pods_are_counted_alike():
    nodes = [at(f"n{n}", str(n % 3), labels=PICKED if n % 5 else {}) for n in range(60)]
    pods = [each for n in range(60) for each in on(f"n{n}", n % 4)]
    hard, easy = [spread(skew=2), spread(HOST, 2)], [soft(), soft(HOST, 2)]
    wanted = wants(*hard, *easy, nodeSelector=PICKED)
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    assert LIST.filter(wanted, snapshot).room.tolist() == naive_filter(wanted, hard, nodes, pods)
    found = list(scored(wanted, nodes, pods).values())
    assert found == naive_scores(wanted, easy, nodes, pods, nodes)
    state = cluster(*nodes, pods=pods)
    for each in (each for n in range(60) for each in on(f"n{n}", 1 + n % 2)):
        state.set_pod(each.meta.uid, pod_class(each), each.node, leaving=True)
    assert LIST.filter(wanted, state.freeze(1)).room.tolist() == naive_filter(
        wanted, hard, nodes, pods
    )


def test_a_copy_on_a_node_not_asked_about_counts_in_its_zone_alone():
    draft = Draft(cluster(*four()).freeze(1))
    wanted, rows = wants(soft(), soft(HOST)), np.array([0, 2, 3])
    graded = LIST.score(wanted, draft.snapshot, rows, everywhere(3))
    graded.scores(rows)
    graded.put(1)
    draft.add(wanted, np.array([1]))
    fresh = LIST.score(wanted, draft.snapshot, rows, everywhere(3))
    assert graded.scores(rows).tolist() == fresh.scores(rows).tolist() == [0, 100, 100]


@settings(max_examples=150, deadline=None)
@given(cases(), st.lists(st.integers(0, 6), max_size=10))
def test_a_coupling_says_what_a_fresh_call_says(case, puts):
    nodes, pods, wanted, _ = case
    draft = Draft(cluster(*nodes, pods=pods).freeze(1))
    found = LIST.filter(wanted, draft.snapshot)
    rows = draft.snapshot.all_rows
    graded = LIST.score(wanted, draft.snapshot, rows, everywhere(rows.size))
    for put in puts:
        row = put % len(nodes)
        draft.add(wanted, np.array([row]))
        fresh = LIST.filter(wanted, draft.snapshot)
        if found is not None and found.coupling is not None:
            found.coupling.put(row)
            assert found.coupling.room().tolist() == fresh.room.tolist()
        elif found is not None:
            assert found.room.tolist() == fresh.room.tolist()
        again = LIST.score(wanted, draft.snapshot, rows, everywhere(rows.size))
        if isinstance(graded, np.ndarray):
            assert graded.tolist() == again.tolist()
        elif graded is not None:
            graded.put(row)
            some = rows[rows != put // 2] if put % 3 == 0 else rows
            assert graded.scores(some).tolist() == again.scores(some).tolist()


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 25), st.booleans())
def test_one_shot_is_one_by_one(case, count, with_fit):
    nodes, pods, wanted, _ = case
    framework = FRAMEWORKS[with_fit]
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    together = framework.decide(wanted, count, Draft(snapshot)).rows.tolist()
    alone, draft = [], Draft(snapshot)
    for _ in range(count):
        alone += framework.decide(wanted, 1, draft).rows.tolist()
    assert together == alone


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(1, 12))
def test_defaults_in_one_shot_are_one_by_one(case, count):
    nodes, pods, _, _ = case
    framework = FRAMEWORKS["system"]
    snapshot = workloads(FOO_SERVICE)(cluster(*nodes, pods=pods).freeze(1))
    together = framework.decide(wants(), count, Draft(snapshot)).rows.tolist()
    alone, draft = [], Draft(snapshot)
    for _ in range(count):
        alone += framework.decide(wants(), 1, draft).rows.tolist()
    assert together == alone


LOOSE = PodTopologySpread(
    tuple(
        replaced(each, topology_key={HOST: HOST, ZONE: "zone"}[each.topology_key])
        for each in SYSTEM.defaults
    )
)
FRAMEWORKS = {
    True: Framework([NodeResourcesFit(), LIST], [NodeResourcesFit(), LIST]),
    False: Framework([NodeResourcesFit(), LIST], [LIST]),
    "system": Framework([NodeResourcesFit(), LOOSE], [NodeResourcesFit(), LOOSE]),
}
