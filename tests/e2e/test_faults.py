"""What breaks in a real data centre, on real daemons: nothing is lost and nothing runs twice."""

import pytest

from tests.e2e.lab import Lab
from tests.e2e.service import Ironfree, copies, eventually, replication_controller

pytestmark = pytest.mark.timeout(180)


def apply(ironfree: Ironfree, manifest: str) -> None:
    ironfree.kubectl("apply", "-f", "-", given=manifest)


def uids(pods) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def on_host(pods, name: str):
    return [pod for pod in pods if pod["spec"]["nodeName"] == name]


def test_a_killed_container_is_replaced_in_its_pod(ironfree: Ironfree, lab: Lab):
    apply(ironfree, replication_controller("web", 1))
    (pod,) = ironfree.running(1)
    host = lab.host(pod["spec"]["nodeName"])
    (victim,) = [c for c in host.containers() if c.labels.get("ironfree.dev/container") == "main"]
    host.kill(victim.id)

    def restarted():
        (now,) = ironfree.pods()
        status = now["status"]["containerStatuses"][0]
        return status["restartCount"] == 1 and status["state"].get("running") and status

    status = eventually(restarted, what="restartCount 1 and running")
    assert status["lastState"]["terminated"]["exitCode"] == 137
    assert uids(ironfree.pods()) == uids([pod])


def test_an_excess_pod_is_removed_from_its_host(ironfree: Ironfree, lab: Lab):
    apply(ironfree, replication_controller("web", 4))
    before = uids(ironfree.running(4))
    ironfree.kubectl("scale", "rc/web", "--replicas=1")
    kept = uids(ironfree.running(1))
    assert kept < before
    eventually(lambda: set(copies(lab.hosts)) == kept, what="only the kept pod's container runs")


def test_pods_of_a_host_that_loses_power_start_elsewhere_and_never_run_twice(
    ironfree: Ironfree, lab: Lab
):
    apply(ironfree, replication_controller("web", 6))
    before = ironfree.running(6)
    lost = lab.host(before[0]["spec"]["nodeName"])
    stranded = uids(on_host(before, lost.name))
    lost.power_off()
    after = ironfree.running(6, away_from=lost.name)
    assert not uids(after) & stranded, "replacements are new pods"
    lost.boot()
    eventually(lambda: uids(ironfree.pods()) == uids(after), what="stranded pods are gone")
    assert all(len(places) == 1 for places in copies(lab.hosts).values())
    assert set(copies(lab.hosts)) == uids(after)


def test_a_partitioned_host_heals_without_duplicates(ironfree: Ironfree, lab: Lab):
    apply(ironfree, replication_controller("web", 6))
    before = ironfree.running(6)
    cut_off = lab.host(before[0]["spec"]["nodeName"])
    stranded = uids(on_host(before, cut_off.name))
    cut_off.partition()
    after = ironfree.running(6, away_from=cut_off.name)
    # Nobody can stop what runs behind a partition; its pods stay Terminating, never replaced by
    # a pod of the same identity.
    assert stranded <= set(copies(lab.hosts))
    cut_off.heal()
    eventually(lambda: set(copies(lab.hosts)) == uids(after), what="stale pods are removed")
    eventually(lambda: uids(ironfree.pods()) == uids(after), what="and forgotten")


def test_a_short_partition_moves_nothing(ironfree: Ironfree, lab: Lab):
    apply(ironfree, replication_controller("web", 3, gone_after=120))
    before = ironfree.running(3)
    cut_off = lab.host(before[0]["spec"]["nodeName"])
    cut_off.partition()
    node = f"node/{cut_off.name}"
    ironfree.kubectl("wait", node, "--for=condition=Ready=Unknown", "--timeout=40s")
    cut_off.heal()
    ironfree.kubectl("wait", node, "--for=condition=Ready", "--timeout=40s")
    after = ironfree.running(3)
    assert uids(after) == uids(before)
    assert {c["restartCount"] for p in after for c in p["status"]["containerStatuses"]} == {0}


def test_a_scheduler_killed_while_starting_forty_pods_ends_with_forty_once_each(
    ironfree: Ironfree, lab: Lab
):
    apply(ironfree, replication_controller("web", 40))
    eventually(lambda: len(copies(lab.hosts)) >= 8, what="some of the 40 are starting")
    ironfree.kill()
    assert len(copies(lab.hosts)) < 40, "killed too late to prove anything"
    ironfree.start()
    pods = ironfree.running(40, seconds=90)
    assert {len(places) for places in copies(lab.hosts).values()} == {1}
    assert set(copies(lab.hosts)) == uids(pods)
    assert {c["restartCount"] for p in pods for c in p["status"]["containerStatuses"]} == {0}


def test_a_restarted_dockerd_keeps_its_pods(ironfree: Ironfree, lab: Lab):
    apply(ironfree, replication_controller("web", 3, gone_after=120))
    before = ironfree.running(3)
    host = lab.host(before[0]["spec"]["nodeName"])
    ids = {c.id for c in host.containers()}
    host.kill_daemon()
    host.start_daemon()
    after = ironfree.running(3)
    assert uids(after) == uids(before)
    assert {c.id for c in host.containers()} == ids
