"""A ReplicationController ends at its number, whatever happens to its pods on the way."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scheduler.controllers.replication_plan import plan
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Condition, Pod, PodSpec, PodStatus
from scheduler.objects.replication import Replication, ReplicationSpec, ReplicationStatus
from scheduler.objects.selectors import from_map

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LABELS = {"app": "web"}


class World:
    """Pods, and a controller whose plans are carried out at once."""

    def __init__(self, burst):
        self.burst = burst
        self.replicas = 0
        self.pods = {}
        self.made = 0
        self.now = NOW

    @property
    def controller(self):
        meta = ObjectMeta(name="web", namespace="n", uid="rc", generation=1)
        return Replication(
            meta, ReplicationSpec(self.replicas), ReplicationStatus(), 1, from_map(LABELS)
        )

    def add(self, owned, labels=LABELS):
        self.made += 1
        uid = f"pod-{self.made}"
        owners = (self.controller.reference,) if owned else ()
        meta = ObjectMeta(
            name=uid,
            namespace="n",
            uid=uid,
            labels=labels,
            owner_references=owners,
            creation_timestamp=self.now,
        )
        self.pods[uid] = Pod(meta, PodSpec(), PodStatus("Pending"), "", 1, b"")

    def alive(self):
        return [p for p in self.pods.values() if p.active and p.meta.owner_references]

    def change(self, uid, **fields):
        self.pods[uid] = msgspec.structs.replace(self.pods[uid], **fields)

    def change_meta(self, uid, **fields):
        self.change(uid, meta=msgspec.structs.replace(self.pods[uid].meta, **fields))

    def happen(self, event, number):
        uids = sorted(self.pods)
        uid = uids[number % len(uids)] if uids else ""
        self.now += timedelta(seconds=number)
        match event:
            case "scale":
                self.replicas = number % 9
            case "orphan":
                self.add(owned=False)
            case "stranger":
                self.add(owned=False, labels={"app": "else"})
            case "run" if uid:
                ready = (Condition("Ready", "True", last_transition_time=self.now),)
                self.change(uid, node=f"node-{number % 3}", status=PodStatus("Running", ready))
            case "fail" if uid:
                self.change(uid, status=PodStatus("Failed"))
            case "relabel" if uid:
                self.change_meta(uid, labels={"app": "else"})
            case "terminate" if uid:
                self.change_meta(uid, deletion_timestamp=self.now)
            case "vanish" if uid:
                del self.pods[uid]
            case _:
                self.reconcile()

    def reconcile(self):
        planned = plan(self.controller, self.pods.values(), self.now, self.burst)
        alive = len(self.alive())
        assert not (planned.creates and planned.deletes)
        assert planned.creates <= min(self.burst, self.replicas)
        assert len(planned.deletes) <= self.burst
        for pod in planned.orphan:
            self.change_meta(pod.meta.uid, owner_references=())
        for pod in planned.adopt:
            reference = self.controller.reference
            self.change_meta(pod.meta.uid, owner_references=(reference,))
        for _ in range(planned.creates):
            self.add(owned=True)
        if planned.creates:
            assert len(self.alive()) <= self.replicas
        for pod in planned.deletes:
            assert pod.active
            del self.pods[pod.meta.uid]
        if planned.deletes:
            assert len(self.alive()) >= self.replicas
        return (alive, planned.creates, planned.deletes, planned.adopt, planned.orphan)


EVENTS = ("scale", "orphan", "stranger", "run", "fail", "relabel", "terminate", "vanish", "look")


@given(
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 1000)), max_size=40),
    st.integers(1, 5),
)
def test_any_history_ends_at_the_number(history, burst):
    world = World(burst)
    for event, number in history:
        world.happen(event, number)
    for _ in range(100):
        _, creates, deletes, adopt, orphan = world.reconcile()
        if not (creates or deletes or adopt or orphan):
            break
    else:
        raise AssertionError("it never comes to rest")
    alive = world.alive()
    assert len(alive) == world.replicas
    assert all(p.meta.labels == LABELS for p in alive)
    strangers = [p for p in world.pods.values() if p.meta.labels != LABELS]
    assert all(p.meta.owner_references == () or not p.active for p in strangers)
    status = plan(world.controller, world.pods.values(), world.now).status
    assert status.replicas == world.replicas
