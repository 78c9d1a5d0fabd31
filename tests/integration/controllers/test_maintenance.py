"""Hosts are emptied before their maintenance windows open, and opened again afterwards."""

import pytest

from scheduler.objects.disruption import RESOURCE as BUDGETS
from scheduler.objects.maintenance import DOCKER_HOSTS, MAINTENANCE
from scheduler.objects.pod import AT_MOST_ONCE
from scheduler.objects.pod_owner import REPLICATION_CONTROLLER
from scheduler.objects.replication import REPLACE_FIRST
from scheduler.objects.stored import ObjectKey

HOST = ObjectKey(DOCKER_HOSTS, "", "h1")
NODE = ObjectKey("nodes", "", "h1")
# The clock starts at midnight of a Tuesday.
WINDOW = {"windows": ["Tue 00:02-00:03"], "leadSeconds": 60}
OPENS = "2030-01-01T00:02:00Z"


@pytest.fixture
async def host(cluster):
    for name in ("h1", "h2"):
        await cluster.node(name)
    spec = {"address": "simulated://h1", "driver": "simulated", "maintenance": WINDOW}
    return await cluster.create(DOCKER_HOSTS, "h1", body={"spec": spec})


def long_window(opens, lead):
    """Return a window that time which passes while a test waits does not close."""
    return {"windows": [f"Tue {opens}-20:00"], "leadSeconds": lead}


async def draining(cluster):
    """Have the host's pods leave, with patience of six hours for their replacements."""
    await cluster.change(HOST, body={"maintenance": long_window("12:00", 12 * 3600)})
    await cordoned(cluster, wanted=True)


