"""A Deployment ends at its template and number, within its limits all the way."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.controllers.deployment_plan import claims, is_of, plan
from scheduler.objects.deployment import (
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    DeploymentStrategy,
    RollingUpdate,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import AT_MOST_ONCE
from scheduler.objects.pod_owner import DEPLOYMENT, REPLICA_SET, PodTemplate, TemplateMeta
from scheduler.objects.replication import Replication, ReplicationSpec, ReplicationStatus
from scheduler.objects.selectors import from_map

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SELECTOR = msgspec.Raw(b'{"matchLabels":{"app":"web"}}')


def template(version, once=False):
    spec = {"containers": [{"name": "c", "image": f"i:{version}"}]}
    said = {AT_MOST_ONCE: "true"} if once else {}
    return PodTemplate(TemplateMeta({"app": "web"}, said), msgspec.Raw(msgspec.json.encode(spec)))


class World:
    """ReplicaSets whose pods come when `settle` says so, and a Deployment whose plans are done.

    Pods that may run once at most come when `staff` says so, and stay until `stop` says so.
    """

    def __init__(self, strategy, once=False):
        self.strategy = strategy
        self.once = once
        self.numbers = {}  # of each ReplicaSet, by its generation
        self.running = {}  # by ReplicaSet, where they may run once at most
        self.replicas, self.version, self.paused = 3, 0, False
        self.sets = {}
        self.status = DeploymentStatus()
        self.generation = 1
        self.now = NOW

    @property
    def deployment(self):
        spec = DeploymentSpec(
            replicas=self.replicas,
            paused=self.paused,
            strategy=self.strategy,
            selector=SELECTOR,
            template=self.template,
        )
        meta = ObjectMeta(name="web", namespace="n", uid="d", generation=self.generation)
        return Deployment(meta, spec, self.status)

    @property
    def template(self):
        return template(self.version, self.once)

    def happen(self, event, number):
        self.now += timedelta(seconds=1)
        self.generation += event in ("scale", "change", "pause")
        match event:
            case "scale":
                self.replicas = number % 12
            case "change":
                self.version = number % 4
            case "pause":
                self.paused = not self.paused
            case "settle":
                self.settle(number % 3)
            case "staff" if self.once and self.sets:
                count = len(self.sets)
                self.staff(sorted(self.sets)[number % count], number // count)
            case "stop" if self.once and self.sets:
                self.stop(sorted(self.sets)[number % len(self.sets)])
            case "lose":
                for uid in sorted(self.sets)[number % 3 :: 3]:
                    status = self.sets[uid].status
                    available = max(0, status.available_replicas - 1)
                    self.report(uid, status.replicas, available, status.observed_generation)
            case _:
                self.look()

    def staff(self, uid, number=-1):
        """Make a ReplicaSet's pods as its controller does, which may know an older number yet."""
        each = self.sets[uid]
        known = [g for g in self.numbers[uid] if g >= each.status.observed_generation]
        generation = known[number % len(known)]
        wanted, there = self.numbers[uid][generation], self.running.get(uid, 0)
        if wanted > there:
            self.running[uid] = wanted
            kinds = [owner for owner, pods in self.running.items() if pods]
            assert kinds == [uid], "pods of two templates at a time"
        self.report(uid, wanted, min(wanted, each.status.available_replicas), generation)

    def stop(self, uid):
        """End what a ReplicaSet has too much, as hosts do that answer."""
        self.running[uid] = min(self.running.get(uid, 0), self.sets[uid].spec.replicas)

    def settle(self, most=1000):
        """Let at most so many pods of each ReplicaSet become available."""
        for uid in self.sets if self.once else ():
            self.stop(uid)
        for uid, each in self.sets.items():
            if self.once:
                self.staff(uid)
            wanted = each.spec.replicas
            available = min(wanted, each.status.available_replicas + most)
            self.report(uid, wanted, available)

    def report(self, uid, replicas, available, generation=None):
        each = self.sets[uid]
        seen = each.meta.generation if generation is None else generation
        status = ReplicationStatus(replicas, replicas, available, available, seen)
        self.sets[uid] = msgspec.structs.replace(each, status=status)

    def available(self):
        return sum(
            min(each.status.available_replicas, each.spec.replicas) for each in self.sets.values()
        )

    def total(self):
        return sum(each.spec.replicas for each in self.sets.values())

    def rescaled(self):
        noted = [
            each.meta.annotations.get("deployment.kubernetes.io/desired-replicas")
            for each in self.sets.values()
            if each.spec.replicas
        ]
        return any(said != str(self.replicas) for said in noted)

    def look(self):
        deployment = self.deployment
        owned = claims(deployment, self.sets.values()).owned
        assert len(owned) == len(self.sets)

        def pods_left(uids):
            if self.once:
                return any(self.running.get(uid) for uid in uids)
            return any(self.sets[uid].status.replicas for uid in uids)

        planned = plan(deployment, owned, pods_left, self.now)
        rolling = not self.rescaled() and not self.paused
        total, available = self.total(), self.available()
        self.apply(planned)
        if rolling:
            most = self.replicas + deployment.surge
            assert self.total() <= max(total, most)
            if not deployment.recreates:
                least = self.replicas - deployment.unavailable
                assert self.available() >= min(available, least)
            active = [s for s in self.sets.values() if s.spec.replicas or s.status.replicas]
            if deployment.recreates and planned.create is not None:
                assert all(is_of(each, deployment.template) for each in active)
        return planned

    def apply(self, planned):
        for change in planned.changes:
            each = self.sets[change.of.meta.uid]
            meta = msgspec.structs.replace(
                each.meta,
                annotations=dict(change.annotations),
                generation=each.meta.generation + 1,
            )
            spec = msgspec.structs.replace(each.spec, replicas=change.replicas)
            self.sets[change.of.meta.uid] = msgspec.structs.replace(each, meta=meta, spec=spec)
            self.numbers[change.of.meta.uid][meta.generation] = change.replicas
        for each in planned.deletes:
            gone = self.sets.pop(each.meta.uid)
            assert not gone.spec.replicas
            assert not gone.status.replicas
        new = planned.create
        if new is not None:
            assert not any(each.meta.name == new.name for each in self.sets.values())
            meta = ObjectMeta(
                name=new.name,
                namespace="n",
                uid=f"{new.name}-{len(self.sets)}",
                labels={"app": "web"},
                annotations=dict(new.annotations),
                generation=1,
                creation_timestamp=self.now,
                owner_references=(DEPLOYMENT.reference(self.deployment.meta),),
            )
            spec = ReplicationSpec(new.replicas, template=self.template)
            self.numbers[meta.uid] = {1: new.replicas}
            self.sets[meta.uid] = Replication(
                meta, spec, ReplicationStatus(), 1, from_map({"app": "web"}), REPLICA_SET
            )
        self.status = planned.status


