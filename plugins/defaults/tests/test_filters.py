"""Every default filter against the Kubernetes rule it is named after."""

import pytest

from tests.placement_cases import a_class, cluster, decide, node, pod


def places(wanted, *nodes, pods=(), count=1):
    return decide(cluster(*nodes, pods=pods), wanted, count)


def message(wanted, *nodes, pods=()):
    _, decision = places(wanted, *nodes, pods=pods)
    return decision.diagnosis.message if decision.diagnosis else None


def test_requests_fit_exactly_or_not_at_all():
    assert places(a_class(cpu="4"), node("n"))[0] == ["n"]
    assert message(a_class(cpu="4001m"), node("n")) == (
        "0/1 nodes are available: 1 Insufficient cpu."
    )


def test_every_short_resource_is_named():
    wanted = a_class(cpu="5", memory="9Gi", requests={"example.com/gpu": "1"})
    assert message(wanted, node("n"), node("gpu", example_com="0", **{"example.com/gpu": "2"})) == (
        "0/2 nodes are available: 1 Insufficient example.com/gpu, 2 Insufficient cpu, "
        "2 Insufficient memory."
    )


def test_bound_pods_take_room():
    bound = [pod(node="n", cpu="3")]
    assert message(a_class(cpu="2"), node("n"), pods=bound) is not None
    assert places(a_class(cpu="1"), node("n"), pods=bound)[0] == ["n"]


def test_the_number_of_pods_is_bounded():
    bound = [pod(node="n"), pod(node="n")]
    assert message(a_class(), node("n", pods="2"), pods=bound) == (
        "0/1 nodes are available: 1 Too many pods."
    )


def test_a_pod_that_asks_for_nothing_fits_an_overcommitted_node():
    bound = [pod(node="n", cpu="9")]
    assert places(a_class(), node("n"), pods=bound)[0] == ["n"]
    assert places(a_class(cpu="0", memory="1Gi"), node("n"), pods=bound)[0] == ["n"]


def test_a_resource_nobody_offers_is_insufficient_everywhere():
    assert message(a_class(requests={"example.com/fpga": "1"}), node("n")) == (
        "0/1 nodes are available: 1 Insufficient example.com/fpga."
    )


def test_node_name():
    nodes = node("a"), node("b")
    assert places(a_class(nodeName="b"), *nodes)[0] == ["b"]
    assert message(a_class(nodeName="gone"), *nodes) == (
        "0/2 nodes are available: 2 node(s) didn't match the requested node name."
    )


def test_cordoned_nodes():
    cordoned = node("n", unschedulable=True)
    assert message(a_class(), cordoned) == (
        "0/1 nodes are available: 1 node(s) were unschedulable."
    )
    tolerant = [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]
    assert places(a_class(tolerations=tolerant), cordoned)[0] == ["n"]


TAINT = ("gpu", "NoSchedule", "true")


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"}, True),
        ({"key": "gpu", "value": "true"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "value": "false"}, False),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "cpu", "operator": "Exists"}, False),
        ({"operator": "Equal", "value": "true"}, True),
    ],
)
def test_taints(toleration, tolerated):
    tainted = node("n", taints=[TAINT])
    expected = None
    if not tolerated:
        expected = "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    assert message(a_class(tolerations=[toleration]), tainted) == expected


def test_a_node_counts_once_by_its_first_reason():
    nodes = [node("a", taints=[TAINT], cpu="1"), node("b", cpu="1")]
    assert message(a_class(cpu="2"), *nodes) == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
    )


def test_prefer_no_schedule_does_not_forbid():
    assert places(a_class(), node("n", taints=[("k", "PreferNoSchedule", "")]))[0] == ["n"]


LABELLED = {
    "east": {"zone": "east", "cores": "8"},
    "west": {"zone": "west", "cores": "16"},
    "bare": {},
}


def matching(**fields):
    """Return the names of the labelled nodes that admit such a pod."""
    wanted = a_class(**fields)
    nodes = [node(name, labels=labels) for name, labels in LABELLED.items()]
    return {each.meta.name for each in nodes if places(wanted, each)[0]}


def required(*terms):
    selector = {"nodeSelectorTerms": list(terms)}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}
    }


def expression(key, operator, *values):
    return {"key": key, "operator": operator, "values": list(values)}


def test_node_selector():
    assert matching(nodeSelector={"zone": "east"}) == {"east"}
    assert matching(nodeSelector={"zone": "east", "cores": "16"}) == set()


@pytest.mark.parametrize(
    ("requirement", "nodes"),
    [
        (expression("zone", "In", "east", "north"), {"east"}),
        (expression("zone", "In", "east", "west"), {"east", "west"}),
        (expression("zone", "NotIn", "east"), {"west", "bare"}),
        (expression("zone", "Exists"), {"east", "west"}),
        (expression("zone", "DoesNotExist"), {"bare"}),
        (expression("cores", "Gt", "8"), {"west"}),
        (expression("cores", "Lt", "9"), {"east"}),
        (expression("zone", "Gt", "1"), set()),
        (expression("cores", "Gt", "many"), set()),
        (expression("cores", "Near", "8"), set()),
    ],
)
def test_required_expressions(requirement, nodes):
    assert matching(**required({"matchExpressions": [requirement]})) == nodes


def test_terms_are_alternatives_and_expressions_conditions():
    east = {"matchExpressions": [expression("zone", "In", "east")]}
    west = {"matchExpressions": [expression("zone", "In", "west")]}
    assert matching(**required(east, west)) == {"east", "west"}
    both = {"matchExpressions": [*east["matchExpressions"], *west["matchExpressions"]]}
    assert matching(**required(both)) == set()


def test_an_empty_term_and_no_terms_match_nothing():
    assert matching(**required({})) == set()
    assert matching(**required()) == set()


def test_fields_match_the_name():
    wanted = {"matchFields": [expression("metadata.name", "In", "west")]}
    other = {"matchFields": [expression("metadata.name", "NotIn", "west")]}
    assert matching(**required(wanted)) == {"west"}
    assert matching(**required(other)) == {"east", "bare"}


def test_selector_mismatch_reads_as_upstream():
    assert message(a_class(nodeSelector={"a": "b"}), node("n")) == (
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    )


def port(number, ip="", protocol="TCP"):
    return {
        "containers": [
            {
                "name": "c",
                "ports": [
                    {
                        "containerPort": 1,
                        "hostPort": number,
                        "hostIP": ip,
                        "protocol": protocol,
                    }
                ],
            }
        ]
    }


@pytest.mark.parametrize(
    ("taken", "wanted", "conflict"),
    [
        (port(80), port(80), True),
        (port(80), port(81), False),
        (port(80), port(80, protocol="UDP"), False),
        (port(80, "10.0.0.1"), port(80, "10.0.0.2"), False),
        (port(80, "10.0.0.1"), port(80), True),
        (port(80), port(80, "10.0.0.1"), True),
        (port(80, "10.0.0.1"), port(80, "10.0.0.1"), True),
    ],
)
def test_host_ports(taken, wanted, conflict):
    text = "node(s) didn't have free ports for the requested pod ports"
    expected = f"0/1 nodes are available: 1 {text}." if conflict else None
    bound = [pod(node="n", json=taken)]
    assert message(a_class(json=wanted), node("n"), pods=bound) == expected


def test_copies_with_a_host_port_go_to_different_nodes():
    names, _ = places(a_class(port=80), node("a"), node("b"), count=3)
    assert sorted(names) == ["a", "b"]


def test_without_nodes():
    assert message(a_class()) == "no nodes available to schedule pods"
