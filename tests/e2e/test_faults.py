"""What breaks in a real data centre, on real daemons: nothing is lost and nothing runs twice."""

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.lab import Host, Lab, Relay
from tests.e2e.lab.images import SHELL_IMAGE, shell_image
from tests.e2e.recovery import Recovery
from tests.e2e.service import Ironfree, copies, eventually, is_ready, replication_controller

pytestmark = pytest.mark.timeout(240)

NONSENSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n<html>",
    b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n[{"Id": null}',
    b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n[",
    b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n\xff\xfe",
    b"\x16\x03\x01\x00\x00",
)


def apply(ironfree: Ironfree, manifest: str) -> None:
    ironfree.kubectl("apply", "-f", "-", given=manifest)


def uids(pods) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def on_host(pods, name: str):
    return [pod for pod in pods if pod["spec"].get("nodeName") == name]


def restarts(pods) -> list[int]:
    return [c["restartCount"] for p in pods for c in p["status"]["containerStatuses"]]


def settled(ironfree: Ironfree, hosts: Sequence[Host], count: int):
    """Wait until desired is observed: `count` ready pods, and on the hosts just these, once."""
    pods = ironfree.running(count)

    def once() -> bool:
        found = copies(hosts)
        return set(found) == uids(pods) and all(len(places) == 1 for places in found.values())

    eventually(once, what="just these containers run, each once")
    eventually(lambda: uids(ironfree.pods()) == uids(pods), what="and no other pod is left")
    return pods


def container_of(host: Host, pod, name: str):
    """The running container of that name of a pod, as its daemon says."""
    uid = pod["metadata"]["uid"]
    (found,) = [
        c
        for c in host.containers(label=f"ironfree.dev/pod-uid={uid}")
        if c.state == "running" and c.labels["ironfree.dev/container"] == name
    ]
    return found


def test_containers_killed_and_removed_from_outside_are_replaced_in_their_pod(
    shared_ironfree: Ironfree, lab: Lab, recovery: Recovery
):
    ironfree = shared_ironfree
    apply(ironfree, replication_controller("web", 1))
    (pod,) = ironfree.running(1)
    host = lab.host(pod["spec"]["nodeName"])

    def restarted(count: int):
        (now,) = ironfree.pods()
        status = now["status"]["containerStatuses"][0]
        return status["restartCount"] == count and is_ready(now) and status

    host.kill(container_of(host, pod, "main").id)
    with recovery("a container was killed"):
        status = eventually(lambda: restarted(1), what="restartCount 1 and ready")
    assert status["lastState"]["terminated"]["exitCode"] == 137
    host.remove(container_of(host, pod, "main").id)
    with recovery("a container was removed"):
        eventually(lambda: restarted(2), what="restartCount 2 and ready")
    host.remove(container_of(host, pod, "POD").id)
    with recovery("a sandbox was removed"):
        eventually(lambda: restarted(3), what="restartCount 3 and ready")
    assert uids(settled(ironfree, lab.hosts, 1)) == uids([pod])


def test_an_excess_pod_is_removed_from_its_host(shared_ironfree: Ironfree, lab: Lab):
    ironfree = shared_ironfree
    apply(ironfree, replication_controller("web", 4))
    before = uids(ironfree.running(4))
    ironfree.kubectl("scale", "rc/web", "--replicas=1")
    assert uids(settled(ironfree, lab.hosts, 1)) < before


def test_pods_of_hosts_lost_to_power_and_partition_start_elsewhere_and_never_run_twice(
    shared_ironfree: Ironfree, lab: Lab, recovery: Recovery
):
    ironfree = shared_ironfree
    apply(ironfree, replication_controller("web", 6))
    before = ironfree.running(6)
    lost, cut_off, whole = lab.hosts
    assert all(on_host(before, host.name) for host in lab.hosts), "pods on every host"
    stranded = uids(on_host(before, cut_off.name))
    lost.power_off()
    cut_off.partition()

    def moved():
        pods = [p for p in ironfree.pods() if "deletionTimestamp" not in p["metadata"]]
        there = on_host(pods, whole.name)
        return len(there) == len(pods) == 6 and all(map(is_ready, there)) and there

    after = eventually(moved, 60, "six ready pods on the host that is left")
    assert uids(on_host(before, whole.name)) < uids(after)
    # Nobody can stop what runs behind a partition; its pods stay Terminating, never replaced by
    # a pod of the same identity.
    assert stranded <= set(copies([cut_off]))
    cut_off.heal()
    with recovery("a partition"):
        eventually(lambda: not copies([cut_off]), what="stale pods are removed")
    lost.boot()
    with recovery("a loss of power"):
        assert uids(settled(ironfree, lab.hosts, 6)) == uids(after)


@pytest.mark.parametrize(
    "faults", [("partition", "kill_daemon"), ("api_partition", "pause_daemon")]
)
def test_short_outages_move_nothing_and_slow_nobody_else(
    shared_ironfree: Ironfree, lab: Lab, recovery: Recovery, faults: tuple[str, str]
):
    ironfree = shared_ironfree
    port = {"containerPort": 8080, "hostPort": 8080}  # so there is one on each host
    served = {"command": ["httpd", "-f", "-p", "8080"], "ports": [port]}
    apply(ironfree, replication_controller("web", 3, gone_after=240, **served))
    before = ironfree.running(3)
    first, second, healthy = lab.hosts
    containers = {host.name: {c.id for c in host.containers()} for host in lab.hosts}
    for host, fault in zip((first, second), faults, strict=True):
        getattr(host, fault)()
    for host in (first, second):
        node = f"node/{host.name}"
        ironfree.kubectl("wait", node, "--for=condition=Ready=Unknown", "--timeout=60s")
    apply(ironfree, replication_controller("late", 2))
    assert len(on_host(ironfree.running(2, "app=late"), healthy.name)) == 2
    if "api_partition" in faults:  # the workload serves while its engine cannot be asked
        with socket.create_connection((first.address, 8080), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(64).startswith(b"HTTP/1")
    for host, fault in zip((first, second), faults, strict=True):
        host.heal()
        if fault == "pause_daemon":
            host.resume_daemon()
        host.start_daemon()
        with recovery(f"{fault} ended"):
            ironfree.kubectl("wait", f"node/{host.name}", "--for=condition=Ready", "--timeout=60s")
    after = settled(ironfree, lab.hosts, 5)
    assert uids(before) < uids(after)
    assert set(restarts(after)) == {0}
    for host in (first, second):
        assert {c.id for c in host.containers()} == containers[host.name]


SECRETIVE = """
apiVersion: v1
kind: Secret
metadata: {name: word}
stringData: {word: 'yes'}
---
apiVersion: v1
kind: Pod
metadata: {name: says, labels: {app: says}}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: word, secret: {secretName: word}}]
  containers:
  - name: says
    image: lab-shell:v1
    command: [sh, -c, 'cat /word/word; echo; exec sleep 100000']
    volumeMounts: [{name: word, mountPath: /word}]
"""


def test_a_container_that_starts_anew_after_a_live_restore_finds_its_secret(
    shared_ironfree: Ironfree, lab: Lab
):
    ironfree = shared_ironfree
    apply(ironfree, SECRETIVE)
    (pod,) = ironfree.running(1, "app=says")
    host = lab.host(pod["spec"]["nodeName"])
    host.restart_daemon(live_restore=True)
    (container,) = (each.id for each in host.containers() if each.image == "lab-shell:v1")
    host.kill(container)

    def says_it_again() -> bool:
        return sum(restarts(ironfree.pods("app=says"))) > 0 and said() == "yes\n"

    def said() -> str:
        return ironfree.spawn("logs", "says").communicate(timeout=30)[0]

    eventually(says_it_again, what="a container that starts anew finds its secret")
    ironfree.kubectl("delete", "pod/says", "secret/word", "--wait")
    eventually(lambda: not host.volumes(), what="nothing is left of it")


def test_a_dockerd_without_live_restore_starts_its_pods_again_in_place(
    shared_ironfree: Ironfree, lab: Lab, recovery: Recovery
):
    ironfree = shared_ironfree
    apply(ironfree, replication_controller("web", 3, gone_after=240))
    before = ironfree.running(3)
    host = lab.host(before[0]["spec"]["nodeName"])
    hit = uids(on_host(before, host.name))

    def restarted(times: int) -> bool:
        of_host = [p for p in ironfree.pods() if p["metadata"]["uid"] in hit]
        again = uids(p for p in of_host if min(restarts([p])) >= times and is_ready(p))
        return again == hit

    host.restart_daemon(live_restore=False)
    with recovery("a restart of dockerd without live-restore"):
        eventually(lambda: restarted(1), what="the host's pods have started again")
    assert set(restarts(on_host(ironfree.pods(), host.name))) == {1}
    host.stop_daemon()  # one that was started without; it ends its containers in good order
    host.start_daemon()
    with recovery("a dockerd without live-restore was stopped and started"):
        eventually(lambda: restarted(2), 90, what="the host's pods have started once more")
    assert uids(settled(ironfree, lab.hosts, 3)) == uids(before)
    (said,) = [
        c
        for c in ironfree.get("dockerhost", host.name)["status"]["conditions"]
        if c["type"] == "Ready"
    ]
    assert "live-restore is off" in said["message"]


def test_a_scheduler_killed_while_starting_forty_pods_ends_with_forty_once_each(
    ironfree: Ironfree, lab: Lab, recovery: Recovery
):
    apply(ironfree, replication_controller("web", 40))
    eventually(lambda: len(copies(lab.hosts)) >= 8, what="some of the 40 are starting")
    ironfree.kill()
    assert len(copies(lab.hosts)) < 40, "killed too late to prove anything"
    with recovery("the scheduler was killed while starting 40 pods, its start included"):
        ironfree.start()
        ironfree.running(40, seconds=90)
    assert set(restarts(settled(ironfree, lab.hosts, 40))) == {0}


def test_a_foreign_container_with_a_pods_name_is_left_alone_and_told(
    shared_ironfree: Ironfree, lab: Lab, recovery: Recovery
):
    ironfree, host = shared_ironfree, lab.hosts[0]
    only_there = {"kubernetes.io/hostname": host.name}
    main = {"name": "main", "image": SHELL_IMAGE, "command": ["sleep", "100000"]}
    gate = {"name": "ironfree.dev/test"}
    spec = {"containers": [main], "nodeSelector": only_there, "schedulingGates": [gate]}
    spec["terminationGracePeriodSeconds"] = 1
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone"}, "spec": spec}
    apply(ironfree, json.dumps(pod))
    uid = ironfree.get("pod", "lone")["metadata"]["uid"]
    name = f"ironfree_POD_lone_default_{uid}_0"
    host.run("run", "-d", "--name", name, SHELL_IMAGE, "sleep", "1000")
    foreign = host.inspect(name)
    ungated = json.dumps({"spec": {"schedulingGates": None}})
    ironfree.kubectl("patch", "pod", "lone", "--type=merge", "-p", ungated)

    def told():
        events = ironfree.get("events", "--field-selector", "involvedObject.name=lone")["items"]
        return [e["message"] for e in events if name in e["message"]]

    eventually(told, what="an event names the container that is in the way")
    assert host.inspect(name)["State"] == foreign["State"]
    host.remove(name)
    with recovery("a container in the way was removed"):
        settled(ironfree, lab.hosts, 1)


def test_a_pull_that_breaks_off_midway_is_tried_again(
    shared_ironfree: Ironfree, lab: Lab, recovery: Recovery
):
    ironfree, maker = shared_ironfree, lab.hosts[0]
    registry = lab.registry()
    pushed, image = f"{registry.address}/travels:v1", f"{lab.gateway}:5002/travels:v1"
    maker.load(shell_image(pushed, ballast=1 << 20))
    maker.run("push", pushed)
    maker.remove_image(pushed)
    host, _, port = registry.address.partition(":")
    with Relay.run((lab.gateway, 5002), (host, int(port))) as relay:
        relay.faults.break_after = 256 << 10
        apply(ironfree, replication_controller("web", 3, image=image))

        def waiting():
            states = [s for p in ironfree.pods() for s in p["status"].get("containerStatuses", ())]
            reasons = [s["state"].get("waiting", {}).get("reason") for s in states]
            return relay.faults.broken and {"ErrImagePull", "ImagePullBackOff"} & {*reasons}

        eventually(waiting, what="pods say that the pull failed")
        assert not copies(lab.hosts)
        relay.faults.break_after = 0
        with recovery("pulls were broken off midway"):
            settled(ironfree, lab.hosts, 3)
    for each in lab.hosts:
        each.remove_image(image)


def test_a_slow_host_and_one_that_loses_packets_run_their_pods_once(
    bare_ironfree: Ironfree, lab: Lab, tmp_path: Path, recovery: Recovery
):
    """The kernel may lack netem, so a relay makes the slow link."""
    ironfree, (lossy, slow, _) = bare_ironfree, lab.hosts
    with Relay.run(tmp_path / "slow.sock", slow.unix_socket) as relay:
        ironfree.add_hosts(lab, [lossy, slow], {slow.name: f"unix://{tmp_path / 'slow.sock'}"})
        relay.faults.delay, relay.faults.rate = 0.1, 256 << 10
        lossy.lose(0.1)
        with recovery("ordering 6 pods from a slow host and one that loses every tenth packet"):
            apply(ironfree, replication_controller("web", 6, gone_after=240))
            pods = ironfree.running(6, seconds=120)
        assert all(on_host(pods, host.name) for host in (lossy, slow))
        lossy.heal()
        relay.faults.delay, relay.faults.rate = 0.0, 0
        settled(ironfree, lab.hosts, 6)
        assert set(restarts(pods)) == {0}


def test_an_engine_that_answers_nonsense_is_named_and_its_pods_stay(
    bare_ironfree: Ironfree, lab: Lab, tmp_path: Path, recovery: Recovery
):
    ironfree, (mad, sane, _) = bare_ironfree, lab.hosts

    def reachable() -> str:
        conditions = ironfree.get("dockerhost", mad.name)["status"]["conditions"]
        return next(c["status"] for c in conditions if c["type"] == "Reachable")

    with Relay.run(tmp_path / "mad.sock", mad.unix_socket) as relay:
        ironfree.add_hosts(lab, [mad, sane], {mad.name: f"unix://{tmp_path / 'mad.sock'}"})
        apply(ironfree, replication_controller("web", 4, gone_after=240))
        before = ironfree.running(4)
        assert all(on_host(before, host.name) for host in (mad, sane))
        relay.faults.nonsense = NONSENSE
        relay.hang_up()
        eventually(lambda: reachable() == "False", what="the engine counts as unreachable")
        ironfree.kubectl("scale", "rc/web", "--replicas=6")
        ironfree.kubectl("wait", f"node/{mad.name}", "--for=condition=Ready=Unknown")
        relay.faults.nonsense = ()
        with recovery("an engine has talked nonsense"):
            after = settled(ironfree, lab.hosts, 6)
        assert uids(before) < uids(after)
        assert set(restarts(after)) == {0}


def test_a_full_disk_stops_what_is_new_and_nothing_that_runs(
    bare_ironfree: Ironfree, lab: Lab, recovery: Recovery
):
    ironfree = bare_ironfree
    with lab.small_host(disk=64) as host:
        ironfree.add_hosts(lab, [host])
        patch = '{"spec":{"evictionHard":{"nodefs.available":"0%"}}}'  # see test_pressure
        ironfree.kubectl("patch", "dockerhost", host.name, "--type=merge", "-p", patch)
        apply(ironfree, replication_controller("web", 1, gone_after=240))
        before = ironfree.running(1)
        host.fill_disk()
        ironfree.kubectl("scale", "rc/web", "--replicas=3")

        def told():
            events = ironfree.get("events")["items"]
            return [e for e in events if "no space left on device" in e["message"]]

        eventually(told, what="an event says that no space is left")
        assert set(copies([host])) == uids(before)
        host.free_disk()
        with recovery("a disk was full"):
            after = settled(ironfree, [host], 3)
        assert uids(before) < uids(after)
        assert restarts(on_host(before, host.name)) == [0]
