"""Gangs on a real store: members get their nodes together or not at all."""

import asyncio

import msgspec
import pytest

from scheduler.objects.meta import now_seconds
from scheduler.objects.pod_group import COSCHEDULING_LABEL, LABEL, RESOURCE
from scheduler.objects.stored import Body, ObjectKey, intern_body
from scheduler.store.operations import Bind, CreateCohort, Remove
from tests.integration.test_cycle import Service, node
from tests.placement_cases import spec
from tests.store_values import cohort, create, replace


@pytest.fixture
async def service(store):
    await store.write(create("namespaces", "default"))
    async with store.leadership("test").hold() as epoch:
        running = Service(store, epoch)
        running.epoch = epoch
        async with asyncio.TaskGroup() as tasks:
            parts = (running.pods, running.nodes, running.events, running.placement)
            running.tasks = [tasks.create_task(part.run()) for part in parts]
            yield running
            for task in running.tasks:
                task.cancel()


def group(name, least, **status):
    body = Body(msgspec.json.encode({"spec": {"minMember": least}}))
    encoded = msgspec.json.encode(status) if status else b""
    return create(RESOURCE, name, "default", body, status=encoded)


def member(name, gang, *, labels=None, **fields):
    if gang:
        fields["schedulingGroup"] = {"podGroupName": gang}
    body = intern_body(msgspec.json.encode({"spec": spec(**fields)}, order="deterministic"))
    pending = b'{"phase":"Pending"}'
    return create("pods", name, "default", body, status=pending, labels=labels or {})


def members(gang, count, **fields):
    return [member(f"{gang}{i}", gang, **fields) for i in range(count)]


def placed(pods, gang):
    return sorted(name for name, pod in pods.items() if name.startswith(gang) and pod.node)


def told(pods, name):
    said = pods[name].status.condition("PodScheduled") if name in pods else None
    return "" if said is None or said.status != "False" else said.message


async def remove(service, *names):
    await service.write(*(Remove(ObjectKey("pods", "default", name)) for name in names))


async def test_members_wait_until_there_are_enough(service):
    await service.write(node("n"), group("g", 3), *members("g", 1, cpu="1"))
    pods = await service.seen(lambda pods: told(pods, "g0"))
    assert told(pods, "g0") == 'waiting for 2 more pods of PodGroup "g": 1 of 3 are there'
    assert service.placement.pending()["gated"] == 1
    await service.write(member("g1", "g", cpu="1"))
    await service.seen(lambda pods: told(pods, "g1").startswith("waiting for 1 more pod of"))
    (event, *_) = await service.told("FailedScheduling", 1)
    assert "PodGroup" in event["message"]
    await service.write(member("g2", "g", cpu="1"))
    pods = await service.seen(lambda pods: len(placed(pods, "g")) == 3)
    # one transaction: consecutive revisions
    revisions = sorted(pod.revision for pod in pods.values())
    assert revisions == list(range(revisions[0], revisions[0] + 3))
    assert service.placement.pending()["gated"] == 0


async def test_a_group_may_come_after_its_pods(service):
    await service.write(node("n"), *members("g", 2, cpu="1"))
    pods = await service.seen(lambda pods: told(pods, "g0"))
    assert told(pods, "g0") == 'PodGroup "g" not found'
    await service.write(group("g", 2))
    await service.seen(lambda pods: len(placed(pods, "g")) == 2)


@pytest.mark.parametrize("label", [LABEL, COSCHEDULING_LABEL])
async def test_labels_make_members(service, label):
    await service.write(node("n"), group("g", 2))
    await service.write(member("g0", "", labels={label: "g"}, cpu="1"))
    await service.seen(lambda pods: told(pods, "g0").startswith("waiting for 1 more"))
    await service.write(member("g1", "", labels={label: "g"}, cpu="1"))
    await service.seen(lambda pods: len(placed(pods, "g")) == 2)


