"""The scheduling cycle and cohorts: each pod is placed as if it had come alone."""

import asyncio
from collections import Counter

import msgspec
import pytest

from scheduler.errors import NotFound
from scheduler.objects.stored import ObjectKey, intern_body
from scheduler.store.operations import BindCohort, CreateCohort, Remove
from scheduler.store.store import Store
from tests.integration.test_cycle import Service, all_bound, node, passing
from tests.integration.test_cycle import pod as pod_alone
from tests.integration.test_preemption import leaving, nominated, running
from tests.placement_cases import spec
from tests.store_values import bind, cohort, create, replace


@pytest.fixture
async def service(store):
    await store.write(create("namespaces", "default"))
    async with store.leadership("test").hold() as epoch:
        made = Service(store, epoch)
        made.epoch = epoch
        yield made


def alike(size, start=0, labels=None, **fields):
    encoded = msgspec.json.encode({"spec": spec(**fields)}, order="deterministic")
    lot = cohort(size, start, intern_body(encoded), labels=labels or {})
    return CreateCohort(msgspec.structs.replace(lot, status=b'{"phase":"Pending"}'))


async def make(store, *ops):
    made = await store.create_cohorts(ops)
    assert not [each for each in made if isinstance(each, Exception)]
    return made


def ours(lot, pods):
    return [pods[name] for n in range(lot.size) if (name := lot.name(n)) in pods]


async def agrees(service):
    """Wait until nothing is on its way; what placement counts is what is bound then."""
    for _ in range(500):
        await service.pods.reached(await service.store.revision())
        service.placement._drain()
        snapshot = service.placement._state.freeze(1)
        counted = {
            facts.name: count
            for row, facts in enumerate(snapshot.nodes)
            if (count := int(snapshot.requested[snapshot.resource_row["pods"], row]))
        }
        listed = (await service.store.list("pods")).objects
        bound = Counter(obj.binding.node for obj in listed if obj.binding)
        if counted == bound:
            break
        await asyncio.sleep(0.01)
    assert counted == bound


async def test_cohorts_are_packed_and_nothing_is_overcommitted(service):
    async with running(service):
        await service.write(*(node(f"n{i}", cpu="10") for i in range(6)))
        lots = await make(service.store, alike(25, cpu="1"), alike(35, 100, cpu="1"))
        pods = await service.seen(lambda pods: len(pods) == 60 and all_bound(pods))
        assert set(Counter(p.node for p in pods.values()).values()) == {10}
        assert {p.stored.lodged for p in pods.values()} == {True}
        assert service.placement.pending()["active"] == 0
        await service.told("Scheduled", 60)
        await agrees(service)
        (record,) = await service.store.decisions_of("default", lots[0].name(7))
        assert (record.outcome, record.pods) == ("placed", 25)


async def test_who_does_not_fit_is_told_and_placed_when_a_node_comes(service):
    async with running(service):
        await service.write(node("n0", cpu="3"))
        (lot,) = await make(service.store, alike(5, cpu="1"))

        def halted(pods):
            told = [p for p in pods.values() if p.status.condition("PodScheduled")]
            return len(told) == 2 and sum(bool(p.node) for p in pods.values()) == 3

        pods = await service.seen(halted)
        waiting = [p for p in pods.values() if not p.node]
        condition = waiting[0].status.condition("PodScheduled")
        words = (
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod."
        )
        assert (condition.reason, condition.message) == ("Unschedulable", words)
        assert service.placement.queue.counts()["parked"] == 2
        # More of the class find it parked and wait beside the others.
        await make(service.store, alike(3, 50, cpu="1"))
        await service.told("FailedScheduling", 5)
        assert service.placement.pending()["parked"] == 5
        await service.write(node("n1", cpu="4"))
        await service.seen(lambda pods: sum(bool(p.node) for p in pods.values()) == 7)
        await service.write(node("n2", cpu="4"))
        await service.seen(all_bound)
        assert lot.name(0) in service.by_name()
        await agrees(service)


