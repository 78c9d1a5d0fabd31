"""Pods that cannot run, on real daemons: each says why, and the others run on."""

import json

import pytest

from tests.e2e.lab import Lab
from tests.e2e.service import Ironfree, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180), pytest.mark.xdist_group("lab")]
FALLBACK = "FallbackToLogsOnError"


def pod(name: str, **container):
    main = {"name": "main", "image": "lab-shell:v1", "command": ["sleep", "100000"], **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [main]},
    }


def test_pods_that_cannot_run_say_why_and_leave_others_alone(ironfree: Ironfree):
    fails = "date +%N >> /end/log; cat /end/log; exit 3"
    eater = "x=x; while true; do x=$x$x$x$x; done"
    bad = [
        pod("no-image", image="lab-absent:v1", imagePullPolicy="Never"),
        pod("no-registry", image="127.0.0.1:1/absent:v1"),
        pod("no-command", command=["/no/such/program"]),
        pod("crashing", command=["sh", "-c", fails], terminationMessagePath="/end/log"),
        pod("failing", command=["sh", "-c", "echo why; exit 3"], terminationMessagePolicy=FALLBACK),
        pod("hungry", command=["sh", "-c", eater], resources={"limits": {"memory": "16Mi"}}),
    ]
    items = [*bad, pod("good")]
    manifest = {"apiVersion": "v1", "kind": "List", "items": items}
    ironfree.kubectl("apply", "-f", "-", given=json.dumps(manifest))

    def state(name: str):
        status = ironfree.get("pod", name).get("status", {})
        return (status.get("containerStatuses") or [{}])[0]

    def waits(name: str, *reasons: str):
        waiting = state(name).get("state", {}).get("waiting", {})
        return waiting if waiting.get("reason") in reasons else None

    absent = eventually(
        lambda: waits("no-image", "ErrImageNeverPull"), what="no-image: ErrImageNeverPull"
    )
    assert "lab-absent:v1" in absent["message"]
    unpulled = eventually(
        lambda: waits("no-registry", "ErrImagePull", "ImagePullBackOff"), what="ErrImagePull"
    )
    assert "127.0.0.1:1/absent:v1" in unpulled["message"]
    eventually(lambda: waits("crashing", "CrashLoopBackOff"), what="CrashLoopBackOff")
    assert state("crashing")["lastState"]["terminated"]["exitCode"] == 3
    eventually(lambda: waits("failing", "CrashLoopBackOff"), what="CrashLoopBackOff")
    assert state("failing")["lastState"]["terminated"]["message"] == "why\n"
    eventually(lambda: waits("no-command", "CrashLoopBackOff", "RunContainerError"))
    told = json.dumps(state("no-command"))
    assert "/no/such/program" in told

    def third():
        now = state("crashing")
        return now if now.get("restartCount", 0) >= 2 and now["state"].get("waiting") else None

    last = eventually(third, what="a third attempt has ended")["lastState"]["terminated"]
    assert last["message"].count("\n") == 1, "it got an empty file, though the first had used it"

    def killed():
        last = state("hungry").get("lastState", {}).get("terminated", {})
        now = state("hungry").get("state", {}).get("terminated", {})
        return "OOMKilled" in {last.get("reason"), now.get("reason")}

    eventually(killed, what="OOMKilled")
    ironfree.kubectl("wait", "pod/good", "--for=condition=Ready", "--timeout=20s")
    assert state("good")["restartCount"] == 0


def test_a_hung_engine_is_named_while_it_hangs(ironfree: Ironfree, lab: Lab):
    host = lab.hosts[0]

    def reachable() -> dict[str, str]:
        conditions = ironfree.get("dockerhost", host.name)["status"]["conditions"]
        return next(c for c in conditions if c["type"] == "Reachable")

    host.pause_daemon()
    eventually(lambda: reachable()["status"] == "False", what="the hung host is unreachable")
    assert "did not answer" in reachable()["message"]
    host.resume_daemon()
    eventually(lambda: reachable()["status"] == "True", what="and reachable again")
