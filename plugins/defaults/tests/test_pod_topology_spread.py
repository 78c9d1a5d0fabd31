"""Where PodTopologySpread lets a pod run, as kube-scheduler has it."""

import pytest
from ironfree_defaults.pod_topology_spread import PodTopologySpread

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import Change
from scheduler.objects.pod_class import pod_class
from tests.placement_cases import a_class, cluster, everywhere, pod
from tests.spread_cases import (
    BAR,
    FOO,
    HARD,
    HOST,
    LIST,
    PICKED,
    SKEWED,
    SYSTEM,
    UNLABELLED,
    at,
    fits,
    four,
    on,
    soft,
    spread,
    verdict,
    wants,
)


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
            wants(spread(select={})), on("a", 1, "bar"), "xy", id="an empty selector counts all"
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
            id="matchLabelKeys are all of an empty selector",
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
        (
            [constraint(), constraint(maxSkew=2)],
            r'\[1\]: Duplicate value: "\{k, ScheduleAnyway\}"',
        ),
        (
            [constraint(maxSkew=0, topologyKey="", labelSelector={})],
            r"^\[.*maxSkew: .*, .*topologyKey: .*, .*labelSelector: .*\]$",
        ),
        ({"defaultConstraints": [constraint(maxSkew=0)]}, r"^\[.*defaultingType: .*maxSkew: "),
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
