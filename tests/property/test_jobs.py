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
from scheduler.objects.pod import Pod, PodSpec, PodStatus

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class World:
    """Pods of one Job, whose plans are carried out, sometimes only in part."""

    def __init__(self, spec):
        self.spec = spec
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
        said = {} if index is None else {INDEX: str(index)}
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
        if pod.status.phase != "Succeeded" and TRACKING in pod.meta.finalizers:
            self.ended.add(uid)
        self.change(uid, meta=replace(pod.meta, deletion_timestamp=self.now))
        self.sweep(uid)

    def sweep(self, uid):
        meta = self.pods[uid].meta
        if meta.deletion_timestamp is not None and not meta.finalizers:
            del self.pods[uid]

    def look(self, steps=4):
        """Plan, and carry out so many of the four steps."""
        planned = plan(self.job, list(self.pods.values()), self.now)
        active = sum(pod.active for pod in self.pods.values())
        if planned.creates:
            assert active + planned.creates - len(planned.deletes) <= self.spec.parallelism
        for pod in planned.deletes if steps > 0 else ():
            assert pod.active
            del self.pods[pod.meta.uid]
        for at in range(planned.creates) if steps > 1 else ():
            self.make(planned.indexes[at] if planned.indexes else None)
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


EVENTS = ("succeed", "fail", "delete", "scale", "suspend", "crash", "look", "look")


@given(
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 1000)), max_size=60),
)
def test_any_history_counts_each_pod_once(indexed, history):
    mode = "Indexed" if indexed else "NonIndexed"
    world = World(JobSpec(parallelism=3, completions=8, completion_mode=mode, backoff_limit=10**6))
    for event, number in history:
        world.happen(event, number)
    world.spec = replace(world.spec, suspend=False, parallelism=3)
    for _ in range(40):
        world.now += timedelta(hours=1)
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