async def test_higher_priority_goes_first(service):
    """Of cohorts and single pods in any mixture, when there is room for few."""
    informers = [asyncio.create_task(each.run()) for each in (service.pods, service.nodes)]
    await service.pods.synced()
    await service.write(node("n0", cpu="4"))
    await passing(service.nodes, lambda: service.nodes.items)
    await make(service.store, alike(2, 0, cpu="1", priority=1), alike(2, 50, cpu="1", priority=9))
    await service.write(*(pod_alone(f"p{i}", cpu="1", priority=5) for i in range(2)))
    await service.seen(lambda pods: len(pods) == 6)
    placing = asyncio.create_task(service.placement.run())
    pods = await service.seen(lambda pods: sum(bool(p.node) for p in pods.values()) == 4)
    assert {p.spec.priority for p in pods.values() if p.node} == {9, 5}
    assert {p.stored.lodged for p in pods.values() if p.spec.priority == 9} == {True}
    for task in (placing, *informers):
        task.cancel()
    await asyncio.gather(placing, *informers, return_exceptions=True)


@pytest.mark.parametrize("how", ["delete", "labels", "status", "bind", "bind some"])
async def test_a_pod_that_changes_while_its_binding_is_in_flight(service, monkeypatch, how):
    real, store = service.store.write_cohorts, service.store
    changed = []

    async def write_cohorts(ops):
        if not changed and ops:
            (op,) = ops
            changed.append(op.cohort)
            await interfere(store, lot, how)
        return await real(ops)

    monkeypatch.setattr(service.placement._binder._store, "write_cohorts", write_cohorts)
    async with running(service):
        await service.write(node("n0", cpu="8"), node("n1", cpu="8"))
        await service.pods.synced()  # what an informer lists, it holds one by one
        lot = alike(4, cpu="1").cohort
        (lot,) = await make(store, CreateCohort(lot))
        expected = 3 if how == "delete" else 4
        pods = await service.seen(lambda pods: len(pods) == expected and all_bound(pods))
        assert changed == [lot.uid]
        if how == "labels":
            assert pods[lot.name(2)].meta.labels == {"app": "changed"}
        assert (lot.name(2) in pods) == (how != "delete")
        await agrees(service)


async def interfere(store, lot, how):
    """Do something to the third pod of a cohort."""
    found = await store.get(ObjectKey("pods", "default", lot.name(2)))
    if how == "delete":
        await store.write(Remove(found.key))
    elif how == "labels":
        await store.write(replace(found, labels={"app": "changed"}))
    elif how == "status":
        await store.write(replace(found, status=b'{"phase":"Pending","message":"x"}'))
    elif how == "bind":
        await store.write(bind(found, "n1", await store.revision(), requests={"cpu": 1, "pods": 1}))
    else:
        op = BindCohort(
            "default", lot.uid, (2, 3), ("n1", "n0"), await store.revision(), {"pods": 1}
        )
        (done,) = await store.write_cohorts((op,))
        assert not done.refused


async def test_two_binders_race(service, database_url):
    """Somebody else, in another process, binds pods of the same cohorts at the same time."""
    async with Store.open(database_url) as other, running(service):
        await service.write(*(node(f"n{i}", cpu="16") for i in range(4)))
        lots = []

        async def rival():
            while len(lots) < 20:
                (lot,) = await make(other, alike(6, 10 * len(lots), cpu="1"))
                lots.append(lot)
                seen = await other.revision()
                half = BindCohort("default", lot.uid, (1, 3), ("n0", "n1"), seen, {"cpu": 1000})
                (outcome,) = await other.write_cohorts((half,))
                if isinstance(outcome, NotFound):  # the service reads another's pods one by one
                    keys = [ObjectKey("pods", "default", lot.name(n)) for n in range(6)]
                    assert not any([(await other.get(key)).lodged for key in keys])
                else:
                    assert not isinstance(outcome, Exception)
                await service.store.write(Remove(ObjectKey("pods", "default", lot.name(5))))

        await rival()
        await service.write(*(node(f"m{i}", cpu="16") for i in range(4)))
        await service.seen(lambda pods: len(pods) == 100 and all_bound(pods))
        await agrees(service)


