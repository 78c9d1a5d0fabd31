"""Containers that ran before Ironfree knew of them, and are pods from then on."""

import json
from typing import Any

import pytest

from tests.e2e.lab import Host
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import Ironfree, eventually, is_ready

pytestmark = pytest.mark.timeout(240)
SCRIPT = "trap 'exit 0' TERM; echo hello; cat /data/seed; while :; do sleep 0.1; done"


def compose(host: Host, service: str, *options: str) -> str:
    """Start a container as Docker Compose does; returns its id."""
    project = "com.docker.compose.project=shop"
    labels = [project, f"com.docker.compose.service={service}"]
    labels.append("com.docker.compose.container-number=1")
    words = [word for label in labels for word in ("--label", label)]
    words += ["--detach", "--restart", "always", "--name", f"shop-{service}-1", *options]
    return host.run("run", *words, SHELL_IMAGE, "sh", "-c", SCRIPT).strip()


def life(host: Host, container: str) -> tuple[str, str, int]:
    found = host.inspect(container)
    state = found["State"]
    return state["Status"], state["StartedAt"], state["Pid"]


def pod(ironfree: Ironfree, name: str) -> Any:
    return ironfree.get("pod", name)


def test_a_compose_project_becomes_pods_without_a_restart(ironfree: Ironfree, host: Host):
    host.run("volume", "create", "shop_data")
    seed = ("run", "--rm", "--volume", "shop_data:/data", SHELL_IMAGE, "sh", "-c")
    host.run(*seed, "echo sown > /data/seed")
    volume = ("--volume", "shop_data:/data")
    web = compose(host, "web", *volume, "--memory", "64m", "--publish", "18081:80")
    db = compose(host, "db", *volume, "--env", "WHO=db")
    before = [life(host, each) for each in (web, db)]

    words = ("adopt", "--project", "shop", "--host", host.name)
    code, text = ironfree.cli(*words, "--plan")
    assert code == 0, text
    assert f"ironfree.dev/adopts: {web}" in text
    assert "kind: PersistentVolume" in text
    assert not ironfree.pods()
    code, text = ironfree.cli(*words)
    assert code == 0, text
    assert "pod/web adopted" in text

    for name, container in (("web", web), ("db", db)):
        ironfree.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=40s")
        (status,) = pod(ironfree, name)["status"]["containerStatuses"]
        assert (status["containerID"], status["restartCount"]) == (f"docker://{container}", 0)
        assert ironfree.kubectl("logs", name).splitlines() == ["hello", "sown"]
    assert ironfree.kubectl("exec", "db", "--", "sh", "-c", "echo $WHO").strip() == "db"

    ironfree.kill()
    ironfree.start()
    known = "container shop-web-1 is not adopted: Ironfree manages it"
    again = ("adopt", "shop-web-1", "--host", host.name, "--plan")
    eventually(lambda: known in ironfree.cli(*again)[1], what="the new process knows its pod")
    assert ironfree.kubectl("exec", "web", "--", "cat", "/data/seed").strip() == "sown"
    assert [life(host, each) for each in (web, db)] == before
    running = {c.id for c in host.containers() if c.state == "running"}
    assert running == {web, db}

    ironfree.kubectl("delete", "pod", "db", "--timeout=60s")
    left = {c.id for c in host.containers()}
    assert left == {web}
    assert "shop_data" in host.volumes()
    assert life(host, web) == before[0]


def test_one_that_ends_goes_on_as_an_ordinary_pod_with_its_volume(ironfree: Ironfree, host: Host):
    host.run("volume", "create", "shop_data")
    web = compose(host, "web", "--volume", "shop_data:/data", "--env", "WHO=web")
    code, text = ironfree.cli("adopt", "shop-web-1", "--host", host.name)
    assert code == 0, text
    host.kill(web)

    def restarted() -> bool:
        found = pod(ironfree, "web")
        (status,) = found["status"]["containerStatuses"]
        return status["restartCount"] == 1 and is_ready(found)

    eventually(restarted, seconds=60, what="another container takes its place")
    assert host.inspect(web)["State"]["Status"] == "exited"
    assert ironfree.kubectl("exec", "web", "--", "sh", "-c", "echo $WHO").strip() == "web"
    (claim,) = ironfree.get("persistentvolumeclaims")["items"]
    assert claim["status"]["phase"] == "Bound"


def test_a_container_of_ironfree_or_of_another_scheduler_is_refused(ironfree: Ironfree, host: Host):
    words = ("--detach", "--name", "theirs", "--label", "com.docker.swarm.task.id=1")
    host.run("run", *words, SHELL_IMAGE, "sleep", "99999")
    code, text = ironfree.cli("adopt", "theirs", "--host", host.name, "--json")
    assert code == 1
    assert json.loads(text)["refused"] == [
        {"container": "theirs", "why": "Docker Swarm manages it"}
    ]
    assert not ironfree.pods()
