"""The scheduling cycle on a real store: pods come in, bindings, events and records come out."""

import asyncio

import msgspec
import pytest

from scheduler.informer import Informer
from scheduler.objects.image_manifest import manifest_name
from scheduler.objects.node import node_view
from scheduler.objects.pod import pod_view
from scheduler.objects.stored import ObjectKey, intern_body
from scheduler.placement import batches
from scheduler.placement.cycle import Placement
from scheduler.placement.tenants import NODE
from scheduler.plugin_manager import PluginManager
from scheduler.store.operations import Bind, Remove, Replace
from tests.placement_cases import every_rule, ignoring, spec
from tests.store_values import create, replace


def node(name, *, cpu="4", memory="8Gi", pods="110", body=b'{"spec":{}}'):
    offer = {"cpu": cpu, "memory": memory, "pods": pods}
    status = {"allocatable": offer, "conditions": [{"type": "Ready", "status": "True"}]}
    return create("nodes", name, body=body, status=msgspec.json.encode(status))


def pod(name, **fields):
    body = intern_body(msgspec.json.encode({"spec": spec(**fields)}, order="deterministic"))
    return create("pods", name, "default", body, status=b'{"phase":"Pending"}')


class Service:
    """A running placement and the informers it needs."""

    def __init__(self, store, epoch, rules=None):
        self.store = store
        self.pods = Informer(
            store, "pods", pod_view, {NODE: lambda pod: (pod.node,) if pod.node else ()}
        )
        self.nodes = Informer(store, "nodes", node_view)
        self.events = Informer(
            store, "events", lambda stored: msgspec.json.decode(stored.body.json)
        )
        rules = rules or every_rule()
        self.placement = Placement(store, rules, epoch, pods=self.pods, nodes=self.nodes)

    async def write(self, *ops):
        outcomes = await self.store.write_many(ops)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return outcomes

    async def seen(self, test):
        """Wait until the pods by name pass a test, and return them."""
        await passing(self.pods, lambda: test(self.by_name()))
        return self.by_name()

    def by_name(self):
        return {key.name: pod for key, pod in self.pods.items.items()}

    async def told(self, reason, count):
        """Wait for that many events of a reason; what was decided has been recorded by then."""

        def found():
            return [event for event in self.events.items.values() if event["reason"] == reason]

        await passing(self.events, lambda: len(found()) >= count)
        return found()


async def passing(informer, test):
    """Wait until a test of what an informer has passes."""
    subscription = informer.subscribe()
    async with asyncio.timeout(20):
        while not test():
            await subscription.next()


@pytest.fixture
async def service(store):
    await store.write(create("namespaces", "default"))
    async with store.leadership("test").hold() as epoch:
        running = Service(store, epoch)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(part.run())
                for part in (running.pods, running.nodes, running.events, running.placement)
            ]
            yield running
            for task in tasks:
                task.cancel()


async def explained(store, monkeypatch, count):
    """Return a task that ends when so many explanations have been kept."""
    keep, kept = store.record_explanations, asyncio.Queue()

    async def note(records):
        await keep(records)
        kept.put_nowait(len(records))

    async def enough():
        left = count
        async with asyncio.timeout(30):
            while left > 0:
                left -= await kept.get()

    monkeypatch.setattr(store, "record_explanations", note)
    return asyncio.ensure_future(enough())


async def test_a_resource_that_the_profile_ignores_limits_nobody(store):
    await store.write(create("namespaces", "default"))
    rules = {"default-scheduler": PluginManager.load().rules(ignoring("example.com/licence"))}
    async with store.leadership("test").hold() as epoch, asyncio.TaskGroup() as group:
        service = Service(store, epoch, rules)
        parts = (service.pods, service.nodes, service.events, service.placement)
        tasks = [group.create_task(part.run()) for part in parts]
        wanted = [pod(f"p{n}", cpu="1", requests={"example.com/licence": "1"}) for n in range(2)]
        await service.write(node("n"), *wanted)
        await service.seen(all_bound)
        for task in tasks:
            task.cancel()


def all_bound(pods):
    return bool(pods) and all(p.node for p in pods.values())


async def test_pods_are_packed_and_nothing_is_overcommitted(service):
    await service.write(*(node(f"n{i}") for i in range(4)))
    await service.write(*(pod(f"p{i}", cpu="1", memory="1Gi") for i in range(8)))
    pods = await service.seen(lambda pods: len(pods) == 8 and all_bound(pods))
    nodes = [p.node for p in pods.values()]
    assert {name: nodes.count(name) for name in set(nodes)} == {"n0": 4, "n1": 4}


