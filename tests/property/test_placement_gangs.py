"""Gangs on random clusters: whole or not at all, never too much, and found where they fit."""

import hypothesis.strategies as st
from hypothesis import given, settings

from scheduler.hookspecs import Change
from scheduler.objects.pod_group import RESOURCE
from scheduler.objects.stored import ObjectKey
from scheduler.placement.checker import check
from scheduler.placement.draft import Draft
from scheduler.placement.gang_preemption import Search, clear
from scheduler.placement.gang_search import place_together
from scheduler.placement.gangs import Muster
from scheduler.placement.plan import Allotment, Gang, PendingPod, Plan
from scheduler.placement.tenancy import RunningPod, Tenancy
from tests.placement_cases import a_class, cluster, default_framework, node, pod

FRAMEWORKS = {"default-scheduler": default_framework()}
CPU = [500, 1000, 2000, 3000]


def place(wanted, pending, draft):
    decision = FRAMEWORKS["default-scheduler"].decide(wanted, len(pending), draft)
    names = draft.snapshot.names(decision.rows)
    done = len(names)
    return [Allotment(wanted, pending[:done], names, pending[done:], decision)]


def together(muster, draft):
    return place_together(muster, draft, place, FRAMEWORKS, lambda: 0.0)


def muster_of(gang, classes, wanting):
    """Return a gang of so many pods of each class."""
    pods = {}
    for number, (wanted, count) in enumerate(classes):
        keys = [ObjectKey("pods", "default", f"{gang}-{number}-{i}") for i in range(count)]
        pods.setdefault(wanted, []).extend(PendingPod(key, key.name) for key in keys)
    key = ObjectKey(RESOURCE, "default", gang)
    return Muster(Gang(key, 0, "default-scheduler"), pods, wanting)


@st.composite
def gangs(draw, name):
    fields = st.fixed_dictionaries(
        {"cpu": st.sampled_from([f"{cpu}m" for cpu in CPU])},
        optional={
            "port": st.just(80),
            "nodeSelector": st.sampled_from([{"zone": "a"}, {"zone": "b"}]),
            "affinity": st.sampled_from([_affinity("podAffinity"), _affinity("podAntiAffinity")]),
            "topologySpreadConstraints": st.just([SPREAD]),
        },
    )
    classes = [
        (
            a_class(schedulingGroup={"podGroupName": name}, labels={"gang": name}, **draw(fields)),
            draw(st.integers(1, 4)),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    total = sum(count for _, count in classes)
    return muster_of(name, classes, draw(st.integers(1, total)))


def _affinity(kind):
    term = {"labelSelector": {"matchLabels": {"gang": "a"}}, "topologyKey": "zone"}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


SPREAD = {
    "maxSkew": 1,
    "topologyKey": "zone",
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"gang": "b"}},
}


@st.composite
def clusters(draw):
    zones = st.sampled_from(["a", "b", "c"])
    nodes = [
        node(f"n{i}", cpu=f"{draw(st.sampled_from([1, 2, 4]))}", labels={"zone": draw(zones)})
        for i in range(draw(st.integers(1, 5)))
    ]
    there = [
        pod(node=f"n{draw(st.integers(0, len(nodes) - 1))}", cpu="500m")
        for _ in range(draw(st.integers(0, 2)))
    ]
    return nodes, there


@given(clusters(), gangs("a"), gangs("b"))
@settings(max_examples=200, deadline=None)
def test_whole_gangs_or_nothing_and_the_checker_agrees(case, first, second):
    nodes, there = case
    state = cluster(*nodes, pods=there)
    before = state.freeze(1)
    draft = Draft(before)
    allotments = []
    for muster in (first, second):
        room = draft.snapshot.requested.copy()
        found = together(muster, draft)
        allotments += found
        placed = [pod.uid for each in found for pod in each.pods]
        assert len(set(placed)) == len(placed)
        assert not placed or len(placed) >= muster.wanting
        assert all(each.gang == muster.gang for each in found)
        if not placed:
            assert (draft.snapshot.requested == room).all()
            assert {each.decision.diagnosis for each in found} == {found[0].decision.diagnosis}
            assert sum(len(each.left) for each in found) == sum(map(len, muster.pods.values()))
    least = {("default", muster.gang.key.name): muster.wanting for muster in (first, second)}
    plan = Plan(1, tuple(allotments))
    assert check(plan, before, state, least) == []
    for number, torn in enumerate(allotments):
        others = [each for each in allotments if each.gang == torn.gang]
        less = sum(len(each.pods) for each in others) - len(torn.pods)
        if torn.pods and 0 < less < least["default", torn.gang.key.name]:
            rest = [each for i, each in enumerate(allotments) if i != number]
            refused = {v.allotment for v in check(Plan(1, tuple(rest)), before, state, least)}
            assert refused >= {i for i, each in enumerate(rest) if each.gang == torn.gang}
    for allotment in allotments:
        pairs = zip(allotment.pods, allotment.nodes, strict=True)
        state.assume(allotment.pod, [(each.uid, name) for each, name in pairs])
    after = state.freeze(2)
    grown = after.requested > before.requested
    assert not (grown & (after.requested > after.allocatable)).any()


