"""What whole services tell of themselves: the one that leads, and the one that waits."""

import signal

from prometheus_client.parser import text_string_to_metric_families


async def told(process, name, **labels):
    """Return the sum of a sample over all labels that are not asked for."""
    text = (await process.call("GET", "/metrics")).body
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def test_totals_are_kept_by_whoever_leads(database_url, processes):
    first = await processes(database_url)
    await first.said("leading, epoch")
    second = await processes(database_url)
    assert await told(first, "leader_election_master_status") == 1
    assert await told(second, "leader_election_master_status") == 0
    await first.add_hosts(1)
    await first.add_controller(5)
    await second.running(5)
    assert await told(first, "scheduler_schedule_attempts_total", result="scheduled") == 5
    assert await told(first, "scheduler_pod_scheduling_sli_duration_seconds_count") == 5
    assert await told(first, "scheduler_plugin_execution_duration_seconds_count") > 0
    assert await told(first, "ironfree_store_commit_operations_sum") > 5
    assert await told(first, "apiserver_request_total", verb="POST", code="201") == 2
    assert await told(second, "scheduler_schedule_attempts_total") == 0
    assert await told(second, "apiserver_request_total", resource="pods", verb="LIST") > 0
    first.send(signal.SIGKILL)
    await second.said("leading, epoch")
    assert await told(second, "leader_election_master_status") == 1