async def test_nodes_that_go_and_return_keep_their_pods(service):
    async with running(service):
        await service.write(node("n0", cpu="4"))
        (lot,) = await make(service.store, alike(3, cpu="1"))
        await service.seen(lambda pods: len(pods) == 3 and all_bound(pods))
        await service.write(Remove(ObjectKey("nodes", "", "n0")))
        await service.write(Remove(ObjectKey("pods", "default", lot.name(1))))
        await service.write(node("n0", cpu="4"))
        await make(service.store, alike(3, 50, cpu="1"))
        pods = await service.seen(lambda pods: sum(bool(p.node) for p in pods.values()) == 4)
        assert len(pods) == 5
        await service.told("FailedScheduling", 1)
        await agrees(service)


async def test_victims_may_live_in_cohorts(service):
    async with running(service):
        await service.write(node("n0", cpu="2"))
        (lot,) = await make(service.store, alike(2, cpu="1"))
        await service.seen(lambda pods: len(pods) == 2 and all_bound(pods))
        await make(service.store, alike(2, 50, cpu="1", priority=10))

        def going(pods):
            return sum(leaving(pods, p.meta.name) for p in ours(lot, pods)) == 2

        pods = await service.seen(going)
        for victim in ours(lot, pods):
            await service.write(Remove(ObjectKey("pods", "default", victim.meta.name)))
        pods = await service.seen(lambda pods: len(pods) == 2 and all_bound(pods))
        assert {p.spec.priority for p in pods.values()} == {10}
        assert {nominated(pods, name) for name in pods} == {"n0"}
        await agrees(service)


async def crowd_out(service, monkeypatch):
    """Fill two nodes, and have as many of higher priority come; return their cohort."""
    # Who says of a pod that it waits takes it out of its cohort.
    monkeypatch.setattr(service.placement.reporter, "_conditions", lambda _: [])
    await service.write(node("n0", cpu="20"), node("n1", cpu="20"))
    await make(service.store, alike(40, cpu="1", terminationGracePeriodSeconds=0))
    await service.seen(lambda pods: len(pods) == 40 and all_bound(pods))
    return alike(40, 50, cpu="1", priority=10).cohort


async def test_who_was_made_room_for_stays_in_its_cohort(service, monkeypatch):
    async with running(service):
        lot = await crowd_out(service, monkeypatch)
        await make(service.store, CreateCohort(lot))
        pods = await service.seen(lambda pods: len(pods) == 40 and all_bound(pods))
        assert {p.spec.priority for p in pods.values()} == {10}
        assert {p.stored.lodged for p in pods.values()} == {True}
        await service.told("Scheduled", 80)
        assert service.placement.pending()["flying"] == 0
        assert not len(service.placement._displacement.nominations)
        await agrees(service)


@pytest.mark.parametrize("how", ["delete", "labels", "status", "bind"])
async def test_a_pod_changes_while_its_cohort_takes_the_room(service, monkeypatch, how):
    real, changed = service.store.write_cohorts, []

    async def write_cohorts(ops):
        if not changed and any(op.cohort == lot.uid and op.ordinals for op in ops):
            changed.append(lot.uid)
            await interfere(service.store, lot, how)
        return await real(ops)

    async with running(service):
        lot = await crowd_out(service, monkeypatch)
        monkeypatch.setattr(service.placement._binder._store, "write_cohorts", write_cohorts)
        await make(service.store, CreateCohort(lot))
        expected = 39 if how == "delete" else 40
        pods = await service.seen(
            lambda pods: len(ours(lot, pods)) == expected and all_bound(pods) and changed
        )
        if how != "bind":  # of a node that somebody else binds to, all are refused
            assert sum(p.stored.lodged for p in ours(lot, pods)) == 39
        assert (lot.name(2) in pods) == (how != "delete")
        await agrees(service)
