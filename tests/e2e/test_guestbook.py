"""The classic guestbook on three real Docker hosts, driven by the stock kubectl."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.lab import Lab
from tests.e2e.service import Ironfree, eventually

pytestmark = pytest.mark.timeout(180)

MANIFESTS = Path(__file__).parents[2] / "examples" / "guestbook"
FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


@pytest.fixture
def guestbook(shared_ironfree: Ironfree) -> Ironfree:
    """Leader, two followers and three front ends, applied as the example's README says."""
    shared_ironfree.kubectl("apply", "-f", str(MANIFESTS))
    shared_ironfree.running(6, "app=guestbook")
    return shared_ironfree


def fetch(lab: Lab, pod, path: str) -> str:
    """GET from a front end, from within its host's network."""
    host = lab.host(pod["spec"]["nodeName"])
    url = f"http://{pod['status']['podIP']}:8080{path}"
    inside = ["nsenter", f"--net=/run/netns/{host.namespace}"]
    return subprocess.run(
        [*inside, sys.executable, "-c", FETCH, url], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_it_runs_packed_and_answers(guestbook: Ironfree, lab: Lab):
    pods = guestbook.pods("app=guestbook")
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 1, "packing puts all on one host"
    first, second = guestbook.pods("role=frontend")[:2]

    def signed() -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            return bool(fetch(lab, first, "/set?key=visitor&value=ada"))
        return False

    eventually(signed, what="the front end finds the leader by name")
    eventually(lambda: "ada" in fetch(lab, second, "/get?key=visitor"), what="it reads its writes")
    node = first["spec"]["nodeName"]
    guestbook.kubectl("cordon", node)
    guestbook.kubectl("delete", "pod", first["metadata"]["name"], "--wait=false")

    def elsewhere():
        pods = guestbook.running(3, "role=frontend")
        return [pod for pod in pods if pod["spec"]["nodeName"] != node]

    (moved,) = eventually(elsewhere, what="a front end runs on another host than the leader")
    assert "ada" in fetch(lab, moved, "/get?key=visitor")
    guestbook.kubectl("uncordon", node)


def test_describe_says_where_and_why(guestbook: Ironfree):
    (leader,) = guestbook.pods("role=leader")
    words = " ".join(guestbook.kubectl("describe", "pod", leader["metadata"]["name"]).split())
    node = leader["spec"]["nodeName"]
    assert f"Successfully assigned default/{leader['metadata']['name']} to {node}" in words
    for line in ("Status: Running", "Started container leader", "Ready True"):
        assert line in words
    assert "guestbook-leader" in guestbook.kubectl("describe", "rc", "guestbook-leader")
    assert "Allocated resources" in guestbook.kubectl("describe", "node", node)


def test_a_watch_shows_pods_come_and_go(guestbook: Ironfree):
    watch = guestbook.spawn("get", "pods", "-l", "role=frontend", "-w", "--no-headers")
    assert watch.stdout is not None
    seen = [watch.stdout.readline().split() for _ in range(3)]
    assert {row[2] for row in seen} == {"Running"}
    guestbook.kubectl("scale", "rc", "guestbook-frontend", "--replicas=4")
    known = {row[0] for row in seen}
    states = []
    while "Running" not in states:
        row = watch.stdout.readline().split()
        states += [row[2]] if row[0] not in known else []
    assert states[0] == "Pending"
    guestbook.kubectl("scale", "rc", "guestbook-frontend", "--replicas=3")
    while "Terminating" not in watch.stdout.readline():
        pass
    watch.kill()
    watch.communicate()


def test_logs_follow_what_a_container_says(guestbook: Ironfree):
    (leader,) = guestbook.pods("role=leader")
    name = leader["metadata"]["name"]
    logs = guestbook.spawn("logs", "-f", name)
    assert logs.stdout is not None
    assert all(logs.stdout.readline().strip() for _ in range(3)), "a line a second"
    assert guestbook.kubectl("logs", name, "--tail=1").count("\n") == 1
    guestbook.kubectl("delete", "rc", "guestbook-leader")
    logs.communicate(timeout=30)
    assert logs.returncode == 0, "follow ends with the container"


def test_scale_wait_and_delete(guestbook: Ironfree, lab: Lab):
    guestbook.kubectl("scale", "rc/guestbook-frontend", "--replicas=5")
    guestbook.kubectl(
        "wait", "rc/guestbook-frontend", "--for=jsonpath={.status.readyReplicas}=5", "--timeout=40s"
    )
    guestbook.kubectl("wait", "pod", "-l", "app=guestbook", "--for=condition=Ready")
    assert guestbook.kubectl("get", "rc,svc", "--no-headers").count("guestbook-") == 6
    guestbook.kubectl("delete", "-f", str(MANIFESTS))
    guestbook.kubectl("wait", "pod", "-l", "app=guestbook", "--for=delete", "--timeout=40s")
    eventually(lambda: not any(h.containers() for h in lab.hosts), what="no container is left")