AMOUNTS = st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "50%", "100%"]))
STRATEGY = DeploymentStrategy()
STRATEGIES = st.one_of(
    st.just(DeploymentStrategy("Recreate")),
    st.builds(
        lambda surge, unavailable: DeploymentStrategy(
            "RollingUpdate", RollingUpdate(surge, unavailable)
        ),
        AMOUNTS,
        AMOUNTS,
    ),
)
EVENTS = ("scale", "change", "pause", "settle", "staff", "stop", "lose", "look", "look", "look")


LATE = [("staff", number) for number in range(4)]  # two ReplicaSets, by older numbers first
LOOKED, CHANGED = ("look", 0), ("change", 1)
ROLLED = [LOOKED, ("settle", 0), CHANGED, LOOKED, ("settle", 0), LOOKED, ("settle", 0)]


@example(STRATEGY, True, [LOOKED, CHANGED, LOOKED, LOOKED, *LATE])
@example(STRATEGY, True, [*ROLLED, ("change", 0), LOOKED, *LATE, ("pause", 0), LOOKED, *LATE])
@given(
    STRATEGIES,
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 1000)), max_size=60),
)
def test_any_history_ends_at_the_template(strategy, once, history):
    world = World(strategy, once)
    for event, number in history:
        world.happen(event, number)
    world.paused = False
    for _ in range(200):
        before = (world.status, dict(world.sets))
        world.settle()
        world.now += timedelta(seconds=1)
        world.look()
        if before == (world.status, world.sets):
            break
    else:
        raise AssertionError("it never comes to rest")
    active = [each for each in world.sets.values() if each.spec.replicas]
    assert sum(each.spec.replicas for each in active) == world.replicas
    assert all(is_of(each, world.template) for each in active)
    status = world.status
    assert status.updated_replicas == status.available_replicas == world.replicas
    progressing = status.condition("Progressing")
    assert (progressing.status, progressing.reason) == ("True", "NewReplicaSetAvailable")
    revisions = [
        int(each.meta.annotations["deployment.kubernetes.io/revision"])
        for each in world.sets.values()
    ]
    newest = max(world.sets.values(), key=lambda s: revisions[list(world.sets.values()).index(s)])
    assert is_of(newest, world.template)
    assert len(set(revisions)) == len(revisions)


def test_a_changed_number_is_spread_in_proportion():
    rolling = DeploymentStrategy("RollingUpdate", RollingUpdate(3, 2))
    world = World(rolling)
    world.replicas = 10
    for _ in range(4):
        world.look()
        world.settle()
    world.version = 1
    world.look()  # 3 new
    world.look()  # 2 old ones fewer
    sizes = [each.spec.replicas for each in world.sets.values()]
    assert sizes == [8, 3]
    world.look()
    assert [each.spec.replicas for each in world.sets.values()] == [8, 5]
    world.replicas = 15
    world.look()
    assert sorted(each.spec.replicas for each in world.sets.values()) == [7, 11]
