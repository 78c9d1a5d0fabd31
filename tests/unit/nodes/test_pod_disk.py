"""What a pod keeps on disk, and when that is more than it may, as kubelet has it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.drivers import (
    ContainerStatus,
    EngineState,
    PodIdentity,
    PodObservation,
    SandboxStatus,
)
from scheduler.errors import HostUnreachable
from scheduler.nodes.pod_disk import PodDisk, disk_of, excess, has_disk_volumes, is_limited
from scheduler.nodes.storage_limit_watch import LIMIT, StorageLimitWatch
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import (
    Container,
    EmptyDirVolumeSource,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
    Volume,
)
from scheduler.streams import DiskUsage

MI = 1 << 20


def container(name, limit=None, policy=None):
    limits = {} if limit is None else {"ephemeral-storage": limit}
    return Container(
        name, "i", resources=ResourceRequirements(limits=limits), restart_policy=policy or ""
    )


def volume(name, size=None, medium=""):
    return Volume(name, empty_dir=EmptyDirVolumeSource(medium, size))


def pod(*containers, uid="u", inits=(), volumes=(), priority=0):
    spec = PodSpec(
        containers=containers or (container("c"),),
        init_containers=inits,
        volumes=volumes,
        priority=priority,
    )
    meta = ObjectMeta(name=uid, namespace="default", uid=uid)
    return Pod(meta, spec, PodStatus(phase="Running"), "h1", 1, b"")


def seen(uid, *states):
    """The attempts of a container c."""
    who = PodIdentity(uid, "default", uid)
    attempts = tuple(
        ContainerStatus("c", f"{uid}.{number}", number, "", state, "i")
        for number, state in enumerate(states)
    )
    return PodObservation(who, SandboxStatus(who, f"{uid}.s", 0, running=True), attempts)


def test_what_a_pod_keeps_is_of_its_containers_and_its_volumes():
    usage = DiskUsage({"u.0": 7, "u.1": 5, "v.0": 100}, {("u", "data"): 3, ("v", "data"): 100})
    found = disk_of("u", seen("u", EngineState.EXITED, EngineState.RUNNING), usage)
    assert found == PodDisk({"c": 5}, {"data": 3}, 7)
    assert (found.counted, found.total) == (8, 15), "what has ended takes room but is not held up"
    assert disk_of("w", None, usage) == PodDisk()


@pytest.mark.parametrize(
    ("limited", "volumes", "given"),
    [
        (False, False, pod()),
        (True, False, pod(container("c", "1Mi"))),
        (True, False, pod(container("c", "0"))),
        (True, False, pod(inits=(container("init", "1Mi"),))),
        (False, True, pod(volumes=(volume("data"),))),
        (True, True, pod(volumes=(volume("data", "1Mi"),))),
        (False, True, pod(volumes=(volume("data", "0"),))),
        (False, False, pod(volumes=(volume("data", "1Mi", "Memory"), Volume("other")))),
    ],
)
def test_who_has_to_be_measured(limited, volumes, given):
    assert is_limited(given) == limited
    assert has_disk_volumes([given]) == volumes


def said(given, containers=None, volumes=None, ended=0):
    return excess(given, PodDisk(containers or {}, volumes or {}, ended))


def test_a_volume_has_its_limit():
    given = pod(volumes=(volume("free"), volume("data", "2Mi")))
    assert said(given, {"c": 9 * MI}, {"free": 9 * MI, "data": 2 * MI}) == ""
    assert said(given, volumes={"data": 2 * MI + 1}) == (
        'Usage of EmptyDir volume "data" exceeds the limit "2Mi". '
    )


def test_containers_have_limits_each_and_together():
    two = pod(container("a", "2Mi"), container("b", "4Mi"), volumes=(volume("data"),))
    assert said(two, {"a": 1 * MI, "b": 1 * MI}, {"data": 4 * MI}, ended=99 * MI) == ""
    assert said(two, {"a": 1 * MI, "b": 1 * MI}, {"data": 4 * MI + 1}) == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 6Mi. "
    )
    assert said(two, {"a": 3 * MI}) == (
        'Container a exceeded its local ephemeral storage limit "2Mi". '
    )


@pytest.mark.parametrize(
    ("inits", "total"),
    [
        ((container("init", "9Mi"),), 9),
        ((container("init", "3Mi"),), 4),
        ((container("side", "3Mi", "Always"),), 7),
        ((container("side", "3Mi", "Always"), container("init", "5Mi")), 8),
        ((container("init", "5Mi"), container("side", "3Mi", "Always")), 7),
    ],
)
def test_init_containers_count_where_they_need_more(inits, total):
    given = pod(container("c"), container("d", "4Mi"), inits=inits)
    assert said(given, {"c": total * MI}) == ""
    assert said(given, {"c": total * MI + 1}).endswith(f" of containers {total}Mi. ")


@given(
    limits=st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=4),
    used=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    in_volume=st.integers(0, 9),
    size=st.none() | st.integers(0, 9),
)
def test_nobody_within_its_limits_exceeds_any(limits, used, in_volume, size):
    named = [container(f"c{i}", None if n is None else str(n)) for i, n in enumerate(limits)]
    given = pod(*named, volumes=(volume("data", None if size is None else str(size)),))
    containers = {f"c{i}": used[i] for i in range(len(limits))}
    some = [n for n in limits if n is not None]
    over = bool(size and in_volume > size)
    over |= bool(some) and sum(containers.values()) + in_volume > sum(some)
    over |= any(n is not None and used[i] > n for i, n in enumerate(limits))
    assert bool(said(given, containers, {"data": in_volume})) == over
    assert is_limited(given) or not over


class Host:
    """Says what it was told to say, and what it was asked."""

    def __init__(self, layers, volumes=None):
        self.usage = DiskUsage(layers, volumes or {})
        self.asked = []
        self.fails = False

    async def disk_usage(self, containers, *, volumes):
        self.asked.append((containers, volumes))
        if self.fails:
            raise HostUnreachable("no answer")
        return self.usage


class Desk:
    def __init__(self, *pods):
        self.pods = {each.meta.uid: each for each in pods}
        self.evicted = {}

    def evictable(self, wanted):
        pods = filter(wanted, self.pods.values())
        return [(each, seen(each.meta.uid, EngineState.RUNNING)) for each in pods]

    def evict(self, uid, resource, eviction):
        assert (resource, eviction.disrupts) == (LIMIT, False)
        self.evicted[uid] = eviction.why


async def test_all_that_have_more_than_they_may_are_evicted():
    desk = Desk(
        pod(container("c", "1Mi"), uid="over"),
        pod(container("c", "9Mi"), uid="within"),
        pod(uid="free"),
        pod(uid="critical", priority=2_000_000_000, volumes=(volume("data", "1Mi"),)),
        pod(uid="volume", volumes=(volume("data", "1Mi"),)),
    )
    layers = dict.fromkeys(("over.0", "within.0"), 2 * MI)
    host = Host(layers, dict.fromkeys([("volume", "data"), ("critical", "data")], 2 * MI))
    await StorageLimitWatch("h1", host, desk, 1.0).look()
    assert desk.evicted.keys() == {"over", "volume"}
    assert host.asked == [(["over.0", "within.0", "volume.0"], True)]


async def test_only_what_is_limited_is_measured():
    host, desk = Host({}), Desk(pod(volumes=(volume("data"),)))
    watch = StorageLimitWatch("h1", host, desk, 1.0)
    await watch.look()
    assert host.asked == []
    desk.pods["u"] = pod(container("c", "1Mi"), volumes=(volume("data", None, "Memory"),))
    await watch.look()
    assert host.asked == [(["u.0"], False)]


async def test_a_host_that_takes_long_to_measure_is_left_alone_for_longer(monkeypatch):
    host, desk = Host({}), Desk(pod(container("c", "1Mi")))
    watch = StorageLimitWatch("h1", host, desk, 1.0)
    now = [100.0, 100.0, 103.0]
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: now.pop(0) if len(now) > 1 else now[0])
    host.fails = True
    with pytest.raises(HostUnreachable):
        await watch.look()
    now[:] = [103.0]
    await watch.look()
    assert len(host.asked) == 1
    now[:] = [163.1]
    with pytest.raises(HostUnreachable):
        await watch.look()