async def pass_time(cluster, seconds):
    for _ in range(seconds // 10):
        cluster.clock.pass_time(10)
        for name in ("h1", "h2"):
            await cluster.heartbeat(name)


async def says(cluster, reason, *words):
    """Wait until the host's condition has that reason and its message all the words."""

    async def there():
        status = (await cluster.document(HOST)).get("status") or {}
        found = [c for c in status.get("conditions", []) if c["type"] == "Maintenance"]
        fits = found and found[0]["reason"] == reason
        return status if fits and all(w in found[0]["message"] for w in words) else None

    return await cluster.until(there, DOCKER_HOSTS)


async def cordoned(cluster, wanted):
    async def there():
        node = await cluster.document(NODE)
        return bool(node["spec"].get("unschedulable")) == wanted and node

    return await cluster.until(there, "nodes")


async def start(cluster, pod, node):
    """Bind a pod, and let it be ready."""
    await cluster.bind(pod, node)
    conditions = [{"type": "Ready", "status": "True"}]
    await cluster.change(pod.key, status={"phase": "Running", "conditions": conditions})


async def web(cluster):
    await cluster.replication("web", 1)
    (pod,) = await cluster.running(1, app="web")
    await start(cluster, pod, "h1")
    return pod


async def once(cluster):
    """A pod that may not be replaced first, and that its budget keeps."""
    owner = await cluster.replication("db", 1)
    pod = await cluster.pod(
        "db-0",
        {"app": "db"},
        annotations={AT_MOST_ONCE: "true"},
        owner_references=(REPLICATION_CONTROLLER.reference(owner.meta),),
    )
    await start(cluster, pod, "h1")
    selector = {"matchLabels": {"app": "db"}}
    await cluster.create(BUDGETS, "db", body={"spec": {"selector": selector, "minAvailable": 1}})
    return pod


async def annotations(cluster, pod):
    stored = await cluster.store.get(pod.key)
    return stored.meta.annotations if stored is not None else {}


async def events(cluster):
    found = (await cluster.store.list("events")).objects
    return {(await cluster.document(e.key))["reason"] for e in found}


async def told(cluster, reason):
    """Return the messages of the events of a reason."""
    found = (await cluster.store.list("events")).objects
    documents = [await cluster.document(e.key) for e in found]
    return [each["message"] for each in documents if each["reason"] == reason]


async def test_a_host_is_emptied_start_first_and_opened_again(cluster, host):
    pod = await web(cluster)
    status = await says(cluster, "Scheduled", "pods leave from 2030-01-01T00:01:00Z on")
    assert status["maintenanceTime"] == OPENS
    assert REPLACE_FIRST not in await annotations(cluster, pod)
    await pass_time(cluster, 60)
    node = await cordoned(cluster, wanted=True)
    assert node["metadata"]["annotations"][MAINTENANCE] == "2030-01-01T00:03:00Z"
    both = await cluster.running(2, app="web")
    (successor,) = (each for each in both if each.key != pod.key)
    await says(cluster, "Draining", "pods are leaving")
    await start(cluster, successor, "h2")
    await cluster.running(1, app="web")
    await cluster.delete(pod.key)  # as its node does when it has stopped
    status = await says(cluster, "Drained", "no pods are left")
    assert status["conditions"][0]["status"] == "True"
    await pass_time(cluster, 120)
    node = await cordoned(cluster, wanted=False)
    assert MAINTENANCE not in node["metadata"].get("annotations", {})
    status = await says(cluster, "Scheduled")
    assert status["maintenanceTime"] == "2030-01-08T00:02:00Z"
    told = {"MaintenanceDraining", "MaintenanceDrained", "MaintenanceEnded"}

    async def all_told():
        return told <= await events(cluster)

    await cluster.until(all_told, "events")


async def test_a_budget_holds_a_drain_up_and_is_not_forced(cluster, host):
    await cluster.change(HOST, body={"maintenance": long_window("00:02", 60)})
    pod = await once(cluster)
    await pass_time(cluster, 60)
    await says(cluster, "Draining", "default/db-0", "needs 1 healthy pods and has 1")
    await pass_time(cluster, 60)
    await says(cluster, "DrainBlocked", "default/db-0", "needs 1 healthy pods and has 1")
    assert (await cluster.store.get(pod.key)).meta.deletion_timestamp is None

    async def warned():
        return "MaintenanceDrainBlocked" in await events(cluster)

    await cluster.until(warned, "events")
    await cluster.change(ObjectKey(BUDGETS, "default", "db"), body={"minAvailable": 0})

    async def goes():
        cluster.clock.pass_time(5)  # it is tried again
        stored = await cluster.store.get(pod.key)
        return stored is None or stored.meta.deletion_timestamp is not None

    await cluster.until(goes)


async def in_time(cluster, condition):
    """Let time pass until an async condition gives something true."""

    async def there():
        cluster.clock.pass_time(5)
        await cluster.heartbeat("h1")  # is a change, so it is asked again
        return await condition()

    return await cluster.until(there)


async def gone(cluster, pod):
    async def goes():
        stored = await cluster.store.get(pod.key)
        return stored is None or stored.meta.deletion_timestamp is not None

    await in_time(cluster, goes)


async def successor_of(cluster, pod):
    (successor,) = (p for p in await cluster.running(2, app="web") if p.key != pod.key)
    return successor


async def unschedulable(cluster, pod):
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    conditions = [said | {"message": "2 node(s) didn't match pod anti-affinity rules"}]
    await cluster.change(pod.key, status={"phase": "Pending", "conditions": conditions})


async def test_who_excludes_its_own_replacement_is_evicted_within_its_budget(cluster, host):
    pod = await web(cluster)
    selector = {"matchLabels": {"app": "web"}}
    await cluster.create(BUDGETS, "web", body={"spec": {"selector": selector, "minAvailable": 1}})
    await draining(cluster)
    await unschedulable(cluster, await successor_of(cluster, pod))

    async def given_up():
        return (await annotations(cluster, pod)).get(REPLACE_FIRST) == "false"

    await in_time(cluster, given_up)
    await cluster.running(1, app="web")
    await says(cluster, "Draining", "needs 1 healthy pods and has 1")
    (why,) = await told(cluster, "NotReplacedFirst")
    assert "didn't match pod anti-affinity rules" in why
    assert (await cluster.store.get(pod.key)).meta.deletion_timestamp is None
    await cluster.change(ObjectKey(BUDGETS, "default", "web"), body={"minAvailable": 0})
    await gone(cluster, pod)


async def test_who_may_not_be_replaced_for_want_of_quota_is_evicted(cluster, host):
    body = {"spec": {"hard": {"pods": "1"}}}
    await cluster.create("resourcequotas", "one", body=body)
    pod = await web(cluster)
    await draining(cluster)

    async def failed():
        return "FailedCreate" in await events(cluster)

    await cluster.until(failed, "events")
    await gone(cluster, pod)
    (why,) = await told(cluster, "NotReplacedFirst")
    assert "exceeded quota: one" in why
    await cluster.delete(pod.key)
    (successor,) = await cluster.running(1, app="web")
    assert successor.key != pod.key
    await says(cluster, "Drained")


async def test_a_replacement_that_does_not_get_ready_is_waited_for_half_the_lead(cluster, host):
    await cluster.change(HOST, body={"maintenance": long_window("00:02", 60)})
    pod = await web(cluster)
    await pass_time(cluster, 60)
    await cluster.bind(await successor_of(cluster, pod), "h2")
    await says(cluster, "Draining")
    await pass_time(cluster, 50)
    assert (await cluster.store.get(pod.key)).meta.deletion_timestamp is None
    await gone(cluster, pod)
    (why,) = await told(cluster, "NotReplacedFirst")
    assert "not available within 60 s" in why


async def test_a_window_may_be_called_off(cluster, host):
    pod = await web(cluster)
    await pass_time(cluster, 60)
    await cordoned(cluster, wanted=True)
    await cluster.running(2, app="web")
    await cluster.change(NODE, body={"unschedulable": False})
    await says(cluster, "CalledOff")
    await cluster.running(1, app="web")
    assert {REPLACE_FIRST, MAINTENANCE}.isdisjoint(await annotations(cluster, pod))
    await pass_time(cluster, 130)
    await says(cluster, "Scheduled")


async def test_a_host_that_somebody_cordoned_stays_so(cluster, host):
    await cluster.change(NODE, body={"unschedulable": True})
    await pass_time(cluster, 60)
    await says(cluster, "Drained")
    await pass_time(cluster, 120)
    await says(cluster, "Scheduled")
    assert (await cluster.document(NODE))["spec"]["unschedulable"] is True


async def test_what_an_earlier_process_began_is_ended(cluster):
    for name in ("h1", "h2"):
        await cluster.node(name)
    said = {MAINTENANCE: "2029-12-31T23:00:00Z"}
    await cluster.change(NODE, body={"unschedulable": True}, annotations=said)
    pod = await web(cluster)
    await cluster.change(pod.key, annotations={MAINTENANCE: "h1", REPLACE_FIRST: "true"})
    spec = {"address": "simulated://h1", "maintenance": {"windows": ["23:00-23:30"]}}
    await cluster.create(DOCKER_HOSTS, "h1", body={"spec": spec})
    await cordoned(cluster, wanted=False)
    await says(cluster, "Scheduled")

    async def unmarked():
        return REPLACE_FIRST not in await annotations(cluster, pod)

    await cluster.until(unmarked, "pods")
