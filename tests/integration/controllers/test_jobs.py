"""Jobs against a real store."""

from scheduler.objects.job import TRACKING
from scheduler.objects.kinds import REGISTRY
from scheduler.objects.stored import ObjectKey

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def key(name="sum"):
    return ObjectKey("jobs.batch", "default", name)


async def work(cluster, uid="4dd8f5a0-0000-4000-8000-000000000001", **spec):
    """Create a Job as the API would."""
    pod = {"containers": [{"name": "c", "image": "i:1"}], "restartPolicy": "Never"}
    body = {"spec": {"template": {"spec": {**pod, **spec.pop("pod", {})}}, **spec}}
    kind = REGISTRY.by_resource("jobs.batch")
    kind.default(body)
    assert not list(kind.validate(body))
    return await cluster.create("jobs.batch", "sum", body=body, uid=uid)


async def status(cluster):
    found = await cluster.document(key())
    return found.get("status", {}) if found else {}


async def until(cluster, **counts):
    """Wait until the status has these fields (0 where it has none); return it."""

    async def look():
        found = await status(cluster)
        return all(found.get(k, 0 if v == 0 else None) == v for k, v in counts.items()) and found

    return await cluster.until(look, "jobs.batch")


async def end(cluster, pods, phase="Succeeded", code=None):
    for pod in pods:
        ended = {"phase": phase}
        if code is not None:
            at = cluster.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            state = {"terminated": {"exitCode": code, "finishedAt": at}}
            ended["containerStatuses"] = [{"name": "c", "state": state}]
        await cluster.change(pod.key, status=ended)


async def alive(cluster, count):
    async def look():
        pods = [p for p in await cluster.pods() if p.meta.deletion_timestamp is None]
        going_on = [p for p in pods if b"Succeeded" not in p.status and b"Failed" not in p.status]
        return (going_on or [True]) if len(going_on) == count else None

    return await cluster.until(look, "pods")


def types(found):
    return {c["type"] for c in found.get("conditions", ()) if c["status"] == "True"}


async def test_it_runs_pods_until_enough_have_succeeded(cluster):
    made = await work(cluster, completions=5, parallelism=2)
    pods = await alive(cluster, 2)
    for pod in pods:
        assert pod.meta.finalizers == (TRACKING,)
        assert pod.meta.labels["job-name"] == "sum"
        assert pod.meta.labels["batch.kubernetes.io/controller-uid"] == made.meta.uid
    for done in (2, 4):
        await end(cluster, await alive(cluster, 2))
        await until(cluster, succeeded=done)
    (last,) = await alive(cluster, 1)
    await end(cluster, [last])
    found = await until(cluster, succeeded=5, active=0)

    async def over():
        found = await status(cluster)
        return "Complete" in types(found) and found

    found = await cluster.until(over)
    assert types(found) == {"SuccessCriteriaMet", "Complete"}
    assert found["completionTime"]
    assert not found.get("uncountedTerminatedPods")
    assert all(pod.meta.finalizers == () for pod in await cluster.pods())


async def test_a_pod_that_is_deleted_once_it_has_ended_is_counted(cluster):
    await work(cluster, completions=3, parallelism=3)
    pods = await alive(cluster, 3)
    await end(cluster, pods[:1])
    await cluster.change(pods[0].key, deletion_timestamp=cluster.clock.now())
    await cluster.gone(pods[0].key)
    await until(cluster, succeeded=1)
    await end(cluster, pods[1:])
    await until(cluster, succeeded=3)


async def test_it_gives_up_after_too_many_failures_with_pauses_between(cluster):
    await work(cluster, backoffLimit=1)
    (pod,) = await alive(cluster, 1)
    await end(cluster, [pod], "Failed", 1)
    found = await until(cluster, failed=1, active=0)
    assert types(found) == set()
    while len(await cluster.pods()) == 1:  # ten seconds, from when the controller has seen it
        cluster.clock.pass_time(10)
    (pod,) = await alive(cluster, 1)
    await end(cluster, [pod], "Failed", 1)

    async def over():
        found = await status(cluster)
        return "Failed" in types(found) and found

    found = await cluster.until(over)
    assert found["failed"] == 2
    assert {c["reason"] for c in found["conditions"]} == {"BackoffLimitExceeded"}


