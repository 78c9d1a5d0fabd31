"""Preemption on a real store: nominations and victims are written, and room is kept."""

import asyncio
import json

import msgspec
import pytest

from scheduler.objects.meta import now_seconds
from scheduler.objects.stored import ObjectKey, intern_body
from scheduler.store.operations import Remove
from tests.integration.test_cycle import Service, all_bound, node, passing
from tests.placement_cases import spec
from tests.store_values import create, replace


@pytest.fixture
async def service(store):
    await store.write(create("namespaces", "default"))
    async with store.leadership("test").hold() as epoch:
        made = Service(store, epoch)
        made.epoch = epoch
        yield made


def running(service):
    """Run a service until the block ends."""
    return _Run(service)


class _Run:
    def __init__(self, service):
        self.service = service

    async def __aenter__(self):
        parts = (
            self.service.pods,
            self.service.nodes,
            self.service.events,
            self.service.placement,
        )
        self.tasks = [asyncio.create_task(part.run()) for part in parts]
        return self.service

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self.tasks, return_exceptions=True)
        for outcome in outcomes:
            if not isinstance(outcome, asyncio.CancelledError):
                raise outcome


def pod(name, priority=0, **fields):
    body = {"spec": spec(priority=priority, **fields)}
    encoded = intern_body(msgspec.json.encode(body, order="deterministic"))
    return create("pods", name, "default", encoded, status=b'{"phase":"Pending"}')


async def start(service, *low, nodes=1, cpu="2"):
    """Bring up nodes and the pods of low priority that fill them."""
    await service.write(*(node(f"n{i}", cpu=cpu) for i in range(nodes)))
    await service.write(*low)
    await service.seen(lambda pods: len(pods) == len(low) and all_bound(pods))


def leaving(pods, *names):
    return all(pods[n].meta.deletion_timestamp is not None for n in names if n in pods)


async def end(service, name):
    """Do what a node agent does when a pod's grace is over."""
    await service.write(Remove(ObjectKey("pods", "default", name)))


def nominated(pods, name):
    return pods[name].status.nominated_node_name if name in pods else ""


async def test_a_victim_leaves_and_the_pod_takes_its_place(service):
    async with running(service):
        await start(service, pod("low", cpu="2"))
        await service.write(pod("high", 10, cpu="1"))
        pods = await service.seen(lambda p: nominated(p, "high") and leaving(p, "low"))
        assert nominated(pods, "high") == "n0"
        stored = await service.store.get(ObjectKey("pods", "default", "low"))
        conditions = json.loads(stored.status)["conditions"]
        (target,) = [c for c in conditions if c["type"] == "DisruptionTarget"]
        assert target["reason"] == "PreemptionByScheduler"
        words = "default-scheduler: preempting to accommodate a higher priority pod"
        assert target["message"] == words
        (event,) = await service.told("Preempted", 1)
        uid = pods["high"].meta.uid
        assert event["message"] == f"Preempted by pod {uid} on node n0"
        assert event["involvedObject"]["name"] == "low"
        await service.told("FailedScheduling", 1)
        waiting = await service.seen(lambda p: p["high"].status.condition("PodScheduled"))
        assert nominated(waiting, "high") == "n0"
        await end(service, "low")
        assert (await service.seen(lambda p: p["high"].node))["high"].node == "n0"


async def test_victims_without_grace_are_gone_at_once_and_nobody_else_gets_their_room(service):
    async with running(service):
        await start(service, pod("low", cpu="2", terminationGracePeriodSeconds=0))
        watching = service.pods.subscribe()
        await service.write(pod("other", 5, cpu="2"), pod("high", 10, cpu="2"))
        pods = await service.seen(lambda p: "low" not in p and p["high"].node)
        assert (pods["high"].node, pods["other"].node) == ("n0", "")
        seen = [delta.new for delta in watching.take() if delta.new is not None]
        assert "high" in {each.meta.name for each in seen}
        assert not any(each.status.nominated_node_name for each in seen)


async def test_a_victim_with_a_finalizer_stays_and_the_nomination_is_written(service):
    low = pod("low", cpu="2", terminationGracePeriodSeconds=0)
    meta = msgspec.structs.replace(low.meta, finalizers=("example.com/wait",))
    async with running(service):
        await start(service, msgspec.structs.replace(low, meta=meta))
        await service.write(pod("high", 10, cpu="2"))
        pods = await service.seen(lambda p: nominated(p, "high") and leaving(p, "low"))
        assert (nominated(pods, "high"), pods["high"].node) == ("n0", "")


async def test_a_pod_waits_for_its_victims_and_takes_no_others(service):
    async with running(service):
        await start(service, pod("a", cpu="2"), pod("b", 1, cpu="2"), nodes=2)
        await service.write(pod("high", 10, cpu="2"))
        await service.seen(lambda p: leaving(p, "a"))
        await service.told("FailedScheduling", 1)
        await service.write(node("full", cpu="1"))  # wakes it
        told = await service.told("FailedScheduling", 2)
        assert sorted(event["message"] for event in told) == [
            "0/2 nodes are available: 2 Insufficient cpu.",
            "0/3 nodes are available: 3 Insufficient cpu. "
            "preemption: not eligible due to a terminating pod on the nominated node.",
        ]
        again = await service.store.get(ObjectKey("pods", "default", "b"))
        assert again.meta.deletion_timestamp is None
        await end(service, "a")
        pods = await service.seen(lambda p: p["high"].node)
        assert pods["high"].node != pods["b"].node
        assert pods["b"].meta.deletion_timestamp is None