@given(
    st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=6),
    st.sampled_from(CPU),
    st.integers(1, 30),
    st.integers(1, 30),
)
@settings(max_examples=150, deadline=None)
def test_a_gang_of_one_kind_is_placed_exactly_where_it_fits(sizes, cpu, count, wanting):
    wanting = min(wanting, count)
    wanted = a_class(schedulingGroup={"podGroupName": "g"}, cpu=f"{cpu}m")
    state = cluster(*(node(f"n{i}", cpu=f"{size}") for i, size in enumerate(sizes)))
    found = together(muster_of("g", [(wanted, count)], wanting), Draft(state.freeze(1)))
    capacity = sum(size * 1000 // cpu for size in sizes)
    placed = sum(len(each.pods) for each in found)
    assert placed == (min(count, capacity) if capacity >= wanting else 0)


@given(st.integers(1, 4), st.lists(st.integers(0, 3), min_size=1, max_size=8), st.randoms())
@settings(max_examples=150, deadline=None)
def test_a_gang_that_fills_halves_and_quarters_is_found(nodes, shapes, random):
    """Sizes that divide each other: what fits by sum fits, largest first, whatever the order."""
    state = cluster(*(node(f"n{i}", cpu="8") for i in range(nodes)))
    sizes = [1, 2, 4, 8]
    counts = {}
    left = nodes * 8
    for shape in shapes:
        if sizes[shape] <= left:
            left -= sizes[shape]
            counts[shape] = counts.get(shape, 0) + 1
    classes = [
        (a_class(schedulingGroup={"podGroupName": "g"}, cpu=f"{sizes[shape]}"), count)
        for shape, count in counts.items()
    ]
    random.shuffle(classes)
    total = sum(counts.values())
    found = together(muster_of("g", classes, total), Draft(state.freeze(1)))
    assert sum(len(each.pods) for each in found) == total


@given(clusters(), gangs("a"), st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3))))
@settings(max_examples=200, deadline=None)
def test_who_leaves_for_a_gang_leaves_not_in_vain(case, muster, tenants):
    nodes, _ = case
    state, running = cluster(*nodes), {}
    for number, (where, priority) in enumerate(tenants):
        wanted = a_class(cpu="1", priority=priority, labels={"gang": "ab"[number % 2]})
        name = nodes[where % len(nodes)].meta.name
        key = ObjectKey("pods", "default", f"r{number}")
        there = sum(pod.pod.requests.amounts["cpu"] for pod in running.get(name, ()))
        if there + 1000 <= int(nodes[where % len(nodes)].status.allocatable["cpu"]) * 1000:
            running.setdefault(name, []).append(RunningPod(key, key.name, wanted))
            state.set_pod(key.name, wanted, name)
    snapshot = state.freeze(1)
    if together(muster, Draft(snapshot))[0].pods:
        return
    search = Search(place, FRAMEWORKS, lambda: 0.0)
    tenancy = Tenancy({node.meta.name: running.get(node.meta.name, ()) for node in nodes})
    clearing = clear(muster, snapshot, search, tenancy)
    if clearing is None:
        return
    gone = [victim for pods in clearing.victims.values() for victim in pods]
    assert gone
    assert all(victim.pod.priority < muster.gang.priority for victim in gone)
    for victim in gone:
        state.remove_pod(victim.uid)
    after = together(muster, Draft(state.freeze(2)))
    assert sum(len(each.pods) for each in after) >= muster.wanting
    assert len(clearing.places) >= muster.wanting
    assert set(clearing.victims) <= {node for _, _, node in clearing.places}


def test_as_few_leave_as_are_in_the_way():
    nodes = [node(f"n{i}", cpu="2") for i in range(3)]
    state, running = cluster(*nodes), {}
    for number in range(5):
        wanted, name = a_class(cpu="1", priority=-1), f"n{number // 2}"
        key = ObjectKey("pods", "default", f"r{number}")
        running.setdefault(name, []).append(RunningPod(key, key.name, wanted))
        state.set_pod(key.name, wanted, name)
    gang = muster_of("g", [(a_class(cpu="1", schedulingGroup={"podGroupName": "g"}), 4)], 3)
    search = Search(place, FRAMEWORKS, lambda: 0.0)
    clearing = clear(gang, state.freeze(1), search, Tenancy(running))
    assert len(clearing.places) == 3
    assert sum(map(len, clearing.victims.values())) == 2
    tight = muster_of("g", [(a_class(cpu="2", schedulingGroup={"podGroupName": "g"}), 4)], 4)
    assert clear(tight, state.freeze(1), search, Tenancy(running)) is None


def test_a_gang_of_pods_too_large_for_every_node_is_not_woken_by_pods_that_end():
    state = cluster(node("n", cpu="4"), pods=[pod(node="n", cpu="1")])
    large = a_class(cpu="5", schedulingGroup={"podGroupName": "g"})
    small = a_class(cpu="1", schedulingGroup={"podGroupName": "g"})
    for classes, woken in (([(large, 2)], False), ([(large, 1), (small, 1)], True)):
        found = together(muster_of("g", classes, 2), Draft(state.freeze(1)))
        wakes_on = found[0].decision.diagnosis.wakes_on
        assert bool(wakes_on & Change.POD_REMOVED) is woken
        assert wakes_on & Change.NODE_ADDED