async def test_of_two_gangs_that_want_more_than_half_one_runs_and_then_the_other(service):
    await service.write(*(node(f"n{i}", cpu="2") for i in range(4)))
    rivals = zip(members("a", 5, cpu="1"), members("b", 5, cpu="1"), strict=True)
    await service.write(group("a", 5), group("b", 5), *(pod for pair in rivals for pod in pair))
    pods = await service.seen(
        lambda pods: {len(placed(pods, "a")), len(placed(pods, "b"))} == {5, 0}
    )
    first, other = ("a", "b") if placed(pods, "a") else ("b", "a")
    pods = await service.seen(lambda pods: told(pods, f"{other}0"))
    assert told(pods, f"{other}0") == (
        f'PodGroup "{other}" needs nodes for 5 of its 5 waiting pods together, 3 would fit; '
        f"{other}3 and 1 like it: 0/4 nodes are available: 4 Insufficient cpu."
    )
    assert service.placement.queue.counts()["parked"] == 1
    assert service.placement.pending()["parked"] == 5
    await remove(service, *(f"{first}{i}" for i in range(2)))
    await service.seen(lambda pods: len(placed(pods, other)) == 5)
    await service.told("Scheduled", 10)
    records = await service.store.decisions_of("default", f"{other}4")
    assert {record.outcome for record in records} == {"placed", "unschedulable"}


async def test_a_member_that_goes_while_others_wait(service):
    await service.write(node("n"), group("g", 3), *members("g", 2, cpu="1"))
    await service.seen(lambda pods: told(pods, "g1").startswith("waiting for 1"))
    await remove(service, "g0")
    await service.seen(lambda pods: told(pods, "g1").startswith("waiting for 2"))
    await service.write(*(member(f"g{i}", "g", cpu="1") for i in (5, 6)))
    pods = await service.seen(lambda pods: len(placed(pods, "g")) == 3)
    assert placed(pods, "g") == ["g1", "g5", "g6"]


async def test_further_members_come_one_by_one(service):
    """Those that do not fit with the gang wait as pods like any others, and so do later ones."""
    await service.write(node("n", cpu="3"), group("g", 2), *members("g", 4, cpu="1"))
    pods = await service.seen(lambda pods: len(placed(pods, "g")) == 3 and told(pods, "g3"))
    assert told(pods, "g3") == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: "
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )
    await service.write(member("g9", "g", cpu="1"), node("m", cpu="2"))
    await service.seen(lambda pods: len(placed(pods, "g")) == 5)


async def test_a_replacement_is_a_gang_with_those_that_run(service):
    await service.write(node("n", cpu="3"), group("g", 3), *members("g", 3, cpu="1"))
    await service.seen(lambda pods: len(placed(pods, "g")) == 3)
    await remove(service, "g0")
    await service.write(member("g7", "g", cpu="1"))
    await service.seen(lambda pods: "g7" in pods and pods["g7"].node)
    await remove(service, "g1", "g2")
    await service.write(member("g8", "g", cpu="1"))
    await service.seen(lambda pods: told(pods, "g8").startswith("waiting for 1 more"))


async def test_different_members_see_each_other(service):
    """The workers want to be beside the only master, which wants a node of its own kind."""
    affinity = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"role": "master"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }
    for name in ("plain", "gpu0", "gpu1"):
        labels = {"kubernetes.io/hostname": name, "gpu": "no" if name == "plain" else "yes"}
        (made,) = await service.write(node(name, cpu="3"))
        await service.write(replace(made, labels=labels))
    master = member("gm", "g", cpu="1", nodeSelector={"gpu": "yes"}, labels={"role": "master"})
    workers = [member(f"g{i}", "g", cpu="1", affinity=affinity) for i in range(2)]
    await service.write(group("g", 3), *workers, master)
    pods = await service.seen(lambda pods: len(placed(pods, "g")) == 3)
    assert len({pod.node for pod in pods.values()}) == 1
    assert pods["gm"].node.startswith("gpu")


