"""Whose containers are whose, on real daemons: none but an installation's own are touched."""

import json

import pytest

from tests.e2e.lab import Host, Lab
from tests.e2e.service import Ironfree, copies, eventually, replication_controller

pytestmark = pytest.mark.timeout(180)

CLUSTER = "ironfree.dev/cluster"


def uids(pods) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def installation(ironfree: Ironfree) -> str:
    return ironfree.get("namespace", "kube-system")["metadata"]["uid"]


def test_two_installations_share_an_engine_and_one_leaves_it(
    neighbours: tuple[Ironfree, Ironfree], host: Host
):
    ours, hers = neighbours
    served = {c["type"]: c for c in hers.get("node", host.name)["status"]["conditions"]}
    said = served["ServiceNetwork"]["message"]
    assert f"{CLUSTER}={installation(ours)}" in said, "whose network it is"
    pods = {}
    for ironfree in neighbours:
        ironfree.kubectl("apply", "-f", "-", given=replication_controller("web", 2))
        pods[ironfree] = uids(ironfree.running(2))
    containers = {
        ironfree: {c.id for c in host.containers(label=f"{CLUSTER}={installation(ironfree)}")}
        for ironfree in neighbours
    }
    assert [len(ids) for ids in containers.values()] == [4, 4], "two pods of two containers each"
    assert set(copies([host])) == pods[ours] | pods[hers]

    hers.kubectl("delete", "dockerhost", host.name, "--timeout=60s")
    assert {c.id for c in host.containers() if c.state == "running"} == containers[ours]
    assert hers.get("nodes")["items"] == []
    statuses = [s for pod in ours.running(2) for s in pod["status"]["containerStatuses"]]
    assert {status["restartCount"] for status in statuses} == {0}
    assert uids(ours.pods()) == pods[ours]


def test_an_engine_spelled_in_two_ways_is_one_node(ironfree: Ironfree, lab: Lab, host: Host):
    ironfree.kubectl("apply", "-f", "-", given=replication_controller("web", 3))
    before = ironfree.running(3)
    spelled = {
        "apiVersion": "ironfree.dev/v1",
        "kind": "DockerHost",
        "metadata": {"name": "spelled"},
        "spec": {"address": f"unix://{host.unix_socket}"},
    }
    ironfree.kubectl("apply", "-f", "-", given=json.dumps(spelled))

    def refused():
        status = ironfree.get("dockerhost", "spelled").get("status", {})
        return [c["message"] for c in status.get("conditions", []) if c["status"] == "False"]

    assert f"is DockerHost {host.name} already" in eventually(refused)[0]
    ironfree.kubectl("delete", "dockerhost", "spelled", "--timeout=20s")
    assert len(ironfree.get("nodes")["items"]) == len(lab.hosts)
    assert uids(ironfree.running(3)) == uids(before)
    assert set(copies(lab.hosts)) == uids(before)


def test_a_deleted_host_is_emptied_and_its_pods_go_elsewhere(ironfree: Ironfree, lab: Lab):
    ironfree.kubectl("apply", "-f", "-", given=replication_controller("web", 3))
    left = lab.host(ironfree.running(3)[0]["spec"]["nodeName"])
    ironfree.kubectl("delete", "dockerhost", left.name, "--cascade=foreground", "--timeout=60s")
    assert left.containers() == []
    assert left.volumes() == []
    pods = ironfree.running(3, away_from=left.name)
    assert set(copies(lab.hosts)) == uids(pods)