async def test_room_of_a_nominated_pod_goes_to_nobody_of_lower_priority(service):
    async with running(service):
        await start(service, pod("low", cpu="2"))
        await service.write(pod("high", 10, cpu="2"))
        await service.seen(lambda p: nominated(p, "high") and leaving(p, "low"))
        await service.write(*(pod(f"mid{i}", 5, cpu="1") for i in range(3)))
        await service.told("FailedScheduling", 2)
        await end(service, "low")
        pods = await service.seen(lambda p: p["high"].node)
        assert not any(pods[f"mid{i}"].node for i in range(3))


async def test_many_pods_preempt_at_once(service):
    async with running(service):
        low = [pod(f"low{i}", cpu="1") for i in range(8)]
        await start(service, *low, nodes=4)
        await service.write(*(pod(f"high{i}", 10, cpu="2") for i in range(4)))
        pods = await service.seen(
            lambda p: (
                leaving(p, *(f"low{i}" for i in range(8)))
                and all(nominated(p, f"high{i}") for i in range(4))
            )
        )
        assert sorted(nominated(pods, f"high{i}") for i in range(4)) == ["n0", "n1", "n2", "n3"]
        await asyncio.gather(*(end(service, f"low{i}") for i in range(8)))
        pods = await service.seen(all_bound)
        assert len({p.node for p in pods.values()}) == 4


async def test_never_means_never(service):
    async with running(service):
        await start(service, pod("low", cpu="2"))
        await service.write(pod("high", 10, cpu="1", preemptionPolicy="Never"))
        await service.told("FailedScheduling", 1)
        pods = service.by_name()
        assert not nominated(pods, "high")
        assert pods["low"].meta.deletion_timestamp is None


async def test_a_budget_is_spared_where_another_node_will_do(service):
    budget = {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    async with running(service):
        await service.write(
            create(
                "poddisruptionbudgets.policy",
                "b",
                "default",
                msgspec.json.encode(budget),
                status=b'{"disruptionsAllowed":0}',
            )
        )
        web = pod("web", 0, cpu="2")
        web = msgspec.structs.replace(
            web, meta=msgspec.structs.replace(web.meta, labels={"app": "web"})
        )
        await start(service, web, pod("other", 5, cpu="2"), nodes=2)
        await service.write(pod("high", 10, cpu="1"))
        pods = await service.seen(lambda p: leaving(p, "other"))
        assert pods["web"].meta.deletion_timestamp is None


async def test_a_restart_forgets_neither_nomination_nor_victims(service):
    async with running(service):
        await start(service, pod("low", cpu="2"))
        await service.write(pod("high", 10, cpu="2"))
        await service.seen(lambda p: nominated(p, "high") and leaving(p, "low"))
    again = Service(service.store, service.epoch)
    async with running(again):
        await again.seen(lambda p: len(p) == 2)
        await again.write(pod("mid", 5, cpu="1"))
        await end(again, "low")
        pods = await again.seen(lambda p: p["high"].node)
        assert not pods["mid"].node


async def test_a_pod_that_goes_gives_its_nomination_back(service):
    async with running(service):
        await start(service, pod("low", cpu="2"))
        await service.write(pod("high", 10, cpu="2"))
        await service.seen(lambda p: nominated(p, "high") and leaving(p, "low"))
        await service.write(pod("mid", 5, cpu="1"))
        await passing(service.pods, lambda: "mid" in service.by_name())
        await end(service, "high")
        await end(service, "low")
        assert (await service.seen(lambda p: p["mid"].node))["mid"].node == "n0"


async def test_a_higher_pod_takes_over_the_node_of_a_nominated_one(service):
    async with running(service):
        await start(service, pod("low", cpu="2"))
        await service.write(pod("mid", 5, cpu="2"))
        await service.seen(lambda p: nominated(p, "mid") and leaving(p, "low"))
        await service.write(pod("high", 10, cpu="2"))
        await service.seen(lambda p: nominated(p, "high") and not nominated(p, "mid"))
        await end(service, "low")
        pods = await service.seen(lambda p: p["high"].node)
        assert not pods["mid"].node


async def test_a_terminating_pod_of_somebody_else_is_waited_for_as_for_a_victim(service):
    async with running(service):
        await start(service, pod("low", cpu="2"))
        low = await service.store.get(ObjectKey("pods", "default", "low"))
        gone = replace(low, deletion_timestamp=now_seconds(), deletion_grace_period_seconds=30)
        await service.write(gone)
        await service.write(pod("high", 10, cpu="2"))
        await service.seen(lambda p: nominated(p, "high"))
        await end(service, "low")
        assert (await service.seen(lambda p: p["high"].node))["high"].node == "n0"


async def test_a_later_search_looks_at_who_is_there_by_then(service):
    brief = {"cpu": "2", "terminationGracePeriodSeconds": 0}
    async with running(service):
        await start(service, pod("a", **brief), pod("b", 1, **brief), nodes=2)
        await service.write(pod("high", 10, cpu="2"))
        await service.seen(lambda p: "a" not in p and p["high"].node)
        await end(service, "b")
        await service.write(pod("c", 2, **brief))
        await service.seen(lambda p: "b" not in p and "c" in p and p["c"].node)
        await service.write(pod("higher", 9, cpu="2"))
        pods = await service.seen(lambda p: "higher" in p and p["higher"].node)
        assert "c" not in pods
        assert {pods["high"].node, pods["higher"].node} == {"n0", "n1"}
