"""A DaemonSet ends with one pod of its template on every node, within its limits all the way."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.controllers.daemon_plan import plan
from scheduler.objects.controller_revision import LABEL
from scheduler.objects.daemon_set import (
    DaemonSet,
    DaemonSetSpec,
    DaemonStrategy,
    RollingDaemons,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.node import Node, NodeSpec, NodeStatus, Taint
from scheduler.objects.pod import AT_MOST_ONCE, Condition, Pod, PodSpec, PodStatus
from scheduler.objects.pod_owner import PodTemplate, TemplateMeta

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def template(once):
    said = {AT_MOST_ONCE: "true"} if once else {}
    return PodTemplate(TemplateMeta({"app": "x"}, said), msgspec.Raw(b'{"containers":[]}'))


class World:
    """Nodes and pods; a plan is carried out at once, and deleted pods linger."""

    def __init__(self, strategy, nodes, once=False):
        self.strategy, self.version, self.once = strategy, "1", once
        self.nodes = {f"n{n}": () for n in range(nodes)}  # name → taints
        self.pods = {}
        self.made = 0
        self.now = NOW

    def happen(self, event, number):
        self.now += timedelta(seconds=1)
        names = sorted(self.nodes)
        name = names[number % len(names)] if names else ""
        uid = sorted(self.pods)[number % len(self.pods)] if self.pods else ""
        match event:
            case "change":
                self.version = str(number % 3)
            case "node":
                self.nodes.setdefault(f"n{number % 6}", ())
            case "taint" if name:
                effect = ("NoSchedule", "NoExecute")[number % 2]
                self.nodes[name] = () if self.nodes[name] else (Taint("k", effect),)
            case "lose" if name:
                del self.nodes[name]
                self.pods = {u: p for u, p in self.pods.items() if p.node != name}
            case "ready" if uid:
                self.ready(uid)
            case "break" if uid:
                self.pods[uid] = replace(self.pods[uid], status=PodStatus("Running"))
            case "fail" if uid:
                self.pods[uid] = replace(self.pods[uid], status=PodStatus("Failed"))
            case "end":
                self.sweep()
            case _:
                self.look()

    def ready(self, uid):
        if not self.pods[uid].terminal:
            condition = Condition("Ready", "True", last_transition_time=self.now)
            self.pods[uid] = replace(self.pods[uid], status=PodStatus("Running", (condition,)))

    def sweep(self):
        self.pods = {u: p for u, p in self.pods.items() if p.meta.deletion_timestamp is None}

    def available(self):
        return sum(p.active and bool(p.status.conditions) for p in self.pods.values())

    def look(self):
        meta = ObjectMeta(name="agent", namespace="n", uid="ds", generation=1)
        spec = DaemonSetSpec(update_strategy=self.strategy, template=template(self.once))
        daemons = DaemonSet(meta, spec)
        nodes = [
            Node(ObjectMeta(name=name), NodeSpec(taints=taints), NodeStatus(), 1)
            for name, taints in self.nodes.items()
        ]
        planned = plan(daemons, nodes, self.pods.values(), self.version, self.now)
        desired = planned.status.desired_number_scheduled
        surge, unavailable = daemons.limits(desired)
        before = self.available()
        clean = not any(self.nodes.values())
        for pod in planned.deletes:
            meta = replace(pod.meta, deletion_timestamp=self.now)
            self.pods[pod.meta.uid] = replace(self.pods[pod.meta.uid], meta=meta)
        if clean and not surge:
            assert self.available() >= min(before, desired - unavailable)
        for name in planned.creates:
            there = [p for p in self.pods.values() if p.node == name]
            assert not there or not self.once
            assert len(there) <= (1 if surge else 0) or all(not p.active for p in there[1:])
            self.made += 1
            meta = ObjectMeta(
                name=f"p{self.made:03}",
                uid=f"p{self.made:03}",
                labels={LABEL: self.version},
                creation_timestamp=self.now,
            )
            self.pods[meta.uid] = Pod(meta, PodSpec(), PodStatus("Pending"), name, 1, b"")
        return planned


STRATEGY = DaemonStrategy("RollingUpdate", RollingDaemons(0, 1))
SURGING = DaemonStrategy("RollingUpdate", RollingDaemons(2, 0))
STRATEGIES = st.sampled_from(
    [
        STRATEGY,
        DaemonStrategy("RollingUpdate", RollingDaemons(0, "50%")),
        SURGING,
    ]
)
EVENTS = ("change", "node", "taint", "lose", "ready", "break", "fail", "end", "look", "look")


@example(SURGING, 1, True, [("look", 0), ("change", 2), ("look", 0)])
@example(STRATEGY, 1, False, [("look", 0), ("fail", 0), ("taint", 1)])
@example(
    *(SURGING, 1, False),
    [("look", 0), ("ready", 0), ("change", 2), ("look", 0), ("taint", 0)],
)
@given(
    STRATEGIES,
    st.integers(0, 4),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 1000)), max_size=60),
)
def test_any_history_ends_with_a_pod_on_every_node(strategy, nodes, once, history):
    world = World(strategy, nodes, once)
    for event, number in history:
        world.happen(event, number)
    for _ in range(100):
        world.now += timedelta(minutes=1)
        world.sweep()
        for uid in world.pods:
            world.ready(uid)
        planned = world.look()
        if not planned.creates and not planned.deletes:
            break
    else:
        raise AssertionError("it never comes to rest")
    allowed = {name for name, taints in world.nodes.items() if not taints}
    tolerated = {
        n for n, taints in world.nodes.items() if all(t.effect == "NoSchedule" for t in taints)
    }
    where = [pod.node for pod in world.pods.values()]
    assert len(where) == len(set(where))
    assert allowed <= set(where) <= tolerated
    assert all(
        pod.meta.labels[LABEL] == world.version
        for pod in world.pods.values()
        if pod.node in allowed
    )
    assert planned.status.number_available == len(allowed)
    assert planned.status.updated_number_scheduled == len(allowed)
