"""A StatefulSet ends with its numbers at its template; each step is in order."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.controllers.stateful_plan import plan, revision_of
from scheduler.objects.controller_revision import LABEL
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Condition, Pod, PodSpec, PodStatus
from scheduler.objects.stateful_set import (
    Partition,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetStatus,
    StatefulStrategy,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class World:
    """Pods by number, and a StatefulSet whose plans are carried out; deleted pods linger."""

    def __init__(self, ordered):
        self.policy = "OrderedReady" if ordered else "Parallel"
        self.replicas, self.partition, self.update = 3, 0, "r1"
        self.status = StatefulSetStatus(current_revision="r1")
        self.pods = {}
        self.made = 0
        self.now = NOW

    def happen(self, event, number):
        self.now += timedelta(seconds=1)
        name = sorted(self.pods)[number % len(self.pods)] if self.pods else -1
        match event:
            case "scale":
                self.replicas = number % 6
            case "change":
                self.update = f"r{number % 3}"
            case "partition":
                self.partition = number % 4
            case "ready" if self.pods:
                self.ready(name)
            case "fail" if self.pods:
                self.pods[name] = replace(self.pods[name], status=PodStatus("Failed"))
            case "end":
                self.sweep()
            case _:
                self.look()

    def ready(self, name):
        if not self.pods[name].terminal:
            condition = Condition("Ready", "True", last_transition_time=self.now)
            self.pods[name] = replace(self.pods[name], status=PodStatus("Running", (condition,)))

    def sweep(self):
        self.pods = {n: p for n, p in self.pods.items() if p.meta.deletion_timestamp is None}

    def look(self):
        meta = ObjectMeta(name="db", namespace="n", uid="sts", generation=1)
        spec = StatefulSetSpec(
            replicas=self.replicas,
            pod_management_policy=self.policy,
            update_strategy=StatefulStrategy("RollingUpdate", Partition(self.partition)),
        )
        stateful = StatefulSet(meta, spec, self.status)
        planned = plan(
            stateful, self.pods.values(), self.status.current_revision, self.update, self.now
        )
        if self.policy == "OrderedReady":
            assert len(planned.creates) + len(planned.deletes) <= 1
        for place in planned.creates:
            assert place.ordinal not in self.pods
            lower = [self.pods.get(number) for number in range(place.ordinal)]
            if self.policy == "OrderedReady":
                assert all(pod is not None and pod.active for pod in lower)
            self.made += 1
            meta = ObjectMeta(
                name=f"db-{place.ordinal}",
                uid=f"pod-{self.made}",
                labels={LABEL: place.revision},
                creation_timestamp=self.now,
            )
            self.pods[place.ordinal] = Pod(meta, PodSpec(), PodStatus("Pending"), "a", 1, b"")
        for pod in planned.deletes:
            number = stateful.ordinal_of(pod.meta.name)
            assert pod.meta.deletion_timestamp is None
            meta = replace(pod.meta, deletion_timestamp=self.now)
            self.pods[number] = replace(pod, meta=meta)
        self.status = planned.status
        return planned


EVENTS = ("scale", "change", "partition", "ready", "ready", "fail", "end", "look", "look")


@given(
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 1000)), max_size=60),
)
def test_any_history_ends_with_its_numbers(ordered, history):
    world = World(ordered)
    for event, number in history:
        world.happen(event, number)
    for _ in range(100):
        world.now += timedelta(minutes=1)
        world.sweep()
        for name in world.pods:
            world.ready(name)
        planned = world.look()
        if not planned.creates and not planned.deletes:
            break
    else:
        raise AssertionError("it never comes to rest")
    assert set(world.pods) == set(range(world.replicas))
    newer = [world.pods[number] for number in range(world.partition, world.replicas)]
    assert all(revision_of(pod) == world.update for pod in newer)
    assert world.status.ready_replicas == world.status.replicas == world.replicas
    if world.partition == 0:
        assert world.status.current_revision == world.update