async def test_the_indexes_of_an_indexed_job_are_each_done_once(cluster):
    await work(cluster, completions=4, parallelism=2, completionMode="Indexed")
    pods = {p.meta.annotations[job_index()]: p for p in await alive(cluster, 2)}
    assert set(pods) == {"0", "1"}
    document = await cluster.document(pods["1"].key)
    assert document["metadata"]["name"].startswith("sum-1-")
    assert document["spec"]["hostname"] == "sum-1"
    (variable,) = document["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    await end(cluster, [pods["1"]])
    await until(cluster, completedIndexes="1")
    await end(cluster, [pods["0"]])
    await until(cluster, completedIndexes="0,1")
    left = {p.meta.annotations[job_index()]: p for p in await alive(cluster, 2)}
    assert set(left) == {"2", "3"}
    await end(cluster, left.values())
    assert types(await until(cluster, completedIndexes="0-3", succeeded=4, active=0))


def job_index():
    return "batch.kubernetes.io/job-completion-index"


async def test_a_suspended_one_has_no_pods_and_loses_none_in_the_counts(cluster):
    await work(cluster, completions=4, parallelism=2)
    pods = await alive(cluster, 2)
    await end(cluster, pods[:1])
    await until(cluster, succeeded=1)
    await cluster.change(key(), body={"suspend": True})
    await alive(cluster, 0)
    found = await until(cluster, active=0, succeeded=1)
    assert types(found) == {"Suspended"}
    assert "startTime" not in found
    assert "failed" not in found
    await cluster.change(key(), body={"suspend": False})
    await alive(cluster, 2)
    assert types(await until(cluster, active=2)) == set()


async def test_its_deadline_ends_it(cluster):
    await work(cluster, activeDeadlineSeconds=60)
    await alive(cluster, 1)
    await until(cluster, active=1)
    while types(await status(cluster)) != {"FailureTarget", "Failed"}:
        cluster.clock.pass_time(61)
    await alive(cluster, 0)
    assert {c["reason"] for c in (await status(cluster))["conditions"]} == {"DeadlineExceeded"}


async def test_it_goes_some_time_after_its_end(cluster):
    await work(cluster, ttlSecondsAfterFinished=100)
    await end(cluster, await alive(cluster, 1))

    async def over():
        return "Complete" in types(await status(cluster))

    await cluster.until(over)
    cluster.clock.pass_time(50)
    assert await cluster.store.get(key()) is not None
    while await cluster.store.get(key()) is not None:
        cluster.clock.pass_time(50)
    await cluster.running(0)


async def test_a_failure_policy_ignores_some_failures_and_ends_at_others(cluster):
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
    ]
    await work(cluster, podFailurePolicy={"rules": rules}, backoffLimit=0)
    (pod,) = await alive(cluster, 1)
    gone = [{"type": "DisruptionTarget", "status": "True"}]
    await cluster.change(pod.key, status={"phase": "Failed", "conditions": gone})
    while len(await cluster.pods()) == 1:
        cluster.clock.pass_time(10)
    (second,) = await alive(cluster, 1)
    assert "failed" not in await status(cluster)
    await end(cluster, [second], "Failed", 42)

    async def over():
        found = await status(cluster)
        return "Failed" in types(found) and found

    found = await cluster.until(over)
    assert {c["reason"] for c in found["conditions"]} == {"PodFailurePolicy"}
    assert "matches FailJob rule at index 1" in found["conditions"][0]["message"]


async def test_many_pods_are_made_as_cohorts_and_go_with_the_job(cluster):
    await work(cluster, completions=200, parallelism=100)
    pods = await cluster.running(100)
    assert all(pod.lodged for pod in pods)
    await end(cluster, pods[:10])
    await until(cluster, succeeded=10, active=100)
    await cluster.delete(key())

    async def none_left():
        return not await cluster.pods()

    await cluster.until(none_left, "pods")


async def test_pods_of_a_lost_node_are_replaced(cluster):
    await cluster.node("n")
    await work(cluster)
    (pod,) = await alive(cluster, 1)
    await cluster.bind(pod, "n")
    await cluster.change(pod.key, status=READY)
    await cluster.delete(ObjectKey("nodes", "", "n"))
    while await cluster.store.get(pod.key) is not None:
        cluster.clock.pass_time(60)
    (other,) = await alive(cluster, 1)
    assert other.meta.uid != pod.meta.uid
    assert (await until(cluster, failed=1))["active"] == 1
