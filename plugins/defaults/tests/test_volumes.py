"""VolumeBinding, VolumeRestrictions and VolumeZone as kube-scheduler has them."""

from datetime import UTC, datetime

import pytest
from ironfree_defaults.volume_binding import VolumeBinding
from ironfree_defaults.volume_restrictions import VolumeRestrictions
from ironfree_defaults.volume_zone import VolumeZone

from scheduler.objects.storage import CLAIMS
from scheduler.placement.draft import Draft
from tests.placement_cases import a_class, cluster, decide, default_framework, node, pod
from tests.storage_cases import CLASSES_THERE, claim, mounting, stored, volume

NODES = tuple(node(n, labels={"kubernetes.io/hostname": n}) for n in ("a", "b", "c"))
ELSEWHERE = "node(s) didn't match PersistentVolume's node affinity"
GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
NONE_FREE = "node(s) didn't find available persistent volumes to bind"
IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"


def state(*objects, pods=(), nodes=NODES):
    found = cluster(*nodes, pods=pods)
    found.storage.begin()
    for each in (*CLASSES_THERE, *objects):
        found.storage.set(each.key, each)
    return found


def room(rule, found, *claims):
    """Return where the rule lets a pod run, and its reasons elsewhere."""
    snapshot = found.freeze(1)
    verdict = rule.filter(a_class(**mounting(*claims)), snapshot)
    if verdict is None:
        return {n.name for n in snapshot.nodes}, set()
    names = {n.name for n, free in zip(snapshot.nodes, verdict.room, strict=True) if free}
    if isinstance(verdict.because, str):
        return names, {verdict.because} if len(names) < snapshot.size else set()
    return names, {each.reason for each in verdict.because() if each.nodes.any()}


ALL = {"a", "b", "c"}


@pytest.mark.parametrize(
    ("objects", "where", "why"),
    [
        ((), set(), {'persistentvolumeclaim "x" not found'}),
        ((claim("x", "v", kind="now"), volume("v", "b")), {"b"}, {ELSEWHERE}),
        ((claim("x", "v"), volume("v")), ALL, set()),
        ((claim("x", "v"),), set(), {GONE}),
        (
            (claim("x", "v", "Lost"),),
            set(),
            {'persistentvolumeclaim "x" bound to non-existent persistentvolume "v"'},
        ),
        ((claim("x", kind="now"), volume("v", kind="now")), set(), {IMMEDIATE}),
        ((claim("x", kind=""),), set(), {IMMEDIATE}),
        ((claim("x", kind="unknown"),), set(), {IMMEDIATE}),
        ((claim("x"),), set(), {NONE_FREE}),
        ((claim("x"), volume("v", "b", "c")), {"b", "c"}, {NONE_FREE}),
        ((claim("x"), volume("v", "b", size="1Mi")), set(), {NONE_FREE}),
        ((claim("x"), volume("v", "b", claimRef={"name": "y"})), set(), {NONE_FREE}),
        (
            (claim("x"), volume("v", "b", claimRef={"name": "x", "namespace": "default"})),
            {"b"},
            {NONE_FREE},
        ),
        ((claim("x", kind="make"),), ALL, set()),
        ((claim("x", kind="other"),), set(), {NONE_FREE}),
    ],
)
def test_a_claim_decides_where_its_pods_may_run(objects, where, why):
    assert room(VolumeBinding(), state(*objects), "x") == (where, why)


def test_all_claims_of_a_pod_count():
    mine = volume("v", "a", "b", claimRef={"name": "x", "namespace": "default", "uid": "uid-x"})
    objects = (claim("x", "v"), mine, claim("y"), volume("w", "b", "c"))
    assert room(VolumeBinding(), state(*objects), "x", "y") == ({"b"}, {ELSEWHERE, NONE_FREE})


def test_a_deleted_claim_is_for_nobody():
    body, status = {"spec": {"volumeName": "v"}}, {"phase": "Bound"}
    then = datetime(2026, 1, 1, tzinfo=UTC)
    leaving = stored(CLAIMS, "x", body, status, "default", deletion_timestamp=then)
    assert room(VolumeBinding(), state(leaving, volume("v")), "x") == (
        set(),
        {'persistentvolumeclaim "x" is being deleted'},
    )