async def test_pods_go_where_their_images_can_run_once_that_is_known(service):
    arm = create(
        *("nodes", "arm"),
        body=b'{"spec":{}}',
        status=node("arm").status,
        labels={"kubernetes.io/arch": "arm64"},
    )
    image = "docker.io/library/i:latest"
    body = msgspec.json.encode({"spec": {"image": image}})
    platforms = {"platforms": [{"os": "linux", "architecture": "amd64"}]}
    manifest = create(
        *("imagemanifests.ironfree.dev", manifest_name(image)),
        body=body,
        status=msgspec.json.encode(platforms),
    )
    (_, made) = await service.write(arm, manifest)
    await service.placement._surroundings.manifests.reached(made.revision)
    await service.write(pod("p"))
    await service.told("FailedScheduling", 1)
    message = service.by_name()["p"].status.condition("PodScheduled").message
    assert "architecture that an image is not made for" in message
    await service.write(Remove(made.key))
    pods = await service.seen(all_bound)
    assert pods["p"].node == "arm"


async def test_a_binding_is_told_as_event_and_record(service):
    await service.write(node("n0"), pod("p", cpu="1"))
    await service.seen(all_bound)
    (event,) = await service.told("Scheduled", 1)
    assert event["message"].startswith("Successfully assigned default/p to n0")
    assert event["source"] == {"component": "default-scheduler"}
    (record,) = await service.store.decisions_of("default", "p")
    assert (record.outcome, record.node, record.pods) == ("placed", "n0", 1)
    assert record.alternatives[0].node == "n0"
    assert record.alternatives[0].by_plugin["NodeResourcesFit"] > 0


async def test_an_unschedulable_pod_says_why_and_wakes_for_a_new_node(service):
    cordoned = node("cordoned", body=b'{"spec":{"unschedulable":true}}')
    await service.write(node("small", cpu="1"), cordoned, pod("p", cpu="2"))
    message = (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. preemption: "
        "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    pods = await service.seen(
        lambda pods: pods and pods["p"].status.condition("PodScheduled") is not None
    )
    condition = pods["p"].status.condition("PodScheduled")
    assert (condition.status, condition.reason, condition.message) == (
        "False",
        "Unschedulable",
        message,
    )
    (event,) = await service.told("FailedScheduling", 1)
    assert (event["type"], event["message"]) == ("Warning", message)
    assert service.placement.queue.counts()["parked"] == 1
    await service.write(node("large"))
    pods = await service.seen(all_bound)
    assert pods["p"].node == "large"
    await service.told("Scheduled", 1)
    records = await service.store.decisions_of("default", "p")
    assert {record.outcome for record in records} == {"placed", "unschedulable"}


async def test_a_pod_removed_makes_room_for_one_that_waits(service):
    await service.write(node("n", cpu="1"), pod("first", cpu="1"))
    await service.seen(all_bound)
    await service.write(pod("second", cpu="1"))
    await service.seen(lambda pods: pods["second"].status.condition("PodScheduled") is not None)
    await service.write(Remove(ObjectKey("pods", "default", "first")))
    pods = await service.seen(lambda pods: "first" not in pods and all_bound(pods))
    assert pods["second"].node == "n"


async def test_a_pod_bound_by_somebody_else_is_counted_and_left_alone(service):
    await service.write(node("n", cpu="2"))
    held = (await service.write(pod("gated", cpu="2", schedulerName="other")))[0]
    await service.write(
        Bind(held.key, held.meta.uid, "n", await service.store.revision(), {"cpu": 2000})
    )
    await service.seen(all_bound)
    await service.write(pod("late", cpu="1"))
    await service.seen(lambda pods: pods["late"].status.condition("PodScheduled") is not None)
    assert service.by_name()["late"].node == ""


async def test_a_conflict_concerns_that_pod_only(service):
    """One pod vanishes from the store before the scheduler hears of it."""
    await service.write(node("n"))
    write_many = service.store.write_many
    raced = asyncio.Event()

    async def racing(ops):
        if any(isinstance(op, Bind) for op in ops) and not raced.is_set():
            raced.set()
            stored = await service.store.get(ObjectKey("nodes", "", "n"))
            await service.store.write(replace(stored, labels={"changed": "meanwhile"}))
        return await write_many(ops)

    service.store.write_many = racing
    await service.write(*(pod(f"p{i}", cpu="100m") for i in range(5)))
    pods = await service.seen(lambda pods: len(pods) == 5 and all_bound(pods))
    assert raced.is_set()
    assert {p.node for p in pods.values()} == {"n"}


async def test_gated_foreign_and_deleted_pods_are_not_placed(service):
    await service.write(
        node("n"),
        pod("gated", cpu="1", schedulingGates=[{"name": "wait"}]),
        pod("foreign", cpu="1", schedulerName="somebody"),
        pod("ours", cpu="1", schedulerName="ironfree"),
    )
    await service.seen(lambda pods: "ours" in pods and pods["ours"].node)
    by_name = service.by_name()
    assert (by_name["gated"].node, by_name["foreign"].node) == ("", "")
    gated = await service.store.get(ObjectKey("pods", "default", "gated"))
    opened = intern_body(msgspec.json.encode({"spec": spec(cpu="1")}, order="deterministic"))
    await service.write(replace(gated, body=opened))
    await service.seen(lambda pods: pods["gated"].node)


