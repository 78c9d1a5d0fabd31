"""A Job counts every pod that ends exactly once, and comes to its end."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.controllers.job_plan import plan
from scheduler.objects.job import (
    INDEX,
    TRACKING,
    Job,
    JobSpec,
    JobStatus,
    read_indexes,
    write_indexes,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import AT_MOST_ONCE, Pod, PodSpec, PodStatus

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class World:
    """Pods of one Job, whose plans are carried out, sometimes only in part.

    Pods that may run once at most stay, when deleted, until their host has stopped them.
    """

    def __init__(self, spec, once=False):
        self.spec = spec
        self.once = once
        self.status = JobStatus()
        self.pods = {}
        self.made = 0
        self.now = NOW
        self.ended = set()  # uids that are to be counted
        self.done = set()  # indexes that have succeeded

    @property
    def job(self):
        meta = ObjectMeta(name="sum", namespace="n", uid="job", generation=1)
        return Job(meta, self.spec, self.status)

    def make(self, index=None):
        self.made += 1
        uid = f"pod-{self.made}"
        said = {AT_MOST_ONCE: "true"} if self.once else {}
        said |= {} if index is None else {INDEX: str(index)}
        meta = ObjectMeta(
            name=uid,
            namespace="n",
            uid=uid,
            annotations=said,
            finalizers=(TRACKING,),
            creation_timestamp=self.now,
        )
        self.pods[uid] = Pod(meta, PodSpec(), PodStatus("Pending"), "a", 1, b"")

    def change(self, uid, **fields):
        self.pods[uid] = replace(self.pods[uid], **fields)

    def happen(self, event, number):
        self.now += timedelta(seconds=number % 100)
        uids = sorted(uid for uid, pod in self.pods.items() if pod.active)
        uid = uids[number % len(uids)] if uids else ""
        match event:
            case "succeed" if uid:
                self.end(uid, "Succeeded")
            case "fail" if uid:
                self.end(uid, "Failed")
            case "delete" if self.pods:
                self.delete(sorted(self.pods)[number % len(self.pods)])
            case "stop" if self.pods:
                self.stop(sorted(self.pods)[number % len(self.pods)])
            case "scale":
                self.spec = replace(self.spec, parallelism=number % 5)
            case "suspend":
                self.spec = replace(self.spec, suspend=not self.spec.suspend)
            case "crash":
                self.look(number % 4)
            case _:
                self.look()

    def end(self, uid, phase):
        self.change(uid, status=PodStatus(phase))
        if phase == "Succeeded" and self.spec.completion_mode == "Indexed":
            self.done.add(int(self.pods[uid].meta.annotations[INDEX]))
        else:
            self.ended.add(uid)

    def delete(self, uid):
        """What a client does: it is marked, and goes when no finalizer holds it."""
        pod = self.pods[uid]
        if not self.once and pod.status.phase != "Succeeded" and TRACKING in pod.meta.finalizers:
            self.ended.add(uid)
        self.mark(uid)

    def mark(self, uid, **fields):
        grace = 30 if self.once and not self.pods[uid].terminal else 0
        meta = replace(self.pods[uid].meta, **fields)
        if meta.deletion_timestamp is None:
            meta = replace(meta, deletion_timestamp=self.now, deletion_grace_period_seconds=grace)
        self.change(uid, meta=meta)
        self.sweep(uid)

    def stop(self, uid):
        """What the host of a pod that is being deleted does, once it answers."""
        pod = self.pods[uid]
        if pod.meta.deletion_timestamp is None:
            return
        if pod.status.phase != "Succeeded" and TRACKING in pod.meta.finalizers:
            self.ended.add(uid)
        self.change(uid, meta=replace(pod.meta, deletion_grace_period_seconds=0))
        self.sweep(uid)

    def sweep(self, uid):
        meta = self.pods[uid].meta
        left = meta.finalizers or meta.deletion_grace_period_seconds
        if meta.deletion_timestamp is not None and not left:
            del self.pods[uid]

    def may_run(self):
        """Pods that a host may be running: which of an index in an indexed Job."""
        return [
            pod.meta.annotations.get(INDEX)
            for pod in self.pods.values()
            if not pod.terminal and pod.meta.deletion_grace_period_seconds != 0
        ]

    def look(self, steps=4):
        """Plan, and carry out so many of the four steps."""
        planned = plan(self.job, list(self.pods.values()), self.now)
        active = sum(pod.active for pod in self.pods.values())
        if planned.creates:
            assert active + planned.creates - len(planned.deletes) <= self.spec.parallelism
        for pod in planned.deletes if steps > 0 else ():
            assert pod.active
            self.mark(pod.meta.uid, finalizers=())
        for at in range(planned.creates) if steps > 1 else ():
            self.make(planned.indexes[at] if planned.indexes else None)
        if self.once and planned.creates and steps > 1:
            running = self.may_run()
            assert len(running) <= self.spec.parallelism
            assert not planned.indexes or len(running) == len(set(running))
        if steps > 2:
            assert planned.status.succeeded >= self.status.succeeded
            assert planned.status.failed >= self.status.failed
            self.status = planned.status
        for pod in planned.release if steps > 3 else ():
            meta = replace(self.pods[pod.meta.uid].meta, finalizers=())
            self.change(pod.meta.uid, meta=meta)
            self.sweep(pod.meta.uid)
        return planned

    def rest(self):
        """Look until nothing changes."""
        for _ in range(50):
            before = (self.status, dict(self.pods))
            self.look()
            if before == (self.status, self.pods):
                return
        raise AssertionError("it never comes to rest")


EVENTS = ("succeed", "fail", "delete", "stop", "scale", "suspend", "crash", "look", "look")


@given(
    st.booleans(),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 1000)), max_size=60),
)
def test_any_history_counts_each_pod_once(indexed, once, history):
    mode = "Indexed" if indexed else "NonIndexed"
    world = World(
        JobSpec(parallelism=3, completions=8, completion_mode=mode, backoff_limit=10**6), once
    )
    for event, number in history:
        world.happen(event, number)
    world.spec = replace(world.spec, suspend=False, parallelism=3)
    for _ in range(40):
        world.now += timedelta(hours=1)
        for uid in list(world.pods):
            world.stop(uid)
        world.rest()
        counted = world.status.failed + (0 if indexed else world.status.succeeded)
        assert counted == len(world.ended)
        assert set(read_indexes(world.status.completed_indexes)) == world.done
        if world.status.finished:
            break
        alive = [uid for uid, pod in world.pods.items() if pod.active]
        assert alive
        world.end(alive[0], "Succeeded")
    assert world.status.finished.type == "Complete"
    assert not any(pod.active for pod in world.pods.values())
    assert all(pod.meta.finalizers == () for pod in world.pods.values())
    if indexed:
        assert world.done == set(range(8))
        assert world.status.completed_indexes == "0-7"
    else:
        assert world.status.succeeded >= 8


@given(st.sets(st.integers(0, 60)))
def test_indexes_are_read_as_they_are_written(numbers):
    assert set(read_indexes(write_indexes(numbers))) == numbers


def test_indexes_are_written_as_upstream_does():
    assert write_indexes([5, 1, 3, 4, 7, 8]) == "1,3-5,7,8"
    assert write_indexes([]) == ""
