"""NodePorts and NodeName as kube-scheduler has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ironfree_defaults.node_name import NodeName
from ironfree_defaults.node_ports import NodePorts

from tests.placement_cases import a_class, cluster, decide, default_framework, node, pod, refused

RULE = NodePorts()
TAKEN = (["node(s) didn't have free ports for the requested pod ports"], True)


def port(number, ip="", protocol=""):
    found = {"containerPort": 1, "hostPort": number, "hostIP": ip, "protocol": protocol}
    return {key: value for key, value in found.items() if value != ""}


def serving(*ports, init=(), sidecars=()):
    """Return the spec of a pod with these host ports."""
    return {
        "containers": [{"name": f"c{n}", "ports": [each]} for n, each in enumerate(ports)],
        "initContainers": [
            *({"name": f"i{n}", "ports": [each]} for n, each in enumerate(init)),
            *(
                {"name": f"s{n}", "ports": [each], "restartPolicy": "Always"}
                for n, each in enumerate(sidecars)
            ),
        ],
    }


def free(wanted, *bound):
    pods = [pod(node="n", json=each) for each in bound]
    found = refused(RULE, a_class(json=wanted), node("n"), pods=pods)
    assert found in ({}, {"n": TAKEN})
    return not found


LOCAL = "127.0.0.1"
OTHER = "192.168.1.1"
CASES = [
    (serving(), [], True),
    (serving(), [serving(port(8080))], True),
    (serving(port(8080)), [], True),
    (serving(port(8080)), [serving()], True),
    (serving(port(8080)), [serving(port(8080))], False),
    (serving(port(8080)), [serving(port(8081))], True),
    (serving({"containerPort": 8080}), [serving({"containerPort": 8080})], True),
    (serving(port(0)), [serving(port(0))], True),
    # protocols are apart; none is TCP
    (serving(port(8080, protocol="UDP")), [serving(port(8080))], True),
    (serving(port(8080, protocol="SCTP")), [serving(port(8080, protocol="UDP"))], True),
    (serving(port(8080, protocol="TCP")), [serving(port(8080))], False),
    (serving(port(8080, protocol="SCTP")), [serving(port(8080, protocol="SCTP"))], False),
    # addresses are apart; none, and 0.0.0.0, is every address
    (serving(port(80, LOCAL)), [serving(port(80, OTHER))], True),
    (serving(port(80, LOCAL)), [serving(port(80, LOCAL))], False),
    (serving(port(80, LOCAL)), [serving(port(80))], False),
    (serving(port(80)), [serving(port(80, LOCAL))], False),
    (serving(port(80, "0.0.0.0")), [serving(port(80, LOCAL))], False),
    (serving(port(80, LOCAL)), [serving(port(80, "0.0.0.0"))], False),
    (serving(port(80, LOCAL, "UDP")), [serving(port(80, "", "TCP"))], True),
    (serving(port(80, "::")), [serving(port(80, "::1"))], True),
    # one port of several, of several pods
    (serving(port(81), port(80)), [serving(port(80), port(82))], False),
    (serving(port(81), port(83)), [serving(port(80)), serving(port(82))], True),
    (serving(port(82)), [serving(port(80)), serving(port(82))], False),
    (serving(port(80), port(80)), [], True),
    # sidecars keep their ports, init containers give them back before anybody runs
    (serving(sidecars=[port(80)]), [serving(port(80))], False),
    (serving(port(80)), [serving(sidecars=[port(80)])], False),
    (serving(init=[port(80)]), [serving(port(80))], True),
    (serving(port(80)), [serving(init=[port(80)])], True),
]


@pytest.mark.parametrize(("wanted", "bound", "fits"), CASES)
def test_host_ports(wanted, bound, fits):
    assert free(wanted, *bound) is fits


def test_copies_go_to_different_nodes():
    state = cluster(node("a"), node("b"), pods=[pod(node="b", json=serving(port(81)))])
    framework = default_framework()
    names, _ = decide(state, a_class(json=serving(port(80))), 3, framework=framework)
    assert sorted(names) == ["a", "b"]
    names, _ = decide(state, a_class(json=serving(port(81, LOCAL))), 3, framework=framework)
    assert names == ["a"]


PORTS = st.lists(
    st.builds(
        port,
        st.sampled_from([0, 80, 81]),
        st.sampled_from(["", LOCAL, OTHER]),
        st.sampled_from(["", "TCP", "UDP"]),
    ),
    max_size=2,
)


@given(PORTS, st.lists(PORTS, max_size=3))
def test_equals_a_port_by_port_reference(wanted, bound):
    def clash(one, two):
        return (
            one.get("hostPort") == two.get("hostPort") != 0
            and one.get("protocol", "TCP") == two.get("protocol", "TCP")
            and ("hostIP" not in one or "hostIP" not in two or one["hostIP"] == two["hostIP"])
        )

    expected = not any(clash(one, two) for one in wanted for pod in bound for two in pod)
    assert free(serving(*wanted), *[serving(*each) for each in bound]) is expected


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [("", {"foo", "bar"}), ("foo", {"foo"}), ("Foo", set()), ("gone", set())],
)
def test_node_name(wanted, nodes):
    found = refused(NodeName(), a_class(nodeName=wanted), node("foo"), node("bar"))
    assert {"foo", "bar"} - found.keys() == nodes
    for reason in found.values():
        assert reason == (["node(s) didn't match the requested node name"], False)


@pytest.mark.parametrize(
    ("taken", "wanted", "fits"),
    [
        ("TCP/80", port(80), False),
        ("TCP/80", port(81), True),
        ("TCP/80", port(80, protocol="UDP"), True),
        ("TCP/80@127.0.0.1", port(80), False),
        ("TCP/80@127.0.0.1", port(80, "127.0.0.2"), True),
        ("UDP/1000-2000", port(1500, protocol="UDP"), False),
    ],
)
def test_a_port_that_a_foreign_container_has_is_taken(taken, wanted, fits):
    shared = node("n", annotations={"ironfree.dev/foreign-ports": taken})
    found = refused(RULE, a_class(json=serving(wanted)), shared, node("other"))
    assert found == ({} if fits else {"n": TAKEN})


def test_a_foreign_containers_port_is_free_when_it_has_gone():
    wanted = a_class(json=serving(port(80)))
    state = cluster(node("n", annotations={"ironfree.dev/foreign-ports": "TCP/80"}), node("m"))
    state.remove_nodes(["m"])
    assert state.freeze(1).port_conflicts(wanted.host_ports).tolist() == [True]
    state.set_node(node("n"))
    assert state.freeze(2).port_conflicts(wanted.host_ports).tolist() == [False]
