"""CronJobs against a real store. The clock begins at midnight."""

from datetime import timedelta

import pytest

from scheduler.objects.kinds import REGISTRY
from scheduler.objects.stored import ObjectKey
from tests.integration.controllers.conftest import START

CRONS, JOBS = "cronjobs.batch", "jobs.batch"


def key(name="tick"):
    return ObjectKey(CRONS, "default", name)


async def cron(cluster, schedule="*/10 * * * *", **more):
    pod = {"containers": [{"name": "c", "image": "i:1"}], "restartPolicy": "Never"}
    template = {"metadata": {"labels": {"app": "tick"}}, "spec": {"template": {"spec": pod}}}
    body = {"spec": {"schedule": schedule, "jobTemplate": template, **more}}
    kind = REGISTRY.by_resource(CRONS)
    kind.default(body)
    body["metadata"] = {"name": "tick"}
    assert not list(kind.validate(body))
    return await cluster.create(CRONS, "tick", body={"spec": body["spec"]})


async def jobs(cluster):
    return {job.meta.name: job for job in (await cluster.store.list(JOBS, "default")).objects}


async def until_at(cluster, minutes):
    """Move the clock to so many minutes after midnight, and wait for the Job of that time."""
    name = f"tick-{int((START + timedelta(minutes=minutes)).timestamp()) // 60}"
    left = (START + timedelta(minutes=minutes) - cluster.clock.now()).total_seconds()
    if left > 0:
        cluster.clock.pass_time(left)
    # the timer may have been set after the clock was moved: a change has the controller look
    await cluster.change(key(), labels={"minute": str(minutes)})

    async def made():
        return (await jobs(cluster)).get(name)

    return await cluster.until(made, JOBS)


async def finish(cluster, job, kind="Complete"):
    at = cluster.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    over = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": at}]}
    if kind == "Complete":
        over["completionTime"] = at
    await cluster.change(job.key, status={**over, "startTime": at})


async def status(cluster, look):
    async def fits():
        found = (await cluster.document(key())).get("status", {})
        return look(found) and found

    return await cluster.until(fits, CRONS)


async def test_it_makes_a_job_at_each_time(cluster):
    made = await cron(cluster)
    job = await until_at(cluster, 10)
    assert job.meta.controller_owner().uid == made.meta.uid
    assert job.meta.labels == {"app": "tick"}
    scheduled = job.meta.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert scheduled == "2030-01-01T00:10:00+00:00"
    found = await status(cluster, lambda s: s.get("lastScheduleTime") == "2030-01-01T00:10:00Z")
    assert [each["name"] for each in found["active"]] == [job.meta.name]
    await cluster.running(1)
    await finish(cluster, job)
    found = await status(cluster, lambda s: "active" not in s)
    assert found["lastSuccessfulTime"]
    await until_at(cluster, 20)
    assert len(await jobs(cluster)) == 2


async def test_of_missed_times_only_the_latest_counts(cluster):
    await cron(cluster)
    cluster.clock.pass_time(3600 + 30)
    await cluster.change(key(), body={"suspend": False})
    await until_at(cluster, 60)
    assert len(await jobs(cluster)) == 1


async def test_a_time_too_long_ago_is_left_out(cluster):
    await cron(cluster, startingDeadlineSeconds=20, suspend=True)
    cluster.clock.pass_time(600 + 30)
    await cluster.change(key(), body={"suspend": False})

    async def told():
        events = (await cluster.store.list("events", "default")).objects
        return any(b"MissSchedule" in event.body.json for event in events)

    await cluster.until(told, "events")
    assert await jobs(cluster) == {}
    await until_at(cluster, 20)


async def test_forbid_waits_for_the_one_before(cluster):
    await cron(cluster, concurrencyPolicy="Forbid")
    first = await until_at(cluster, 10)
    await status(cluster, lambda s: "lastScheduleTime" in s)
    cluster.clock.pass_time(600)
    await cluster.change(key(), labels={"minute": "20"})

    async def told():
        events = (await cluster.store.list("events", "default")).objects
        return any(b"JobAlreadyActive" in event.body.json for event in events)

    await cluster.until(told, "events")
    assert len(await jobs(cluster)) == 1
    await finish(cluster, first)
    await until_at(cluster, 20)


async def test_replace_takes_the_one_before_away(cluster):
    await cron(cluster, concurrencyPolicy="Replace")
    first = await until_at(cluster, 10)
    second = await until_at(cluster, 20)
    await cluster.gone(first.key)
    assert set(await jobs(cluster)) == {second.meta.name}
    await status(cluster, lambda s: [a["name"] for a in s.get("active", ())] == [second.meta.name])


async def test_only_so_many_old_jobs_are_kept(cluster):
    limits = {"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1}
    await cron(cluster, **limits)
    good = [await until_at(cluster, 10), await until_at(cluster, 20)]
    bad = [await until_at(cluster, 30), await until_at(cluster, 40)]
    for job in good:
        await finish(cluster, job)
    for job in bad:
        await finish(cluster, job, "Failed")
    await cluster.gone(good[0].key)
    await cluster.gone(bad[0].key)
    kept = {good[1].meta.name, bad[1].meta.name}
    assert kept <= set(await jobs(cluster))


async def test_a_suspended_one_makes_none_and_its_jobs_go_with_it(cluster):
    await cron(cluster)
    job = await until_at(cluster, 10)
    await status(cluster, lambda s: "lastScheduleTime" in s)
    await cluster.delete(key())
    await cluster.gone(job.key)
    await cluster.running(0)


@pytest.mark.parametrize("schedule", ["61 * * * *", "not a schedule"])
async def test_a_schedule_that_cannot_be_read_harms_nobody_else(cluster, schedule):
    broken = {"spec": {"schedule": schedule}}
    await cluster.create(CRONS, "broken", body=broken)
    await cron(cluster)
    await until_at(cluster, 10)
