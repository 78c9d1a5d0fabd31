"""Reaching real engines: over SSH, and what the doctor says of them."""

import json
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests import sshd
from scheduler.drivers import ContainerSpec, HostAddress, PodIdentity, SandboxSpec
from tests.e2e.lab import Host, Lab
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import Ironfree
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