async def test_host_ports_are_never_taken_twice(service):
    await service.write(*(node(f"n{i}") for i in range(3)))
    await service.write(*(pod(f"p{i}", port=8080) for i in range(4)))
    pods = await service.seen(
        lambda pods: (
            sum(bool(p.node) for p in pods.values()) == 3
            and any(p.status.condition("PodScheduled") for p in pods.values())
        )
    )
    assert sorted(p.node for p in pods.values()) == ["", "n0", "n1", "n2"]


async def test_a_thousand_identical_pods_without_room_park_together(service):
    await service.write(node("n", cpu="1"))
    await service.write(*(pod(f"p{i}", cpu="100m") for i in range(1000)))
    pods = await service.seen(
        lambda pods: (
            len(pods) == 1000
            and all(p.node or p.status.condition("PodScheduled") for p in pods.values())
        )
    )
    assert service.placement.queue.counts()["parked"] == 990
    assert sum(bool(p.node) for p in pods.values()) == 10


@pytest.mark.parametrize("seconds", [batches.SECONDS, 0.0], ids=["batches", "one by one"])
async def test_what_cannot_be_placed_delays_nobody(service, monkeypatch, seconds):
    """More classes than two batches take, older and woken all the time, and of higher priority."""
    monkeypatch.setattr(batches, "SECONDS", seconds)
    await service.write(node("n"))
    hopeless = [
        pod(f"h{i}", cpu=f"{5000 + i}m", priority=7) for i in range(2 * batches.CLASSES + 50)
    ]
    await service.write(*hopeless)
    await service.seen(lambda _: service.placement.queue.counts()["parked"] == len(hopeless))
    for number in range(3):
        await service.write(node(f"tiny{number}", cpu="1m"), pod(f"p{number}", cpu="1"))
        pods = await service.seen(lambda pods, name=f"p{number}": name in pods and pods[name].node)
        assert pods[f"p{number}"].node == "n"
    assert not any(each.node for name, each in pods.items() if name.startswith("h"))


async def test_one_pod_is_placed_amid_a_class_of_thousands(store):
    await store.write(create("namespaces", "default"))
    async with store.leadership("test").hold() as epoch, asyncio.TaskGroup() as group:
        late = Service(store, epoch)
        nodes = (node(f"n{i}", cpu="64", memory="64Gi", pods="900") for i in range(10))
        many = (pod(f"many{i}", cpu="1m") for i in range(2 * batches.PODS))
        await late.write(*nodes, *many)
        await late.write(pod("one", cpu="2m"))
        running = [
            group.create_task(part.run()) for part in (late.pods, late.nodes, late.placement)
        ]
        pods = await late.seen(lambda pods: len(pods) == 2 * batches.PODS + 1 and all_bound(pods))
        before = sum(each.revision < pods["one"].revision for each in pods.values())
        assert before < batches.PODS
        for task in running:
            task.cancel()


async def test_a_replaced_leader_stops(store):
    await store.write(create("namespaces", "default"))
    async with store.leadership("old").hold() as epoch:
        pass
    async with store.leadership("new").hold():
        running = Service(store, epoch)
        await store.write(node("n"))
        await store.write(pod("p", cpu="1"))
        with pytest.RaisesGroup(pytest.RaisesExc(Exception), flatten_subgroups=True) as raised:
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                for part in (running.pods, running.nodes, running.placement):
                    group.create_task(part.run())
        assert "has been replaced" in str(raised.value.exceptions[0].exceptions[0])
        assert (await store.get(ObjectKey("pods", "default", "p"))).binding is None


async def test_a_condition_is_written_although_the_pod_changes_at_that_moment(service, monkeypatch):
    real, changed = service.store.write_many, []

    async def write_many(ops):
        if not changed and any(op.resource == "pods" for op in ops if isinstance(op, Replace)):
            changed.append(ops)
            found = await service.store.get(ObjectKey("pods", "default", "p"))
            await service.store.write(replace(found, status=b'{"message":"x","phase":"Pending"}'))
        return await real(ops)

    monkeypatch.setattr(service.store, "write_many", write_many)
    await service.write(node("n", cpu="1"), pod("p", cpu="2"))
    pods = await service.seen(lambda pods: "p" in pods and pods["p"].status.conditions)
    assert pods["p"].status.message == "x"
    assert pods["p"].status.condition("PodScheduled").reason == "Unschedulable"
    assert changed
    await service.placement.reporter.flushed()
    (event,) = await service.told("FailedScheduling", 1)
    assert event["count"] == 1


async def test_every_decision_of_a_burst_is_explained(service, monkeypatch):
    written = await explained(service.store, monkeypatch, 12)
    names = [f"p{number}" for number in range(12)]
    await service.write(*(node(name) for name in "abc"))
    await service.write(*(pod(name, cpu=f"{number + 1}m") for number, name in enumerate(names)))
    await service.seen(lambda pods: len(pods) == 12 and all_bound(pods))
    await written
    for name in names:
        (record,) = await service.store.decisions_of("default", name)
        assert await service.store.explanation(record.id) is not None
