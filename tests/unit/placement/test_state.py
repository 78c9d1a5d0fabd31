"""What a snapshot shows of nodes and pods."""

from scheduler.objects.pod_class import pod_class
from tests.placement_cases import cluster, node, pod


def requested(snapshot, name, resource):
    return int(snapshot.requested[snapshot.resource_row[resource], snapshot.row_of[name]])


def test_pods_of_a_node_that_is_not_known_yet_count_when_it_comes():
    state = cluster(pods=[pod(node="late", cpu="1")])
    state.set_node(node("late"))
    assert requested(state.freeze(1), "late", "cpu") == 1000


def test_pods_of_a_node_that_went_count_when_it_returns():
    bound = [pod("stays", node="n", cpu="1"), pod("goes", node="n", cpu="2")]
    state = cluster(node("n"), node("other"), pods=bound)
    state.remove_nodes(["n"])
    assert [facts.name for facts in state.freeze(1).nodes] == ["other"]
    assert state.remove_pod("uid-goes")
    state.set_node(node("n"))
    assert requested(state.freeze(1), "n", "cpu") == 1000


def test_a_resource_that_appears_later_counts_pods_bound_before():
    state = cluster(node("n"), pods=[pod(node="n", requests={"example.com/gpu": "2"})])
    state.set_node(node("n", **{"example.com/gpu": "4"}))
    assert requested(state.freeze(1), "n", "example.com/gpu") == 2


def test_confirming_an_assumed_pod_counts_it_once():
    each = pod("p", node="n", cpu="1")
    state = cluster(node("n"))
    state.assume(pod_class(each), [("uid-p", "n")])
    assert not state.set_pod("uid-p", pod_class(each), "n")
    assert requested(state.freeze(1), "n", "cpu") == 1000


def test_a_pod_found_on_another_node_than_assumed_moves():
    each = pod("p", node="b", cpu="1")
    state = cluster(node("a"), node("b"))
    state.assume(pod_class(each), [("uid-p", "a")])
    assert state.set_pod("uid-p", pod_class(each), "b")
    snapshot = state.freeze(1)
    assert (requested(snapshot, "a", "cpu"), requested(snapshot, "b", "cpu")) == (0, 1000)


def test_the_same_facts_again_change_nothing():
    state = cluster(node("n", labels={"a": "b"}))
    generation = state.freeze(1).generation
    state.set_node(node("n", labels={"a": "b"}))
    assert state.freeze(2).generation == generation
    state.set_node(node("n", labels={"a": "c"}))
    assert state.freeze(3).generation > generation


def test_a_node_whose_offer_cannot_be_read_offers_nothing():
    snapshot = cluster(node("n", cpu="four")).freeze(1)
    assert not snapshot.allocatable.any()


def test_labels_that_change_for_ever_do_not_pile_up():
    state = cluster(node("n"))
    for number in range(500):
        taint = (f"t{number}", "NoSchedule", "")
        state.set_node(node("n", labels={"seen": str(number)}, taints=[taint]))
    snapshot = state.freeze(1)
    assert len(snapshot.labels["seen"].code_of) < 100
    assert len(snapshot.taint_sets) < 100
    assert snapshot.labels["seen"].is_in(["499"]).all()
    assert snapshot.taint_sets[snapshot.taint_codes[0]][0].key == "t499"


def test_pods_that_go_together_are_counted_no_more_as_if_alone():
    def filled():
        nodes = [node(f"n{i}", cpu="64", pods="1000") for i in range(20)]
        kinds = ({"cpu": "1"}, {"cpu": "2", "port": 80}, {"memory": "1Gi"})
        pods = [
            pod(f"p{i}", node=f"n{i % 20}" if i % 7 else "late", labels={"a": str(i % 2)}, **kind)
            for i, kind in enumerate(kinds * 30)
        ]
        state = cluster(*nodes, pods=pods)
        for each in pods[::5]:
            state.set_pod(each.meta.uid, pod_class(each), each.node, leaving=True)
        return state

    together, alone = filled(), filled()
    gone = [*(f"uid-p{i}" for i in range(90) if i % 3), "uid-of-a-stranger"]
    assert together.remove_pods(gone)
    assert not together.remove_pods(gone)
    assert sum(alone.remove_pod(uid) for uid in gone)
    one, other = together.freeze(1), alone.freeze(1)
    assert (one.requested == other.requested).all()
    assert (one.assumed == other.assumed).all()
    assert (one.placed, one.ports, one.leaving) == (other.placed, other.ports, other.leaving)
    assert int(one.requested.sum()) > 0
    for state in (together, alone):
        state.set_node(node("late", cpu="64"))
    assert requested(together.freeze(2), "late", "cpu") == requested(alone.freeze(2), "late", "cpu")