async def test_a_rival_between_decision_and_binding_leaves_nobody_bound(service):
    await service.write(node("n", cpu="2"), node("m", cpu="2"), group("g", 4))
    (rival,) = await service.write(member("rival", "", cpu="2", schedulerName="other"))
    bind_all, raced, seen = service.store.bind_all, asyncio.Event(), []

    async def racing(ops):
        if ops and not raced.is_set():
            raced.set()
            revision = await service.store.revision()
            await service.store.write(Bind(rival.key, rival.meta.uid, "m", revision, {"cpu": 2000}))
            outcomes = await bind_all(ops)
            seen.extend((await service.store.list("pods")).objects)
            return outcomes
        return await bind_all(ops)

    service.store.bind_all = racing
    await service.write(*members("g", 4, cpu="1"))
    pods = await service.seen(lambda pods: told(pods, "g0"))
    assert [pod.meta.name for pod in seen if pod.binding is not None] == ["rival"]
    assert placed(pods, "g") == []
    await remove(service, "rival")
    await service.seen(lambda pods: len(placed(pods, "g")) == 4)


async def test_a_member_that_goes_between_decision_and_binding(service):
    await service.write(node("n"), group("g", 2))
    bind_all, raced = service.store.bind_all, asyncio.Event()

    async def racing(ops):
        if ops and not raced.is_set():
            raced.set()
            await remove(service, "g0")
        return await bind_all(ops)

    service.store.bind_all = racing
    await service.write(*members("g", 2, cpu="1"))
    pods = await service.seen(lambda pods: told(pods, "g1").startswith("waiting for 1 more"))
    assert placed(pods, "g") == []
    await service.write(member("g5", "g", cpu="1"))
    await service.seen(lambda pods: len(placed(pods, "g")) == 2)


async def test_a_new_leader_takes_over(service):
    await service.write(node("n", cpu="2"), group("g", 3), *members("g", 3, cpu="1"))
    await service.seen(lambda pods: told(pods, "g0").startswith("PodGroup"))
    for task in service.tasks:
        task.cancel()
    async with asyncio.TaskGroup() as tasks:
        other = Service(service.store, service.epoch)
        running = [tasks.create_task(p.run()) for p in (other.pods, other.nodes, other.placement)]
        await other.write(node("m", cpu="1"))
        pods = await other.seen(lambda pods: len(placed(pods, "g")) == 3)
        await other.write(member("g3", "g", cpu="1"))
        pods = await other.seen(lambda pods: told(pods, "g3"))
        assert told(pods, "g3") == (
            "0/2 nodes are available: 2 Insufficient cpu. preemption: "
            "0/2 nodes are available: 2 No preemption victims found for incoming pod."
        )
        for task in running:
            task.cancel()


async def test_after_the_deadline_nobody_is_tried(service):
    deadline = {
        "type": "Scheduled",
        "status": "False",
        "reason": "DeadlineExceeded",
        "message": "late",
        "lastTransitionTime": now_seconds().isoformat(),
        "observedGeneration": 0,
    }
    await service.write(node("n"), group("g", 2, phase="Failed", conditions=[deadline]))
    await service.write(*members("g", 2, cpu="1"))
    pods = await service.seen(lambda pods: told(pods, "g0"))
    assert told(pods, "g0").startswith('PodGroup "g" was not scheduled within')
    stored = await service.store.get(ObjectKey(RESOURCE, "default", "g"))
    await service.write(replace(stored, generation=1))
    await service.seen(lambda pods: len(placed(pods, "g")) == 2)


async def test_a_gang_does_not_go_ahead_of_its_lowest_priority(service):
    await service.write(node("n", cpu="2"), group("g", 2), member("g0", "g", cpu="1", priority=9))
    await service.seen(lambda pods: told(pods, "g0"))
    alone = member("x", "", cpu="1", priority=5)
    await service.write(member("g1", "g", cpu="1", priority=0), alone)
    await service.seen(lambda pods: "x" in pods and pods["x"].node)
    await service.seen(lambda pods: told(pods, "g1").startswith('PodGroup "g" needs nodes for 2'))
    assert placed(service.by_name(), "g") == []