def test_pods_that_have_a_node_but_no_volume_yet_take_theirs_first():
    objects = (claim("x"), claim("y"), volume("v", "a"), volume("w", "b"))
    other = pod("p", node="a", **mounting("y"))
    assert room(VolumeBinding(), state(*objects, pods=[other]), "x") == ({"b"}, {NONE_FREE})
    assert room(VolumeBinding(), state(*objects, pods=[other]), "y") == ({"a"}, {NONE_FREE})


def test_copies_that_share_a_claim_without_a_volume_go_to_one_node():
    chosen, decision = decide(state(claim("x", kind="make")), a_class(**mounting("x")), 5)
    assert len(chosen) == 5
    assert len(set(chosen)) == 1
    assert decision.diagnosis is None


def test_two_classes_in_one_batch_do_not_count_on_one_volume():
    found = state(claim("x"), claim("y"), volume("v", "a"))
    draft, framework = Draft(found.freeze(1)), default_framework()
    first = framework.decide(a_class(**mounting("x")), 1, draft)
    second = framework.decide(a_class(**mounting("y")), 1, draft)
    assert first.rows.size == 1
    assert second.rows.size == 0
    assert NONE_FREE in second.diagnosis.message


def test_a_claim_for_one_pod_is_not_given_to_two():
    alone = claim("x", "v", modes=("ReadWriteOncePod",))
    found = state(alone, volume("v"))
    assert room(VolumeRestrictions(), found, "x") == (ALL, set())
    chosen, decision = decide(found, a_class(**mounting("x")), 2)
    assert len(chosen) == 1
    assert "ReadWriteOncePod access mode" in decision.diagnosis.message
    taken = state(alone, volume("v"), pods=[pod("p", node="a", **mounting("x"))])
    assert room(VolumeRestrictions(), taken, "x")[0] == set()
    shared = state(claim("x", "v"), volume("v"), pods=[pod("p", node="a", **mounting("x"))])
    assert room(VolumeRestrictions(), shared, "x") == (ALL, set())


ZONE = "topology.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"
OLD = "failure-domain.beta.kubernetes.io/zone"


@pytest.mark.parametrize(
    ("labels", "where"),
    [
        ({}, {"n", "m", "o", "p"}),
        ({ZONE: "1"}, {"n", "o"}),
        ({OLD: "1"}, {"n", "o"}),
        ({ZONE: "1__2"}, {"n", "m", "o"}),
        ({ZONE: "3"}, {"o"}),
        ({REGION: "1", ZONE: "2"}, {"o"}),
        ({REGION: "1"}, {"o", "p"}),
    ],
)
def test_volumes_with_a_zone_are_mounted_there_and_where_there_are_none(labels, where):
    nodes = (
        node("n", labels={ZONE: "1"}),
        node("m", labels={ZONE: "2"}),
        node("o"),
        node("p", labels={REGION: "1"}),
    )
    found = state(claim("x", "v"), volume("v", labels=labels), nodes=nodes)
    assert room(VolumeZone(), found, "x")[0] == where


def test_a_volume_that_many_nodes_reach_is_not_counted_on_twice():
    objects = (claim("x"), claim("y"), volume("v"), volume("w", "b"))
    other = pod("p", node="a", **mounting("y"))
    assert room(VolumeBinding(), state(*objects, pods=[other]), "x") == ({"b"}, {NONE_FREE})


def test_claims_of_one_pod_do_not_count_on_one_volume():
    objects = (claim("x"), claim("y"), volume("v", "a"), volume("w", "b"), volume("z", "b"))
    assert room(VolumeBinding(), state(*objects), "x", "y") == ({"b"}, {NONE_FREE})


def test_without_word_of_storage_nobody_objects():
    found = cluster(*NODES)
    for rule in (VolumeBinding(), VolumeRestrictions(), VolumeZone()):
        assert rule.filter(a_class(**mounting("x")), found.freeze(1)) is None
