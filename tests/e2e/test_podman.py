"""A host whose engine is Podman: what a pod is entitled to, through its Docker-compatible API."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.lab import Lab, PodmanHost, missing_podman
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.recovery import Recovery
from tests.e2e.service import Ironfree, copies, eventually, is_ready, replication_controller

pytestmark = pytest.mark.timeout(180)

SERVE = "mkdir -p /disk/www; echo fine > /disk/www/ok; exec httpd -f -p 8080 -h /disk/www"
INIT = "echo made > /disk/word"
MAIN = f"""
trap 'echo bye; exit 0' TERM
echo "$(hostname) $(cat /disk/word /config/word /secret/word | tr '\\n' ' ')$(id -u):$(id -G)"
stat -c '%a:%g' /disk /memory
dd if=/dev/zero of=/memory/full bs=64k 2>/dev/null; stat -c %s /memory/full; rm /memory/full
({SERVE}) &
while :; do sleep 0.1; done
"""


@pytest.fixture
def podman(lab: Lab) -> Iterator[PodmanHost]:
    if reason := missing_podman():
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with lab.podman_host() as host:
        yield host


@pytest.fixture
def ironfree(bare_ironfree: Ironfree, lab: Lab, podman: PodmanHost) -> Ironfree:
    by_socket = {podman.name: f"unix://{podman.unix_socket}"}
    bare_ironfree.add_hosts(lab, [podman], by_socket)
    return bare_ironfree


def manifest() -> dict[str, Any]:
    mounts = {"disk": "/disk", "memory": "/memory", "config": "/config", "secret": "/secret"}
    mounted = [{"name": name, "mountPath": path} for name, path in mounts.items()]
    ports = [{"name": "web", "containerPort": 8080, "hostPort": 8080}]
    main = {
        "name": "main",
        "image": SHELL_IMAGE,
        "command": ["sh", "-c", MAIN],
        "volumeMounts": mounted,
        "ports": ports,
        "readinessProbe": {"httpGet": {"port": "web", "path": "/ok"}, "periodSeconds": 1},
        "livenessProbe": {"exec": {"command": ["test", "-e", "/disk/word"]}, "periodSeconds": 1},
        "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
    }
    first = {"name": "first", "image": SHELL_IMAGE, "command": ["sh", "-c", INIT]}
    volumes = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "config", "configMap": {"name": "words"}},
        {"name": "secret", "secret": {"secretName": "words"}},
    ]
    spec = {
        "initContainers": [{**first, "volumeMounts": mounted[:1]}],
        "containers": [main],
        "volumes": volumes,
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


def apply(ironfree: Ironfree, *objects: dict[str, Any]) -> None:
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    ironfree.kubectl("apply", "-f", "-", given=given)


def words(word: str) -> list[dict[str, Any]]:
    named = {"apiVersion": "v1", "metadata": {"name": "words"}}
    config = {**named, "kind": "ConfigMap", "data": {"word": word + "\n"}}
    return [config, {**named, "kind": "Secret", "stringData": {"word": "hidden\n"}}]


def restarted(ironfree: Ironfree, count: int) -> Any:
    (pod,) = ironfree.pods()
    status = pod["status"]["containerStatuses"][0]
    return status["restartCount"] == count and is_ready(pod) and status


def test_a_pod_has_all_its_parts_on_podman(ironfree: Ironfree, podman: PodmanHost):
    node = ironfree.get("node", podman.name)
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("podman://")
    code, told = ironfree.cli("node", "doctor", podman.name, "--json")
    found = {check["check"]: check for check in json.loads(told)["checks"]}
    assert code == 0, told
    assert found["Engine"]["message"].startswith("Podman (experimental)")
    apply(ironfree, *words("plain"), manifest())
    ironfree.running(1)
    log = ironfree.kubectl("logs", "web").splitlines()
    assert log == ["web made plain hidden 1000:1000 2000", "2777:2000", "2777:2000", "1048576"]
    said = ironfree.kubectl("exec", "web", "--", "sh", "-c", "cat /config/word; hostname")
    assert said == "plain\nweb\n"
    apply(ironfree, *words("changed"))
    look = ("exec", "web", "--", "cat", "/config/word")
    eventually(lambda: ironfree.kubectl(*look) == "changed\n", what="the ConfigMap's change")
    forward = ironfree.spawn("port-forward", "pod/web", ":8080")
    try:
        assert forward.stdout is not None
        port = forward.stdout.readline().split(" -> ")[0].rpartition(":")[2]
        got = subprocess.run(
            ["curl", "-sf", f"http://127.0.0.1:{port}/ok"], capture_output=True, check=False
        )
        assert got.stdout == b"fine\n"
    finally:
        forward.kill()
        forward.communicate()
    (used,) = json.loads(ironfree.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/pods"))[
        "items"
    ]
    assert used["containers"][0]["usage"]["memory"] != "0"
    ironfree.kubectl("delete", "pod", "web", "--grace-period=5")
    eventually(lambda: not podman.containers(), what="its containers are gone")
    eventually(lambda: not podman.volumes(), what="its volumes are gone")


def test_containers_and_sandboxes_that_end_on_podman_run_again_in_their_pod(
    ironfree: Ironfree, podman: PodmanHost, recovery: Recovery
):
    apply(ironfree, *words("plain"), manifest())
    (pod,) = ironfree.running(1)
    uid = pod["metadata"]["uid"]

    def running(name: str) -> str:
        (found,) = [
            each.id
            for each in podman.containers(label=f"ironfree.dev/pod-uid={uid}")
            if each.state == "running" and each.labels["ironfree.dev/container"] == name
        ]
        return found

    podman.kill(running("main"))
    with recovery("a container was killed on Podman"):
        status = eventually(lambda: restarted(ironfree, 1), what="restartCount 1 and ready")
    assert status["lastState"]["terminated"]["exitCode"] == 137
    assert "web made plain hidden" in ironfree.kubectl("logs", "web", "--previous")
    podman.kill(running("POD"))
    with recovery("a sandbox was killed on Podman"):
        eventually(lambda: restarted(ironfree, 2), what="restartCount 2 and ready")
    assert len(copies([podman])[uid]) == 1
    before = running("main")
    podman.kill_daemon()
    podman.start_daemon()
    assert running("main") == before
    podman.kill(before)
    with recovery("Podman's service and then a container were killed"):
        eventually(lambda: restarted(ironfree, 3), what="restartCount 3 and ready")
    podman.power_off()
    ironfree.kubectl("wait", f"node/{podman.name}", "--for=condition=Ready=Unknown")
    podman.boot()
    with recovery("a Podman host lost its power"):
        eventually(lambda: copies([podman]).get(uid), what="its pod runs again")
        eventually(lambda: is_ready(ironfree.pods()[0]), what="and is ready")
    assert len(copies([podman])[uid]) == 1
    ironfree.kubectl("delete", "pod", "web", "--grace-period=1")
    eventually(lambda: not podman.containers(), what="its containers are gone")


def test_what_cannot_start_on_podman_says_why(ironfree: Ironfree, podman: PodmanHost):
    bad = json.loads(replication_controller("bad", 1, command=["/no/such/program"]))
    absent = json.loads(replication_controller("absent", 1, image="10.77.0.254:1/absent:v1"))
    apply(ironfree, bad, absent)

    def reasons() -> dict[str, str]:
        return {
            pod["metadata"]["labels"]["app"]: status["state"].get("waiting", {}).get("reason", "")
            for pod in ironfree.pods()
            for status in pod["status"].get("containerStatuses", ())
        }

    eventually(lambda: reasons().get("bad") == "CrashLoopBackOff", what="CrashLoopBackOff")
    eventually(lambda: "mage" in reasons().get("absent", "") and "Pull" in reasons()["absent"])
    (pod,) = ironfree.pods("app=bad")
    ended = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (127, "StartError")
