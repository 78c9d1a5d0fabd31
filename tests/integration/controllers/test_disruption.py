"""The status of disruption budgets follows pods and their owners."""

from scheduler.objects.disruption import RESOURCE
from scheduler.objects.meta import OwnerReference
from scheduler.objects.stored import ObjectKey

KEY = ObjectKey(RESOURCE, "default", "b")


async def budget(cluster, **spec):
    selector = {"matchLabels": {"app": "web"}}
    await cluster.create(RESOURCE, "b", body={"spec": {"selector": selector, **spec}})


async def numbers(cluster, **wanted):
    """Wait until the status has these numbers, and return it."""

    async def there():
        status = (await cluster.document(KEY)).get("status") or {}
        return status if all(status.get(k) == v for k, v in wanted.items()) else None

    return await cluster.until(there)


async def be_ready(cluster, *pods):
    for pod in pods:
        conditions = [{"type": "Ready", "status": "True"}]
        await cluster.change(pod.key, status={"phase": "Running", "conditions": conditions})


async def test_a_number_of_pods(cluster):
    await budget(cluster, minAvailable=2)
    status = await numbers(cluster, observedGeneration=1, expectedPods=0)
    assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == [
        ("DisruptionAllowed", "False", "InsufficientPods")
    ]
    pods = [await cluster.pod(f"p{i}", {"app": "web"}) for i in range(3)]
    await cluster.pod("other", {"app": "db"})
    await numbers(cluster, expectedPods=3, currentHealthy=0, disruptionsAllowed=0)
    await be_ready(cluster, *pods)
    status = await numbers(cluster, currentHealthy=3, desiredHealthy=2, disruptionsAllowed=1)
    assert status["conditions"][0]["reason"] == "SufficientPods"
    await cluster.delete(pods[0].key)
    await numbers(cluster, currentHealthy=2, disruptionsAllowed=0)


async def test_percentages_are_of_what_owners_want(cluster):
    await cluster.replication("web", 4)
    pods = await cluster.running(4, app="web")
    await be_ready(cluster, *pods)
    await budget(cluster, maxUnavailable="50%")
    await numbers(cluster, expectedPods=4, currentHealthy=4, desiredHealthy=2, disruptionsAllowed=2)
    owner = ObjectKey("replicationcontrollers", "default", "web")
    await cluster.change(owner, body={"replicas": 6})
    await numbers(cluster, expectedPods=6, desiredHealthy=3, disruptionsAllowed=1)


async def test_owners_without_a_number_allow_nothing(cluster):
    owner = OwnerReference("x.dev/v1", "Odd", "o", "u", controller=True)
    pod = await cluster.pod("p", {"app": "web"})
    await be_ready(cluster, pod)
    await budget(cluster, maxUnavailable=1)
    await numbers(cluster, observedGeneration=1, expectedPods=0, disruptionsAllowed=0)
    await cluster.change(pod.key, owner_references=(owner,), finalizers=("x.dev/keep",))

    async def failed():
        conditions = ((await cluster.document(KEY)).get("status") or {}).get("conditions") or [{}]
        return conditions[0].get("reason") == "SyncFailed" and conditions[0]["message"]

    assert await cluster.until(failed) == 'found no controllers for pod "p"'


async def test_an_eviction_that_did_not_happen_is_given_back(cluster):
    pod = await cluster.pod("p", {"app": "web"})
    await be_ready(cluster, pod)
    await budget(cluster, minAvailable=0)
    await numbers(cluster, disruptionsAllowed=1)
    disrupted = {"p": cluster.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")}
    await cluster.change(KEY, status={"disruptionsAllowed": 0, "disruptedPods": disrupted})
    await numbers(cluster, currentHealthy=0, disruptionsAllowed=0, disruptedPods=disrupted)
    cluster.clock.pass_time(122)
    status = await numbers(cluster, currentHealthy=1, disruptionsAllowed=1)
    assert "disruptedPods" not in status
