"""When a host is short of something, and who has to go for it, as kubelet has it."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields

from scheduler.drivers import (
    ContainerStatus,
    EngineState,
    PodIdentity,
    PodObservation,
    SandboxStatus,
)
from scheduler.errors import HostUnreachable
from scheduler.images import LocalImage
from scheduler.nodes.docker_host import DockerHostSpec
from scheduler.nodes.host_storage import HostStorage
from scheduler.nodes.image_collection import CollectionLimits
from scheduler.nodes.pressure import (
    PodUsage,
    PressureLimits,
    Shortage,
    pressure_limits,
    pressures,
    ranked,
    shortages,
    words,
)
from scheduler.nodes.pressure_watch import Before, PressureWatch
from scheduler.objects.eviction_signals import (
    DISK_AVAILABLE,
    MEMORY_AVAILABLE,
    PID_AVAILABLE,
    Threshold,
    threshold,
    thresholds,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Container, Pod, PodSpec, PodStatus, ResourceRequirements
from scheduler.streams import ContainerUsage, DiskUsage, Level, Signals

MI = 1 << 20
FEW_BYTES = Shortage(Threshold(MEMORY_AVAILABLE, 100 * MI), Level(90 * MI, 8 << 30), 100 * MI)
FULL = Shortage(Threshold(DISK_AVAILABLE, percent=10.0), Level(90 * MI, 1000 * MI), 100 * MI)
FEW_PIDS = Shortage(Threshold(PID_AVAILABLE, percent=1.0), Level(3, 1000), 10)
LIMITS = pressure_limits(DockerHostSpec())


def pod(name, request="0", priority=0, resource="memory"):
    resources = ResourceRequirements(requests={resource: request})
    spec = PodSpec(containers=(Container("c", "i", resources=resources),), priority=priority)
    meta = ObjectMeta(name=name, namespace="default", uid=name)
    return Pod(meta, spec, PodStatus(phase="Running"), "h1", 1, b"")


def usage(name, used, request="0", priority=0, processes=1, resource="memory"):
    containers = {} if used is None else {"c": used}
    return PodUsage(pod(name, request, priority, resource), used, containers, processes)


def names(found):
    return [each.pod.meta.name for each in found]


@pytest.mark.parametrize(
    ("text", "capacity", "amount", "shown"),
    [
        ("100Mi", 1, 100 * MI, "100Mi"),
        ("1500", 1, 1500, "1500"),
        ("5%", 1000, 50, "5%"),
        ("0.5%", 1000, 5, "0.5%"),
        ("0%", 1000, 0, "0%"),
        ("100%", 1000, 0, "100%"),
    ],
)
def test_a_threshold_is_an_amount_or_a_share(text, capacity, amount, shown):
    found = threshold(MEMORY_AVAILABLE, text)
    assert found.of(capacity) == amount
    assert str(found) == shown


@pytest.mark.parametrize("text", ["", "0", "-1Mi", "101%", "-1%", "nan%", "%", "much", "1Qi"])
def test_what_is_no_threshold(text):
    assert threshold(PID_AVAILABLE, text) is None


def test_what_a_host_does_not_say_has_the_default():
    assert list(map(str, thresholds({}))) == ["100Mi", "1%", "10%", "5%"]
    assert list(map(str, thresholds({PID_AVAILABLE: "500"}))) == ["100Mi", "500", "10%", "5%"]


def test_a_threshold_is_met_by_less_than_it_says():
    enough = Signals(Level(100 * MI, 8 << 30), Level(10, 1000))
    assert shortages(LIMITS, enough) == []
    full = replace(enough, disk=Level(99, 1000))
    assert [s.condition for s in shortages(LIMITS, full)] == ["DiskPressure"]
    assert shortages(LIMITS, replace(enough, disk=Level(100, 1000))) == []
    many = replace(enough, inodes=Level(49, 1000))
    assert [(s.condition, s.resource) for s in shortages(LIMITS, many)] == [
        ("DiskPressure", "inodes")
    ]
    assert shortages(LIMITS, replace(enough, inodes=Level(50, 1000))) == []
    both = Signals(Level(100 * MI - 1, 8 << 30), Level(9, 1000))
    assert [s.condition for s in shortages(LIMITS, both)] == ["MemoryPressure", "PIDPressure"]
    nothing_left = Signals(Level(0, 8 << 30), Level(0, 1000))
    off = pressure_limits(
        DockerHostSpec(eviction_hard={MEMORY_AVAILABLE: "0%", PID_AVAILABLE: "100%"})
    )
    assert shortages(off, nothing_left) == []


def test_a_threshold_that_was_met_is_left_behind_by_the_minimum_reclaim():
    said = {DISK_AVAILABLE: "5%", MEMORY_AVAILABLE: "50Mi"}
    hard = {PID_AVAILABLE: "0%"}
    spec = DockerHostSpec(eviction_hard=hard, eviction_minimum_reclaim={**said, PID_AVAILABLE: "9"})
    limits = pressure_limits(spec)
    signals = Signals(Level(149 * MI, 8 << 30), Level(0, 1000), Level(149, 1000))
    assert shortages(limits, signals) == []
    both = shortages(limits, signals, {MEMORY_AVAILABLE, PID_AVAILABLE, DISK_AVAILABLE})
    assert [(s.signal, s.enough) for s in both] == [
        (MEMORY_AVAILABLE, 150 * MI),
        (DISK_AVAILABLE, 150),
    ]
    enough = Signals(Level(150 * MI, 8 << 30), None, Level(150, 1000))
    assert shortages(limits, enough, {MEMORY_AVAILABLE, DISK_AVAILABLE}) == []


@given(
    gaps=st.lists(st.tuples(st.floats(0.1, 400), st.booleans()), max_size=30),
    lasts=st.integers(0, 600),
)
def test_a_condition_outlasts_its_shortage_by_the_transition_period(gaps, lasts):
    limits = PressureLimits((), lasts)
    met, now, last = {}, 0.0, None
    for gap, short in gaps:
        now += gap
        if short:
            met["MemoryPressure"] = last = now
        expected = last is not None and (last == now or now - last < lasts)
        assert pressures(met, now, limits) == ({"MemoryPressure"} if expected else set())


def test_for_memory_those_go_first_who_use_more_than_they_request():
    found = ranked(
        FEW_BYTES,
        [
            usage("modest", 900 * MI, "1Gi"),
            usage("much-over", 500 * MI, "100Mi"),
            usage("little-over", 120 * MI, "100Mi"),
            usage("over-but-important", 5000 * MI, "100Mi", priority=10),
            usage("best-effort", 10 * MI),
            usage("cheap", 1 * MI, "1Gi", priority=-5),
            usage("unmeasured", None, "1Gi"),
            usage("critical", 5000 * MI, priority=2_000_000_000),
        ],
    )
    assert names(found) == [
        "unmeasured",
        "much-over",
        "little-over",
        "best-effort",
        "over-but-important",
        "cheap",
        "modest",
    ]


def test_for_disk_too_those_go_first_who_use_more_than_they_request():
    def on_disk(name, used, request="0", priority=0):
        return usage(name, used, request, priority, resource="ephemeral-storage")

    found = ranked(
        FULL,
        [
            on_disk("modest", 900 * MI, "1Gi"),
            on_disk("over", 500 * MI, "100Mi"),
            on_disk("more-over", 501 * MI, "100Mi"),
            on_disk("over-but-important", 900 * MI, "1Mi", priority=1),
            usage("has-memory-only", 600 * MI, "1Gi"),
            on_disk("critical", 900 * MI, priority=2_000_000_000),
        ],
    )
    assert names(found) == [
        "has-memory-only",
        "more-over",
        "over",
        "over-but-important",
        "modest",
    ]


def test_for_process_ids_priority_and_then_numbers_count():
    found = ranked(
        FEW_PIDS,
        [
            usage("few", 900 * MI, processes=2),
            usage("many", 1 * MI, "1Gi", processes=400),
            usage("important", 1 * MI, priority=1, processes=5000),
            usage("critical", 1 * MI, priority=2_000_001_000, processes=9000),
        ],
    )
    assert names(found) == ["many", "few", "important"]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 1000 * MI)),
            st.integers(0, 1000),
            st.sampled_from([-1, 0, 7, 2_000_000_000]),
            st.integers(0, 50),
        ),
        max_size=12,
    ),
    st.sampled_from([FEW_BYTES, FEW_PIDS]),
)
def test_ranking_is_total_and_spares_the_critical(drawn, shortage):
    usages = [
        usage(f"p{i}", used, f"{request}Mi", priority, processes)
        for i, (used, request, priority, processes) in enumerate(drawn)
    ]
    found = ranked(shortage, usages)
    assert found == ranked(shortage, reversed(usages))
    spared = {each.pod.meta.name for each in usages} - set(names(found))
    assert spared == {u.pod.meta.name for u in usages if u.pod.spec.priority >= 2_000_000_000}
    if shortage is FEW_BYTES:
        over = [each.used is None or each.excess("memory") > 0 for each in found]
        assert over == sorted(over, reverse=True), "nobody within its request before one beyond"


def test_a_pod_is_told_why_it_goes():
    assert words(FEW_BYTES, usage("web", 300 * MI, "100Mi")) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. "
        "Container c was using 300Mi, request is 100Mi, has larger consumption of memory. "
    )
    assert words(FEW_BYTES, usage("web", 30 * MI, "100Mi")).endswith("available: 90Mi. ")
    assert words(FULL, usage("web", 300 * MI, "1Mi", resource="ephemeral-storage")) == (
        "The node was low on resource: ephemeral-storage. Threshold quantity: 100Mi, available: "
        "90Mi. Container c was using 300Mi, request is 1Mi, has larger consumption of "
        "ephemeral-storage. "
    )
    assert words(FEW_PIDS, usage("web", 300 * MI)) == (
        "The node was low on resource: pids. Threshold quantity: 10, available: 3. "
    )


class Host:
    """Says what it was told to say."""

    def __init__(self, usage):
        self.memory = Level(0, 1 << 30)
        self.disk = self.inodes = None
        self.measured = usage
        self.written = DiskUsage({}, {})
        self.measures = self.at_once

    async def at_once(self):
        pass

    async def signals(self):
        return Signals(self.memory, Level(1000, 1000), self.disk, self.inodes)

    async def disk_usage(self, containers, *, volumes):
        assert volumes
        await self.measures()
        return self.written

    async def usage(self):
        await self.measures()
        if self.measured is None:
            raise HostUnreachable("no answer")
        return self.measured


class Desk:
    def __init__(self, *pods):
        self.pods = {each.meta.uid: each for each in pods}
        self.conditions = []
        self.told = []
        self.evicted = []
        self.sizes = []
        self.reclaimed = []
        self.frees = set()

    async def pressed(self, conditions):
        self.conditions.append(conditions)

    async def sized(self, disk):
        self.sizes.append(disk)

    def short(self, shortage):
        self.told.append(shortage.resource)

    def evictable(self):
        return [(each, observation(uid)) for uid, each in self.pods.items()]

    def evict(self, uid, resource, eviction):
        assert eviction.disrupts
        self.evicted.append(uid)

    async def reclaim(self, wanted):
        self.reclaimed.append(wanted)
        return len(self.reclaimed) in self.frees

    def is_over(self, uid):
        return uid not in self.pods


def observation(uid):
    who = PodIdentity(uid, "default", uid)
    container = ContainerStatus("c", f"{uid}.c", 0, "", EngineState.RUNNING, "i")
    return PodObservation(who, SandboxStatus(who, f"{uid}.s", 0, running=True), (container,))


def measured(**memory):
    usages = {f"{uid}.c": ContainerUsage(None, 0, used) for uid, used in memory.items()}
    return usages | {f"{uid}.s": ContainerUsage(None, 0, 1) for uid in memory}


NOTHING = Before()


def watch(host, desk, lasts=300.0, before=NOTHING):
    limits = replace(LIMITS, lasts=lasts)
    return PressureWatch("h1", host, limits, before, desk, 0.01)


async def turn(seen):
    """Look once, and make room on the disk that the look finds short."""
    async with asyncio.timeout(10):
        await seen.look()
        await seen.relieve()


async def until(test):
    async with asyncio.timeout(10):
        while not test():  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.005)


async def test_pods_are_evicted_one_after_another_while_memory_is_short():
    host, desk = Host(measured(a=1 * MI, b=9 * MI)), Desk(pod("a"), pod("b"))
    seen = watch(host, desk, lasts=0.0)
    await seen.look()
    await seen.look()
    assert desk.evicted == ["b"], "the next one waits until it has ended"
    del desk.pods["b"]
    await seen.look()
    assert desk.evicted == ["b", "a"]
    host.memory = Level(1 << 29, 1 << 30)
    await seen.look()
    assert desk.conditions == [{"MemoryPressure"}, frozenset()]
    assert desk.told == ["memory"], "one event a shortage"


async def test_a_condition_of_before_lasts_but_evicts_nobody():
    host, desk = Host(measured()), Desk(pod("a"))
    host.memory = Level(1 << 29, 1 << 30)
    seen = watch(host, desk, before=Before(frozenset({"MemoryPressure"})))
    await seen.look()
    assert (desk.conditions, desk.evicted) == ([], [])


async def test_nobody_is_evicted_on_a_guess(caplog):
    host, desk = Host(None), Desk(pod("a"))
    running = asyncio.create_task(watch(host, desk).run())
    async with asyncio.timeout(10):
        while "no answer" not in caplog.text:  # noqa: ASYNC110 - only the log tells
            await asyncio.sleep(0.01)
    assert desk.evicted == []
    host.measured = measured(a=1)
    async with asyncio.timeout(10):
        while desk.evicted != ["a"]:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.01)
    running.cancel()


async def test_without_anybody_to_evict_the_condition_is_all_there_is():
    desk = Desk(with_fields(pod("a"), spec=PodSpec(priority=2_000_000_000)))
    await watch(Host(measured(a=1)), desk).look()
    assert (desk.conditions, desk.evicted) == ([{"MemoryPressure"}], [])


async def test_a_host_that_cannot_tell_is_left_alone():
    desk = Desk(pod("a"))
    await asyncio.wait_for(watch(object(), desk).run(), 1)
    assert desk.conditions == []


async def test_what_nobody_needs_goes_before_pods_go_for_want_of_disk():
    host, desk = Host(measured()), Desk(pod("a"), pod("b"), pod("c"))
    host.memory, host.disk = Level(1 << 29, 1 << 30), Level(40, 1000)
    host.written = DiskUsage({"a.c": 5, "b.c": 1}, {("b", "data"): 5})
    desk.frees = {1, 4}
    seen = watch(host, desk)
    await turn(seen)
    assert desk.evicted == []
    await turn(seen)
    await turn(seen)
    assert desk.evicted == ["b"], "its volume counts, and the next one waits until it has ended"
    del desk.pods["b"]
    await turn(seen)
    assert desk.evicted == ["b"], "what it left is removed first"
    await turn(seen)
    assert desk.evicted == ["b", "a"]
    assert desk.reclaimed == [60] * 5
    assert desk.sizes == [1000], "told once"
    assert desk.conditions == [{"DiskPressure"}]
    assert desk.told == ["ephemeral-storage"]


async def test_inodes_are_made_room_for_as_disk_is():
    host, desk = Host(measured()), Desk(pod("a"), pod("b"))
    host.memory, host.inodes = Level(1 << 29, 1 << 30), Level(40, 1000)
    host.disk = Level(900, 1000)
    host.written = DiskUsage({"b.c": 5}, {})
    desk.frees = {1}
    seen = watch(host, desk)
    await turn(seen)
    assert desk.evicted == []
    await turn(seen)
    assert desk.evicted == ["b"], "it has most on the disk, and nobody counts files of pods"
    assert desk.conditions == [{"DiskPressure"}]
    assert desk.told == ["inodes"]


@pytest.mark.parametrize(("known", "wanted"), [(0, 1), (1000, 100)])
async def test_a_disk_so_full_that_nobody_can_look_counts_as_full(known, wanted):
    host, desk = Host(measured()), Desk(pod("a"))
    host.memory, host.disk = None, Level(0, 0)
    host.written = DiskUsage({"a.c": 5}, {})
    await turn(watch(host, desk, before=Before(disk=known)))
    assert desk.conditions == [{"DiskPressure"}]
    assert (desk.reclaimed, desk.evicted, desk.sizes) == ([wanted], ["a"], [])


async def test_a_shortage_goes_on_until_the_minimum_is_reclaimed():
    host, desk = Host(measured()), Desk(pod("a"))
    host.memory, host.disk = Level(1 << 29, 1 << 30), Level(99, 1000)
    desk.frees = {1, 2, 3}
    spec = DockerHostSpec(eviction_minimum_reclaim={DISK_AVAILABLE: "5%"})
    limits = pressure_limits(spec)
    seen = PressureWatch("h1", host, limits, Before(), desk, 0.01)
    for available in (99, 100, 149):
        host.disk = Level(available, 1000)
        await turn(seen)
    relieving = asyncio.create_task(seen.relieve())
    for available in (150, 149):
        host.disk = Level(available, 1000)
        await seen.look()
        await asyncio.sleep(0)
    assert not relieving.done()
    relieving.cancel()
    assert desk.reclaimed == [1, 50, 1]
    assert desk.told == ["ephemeral-storage"]


async def test_a_host_that_is_short_of_two_evicts_for_one_at_a_time():
    host, desk = Host(measured(a=9 * MI, b=1 * MI)), Desk(pod("a"), pod("b"))
    host.disk, host.written = Level(0, 1000), DiskUsage({"b.c": 5}, {})
    await turn(watch(host, desk))
    assert (desk.evicted, desk.reclaimed) == (["a"], [100])


class Images:
    """Of a disk without room for whoever could look at it."""

    def __init__(self, *names):
        self.names = [*names]
        self.answers = True

    async def list(self):
        if not self.answers:
            raise HostUnreachable("no answer")
        return [LocalImage(name, (name,), 10, pulled=True) for name in self.names]

    async def remove(self, image):
        self.names.remove(image.id)

    async def filesystem(self):
        raise HostUnreachable("no space left on device")


@pytest.mark.parametrize("answers", [True, False])
async def test_a_disk_too_full_to_be_looked_at_loses_images_and_then_pods(answers, caplog):
    caplog.set_level("INFO")
    host, desk, images = Host(measured()), Desk(pod("a")), Images("x")
    host.memory, host.disk = None, Level(0, 0)
    host.written = DiskUsage({"a.c": 5}, {})

    async def changed(report):
        pass

    storage = HostStorage("h1", images, changed, CollectionLimits(least_age=0), 1.0)
    desk.reclaim = storage.reclaim
    seen = watch(host, desk, before=Before(disk=1000))
    if answers:
        await turn(seen)
        assert (desk.evicted, images.names) == ([], [])
        assert "too full to be looked at; removed 1 images" in caplog.text
    images.answers = answers
    await turn(seen)
    assert desk.evicted == ["a"]


async def test_nobody_goes_for_a_shortage_that_went_while_it_was_measured():
    host, desk = Host(measured(a=1)), Desk(pod("a"))
    host.disk, host.written = Level(0, 1000), DiskUsage({"a.c": 5}, {})

    async def measures():
        host.memory, host.disk = Level(1 << 29, 1 << 30), Level(500, 1000)

    host.measures = measures
    seen = watch(host, desk)
    await seen.look()
    assert desk.evicted == [], "there is memory again"
    host.memory, host.disk = Level(1 << 29, 1 << 30), Level(0, 1000)
    await turn(seen)
    assert desk.evicted == [], "there is disk again"


async def test_an_evicted_pod_has_its_time_however_long_measuring_took(monkeypatch):
    host, desk = Host(measured()), Desk(pod("a"), pod("b"))
    host.memory, host.disk = None, Level(0, 1000)
    host.written = DiskUsage({"a.c": 5, "b.c": 9}, {})
    loop, passed = asyncio.get_running_loop(), [0.0]
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + passed[0])

    async def measures():
        passed[0] += 120.0

    host.measures = measures
    seen = watch(host, desk)
    for _ in range(2):
        await seen.look()
        await seen.relieve()
    assert desk.evicted == ["b"]


async def test_memory_is_looked_at_while_a_disk_is_measured():
    host, desk = Host(measured(a=1, b=2)), Desk(pod("a"), pod("b"))
    host.memory, host.disk = Level(1 << 29, 1 << 30), Level(0, 1000)
    host.written = DiskUsage({"a.c": 5}, {})
    measuring, measured_all, ended = asyncio.Event(), asyncio.Event(), []

    async def measures(containers, *, volumes):
        measuring.set()
        try:
            await measured_all.wait()
        finally:
            ended.append(len(desk.evicted))
        return host.written

    host.disk_usage = measures
    running = asyncio.create_task(watch(host, desk).run())
    async with asyncio.timeout(10):
        await measuring.wait()
    host.memory = Level(0, 1 << 30)
    await until(lambda: desk.evicted == ["b"])
    assert not ended, "it is being measured all the time"
    measured_all.set()
    await until(lambda: len(desk.reclaimed) > 2)
    assert desk.evicted == ["b"], "the other one waits until it has ended"
    measuring.clear()
    measured_all.clear()
    del desk.pods["b"]
    host.memory = Level(1 << 29, 1 << 30)
    async with asyncio.timeout(10):
        await measuring.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(ended) == 2, "a measurement ends with the watch"


async def test_a_disk_that_cannot_be_measured_is_told_once_and_measured_again(caplog):
    host, desk, failures = Host(measured()), Desk(pod("a")), []
    host.memory, host.disk = Level(1 << 29, 1 << 30), Level(0, 1000)
    host.written = DiskUsage({"a.c": 5}, {})

    async def fails():
        failures.append(1)
        if len(failures) < 4:
            raise HostUnreachable("no answer")

    host.measures = fails
    running = asyncio.create_task(watch(host, desk).run())
    await until(lambda: desk.evicted == ["a"])
    running.cancel()
    assert caplog.text.count("no answer") == 1


async def test_a_size_of_the_disk_is_told_when_it_differs_by_more_than_a_hundredth():
    host, desk = Host(measured()), Desk()
    host.memory = None
    seen = watch(host, desk, before=Before(disk=10_000))
    for capacity in (10_000, 10_100, 9_900, 10_101, 10_100, 10_202, 10_203, 9_000):
        host.disk = Level(capacity, capacity)
        await seen.look()
    assert desk.sizes == [10_101, 10_203, 9_000]