async def test_a_gang_makes_others_leave_where_that_lets_it_run(service):
    low = [member(f"low{i}", "", cpu="1") for i in range(3)]
    await service.write(*(node(f"n{i}", cpu="2") for i in range(2)), *low)
    await service.seen(lambda pods: len(placed(pods, "low")) == 3)
    await service.write(group("g", 3), *members("g", 3, cpu="1", priority=10))
    pods = await service.seen(
        lambda pods: (
            sum(bool(pod.meta.deletion_timestamp) for pod in pods.values()) == 2
            and all(pods[f"g{i}"].status.nominated_node_name for i in range(3))
        )
    )
    going = [name for name, pod in pods.items() if pod.meta.deletion_timestamp]
    (event, *_) = await service.told("Preempted", 2)
    assert "Preempted by pod" in event["message"]
    # the room that is there already is kept, too
    await service.write(member("late", "", cpu="1", priority=5))
    await service.seen(lambda pods: told(pods, "late"))
    await remove(service, going[0])
    await service.write(member("later", "", cpu="1", priority=5))
    pods = await service.seen(lambda pods: told(pods, "later"))
    assert not placed(pods, "g")
    await remove(service, going[1])
    pods = await service.seen(lambda pods: len(placed(pods, "g")) == 3)
    assert not pods["late"].node
    assert not pods["later"].node


async def test_room_is_kept_for_a_gang_only_while_it_is_complete(service):
    await service.write(node("n", cpu="2"), *(member(f"low{i}", "", cpu="1") for i in range(2)))
    await service.seen(lambda pods: len(placed(pods, "low")) == 2)
    await service.write(group("g", 2), *members("g", 2, cpu="1", priority=10))
    await service.seen(
        lambda pods: all(p.meta.deletion_timestamp for n, p in pods.items() if n.startswith("low"))
    )
    await service.write(member("mid", "", cpu="1", priority=5))
    await service.seen(lambda pods: told(pods, "mid"))
    await remove(service, "low0")
    await remove(service, "g0")
    pods = await service.seen(lambda pods: pods["mid"].node)
    assert not placed(pods, "g")


async def test_nobody_leaves_for_a_gang_that_would_not_fit_even_then(service):
    low = [member(f"low{i}", "", cpu="1") for i in range(2)]
    await service.write(node("n", cpu="2"), *low)
    await service.seen(lambda pods: len(placed(pods, "low")) == 2)
    await service.write(group("g", 3), *members("g", 3, cpu="1", priority=10))
    pods = await service.seen(lambda pods: told(pods, "g0").startswith("PodGroup"))
    assert not any(pod.meta.deletion_timestamp for pod in pods.values())


async def test_members_made_as_a_cohort(service):
    """Lodged pods are members one by one; with their gang they are bound together, and leave."""
    body = intern_body(msgspec.json.encode({"spec": spec(cpu="100m")}, order="deterministic"))
    lot = cohort(40, body=body, prefix="g", labels={LABEL: "g"})
    await service.store.create_cohorts([CreateCohort(lot)])
    await service.write(node("n", cpu="3"), group("g", 40))
    short = 'PodGroup "g" needs nodes for 40 of its 40 waiting pods'
    await service.seen(
        lambda pods: len(pods) == 40 and all(told(pods, name).startswith(short) for name in pods)
    )
    await service.write(node("m", cpu="1"))
    await service.seen(lambda pods: len(placed(pods, "g")) == 40)


async def test_one_member_that_never_preempts_speaks_for_all(service):
    await service.write(node("n", cpu="1"), member("low", "", cpu="1"))
    await service.seen(lambda pods: "low" in pods and pods["low"].node)
    polite = member("g0", "g", cpu="500m", priority=9, preemptionPolicy="Never")
    await service.write(group("g", 2), polite, member("g1", "g", cpu="500m", priority=9))
    pods = await service.seen(lambda pods: told(pods, "g1").startswith("PodGroup"))
    assert pods["low"].meta.deletion_timestamp is None
