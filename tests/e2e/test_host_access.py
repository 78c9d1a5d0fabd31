"""Reaching real engines: over SSH, and what the doctor says of them."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests import sshd
from scheduler.drivers import ContainerSpec, HostAddress, PodIdentity, SandboxSpec
from tests.e2e.lab import Host, Lab
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import Ironfree, eventually, replication_controller
from tests.streaming_contract import check_streams, check_usage

pytestmark = pytest.mark.timeout(120)

POD = PodIdentity("0a1b2c3d-0000-4000-8000-000000000002", "default", "web")


async def test_streams_over_ssh(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with sshd.running(tmp_path / "ssh", monkeypatch) as server:
        url = f"ssh://root@127.0.0.1:{server.port}{host.unix_socket}"
        engine = await DockerDriver().connect(HostAddress(host.name, url))
        sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web"))
        sleeps = ContainerSpec("app", SHELL_IMAGE, 0, "hash", command=("sleep", "9999"))
        app = await engine.ensure_container(sandbox, sleeps)
        await check_streams(engine, app.id)
        await check_usage(engine, app.id)
        assert len(server.children()) == 1
        await engine.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sshd.Sshd]:
    """An sshd that whoever is started after it may log in to."""
    with sshd.running(tmp_path / "ssh", monkeypatch) as server:
        yield server


def test_a_host_of_a_docker_context_and_one_over_ssh(
    server: sshd.Sshd, bare_ironfree: Ironfree, lab: Lab
):
    ironfree, (one, two) = bare_ironfree, lab.hosts[:2]
    made = f"host=tcp://{one.tcp_address},ca={lab.tls.ca},cert={lab.tls.cert},key={lab.tls.key}"
    settings = ["--config", str(ironfree.directory / ".docker")]
    one.run(*settings, "context", "create", "theirs", "--docker", made)
    ssh = f"ssh://root@127.0.0.1:{server.port}{two.unix_socket}"
    for name, given in ((one.name, ("--context", "theirs")), (two.name, (ssh,))):
        code, told = ironfree.cli("node", "add", *given, "--name", name)
        assert code == 0, told
    get = {"httpGet": {"port": 8080, "path": "/ok"}, "periodSeconds": 1}
    serve = "mkdir /www; echo fine > /www/ok; echo begun; exec httpd -f -p 8080 -h /www"
    web = replication_controller("web", 4, command=["sh", "-c", serve], readinessProbe=get)
    ironfree.kubectl("apply", "-f", "-", given=web)
    pods = ironfree.running(4)
    where = {p["metadata"]["name"]: p["spec"]["nodeName"] for p in pods}
    assert sorted(where.values()) == [one.name] * 2 + [two.name] * 2
    for name in where:
        assert ironfree.kubectl("logs", name) == "begun\n"
        assert ironfree.kubectl("exec", name, "--", "cat", "/www/ok") == "fine\n"
    (connection,) = server.children()
    os.kill(int(connection), signal.SIGKILL)
    eventually(lambda: server.children() not in ([], [connection]), what="there is a new tunnel")
    ironfree.kubectl("scale", "rc/web", "--replicas=6")
    after = {p["metadata"]["name"]: p for p in ironfree.running(6)}
    assert set(where) < set(after)
    assert {
        s["restartCount"] for p in after.values() for s in p["status"]["containerStatuses"]
    } == {0}
    ironfree.kubectl("delete", "rc/web", "--cascade=foreground", "--timeout=60s")
    eventually(lambda: not one.containers() + two.containers(), what="nothing is left on them")


def test_the_doctor_says_what_to_mend(bare_ironfree: Ironfree, lab: Lab, host: Host):
    ironfree = bare_ironfree
    ironfree.add_hosts(lab, [host])
    code, told = ironfree.cli("node", "doctor", host.name, "--json")
    found = {check["check"]: check for check in json.loads(told)["checks"]}
    assert code == 0, told
    assert {"Reachable", "LiveRestore", "Storage", "Clock", "Cgroups", "Encrypted"} <= set(found)
    host.restart_daemon(live_restore=False)
    ironfree.kubectl(
        "wait", f"dockerhost/{host.name}", "--for=condition=LiveRestore=False", "--timeout=40s"
    )
    code, told = ironfree.cli("node", "doctor", host.name)
    assert code == 1
    assert "live-restore" in told.splitlines()[0]
    assert ironfree.cli("node", "doctor", "absent")[0] == 1
